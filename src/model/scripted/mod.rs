//! A model without a model: it walks through a script, in tones instead of words.
//!
//! No keys, no network, no weights. It hears that the caller speaks, not what is said, and
//! answers every turn with the next line of its script: enough to try a carrier, a sink or a
//! whole call. It sounds like a melody, not like a voice, so that nobody takes it for speech.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Capabilities, ModelCommand, ModelEvent, Session, SessionSeed, SpeechModel};
use crate::{
    duplex::{Duplex, Port},
    error::{ProviderError, ProviderErrorKind},
};

mod dialogue;
use dialogue::Dialogue;

mod ear;

mod script;
pub use script::Script;

mod tones;

/// A [`SpeechModel`] that speaks the lines of a [`Script`], one for each turn of the caller.
///
/// The first text or turn is answered with the first line, and after the last line the script
/// starts again; a session that is given a history goes on after the line that the history
/// ends with. A turn ends after 600 ms of silence, and is reported as `[speech 1.2 s]`. The
/// caller interrupts by speaking for 200 ms.
///
/// Of texts it understands one thing: words behind [`EXACT_WORDS`] it speaks, at the beginning in
/// place of its first line.
///
/// Its only clock is the audio that it is sent: the same input gives the same events, however
/// fast it comes. Replies are sent at once, faster than they play.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    script: Script,
}

/// What stands before words that a model is told to say to the letter, up to the end of the text.
/// Other models understand it as it is.
pub const EXACT_WORDS: &str = "exactly these words and no others:";

impl Scripted {
    /// A model that speaks `script`.
    #[must_use]
    pub const fn new(script: Script) -> Self {
        Self { script }
    }
}

#[async_trait]
impl SpeechModel for Scripted {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            text_input: true,
            tools: true,
            max_session: None,
        }
    }

    async fn open(&self, seed: SessionSeed) -> Result<Session, ProviderError> {
        if self.script.lines().is_empty() {
            return Err(ProviderError::new(NAME, ProviderErrorKind::Invalid)
                .with_detail("the script has no lines"));
        }
        let (session, port) = Duplex::pair(DEPTH);
        tokio::spawn(run(Dialogue::new(self.script.clone(), &seed), port));
        Ok(session)
    }
}

/// Carries commands in and events out until the session is finished, or its user gone.
async fn run(mut dialogue: Dialogue, port: Port<ModelCommand, ModelEvent>) {
    let Port {
        mut commands,
        events,
    } = port;
    loop {
        if dialogue.backlog() > MAX_BACKLOG {
            return give_up(commands, events).await;
        }
        tokio::select! {
            // Events first: what has been decided is out before more is heard, where there is room.
            biased;
            permit = events.reserve(), if dialogue.has_event() => {
                let Ok(permit) = permit else { return };
                if let Some(event) = dialogue.next_event() {
                    permit.send(Ok(event));
                }
            }
            command = commands.recv() => match command {
                Some(command) => dialogue.handle(command),
                None => return,
            },
            () = events.closed() => return,
        }
        if dialogue.is_over() {
            return;
        }
    }
}

/// Nobody reads the events of a session that is still being spoken to: says so and ends, and
/// takes commands in the meantime.
async fn give_up(
    mut commands: mpsc::Receiver<ModelCommand>,
    events: mpsc::Sender<Result<ModelEvent, ProviderError>>,
) {
    let error = ProviderError::new(NAME, ProviderErrorKind::Closed)
        .with_detail("the events of the session were not read");
    let drain = async { while commands.recv().await.is_some() {} };
    tokio::select! {
        // The user may be gone by now; then nobody needs to know.
        _ = events.send(Err(error)) => {}
        () = drain => {}
    }
}

const NAME: &str = "scripted";

/// Some 2.5 s of sound may wait to be read.
const DEPTH: usize = 32;

/// So many events may wait for a user who does not read: an hour of turns.
const MAX_BACKLOG: usize = 4096;

#[cfg(test)]
mod tests;

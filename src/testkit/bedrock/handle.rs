//! Drives and watches one session from a test.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use super::{fault::Fault, options::Reply, record::Record, report::SessionReport};

/// What a test tells a session.
#[derive(Debug)]
pub(super) enum Command {
    Emit(Value),
    Say(Reply),
    Interrupt,
    UserSaid(String),
    Fault(Fault),
    Answer,
}

/// One session in the hands of a test. Commands to a session that is over are ignored.
#[derive(Clone)]
pub struct SessionHandle(Arc<Record>);

impl SessionHandle {
    pub(super) fn new(record: Arc<Record>) -> Self {
        Self(record)
    }

    /// The session's index.
    #[must_use]
    pub fn index(&self) -> usize {
        self.0.index()
    }

    /// Sends any event, as the whole `{"event":{…}}`.
    pub async fn emit(&self, event: Value) {
        self.command(Command::Emit(event)).await;
    }

    /// Says one sentence as a reply of its own, after what is being said.
    pub async fn say(&self, sentence: impl Into<String>, duration: Duration) {
        self.reply(Reply::say(sentence, duration)).await;
    }

    /// Says a reply, after what is being said.
    pub async fn reply(&self, reply: Reply) {
        self.command(Command::Say(reply)).await;
    }

    /// Announces that the caller interrupted.
    pub async fn interrupt(&self) {
        self.command(Command::Interrupt).await;
    }

    /// Reports words of the caller.
    pub async fn user_said(&self, text: impl Into<String>) {
        self.command(Command::UserSaid(text.into())).await;
    }

    /// Lets something go wrong now.
    pub async fn fault(&self, fault: Fault) {
        self.command(Command::Fault(fault)).await;
    }

    /// Sends the response headers now, whatever the script says.
    pub async fn answer(&self) {
        self.command(Command::Answer).await;
    }

    /// What is known so far.
    #[must_use]
    pub fn report(&self) -> SessionReport {
        self.0.report()
    }

    /// The input events in order, each as the whole `{"event":{…}}`. A run of audio is one
    /// entry, `{"event":{"audioInput":{"events":…,"bytes":…}}}`.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.0.events()
    }

    /// The caller's audio, all of it, decoded; empty unless
    /// [`keep_audio`](super::Options::keep_audio) is set.
    #[must_use]
    pub fn pcm(&self) -> Bytes {
        self.0.pcm()
    }

    /// Waits until the report looks as wanted; for ever, if it never does.
    pub async fn wait_until(&self, mut is: impl FnMut(&SessionReport) -> bool) -> SessionReport {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let report = self.report();
            if is(&report) {
                return report;
            }
            changed.await;
        }
    }

    /// Waits until both halves of the session are over.
    pub async fn finished(&self) -> SessionReport {
        self.wait_until(|report| !report.is_open()).await
    }

    async fn command(&self, command: Command) {
        // A session that is over takes no more commands.
        let _ = self.0.commands.send(command).await;
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionHandle({})", self.index())
    }
}

//! What an agent wants of the carrier itself: passing a call on, and pressing keys. Done beside
//! the leg, one after the other, since a request takes its time and audio does not wait.

use std::sync::OnceLock;

use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Vonage, leg::Signal, warm};
use crate::{
    call::{CallId, Party},
    error::ProviderErrorKind,
    private::Private,
    telephony::{CallEvent, Keys},
};

/// One request to the carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Connect the caller with somebody else.
    Transfer(Party),
    /// Call somebody first and tell them this, then connect the caller.
    Introduce(Party, Private<String>),
    /// Press keys.
    Press(Keys),
}

impl Act {
    /// What the leg reports when it comes to nothing.
    fn failed(&self, kind: ProviderErrorKind) -> CallEvent {
        match self {
            Self::Transfer(_) | Self::Introduce(..) => CallEvent::TransferFailed(kind),
            Self::Press(_) => CallEvent::DtmfFailed(kind),
        }
    }
}

/// The requests of one leg. What fails comes back as a signal; dropped, it finishes what it was
/// told.
#[derive(Debug)]
pub(super) struct Acts {
    vonage: Vonage,
    id: CallId,
    queue: OnceLock<mpsc::Sender<Act>>,
}

impl Acts {
    pub(super) const fn new(vonage: Vonage, id: CallId) -> Self {
        Self {
            vonage,
            id,
            queue: OnceLock::new(),
        }
    }

    /// Does it after everything before.
    pub(super) fn push(&self, act: Act) {
        let queue = self.queue.get_or_init(|| {
            let (queue, acts) = mpsc::channel(ACTS);
            tokio::spawn(perform(self.vonage.clone(), self.id.clone(), acts));
            queue
        });
        if let Err(TrySendError::Full(act) | TrySendError::Closed(act)) = queue.try_send(act) {
            let kind = ProviderErrorKind::Throttled { retry_after: None };
            report(&self.vonage, &self.id, act.failed(kind));
        }
    }
}

async fn perform(vonage: Vonage, id: CallId, mut acts: mpsc::Receiver<Act>) {
    while let Some(act) = acts.recv().await {
        let done = match &act {
            Act::Transfer(to) => vonage.transfer(&id, to).await.map(drop),
            // Takes a minute; nothing else waits for it.
            Act::Introduce(to, briefing) => {
                let (to, briefing) = (to.clone(), briefing.clone());
                tokio::spawn(warm::introduce(vonage.clone(), id.clone(), to, briefing));
                Ok(())
            }
            // Vonage writes its pause of half a second as another letter.
            Act::Press(keys) => {
                let keys = keys.reveal().replace(',', "p");
                vonage.send_dtmf(&id, &keys).await
            }
        };
        if let Err(error) = done {
            tracing::warn!(call = %id, %error, "the carrier did not do what the agent wanted");
            report(&vonage, &id, act.failed(error.kind().clone()));
        }
    }
}

fn report(vonage: &Vonage, id: &CallId, event: CallEvent) {
    vonage.signal(id.as_str(), Signal::Report(event));
}

/// More than anybody asks for at once.
const ACTS: usize = 16;

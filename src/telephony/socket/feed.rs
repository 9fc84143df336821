//! What a socket hears, on its way to the user of the leg.

use tokio::sync::mpsc;

use super::registry::Tally;
use crate::{audio::AudioFrame, error::ProviderError, telephony::CallEvent};

/// The sending half of a leg's events. Audio that nobody takes in time is dropped and counted;
/// everything else waits for its place.
#[derive(Debug)]
pub(crate) struct Feed {
    events: mpsc::Sender<Result<CallEvent, ProviderError>>,
    tally: Tally,
}

/// Nobody listens any more: the leg was dropped.
#[derive(Debug)]
pub(crate) struct Gone;

impl Feed {
    /// How deep the channels of a leg must be: the audio, and room for everything else.
    pub(crate) const DEPTH: usize = 64;

    /// Half a second. Older audio is worth less than the delay that it would bring.
    const MAX_AUDIO: usize = 25;

    pub(crate) const fn new(
        events: mpsc::Sender<Result<CallEvent, ProviderError>>,
        tally: Tally,
    ) -> Self {
        Self { events, tally }
    }

    /// Passes a frame on, or drops it when the user is half a second behind.
    pub(crate) fn audio(&self, frame: AudioFrame) {
        let waiting = self.events.max_capacity() - self.events.capacity();
        if waiting >= Self::MAX_AUDIO || self.events.try_send(Ok(CallEvent::Audio(frame))).is_err()
        {
            self.tally.audio_dropped();
        }
    }

    /// Counts a text message that means nothing.
    pub(crate) fn message_ignored(&self) {
        self.tally.message_ignored();
    }

    /// Passes anything but audio on, however long it takes.
    pub(crate) async fn control(&self, event: CallEvent) -> Result<(), Gone> {
        self.events.send(Ok(event)).await.map_err(|_| Gone)
    }
}

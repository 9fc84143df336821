//! A live session as a value: two bounded channels.

use tokio::sync::mpsc;

use crate::error::ProviderError;

/// The user's end of a live session: commands out, events in, both bounded.
///
/// Dropping it ends the session: the provider finds its [`Port`] closed and lets go of everything.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "two channels; users take them apart"
)]
pub struct Duplex<C, E> {
    /// Where commands go. Full means that the provider does not keep up.
    pub commands: mpsc::Sender<C>,
    /// What happens. `None` is the end; after an `Err` nothing more comes.
    pub events: mpsc::Receiver<Result<E, ProviderError>>,
}

/// The provider's end of a [`Duplex`].
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "two channels; providers take them apart"
)]
pub struct Port<C, E> {
    /// What the user wants.
    pub commands: mpsc::Receiver<C>,
    /// Where events go.
    pub events: mpsc::Sender<Result<E, ProviderError>>,
}

impl<C, E> Duplex<C, E> {
    /// Both ends, with room for `depth` messages each way (at least 1).
    #[must_use]
    pub fn pair(depth: usize) -> (Self, Port<C, E>) {
        let (commands, to_provider) = mpsc::channel(depth.max(1));
        let (events, from_provider) = mpsc::channel(depth.max(1));
        (
            Self {
                commands,
                events: from_provider,
            },
            Port {
                commands: to_provider,
                events,
            },
        )
    }
}

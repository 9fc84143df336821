//! Which failed requests are sent again, and when. Pure: chance and time are arguments.

use std::time::Duration;

use super::RestError;

/// What happens when a request is carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The same as when it is carried out once.
    Safe,
    /// Something else: a second call, a second key.
    Unsafe,
    /// Whatever it is, who asks wants to look around before asking again.
    Never,
}

/// How patient a client is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The first pause; each one is twice as long as the one before.
    pub(super) pause: Duration,
    /// How long a request may wait in all for its next attempt.
    pub(super) total: Duration,
}

/// How long to wait before the next attempt; `None` when there is none. `attempts` were made,
/// which took `spent`; `chance` is between 0 and 1.
pub(super) fn pause(
    error: &RestError,
    repeat: Repeat,
    attempts: u32,
    spent: Duration,
    chance: f64,
    patience: Patience,
) -> Option<Duration> {
    let may_go = match repeat {
        Repeat::Safe => true,
        Repeat::Unsafe => !error.may_have_happened(),
        Repeat::Never => false,
    };
    if !may_go || !error.is_passing() || attempts >= MAX_ATTEMPTS {
        return None;
    }
    let doubled = patience.pause * 2_u32.saturating_pow(attempts.saturating_sub(1));
    // Up to a quarter more, so that those who failed together do not come back together.
    let usual = doubled.mul_f64(1.0 + chance.clamp(0.0, 1.0) / 4.0);
    let pause = error.retry_after().unwrap_or(usual);
    (spent + pause <= patience.total).then_some(pause)
}

/// What Vonage's guides recommend at most.
const MAX_ATTEMPTS: u32 = 5;

//! What a call that rings does about a machine: kept where every node finds it, for whichever of
//! them the carrier asks once somebody answers.

use std::time::Duration;

use jiff::Timestamp;
use novavoice::{
    ProviderError,
    lead::PhoneNumber,
    outbound::Voicemail,
    state::{Key, StateStore, Write},
};
use serde_json::json;

/// Keeps it for as long as a phone may ring.
///
/// # Errors
///
/// When it could not be kept.
pub(crate) async fn keep(
    state: &dyn StateStore,
    to: &PhoneNumber,
    voicemail: Voicemail,
    now: Timestamp,
) -> Result<(), ProviderError> {
    let until = now.checked_add(RINGING).unwrap_or(now);
    let kept = Write::to(key(to)).set(json!(voicemail)).expires(until);
    state.apply(vec![kept], now).await
}

/// What a call to this number does, if it was kept.
///
/// # Errors
///
/// When it cannot be read.
pub(super) async fn find(
    state: &dyn StateStore,
    to: &PhoneNumber,
    now: Timestamp,
) -> Result<Option<Voicemail>, ProviderError> {
    let kept = state.get(&key(to), now).await?;
    Ok(kept.and_then(|kept| serde_json::from_value(kept.value).ok()))
}

fn key(to: &PhoneNumber) -> Key {
    Key::new("answering", to.reveal())
}

/// Carriers give up after two minutes at the latest.
const RINGING: Duration = Duration::from_secs(150);

//! What a call that rings does about a machine, and by which prompt it speaks: kept where every
//! node finds it, for whichever of them the carrier asks once somebody answers.

use std::time::Duration;

use jiff::Timestamp;
use novavoice::{
    ProviderError,
    lead::PhoneNumber,
    outbound::Voicemail,
    state::{Key, StateStore, Write},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a campaign wants of its calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wishes {
    pub(crate) voicemail: Voicemail,
    /// The version of the prompt; `None`: the active one.
    pub(crate) prompt_version: Option<String>,
}

/// Keeps them for as long as a phone may ring.
///
/// # Errors
///
/// When it could not be kept.
pub(crate) async fn keep(
    state: &dyn StateStore,
    to: &PhoneNumber,
    wishes: &Wishes,
    now: Timestamp,
) -> Result<(), ProviderError> {
    let until = now.checked_add(RINGING).unwrap_or(now);
    let kept = Write::to(key(to)).set(json!(wishes)).expires(until);
    state.apply(vec![kept], now).await
}

/// What is wanted of a call to this number, if it was kept.
///
/// # Errors
///
/// When it cannot be read.
pub(super) async fn find(
    state: &dyn StateStore,
    to: &PhoneNumber,
    now: Timestamp,
) -> Result<Option<Wishes>, ProviderError> {
    let kept = state.get(&key(to), now).await?;
    Ok(kept.and_then(|kept| serde_json::from_value(kept.value).ok()))
}

fn key(to: &PhoneNumber) -> Key {
    Key::new("answering", to.reveal())
}

/// Carriers give up after two minutes at the latest.
const RINGING: Duration = Duration::from_secs(150);

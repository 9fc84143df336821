//! What is still to be done about a meeting, written in the same step as its change: so a node
//! that dies in between leaves it to the others.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Meeting, Method};
use crate::{
    error::{ProviderError, ProviderErrorKind},
    state::{Key, Write},
};

/// An invitation that is to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Queued {
    pub(super) meeting: Meeting,
    pub(super) method: Method,
    /// When it was written.
    pub(super) since: Timestamp,
    /// Not before this.
    pub(super) due: Timestamp,
    /// How often it was tried.
    pub(super) tries: u32,
}

/// Puts the invitation to a change into the queue.
pub(super) fn invitation(
    meeting: &Meeting,
    method: Method,
    now: Timestamp,
) -> Result<Write, ProviderError> {
    let queued = Queued {
        meeting: meeting.clone(),
        method,
        since: now,
        due: now,
        tries: 0,
    };
    Ok(Write::to(invitation_key(meeting)).set(value(&queued)?))
}

pub(super) fn value(queued: &Queued) -> Result<serde_json::Value, ProviderError> {
    serde_json::to_value(queued).map_err(|failed| {
        ProviderError::new("invitations", ProviderErrorKind::Invalid).with_source(failed)
    })
}

/// Each change of a meeting has one.
pub(super) fn invitation_key(meeting: &Meeting) -> Key {
    Key::new(
        INVITATIONS,
        format!("{}/{:010}", meeting.uid, meeting.sequence),
    )
}

/// Notes that the meeting differs from what another calendar says of it.
pub(super) fn note(uid: &str, now: Timestamp) -> Write {
    Write::to(note_key(uid)).set(json!({ "since": now }))
}

pub(super) fn note_key(uid: &str) -> Key {
    Key::new(NOTES, uid)
}

pub(super) const INVITATIONS: &str = "invitations";
pub(super) const NOTES: &str = "calendar-notes";

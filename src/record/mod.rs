//! Call records: what is kept of every call, live and finished, and how it is found again.
//!
//! A [`TranscriptSink`](crate::transcript::TranscriptSink) writes a call while it runs; a
//! [`CallStore`] reads it, on any node and long afterwards: for an API, a dashboard, the history
//! of a lead, analytics. [`MemoryCalls`] is both, and the one to read first.
//!
//! # The fields
//!
//! Records have the same fields under the same names in every store and in JSON:
//!
//! | field | type | |
//! |---|---|---|
//! | `call_uuid` | string | the carrier's id, the key |
//! | `phone_number` | string | the other party, as the carrier named it |
//! | `direction` | string | `inbound` or `outbound` |
//! | `status`, `outcome` | string | see [`CallStatus`](crate::call::CallStatus) and [`Outcome`](crate::call::Outcome) |
//! | `start_time`, `end_time` | string | RFC 3339, UTC, milliseconds |
//! | `duration_seconds` | number | to the millisecond |
//! | `utterances` | list | of `seq`, `at`, `speaker`, `text`, `cut` |
//! | `usage` | object | tokens, see [`Usage`](crate::model::Usage) |
//! | `cost_usd` | number | what the model cost |
//! | `owner_alias`, `campaign` | string | whose lead it was, and which campaign dialled |
//! | `reply_count`, `reply_latency_ms`, `reply_latency_max_ms` | number | see [`Latency`] |
//! | `md_file_path` | string | the transcript file |
//! | `alive_at` | string | when a process last said that it carries the call |
//! | `created_at`, `updated_at` | string | of the record itself |

mod cursor;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
mod entry;
mod memory;
mod query;
#[cfg(feature = "sqlite")]
mod sqlite;
mod totals;
mod words;

pub use self::{
    entry::{CallNote, CallRecord, Latency},
    memory::MemoryCalls,
    query::{CallPage, CallQuery, Cursor, Unreadable},
    totals::{GroupBy, Span, Totals, TotalsPage},
};

#[cfg(feature = "dynamodb")]
pub use self::dynamodb::DynamoCalls;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteCalls;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{call::CallId, error::ProviderError, transcript::Utterance};

/// Finds calls again, and keeps what is known of them besides their words.
///
/// # Contract
///
/// A store shows what the [`TranscriptSink`](crate::transcript::TranscriptSink) of the same
/// place has acknowledged, on every node: at once by [`get`](Self::get) and
/// [`lines`](Self::lines), within two seconds by the others. A record that cannot be read is
/// named in the answer and left out; it never spoils the others.
#[async_trait]
pub trait CallStore: fmt::Debug + Send + Sync + 'static {
    /// The record of one call, without its lines.
    ///
    /// # Errors
    ///
    /// [`Protocol`](crate::ProviderErrorKind::Protocol) when the record cannot be read.
    async fn get(&self, call: &CallId) -> Result<Option<CallRecord>, ProviderError>;

    /// The lines of a call behind the one numbered `after`, in the order of `seq`; none for an
    /// unknown call. 0 asks for all.
    async fn lines(&self, call: &CallId, after: u64) -> Result<Vec<Utterance>, ProviderError>;

    /// The calls that `query` describes, newest first by their start.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ProviderErrorKind::Invalid) for a cursor that this store did not make.
    async fn list(&self, query: &CallQuery) -> Result<CallPage, ProviderError>;

    /// Sums over the calls that started in `span`, one for each group that has any, sorted by
    /// the group's name.
    async fn totals(&self, span: Span, by: GroupBy) -> Result<TotalsPage, ProviderError>;

    /// Keeps what `note` names; everything else stays as it is, the lines included. A call that
    /// is not known yet gets a record. Safe to repeat.
    async fn note(&self, call: &CallId, note: &CallNote) -> Result<(), ProviderError>;

    /// Ends a call of which nobody but the carrier can say how, as `note` has it. One that has
    /// ended already stays as it is; so does one that a process has said to carry, which says by
    /// itself how it ended or is found to be gone (see [`expire`](Self::expire)). A call that is
    /// not known yet gets a record. Answers whether the call was ended by this. Safe to repeat.
    async fn close(&self, call: &CallId, note: &CallNote) -> Result<bool, ProviderError>;

    /// Closes, as abandoned, the live calls that no process has said to carry since `silent`
    /// (see [`CallNote::alive`]): each at its last sign of life. Answers with those that this
    /// very caller has closed. A call that never gave a sign is left alone: it is somebody
    /// else's.
    async fn expire(&self, silent: Timestamp) -> Result<Vec<CallRecord>, ProviderError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: CallStore + ?Sized> CallStore for Arc<C> {
    async fn get(&self, call: &CallId) -> Result<Option<CallRecord>, ProviderError> {
        (**self).get(call).await
    }

    async fn lines(&self, call: &CallId, after: u64) -> Result<Vec<Utterance>, ProviderError> {
        (**self).lines(call, after).await
    }

    async fn list(&self, query: &CallQuery) -> Result<CallPage, ProviderError> {
        (**self).list(query).await
    }

    async fn totals(&self, span: Span, by: GroupBy) -> Result<TotalsPage, ProviderError> {
        (**self).totals(span, by).await
    }

    async fn note(&self, call: &CallId, note: &CallNote) -> Result<(), ProviderError> {
        (**self).note(call, note).await
    }

    async fn close(&self, call: &CallId, note: &CallNote) -> Result<bool, ProviderError> {
        (**self).close(call, note).await
    }

    async fn expire(&self, silent: Timestamp) -> Result<Vec<CallRecord>, ProviderError> {
        (**self).expire(silent).await
    }
}

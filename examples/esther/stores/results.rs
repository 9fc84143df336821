//! What came of a call, written to its record and to its lead once it is over: beside the call,
//! and tried again while a store does not answer.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use novavoice::{
    ProviderError, ProviderErrorKind,
    audio::SampleRate,
    call::{CallInfo, CallSummary, Outcome},
    lead::{CallResult, Change, Guard, Lead, LeadCallStatus, LeadStore, PhoneNumber},
    outbound::Gatekeeper,
    record::{CallNote, CallStore, Latency},
    transcript::{FileSink, Utterance, file::RecoveredCall},
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::{JoinHandle, JoinSet},
};

use super::Stores;

/// A call that is over.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) info: CallInfo,
    pub(crate) summary: CallSummary,
    pub(crate) latency: Option<Latency>,
    /// When they want to be called again.
    pub(crate) call_again: Option<Timestamp>,
    /// Of a call that never reached the agent: whether the number is to blame.
    pub(crate) unreached: Option<bool>,
}

/// A call that was found without its process.
impl From<&RecoveredCall> for Write {
    fn from(call: &RecoveredCall) -> Self {
        let rate = SampleRate::Hz16000;
        let mut info = CallInfo::new(call.id.clone(), call.direction, call.started, rate);
        info.remote.clone_from(&call.remote);
        Self {
            info,
            summary: call.summary.clone(),
            latency: None,
            call_again: None,
            unreached: None,
        }
    }
}

/// Takes calls that are over. Cheap to clone; the work ends with the last clone.
#[derive(Clone)]
pub(crate) struct Results(mpsc::Sender<Write>);

struct Writer {
    stores: Stores,
    gate: Gatekeeper,
    files: FileSink,
}

impl Results {
    /// Begins to write. The task ends once every clone is gone and everything is written.
    pub(crate) fn start(
        stores: &Stores,
        gate: &Gatekeeper,
        files: &FileSink,
    ) -> (Self, JoinHandle<()>) {
        let (calls, mut over) = mpsc::channel::<Write>(BEHIND);
        let writer = Arc::new(Writer {
            stores: stores.clone(),
            gate: gate.clone(),
            files: files.clone(),
        });
        let task = tokio::spawn(async move {
            let mut writes = JoinSet::new();
            while let Some(call) = over.recv().await {
                if writes.len() == AT_ONCE {
                    log_failure(writes.join_next().await);
                }
                let writer = Arc::clone(&writer);
                writes.spawn(async move { writer.write(&call).await });
            }
            while let Some(done) = writes.join_next().await {
                log_failure(Some(done));
            }
        });
        (Self(calls), task)
    }

    /// Lets a call's results be written.
    pub(crate) fn submit(&self, call: Write) {
        match self.0.try_send(call) {
            Ok(()) => {}
            Err(TrySendError::Full(call) | TrySendError::Closed(call)) => {
                tracing::error!(
                    call_id = %call.info.id,
                    "what came of a call is not written to its lead: the store is too far behind"
                );
            }
        }
    }
}

impl Writer {
    async fn write(&self, call: &Write) {
        if call.summary.outcome == Outcome::Abandoned {
            match insist(|| self.went_on(call)).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.lost(call, &error, "whether a call went on is not known"),
            }
        }
        // First: nobody may call them again from here on.
        if call.summary.outcome == Outcome::DoNotCall
            && let Some(phone) = phone_of(call)
            && let Err(error) = insist(|| self.gate.opt_out(&phone, call.summary.ended)).await
        {
            self.lost(call, &error, "a wish not to be called again is not kept");
        }
        let lead = insist(|| self.write_lead(call)).await;
        let owner = match lead {
            Ok(lead) => lead.and_then(|lead| lead.text("owner_alias").map(str::to_owned)),
            Err(error) => {
                self.lost(
                    call,
                    &error,
                    "what came of a call is not written to its lead",
                );
                None
            }
        };
        let mut note = CallNote::default();
        note.owner = owner;
        note.latency = call.latency;
        note.cost_usd = call.summary.cost_usd;
        note.file = match self.files.path_of(&call.info.id).await {
            Ok(path) => path.map(|path| path.display().to_string()),
            Err(error) => {
                self.lost(call, &error, "the transcript of a call is not found");
                None
            }
        };
        if note != CallNote::default()
            && let Err(error) = insist(|| self.stores.calls.note(&call.info.id, &note)).await
        {
            self.lost(
                call,
                &error,
                "the record of a call lacks its cost and owner",
            );
        }
    }

    /// Whether a call whose process died was carried on by another, which knows better what came of
    /// it.
    async fn went_on(&self, call: &Write) -> Result<bool, ProviderError> {
        let record = self.stores.calls.get(&call.info.id).await?;
        Ok(record.is_some_and(|it| it.is_live() || it.outcome != Some(Outcome::Abandoned)))
    }

    /// The lead as it is now, where the call was with one.
    async fn write_lead(&self, call: &Write) -> Result<Option<Lead>, ProviderError> {
        let Some(phone) = phone_of(call) else {
            return Ok(None);
        };
        let Some(lead) = self.stores.leads.get(&phone).await? else {
            return Ok(None);
        };
        if let Some(bad_number) = call.unreached {
            return self
                .write_unreached(call, &lead, bad_number)
                .await
                .map(Some);
        }
        let status = LeadCallStatus::after(lead.call_status(), call.summary.outcome);
        let mut result = CallResult::new(status, call.info.started);
        result.next_attempt = call.call_again;
        let lines = self.files.lines(&call.info.id).await?;
        if !lines.is_empty() {
            result = result.with_transcript(as_text(&lines));
        }
        let change = Change::new().result(&result);
        match self.stores.leads.update(&phone, change, Guard::Any).await {
            // Deleted meanwhile.
            Err(error) if *error.kind() == ProviderErrorKind::NotFound => Ok(None),
            updated => updated.map(Some),
        }
    }

    /// What the carrier says of a call that the agent never had. When the lead is due again is
    /// left to whoever plans it.
    async fn write_unreached(
        &self,
        call: &Write,
        lead: &Lead,
        bad_number: bool,
    ) -> Result<Lead, ProviderError> {
        let before = lead.call_status();
        let status = match (bad_number, before) {
            (true, Some(LeadCallStatus::DoNotCall)) => LeadCallStatus::DoNotCall,
            (true, _) => LeadCallStatus::BadNumber,
            // Somebody answered, and another node may know what was said.
            (false, Some(LeadCallStatus::FollowUpNeeded))
                if matches!(
                    call.summary.outcome,
                    Outcome::Completed | Outcome::Voicemail
                ) =>
            {
                LeadCallStatus::FollowUpNeeded
            }
            (false, before) => LeadCallStatus::after(before, call.summary.outcome),
        };
        let change = Change::new()
            .set("call_status", status.as_str())
            .set_time("last_call_date", call.info.started);
        let phone = &lead.phone;
        match self.stores.leads.update(phone, change, Guard::Any).await {
            // Deleted meanwhile.
            Err(error) if *error.kind() == ProviderErrorKind::NotFound => Ok(lead.clone()),
            updated => updated,
        }
    }

    fn lost(&self, call: &Write, error: &ProviderError, what: &str) {
        tracing::error!(
            call_id = %call.info.id,
            error = error as &dyn std::error::Error,
            "{what}"
        );
    }
}

fn phone_of(call: &Write) -> Option<PhoneNumber> {
    let remote = call.info.remote.as_ref();
    remote.and_then(|remote| PhoneNumber::try_from(remote).ok())
}

/// A transcript as a lead keeps it: a line for each utterance.
fn as_text(lines: &[Utterance]) -> String {
    let mut lines: Vec<_> = lines.iter().collect();
    lines.sort_by_key(|line| line.at);
    let lines = lines.into_iter().map(|line| {
        let cut = if line.cut { " [cut]" } else { "" };
        format!("{}: {}{cut}\n", line.speaker.as_str(), line.text)
    });
    lines.collect()
}

/// Tries for a minute, as long as trying can help.
async fn insist<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Err(error) if error.kind().is_retryable() && pause <= LONGEST_PAUSE => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            done => return done,
        }
    }
}

fn log_failure(done: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(failed)) = done {
        tracing::error!(
            error = &failed as &dyn std::error::Error,
            "writing the results of a call failed"
        );
    }
}

/// Calls that may end while a store does not answer.
const BEHIND: usize = 4_096;
/// Calls whose results are written at the same time.
const AT_ONCE: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

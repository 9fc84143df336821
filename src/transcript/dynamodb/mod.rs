//! Transcripts in DynamoDB: one item per call, written while the call runs.
//!
//! # The item
//!
//! The key is `call_uuid`, the carrier's id. `start` writes `phone_number` (of the other party;
//! missing where the carrier named none), `direction`, `status`, `start_time`, `day`,
//! `created_at`, and of the sink's own `last_seq`, `parts`, `node`, `leg_started`, `alive_at`.
//! Lines are added to `utterances` (`seq`, `at`, `speaker`, `text`, `cut`) and to the searchable
//! text `transcript`. `end` writes `status`, `outcome`, `end_time`, `duration_seconds` and
//! `usage`. Everything else in the item is left alone. Times are RFC 3339 in UTC with
//! milliseconds, so that their order is that of their text.
//!
//! An id with a `#` in it would look like a continuation: in keys `#` is written `%23`, and `%`
//! then `%25`.
//!
//! # Long calls
//!
//! DynamoDB bills a write by the size of the whole item, and limits items to 400 KB. So once an
//! item's lines take 64 KB (25 minutes of lively talk) the transcript continues in the item
//! `{uuid}#2`, then `{uuid}#3`, with `part_of`, `last_seq`, `utterances` and `transcript`;
//! `parts` in the first item says how many there are. One transaction makes a continuation and
//! raises `parts`. [`DynamoSink::lines`] joins them.
//!
//! # What it costs
//!
//! A write takes one unit per KB of its item: 1 at the start of a call, 65 at most, however long
//! the call is. A lively call has about 10 lines a minute. Behind a [`Spool`](super::Spool),
//! which makes one write of the lines of a second, that is 8 writes: on the
//! average 60 units per call minute in the first five minutes, and 260 in a long call. A continuation costs
//! about 130 once. Start and end are one write each, a sign of life every 30 s without another
//! write one more. The indexes hold the fields of lists alone, not the words, so lines cost nothing there;
//! start and end cost one unit per index.
//!
//! # Several nodes
//!
//! A call may lose its node and go on at another. `start` takes it over for the newest leg; what
//! the old node still hands on is added, and its end is ignored. Lines that two nodes numbered
//! alike are both kept, the later ones behind the last: readers sort by `at`.

pub(crate) mod item;
mod live;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle};
use tracing::{debug, warn};
use uuid::Uuid;

use self::{
    item::{Item, time},
    live::Live,
};
use crate::{
    call::{CallId, CallInfo, CallSummary},
    clock,
    dynamodb::{Column, Dynamo, Projection, Table, failure},
    error::{ProviderError, ProviderErrorKind},
    transcript::{TranscriptSink, Utterance, behind},
};

/// Keeps transcripts in a DynamoDB table. See [the module](self) for the items.
///
/// An acknowledged line is in DynamoDB. That is a request over the network for each: put a
/// [`Spool`](super::Spool) in front of it. Clones share their calls.
#[derive(Clone)]
pub struct DynamoSink {
    inner: Arc<Inner>,
}

struct Inner {
    dynamo: Dynamo,
    table: String,
    /// Which process this is.
    node: String,
    live: Mutex<HashMap<CallId, Arc<AsyncMutex<Live>>>>,
    alive: Mutex<Option<JoinHandle<()>>>,
}

impl DynamoSink {
    /// Keeps transcripts in `table`, which [`call_records`] describes.
    #[must_use]
    pub fn new(dynamo: Dynamo, table: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                dynamo,
                table: table.into(),
                node: Uuid::new_v4().to_string(),
                live: Mutex::default(),
                alive: Mutex::default(),
            }),
        }
    }

    /// The lines of `call`, live or not, in the order of `seq`; none for an unknown call. An
    /// utterance that is none is left out, and named in the log.
    ///
    /// # Errors
    ///
    /// When the table cannot be read.
    pub async fn lines(&self, call: &CallId) -> Result<Vec<Utterance>, ProviderError> {
        self.inner.lines(call).await
    }
}

/// The table of call records, to be made or checked with [`Dynamo`]. Its indexes hold what lists
/// show: neither `utterances` nor `transcript`.
#[must_use]
pub fn call_records(name: impl Into<String>) -> Table {
    let start = Some(Column::text("start_time"));
    let listed = Projection::Include(LISTED);
    Table::new(name, Column::text(item::KEY))
        .with_projected_index(
            "phone_number-index",
            Column::text("phone_number"),
            start,
            listed.clone(),
        )
        .with_projected_index(
            "status-index",
            Column::text("status"),
            start,
            listed.clone(),
        )
        .with_projected_index("day-index", Column::text("day"), start, listed)
}

#[async_trait]
impl TranscriptSink for DynamoSink {
    async fn start(&self, call: &CallInfo) -> Result<u64, ProviderError> {
        let live = self.inner.start(call).await?;
        let last = live.last();
        let slot = Arc::new(AsyncMutex::new(live));
        self.inner.live().insert(call.id.clone(), slot);
        self.inner.keep_alive();
        Ok(last)
    }

    async fn record(&self, call: &CallId, line: &Utterance) -> Result<(), ProviderError> {
        self.record_all(call, std::slice::from_ref(line)).await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        let slot = self.inner.live().get(call).map(Arc::clone);
        let Some(slot) = slot else {
            return self.inner.ended_before(call).await;
        };
        let _busy = slot.lock().await;
        self.inner.end(call, summary).await?;
        self.inner.live().remove(call);
        Ok(())
    }

    async fn record_all(&self, call: &CallId, lines: &[Utterance]) -> Result<(), ProviderError> {
        let slot = self.inner.live().get(call).map(Arc::clone);
        let slot = slot.ok_or_else(not_started)?;
        let mut live = slot.lock().await;
        for _ in 0..RACES {
            let fresh = self.inner.fresh(call, &live, lines).await?;
            match self.inner.add(call, &mut live, fresh).await {
                // Another node, or a request of our own whose answer was lost.
                Err(error) if *error.kind() == ProviderErrorKind::Conflict => {
                    *live = self.inner.load(call).await?.ok_or_else(not_started)?;
                }
                result => return result,
            }
        }
        Err(ProviderError::new(PROVIDER, ProviderErrorKind::Unavailable)
            .with_detail("other nodes change this call's record all the time"))
    }

    async fn read_back(
        &self,
        call: &CallId,
        after: u64,
    ) -> Result<Option<Vec<Utterance>>, ProviderError> {
        Ok(Some(behind(self.lines(call).await?, after)))
    }
}

impl Inner {
    async fn start(&self, call: &CallInfo) -> Result<Live, ProviderError> {
        let now = time(clock::wall());
        let started = time(call.started);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut set = vec![
            "#status = :live",
            "#node = :node",
            "leg_started = :started",
            "alive_at = :now",
            "updated_at = :now",
            "created_at = if_not_exists(created_at, :now)",
            "direction = if_not_exists(direction, :direction)",
            "start_time = if_not_exists(start_time, :started)",
            "#day = if_not_exists(#day, :day)",
            "utterances = if_not_exists(utterances, :none)",
            "transcript = if_not_exists(transcript, :empty)",
            "last_seq = if_not_exists(last_seq, :zero)",
            "parts = if_not_exists(parts, :one)",
        ];
        // An index's key cannot be empty.
        let number = call.remote.as_ref().map(|remote| remote.reveal());
        let number = number.filter(|number| !number.is_empty());
        let mut asked = self
            .dynamo
            .client()
            .update_item()
            .table_name(&self.table)
            .key(item::KEY, text(&item::key(&call.id)))
            .condition_expression(
                "attribute_not_exists(leg_started) OR leg_started <= :started OR #node = :node",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#node", "node")
            .expression_attribute_names("#day", "day")
            .expression_attribute_values(":live", text("in_progress"))
            .expression_attribute_values(":node", text(&self.node))
            .expression_attribute_values(":started", text(&started))
            .expression_attribute_values(":now", text(&now))
            .expression_attribute_values(":direction", text(call.direction.as_str()))
            .expression_attribute_values(":day", text(&started[..DAY]))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":empty", text(""))
            .expression_attribute_values(":zero", AttributeValue::N("0".to_owned()))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .return_values(ReturnValue::AllNew);
        if let Some(number) = number {
            set.push("phone_number = if_not_exists(phone_number, :number)");
            asked = asked.expression_attribute_values(":number", text(number));
        }
        let update = format!(
            "SET {} REMOVE end_time, outcome, duration_seconds",
            set.join(", ")
        );
        let answer = asked.update_expression(update).send().await;
        let first = match answer.map_err(|error| failure(PROVIDER, error)) {
            Ok(answer) => answer.attributes.map(Item),
            // The call went on elsewhere: what is still to be handed on is added to it.
            Err(error) if *error.kind() == ProviderErrorKind::Conflict => None,
            Err(error) => return Err(error),
        };
        let first = match first {
            Some(first) => Some(first),
            None => self.get(&item::key(&call.id)).await?,
        };
        self.live_of(&call.id, &first.ok_or_else(not_started)?)
            .await
    }

    async fn end(&self, call: &CallId, summary: &CallSummary) -> Result<(), ProviderError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut set = "SET #status = :status, outcome = :outcome, end_time = :ended, \
                       duration_seconds = :duration, #usage = :usage, updated_at = :now"
            .to_owned();
        // With the end itself: whoever adds costs up reads them together.
        if summary.cost_usd.is_some() {
            set += ", cost_usd = :cost";
        }
        let cost = summary
            .cost_usd
            .map(|cost| AttributeValue::N(cost.to_string()));
        if summary.prompt_version.is_some() {
            set += ", prompt_version = :prompt";
        }
        if summary.transfer.is_some() {
            set += ", transfer = :transfer";
        }
        let mut ending = self
            .dynamo
            .client()
            .update_item()
            .table_name(&self.table)
            .key(item::KEY, text(&item::key(call)))
            .update_expression(set)
            .condition_expression("#node = :node")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#usage", "usage")
            .expression_attribute_names("#node", "node")
            .expression_attribute_values(":status", text(summary.status.as_str()))
            .expression_attribute_values(":outcome", text(summary.outcome.as_str()))
            .expression_attribute_values(":ended", text(&time(summary.ended)))
            .expression_attribute_values(":duration", item::seconds(summary.duration))
            .expression_attribute_values(":usage", item::usage(summary.usage))
            .expression_attribute_values(":now", text(&time(clock::wall())))
            .expression_attribute_values(":node", text(&self.node));
        if let Some(cost) = cost {
            ending = ending.expression_attribute_values(":cost", cost);
        }
        if let Some(version) = &summary.prompt_version {
            ending = ending.expression_attribute_values(":prompt", text(version));
        }
        if let Some(transfer) = summary.transfer {
            ending = ending.expression_attribute_values(":transfer", text(transfer.as_str()));
        }
        let ended = ending.send().await;
        match ended.map_err(|error| failure(PROVIDER, error)) {
            Err(error) if *error.kind() == ProviderErrorKind::Conflict => {
                debug!(call_id = %call, "the call went on at another node, so it has not ended");
                Ok(())
            }
            result => result.map(drop),
        }
    }

    /// An end may be repeated, when its answer was lost.
    async fn ended_before(&self, call: &CallId) -> Result<(), ProviderError> {
        match self.get(&item::key(call)).await? {
            Some(item) if item.has_ended() => Ok(()),
            _ => Err(not_started()),
        }
    }

    /// An item, as it is after every write that was acknowledged.
    async fn get(&self, key: &str) -> Result<Option<Item>, ProviderError> {
        let asked = self
            .dynamo
            .client()
            .get_item()
            .table_name(&self.table)
            .key(item::KEY, AttributeValue::S(key.to_owned()))
            .consistent_read(true);
        let answer = asked.send().await;
        let answer = answer.map_err(|error| failure(PROVIDER, error))?;
        Ok(answer.item.map(Item))
    }

    /// What the table holds of a call, as far as its next line needs it.
    async fn load(&self, call: &CallId) -> Result<Option<Live>, ProviderError> {
        match self.get(&item::key(call)).await? {
            Some(first) => self.live_of(call, &first).await.map(Some),
            None => Ok(None),
        }
    }

    async fn live_of(&self, call: &CallId, first: &Item) -> Result<Live, ProviderError> {
        let parts = first.parts();
        if parts == 1 {
            return Ok(Live::of(first, 1));
        }
        let part = self.get(&item::part_key(call, parts)).await?;
        let part = part.ok_or_else(|| {
            ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
                .with_detail(format!("part {parts} of this call's record is missing"))
        })?;
        Ok(Live::of(&part, parts))
    }

    /// Those of `lines` that the table does not hold, numbered on.
    async fn fresh(
        &self,
        call: &CallId,
        live: &Live,
        lines: &[Utterance],
    ) -> Result<Vec<Utterance>, ProviderError> {
        let mut older = None;
        let (mut fresh, mut last) = (Vec::new(), live.last());
        for line in lines {
            match line.seq {
                0 => return Err(gap(last + 1, 0)),
                seq if seq > last + 1 => return Err(gap(last + 1, seq)),
                seq if seq <= last => {
                    let mut kept = live.holds(line) || fresh.iter().any(|new| same(new, line));
                    if !kept && live.first() > 1 {
                        if older.is_none() {
                            older = Some(self.lines(call).await?);
                        }
                        kept = older.iter().flatten().any(|old| same(old, line));
                    }
                    if kept {
                        continue;
                    }
                }
                _ => {}
            }
            last += 1;
            let mut line = line.clone();
            line.seq = last;
            fresh.push(line);
        }
        Ok(fresh)
    }

    async fn lines(&self, call: &CallId) -> Result<Vec<Utterance>, ProviderError> {
        let Some(first) = self.get(&item::key(call)).await? else {
            return Ok(Vec::new());
        };
        let mut lines = first.lines();
        for part in 2..=first.parts() {
            if let Some(next) = self.get(&item::part_key(call, part)).await? {
                lines.append(&mut next.lines());
            }
        }
        Ok(lines)
    }

    /// Tells, for as long as there are live calls, that this process carries them.
    fn keep_alive(self: &Arc<Self>) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if alive.as_ref().is_none_or(JoinHandle::is_finished) {
            *alive = Some(tokio::spawn(tell_alive(Arc::downgrade(self))));
        }
    }

    async fn tell_alive(&self, call: &CallId) -> Result<(), ProviderError> {
        let asked = self
            .dynamo
            .client()
            .update_item()
            .table_name(&self.table)
            .key(item::KEY, AttributeValue::S(item::key(call)))
            .update_expression("SET alive_at = :now")
            .condition_expression("#node = :node")
            .expression_attribute_names("#node", "node")
            .expression_attribute_values(":now", AttributeValue::S(time(clock::wall())))
            .expression_attribute_values(":node", AttributeValue::S(self.node.clone()));
        let told = asked.send().await;
        told.map(drop).map_err(|error| failure(PROVIDER, error))
    }

    fn live(&self) -> MutexGuard<'_, HashMap<CallId, Arc<AsyncMutex<Live>>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn tell_alive(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(ALIVE).await;
        let Some(inner) = inner.upgrade() else { return };
        let calls: Vec<_> = inner
            .live()
            .iter()
            .map(|(call, slot)| (call.clone(), Arc::clone(slot)))
            .collect();
        if calls.is_empty() {
            return;
        }
        for (call, slot) in calls {
            let mut live = slot.lock().await;
            if clock::now() - live.told < ALIVE {
                continue;
            }
            match inner.tell_alive(&call).await {
                Ok(()) => live.told = clock::now(),
                Err(error) if *error.kind() == ProviderErrorKind::Conflict => {}
                Err(error) => warn!(
                    call_id = %call,
                    error = &error as &dyn std::error::Error,
                    "the record of a live call cannot be told that it lives"
                ),
            }
        }
    }
}

impl fmt::Debug for DynamoSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoSink")
            .field("table", &self.inner.table)
            .field("node", &self.inner.node)
            .field("live", &self.inner.live().len())
            .finish_non_exhaustive()
    }
}

/// Whether two lines are one, under whatever number.
fn same(one: &Utterance, other: &Utterance) -> bool {
    one.at == other.at
        && one.speaker == other.speaker
        && one.text == other.text
        && one.cut == other.cut
}

fn not_started() -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
        .with_detail("this call was not started here")
}

fn gap(due: u64, given: u64) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
        .with_detail(format!("line {given} came where line {due} is due"))
}

/// What lists show of a call, beside the keys of an index.
const LISTED: &[&str] = &[
    "phone_number",
    "direction",
    "status",
    "start_time",
    "day",
    "end_time",
    "duration_seconds",
    "transfer",
    "outcome",
    "usage",
    "cost_usd",
    "md_file_path",
    "owner_alias",
    "campaign",
    "prompt_version",
    "reply_count",
    "reply_latency_ms",
    "reply_latency_max_ms",
    "created_at",
];

const PROVIDER: &str = "dynamodb";

/// `2026-06-22` of a time.
const DAY: usize = 10;

/// How often another writer of the same call may be faster.
const RACES: u32 = 8;

/// A lease of 90 s is renewed at a third of it.
const ALIVE: Duration = Duration::from_secs(30);

//! The steps of a lead through a campaign, each one write that happens whole or not at all.
//!
//! A lead waits in the campaign's queue under the time when it is due. From there it is refused,
//! or an attempt is made of it: the *intent*, which is written before the carrier is asked. The
//! intent takes the lead out of the queue, counts the attempt, and fails when the campaign was
//! paused, has enough calls going on, or has spent its day's budget. An attempt ends *settled*:
//! with its outcome counted, and the lead back in the queue or through.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Campaign, Gatekeeper, Refusal,
    campaign::{DIALLED, DONE, IN_PROGRESS, MATCHED, PENDING, REFUSAL, REFUSED, Reading},
};
use crate::{
    call::{CallId, Outcome},
    error::{ProviderError, ProviderErrorKind},
    lead::{LeadPage, PhoneNumber},
    state::{Key, Record, Write},
};

/// A lead that waits for its turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) phone: PhoneNumber,
    /// How often each outcome came of its calls in this campaign.
    #[serde(default)]
    pub(super) outcomes: BTreeMap<Outcome, u32>,
}

/// A record that was read, and what it takes to change it.
#[derive(Clone, Debug)]
pub(super) struct Stored<T> {
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) value: T,
}

/// A call that is to be placed, or was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) id: String,
    pub(super) waiting: Waiting,
    /// The fence of the claim under which it was made.
    pub(super) fence: u64,
    /// When the intent was written.
    pub(super) at: Timestamp,
    /// When the carrier was asked last, where it did not take the call at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<Timestamp>,
    /// Who sees to it.
    pub(super) node: String,
    /// The carrier's id, once it has taken the call.
    pub(super) call: Option<CallId>,
}

impl<T: DeserializeOwned> Stored<T> {
    pub(super) fn read(record: Record) -> Result<Self, ProviderError> {
        let value = serde_json::from_value(record.value).map_err(|failed| {
            ProviderError::new("campaigns", ProviderErrorKind::Protocol)
                .with_detail(format!(
                    "a record of {} cannot be read",
                    record.key.collection
                ))
                .with_source(failed)
        })?;
        Ok(Self {
            key: record.key,
            version: record.version,
            value,
        })
    }
}

impl<T> Stored<T> {
    fn unchanged(&self) -> Write {
        Write::to(self.key.clone()).if_version(self.version)
    }
}

/// The next leads of a campaign, and how far that is.
pub(super) fn enqueue(
    campaign: &Campaign,
    page: &LeadPage,
    now: Timestamp,
) -> Result<Vec<Write>, ProviderError> {
    let mut read = campaign.clone();
    read.reading = match &page.next {
        Some(cursor) => Reading::Upto(cursor.clone()),
        None => Reading::Done,
    };
    let leads = i64::try_from(page.leads.len()).unwrap_or(i64::MAX);
    let mut writes = vec![read.write()?.add(MATCHED, leads).add(PENDING, leads)];
    for lead in &page.leads {
        let waiting = Waiting {
            phone: lead.phone.clone(),
            outcomes: BTreeMap::new(),
        };
        writes.push(queue(campaign, &waiting, now)?);
    }
    Ok(writes)
}

/// How many leads fit into one step of reading.
pub(super) const LEADS_AT_ONCE: usize = crate::state::MAX_WRITES - 1;

/// The lead's turn has come, and rules speak against it.
pub(super) fn refuse(
    campaign: &Campaign,
    turn: &Stored<Waiting>,
    refusals: &[Refusal],
) -> Vec<Write> {
    let counted = refusals.iter().fold(
        campaign.any().add(PENDING, -1).add(REFUSED, 1),
        |write, refusal| write.add(format!("{REFUSAL}{refusal}"), 1),
    );
    vec![turn.unchanged().delete(), counted]
}

/// The lead's turn comes at `due`.
pub(super) fn postpone(
    campaign: &Campaign,
    turn: &Stored<Waiting>,
    due: Timestamp,
) -> Result<Vec<Write>, ProviderError> {
    Ok(vec![
        turn.unchanged().delete(),
        queue(campaign, &turn.value, due)?,
    ])
}

/// The intent to dial. Fails when the campaign changed or has no room, and when whoever is to be
/// called has asked not to be.
pub(super) fn intend(
    campaign: &Campaign,
    turn: &Stored<Waiting>,
    attempt: &Attempt,
    room: Room,
) -> Result<Vec<Write>, ProviderError> {
    let at = attempt.at;
    let counted = campaign
        .unchanged()
        .add(PENDING, -1)
        .add_up_to(IN_PROGRESS, 1, i64::from(room.concurrent))
        .add(DIALLED, 1);
    let budget = Write::to(day_key(campaign, at));
    let budget = match room.calls_per_day {
        Some(most) => budget.add_up_to(CALLS, 1, i64::from(most)),
        None => budget.add(CALLS, 1),
    };
    Ok(vec![
        turn.unchanged().delete(),
        counted,
        budget,
        Gatekeeper::not_opted_out(&turn.value.phone),
        Gatekeeper::attempt(&turn.value.phone, &attempt.id, at),
        Write::to(attempt_key(campaign, &attempt.id))
            .if_absent()
            .set(to_value(attempt)?),
    ])
}

/// What limits an intent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) concurrent: u32,
    pub(super) calls_per_day: Option<u32>,
}

/// The carrier took nothing: there was no attempt, and the lead is due again at `due`.
pub(super) fn take_back(
    campaign: &Campaign,
    attempt: &Stored<Attempt>,
    due: Timestamp,
) -> Result<Vec<Write>, ProviderError> {
    let Attempt {
        id, waiting, at, ..
    } = &attempt.value;
    let counted = campaign
        .any()
        .add(PENDING, 1)
        .add(IN_PROGRESS, -1)
        .add(DIALLED, -1);
    Ok(vec![
        attempt.unchanged().delete(),
        counted,
        Write::to(day_key(campaign, *at)).add(CALLS, -1),
        Gatekeeper::forget_attempt(&waiting.phone, id, *at),
        queue(campaign, waiting, due)?,
    ])
}

/// The call that an attempt became is known, if nobody else took the attempt over.
pub(super) fn place(attempt: &Stored<Attempt>) -> Result<Vec<Write>, ProviderError> {
    let Attempt {
        id,
        waiting,
        at,
        call,
        ..
    } = &attempt.value;
    let mut writes = vec![update(attempt)?];
    // For as long as the attempt counts: the call is no other attempt's.
    writes.extend(
        call.as_ref()
            .map(|call| Gatekeeper::became(&waiting.phone, id, *at, call)),
    );
    Ok(writes)
}

/// The attempt as it is now, if nobody else took it over. Its version is one higher then.
pub(super) fn update(attempt: &Stored<Attempt>) -> Result<Write, ProviderError> {
    Ok(attempt.unchanged().set(to_value(&attempt.value)?))
}

/// The attempt is over with `outcome`; the lead is due again at `again`, or through.
pub(super) fn settle(
    campaign: &Campaign,
    attempt: &Stored<Attempt>,
    outcome: Outcome,
    cost_usd: f64,
    again: Option<Timestamp>,
) -> Result<Vec<Write>, ProviderError> {
    let mut waiting = attempt.value.waiting.clone();
    *waiting.outcomes.entry(outcome).or_default() += 1;
    let counted = campaign
        .any()
        .add(IN_PROGRESS, -1)
        .add(Campaign::outcome_counter(outcome), 1)
        .add(if again.is_some() { PENDING } else { DONE }, 1);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a call costs a few dollars; what is no number is cast to 0"
    )]
    let micro = (cost_usd * 1e6) as i64;
    let mut writes = vec![
        attempt.unchanged().delete(),
        counted,
        Write::to(day_key(campaign, attempt.value.at)).add(MICRO_USD, micro),
    ];
    if let Some(due) = again {
        writes.push(queue(campaign, &waiting, due)?);
    }
    Ok(writes)
}

fn queue(campaign: &Campaign, waiting: &Waiting, due: Timestamp) -> Result<Write, ProviderError> {
    let id = format!("{}/{}", due_id(due), waiting.phone.reveal());
    let key = Key::new(queue_of(&campaign.id), id);
    Ok(Write::to(key).set(to_value(waiting)?))
}

/// The collection in which a campaign's leads wait, by the time when they are due.
pub(super) fn queue_of(campaign: &str) -> String {
    format!("queue/{campaign}")
}

/// The last id of a queue that is due at `now`.
pub(super) fn due_until(now: Timestamp) -> String {
    format!("{}/~", due_id(now))
}

fn due_id(due: Timestamp) -> String {
    format!("{:015}", due.as_millisecond().max(0))
}

/// The collection of a campaign's unsettled attempts.
pub(super) fn attempts_of(campaign: &str) -> String {
    format!("attempts/{campaign}")
}

pub(super) fn attempt_key(campaign: &Campaign, attempt: &str) -> Key {
    Key::new(attempts_of(&campaign.id), attempt)
}

/// What a campaign spent on the day of `at`, in UTC.
pub(super) fn day_key(campaign: &Campaign, at: Timestamp) -> Key {
    let day = at.strftime("%Y-%m-%d").to_string();
    Key::new(format!("spent/{}", campaign.id), day)
}

pub(super) const CALLS: &str = "calls";
pub(super) const MICRO_USD: &str = "micro_usd";

fn to_value<T: Serialize>(value: &T) -> Result<serde_json::Value, ProviderError> {
    serde_json::to_value(value).map_err(|failed| {
        ProviderError::new("campaigns", ProviderErrorKind::Invalid).with_source(failed)
    })
}

//! Sums over calls, for analytics.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{CallRecord, Latency, Unreadable};
use crate::model::Usage;

/// A time in which calls started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "two ends")]
pub struct Span {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment behind it.
    pub to: Timestamp,
}

impl Span {
    /// Whether `moment` lies in it.
    #[must_use]
    pub fn contains(&self, moment: Timestamp) -> bool {
        (self.from..self.to).contains(&moment)
    }
}

/// What calls are summed up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupBy {
    /// All together; the group is called `all`.
    All,
    /// The day of the start, in UTC: `2026-06-22`.
    Day,
    /// The campaign that dialled; empty for calls of none.
    Campaign,
    /// The owner of the lead; empty for calls without one.
    Owner,
}

impl GroupBy {
    /// The group that a record belongs to.
    pub(crate) fn of(self, record: &CallRecord) -> String {
        match self {
            Self::All => ALL.to_owned(),
            Self::Day => record.day(),
            Self::Campaign => record.campaign.clone().unwrap_or_default(),
            Self::Owner => record.owner.clone().unwrap_or_default(),
        }
    }
}

/// The sums of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// The day, the campaign or the owner.
    pub group: String,
    /// How many calls there were, live ones included.
    pub calls: u64,
    /// How long they lasted, as far as they have ended.
    #[serde(rename = "minutes", serialize_with = "as_minutes")]
    pub talked: Duration,
    /// How many of them ended like that, or go on, by the words of
    /// [`CallStatus`](crate::call::CallStatus).
    pub statuses: BTreeMap<String, u64>,
    /// How many of them were inbound, and how many outbound.
    pub directions: BTreeMap<String, u64>,
    /// What came of how many, by the words of [`Outcome`](crate::call::Outcome).
    pub outcomes: BTreeMap<String, u64>,
    /// How fast the agent answered.
    #[serde(flatten)]
    pub latency: Latency,
    /// Tokens that the model counted.
    pub usage: Usage,
    /// What the model cost, in US dollars.
    pub cost_usd: f64,
}

impl Totals {
    pub(crate) fn add(&mut self, record: &CallRecord) {
        self.calls += 1;
        self.talked += record.duration.unwrap_or_default();
        let status = record.status.as_str().to_owned();
        *self.statuses.entry(status).or_default() += 1;
        let direction = record.direction.as_str().to_owned();
        *self.directions.entry(direction).or_default() += 1;
        if let Some(outcome) = record.outcome {
            let outcome = outcome.as_str().to_owned();
            *self.outcomes.entry(outcome).or_default() += 1;
        }
        self.latency.add(record.latency.unwrap_or_default());
        self.usage += record.usage;
        self.cost_usd += record.cost_usd.unwrap_or_default();
    }
}

/// The sums of all groups.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TotalsPage {
    /// Sorted by the group's name.
    pub groups: Vec<Totals>,
    /// Records that could not be read and so were not counted.
    pub unreadable: Vec<Unreadable>,
}

/// Adds records up, group by group.
pub(crate) struct Adder {
    by: GroupBy,
    groups: BTreeMap<String, Totals>,
}

impl Adder {
    pub(crate) const fn new(by: GroupBy) -> Self {
        Self {
            by,
            groups: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, record: &CallRecord) {
        let group = self.by.of(record);
        let totals = self.groups.entry(group.clone()).or_default();
        totals.group = group;
        totals.add(record);
    }

    pub(crate) fn finish(self) -> Vec<Totals> {
        self.groups.into_values().collect()
    }
}

fn as_minutes<S: serde::Serializer>(talked: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((talked.as_secs_f64() / 60.0 * 1e3).round() / 1e3)
}

const ALL: &str = "all";

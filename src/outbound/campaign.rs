//! Campaigns as the store keeps them: their plans, how far they are, what came of them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use tracing::warn;
use uuid::Uuid;

use super::Plan;
use crate::{
    call::Outcome,
    error::{ProviderError, ProviderErrorKind},
    lead::LeadCursor,
    state::{IdRange, Key, Record, StateStore, Write},
};

/// A campaign and its figures. Serialised as the API shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Campaign {
    /// Names it.
    pub id: String,
    /// What it is.
    pub plan: Plan,
    /// Whether it calls.
    pub state: CampaignState,
    /// When it was made.
    pub created: Timestamp,
    /// When it was started for the first time.
    pub started: Option<Timestamp>,
    /// Why it stopped by itself.
    pub stopped_because: Option<String>,
    /// How many leads and calls there are.
    pub counts: Counts,
    /// What came of the calls.
    pub outcomes: BTreeMap<String, i64>,
    /// How many leads each reason spoke against; a lead may have several.
    pub refusals: BTreeMap<String, i64>,
    /// How far its leads were read.
    pub(super) reading: Reading,
    pub(super) version: u64,
}

/// Whether a campaign calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the states of the interface")]
pub enum CampaignState {
    /// Not started yet.
    Draft,
    /// It calls.
    Running,
    /// Somebody paused it.
    Paused,
    /// Nobody is left to be called.
    Finished,
    /// It stopped by itself, because calling failed again and again.
    Stopped,
}

/// Leads and calls of a campaign. `matched` is the sum of `refused`, `pending`, `in_progress` and
/// `done`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the counts of the interface")]
pub struct Counts {
    /// Leads that the filter let through.
    pub matched: i64,
    /// Leads that a rule spoke against when it was their turn.
    pub refused: i64,
    /// Leads that wait for their turn, or for another one.
    pub pending: i64,
    /// Leads that are being called.
    pub in_progress: i64,
    /// Calls that were placed.
    pub dialled: i64,
    /// Leads that are through.
    pub done: i64,
}

/// How far the leads of a campaign were read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reading {
    /// Not begun.
    #[default]
    Todo,
    /// Up to here.
    Upto(LeadCursor),
    /// All.
    Done,
}

/// The value of a campaign's record. The figures are its counters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    plan: Plan,
    pub(super) state: CampaignState,
    created: Timestamp,
    started: Option<Timestamp>,
    stopped_because: Option<String>,
    #[serde(default)]
    pub(super) reading: Reading,
}

impl Campaign {
    pub(super) fn read(record: &Record) -> Result<Self, ProviderError> {
        let kept: Kept = serde_json::from_value(record.value.clone()).map_err(|failed| {
            ProviderError::new("campaigns", ProviderErrorKind::Protocol)
                .with_detail(format!("the campaign {} cannot be read", record.key.id))
                .with_source(failed)
        })?;
        let under = |prefix: &str| {
            record
                .counters
                .iter()
                .filter_map(|(name, count)| Some((name.strip_prefix(prefix)?.to_owned(), *count)))
                .collect()
        };
        Ok(Self {
            id: record.key.id.clone(),
            plan: kept.plan,
            state: kept.state,
            created: kept.created,
            started: kept.started,
            stopped_because: kept.stopped_because,
            counts: Counts {
                matched: record.counter(MATCHED),
                refused: record.counter(REFUSED),
                pending: record.counter(PENDING),
                in_progress: record.counter(IN_PROGRESS),
                dialled: record.counter(DIALLED),
                done: record.counter(DONE),
            },
            outcomes: under(OUTCOME),
            refusals: under(REFUSAL),
            reading: kept.reading,
            version: record.version,
        })
    }

    /// The write that keeps it as it is now, if nobody changed it meanwhile.
    pub(super) fn write(&self) -> Result<Write, ProviderError> {
        let kept = Kept {
            plan: self.plan.clone(),
            state: self.state,
            created: self.created,
            started: self.started,
            stopped_because: self.stopped_because.clone(),
            reading: self.reading.clone(),
        };
        let value = serde_json::to_value(kept).map_err(|failed| {
            ProviderError::new("campaigns", ProviderErrorKind::Invalid).with_source(failed)
        })?;
        Ok(self.unchanged().set(value))
    }

    /// A write to it that holds only if nobody changed it meanwhile: not its plan, not its state.
    pub(super) fn unchanged(&self) -> Write {
        let write = self.any();
        if self.version == 0 {
            write.if_absent()
        } else {
            write.if_version(self.version)
        }
    }

    /// A write to it, whatever happened meanwhile.
    pub(super) fn any(&self) -> Write {
        Write::to(key(&self.id))
    }

    /// The counter of an outcome.
    pub(super) fn outcome_counter(outcome: Outcome) -> String {
        format!("{OUTCOME}{}", outcome.as_str())
    }
}

impl Serialize for Campaign {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Campaign", 10)?;
        fields.serialize_field("id", &self.id)?;
        fields.serialize_field("name", &self.plan.name)?;
        fields.serialize_field("state", &self.state)?;
        fields.serialize_field("counts", &self.counts)?;
        fields.serialize_field("outcomes", &self.outcomes)?;
        fields.serialize_field("refusals", &self.refusals)?;
        fields.serialize_field("plan", &self.plan)?;
        fields.serialize_field("createdAt", &self.created)?;
        fields.serialize_field("startedAt", &self.started)?;
        fields.serialize_field("stoppedBecause", &self.stopped_because)?;
        fields.end()
    }
}

/// The campaigns of a store, for people who make and steer them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Campaigns {
    store: Arc<dyn StateStore>,
}

impl Campaigns {
    /// The campaigns that `store` keeps.
    pub fn new(store: Arc<dyn StateStore>) -> Self {
        Self { store }
    }

    /// A new one, which calls nobody until it is started. Ask [`Plan::problems`] first.
    ///
    /// # Errors
    ///
    /// When it cannot be kept.
    pub async fn create(&self, plan: Plan, now: Timestamp) -> Result<Campaign, ProviderError> {
        let mut campaign = Campaign {
            id: Uuid::new_v4().to_string(),
            plan,
            state: CampaignState::Draft,
            created: now,
            started: None,
            stopped_because: None,
            counts: Counts::default(),
            outcomes: BTreeMap::new(),
            refusals: BTreeMap::new(),
            reading: Reading::Todo,
            version: 0,
        };
        self.store.apply(vec![campaign.write()?], now).await?;
        campaign.version = 1;
        Ok(campaign)
    }

    /// The one with this id.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the record is damaged.
    pub async fn get(&self, id: &str, now: Timestamp) -> Result<Option<Campaign>, ProviderError> {
        if id.is_empty() {
            return Ok(None);
        }
        let record = self.store.get(&key(id), now).await?;
        let record = record.filter(|record| record.version > 0);
        record.as_ref().map(Campaign::read).transpose()
    }

    /// All of them, newest first. Damaged records are left out.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn list(&self, now: Timestamp) -> Result<Vec<Campaign>, ProviderError> {
        let mut campaigns = Vec::new();
        let mut range = IdRange::all();
        loop {
            let page = self.store.list(COLLECTION, &range, PAGE, now).await?;
            let Some(last) = page.last() else { break };
            range = IdRange::after(&last.key.id);
            let is_last = page.len() < PAGE;
            for record in page {
                match Campaign::read(&record) {
                    Ok(campaign) => campaigns.push(campaign),
                    Err(failed) => warn!(
                        error = &failed as &dyn std::error::Error,
                        "a campaign is left out"
                    ),
                }
            }
            if is_last {
                break;
            }
        }
        campaigns.sort_by_key(|campaign| std::cmp::Reverse(campaign.created));
        Ok(campaigns)
    }

    /// Lets it call. One that is finished stays so.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound), or when the store cannot be used.
    pub async fn start(&self, id: &str, now: Timestamp) -> Result<Campaign, ProviderError> {
        self.change(id, now, |campaign| match campaign.state {
            CampaignState::Running | CampaignState::Finished => false,
            CampaignState::Draft | CampaignState::Paused | CampaignState::Stopped => {
                campaign.state = CampaignState::Running;
                campaign.started.get_or_insert(now);
                campaign.stopped_because = None;
                true
            }
        })
        .await
    }

    /// Lets it call nobody new, on any node, from the moment when this returns. Calls that go on
    /// are not touched.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound), or when the store cannot be used.
    pub async fn pause(&self, id: &str, now: Timestamp) -> Result<Campaign, ProviderError> {
        self.change(id, now, |campaign| {
            let runs = campaign.state == CampaignState::Running;
            if runs {
                campaign.state = CampaignState::Paused;
            }
            runs
        })
        .await
    }

    /// Lets one that was paused, or stopped by itself, go on. Others stay as they are.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound), or when the store cannot be used.
    pub async fn resume(&self, id: &str, now: Timestamp) -> Result<Campaign, ProviderError> {
        self.change(id, now, |campaign| {
            let rests = matches!(
                campaign.state,
                CampaignState::Paused | CampaignState::Stopped
            );
            if rests {
                campaign.state = CampaignState::Running;
                campaign.stopped_because = None;
            }
            rests
        })
        .await
    }

    /// It stops by itself.
    pub(super) async fn stop(
        &self,
        id: &str,
        because: &str,
        now: Timestamp,
    ) -> Result<Campaign, ProviderError> {
        self.change(id, now, |campaign| {
            let runs = campaign.state == CampaignState::Running;
            if runs {
                campaign.state = CampaignState::Stopped;
                campaign.stopped_because = Some(because.to_owned());
            }
            runs
        })
        .await
    }

    /// It is finished, if nobody is left.
    pub(super) async fn finish(&self, id: &str, now: Timestamp) -> Result<Campaign, ProviderError> {
        self.change(id, now, |campaign| {
            let through = campaign.state == CampaignState::Running
                && campaign.reading == Reading::Done
                && campaign.counts.pending == 0
                && campaign.counts.in_progress == 0;
            if through {
                campaign.state = CampaignState::Finished;
            }
            through
        })
        .await
    }

    /// Makes a change until nobody was faster; `change` says whether there is one to make.
    async fn change(
        &self,
        id: &str,
        now: Timestamp,
        change: impl Fn(&mut Campaign) -> bool + Send + Sync,
    ) -> Result<Campaign, ProviderError> {
        let mut failed = None;
        for _ in 0..TRIES {
            let Some(mut campaign) = self.get(id, now).await? else {
                return Err(ProviderError::new("campaigns", ProviderErrorKind::NotFound));
            };
            if !change(&mut campaign) {
                return Ok(campaign);
            }
            match self.store.apply(vec![campaign.write()?], now).await {
                Ok(()) => {
                    campaign.version += 1;
                    return Ok(campaign);
                }
                Err(error) if *error.kind() == ProviderErrorKind::Conflict => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failed
            .unwrap_or_else(|| ProviderError::new("campaigns", ProviderErrorKind::Unavailable)))
    }
}

fn key(id: &str) -> Key {
    Key::new(COLLECTION, id)
}

const COLLECTION: &str = "campaigns";
const PAGE: usize = 100;

/// Others who change the same campaign at the same moment: those who read its leads.
const TRIES: u32 = 50;

pub(super) const MATCHED: &str = "matched";
pub(super) const REFUSED: &str = "refused";
pub(super) const PENDING: &str = "pending";
pub(super) const IN_PROGRESS: &str = "in_progress";
pub(super) const DIALLED: &str = "dialled";
pub(super) const DONE: &str = "done";
const OUTCOME: &str = "outcome:";
pub(super) const REFUSAL: &str = "refusal:";

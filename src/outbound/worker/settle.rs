//! What becomes of an attempt: its call is waited for, looked up where nobody tells, and settled.

use std::{convert::Infallible, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::{Attempt, Failing, Inner, Stored, complain};
use crate::{
    call::{CallId, Outcome},
    error::{ProviderError, ProviderErrorKind},
    lead::{CallResult, Change, Claim, Claimant, Lead, LeadCallStatus},
    outbound::{Campaign, Placed, attempt},
    record::CallNote,
};

/// How a call ended, from wherever that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    outcome: Outcome,
    at: Timestamp,
    cost_usd: f64,
    bad_number: bool,
}

/// How an attempt is watched.
#[derive(Clone, Copy, Debug)]
struct Watch {
    /// When the carrier was asked last.
    looked: Option<Timestamp>,
    /// When the carrier was first heard to say that a call is over whose process died.
    over: Option<Timestamp>,
}

impl Watch {
    /// Whether it is time to ask the carrier, who was not asked for that long.
    fn is_due(&mut self, now: Timestamp, pause: SignedDuration) -> bool {
        let is_due = self
            .looked
            .is_none_or(|last| now.duration_since(last) >= pause);
        if is_due {
            self.looked = Some(now);
        }
        is_due
    }
}

impl Inner {
    /// Waits for the end of an attempt, and settles it.
    pub(super) async fn see_through(
        &self,
        campaign: &Campaign,
        mut attempt: Stored<Attempt>,
        mut claim: Option<Claim>,
    ) {
        let end = tokio::select! {
            end = self.await_end(campaign, &mut attempt) => end,
            never = self.keep(&mut claim) => match never {},
        };
        let mut pause = self.config.poll;
        while let Err(failed) = self.settle(campaign, &attempt, end, &mut claim).await {
            if *failed.kind() == ProviderErrorKind::Conflict {
                // Somebody took us for dead, and settles it.
                break;
            }
            complain("an attempt cannot be settled yet", &failed);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.hands().attempts.remove(&attempt.value.id);
    }

    /// Renews a claim in time, also while the carrier takes its time to answer.
    async fn keep(&self, claim: &mut Option<Claim>) -> Infallible {
        loop {
            let Some(held) = claim.as_ref() else {
                return std::future::pending().await;
            };
            let due = held.until.checked_sub(LEFT).unwrap_or(Timestamp::MIN);
            let wait = Duration::try_from(due.duration_since(self.now())).unwrap_or_default();
            tokio::time::sleep(wait).await;
            let now = self.now();
            let until = now.checked_add(crate::lead::LEASE).unwrap_or(now);
            match self.desk.leads.renew(held, until).await {
                Ok(renewed) => *claim = Some(renewed),
                Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => *claim = None,
                Err(failed) => {
                    complain("a claim cannot be renewed", &failed);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn await_end(&self, campaign: &Campaign, attempt: &mut Stored<Attempt>) -> End {
        let mut watch = Watch {
            looked: attempt.value.call.is_some().then(|| self.now()),
            over: None,
        };
        loop {
            if let Some(end) = self.end_of(campaign, attempt, &mut watch).await {
                return end;
            }
            tokio::time::sleep(self.config.poll).await;
        }
    }

    /// The end of an attempt's call, once it is known: from its record, or from the carrier where
    /// the record does not tell.
    async fn end_of(
        &self,
        campaign: &Campaign,
        attempt: &mut Stored<Attempt>,
        watch: &mut Watch,
    ) -> Option<End> {
        let now = self.now();
        let mut pause = LOOK_FOR;
        if let Some(call) = &attempt.value.call {
            pause = LOOK_UP;
            match self.desk.calls.get(call).await {
                Ok(Some(record)) if !record.is_live() => {
                    let outcome = record.outcome.unwrap_or(Outcome::Failed);
                    if outcome == Outcome::Abandoned && !self.is_lost(call, watch).await {
                        return None;
                    }
                    let bad_number = self.is_bad_number(call, record.outcome).await?;
                    return Some(End {
                        outcome,
                        at: record.ended.unwrap_or(now),
                        cost_usd: record.cost_usd.unwrap_or(0.0),
                        bad_number,
                    });
                }
                // Whoever carries it says how it ends.
                Ok(Some(record)) if record.alive.is_some() => pause = LOOK_AFTER,
                Ok(_) => {}
                Err(failed) => complain("the record of a call cannot be read", &failed),
            }
        }
        match watch.is_due(now, pause) {
            true => self.ask_the_carrier(campaign, attempt).await,
            false => None,
        }
    }

    /// Whether a call is over that was abandoned. Its process died; the carrier connects it once
    /// more, to another one.
    async fn is_lost(&self, call: &CallId, watch: &mut Watch) -> bool {
        let now = self.now();
        if let Some(over) = watch.over {
            // Whoever had taken it has said so by now.
            return now.duration_since(over) >= LOOK_FOR;
        }
        if watch.is_due(now, LOOK_FOR) {
            match self.desk.line.look(call).await {
                Ok(Some(placed)) if placed.end.is_none() => {}
                Ok(_) => watch.over = Some(self.now()),
                Err(failed) => complain("a call cannot be looked up", &failed),
            }
        }
        false
    }

    async fn ask_the_carrier(
        &self,
        campaign: &Campaign,
        attempt: &mut Stored<Attempt>,
    ) -> Option<End> {
        let asked = attempt.value.asked.unwrap_or(attempt.value.at);
        let searched = Duration::try_from(self.now().duration_since(asked)).unwrap_or_default();
        let is_known = attempt.value.call.is_some();
        let known = match attempt.value.call.clone() {
            Some(call) => self.desk.line.look(&call).await,
            None => self.find(campaign, attempt).await,
        };
        // It counts as made, though nobody knows of it.
        let unknown = End {
            outcome: Outcome::Failed,
            at: self.now(),
            cost_usd: 0.0,
            bad_number: false,
        };
        match known {
            Ok(Some(placed)) => {
                let end = placed.end?;
                let note = CallNote {
                    status: Some(end.status),
                    outcome: Some(end.outcome),
                    ended: Some(end.at),
                    ..CallNote::default()
                };
                match self.desk.calls.close(&placed.call, &note).await {
                    Ok(true) => {}
                    // Its process says how it ended, or that process is found to be dead.
                    Ok(false) => return None,
                    Err(failed) => {
                        complain("the end of a call could not be kept", &failed);
                        return None;
                    }
                }
                Some(End {
                    outcome: end.outcome,
                    at: end.at,
                    cost_usd: 0.0,
                    bad_number: end.bad_number,
                })
            }
            Ok(None) => (searched >= self.config.search).then_some(unknown),
            Err(failed) => {
                complain("a call cannot be looked up", &failed);
                (!is_known && searched >= HOPELESS).then_some(unknown)
            }
        }
    }

    /// Looks for the call of an attempt of which nothing but the intent is known.
    async fn find(
        &self,
        campaign: &Campaign,
        attempt: &mut Stored<Attempt>,
    ) -> Result<Option<Placed>, ProviderError> {
        let Attempt { waiting, at, .. } = &attempt.value;
        let phone = waiting.phone.clone();
        // The carrier's clock may run a little behind.
        let since = at.checked_sub(SKEW).unwrap_or(*at);
        let found = self.desk.line.find(&phone, since).await?;
        if found.is_empty() {
            return Ok(None);
        }
        // A call of the attempt before may be as young.
        let others = self.desk.gate.calls(&phone, self.now()).await?;
        let found = found
            .into_iter()
            .find(|placed| !others.contains(&placed.call));
        if let Some(placed) = &found {
            info!(call = %placed.call, "a call was found at the carrier");
            self.placed(campaign, attempt, placed.call.clone(), None)
                .await;
        }
        Ok(found)
    }

    /// `None`: nobody can tell now.
    async fn is_bad_number(&self, call: &CallId, outcome: Option<Outcome>) -> Option<bool> {
        if outcome != Some(Outcome::Failed) {
            return Some(false);
        }
        let known = match self.desk.line.look(call).await {
            Ok(known) => known,
            Err(failed) => {
                complain("a call cannot be looked up", &failed);
                return None;
            }
        };
        let is_bad = known
            .and_then(|placed| placed.end)
            .is_some_and(|end| end.bad_number);
        Some(is_bad)
    }

    async fn settle(
        &self,
        campaign: &Campaign,
        attempt: &Stored<Attempt>,
        end: End,
        claim: &mut Option<Claim>,
    ) -> Result<(), ProviderError> {
        self.write_back(attempt, end, claim).await?;
        // That nothing was placed was noted when it was tried, or it died with its node.
        if attempt.value.call.is_some() {
            let failed = end.outcome == Outcome::Failed && !end.bad_number;
            self.note_failure(&campaign.id, Failing::Calls, failed.then_some("it failed"))
                .await;
        }
        let nth = attempt.value.waiting.outcomes.get(&end.outcome);
        let nth = nth.copied().unwrap_or(0) + 1;
        let again = campaign
            .plan
            .retries
            .next(end.outcome, nth, end.at)
            .filter(|_| !end.bad_number);
        let writes = attempt::settle(campaign, attempt, end.outcome, end.cost_usd, again)?;
        self.desk.state.apply(writes, self.now()).await
    }

    /// The claim under which an attempt was made, or another one: its node may be dead. `None`
    /// when somebody else has the lead.
    pub(super) async fn inherit(
        &self,
        attempt: &Stored<Attempt>,
    ) -> Result<Option<Claim>, ProviderError> {
        let (phone, now) = (&attempt.value.waiting.phone, self.now());
        let until = now.checked_add(crate::lead::LEASE).unwrap_or(now);
        let left = Claim {
            lead: Lead::new(phone.clone()),
            owner: attempt.value.node.clone(),
            fence: attempt.value.fence,
            until,
        };
        match self.desk.leads.renew(&left, until).await {
            Ok(claim) => return Ok(Some(claim)),
            // It was settled, or ran out and was taken.
            Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => {}
            Err(failed) if *failed.kind() == ProviderErrorKind::NotFound => return Ok(None),
            Err(failed) => return Err(failed),
        }
        let claimant = Claimant::new(&self.node, now);
        self.desk.leads.claim(phone, &claimant).await
    }

    /// What came of the call goes to the lead, under our claim.
    async fn write_back(
        &self,
        attempt: &Stored<Attempt>,
        end: End,
        claim: &mut Option<Claim>,
    ) -> Result<(), ProviderError> {
        let (phone, call) = (&attempt.value.waiting.phone, attempt.value.call.as_ref());
        let held = match claim.take() {
            Some(held) => Some(held),
            None => self.inherit(attempt).await?,
        };
        let Some(held) = held else {
            warn!("somebody else works on a lead: what came of our call is in its record alone");
            return Ok(());
        };
        let status = if end.bad_number {
            LeadCallStatus::BadNumber
        } else {
            // As it is now: a wish may have been written down in the call.
            let before = self.desk.leads.get(phone).await?;
            let before = before.as_ref().and_then(Lead::call_status);
            LeadCallStatus::after(before, end.outcome)
        };
        let mut result = CallResult::new(status, end.at);
        if let Some(call) = call {
            let lines = self.desk.calls.lines(call, 0).await?;
            let words: Vec<String> = lines
                .iter()
                .map(|line| format!("{}: {}", line.speaker.as_str(), line.text))
                .collect();
            result.transcript = (!words.is_empty()).then(|| words.join("\n"));
        }
        let made = self.desk.gate.attempts(phone, self.now()).await?;
        let mut change = Change::new().result(&result).set("attempts", made.len());
        if end.outcome == Outcome::FollowUp {
            // They have said when, to whoever talked with them.
            change = change.without("next_attempt");
        }
        match self.desk.leads.settle(&held, change).await {
            Ok(_) => Ok(()),
            Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => {
                warn!("our claim of a lead ran out: what came of the call is in its record alone");
                Ok(())
            }
            Err(failed) => {
                *claim = Some(held);
                Err(failed)
            }
        }
    }
}

/// When a claim is renewed: so long before it runs out.
const LEFT: Duration = Duration::from_secs(60);

/// When a claim is renewed that could not be.
const AGAIN: Duration = Duration::from_secs(5);

/// How often the carrier is asked about a call whose record says nothing.
const LOOK_UP: SignedDuration = SignedDuration::from_secs(15);

/// The same, when somebody says to carry it.
const LOOK_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// How often a call is looked for that the carrier may not have placed.
const LOOK_FOR: SignedDuration = SignedDuration::from_secs(3);

/// How long a call is looked for where it cannot be looked up.
const HOPELESS: Duration = Duration::from_hours(1);

/// How far two clocks may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

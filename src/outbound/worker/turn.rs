//! One lead's turn: claimed, asked about, dialled, seen through, settled.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Attempt, Hand, Inner, Stored, Waiting, complain, pace, running_for};
use crate::{
    call::{CallId, Direction, Outcome, Party},
    error::{ProviderError, ProviderErrorKind},
    lead::{CallResult, Change, Claim, Claimant, LeadCallStatus, PhoneNumber},
    outbound::{
        Campaign, Order, Refusal,
        attempt::{self, Room, attempt_key},
    },
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

impl Inner {
    pub(super) async fn turn(
        self: Arc<Self>,
        campaign: Campaign,
        turn: Stored<Waiting>,
        mut hand: Hand,
        stop: watch::Receiver<bool>,
    ) {
        let phone = turn.value.phone.clone();
        let claimant = Claimant::new(&self.node, self.now());
        let claim = match self.desk.leads.claim(&phone, &claimant).await {
            Ok(Some(claim)) => claim,
            Ok(None) => return self.pass(&campaign, &turn).await,
            Err(failed) => return complain("a lead cannot be claimed", &failed),
        };
        let mut claim = Some(claim);
        match self.place(&campaign, &turn, &mut claim, stop).await {
            Ok(Some(attempt)) => {
                hand.prepared();
                self.see_through(&campaign, attempt, claim).await;
            }
            Ok(None) => {}
            Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => {}
            Err(failed) => complain("a lead's turn failed", &failed),
        }
    }

    /// The lead cannot be claimed: somebody else holds it, or there is none any more.
    async fn pass(&self, campaign: &Campaign, turn: &Stored<Waiting>) {
        match self.desk.leads.get(&turn.value.phone).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                let writes = attempt::refuse(campaign, turn, &[Refusal::Unverified]);
                if let Err(failed) = self.desk.state.apply(writes, self.now()).await {
                    complain("a lead that is gone cannot be passed over", &failed);
                }
            }
            Err(failed) => complain("a lead cannot be read", &failed),
        }
    }

    /// From the claim to the carrier's answer. `None` when nobody is called; then the claim was
    /// given back. A claim that is left goes with the call.
    async fn place(
        &self,
        campaign: &Campaign,
        turn: &Stored<Waiting>,
        claim: &mut Option<Claim>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Option<Stored<Attempt>>, ProviderError> {
        let Some(held) = claim.clone() else {
            return Ok(None);
        };
        let rules = campaign.plan.rules(self.config.consent);
        let phone = &turn.value.phone;
        let lead = Some(&held.lead);
        let name = Some(campaign.id.as_str());
        let decision = self
            .desk
            .gate
            .decide(phone, lead, &rules, name, false, self.now())
            .await;
        if !decision.refusals.is_empty() {
            let writes = match self.postponed(campaign, &held, &decision.refusals).await? {
                Some(due) => attempt::postpone(campaign, turn, due)?,
                None => attempt::refuse(campaign, turn, &decision.refusals),
            };
            let refused = self.desk.state.apply(writes, self.now()).await;
            self.give_back(claim).await;
            return refused.map(|()| None);
        }
        let place = self.take_place(campaign).await?;
        let wait = Duration::try_from(place.duration_since(self.now())).unwrap_or_default();
        let told = tokio::select! {
            // An error says that nobody can tell us to go on.
            _ = stop.wait_for(|stop| *stop) => true,
            () = tokio::time::sleep(wait) => false,
        };
        if told || self.spent(campaign, self.now()).await?.today {
            self.give_back(claim).await;
            return Ok(None);
        }
        let now = self.now();
        let attempt = Attempt {
            id: Uuid::new_v4().to_string(),
            waiting: turn.value.clone(),
            fence: held.fence,
            at: now,
            node: self.node.clone(),
            call: None,
        };
        let room = Room {
            concurrent: campaign.plan.pacing.concurrent(running_for(campaign, now)),
            calls_per_day: campaign.plan.budget.calls_per_day,
        };
        let intent = attempt::intend(campaign, turn, &attempt, room)?;
        self.hands().attempts.insert(attempt.id.clone());
        if let Err(failed) = self.desk.state.apply(intent, now).await {
            // Where the answer was lost the intent may stand: it is found again, as ours, and
            // settled by looking the call up, which was never placed.
            self.hands().attempts.remove(&attempt.id);
            self.give_back(claim).await;
            return Err(failed);
        }
        let stored = Stored {
            key: attempt_key(campaign, &attempt.id),
            version: 1,
            value: attempt,
        };
        self.dial(campaign, stored, claim).await
    }

    /// When a lead is due that only waits because a day's budget was spent before its turn came,
    /// and whose hours are over now. Any other lead is refused.
    async fn postponed(
        &self,
        campaign: &Campaign,
        claim: &Claim,
        refusals: &[Refusal],
    ) -> Result<Option<Timestamp>, ProviderError> {
        let now = self.now();
        if refusals != [Refusal::OutsideWindow] || !self.spent(campaign, now).await?.before {
            return Ok(None);
        }
        let zones: Vec<_> = claim.lead.zones().iter().collect();
        Ok(campaign.plan.window.next_open(now, &zones))
    }

    async fn take_place(&self, campaign: &Campaign) -> Result<Timestamp, ProviderError> {
        let (state, now) = (&*self.desk.state, self.now());
        let interval = campaign.plan.pacing.interval(running_for(campaign, now));
        let place = pace::take_place(state, &campaign.id, interval, now).await?;
        let account = Duration::from_secs_f64(1.0 / self.config.account_rate.max(0.001));
        pace::take_place(state, ACCOUNT, account, place).await
    }

    /// Asks the carrier for the call that is intended.
    async fn dial(
        &self,
        campaign: &Campaign,
        mut attempt: Stored<Attempt>,
        claim: &mut Option<Claim>,
    ) -> Result<Option<Stored<Attempt>>, ProviderError> {
        let order = Order {
            attempt: attempt.value.id.clone(),
            campaign: Some(campaign.id.clone()),
            to: attempt.value.waiting.phone.clone(),
            lead: claim.as_ref().map(|claim| claim.lead.clone()),
            voicemail: campaign.plan.voicemail,
            prompt_version: campaign.plan.prompt_version.clone(),
        };
        match self.desk.line.dial(&order).await {
            Ok(call) => {
                self.placed(campaign, &mut attempt, call, claim.as_ref())
                    .await;
                Ok(Some(attempt))
            }
            Err(failed) if was_not_placed(&failed) => {
                warn!(
                    error = &failed as &dyn std::error::Error,
                    campaign = campaign.id,
                    "the carrier takes no call"
                );
                // To be told to wait is no sign that anything is out of order.
                if !matches!(failed.kind(), ProviderErrorKind::Throttled { .. }) {
                    self.note_failure(&campaign.id, Some(&failed.to_string()))
                        .await;
                }
                let due = self.now().checked_add(LATER).unwrap_or(Timestamp::MAX);
                let writes = attempt::take_back(campaign, &attempt, due)?;
                let taken_back = self.desk.state.apply(writes, self.now()).await;
                self.hands().attempts.remove(&attempt.value.id);
                self.give_back(claim).await;
                taken_back.map(|()| None)
            }
            Err(failed) => {
                warn!(
                    error = &failed as &dyn std::error::Error,
                    campaign = campaign.id,
                    "whether a call was placed is not known: looking it up"
                );
                Ok(Some(attempt))
            }
        }
    }

    /// The carrier has taken a call: everybody may know whose it is.
    pub(super) async fn placed(
        &self,
        campaign: &Campaign,
        attempt: &mut Stored<Attempt>,
        call: CallId,
        claim: Option<&Claim>,
    ) {
        attempt.value.call = Some(call.clone());
        let noted = match attempt::update(attempt) {
            Ok(write) => self.desk.state.apply(vec![write], self.now()).await,
            Err(failed) => Err(failed),
        };
        match noted {
            Ok(()) => attempt.version += 1,
            // It is looked up by its number then, should this process die.
            Err(failed) => complain("the id of a call could not be kept", &failed),
        }
        let note = CallNote {
            remote: Some(Party::new(attempt.value.waiting.phone.reveal())),
            direction: Some(Direction::Outbound),
            campaign: Some(campaign.id.clone()),
            owner: claim.and_then(|claim| claim.lead.text("owner_alias").map(Into::into)),
            ..CallNote::default()
        };
        if let Err(failed) = self.desk.calls.note(&call, &note).await {
            complain("the record of a call could not be begun", &failed);
        }
    }

    /// Waits for the end of an attempt, and settles it.
    pub(super) async fn see_through(
        &self,
        campaign: &Campaign,
        mut attempt: Stored<Attempt>,
        mut claim: Option<Claim>,
    ) {
        let mut renewed = self.now();
        let mut looked = None;
        let end = loop {
            if let Some(end) = self.end_of(campaign, &mut attempt, &mut looked).await {
                break end;
            }
            tokio::time::sleep(self.config.poll).await;
            let now = self.now();
            if now.duration_since(renewed) > RENEWAL
                && let Some(held) = &claim
            {
                renewed = now;
                let until = now.checked_add(crate::lead::LEASE).unwrap_or(now);
                match self.desk.leads.renew(held, until).await {
                    Ok(renewed) => claim = Some(renewed),
                    Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => claim = None,
                    Err(failed) => complain("a claim cannot be renewed", &failed),
                }
            }
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

    /// The end of an attempt's call, once it is known: from its record, or from the carrier where
    /// the record does not tell.
    async fn end_of(
        &self,
        campaign: &Campaign,
        attempt: &mut Stored<Attempt>,
        looked: &mut Option<Timestamp>,
    ) -> Option<End> {
        let now = self.now();
        if let Some(call) = &attempt.value.call {
            match self.desk.calls.get(call).await {
                Ok(Some(record)) if !record.is_live() => {
                    return Some(End {
                        outcome: record.outcome.unwrap_or(Outcome::Failed),
                        at: record.ended.unwrap_or(now),
                        cost_usd: record.cost_usd.unwrap_or(0.0),
                        bad_number: self.is_bad_number(call, record.outcome).await,
                    });
                }
                Ok(_) => {}
                Err(failed) => complain("the record of a call cannot be read", &failed),
            }
        }
        let last = looked.get_or_insert(now);
        if now.duration_since(*last) < LOOK_UP && attempt.value.call.is_some() {
            return None;
        }
        *last = now;
        self.ask_the_carrier(campaign, attempt).await
    }

    async fn ask_the_carrier(
        &self,
        campaign: &Campaign,
        attempt: &mut Stored<Attempt>,
    ) -> Option<End> {
        let known = match attempt.value.call.clone() {
            Some(call) => self.desk.line.look(&call).await,
            None => {
                // The carrier's clock may run a little behind.
                let since = attempt
                    .value
                    .at
                    .checked_sub(SKEW)
                    .unwrap_or(attempt.value.at);
                let phone = attempt.value.waiting.phone.clone();
                let found = self.desk.line.find(&phone, since).await;
                if let Ok(Some(placed)) = &found {
                    info!(call = %placed.call, "a call was found at the carrier");
                    self.placed(campaign, attempt, placed.call.clone(), None)
                        .await;
                }
                found
            }
        };
        let searched = self.now().duration_since(attempt.value.at);
        let search = SignedDuration::try_from(self.config.search).unwrap_or(SignedDuration::MAX);
        match known {
            Ok(Some(placed)) => {
                let end = placed.end?;
                let note = CallNote {
                    status: Some(end.status),
                    outcome: Some(end.outcome),
                    ended: Some(end.at),
                    ..CallNote::default()
                };
                if let Err(failed) = self.desk.calls.note(&placed.call, &note).await {
                    complain("the end of a call could not be kept", &failed);
                    return None;
                }
                Some(End {
                    outcome: end.outcome,
                    at: end.at,
                    cost_usd: 0.0,
                    bad_number: end.bad_number,
                })
            }
            // It counts as made, though nobody knows of it.
            Ok(None) if searched > search => Some(End {
                outcome: Outcome::Failed,
                at: self.now(),
                cost_usd: 0.0,
                bad_number: false,
            }),
            Ok(None) => None,
            Err(failed) => {
                complain("a call cannot be looked up", &failed);
                None
            }
        }
    }

    async fn is_bad_number(&self, call: &CallId, outcome: Option<Outcome>) -> bool {
        if outcome != Some(Outcome::Failed) {
            return false;
        }
        let known = self.desk.line.look(call).await.ok().flatten();
        known
            .and_then(|placed| placed.end)
            .is_some_and(|end| end.bad_number)
    }

    async fn settle(
        &self,
        campaign: &Campaign,
        attempt: &Stored<Attempt>,
        end: End,
        claim: &mut Option<Claim>,
    ) -> Result<(), ProviderError> {
        let phone = &attempt.value.waiting.phone;
        self.write_back(phone, attempt.value.call.as_ref(), end, claim)
            .await?;
        let because = (end.outcome == Outcome::Failed && !end.bad_number).then_some("it failed");
        self.note_failure(&campaign.id, because).await;
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

    /// What came of the call goes to the lead, under our claim.
    async fn write_back(
        &self,
        phone: &PhoneNumber,
        call: Option<&CallId>,
        end: End,
        claim: &mut Option<Claim>,
    ) -> Result<(), ProviderError> {
        let held = match claim.take() {
            Some(held) => Some(held),
            None => {
                let claimant = Claimant::new(&self.node, self.now());
                self.desk.leads.claim(phone, &claimant).await?
            }
        };
        let Some(held) = held else {
            warn!("somebody else works on a lead: what came of our call is in its record alone");
            return Ok(());
        };
        let status = if end.bad_number {
            LeadCallStatus::BadNumber
        } else {
            LeadCallStatus::from(end.outcome)
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
        let change = Change::new().result(&result).set("attempts", made.len());
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

    /// Gives the lead back as it was.
    async fn give_back(&self, claim: &mut Option<Claim>) {
        let Some(held) = claim.take() else { return };
        if let Err(failed) = self.desk.leads.settle(&held, Change::new()).await
            && *failed.kind() != ProviderErrorKind::Conflict
        {
            complain("a claim cannot be given back: its lease runs out", &failed);
        }
    }
}

/// See [`Line::dial`](crate::outbound::Line::dial).
fn was_not_placed(failed: &ProviderError) -> bool {
    matches!(
        failed.kind(),
        ProviderErrorKind::Throttled { .. }
            | ProviderErrorKind::Unauthorized
            | ProviderErrorKind::NotFound
            | ProviderErrorKind::Invalid
    )
}

/// The pace of the carrier's account.
const ACCOUNT: &str = "account";

/// When a lead is due again whose call the carrier did not take.
const LATER: Duration = Duration::from_secs(30);

/// How often a claim is renewed: three times in a lease.
const RENEWAL: SignedDuration = SignedDuration::from_secs(30);

/// How often the carrier is asked about a call whose record says nothing.
const LOOK_UP: SignedDuration = SignedDuration::from_secs(15);

/// How far two clocks may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

//! One lead's turn: asked about, claimed, dialled.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    Attempt, CampaignState, Failing, Hand, Inner, Stored, Waiting, complain, pace, running_for,
};
use crate::{
    call::{CallId, Direction, Party},
    error::{ProviderError, ProviderErrorKind},
    lead::{Change, Claim, Claimant, Lead},
    outbound::{
        Campaign, Order, Refusal, Tries,
        attempt::{self, Room, attempt_key},
    },
    record::CallNote,
};

impl Inner {
    pub(super) async fn turn(
        self: Arc<Self>,
        campaign: Campaign,
        turn: Stored<Waiting>,
        mut hand: Hand,
        stop: watch::Receiver<bool>,
    ) {
        let mut claim = None;
        match self.place(&campaign, &turn, &mut claim, stop).await {
            Ok(Some(attempt)) => {
                hand.prepared();
                self.see_through(&campaign, attempt, claim).await;
            }
            Ok(None) => self.give_back(&mut claim).await,
            Err(failed) => {
                if *failed.kind() != ProviderErrorKind::Conflict {
                    complain("a lead's turn failed", &failed);
                }
                // Its lease would keep everybody from it for a while.
                self.give_back(&mut claim).await;
            }
        }
    }

    /// From the lead to the carrier's answer. `None` when nobody is called. A claim that is left
    /// goes with the call.
    async fn place(
        &self,
        campaign: &Campaign,
        turn: &Stored<Waiting>,
        claim: &mut Option<Claim>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Option<Stored<Attempt>>, ProviderError> {
        let phone = &turn.value.phone;
        let Some(lead) = self.desk.leads.get(phone).await? else {
            // It is gone.
            let writes = attempt::refuse(campaign, turn, &[Refusal::Unverified]);
            self.desk.state.apply(writes, self.now()).await?;
            return Ok(None);
        };
        if !self.may_be_called(campaign, turn, &lead).await? {
            return Ok(None);
        }
        let told = tokio::select! {
            biased;
            // An error says that nobody can tell us to go on.
            _ = stop.wait_for(|stop| *stop) => true,
            come = self.await_place(campaign, Timestamp::MAX) => {
                come?;
                false
            }
        };
        if told || self.spent(campaign, self.now()).await?.today {
            return Ok(None);
        }
        // Not before its turn: the claim of a node that dies keeps everybody from the lead.
        let claimant = Claimant::new(&self.node, self.now());
        let Some(held) = self.desk.leads.claim(phone, &claimant).await? else {
            let due = self.now().checked_add(HELD).unwrap_or(Timestamp::MAX);
            let writes = attempt::postpone(campaign, turn, due)?;
            self.desk.state.apply(writes, self.now()).await?;
            return Ok(None);
        };
        let held = claim.insert(held).clone();
        // Much may have been said meanwhile.
        let rules = campaign.plan.rules(self.config.consent);
        let asked = self
            .desk
            .gate
            .ask(phone, Some(&held.lead), &rules, self.now());
        let called =
            asked.await.is_empty() || self.may_be_called(campaign, turn, &held.lead).await?;
        if !called || *stop.borrow() {
            return Ok(None);
        }
        let now = self.now();
        let attempt = Attempt {
            id: Uuid::new_v4().to_string(),
            waiting: turn.value.clone(),
            fence: held.fence,
            at: now,
            node: self.node.clone(),
            asked: None,
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
            return Err(failed);
        }
        let stored = Stored {
            key: attempt_key(campaign, &attempt.id),
            version: 1,
            value: attempt,
        };
        self.dial(campaign, stored, claim, stop).await
    }

    /// Whether the rules let a lead be called; otherwise it is refused, or its turn comes later.
    async fn may_be_called(
        &self,
        campaign: &Campaign,
        turn: &Stored<Waiting>,
        lead: &Lead,
    ) -> Result<bool, ProviderError> {
        let rules = campaign.plan.rules(self.config.consent);
        let (phone, name) = (&turn.value.phone, Some(campaign.id.as_str()));
        let decided = self
            .desk
            .gate
            .decide(phone, Some(lead), &rules, name, false, self.now());
        let refusals = decided.await.refusals;
        if refusals.is_empty() {
            return Ok(true);
        }
        let writes = match self.postponed(campaign, lead, &refusals).await? {
            Some(due) => attempt::postpone(campaign, turn, due)?,
            None => attempt::refuse(campaign, turn, &refusals),
        };
        self.desk.state.apply(writes, self.now()).await?;
        Ok(false)
    }

    /// When a lead is due that only waits because a day's budget was spent before its turn came,
    /// and whose hours are over now; or of which nobody knows what the rules say, since a store
    /// or the log did not answer. Any other lead is refused.
    async fn postponed(
        &self,
        campaign: &Campaign,
        lead: &Lead,
        refusals: &[Refusal],
    ) -> Result<Option<Timestamp>, ProviderError> {
        let now = self.now();
        if refusals == [Refusal::Unverified] {
            return Ok(now.checked_add(LATER).ok());
        }
        if refusals != [Refusal::OutsideWindow] || !self.spent(campaign, now).await?.before {
            return Ok(None);
        }
        let zones: Vec<_> = lead.zones().iter().collect();
        Ok(campaign.plan.window.next_open(now, &zones))
    }

    /// Waits for the campaign's and the account's next place, as often as one is missed. `false`: it
    /// would come after `latest`.
    async fn await_place(
        &self,
        campaign: &Campaign,
        latest: Timestamp,
    ) -> Result<bool, ProviderError> {
        let clock = self.config.clock;
        loop {
            let interval = campaign
                .plan
                .pacing
                .interval(running_for(campaign, clock()));
            let place = self.turns.place(&campaign.id, interval, clock, latest);
            let Some(place) = place.await? else {
                return Ok(false);
            };
            if pace::arrive(place, clock).await {
                return Ok(true);
            }
        }
    }

    /// Asks the carrier for the call that is intended.
    async fn dial(
        &self,
        campaign: &Campaign,
        mut attempt: Stored<Attempt>,
        claim: &mut Option<Claim>,
        stop: watch::Receiver<bool>,
    ) -> Result<Option<Stored<Attempt>>, ProviderError> {
        let order = Order {
            attempt: attempt.value.id.clone(),
            campaign: Some(campaign.id.clone()),
            to: attempt.value.waiting.phone.clone(),
            lead: claim.as_ref().map(|claim| claim.lead.clone()),
            voicemail: campaign.plan.voicemail,
            prompt_version: campaign.plan.prompt_version.clone(),
        };
        match self.ask_carrier(campaign, &mut attempt, &order, stop).await {
            Ok(call) => {
                self.note_failure(&campaign.id, Failing::Carrier, None)
                    .await;
                self.placed(campaign, &mut attempt, call, claim.as_ref())
                    .await;
                Ok(Some(attempt))
            }
            Err(failed) if failed.kind().did_nothing() => {
                warn!(
                    error = &failed as &dyn std::error::Error,
                    campaign = campaign.id,
                    "the carrier takes no call"
                );
                // To be told to wait is no sign that anything is out of order.
                if !matches!(failed.kind(), ProviderErrorKind::Throttled { .. }) {
                    self.note_failure(&campaign.id, Failing::Carrier, Some(&failed.to_string()))
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
                self.note_failure(&campaign.id, Failing::Carrier, Some(&failed.to_string()))
                    .await;
                Ok(Some(attempt))
            }
        }
    }

    /// Asks until the carrier has taken the call or may have, there is no hope, or it must not be
    /// placed any more.
    async fn ask_carrier(
        &self,
        campaign: &Campaign,
        attempt: &mut Stored<Attempt>,
        order: &Order,
        mut stop: watch::Receiver<bool>,
    ) -> Result<CallId, ProviderError> {
        let mut tries = Tries::begin();
        loop {
            let failed = match self.desk.line.dial(order).await {
                Ok(call) => return Ok(call),
                Err(failed) => failed,
            };
            let Some(pause) = tries.pause(failed.kind()) else {
                return Err(failed);
            };
            debug!(%failed, ?pause, "the carrier is asked for a call once more");
            let may_be = tokio::select! {
                biased;
                // An error says that nobody can tell us to go on.
                _ = stop.wait_for(|stop| *stop) => false,
                may_be = async {
                    tokio::time::sleep(pause).await;
                    self.may_be_tried_again(campaign, order, tries.left()).await
                } => may_be,
            };
            if !may_be || !self.is_still_ours(attempt).await {
                return Err(failed);
            }
        }
    }

    /// Waits for another place, if there is one soon. Much may have been said meanwhile.
    async fn may_be_tried_again(&self, campaign: &Campaign, order: &Order, soon: Duration) -> bool {
        let latest = self.now().checked_add(soon).unwrap_or(Timestamp::MAX);
        match self.await_place(campaign, latest).await {
            Ok(come) if !come || !self.is_running(campaign).await => return false,
            Ok(_) => {}
            Err(failed) => {
                complain("a lead gets no further turn", &failed);
                return false;
            }
        }
        let rules = campaign.plan.rules(self.config.consent);
        let (gate, name) = (&self.desk.gate, Some(campaign.id.as_str()));
        let asked = gate.ask_again(&order.to, &rules, name, false, self.now());
        asked.await.is_ok()
    }

    /// Whether nobody has taken us for dead, and the attempt over.
    async fn is_still_ours(&self, attempt: &mut Stored<Attempt>) -> bool {
        attempt.value.asked = Some(self.now());
        let kept = match attempt::update(attempt) {
            Ok(write) => self.desk.state.apply(vec![write], self.now()).await,
            Err(failed) => Err(failed),
        };
        match kept {
            Ok(()) => {
                attempt.version += 1;
                true
            }
            Err(failed) => {
                complain("an attempt is not made once more", &failed);
                false
            }
        }
    }

    /// Whether somebody has paused or stopped a campaign meanwhile. What cannot be read does not
    /// run.
    async fn is_running(&self, campaign: &Campaign) -> bool {
        let now = self.campaigns.get(&campaign.id, self.now()).await;
        matches!(now, Ok(Some(now)) if now.state == CampaignState::Running)
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
        let noted = match attempt::place(attempt) {
            Ok(writes) => self.desk.state.apply(writes, self.now()).await,
            Err(failed) => Err(failed),
        };
        match noted {
            Ok(()) => attempt.version += 1,
            // It is looked up by its number then, should this process die.
            Err(failed) => complain("the id of a call could not be kept", &failed),
        }
        self.belongs(campaign, attempt, &call, claim).await;
    }

    /// The record of a call says which campaign placed it. Safe to repeat.
    pub(super) async fn belongs(
        &self,
        campaign: &Campaign,
        attempt: &Stored<Attempt>,
        call: &CallId,
        claim: Option<&Claim>,
    ) {
        let note = CallNote {
            remote: Some(Party::new(attempt.value.waiting.phone.reveal())),
            direction: Some(Direction::Outbound),
            campaign: Some(campaign.id.clone()),
            owner: claim.and_then(|claim| claim.lead.text("owner_alias").map(Into::into)),
            ..CallNote::default()
        };
        if let Err(failed) = self.desk.calls.note(call, &note).await {
            complain("the record of a call could not be begun", &failed);
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

/// When a lead is due again whose call the carrier did not take.
const LATER: Duration = Duration::from_secs(30);

/// When a lead is due again that somebody else works on.
const HELD: Duration = Duration::from_secs(5);

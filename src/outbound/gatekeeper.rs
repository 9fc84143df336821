//! The gate in front of every outbound call: finds the facts, asks the rules, writes down what
//! they say. It fails closed: what cannot be read or written speaks against the call.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{error, warn};

use super::{BrokenLog, Decision, Decisions, Facts, Refusal, Rules};
use crate::{
    call::CallId,
    error::{ProviderError, ProviderErrorKind},
    lead::{Change, Guard, Lead, LeadCallStatus, LeadStore, PhoneNumber, time_zone},
    state::{IdRange, Key, Record, StateStore, Write},
};

/// Guards the line. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gatekeeper {
    state: Arc<dyn StateStore>,
    leads: Arc<dyn LeadStore>,
    log: Log,
}

/// Where decisions are written down.
#[derive(Clone, Debug)]
enum Log {
    Open(Arc<Mutex<Decisions>>),
    /// It cannot be trusted.
    Broken(Arc<BrokenLog>),
}

impl Gatekeeper {
    /// A gate that writes what it decides to `log`.
    pub fn new(state: Arc<dyn StateStore>, leads: Arc<dyn LeadStore>, log: Decisions) -> Self {
        Self {
            state,
            leads,
            log: Log::Open(Arc::new(Mutex::new(log))),
        }
    }

    /// A gate that lets nobody be called, since its log cannot be used.
    pub fn shut(state: Arc<dyn StateStore>, leads: Arc<dyn LeadStore>, why: BrokenLog) -> Self {
        let log = Log::Broken(Arc::new(why));
        Self { state, leads, log }
    }

    /// Why nobody can be called from here, if that is so.
    #[must_use]
    pub fn is_shut(&self) -> Option<&BrokenLog> {
        match &self.log {
            Log::Open(_) => None,
            Log::Broken(why) => Some(why),
        }
    }

    /// Whether `phone` may be called at `at`, and every reason why not; nothing is written.
    pub async fn ask(
        &self,
        phone: &PhoneNumber,
        lead: Option<&Lead>,
        rules: &Rules,
        at: Timestamp,
    ) -> Vec<Refusal> {
        match self.facts(phone, lead, at).await {
            Ok(facts) => rules.refusals(&facts, at),
            Err(failed) => {
                warn!(
                    error = &failed as &dyn std::error::Error,
                    "what the rules for a call need cannot be read: it is refused"
                );
                vec![Refusal::Unverified]
            }
        }
    }

    /// The same, written down. With `overrule` an operator takes responsibility for what
    /// [may be overruled](Refusal::can_be_overruled). What is left in
    /// [`Decision::refusals`] forbids the call.
    pub async fn decide(
        &self,
        phone: &PhoneNumber,
        lead: Option<&Lead>,
        rules: &Rules,
        campaign: Option<&str>,
        overrule: bool,
        at: Timestamp,
    ) -> Decision {
        let found = self.ask(phone, lead, rules, at).await;
        let (overruled, refusals) = found
            .into_iter()
            .partition(|refusal| overrule && refusal.can_be_overruled());
        let mut decision = Decision {
            at,
            phone: phone.clone(),
            campaign: campaign.map(ToOwned::to_owned),
            refusals,
            overruled,
        };
        if !self.write_down(decision.clone()).await {
            decision.refusals.push(Refusal::Unverified);
        }
        decision
    }

    /// Asks once more about an attempt that was allowed and is counted, which was not made at once.
    /// Its lead is read again; how often they were called is no question any more. A refusal is
    /// written down.
    ///
    /// # Errors
    ///
    /// The reasons why the attempt must not be made any more.
    pub async fn ask_again(
        &self,
        phone: &PhoneNumber,
        rules: &Rules,
        campaign: Option<&str>,
        overrule: bool,
        at: Timestamp,
    ) -> Result<(), Vec<Refusal>> {
        let lead = match self.leads.get(phone).await {
            Ok(lead) => lead,
            Err(failed) => {
                warn!(
                    error = &failed as &dyn std::error::Error,
                    "a lead cannot be read: it is not called"
                );
                return Err(vec![Refusal::Unverified]);
            }
        };
        let mut found = self.ask(phone, lead.as_ref(), rules, at).await;
        found.retain(|refusal| {
            let overruled = overrule && refusal.can_be_overruled();
            !overruled && !refusal.is_about_attempts()
        });
        if found.is_empty() {
            return Ok(());
        }
        let decision = Decision {
            at,
            phone: phone.clone(),
            campaign: campaign.map(ToOwned::to_owned),
            refusals: found.clone(),
            overruled: Vec::new(),
        };
        // A log that cannot be written does not make it any more allowed.
        self.write_down(decision).await;
        Err(found)
    }

    /// The lead behind a number, for [`decide`](Self::decide).
    ///
    /// # Errors
    ///
    /// When the store cannot be read; then the number may not be called.
    pub async fn lead(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError> {
        self.leads.get(phone).await
    }

    /// Nobody calls this number again: they asked us not to. Holds from the moment when this
    /// returns, on every node.
    ///
    /// # Errors
    ///
    /// When it could not be kept; ask again.
    pub async fn opt_out(&self, phone: &PhoneNumber, at: Timestamp) -> Result<(), ProviderError> {
        let opted_out = Write::to(opt_out_key(phone)).set(json!({ "at": at }));
        self.state.apply(vec![opted_out], at).await?;
        let word = LeadCallStatus::DoNotCall.as_str();
        let change = Change::new().set("call_status", word);
        match self.leads.update(phone, change, Guard::Any).await {
            Ok(_) => Ok(()),
            // A number without a lead is kept by the record above.
            Err(failed) if *failed.kind() == ProviderErrorKind::NotFound => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// The write that counts an attempt, to be applied together with the intent to dial.
    pub(super) fn attempt(phone: &PhoneNumber, attempt: &str, at: Timestamp) -> Write {
        Write::to(attempt_key(phone, attempt, at)).set(json!({ "at": at }))
    }

    /// A write that changes nothing, and fails for somebody who asked not to be called again.
    pub(super) fn not_opted_out(phone: &PhoneNumber) -> Write {
        Write::to(opt_out_key(phone)).if_absent()
    }

    /// The write that keeps which call an attempt became.
    pub(super) fn became(
        phone: &PhoneNumber,
        attempt: &str,
        at: Timestamp,
        call: &CallId,
    ) -> Write {
        Write::to(attempt_key(phone, attempt, at)).set(json!({ "at": at, "call": call }))
    }

    /// The calls that attempts at this number became, as far as that is known.
    pub(super) async fn calls(
        &self,
        phone: &PhoneNumber,
        at: Timestamp,
    ) -> Result<Vec<CallId>, ProviderError> {
        let made = self.made(phone, at).await?;
        let calls = made.iter().filter_map(|made| made.value["call"].as_str());
        Ok(calls.map(CallId::new).collect())
    }

    /// The write that takes an attempt back which never was one.
    pub(super) fn forget_attempt(phone: &PhoneNumber, attempt: &str, at: Timestamp) -> Write {
        Write::to(attempt_key(phone, attempt, at)).delete()
    }

    /// Counts a call that is placed by hand.
    ///
    /// # Errors
    ///
    /// When it could not be counted; then it must not be placed.
    pub async fn count(
        &self,
        phone: &PhoneNumber,
        attempt: &str,
        at: Timestamp,
    ) -> Result<(), ProviderError> {
        let write = Self::attempt(phone, attempt, at);
        self.state.apply(vec![write], at).await
    }

    /// Keeps which call an attempt became that was [counted](Self::count): nobody takes it for that
    /// of another attempt then.
    ///
    /// # Errors
    ///
    /// When it could not be kept.
    pub async fn placed(
        &self,
        phone: &PhoneNumber,
        attempt: &str,
        at: Timestamp,
        call: &CallId,
    ) -> Result<(), ProviderError> {
        let write = Self::became(phone, attempt, at, call);
        self.state.apply(vec![write], at).await
    }

    /// Takes back what [`count`](Self::count) counted: the carrier has placed nothing.
    ///
    /// # Errors
    ///
    /// When it could not be taken back; then it stays counted.
    pub async fn forget(
        &self,
        phone: &PhoneNumber,
        attempt: &str,
        at: Timestamp,
    ) -> Result<(), ProviderError> {
        let write = Self::forget_attempt(phone, attempt, at);
        self.state.apply(vec![write], at).await
    }

    /// How often this number was called.
    pub(super) async fn attempts(
        &self,
        phone: &PhoneNumber,
        at: Timestamp,
    ) -> Result<Vec<Timestamp>, ProviderError> {
        let made = self.made(phone, at).await?;
        let time = |value: &Value| value["at"].as_str()?.parse().ok();
        // An attempt whose time cannot be read was made just now, for all that is known.
        Ok(made
            .iter()
            .map(|record| time(&record.value).unwrap_or(at))
            .collect())
    }

    async fn made(&self, phone: &PhoneNumber, at: Timestamp) -> Result<Vec<Record>, ProviderError> {
        let (of, all) = (attempts_of(phone), IdRange::all());
        self.state.list(&of, &all, MOST_ATTEMPTS, at).await
    }

    async fn facts(
        &self,
        phone: &PhoneNumber,
        lead: Option<&Lead>,
        at: Timestamp,
    ) -> Result<Facts, ProviderError> {
        let opted_out = self.state.get(&opt_out_key(phone), at).await?.is_some();
        let status = lead.map(Lead::call_status);
        let flag = |name| lead.and_then(|lead| lead.fields.get(name)?.as_bool());
        let zones = match lead {
            Some(lead) => lead.zones(),
            None => time_zone::zones(phone, None),
        };
        Ok(Facts {
            dialable: status != Some(Some(LeadCallStatus::BadNumber)),
            do_not_call: status == Some(Some(LeadCallStatus::DoNotCall))
                || flag("do_not_call") == Some(true),
            opted_out,
            consent: flag("consent"),
            may_be_mobile: match lead.and_then(|lead| lead.text("phone_type")) {
                Some(word) if word.eq_ignore_ascii_case("landline") => false,
                Some(word) if word.eq_ignore_ascii_case("mobile") => true,
                // What else it may say is not understood: the number decides.
                _ => phone.may_be_mobile(),
            },
            zones: zones.iter().collect(),
            attempts: self.attempts(phone, at).await?,
        })
    }

    async fn write_down(&self, decision: Decision) -> bool {
        let log = match &self.log {
            Log::Open(log) => Arc::clone(log),
            Log::Broken(_) => return false,
        };
        let written = tokio::task::spawn_blocking(move || {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append(&decision)
        });
        match written.await {
            Ok(Ok(())) => true,
            Ok(Err(failed)) => {
                error!(
                    error = &failed as &dyn std::error::Error,
                    "the log of decisions cannot be written: nobody is called"
                );
                false
            }
            Err(_) => false,
        }
    }
}

fn opt_out_key(phone: &PhoneNumber) -> Key {
    Key::new("opted-out", phone.reveal())
}

fn attempts_of(phone: &PhoneNumber) -> String {
    format!("calls-to/{}", phone.reveal())
}

fn attempt_key(phone: &PhoneNumber, attempt: &str, at: Timestamp) -> Key {
    let id = format!("{:015}/{attempt}", at.as_millisecond());
    Key::new(attempts_of(phone), id)
}

/// Far more than any rule allows.
const MOST_ATTEMPTS: usize = 1_000;

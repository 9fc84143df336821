//! Whether somebody may be called. Asked before every dial.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use novavoice::{
    ProviderError,
    call::CallId,
    lead::PhoneNumber,
    outbound::{ConsentRule, Gatekeeper, Refusal, Rules},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::clock::wall;

/// Says yes, or every reason why not.
#[derive(Clone)]
pub(crate) struct Permission {
    ask: Ask,
    /// Where the attempts are counted.
    gate: Option<Gatekeeper>,
    consent: ConsentRule,
}

type Ask = Arc<dyn Fn(Wish) -> BoxFuture<'static, Result<(), Vec<Refusal>>> + Send + Sync>;

/// A call that somebody wants to place by hand.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Whom.
    pub(crate) to: PhoneNumber,
    /// Whether what an operator may overrule is to be overruled.
    pub(crate) overrule: bool,
    /// Names this attempt.
    attempt: String,
    /// When it is made.
    at: Timestamp,
}

impl Wish {
    /// To call `to` now.
    pub(crate) fn to(to: PhoneNumber, overrule: bool) -> Self {
        Self {
            to,
            overrule,
            attempt: Uuid::new_v4().to_string(),
            at: wall(),
        }
    }
}

impl Permission {
    /// What the gate says under the usual rules, and `consent`. A call that is allowed counts as an attempt from
    /// then on, and one that asks at the same moment sees it.
    pub(crate) fn of(gate: &Gatekeeper, consent: ConsentRule) -> Self {
        let (asked, turn) = (gate.clone(), Arc::new(Mutex::new(())));
        let by_gate = Self::by(move |wish| {
            let (gate, turn) = (asked.clone(), Arc::clone(&turn));
            async move {
                let _turn = turn.lock().await;
                decide(&gate, &wish, consent).await
            }
        });
        Self {
            gate: Some(gate.clone()),
            consent,
            ..by_gate
        }
    }

    /// Whatever these rules say.
    pub(crate) fn by<F>(ask: impl Fn(Wish) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Vec<Refusal>>> + Send + 'static,
    {
        Self {
            ask: Arc::new(move |wish| Box::pin(ask(wish))),
            gate: None,
            consent: ConsentRule::None,
        }
    }

    /// No rules: everybody may be called.
    #[cfg(test)]
    pub(crate) fn always() -> Self {
        Self::by(|_| std::future::ready(Ok(())))
    }

    /// Asks for one call.
    pub(crate) async fn ask(&self, wish: &Wish) -> Result<(), Vec<Refusal>> {
        (self.ask)(wish.clone()).await
    }

    /// Asks once more for a call that was allowed, and that has had to wait since.
    pub(crate) async fn ask_again(&self, wish: &Wish) -> Result<(), Vec<Refusal>> {
        let Some(gate) = &self.gate else {
            return Ok(());
        };
        let rules = rules(self.consent);
        gate.ask_again(&wish.to, &rules, None, wish.overrule, wall())
            .await
    }

    /// Asks whether a number may be called to take over a call that goes on. Neither the hour nor
    /// how often counts, nor consent: whoever wants it answers for those who work for them. It is
    /// no attempt.
    pub(crate) async fn to_hand_over(&self, to: &PhoneNumber) -> Result<(), Vec<Refusal>> {
        let Some(gate) = &self.gate else {
            return Ok(());
        };
        let lead = match gate.lead(to).await {
            Ok(lead) => lead,
            Err(error) => {
                warn("a lead cannot be read: it is not called", &error);
                return Err(vec![Refusal::Unverified]);
            }
        };
        let rules = Rules::default();
        let decision = gate.decide(to, lead.as_ref(), &rules, None, true, wall());
        let refusals = decision.await.refusals;
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(refusals),
        }
    }

    /// The call that was allowed has become this one.
    pub(crate) async fn placed(&self, wish: &Wish, call: &CallId) {
        let Some(gate) = &self.gate else { return };
        if let Err(error) = gate.placed(&wish.to, &wish.attempt, wish.at, call).await {
            warn("which call an attempt became is not kept", &error);
        }
    }

    /// Nothing was dialled after all.
    pub(crate) async fn take_back(&self, wish: &Wish) {
        let Some(gate) = &self.gate else { return };
        if let Err(error) = gate.forget(&wish.to, &wish.attempt, wish.at).await {
            warn("a call that was not placed counts as an attempt", &error);
        }
    }
}

async fn decide(gate: &Gatekeeper, wish: &Wish, consent: ConsentRule) -> Result<(), Vec<Refusal>> {
    let unverified = |what, error: &ProviderError| {
        warn(what, error);
        Err(vec![Refusal::Unverified])
    };
    let lead = match gate.lead(&wish.to).await {
        Ok(lead) => lead,
        Err(error) => return unverified("a lead cannot be read: it is not called", &error),
    };
    let rules = rules(consent);
    let decision = gate
        .decide(
            &wish.to,
            lead.as_ref(),
            &rules,
            None,
            wish.overrule,
            wish.at,
        )
        .await;
    if !decision.refusals.is_empty() {
        return Err(decision.refusals);
    }
    match gate.count(&wish.to, &wish.attempt, wish.at).await {
        Ok(()) => Ok(()),
        Err(error) => unverified("an attempt cannot be counted: it is not made", &error),
    }
}

fn rules(consent: ConsentRule) -> Rules {
    let mut rules = Rules::default();
    rules.consent = consent;
    rules
}

fn warn(what: &str, error: &ProviderError) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

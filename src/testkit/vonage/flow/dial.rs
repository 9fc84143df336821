//! Calls that the service places: they ring, somebody answers or nobody does, and what the carrier
//! thinks of that.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Flow, Plan, post};
use crate::{
    clock,
    testkit::vonage::{
        Callee, Carrier, InboundCall, Opening, Reaction, Violation,
        call::{Call, CallEnd},
        rest::Detection,
        timestamp,
    },
};

/// What the service wants to happen, and who is called.
#[derive(Clone, Debug)]
pub(in super::super) struct Outbound {
    pub(in super::super) callee: Callee,
    pub(in super::super) plan: Plan,
    /// Where events go, instead of the application's address.
    pub(in super::super) events: Option<String>,
    pub(in super::super) detection: Option<Detection>,
    pub(in super::super) ringing: Duration,
    pub(in super::super) longest: Duration,
    pub(in super::super) opening: Vec<Opening>,
}

/// Calls somebody for the service, and leaves the call to a task.
pub(in super::super) fn dial(
    carrier: &Arc<Carrier>,
    placed: InboundCall,
    outbound: Outbound,
) -> Call {
    let events = match &outbound.events {
        Some(url) => carrier.reach(url),
        None => carrier.url(&carrier.options.events_path),
    };
    let flow = Flow::new(carrier, placed.clone(), "outbound", events);
    let line = Arc::clone(&flow.line);
    tokio::spawn(flow.ring(outbound));
    Call { line, placed }
}

impl Flow {
    /// A call that the service placed, from the first webhook to the last.
    async fn ring(mut self, outbound: Outbound) {
        let mut rung = false;
        for step in &outbound.opening {
            if matches!(step, Opening::Answer | Opening::Answered) && !rung {
                rung = true;
                if let Some((status, detail, code)) = self.rings(&outbound).await {
                    return self.unanswered(status, detail, code).await;
                }
            }
            match step {
                Opening::Started => self.report(&self.phone, "started").await,
                Opening::Ringing => {
                    self.set_status("ringing");
                    self.report(&self.phone, "ringing").await;
                }
                Opening::Answered => self.report(&self.phone, "answered").await,
                Opening::Answer => {
                    if let Some(detection) = outbound.detection.filter(|it| it.waits) {
                        self.verdict(&outbound.callee, detection).await;
                    }
                    if self.plan.is_empty() && self.begin(outbound.plan.clone()).await.is_err() {
                        return;
                    }
                }
            }
        }
        self.while_it_goes_on(&outbound);
        self.run().await;
    }

    /// Waits until somebody answers; otherwise the status with which the call ends.
    async fn rings(&self, outbound: &Outbound) -> Option<(&'static str, &'static str, u16)> {
        let callee = &outbound.callee;
        let ending = callee.does.ending();
        let rings = match callee.does {
            Reaction::Ignores => outbound.ringing,
            _ => callee.rings.min(outbound.ringing),
        };
        let until = clock::now() + self.line.carrier.scaled(rings);
        let given_up = self.line.until(|state, now| match state.ending {
            Some(_) => Ok(true),
            None if until <= now => Ok(false),
            None => Err(Some(until)),
        });
        if given_up.await {
            return Some(("cancelled", "", 487));
        }
        if ending.is_none() {
            self.line.lock().answered = Some(clock::wall());
            self.set_status("answered");
        }
        ending
    }

    /// The last event of a call that nobody answered.
    async fn unanswered(&self, status: &str, detail: &str, code: u16) {
        self.set_status(status);
        let mut body = self.body(&self.phone, status);
        body["sip_code"] = json!(code);
        if !detail.is_empty() {
            body["detail"] = json!(detail);
        }
        self.post(&self.phone.events, body).await;
        let mut state = self.line.lock();
        state.over = Some(clock::wall());
        state.end = Some(CallEnd::Unanswered);
        drop(state);
        self.line.bump();
    }

    /// What happens beside the flow: the verdict on who answered, and the end that the callee or
    /// a timer makes.
    fn while_it_goes_on(&self, outbound: &Outbound) {
        let carrier = &self.line.carrier;
        let answered = clock::now();
        let line = Arc::clone(&self.line);
        let (stays, how) = match outbound.callee.stays {
            Some(stays) if stays < outbound.longest => (stays, CallEnd::HungUp),
            _ => (outbound.longest, CallEnd::Released),
        };
        let leaves = answered + carrier.scaled(stays);
        tokio::spawn(async move {
            let over = line.until(|state, now| match state.end {
                Some(_) => Ok(true),
                None if leaves <= now => Ok(false),
                None => Err(Some(leaves)),
            });
            if !over.await {
                line.end(how);
            }
        });
        let Some(detection) = outbound.detection.filter(|it| !it.waits) else {
            return;
        };
        let due = answered + carrier.scaled(outbound.callee.verdict);
        let machine = outbound.callee.does == Reaction::Records;
        let (line, url) = (Arc::clone(&self.line), self.phone.events.clone());
        let body = self.verdict_body(machine);
        tokio::spawn(async move {
            let over = line.until(|state, now| match state.end {
                Some(_) => Ok(true),
                None if due <= now => Ok(false),
                None => Err(Some(due)),
            });
            if over.await {
                return;
            }
            post(&line, &url, body).await;
            if machine && detection.hang_up {
                line.end(CallEnd::Released);
            }
        });
    }

    /// The verdict where the flow waits for it; the response may be another flow.
    async fn verdict(&mut self, callee: &Callee, detection: Detection) {
        tokio::time::sleep(self.line.carrier.scaled(callee.verdict)).await;
        let machine = callee.does == Reaction::Records;
        let mut bodies = vec![self.verdict_body(machine)];
        if machine && detection.beep {
            let mut beep = self.verdict_body(true);
            beep["sub_state"] = json!("beep_start");
            bodies.push(beep);
        }
        for body in bodies {
            let url = self.phone.events.clone();
            let reply = self.post(&url, body).await;
            if let Some(reply) = reply.filter(|reply| !reply.body.is_empty())
                && let Err(reason) = self.take(&reply)
            {
                self.line.violation(Violation::Webhook(reason));
            }
        }
        if machine && detection.hang_up {
            self.line.end(CallEnd::Released);
        }
    }

    /// A verdict names its leg in another field than other events (Vonage webhook reference).
    fn verdict_body(&self, machine: bool) -> Value {
        json!({
            "call_uuid": self.placed.uuid,
            "conversation_uuid": self.placed.conversation,
            "from": self.placed.from,
            "to": self.placed.to,
            "status": if machine { "machine" } else { "human" },
            "timestamp": timestamp(clock::wall()),
        })
    }
}

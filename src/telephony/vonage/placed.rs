//! The calls that were placed, from the request to the end, by events that come in any order and
//! more than once. Pure: time is an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    keys::Key,
    webhook::{Answerer, LegState, Phase, Status, StatusEvent},
};
use crate::{
    call::{CallId, CallStatus, Outcome, Party},
    telephony::{CallProgress, PlacedEnd, Progress},
};

/// The calls that this node placed or has heard of, a bounded number of them.
#[derive(Debug, Default)]
pub(super) struct Placed {
    calls: HashMap<Key, Call>,
    /// From a conversation to the key of its call.
    conversations: HashMap<Key, Key>,
}

/// What an agent is given along for one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attached {
    /// Whether it is the agent's at all: others are spoken by the carrier.
    pub(super) for_agent: bool,
    pub(super) instructions: Option<String>,
    pub(super) greeting: Option<String>,
}

/// A call that the carrier has taken on.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) id: CallId,
    pub(super) conversation: Option<String>,
    pub(super) remote: Option<Party>,
    pub(super) local: Option<Party>,
}

#[derive(Debug)]
struct Call {
    taken: Taken,
    /// `None` while only events told of it.
    attached: Option<Attached>,
    state: LegState,
    /// How it ended, and when.
    end: Option<(PlacedEnd, Timestamp)>,
    touched: Instant,
}

impl Placed {
    /// The carrier took a call on. Says so, unless its events were faster.
    pub(super) fn taken(
        &mut self,
        taken: Taken,
        attached: Attached,
        at: Timestamp,
        now: Instant,
    ) -> Option<CallProgress> {
        if let Some(call) = self.calls.get_mut(&Key::of_leg(taken.id.as_str())) {
            call.attached = Some(attached);
            call.forget_texts_if_over();
            call.touched = now;
            return None;
        }
        let step = progress(&taken, at, Progress::Placed);
        self.insert(taken, Some(attached), now);
        Some(step)
    }

    /// An event of a leg came. `is_ours` says that it came where events of placed calls go: one
    /// that this node does not know was placed by another.
    pub(super) fn happened(
        &mut self,
        event: &StatusEvent,
        is_ours: bool,
        at: Timestamp,
        now: Instant,
    ) -> Vec<CallProgress> {
        let mut steps = Vec::new();
        if event.is_websocket() {
            return steps;
        }
        let Some(leg) = &event.about.leg else {
            return steps;
        };
        let name = Key::of_leg(leg.as_str());
        if !self.calls.contains_key(&name) {
            let conversation = event.about.conversation.clone();
            let known = conversation
                .as_ref()
                .map(|it| self.conversations.contains_key(&Key::of(it)));
            // Another leg of a known conversation is somebody whom the call was passed on to.
            if !is_ours || known == Some(true) {
                return steps;
            }
            let taken = Taken {
                id: leg.clone(),
                conversation,
                remote: event.about.to.clone(),
                local: event.about.from.clone(),
            };
            steps.push(progress(&taken, at, Progress::Placed));
            self.insert(taken, None, now);
        }
        let Some(call) = self.calls.get_mut(&name) else {
            return steps;
        };
        call.touched = now;
        let before = call.state.clone();
        if !call.state.apply(event) {
            return steps;
        }
        let at = event.about.at.unwrap_or(at);
        let mut push = |step| steps.push(progress(&call.taken, at, step));
        match &call.state.phase {
            Phase::Ended(word) => {
                let end = end(&call.state, &before.phase, word, event);
                call.end = Some((end.clone(), at));
                push(Progress::Ended(end));
            }
            phase if *phase != before.phase => match phase {
                Phase::Ringing => push(Progress::Ringing),
                Phase::Answered => push(Progress::Answered),
                Phase::Unseen | Phase::Started | Phase::Ended(_) => {}
            },
            _ => {}
        }
        if let Some(answerer) = call.state.answerer
            && call.state.answerer != before.answerer
        {
            let machine = answerer == Answerer::Machine;
            push(Progress::AnsweredBy { machine });
        }
        call.forget_texts_if_over();
        steps
    }

    /// What the agent is given along for a call, once its request was answered.
    pub(super) fn attached(&self, call: &CallId) -> Option<&Attached> {
        let call = self.calls.get(&Key::of_leg(call.as_str()))?;
        call.attached.as_ref()
    }

    /// Calls of this node that ring for its agent.
    pub(super) fn ringing(&self) -> Vec<CallId> {
        let rings = |call: &&Call| {
            let agents = call.attached.as_ref().is_some_and(|given| given.for_agent);
            agents && !matches!(call.state.phase, Phase::Answered | Phase::Ended(_))
        };
        let calls = self.calls.values().filter(rings);
        calls.map(|call| call.taken.id.clone()).collect()
    }

    /// Whether a call was placed and is not over.
    pub(super) fn is_live(&self, call: &CallId) -> Option<bool> {
        let call = self.calls.get(&Key::of_leg(call.as_str()))?;
        Some(!call.state.is_over())
    }

    /// How a call ended, and when, as far as this node was told.
    pub(super) fn end_of(&self, call: &CallId) -> Option<(PlacedEnd, Timestamp)> {
        self.calls.get(&Key::of_leg(call.as_str()))?.end.clone()
    }

    fn insert(&mut self, taken: Taken, attached: Option<Attached>, now: Instant) {
        if self.calls.len() >= MAX_CALLS {
            self.forget(now);
        }
        let name = Key::of_leg(taken.id.as_str());
        if let Some(conversation) = &taken.conversation {
            self.conversations.insert(Key::of(conversation), name);
        }
        let call = Call {
            taken,
            attached,
            state: LegState::default(),
            end: None,
            touched: now,
        };
        self.calls.insert(name, call);
    }

    /// Makes room: what is long past goes first, then the oldest tenth.
    fn forget(&mut self, now: Instant) {
        self.calls.retain(|_, call| {
            let keep = match call.state.is_over() {
                true => AFTERLIFE,
                false => LONGEST_CALL,
            };
            now.saturating_duration_since(call.touched) < keep
        });
        if self.calls.len() >= MAX_CALLS {
            let mut ages: Vec<Instant> = self.calls.values().map(|call| call.touched).collect();
            ages.sort_unstable();
            if let Some(line) = ages.get(MAX_CALLS / 10).copied() {
                self.calls.retain(|_, call| call.touched > line);
            }
        }
        let Self {
            calls,
            conversations,
        } = self;
        conversations.retain(|_, name| calls.contains_key(name));
    }
}

impl Call {
    /// Instructions are long, and of no use after the end.
    fn forget_texts_if_over(&mut self) {
        if self.state.is_over()
            && let Some(attached) = &mut self.attached
        {
            (attached.instructions, attached.greeting) = (None, None);
        }
    }
}

fn progress(call: &Taken, at: Timestamp, step: Progress) -> CallProgress {
    CallProgress {
        call: call.id.clone(),
        remote: call.remote.clone(),
        local: call.local.clone(),
        at,
        step,
    }
}

/// What the final status of a leg means.
fn end(state: &LegState, before: &Phase, word: &Status, event: &StatusEvent) -> PlacedEnd {
    let talked = match (word, before) {
        (Status::Completed, _) => true,
        // It lasted too long.
        (Status::Timeout, Phase::Answered) => true,
        _ => false,
    };
    let (status, outcome) = match word {
        _ if talked && state.answerer == Some(Answerer::Machine) => {
            (CallStatus::Voicemail, Outcome::Voicemail)
        }
        _ if talked => (CallStatus::Completed, Outcome::Completed),
        Status::Busy => (CallStatus::Busy, Outcome::Busy),
        Status::Unanswered | Status::Timeout | Status::Cancelled | Status::Rejected => {
            (CallStatus::NoAnswer, Outcome::NoAnswer)
        }
        _ => (CallStatus::Failed, Outcome::Failed),
    };
    let detail = event.detail.as_ref();
    PlacedEnd {
        bad_number: !talked && detail.is_some_and(|detail| detail.is_bad_number()),
        duration: event.duration,
        price_eur: event.price,
        ..PlacedEnd::new(status, outcome, word.as_str())
    }
}

/// A day of a busy node; about 10 MB.
const MAX_CALLS: usize = 20_000;
/// Vonage ends a leg after two hours, unless it was asked for a longer one.
const LONGEST_CALL: Duration = Duration::from_secs(24 * 3600);
/// How long the last webhooks of a call may take.
const AFTERLIFE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::telephony::vonage::webhook::{Event, classify};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn event(body: &Value) -> StatusEvent {
        match classify(body.to_string().as_bytes()) {
            Event::Status(event) => *event,
            other => panic!("no status: {other:?}"),
        }
    }

    fn status(leg: &str, status: &str) -> StatusEvent {
        event(&json!({
            "uuid": leg, "conversation_uuid": "CON-1", "status": status,
            "to": "12125550101", "from": "442079460000", "direction": "outbound",
        }))
    }

    fn taken(id: &str) -> Taken {
        Taken {
            id: CallId::new(id),
            conversation: Some("CON-1".to_owned()),
            remote: Some(Party::new("12125550101")),
            local: None,
        }
    }

    struct Node(Placed, Instant);

    impl Node {
        fn new() -> Self {
            Self(Placed::default(), crate::clock::now())
        }

        fn take(&mut self, id: &str) -> Option<CallProgress> {
            self.0.taken(taken(id), Attached::default(), AT, self.1)
        }

        fn hear(&mut self, event: &StatusEvent) -> Vec<Progress> {
            let steps = self.0.happened(event, true, AT, self.1);
            steps.into_iter().map(|step| step.step).collect()
        }

        fn end(&mut self, last: &StatusEvent) -> PlacedEnd {
            let steps = self.hear(last);
            match steps.last() {
                Some(Progress::Ended(end)) => end.clone(),
                _ => panic!("no end: {steps:?}"),
            }
        }
    }

    /// Vonage checklist 51.
    #[test]
    fn each_step_is_told_once_and_in_order() {
        let mut node = Node::new();
        assert!(node.take("a").is_some());
        assert_eq!(node.hear(&status("a", "ringing")), [Progress::Ringing]);
        assert_eq!(node.hear(&status("a", "started")), []);
        assert_eq!(node.hear(&status("a", "ringing")), []);
        assert_eq!(node.hear(&status("a", "answered")), [Progress::Answered]);
        let machine = Progress::AnsweredBy { machine: true };
        assert_eq!(node.hear(&status("a", "machine")), [machine]);
        let end = node.end(&status("a", "completed"));
        assert_eq!(end.status, CallStatus::Voicemail);
        for late in ["completed", "busy", "answered", "human"] {
            assert_eq!(node.hear(&status("a", late)), []);
        }
    }

    #[test]
    fn events_may_be_faster_than_the_answer_to_the_request() {
        let mut node = Node::new();
        let steps = node.hear(&status("a", "ringing"));
        assert_eq!(steps, [Progress::Placed, Progress::Ringing]);
        assert_eq!(node.take("A"), None, "told already");
        assert_eq!(node.0.is_live(&CallId::new("a")), Some(true));
        assert_eq!(node.0.is_live(&CallId::new("b")), None);
    }

    #[test]
    fn the_instructions_of_a_call_are_kept_until_its_end() {
        let long = || Attached {
            for_agent: true,
            instructions: Some("Book a meeting.".to_owned()),
            greeting: Some("Good morning.".to_owned()),
        };
        let short = Attached {
            instructions: None,
            greeting: None,
            ..long()
        };
        let mut node = Node::new();
        let [first, fast] = ["a", "b"].map(CallId::new);
        node.0.taken(taken("a"), long(), AT, node.1);
        node.hear(&status("a", "answered"));
        assert_eq!(node.0.attached(&first), Some(&long()));
        node.hear(&status("a", "completed"));
        assert_eq!(node.0.attached(&first), Some(&short));

        let mut node = Node::new();
        node.hear(&status("b", "failed"));
        node.0.taken(taken("b"), long(), AT, node.1);
        assert_eq!(node.0.attached(&fast), Some(&short));
    }

    /// Vonage checklist 52.
    #[test]
    fn sockets_and_those_whom_a_call_is_passed_on_to_are_no_calls_of_their_own() {
        let mut node = Node::new();
        node.take("a");
        assert_eq!(node.hear(&status("b", "answered")), []);
        let socket = json!({"uuid": "c", "status": "answered", "to": "wss://x.example/socket"});
        assert_eq!(node.hear(&event(&socket)), []);
        let inbound = json!({"uuid": "d", "status": "answered", "to": "442079460000"});
        let steps = node.0.happened(&event(&inbound), false, AT, node.1);
        assert_eq!(steps, []);
    }

    #[test]
    fn every_end_has_its_meaning() {
        use crate::call::{CallStatus as S, Outcome as O};
        for (word, detail, status, outcome, bad) in [
            ("busy", "", S::Busy, O::Busy, false),
            ("unanswered", "timeout", S::NoAnswer, O::NoAnswer, false),
            ("timeout", "", S::NoAnswer, O::NoAnswer, false),
            ("cancelled", "", S::NoAnswer, O::NoAnswer, false),
            ("rejected", "declined", S::NoAnswer, O::NoAnswer, false),
            ("rejected", "invalid_number", S::NoAnswer, O::NoAnswer, true),
            ("failed", "cannot_route", S::Failed, O::Failed, false),
            (
                "failed",
                "number_out_of_service",
                S::Failed,
                O::Failed,
                true,
            ),
            ("completed", "", S::Completed, O::Completed, false),
        ] {
            let mut node = Node::new();
            let end = node.end(&event(&json!({
                "uuid": "a", "status": word, "detail": detail, "duration": "7", "price": "0.01",
            })));
            assert_eq!(
                (end.status, end.outcome, end.bad_number),
                (status, outcome, bad),
                "{word}"
            );
            assert_eq!(end.duration, Some(Duration::from_secs(7)));
            assert_eq!(end.price_eur, Some(0.01));
        }
        let mut node = Node::new();
        node.hear(&status("a", "answered"));
        let end = node.end(&status("a", "timeout"));
        assert_eq!(end.outcome, O::Completed, "it lasted too long");
    }

    proptest! {
        /// Vonage checklist 51: whatever comes in whatever order.
        #[test]
        fn any_order_tells_one_beginning_and_at_most_one_end(
            order in proptest::collection::vec(prop_oneof![
                Just("started"), Just("ringing"), Just("answered"), Just("human"), Just("machine"),
                Just("completed"), Just("busy"), Just("failed"), Just("disconnected"), Just("x"),
            ], 1..20),
            taken_at in 0_usize..20,
        ) {
            let mut node = Node::new();
            let mut steps = Vec::new();
            for (at, word) in order.iter().enumerate() {
                if at == taken_at {
                    steps.extend(node.take("a").map(|step| step.step));
                }
                steps.extend(node.hear(&status("a", word)));
            }
            prop_assert_eq!(steps.first(), Some(&Progress::Placed));
            let count = |like: fn(&Progress) -> bool| steps.iter().filter(|it| like(it)).count();
            prop_assert_eq!(count(|step| *step == Progress::Placed), 1);
            prop_assert!(count(|step| *step == Progress::Answered) <= 1);
            prop_assert!(count(|step| *step == Progress::Ringing) <= 1);
            let ends = count(|step| matches!(step, Progress::Ended(_)));
            let over = order.iter().any(|it| ["completed", "busy", "failed"].contains(it));
            prop_assert_eq!(ends, usize::from(over));
            if over {
                prop_assert!(matches!(steps.last(), Some(Progress::Ended(_))));
            }
        }
    }
}

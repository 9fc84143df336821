//! What holds for tools in every schedule of models, sessions, tools and clocks.

use std::{collections::BTreeMap, time::Duration};

use novavoice::{
    ProviderErrorKind,
    conversation::{Command, Config, Input, Reconfigure, SessionId},
    model::ModelEvent,
    telephony::CallEvent,
    testkit::sim::Sim,
    tool::ToolOutput,
};
use proptest::{collection::vec, prelude::*};

use super::tools::{setup, uses};

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Caller { voice: bool, millis: u64 },
    Says(u64),
    Uses { id: u8, name: u8 },
    Done(u8),
    Interrupted,
    Opens,
    Lost,
    Reconfigure,
    HangUp,
    CallerHangsUp,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..40_000_u64).prop_map(Event::Wait),
        3 => (any::<bool>(), 20..2_000_u64).prop_map(|(voice, millis)| Event::Caller { voice, millis }),
        4 => (100..5_000_u64).prop_map(Event::Says),
        8 => (0..6_u8, 0..3_u8).prop_map(|(id, name)| Event::Uses { id, name }),
        6 => any::<u8>().prop_map(Event::Done),
        2 => Just(Event::Interrupted),
        6 => Just(Event::Opens),
        1 => Just(Event::Lost),
        1 => Just(Event::Reconfigure),
        1 => Just(Event::HangUp),
        1 => Just(Event::CallerHangsUp),
    ]
}

/// A call, and which of its sessions are there.
struct Story {
    sim: Sim,
    open: Vec<SessionId>,
    lost: Vec<SessionId>,
    /// What sessions that talked asked for, once for each name.
    asked: BTreeMap<(SessionId, String), &'static str>,
}

impl Story {
    fn talks(&self) -> Option<SessionId> {
        let (_, closed) = self.sim.sessions();
        let talking = self.sim.talking();
        (self.open.contains(&talking) && !closed.contains(&talking)).then_some(talking)
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Wait(millis) => self.sim.run_for(Duration::from_millis(*millis)),
            Event::Caller { voice, millis } => {
                self.sim.caller(*voice, Duration::from_millis(*millis))
            }
            Event::Says(millis) => {
                if self.talks().is_some() {
                    self.sim.says("Some words.", Duration::from_millis(*millis));
                }
            }
            Event::Uses { id, name } => {
                let name = ["book", "look_up", "fly"][usize::from(*name)];
                if let Some(session) = self.talks().filter(|_| !self.sim.hung_up()) {
                    let id = id.to_string();
                    self.asked.entry((session, id.clone())).or_insert(name);
                    self.sim.model(uses(&id, name));
                }
            }
            Event::Done(which) => {
                let runs: Vec<_> = self.sim.running().keys().copied().collect();
                if !runs.is_empty() {
                    let run = runs[usize::from(*which) % runs.len()];
                    self.sim.tool_done(run, ToolOutput::new(run.0));
                }
            }
            Event::Interrupted => {
                if self.talks().is_some() {
                    self.sim.model(ModelEvent::Interrupted);
                }
            }
            Event::Opens => {
                let (asked, closed) = self.sim.sessions();
                let next = asked.iter().find(|id| {
                    !self.open.contains(id) && !self.lost.contains(id) && !closed.contains(id)
                });
                if let Some(session) = next.copied() {
                    self.open.push(session);
                    self.sim.input(Input::ModelOpened(session));
                    self.sim.run_for(Duration::from_millis(100));
                }
            }
            Event::Lost => {
                if let Some(session) = self.talks() {
                    self.lost.push(session);
                    self.open.retain(|id| *id != session);
                    let kind = ProviderErrorKind::Expired;
                    self.sim.input(Input::ModelEnded(session, Some(kind)));
                }
            }
            Event::Reconfigure => {
                let mut change = Reconfigure::default();
                change.voice = Some("amy".to_owned());
                let command = Command::Reconfigure(change);
                self.sim.input(Input::Command(command));
            }
            Event::HangUp => self.sim.input(Input::Command(Command::HangUp)),
            Event::CallerHangsUp => self.sim.input(Input::Call(CallEvent::HungUp)),
        }
    }
}

fn story(events: &[Event]) -> Story {
    let mut config = Config::default();
    config.no_traffic = Duration::from_secs(86_400);
    // No model says anything here but by tools.
    config.no_sign = Duration::from_secs(86_400);
    let first = SessionId(1);
    let mut sim = Sim::with(config, setup());
    sim.input(Input::ModelOpened(first));
    sim.run_for(Duration::from_millis(100));
    let mut story = Story {
        sim,
        open: vec![first],
        lost: Vec::new(),
        asked: BTreeMap::new(),
    };
    for event in events {
        if story.sim.ended().is_some() {
            break;
        }
        story.happens(event);
    }
    if story.sim.ended().is_none() {
        story.sim.input(Input::Call(CallEvent::HungUp));
        story.sim.run_for(Duration::from_secs(30));
    }
    story
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Nova Sonic checklist 30 and 37.
    #[test]
    fn every_use_is_answered_once_and_nothing_runs_on(events in vec(event(), 0..80)) {
        let story = story(&events);
        let sim = &story.sim;
        prop_assert!(sim.ended().is_some());
        prop_assert!(sim.running().is_empty(), "nothing runs after the end");

        let mut told: BTreeMap<(SessionId, String), u32> = BTreeMap::new();
        for (session, result) in sim.answers() {
            *told.entry((*session, result.id.as_str().to_owned())).or_default() += 1;
        }
        for ((session, id), times) in &told {
            prop_assert_eq!(*times, 1, "{:?} {}", session, id);
            prop_assert!(story.asked.contains_key(&(*session, id.clone())), "nobody asked for {}", id);
        }
        for (session, id) in story.asked.keys() {
            let answered = told.contains_key(&(*session, id.clone()));
            prop_assert!(answered || story.lost.contains(session), "{:?} waits for {}", session, id);
        }
        let stats = sim.stats();
        let refused = u64::try_from(story.asked.values().filter(|name| **name == "fly").count()).unwrap();
        prop_assert!(stats.tools_refused >= refused);
        prop_assert_eq!(stats.tools_called + stats.tools_refused, story.asked.len() as u64);
    }
}

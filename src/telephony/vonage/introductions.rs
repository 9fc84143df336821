//! The people who are told that a caller waits for them, and what they chose. Pure: time is an
//! argument.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{keys::Key, webhook::Status};
use crate::call::CallId;

/// The introductions of this node, a bounded number of them, those that are over for a while.
#[derive(Debug, Default)]
pub(super) struct Introductions {
    introductions: HashMap<String, Introduction>,
    oldest_first: VecDeque<(Instant, String)>,
}

#[derive(Debug)]
struct Introduction {
    /// The key of the caller's leg.
    caller: Key,
    /// What the person chose first; repetitions of the webhook change nothing.
    takes: Option<bool>,
    /// Whoever waits for news; gone once it is over.
    steps: Option<mpsc::Sender<Step>>,
}

/// What happens to an introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The person answered.
    Answered,
    /// A machine answered.
    Machine,
    /// The person takes the call over, or does not.
    Chose(bool),
    /// The person's leg is over.
    Ended(Status),
    /// The caller's leg is gone.
    CallerLeft,
}

/// What a choice leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The two are joined.
    Join,
    /// The person says no.
    Farewell,
    /// The person says yes, and nobody waits any longer.
    TooLate,
    /// Another node waits for the choice.
    Elsewhere,
}

impl Introductions {
    /// Somebody is about to be called for `caller`. What happens comes out of the receiver.
    pub(super) fn open(
        &mut self,
        id: String,
        caller: &CallId,
        now: Instant,
    ) -> mpsc::Receiver<Step> {
        while let Some((at, oldest)) = self.oldest_first.front()
            && (self.introductions.len() >= MOST || now.saturating_duration_since(*at) > LIFE)
        {
            self.introductions.remove(oldest);
            self.oldest_first.pop_front();
        }
        let (steps, taken) = mpsc::channel(STEPS);
        let introduction = Introduction {
            caller: Key::of_leg(caller.as_str()),
            takes: None,
            steps: Some(steps),
        };
        self.introductions.insert(id.clone(), introduction);
        self.oldest_first.push_back((now, id));
        taken
    }

    /// Nobody waits for this one any longer.
    pub(super) fn close(&mut self, id: &str) {
        if let Some(introduction) = self.introductions.get_mut(id) {
            introduction.steps = None;
        }
    }

    /// The person of `id` has chosen.
    pub(super) fn chose(&mut self, id: &str, takes: bool) -> Chosen {
        let Some(introduction) = self.introductions.get_mut(id) else {
            return Chosen::Elsewhere;
        };
        let first = introduction.takes.is_none();
        let takes = *introduction.takes.get_or_insert(takes);
        if first {
            introduction.tell(Step::Chose(takes));
        }
        match (takes, &introduction.steps) {
            (false, _) => Chosen::Farewell,
            (true, Some(_)) => Chosen::Join,
            (true, None) => Chosen::TooLate,
        }
    }

    /// Something happened to the person's leg of `id`. `false`: another node waits for it.
    pub(super) fn happened(&self, id: &str, step: Step) -> bool {
        let introduction = self.introductions.get(id);
        introduction.map(|it| it.tell(step)).is_some()
    }

    /// The leg of a caller is gone.
    pub(super) fn caller_left(&self, caller: &CallId) {
        if self.introductions.is_empty() {
            return;
        }
        let caller = Key::of_leg(caller.as_str());
        let theirs = self.introductions.values();
        for introduction in theirs.filter(|introduction| introduction.caller == caller) {
            introduction.tell(Step::CallerLeft);
        }
    }
}

impl Introduction {
    fn tell(&self, step: Step) {
        if let Some(steps) = &self.steps
            && let Err(error) = steps.try_send(step)
        {
            // More news than a call can make: repetitions of what was told.
            tracing::debug!(%error, "news of an introduction are left out");
        }
    }
}

/// Far more than a node carries.
const MOST: usize = 4_096;
/// Longer than the carrier repeats its webhooks.
const LIFE: Duration = Duration::from_secs(900);
/// All that can happen to one.
const STEPS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(all: &mut Introductions, id: &str) -> mpsc::Receiver<Step> {
        all.open(id.to_owned(), &CallId::new("A-1"), crate::clock::now())
    }

    #[test]
    fn the_first_choice_counts_however_often_it_is_told() {
        let mut all = Introductions::default();
        let mut steps = open(&mut all, "x");
        assert_eq!(all.chose("x", true), Chosen::Join);
        assert_eq!(all.chose("x", false), Chosen::Join);
        assert_eq!(steps.try_recv(), Ok(Step::Chose(true)));
        assert!(steps.try_recv().is_err(), "told once");
        let mut steps = open(&mut all, "y");
        assert_eq!(all.chose("y", false), Chosen::Farewell);
        assert_eq!(all.chose("y", true), Chosen::Farewell);
        assert_eq!(steps.try_recv(), Ok(Step::Chose(false)));
        assert_eq!(all.chose("z", true), Chosen::Elsewhere);
        assert!(!all.happened("z", Step::Answered));
    }

    #[test]
    fn whoever_says_yes_when_nobody_waits_is_too_late() {
        let mut all = Introductions::default();
        let _steps = open(&mut all, "x");
        all.close("x");
        assert_eq!(all.chose("x", true), Chosen::TooLate);
        assert_eq!(all.chose("x", true), Chosen::TooLate);
    }

    #[test]
    fn the_leg_of_the_caller_is_known_however_it_is_written() {
        let mut all = Introductions::default();
        let mut steps = open(&mut all, "x");
        all.caller_left(&CallId::new("b1"));
        all.caller_left(&CallId::new("a1"));
        assert_eq!(steps.try_recv(), Ok(Step::CallerLeft));
        assert!(steps.try_recv().is_err());
    }

    #[test]
    fn the_memory_is_bounded_and_news_never_wait() {
        let mut all = Introductions::default();
        for n in 0..MOST * 2 {
            let _steps = open(&mut all, &n.to_string());
        }
        assert!(all.introductions.len() <= MOST);
        let mut steps = open(&mut all, "x");
        for _ in 0..STEPS * 2 {
            assert!(all.happened("x", Step::Answered));
        }
        let told = std::iter::from_fn(|| steps.try_recv().ok()).count();
        assert_eq!(told, STEPS);
    }
}

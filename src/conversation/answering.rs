//! Who answered a call that we placed, and what follows from it.
//!
//! The agent's first words wait until somebody is found on the line, though never so long that a
//! person would notice. Whatever the model says before that is held back. A machine that passed
//! for a person is found out later: then what is being said is taken back and the policy applies.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{
    Action, Conversation, EndReason, Notice,
    ending::{Parting, Phase},
    timer::Timer,
};
use crate::answer::{self, AnswerDetector, AnsweredBy, CarrierVerdict, Evidence, Verdict};

/// What the agent does about whoever answers a call that it placed. Start from
/// [`Answering::default`] and assign what differs.
///
/// The texts are what the model is told, and answers, as if the callee had said it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Answering {
    /// How answers are told apart.
    pub detection: answer::Config,
    /// What is done about a voicemail, or a machine of unknown kind. Where no message can be left
    /// the agent hangs up, unless it is to go on. Default: hang up.
    pub on_machine: OnMachine,
    /// What the model is told when a menu answers. `None`: hang up. Default: to look for a person.
    pub menu: Option<String>,
    /// What the model is told when a call screener answers; then it waits to be put through.
    /// `None`: hang up. Default: to give name and reason in one sentence.
    pub screener: Option<String>,
    /// After how much silence the agent speaks first. Default: 2.5 s: people who say nothing wait
    /// for the caller.
    pub silence: Duration,
    /// How long after the callee's last sound doubts may last until the agent speaks, or does what
    /// the carrier's verdict asks for. Default: 2 s: by then the words are there.
    pub patience: Duration,
    /// How long a machine may be silent until a message is left without a beep. Default: 6 s.
    pub beep: Duration,
    /// How long a screener may take. Default: 60 s.
    pub screening: Duration,
}

/// What is done about a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth way")]
pub enum OnMachine {
    /// Hang up without a word.
    HangUp,
    /// Wait for the beep, let the model say what this text asks for, and hang up.
    LeaveMessage(String),
    /// Talk to it as to a person.
    GoOn,
}

impl Default for Answering {
    fn default() -> Self {
        Self {
            detection: answer::Config::default(),
            on_machine: OnMachine::HangUp,
            menu: Some(
                "(A telephone menu has answered, and no person. Find the way to a person; if there is none, say goodbye.)"
                    .to_owned(),
            ),
            screener: Some(
                "(A call screener has answered. Say in one sentence who you are and why you call. Then wait in silence until a person speaks.)"
                    .to_owned(),
            ),
            silence: Duration::from_millis(2_500),
            patience: Duration::from_secs(2),
            beep: Duration::from_secs(6),
            screening: Duration::from_secs(60),
        }
    }
}

impl Answering {
    /// The defaults with another policy for machines.
    #[must_use]
    pub fn new(on_machine: OnMachine) -> Self {
        Self {
            on_machine,
            ..Self::default()
        }
    }
}

/// The answer to the call, as far as it is known.
#[derive(Debug)]
pub(super) struct Answer {
    policy: Answering,
    detector: AnswerDetector,
    began: Instant,
    /// What makes the model speak first: once, and again where a machine had got it.
    greeting: Option<String>,
    stage: Stage,
    /// When the stage began.
    since: Instant,
    verdict: Option<Verdict>,
    /// Since when the carrier takes the callee for a machine.
    carrier: Option<Instant>,
    /// A person was found, on whom only a sure verdict casts doubt.
    was_human: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody knows who is there, and the agent is silent.
    Waiting,
    /// The agent talks.
    Talking,
    /// A machine talks; the message waits for its beep.
    BeforeBeep,
    /// A menu talks, and the agent looks for a person.
    Menu,
    /// A screener looks for a person.
    Screening,
    /// The policy has been carried out.
    Done,
}

impl Answer {
    pub(super) fn new(policy: Answering, greeting: Option<String>, now: Instant) -> Self {
        Self {
            detector: AnswerDetector::new(policy.detection.clone(), now),
            policy,
            began: now,
            greeting,
            stage: Stage::Waiting,
            since: now,
            verdict: None,
            carrier: None,
            was_human: false,
        }
    }

    /// Whether the agent waits by plan, so that nobody's silence means anything.
    pub(super) fn is_waiting(&self) -> bool {
        !matches!(self.stage, Stage::Talking | Stage::Menu)
    }

    fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.since = now;
    }
}

impl Conversation {
    /// Whether tones of the callee's line still tell something.
    #[must_use]
    pub fn listens_for_tones(&self) -> bool {
        let watch = |answer: &Answer| self.now < answer.began + answer.policy.detection.watch;
        self.answer.as_ref().is_some_and(watch)
    }

    /// Something was noticed of the callee.
    pub(super) fn on_evidence(&mut self, evidence: Evidence) {
        let Some(answer) = &mut self.answer else {
            return;
        };
        if let Evidence::Carrier(verdict) = &evidence {
            match verdict {
                CarrierVerdict::Human => answer.carrier = None,
                CarrierVerdict::Machine
                | CarrierVerdict::BeepStart
                | CarrierVerdict::BeepTimeout => {
                    answer.carrier.get_or_insert(self.now);
                }
            }
        }
        answer.detector.handle(self.now, evidence);
        self.on_answer_time();
    }

    /// Takes the verdicts that have come, and does what they ask for.
    pub(super) fn on_answer_time(&mut self) {
        while let Some(verdict) = self
            .answer
            .as_mut()
            .and_then(|answer| answer.detector.poll(self.now))
        {
            self.note(verdict);
        }
        while self.phase == Phase::Live && self.decide() {}
        self.schedule_answer();
    }

    fn note(&mut self, verdict: Verdict) {
        self.stats.answered_by = Some(verdict.answered_by);
        self.actions
            .push_back(Action::Publish(Notice::AnsweredBy(verdict.clone())));
        if let Some(answer) = &mut self.answer {
            answer.was_human |= verdict.answered_by == AnsweredBy::Human;
            answer.verdict = Some(verdict);
        }
    }

    /// Does one thing that is due now. Answers whether it did.
    fn decide(&mut self) -> bool {
        let Some(answer) = &self.answer else {
            return false;
        };
        let (stage, policy) = (answer.stage, &answer.policy);
        let verdict = answer.verdict.as_ref();
        let by = verdict.map(|verdict| verdict.answered_by);
        match stage {
            Stage::Done => false,
            Stage::Waiting | Stage::Talking => match self.machine() {
                Some(machine) => self.meet(machine),
                None if stage == Stage::Waiting && self.is_due(self.speaks_at()) => {
                    self.speak_first();
                    true
                }
                None => false,
            },
            // Somebody was put through, or was there all along.
            Stage::BeforeBeep | Stage::Menu | Stage::Screening if by == Some(AnsweredBy::Human) => {
                self.speak_first();
                true
            }
            // One machine may lead to another.
            Stage::Menu | Stage::Screening
                if verdict.is_some_and(Verdict::is_surely_a_machine)
                    && by.is_some_and(|by| Some(stage) != stage_for(by)) =>
            {
                by.is_some_and(|by| self.meet(by))
            }
            Stage::Screening if answer.since + policy.screening <= self.now => {
                self.hang_up_on_machine()
            }
            Stage::BeforeBeep if self.is_due(self.message_at()) => self.leave_message(),
            Stage::BeforeBeep if answer.since + LONGEST_GREETING <= self.now => {
                self.hang_up_on_machine()
            }
            Stage::BeforeBeep | Stage::Menu | Stage::Screening => false,
        }
    }

    /// The machine that is there without enough doubt to wait for.
    fn machine(&self) -> Option<AnsweredBy> {
        let answer = self.answer.as_ref()?;
        let verdict = answer.verdict.as_ref();
        // To give a reason or look for a person has a way back; to hang up has none.
        let enough = |verdict: &&Verdict| match verdict.answered_by {
            AnsweredBy::MachineIvr if answer.policy.menu.is_some() => true,
            AnsweredBy::MachineScreening if answer.policy.screener.is_some() => true,
            _ => verdict.is_surely_a_machine(),
        };
        if let Some(verdict) = verdict.filter(enough) {
            return Some(verdict.answered_by);
        }
        (self.doubted_until()? <= self.now).then(|| {
            let by = verdict.map(|verdict| verdict.answered_by);
            by.filter(|by| by.is_machine())
                .unwrap_or(AnsweredBy::MachineVm)
        })
    }

    /// When the carrier's word for a machine counts, though nothing here made it sure.
    fn doubted_until(&self) -> Option<Instant> {
        let answer = self.answer.as_ref()?;
        let told = answer.carrier.filter(|_| !answer.was_human)?;
        Some(told.max(self.quiet_since()?) + answer.policy.patience)
    }

    /// When the agent speaks first, as things stand.
    fn speaks_at(&self) -> Option<Instant> {
        let answer = self.answer.as_ref()?;
        let longest = answer.began + LONGEST_WAIT;
        let by = answer.verdict.as_ref().map(|verdict| verdict.answered_by);
        if by == Some(AnsweredBy::Human) {
            return Some(self.now);
        }
        let Some(quiet) = self.quiet_since() else {
            return Some(longest);
        };
        let at = match by {
            // The carrier's word is awaited until it counts or falls.
            _ if answer.carrier.is_some() => quiet + answer.policy.patience + answer.policy.silence,
            // Nobody has spoken, or somebody who is being judged.
            None => quiet + answer.policy.silence,
            Some(_) => quiet + answer.policy.patience,
        };
        Some(at.min(longest))
    }

    /// When the message is left, as things stand.
    fn message_at(&self) -> Option<Instant> {
        let answer = self.answer.as_ref()?;
        self.links.open()?;
        let verdict = answer.verdict.as_ref();
        let quiet = self.quiet_since()?.max(answer.since);
        Some(match verdict.is_some_and(|verdict| verdict.beep) {
            true => quiet,
            false => quiet + answer.policy.beep,
        })
    }

    fn is_due(&self, at: Option<Instant>) -> bool {
        at.is_some_and(|at| at <= self.now)
    }

    /// Since when the callee says nothing.
    fn quiet_since(&self) -> Option<Instant> {
        (!self.hears_voice()).then_some(self.voice_changed)
    }

    /// Somebody is there to talk with.
    fn speak_first(&mut self) {
        let Some(answer) = &mut self.answer else {
            return;
        };
        answer.enter(Stage::Talking, self.now);
        if let Some(greeting) = answer.greeting.clone() {
            // The agent's own first words go before what the model made of "Hello?".
            self.take_back();
            self.playout.release();
            self.tell(greeting);
        } else {
            self.playout.release();
        }
        self.pump();
    }

    /// A machine is there. Answers whether that changed anything.
    fn meet(&mut self, by: AnsweredBy) -> bool {
        let Some(answer) = &self.answer else {
            return false;
        };
        let known = answer.verdict.as_ref();
        if known.is_none_or(|verdict| verdict.answered_by != by) {
            // Nothing but the carrier's word, which nothing here spoke against.
            let verdict = Verdict::by_carrier(by, known, self.now - answer.began);
            self.note(verdict);
        }
        let Some(answer) = &mut self.answer else {
            return false;
        };
        let policy = &answer.policy;
        let goes_on = policy.on_machine == OnMachine::GoOn;
        let (stage, text) = match by {
            AnsweredBy::MachineIvr => (Stage::Menu, policy.menu.clone()),
            AnsweredBy::MachineScreening => (Stage::Screening, policy.screener.clone()),
            _ if goes_on => {
                if answer.stage == Stage::Talking {
                    return false;
                }
                self.speak_first();
                return true;
            }
            AnsweredBy::MachineVm if self.setup.text_input => match policy.on_machine {
                OnMachine::LeaveMessage(_) => (Stage::BeforeBeep, None),
                OnMachine::HangUp | OnMachine::GoOn => return self.hang_up_on_machine(),
            },
            _ => return self.hang_up_on_machine(),
        };
        if text.is_none() && stage != Stage::BeforeBeep {
            return self.hang_up_on_machine();
        }
        answer.enter(stage, self.now);
        self.take_back();
        match text {
            Some(text) => {
                self.playout.release();
                self.tell(text);
            }
            // What the model says to the machine is not for the message.
            None => self.playout.hold(),
        }
        true
    }

    fn leave_message(&mut self) -> bool {
        let Some(answer) = &mut self.answer else {
            return false;
        };
        let OnMachine::LeaveMessage(text) = &answer.policy.on_machine else {
            return self.hang_up_on_machine();
        };
        let text = text.clone();
        answer.enter(Stage::Done, self.now);
        self.take_back();
        self.playout.release();
        self.tell(text);
        self.last_words(Parting::HangUp);
        self.timers.set(Timer::Ending, self.now + LONGEST_MESSAGE);
        true
    }

    fn hang_up_on_machine(&mut self) -> bool {
        if let Some(answer) = &mut self.answer {
            answer.enter(Stage::Done, self.now);
        }
        self.take_back();
        self.hang_up(EndReason::AgentHungUp);
        true
    }

    /// Nothing more of what the model was saying is played. Nobody interrupted it.
    fn take_back(&mut self) {
        let (interruptions, mistrust) = (self.stats.interruptions, self.mistrust);
        self.cut();
        (self.stats.interruptions, self.mistrust) = (interruptions, mistrust);
    }

    fn schedule_answer(&mut self) {
        let Some(answer) = &self.answer else { return };
        let judged = answer.detector.deadline();
        let stage = match answer.stage {
            Stage::Done => None,
            Stage::Waiting => self
                .speaks_at()
                .into_iter()
                .chain(self.doubted_until())
                .min(),
            Stage::Talking => self.doubted_until(),
            Stage::BeforeBeep => {
                let longest = answer.since + LONGEST_GREETING;
                self.message_at()
                    .or(Some(self.now + LOOK))
                    .map(|at| at.min(longest))
            }
            Stage::Menu => None,
            Stage::Screening => Some(answer.since + answer.policy.screening),
        };
        // What is due and was not done waits for something else to happen.
        let stage = stage.filter(|at| *at > self.now && self.phase == Phase::Live);
        match judged.into_iter().chain(stage).min() {
            Some(at) if self.is_going_on() => self.timers.set(Timer::Answer, at),
            Some(_) | None => self.timers.stop(Timer::Answer),
        }
    }
}

/// The stage that such a machine leads to.
const fn stage_for(by: AnsweredBy) -> Option<Stage> {
    match by {
        AnsweredBy::MachineIvr => Some(Stage::Menu),
        AnsweredBy::MachineScreening => Some(Stage::Screening),
        AnsweredBy::MachineVm
        | AnsweredBy::MachineUnavailable
        | AnsweredBy::Human
        | AnsweredBy::Uncertain => None,
    }
}

/// A line on which somebody seems to speak for so long without being anybody is noisy.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// No greeting is longer.
const LONGEST_GREETING: Duration = Duration::from_secs(45);

/// A mailbox takes a minute or more, and nobody listens longer.
const LONGEST_MESSAGE: Duration = Duration::from_secs(60);

/// How often a session is looked for that could leave the message.
const LOOK: Duration = Duration::from_millis(100);

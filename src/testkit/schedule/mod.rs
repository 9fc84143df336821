//! Random calls, and a witness who knows what must never happen in any of them.
//!
//! A [`Schedule`] is everything that comes to a conversation from outside: a caller who talks, is
//! silent and hangs up, sessions that open, fail, expire and speak, a network that stalls, an
//! application with wishes. [`Schedule::run`] plays it in simulated time against the core, with a
//! carrier that plays frames as one does, and reports every broken [`Rule`].
//!
//! Every frame of the caller and of the model carries its number, so that the witness sees what
//! becomes of each.

use std::{fmt, time::Duration};

use crate::{
    conversation::{CallStats, Config, EndReason, IdleConfig},
    error::ProviderErrorKind,
};

mod dice;
mod ear;
mod sound;
mod witness;
mod world;

use dice::Dice;
use world::World;

/// A call to be played.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Schedule {
    /// What does not change during the call.
    pub conditions: Conditions,
    /// What happens, one after the other; at the end the caller hangs up.
    pub acts: Vec<Act>,
    /// Decides what the acts leave open.
    pub seed: u64,
}

/// What does not change during a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Conditions {
    /// How the conversation behaves.
    pub config: Config,
    /// How long a session may last.
    pub session_limit: Option<Duration>,
    /// Where in its spread this call rolls over, between -1 and 1.
    pub jitter: f32,
    /// Whether the carrier reports marks.
    pub marks: bool,
    /// How much later than the sound a mark is reported.
    pub mark_delay: Duration,
    /// Whether the model takes text.
    pub text_input: bool,
    /// Whether the agent speaks first.
    pub greeting: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            config: Config::default(),
            session_limit: Some(Duration::from_secs(480)),
            jitter: 0.0,
            marks: true,
            mark_delay: Duration::ZERO,
            text_input: true,
            greeting: false,
        }
    }
}

/// Something that happens, and how long it takes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Act {
    /// Nothing comes from the caller for this long.
    Wait(Duration),
    /// The caller's frames, in real time.
    Caller {
        /// Whether the detector hears a voice in them.
        voice: bool,
        /// How many.
        frames: u32,
    },
    /// The caller's frames, all at once.
    Burst(u32),
    /// Nobody says anything for long; stepped coarsely.
    Idle(Duration),
    /// The whole process stands still: everything due is handled late.
    Stall(Duration),
    /// The model hears the caller begin.
    SpeechStarted,
    /// The model understands the caller.
    CallerSaid,
    /// The model speaks.
    Says {
        /// How many sentences.
        sentences: u32,
        /// How long each of them is.
        length: Duration,
        /// How its final text comes.
        finals: Finals,
        /// Whether the model says that the reply is over.
        ends: bool,
        /// Audio comes as it is spoken, not all at once.
        live: bool,
    },
    /// The model repeats a final text of this call.
    FinalAgain(u32),
    /// The model was interrupted.
    Interrupted,
    /// The caller presses a key.
    Key,
    /// The carrier stops or resumes sending the caller's voice.
    Muted(bool),
    /// The application gives the model words.
    Tell,
    /// The application wants the agent to hang up.
    HangUp,
    /// The application ends the call.
    Abort,
    /// The caller hangs up.
    CallerHangsUp,
    /// The session that talks is lost.
    Lose(ProviderErrorKind),
    /// The session that stands by is lost.
    LoseStandby,
    /// How the next openings go: so long each, and so many of them fail.
    Openings {
        /// How long an opening takes.
        takes: Duration,
        /// How many fail.
        failures: u32,
    },
    /// The next frames are not taken.
    Refuse {
        /// By the session.
        feeds: u32,
        /// By the leg.
        plays: u32,
    },
    /// A session that was left says what it still has to say.
    Stale,
}

/// How the final text of a sentence comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finals {
    /// At once.
    Soon,
    /// Seconds later.
    Late,
    /// In two pieces.
    Halves,
    /// Twice.
    Doubled,
    /// Never.
    Never,
}

/// What holds for every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// Frames of the caller reach the session that listens, in their order; what does not is counted.
    EveryCallerFrame,
    /// A second session gets a frame only as the bounded replay at a switch, and the first one gets
    /// none from then on.
    OnlyOneSession,
    /// No audio of the agent sounds twice.
    NoAudioTwice,
    /// No frame of a cut reply sounds after the cut.
    NothingAfterTheCut,
    /// Nobody hears what was not sent.
    HeardWasSent,
    /// Each finished reply is recorded once.
    EveryReplyOnce,
    /// No more of a reply is recorded than was heard.
    RecordedWasHeard,
    /// Each session that was opened is closed once.
    EverySessionClosed,
    /// A call moves to its next session before the limit.
    SwitchBeforeTheLimit,
    /// No wake-up lies in the past.
    NoWaitInThePast,
    /// Every call ends, once.
    EveryCallEnds,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 11] = [
        Self::EveryCallerFrame,
        Self::OnlyOneSession,
        Self::NoAudioTwice,
        Self::NothingAfterTheCut,
        Self::HeardWasSent,
        Self::EveryReplyOnce,
        Self::RecordedWasHeard,
        Self::EverySessionClosed,
        Self::SwitchBeforeTheLimit,
        Self::NoWaitInThePast,
        Self::EveryCallEnds,
    ];
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, counted from the beginning of the call.
    pub at: Duration,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, at, seen) = (self.rule, self.at, &self.seen);
        write!(f, "{rule:?} at {:.3} s: {seen}", at.as_secs_f64())
    }
}

/// A call that was played.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What was wrong; at most a few of the first.
    pub violations: Vec<Violation>,
    /// How long the call lasted.
    pub length: Duration,
    /// Why it ended.
    pub ended: Option<EndReason>,
    /// The figures.
    pub stats: CallStats,
}

impl Schedule {
    /// A call of these acts.
    #[must_use]
    pub fn new(conditions: Conditions, acts: Vec<Act>, seed: u64) -> Self {
        Self {
            conditions,
            acts,
            seed,
        }
    }

    /// A call of some minutes in which much happens.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let conditions = Conditions::random(&mut dice);
        let acts = dice.number(5..=60);
        let acts = (0..acts).map(|_| Act::random(&mut dice)).collect();
        Self::new(conditions, acts, dice.roll())
    }

    /// A call of hours: much happens, and between that nothing does for long.
    #[must_use]
    pub fn long(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut conditions = Conditions::random(&mut dice);
        conditions.config.idle = IdleConfig::default();
        // A short limit makes idle hours of rollovers; once in a while is enough.
        if !dice.once_in(10) {
            conditions.session_limit = Some(Duration::from_secs(480));
        }
        let mut acts = Vec::new();
        for _ in 0..dice.number(10..=40) {
            let busy = dice.number(1..=6);
            acts.extend((0..busy).map(|_| Act::random(&mut dice)));
            acts.retain(|act| !act.ends_the_call() || dice.once_in(20));
            acts.push(Act::Idle(dice.millis(10_000..=1_500_000)));
        }
        Self::new(conditions, acts, dice.roll())
    }

    /// Plays the call.
    #[must_use]
    pub fn run(&self) -> Outcome {
        World::new(self, false).play().0
    }

    /// Plays the call and writes it down; answers with the [journal](crate::journal) file, too.
    #[must_use]
    pub fn record(&self) -> (Outcome, Vec<u8>) {
        World::new(self, true).play()
    }
}

impl Conditions {
    fn random(dice: &mut Dice) -> Self {
        let mut config = Config::default();
        config.barge_in.local = !dice.once_in(8);
        if dice.once_in(6) {
            config.idle.nudge = Some(dice.millis(5_000..=30_000));
            config.idle.hang_up = Some(dice.millis(30_000..=120_000));
        }
        let limits = [20, 30, 60, 120, 480, 480];
        let delays = [0, 0, 0, 60, 200, 800];
        Self {
            config,
            session_limit: (!dice.once_in(8)).then(|| Duration::from_secs(*dice.pick(&limits))),
            jitter: f32::from(i16::try_from(dice.number(0..=200)).unwrap_or_default()) / 100.0
                - 1.0,
            marks: !dice.once_in(4),
            mark_delay: Duration::from_millis(*dice.pick(&delays)),
            text_input: !dice.once_in(8),
            greeting: dice.once_in(2),
        }
    }
}

impl Act {
    fn random(dice: &mut Dice) -> Self {
        let kinds = [
            ProviderErrorKind::Closed,
            ProviderErrorKind::Expired,
            ProviderErrorKind::TimedOut,
            ProviderErrorKind::Unavailable,
            ProviderErrorKind::Throttled { retry_after: None },
            ProviderErrorKind::Policy,
        ];
        match dice.number(0..=99) {
            0..=17 => Self::Caller {
                voice: dice.once_in(2),
                frames: u32::try_from(dice.number(1..=150)).unwrap_or(1),
            },
            18..=29 => Self::Wait(dice.millis(0..=4_000)),
            30..=32 => Self::Burst(u32::try_from(dice.number(1..=250)).unwrap_or(1)),
            33..=34 => Self::Stall(dice.millis(20..=3_000)),
            35..=54 => Self::Says {
                sentences: u32::try_from(dice.number(1..=4)).unwrap_or(1),
                length: dice.millis(1..=5_000),
                finals: *dice.pick(&[
                    Finals::Soon,
                    Finals::Late,
                    Finals::Halves,
                    Finals::Doubled,
                    Finals::Never,
                ]),
                ends: !dice.once_in(10),
                live: dice.once_in(3),
            },
            55..=58 => Self::FinalAgain(u32::try_from(dice.number(0..=1_000)).unwrap_or(0)),
            59..=66 => Self::CallerSaid,
            67..=69 => Self::SpeechStarted,
            70..=75 => Self::Interrupted,
            76..=77 => Self::Key,
            78..=79 => Self::Muted(dice.once_in(2)),
            80..=81 => Self::Tell,
            82 => Self::HangUp,
            83 => match dice.number(0..=2) {
                0 => Self::Abort,
                _ => Self::CallerHangsUp,
            },
            84..=87 => Self::Lose(dice.pick(&kinds).clone()),
            88 => Self::LoseStandby,
            89..=92 => Self::Openings {
                takes: dice.millis(0..=9_000),
                failures: u32::try_from(dice.number(0..=3)).unwrap_or(0),
            },
            93..=94 => Self::Refuse {
                feeds: u32::try_from(dice.number(0..=30)).unwrap_or(0),
                plays: u32::try_from(dice.number(0..=5)).unwrap_or(0),
            },
            95..=96 => Self::Stale,
            _ => Self::Idle(dice.millis(1_000..=60_000)),
        }
    }

    /// Whether the call is over, or nearly, once this has happened.
    fn ends_the_call(&self) -> bool {
        matches!(
            self,
            Self::HangUp
                | Self::Abort
                | Self::CallerHangsUp
                | Self::Lose(ProviderErrorKind::Policy)
        )
    }
}

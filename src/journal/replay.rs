//! Runs a journal through the core of this build.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use super::{Ending, Entry, Journal, Noted};
use crate::{
    clock,
    conversation::{Action, CallStats, Config, Conversation, EndReason, Input, Step},
    model::ModelEvent,
    telephony::CallEvent,
    transcript::Utterance,
};

/// A replay that took the same actions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// From the conversation's first instant to the last input.
    pub length: Duration,
    /// How many inputs there were.
    pub inputs: u64,
    /// How many actions were taken, all of them the same.
    pub actions: u64,
    /// The transcript.
    pub lines: Vec<Utterance>,
    /// The figures of the call.
    pub stats: CallStats,
    /// Why the call ended; `None` where the journal ends before it.
    pub ended: Option<EndReason>,
    /// How the journal ends.
    pub ending: Ending,
}

/// The first action that is another one than was recorded. `Display` says it without anybody's words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// When, counted from the conversation's first instant.
    pub at: Duration,
    /// Which input came before it, counted from 1; 0 for none.
    pub input: u64,
    /// What that input was.
    pub after: &'static str,
    /// How many actions before it were the same.
    pub same: u64,
    expected: Option<Noted>,
    got: Option<Noted>,
}

impl Difference {
    /// What was recorded, words included; `None` for nothing. Keep it away from logs.
    #[must_use]
    pub fn expected(&self) -> Option<String> {
        self.expected.as_ref().map(Noted::reveal)
    }

    /// What this build did, words included; `None` for nothing. Keep it away from logs.
    #[must_use]
    pub fn got(&self) -> Option<String> {
        self.got.as_ref().map(Noted::reveal)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_secs_f64();
        write!(
            f,
            "at {seconds:.3} s, after input {} ({}) and {} equal actions: recorded ",
            self.input, self.after, self.same
        )?;
        let show = |noted: &Option<Noted>| match noted {
            Some(noted) => noted.to_string(),
            None => "nothing".to_owned(),
        };
        let (expected, got) = (show(&self.expected), show(&self.got));
        write!(f, "{expected:?}, got {got:?}")?;
        if expected == got {
            // They differ in words, which are not for everybody.
            let same = match (self.expected(), self.got()) {
                (Some(expected), Some(got)) => expected
                    .bytes()
                    .zip(got.bytes())
                    .take_while(|(expected, got)| expected == got)
                    .count(),
                _ => 0,
            };
            write!(f, " with other words from byte {same} on")?;
        }
        Ok(())
    }
}

impl std::error::Error for Difference {}

/// Runs the journal's inputs, each at its time, through the core of this build and compares every
/// action with the one that was recorded. With a `config` the conversation behaves as that says, not
/// as it was recorded, and the first difference is where it shows.
///
/// # Errors
///
/// The first difference.
pub fn replay(journal: &Journal, config: Option<&Config>) -> Result<Report, Box<Difference>> {
    let wakes = match config {
        // A rule that is another one may want to wake up when nothing was recorded.
        Some(config) if *config != journal.header.config => Wakes::Wanted,
        Some(_) | None => Wakes::Recorded,
    };
    let mut player = Player::new(journal, config, wakes);
    let mut waiting = VecDeque::new();
    let mut same = 0;
    let mut lines = Vec::new();
    player.drain(&mut waiting);
    for entry in &journal.entries {
        let expected = match entry {
            Entry::Input(at, input) => {
                player.input(*at, input, &mut waiting);
                continue;
            }
            Entry::Action(expected) => expected,
        };
        match waiting.pop_front() {
            Some(taken) if taken.noted.matches(expected) => {
                same += 1;
                if let Action::Record(line) = taken.action {
                    lines.push(line);
                }
            }
            // This build did something that was not done then.
            Some(taken) if taken.moment.at < player.moment.at => {
                return Err(taken.moment.difference(same, None, Some(taken.noted)));
            }
            taken => {
                let expected = Some(expected.clone());
                let taken = taken.map(|taken| taken.noted);
                return Err(player.moment.difference(same, expected, taken));
            }
        }
    }
    // What a journal that breaks off does not tell may have been done.
    if let Some(taken) = waiting.pop_front()
        && journal.ending == Ending::Complete
    {
        return Err(taken.moment.difference(same, None, Some(taken.noted)));
    }
    Ok(Report {
        length: journal.length(),
        inputs: player.moment.input,
        actions: same,
        lines,
        stats: player.call.stats(),
        ended: player.ended,
        ending: journal.ending,
    })
}

/// When a conversation is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wakes {
    /// When it was then.
    Recorded,
    /// Also when it wants to be and nothing was recorded near that time.
    Wanted,
}

/// A conversation that lives through a journal again.
pub(super) struct Player {
    pub(super) call: Conversation,
    start: Instant,
    wakes: Wakes,
    wake: Option<Instant>,
    moment: Point,
    audio: bool,
    pub(super) ended: Option<EndReason>,
}

/// Where in a journal something happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) at: Duration,
    input: u64,
    after: &'static str,
}

/// An action that this build took.
pub(super) struct Taken {
    pub(super) moment: Point,
    pub(super) noted: Noted,
    pub(super) action: Action,
}

impl Player {
    pub(super) fn new(journal: &Journal, config: Option<&Config>, wakes: Wakes) -> Self {
        let header = &journal.header;
        let start = clock::now();
        let config = config.unwrap_or(&header.config).clone();
        Self {
            call: Conversation::new(config, header.setup.clone(), start),
            start,
            wakes,
            wake: None,
            moment: Point {
                at: Duration::ZERO,
                input: 0,
                after: "the beginning",
            },
            audio: header.audio,
            ended: None,
        }
    }

    /// The conversation is told what was recorded, when it was.
    pub(super) fn input(&mut self, at: Duration, input: &Input, taken: &mut VecDeque<Taken>) {
        let now = self.start + at;
        if self.wakes == Wakes::Wanted {
            while let Some(wake) = self.wake.filter(|wake| *wake + NEAR < now) {
                self.moment.at = wake - self.start;
                self.moment.after = "a tick of its own";
                self.call.handle(wake, Input::Tick);
                self.drain(taken);
            }
        }
        self.moment = Point {
            at,
            input: self.moment.input + 1,
            after: name(input),
        };
        self.call.handle(now, input.clone());
        self.drain(taken);
    }

    /// Takes note of what the conversation does.
    pub(super) fn drain(&mut self, taken: &mut VecDeque<Taken>) {
        loop {
            match self.call.step() {
                Step::Do(action) => {
                    if let Action::End(reason) = &action {
                        self.ended = Some(reason.clone());
                    }
                    // What cannot be written down was not recorded either, and differs.
                    let noted = Noted::of(&action, self.audio)
                        .unwrap_or_else(|_| Noted::Other(action.name().to_owned()));
                    taken.push_back(Taken {
                        moment: self.moment,
                        noted,
                        action,
                    });
                }
                Step::Wait(wake) => {
                    self.wake = wake;
                    break;
                }
            }
        }
    }
}

impl Point {
    fn difference(self, same: u64, expected: Option<Noted>, got: Option<Noted>) -> Box<Difference> {
        Box::new(Difference {
            at: self.at,
            input: self.input,
            after: self.after,
            same,
            expected,
            got,
        })
    }
}

/// An input's kind: never its words.
fn name(input: &Input) -> &'static str {
    match input {
        Input::Call(CallEvent::Audio(_)) => "a frame of the caller",
        Input::Call(CallEvent::Dtmf(_)) => "a key",
        Input::Call(CallEvent::Played(_)) => "a mark was played",
        Input::Call(CallEvent::Muted(true)) => "mute",
        Input::Call(CallEvent::Muted(false)) => "the end of mute",
        Input::Call(CallEvent::AnsweredBy(_)) => "the carrier's word on who answered",
        Input::Sound(_) => "a tone",
        Input::Call(CallEvent::Taken) => "somebody takes the call over",
        Input::Call(CallEvent::NotTaken(_)) => "nobody takes the call over",
        Input::Call(CallEvent::TransferFailed(_)) => "a transfer failed",
        Input::Call(CallEvent::DtmfFailed(_)) => "keys were not pressed",
        Input::Call(CallEvent::HungUp) => "the caller hung up",
        Input::Voice(true) => "a voice",
        Input::Voice(false) => "the end of a voice",
        Input::ModelOpened(_) => "a session opened",
        Input::Model(_, ModelEvent::SpeechStarted) => "the model heard speech",
        Input::Model(_, ModelEvent::CallerSaid(_)) => "words of the caller",
        Input::Model(_, ModelEvent::Caption(..)) => "a caption",
        Input::Model(_, ModelEvent::Audio(..)) => "audio of the model",
        Input::Model(_, ModelEvent::AgentSaid(_)) => "final text",
        Input::Model(_, ModelEvent::Interrupted) => "the model's interrupt",
        Input::Model(_, ModelEvent::ReplyEnded(_)) => "the end of a reply",
        Input::Model(_, ModelEvent::ToolCall(_)) => "the model wants a tool",
        Input::Model(_, ModelEvent::Usage(_)) => "a count of tokens",
        Input::ModelEnded(_, None) => "a session closed",
        Input::ModelEnded(_, Some(_)) => "a session was lost",
        Input::ToolDone(..) => "a tool is done",
        Input::ToolProgress(..) => "a tool tells of its progress",
        Input::Command(_) => "a command",
        Input::NotFed => "a frame that a session did not take",
        Input::NotPlayed => "a frame that the leg did not take",
        Input::Tick => "a tick",
    }
}

/// A wake-up comes a little late, or the event that is handled first brings it along: what was
/// recorded this soon after the time that was wanted is it.
const NEAR: Duration = Duration::from_millis(10);

//! Sees everything that goes in and comes out of a conversation, and knows what must not.
//!
//! It follows the sessions by their names alone, as an outsider can: which one talks, which one stands
//! by, which ones were left.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    Rule, Violation,
    sound::{self, Heard},
};
use crate::{
    audio::{AudioFrame, FRAME},
    conversation::{CallStats, SessionId},
    transcript::{Speaker, Utterance},
};

#[derive(Debug)]
pub(super) struct Witness {
    start: Instant,
    pub(super) now: Instant,
    violations: Vec<Violation>,
    limit: Option<Duration>,
    /// How many frames of a replay are within bounds.
    hold: u64,
    /// By how many frames the carrier's marks mislead the core about what was heard.
    blur: u64,
    pub(super) sessions: Sessions,
    pub(super) caller: CallerFrames,
    pub(super) replies: Replies,
    lines: u64,
    /// Nothing is said any more.
    pub(super) over: bool,
    pub(super) ended: bool,
}

/// The sessions, as their names tell.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    last: u32,
    pub(super) active: Option<Session>,
    pub(super) standby: Option<Session>,
    /// Left, and told to close.
    pub(super) closing: Vec<SessionId>,
    /// The session that talks could not be followed in time: openings failed or were slow.
    pub(super) excused: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) born: Instant,
    pub(super) ready: Option<Instant>,
    /// The caller's frame that it got last.
    fed: Option<u64>,
    /// How many frames it got that another one had.
    replayed: u64,
}

/// What became of the caller's frames.
#[derive(Debug, Default)]
pub(super) struct CallerFrames {
    /// How many were sent.
    pub(super) sent: u64,
    /// How many reached a session first hand.
    fresh: u64,
    replayed: u64,
    /// Up to where any session got them.
    high: Option<u64>,
    /// Frames that a session was to get and did not take.
    pub(super) refused: u64,
}

/// What the model said.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pub(super) recent: VecDeque<Reply>,
    pub(super) next: u64,
    /// The number of the model's next frame.
    pub(super) frames: u64,
    /// The number of the frame that began to sound last.
    sounded: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) number: u64,
    /// The number of its first frame.
    pub(super) first: u64,
    pub(super) sentences: Vec<Sentence>,
    /// How much audio of it was sent.
    pub(super) length: Duration,
    /// The model said that it was over, while it was listened to.
    pub(super) ended: bool,
    /// The time at which it was cut.
    pub(super) cut: Option<Instant>,
    /// The leg did not take some of it.
    pub(super) tainted: bool,
    /// How much of it has sounded.
    sounded: Duration,
    /// When that was.
    sounded_at: Option<Instant>,
    /// The carrier forgot some of it, or marks are so late that the core may believe so.
    broken: bool,
    lines: u32,
}

#[derive(Debug)]
pub(super) struct Sentence {
    pub(super) words: u32,
    start: Duration,
    end: Duration,
}

impl Witness {
    pub(super) fn new(
        start: Instant,
        limit: Option<Duration>,
        hold: Duration,
        blur: Duration,
    ) -> Self {
        let mut witness = Self {
            start,
            now: start,
            violations: Vec::new(),
            limit,
            hold: frames(hold),
            blur: 0,
            sessions: Sessions::default(),
            caller: CallerFrames::default(),
            replies: Replies::default(),
            lines: 0,
            over: false,
            ended: false,
        };
        witness.blurs(blur);
        witness
    }

    /// Marks are so late from now on.
    pub(super) fn blurs(&mut self, late: Duration) {
        if !late.is_zero() {
            self.blur = self.blur.max(frames(late) + 2);
        }
    }

    fn saw(&mut self, rule: Rule, seen: impl FnOnce() -> String) {
        if self.violations.len() < MOST {
            let at = self.now.saturating_duration_since(self.start);
            let seen = seen();
            self.violations.push(Violation { rule, at, seen });
        }
    }

    fn must(&mut self, holds: bool, rule: Rule, seen: impl FnOnce() -> String) {
        if !holds {
            self.saw(rule, seen);
        }
    }

    // Sessions.

    /// A session is asked for; it is `late` where its opening fails or takes long.
    pub(super) fn opens(&mut self, id: SessionId, late: bool) {
        let sessions = &mut self.sessions;
        let new = id.0 > sessions.last;
        sessions.last = sessions.last.max(id.0);
        let session = Some(Session {
            id,
            born: self.now,
            ready: None,
            fed: None,
            replayed: 0,
        });
        let free = if sessions.active.is_none() {
            sessions.active = session;
            sessions.excused = false;
            true
        } else {
            let free = sessions.standby.is_none();
            sessions.excused |= late;
            sessions.standby = session;
            free
        };
        self.must(new && free, Rule::EverySessionClosed, || {
            format!("session {} is opened beside two others, or again", id.0)
        });
    }

    pub(super) fn opened(&mut self, id: SessionId) {
        let now = self.now;
        let sessions = &mut self.sessions;
        let both = [&mut sessions.active, &mut sessions.standby];
        for session in both.into_iter().flatten() {
            if session.id == id {
                session.ready = Some(now);
            }
        }
    }

    pub(super) fn closes(&mut self, id: SessionId) {
        let sessions = &mut self.sessions;
        if sessions.active.is_some_and(|active| active.id == id) {
            sessions.active = None;
            // The call moves, or the session was given up and the next one is on its way.
            if !self.over && sessions.standby.is_some() {
                sessions.active = sessions.standby.take();
                sessions.excused = false;
            }
        } else if sessions.standby.is_some_and(|standby| standby.id == id) {
            sessions.standby = None;
        } else {
            return self.saw(Rule::EverySessionClosed, || {
                format!("session {} is closed though it is not open", id.0)
            });
        }
        self.sessions.closing.push(id);
    }

    /// A session is gone, by itself or because it was told to close.
    pub(super) fn gone(&mut self, id: SessionId) {
        let sessions = &mut self.sessions;
        if sessions.active.is_some_and(|active| active.id == id) {
            sessions.active = sessions.standby.take();
            sessions.excused = false;
        } else if sessions.standby.is_some_and(|standby| standby.id == id) {
            sessions.standby = None;
            sessions.excused = true;
        } else {
            sessions.closing.retain(|closing| *closing != id);
        }
    }

    /// The provider ends a session at its limit.
    pub(super) fn expires(&mut self, id: SessionId) {
        let sessions = &self.sessions;
        let talks = sessions
            .active
            .is_some_and(|active| active.id == id && active.ready.is_some());
        let in_time = !talks || sessions.excused || self.over;
        self.must(in_time, Rule::SwitchBeforeTheLimit, || {
            format!("session {} talks at its limit", id.0)
        });
    }

    /// Whether the call must have moved to the session that stands by at this time.
    pub(super) fn must_move_by(&self, at: Instant) -> bool {
        let (Some(limit), Some(active)) = (self.limit, self.sessions.active) else {
            return false;
        };
        let is_ready = |standby: Session| standby.ready.is_some();
        self.sessions.standby.is_some_and(is_ready) && at >= active.born + limit.mul_f64(HARD)
    }

    /// Nothing is left to do for now.
    pub(super) fn drained(&mut self, wake: Option<Instant>) {
        let now = self.now;
        let punctual = wake.is_none_or(|wake| wake >= now);
        self.must(punctual, Rule::NoWaitInThePast, || {
            let late = wake.map(|wake| now.saturating_duration_since(wake));
            format!("wants to be woken {late:?} ago")
        });
        let sessions = &self.sessions;
        if let (Some(limit), Some(active), Some(standby), false) =
            (self.limit, sessions.active, sessions.standby, self.over)
            && let Some(ready) = standby.ready
        {
            let hard = limit.mul_f64(HARD) + LOOK;
            let age = now.saturating_duration_since(active.born);
            let waited = now.saturating_duration_since(ready);
            let moved = age <= hard || waited <= LOOK || active.ready.is_none();
            self.must(moved, Rule::SwitchBeforeTheLimit, || {
                format!(
                    "session {} of {age:?} talks though {} is ready since {waited:?}",
                    active.id.0, standby.id.0
                )
            });
        }
    }

    // The caller.

    /// A session gets this frame.
    pub(super) fn fed(&mut self, id: SessionId, frame: &AudioFrame) {
        let (over, hold) = (self.over, self.hold);
        let what = sound::read(frame);
        let live = self
            .sessions
            .active
            .filter(|active| active.id == id && active.ready.is_some());
        let Some(mut session) = live else {
            self.saw(Rule::OnlyOneSession, || {
                format!("session {} gets {what:?} though it does not listen", id.0)
            });
            return;
        };
        let place = match what {
            Heard::Nothing => return,
            Heard::Place(place) => place,
            Heard::Mangled => {
                self.saw(Rule::EveryCallerFrame, || "a mangled frame".to_owned());
                return;
            }
        };
        let Some(number) = self.caller.number(place) else {
            self.saw(Rule::EveryCallerFrame, || {
                "a frame that nobody sent".to_owned()
            });
            return;
        };
        let before = session.fed.replace(number);
        let fresh = self.caller.high.is_none_or(|high| number > high);
        if fresh {
            self.caller.high = Some(number);
            self.caller.fresh += 1;
        } else {
            self.caller.replayed += 1;
            session.replayed += 1;
        }
        self.sessions.active = Some(session);
        self.must(
            before.is_none_or(|before| number > before),
            Rule::EveryCallerFrame,
            || format!("frame {number} comes after frame {before:?}"),
        );
        self.must(!over, Rule::EveryCallerFrame, || {
            format!("frame {number} after the end")
        });
        self.must(session.replayed <= hold, Rule::OnlyOneSession, || {
            format!("{} frames are replayed", session.replayed)
        });
    }

    // The agent.

    /// The model begins a reply. Answers with its number.
    pub(super) fn reply(&mut self) -> u64 {
        let replies = &mut self.replies;
        let number = replies.next;
        replies.next += 1;
        // The ramp begins again where it is too short for what may come.
        if sound::place(replies.frames) + LONGEST > sound::FRAMES {
            replies.frames += sound::FRAMES - sound::place(replies.frames);
        }
        replies.recent.push_back(Reply {
            number,
            first: replies.frames,
            sentences: Vec::new(),
            length: Duration::ZERO,
            ended: false,
            cut: None,
            tainted: false,
            sounded: Duration::ZERO,
            sounded_at: None,
            broken: false,
            lines: 0,
        });
        number
    }

    /// The model means to say a sentence of so many words.
    pub(super) fn sentence(&mut self, reply: u64, words: u32) {
        if let Some(reply) = self.replies.find(reply) {
            let at = reply.length;
            reply.sentences.push(Sentence {
                words,
                start: at,
                end: at,
            });
        }
    }

    /// The next audio of a reply.
    pub(super) fn speaks(&mut self, number: u64, length: Duration) -> Option<AudioFrame> {
        let reply = self.replies.find(number)?;
        let from = reply.length;
        reply.length += length;
        let until = reply.length;
        if let Some(sentence) = reply.sentences.last_mut() {
            sentence.end = until;
        }
        let first = reply.first;
        let frames = until.as_nanos().div_ceil(FRAME.as_nanos());
        self.replies.frames = first + u64::try_from(frames).unwrap_or(u64::MAX);
        Some(sound::piece(sound::place(first), from, until))
    }

    /// Everything that the model has said is cut.
    pub(super) fn cut(&mut self) {
        for reply in &mut self.replies.recent {
            if !reply.is_through() {
                reply.cut.get_or_insert(self.now);
            }
        }
    }

    /// A frame goes to the carrier.
    pub(super) fn plays(&mut self, frame: &AudioFrame, taken: bool) {
        let over = self.over;
        let what = sound::read(frame);
        let place = match what {
            Heard::Nothing => return,
            Heard::Place(place) => place,
            Heard::Mangled => {
                return self.saw(Rule::HeardWasSent, || "a mangled frame".to_owned());
            }
        };
        let Some((_, reply)) = self.replies.at(place) else {
            return self.saw(Rule::HeardWasSent, || format!("{what:?} that nobody said"));
        };
        reply.tainted |= !taken;
        let (number, cut) = (reply.number, reply.cut);
        self.must(cut.is_none() && !over, Rule::NothingAfterTheCut, || {
            format!("a frame of reply {number} is played after it was cut")
        });
    }

    /// A frame began to sound at `begins`.
    pub(super) fn sounds(&mut self, begins: Instant, what: Heard) {
        let Heard::Place(place) = what else { return };
        let before = self.replies.sounded;
        let Some((number, reply)) = self.replies.at(place) else {
            return;
        };
        let upto = FRAME * u32::try_from(number - reply.first + 1).unwrap_or(u32::MAX);
        reply.sounded = reply.sounded.max(upto.min(reply.length));
        reply.sounded_at = Some(begins);
        let name = reply.number;
        let late = reply.cut.is_some_and(|cut| begins > cut);
        self.replies.sounded = before.max(Some(number));
        let blur = self.blur;
        self.must(
            before.is_none_or(|before| number + blur > before),
            Rule::NoAudioTwice,
            || format!("frame {number} of reply {name} sounds after frame {before:?}"),
        );
        self.must(!late, Rule::NothingAfterTheCut, || {
            format!("frame {number} of reply {name} sounds after the cut")
        });
    }

    /// The carrier forgets what has not begun to sound.
    pub(super) fn silenced(&mut self, now: Instant) {
        let late = FRAME * u32::try_from(self.blur).unwrap_or(u32::MAX);
        for reply in &mut self.replies.recent {
            let before = reply.sounded_at.is_some_and(|at| at + late < now);
            reply.broken |= !reply.is_through() || (self.blur > 0 && !before);
        }
    }

    /// A line of the transcript.
    pub(super) fn recorded(&mut self, line: &Utterance) {
        self.lines += 1;
        let due = self.lines;
        self.must(line.seq == due, Rule::EveryReplyOnce, || {
            format!("line {} comes as number {due}", line.seq)
        });
        if line.speaker == Speaker::Agent {
            let (text, cut) = (&line.text, line.cut);
            if let Err((rule, seen)) = self.replies.check(text, cut) {
                self.saw(rule, || {
                    format!("{seen}: {text:?}{}", if cut { " [cut]" } else { "" })
                });
            }
        }
        self.forget();
    }

    /// What is through and long past need not be remembered.
    fn forget(&mut self) {
        while self.replies.recent.len() > REMEMBERED
            && let Some(reply) = self.replies.recent.pop_front()
        {
            self.finished(&reply);
        }
    }

    fn finished(&mut self, reply: &Reply) {
        let whole = !reply.tainted && !reply.broken;
        let must = reply.is_through() && reply.cut.is_none() && whole;
        let (number, lines) = (reply.number, reply.lines);
        self.must(lines == 1 || !must, Rule::EveryReplyOnce, || {
            format!("reply {number} was heard and is in {lines} lines")
        });
    }

    /// The call is over: what must have happened by now has.
    pub(super) fn closes_the_book(mut self, stats: &CallStats) -> Vec<Violation> {
        let ended = self.ended;
        self.must(ended, Rule::EveryCallEnds, || {
            "the call does not end".to_owned()
        });
        for reply in std::mem::take(&mut self.replies.recent) {
            self.finished(&reply);
        }
        let sessions = &self.sessions;
        let left = sessions
            .active
            .or(sessions.standby)
            .map(|session| session.id.0);
        self.must(left.is_none() || !ended, Rule::EverySessionClosed, || {
            format!("session {left:?} is left open")
        });
        let frames = &self.caller;
        let missing = frames.sent - frames.fresh;
        let named = stats.frames_trimmed + stats.frames_dropped;
        let (refused, replayed) = (frames.refused, frames.replayed);
        self.must(missing + refused == named, Rule::EveryCallerFrame, || {
            format!("{missing} frames reached nobody, {refused} were refused, {named} are counted")
        });
        self.must(
            replayed == stats.frames_replayed,
            Rule::EveryCallerFrame,
            || {
                format!(
                    "{replayed} frames were replayed, {} are counted",
                    stats.frames_replayed
                )
            },
        );
        self.violations
    }
}

impl CallerFrames {
    /// Which of the frames that were sent is at this place.
    fn number(&self, place: u64) -> Option<u64> {
        let last = self.sent.checked_sub(1)?;
        let ring = sound::FRAMES - 1;
        last.checked_sub((sound::place(last) + ring - place) % ring)
    }
}

impl Replies {
    pub(super) fn find(&mut self, number: u64) -> Option<&mut Reply> {
        self.recent
            .iter_mut()
            .rev()
            .find(|reply| reply.number == number)
    }

    /// The number of the frame at this place, and the reply that it belongs to.
    fn at(&mut self, place: u64) -> Option<(u64, &mut Reply)> {
        self.recent.iter_mut().rev().find_map(|reply| {
            let offset = place.checked_sub(sound::place(reply.first))?;
            let frames = reply.length.as_nanos().div_ceil(FRAME.as_nanos());
            (u128::from(offset) < frames).then_some((reply.first + offset, reply))
        })
    }

    /// Whether this line may be recorded now.
    fn check(&mut self, text: &str, cut: bool) -> Result<(), (Rule, String)> {
        let wrong = |what: &str| Err((Rule::EveryReplyOnce, what.to_owned()));
        let mut words = text.split(' ').peekable();
        let Some(number) = words
            .peek()
            .and_then(|word| read_word(word))
            .map(|word| word.0)
        else {
            return wrong("these are not the model's words");
        };
        let Some(reply) = self.find(number) else {
            return wrong("a line of a reply that is long past");
        };
        reply.lines += 1;
        if reply.lines > 1 {
            return wrong("the reply has a line already");
        }
        for (index, sentence) in (0..).zip(&reply.sentences) {
            let mut said = 0;
            while words.peek().and_then(|word| read_word(word)) == Some((number, index, said))
                && said < sentence.words
            {
                words.next();
                said += 1;
            }
            if said > 0 && !reply.tainted && sentence.start >= reply.sounded {
                return Err((
                    Rule::RecordedWasHeard,
                    format!("sentence {index} was not heard"),
                ));
            }
            if said == sentence.words && (reply.tainted || sentence.end <= reply.sounded) {
                continue;
            }
            if words.peek().is_some() {
                return wrong("words are missing, strange, or in another order");
            }
            if reply.tainted {
                break;
            }
            let heard = reply.sounded.saturating_sub(sentence.start).as_secs_f64();
            let length = (sentence.end - sentence.start).as_secs_f64();
            let most = heard / length * f64::from(sentence.words) + A_BIT;
            if f64::from(said) > most {
                let seen = format!("{said} words of sentence {index} and {most:.2} were heard");
                return Err((Rule::RecordedWasHeard, seen));
            }
            if !cut {
                let seen = format!("{heard:.3} s of {length:.3} s were heard and it is not cut");
                return Err((Rule::EveryReplyOnce, seen));
            }
            break;
        }
        if words.peek().is_some() {
            return wrong("the line says more than the reply");
        }
        Ok(())
    }
}

impl Reply {
    /// Whether all of it has sounded and no more comes.
    fn is_through(&self) -> bool {
        self.ended && self.sounded >= self.length && !self.length.is_zero()
    }
}

fn frames(length: Duration) -> u64 {
    u64::try_from(length.as_millis() / FRAME.as_millis()).unwrap_or(u64::MAX)
}

/// The words of a sentence; every word says where it belongs.
pub(super) fn sentence(reply: u64, sentence: u32, words: u32) -> String {
    let mut text = String::with_capacity(words as usize * 16);
    for word in 0..words {
        if word > 0 {
            text.push(' ');
        }
        text.push_str(&format!("r{reply:06}s{sentence:02}w{word:02}"));
    }
    text
}

/// The reply, the sentence and the place that a word belongs to.
fn read_word(word: &str) -> Option<(u64, u32, u32)> {
    let (reply, rest) = word.strip_prefix('r')?.split_once('s')?;
    let (sentence, word) = rest.split_once('w')?;
    Some((
        reply.parse().ok()?,
        sentence.parse().ok()?,
        word.parse().ok()?,
    ))
}

/// More violations say nothing new.
const MOST: usize = 8;

/// So many replies back something may still be heard or recorded of them.
const REMEMBERED: usize = 256;

/// No reply has more frames: a minute.
const LONGEST: u64 = 3_000;

/// The share of the limit at which the call moves whatever happens.
const HARD: f64 = 465.0 / 480.0;

/// How often a call looks for a quiet point, and what rounding takes.
const LOOK: Duration = Duration::from_millis(110);

/// What rounding to whole characters may add to the words heard.
const A_BIT: f64 = 0.25;

#[cfg(test)]
mod tests;

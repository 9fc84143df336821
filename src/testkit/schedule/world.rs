//! What is around a conversation: carrier, model, network, application, and a clock.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Act, Conditions, Finals, Outcome, Schedule,
    dice::Dice,
    ear::Ear,
    sound,
    witness::{self, Witness},
};
use crate::{
    audio::{AudioFrame, FRAME},
    call::{CallId, LegCapabilities},
    clock,
    conversation::{
        Action, AgentState, Command, Conversation, EndReason, Input, SessionId, Setup, Step,
    },
    error::ProviderErrorKind,
    journal::{Header, Recording},
    model::{ModelEvent, ReplyId, Usage},
    telephony::CallEvent,
};

pub(super) struct World<'a> {
    schedule: &'a Schedule,
    dice: Dice,
    core: Conversation,
    tape: Option<Recording>,
    start: Instant,
    now: Instant,
    wake: Option<Instant>,
    /// How often in a row the conversation was woken without time going on.
    restless: u32,
    agenda: BinaryHeap<Reverse<(Instant, u64)>>,
    /// What is on the agenda, by its number.
    due: Vec<Option<Due>>,
    free: Vec<usize>,
    ear: Ear,
    witness: Witness,
    /// The model is in the middle of a reply; it says one after the other.
    speaks: bool,
    openings: Openings,
    refuse: (u32, u32),
    /// Final texts that the model has sent, to be repeated.
    finals: Vec<String>,
    ended: Option<EndReason>,
    /// When that was.
    until: Instant,
}

/// How the next openings go.
#[derive(Debug)]
struct Openings {
    takes: Duration,
    failures: u32,
}

/// Something that will happen.
#[derive(Debug)]
enum Due {
    Opens(SessionId, Option<ProviderErrorKind>),
    Expires(SessionId),
    Closes(SessionId),
    Text(SessionId, String),
    Answer,
    LegEnds,
}

impl<'a> World<'a> {
    pub(super) fn new(schedule: &'a Schedule, recorded: bool) -> Self {
        let Conditions {
            config,
            session_limit,
            jitter,
            marks,
            mark_delay,
            text_input,
            greeting,
        } = schedule.conditions.clone();
        let start = clock::now();
        let setup = Setup {
            rate: sound::RATE,
            leg: LegCapabilities {
                marks,
                ..LegCapabilities::default()
            },
            text_input,
            tools: Arc::default(),
            offered: None,
            greeting: greeting.then(|| "Greet the caller.".to_owned()),
            answering: None,
            session_limit,
            jitter,
            filler: Some(AudioFrame::silence(sound::RATE)),
            started: Timestamp::UNIX_EPOCH,
        };
        let tape = recorded.then(|| {
            let call = CallId::new("simulated");
            let header = Header::new(call, setup.clone(), config.clone(), false);
            Recording::new(&header, start, None)
        });
        let hold = config.hold;
        let mut world = Self {
            schedule,
            dice: Dice::new(schedule.seed),
            core: Conversation::new(config, setup, start),
            tape,
            start,
            now: start,
            wake: None,
            restless: 0,
            agenda: BinaryHeap::new(),
            due: Vec::new(),
            free: Vec::new(),
            ear: Ear::default(),
            witness: Witness::new(start, session_limit, hold, mark_delay),
            speaks: false,
            openings: Openings {
                takes: Duration::from_millis(300),
                failures: 0,
            },
            refuse: (0, 0),
            finals: Vec::new(),
            ended: None,
            until: start,
        };
        world.drain();
        world
    }

    pub(super) fn play(mut self) -> (Outcome, Vec<u8>) {
        let schedule = self.schedule;
        for act in &schedule.acts {
            if self.ended.is_some() || self.witness.over {
                break;
            }
            self.act(act);
        }
        if self.ended.is_none() {
            self.run_for(SETTLE);
            self.caller_hangs_up();
        }
        self.run_for(SETTLE);
        self.listen();
        let stats = self.core.stats();
        let outcome = Outcome {
            violations: self.witness.closes_the_book(&stats),
            length: self.until - self.start,
            ended: self.ended,
            stats,
        };
        let journal = self.tape.map(Recording::finish);
        (outcome, journal.unwrap_or_default())
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Wait(length) => self.run_for(*length),
            Act::Caller { voice, frames } => {
                self.hear(*voice);
                for _ in 0..*frames {
                    self.caller_frame();
                    self.run_for(FRAME);
                }
            }
            Act::Burst(frames) => (0..*frames).for_each(|_| self.caller_frame()),
            Act::Idle(length) => self.idle(*length),
            Act::Stall(length) => self.stall(*length),
            Act::SpeechStarted => self.model(ModelEvent::SpeechStarted),
            Act::CallerSaid => self.model(ModelEvent::CallerSaid("Some words.".to_owned())),
            Act::Says {
                sentences,
                length,
                finals,
                ends,
                live,
            } => self.says(*sentences, *length, *finals, *ends, *live),
            Act::FinalAgain(which) => {
                let known = self.finals.len();
                if let Some(which) = (*which as usize).checked_rem(known) {
                    let text = self.finals[which].clone();
                    self.model(ModelEvent::AgentSaid(text));
                }
            }
            Act::Interrupted => self.model(ModelEvent::Interrupted),
            Act::Key => self.input(Input::Call(CallEvent::Dtmf('5'))),
            Act::Muted(muted) => self.input(Input::Call(CallEvent::Muted(*muted))),
            Act::Tell => self.input(Input::Command(Command::Tell("Say this.".to_owned()))),
            Act::HangUp => self.input(Input::Command(Command::HangUp)),
            Act::Abort => self.input(Input::Command(Command::Abort)),
            Act::CallerHangsUp => self.caller_hangs_up(),
            Act::Lose(kind) => {
                if let Some(active) = self.witness.sessions.active
                    && active.ready.is_some()
                {
                    self.lose(active.id, Some(kind.clone()));
                }
            }
            Act::LoseStandby => {
                if let Some(standby) = self.witness.sessions.standby
                    && standby.ready.is_some()
                {
                    self.lose(standby.id, Some(ProviderErrorKind::Closed));
                }
            }
            Act::Openings { takes, failures } => {
                self.openings = Openings {
                    takes: *takes,
                    failures: *failures,
                };
            }
            Act::Refuse { feeds, plays } => self.refuse = (*feeds, *plays),
            Act::Stale => self.stale(),
        }
    }

    // Caller and carrier.

    fn caller_frame(&mut self) {
        if self.witness.over {
            return;
        }
        let frame = sound::frame(self.witness.caller.sent);
        self.witness.caller.sent += 1;
        self.input(Input::Call(CallEvent::Audio(frame)));
    }

    fn hear(&mut self, voice: bool) {
        // As the driver does: the core knows that a detector hears nothing where no audio comes.
        if voice != self.core.hears_voice() {
            self.input(Input::Voice(voice));
        }
    }

    fn caller_hangs_up(&mut self) {
        if !self.witness.ended {
            self.silence();
            self.witness.over = true;
            self.input(Input::Call(CallEvent::HungUp));
        }
    }

    // Model.

    /// The session that talks reports, if there is one.
    fn model(&mut self, event: ModelEvent) {
        if let Some(session) = self.talking() {
            self.input(Input::Model(session, event));
        }
    }

    fn talking(&self) -> Option<SessionId> {
        let active = self.witness.sessions.active?;
        active.ready.map(|_| active.id)
    }

    fn says(&mut self, sentences: u32, length: Duration, finals: Finals, ends: bool, live: bool) {
        let Some(session) = self.talking().filter(|_| !self.speaks) else {
            return;
        };
        self.speaks = true;
        self.speak(session, sentences, length, finals, (ends, live));
        self.speaks = false;
    }

    fn speak(
        &mut self,
        session: SessionId,
        sentences: u32,
        length: Duration,
        finals: Finals,
        (ends, live): (bool, bool),
    ) {
        let number = self.witness.reply();
        let reply = ReplyId(number);
        for sentence in 0..sentences {
            if self.talking() != Some(session) || self.witness.over {
                return;
            }
            let words = u32::try_from(self.dice.number(1..=12)).unwrap_or(1);
            let text = witness::sentence(number, sentence, words);
            self.witness.sentence(number, words);
            self.model(ModelEvent::Caption(reply, text.clone()));
            let mut left = length;
            while !left.is_zero() {
                let piece = left.min(self.dice.millis(1..=200));
                left -= piece;
                let Some(audio) = self.witness.speaks(number, piece) else {
                    return;
                };
                self.model(ModelEvent::Audio(reply, audio));
                if live {
                    self.run_for(piece);
                    if self.talking() != Some(session) || self.witness.over {
                        return;
                    }
                }
            }
            self.final_text(session, text, finals);
        }
        if ends {
            if let Some(reply) = self.witness.replies.find(number) {
                reply.ended = reply.cut.is_none();
            }
            self.model(ModelEvent::ReplyEnded(reply));
            self.model(ModelEvent::Usage(Usage::default()));
        }
    }

    fn final_text(&mut self, session: SessionId, text: String, finals: Finals) {
        let soon = self.dice.millis(0..=1_500);
        let mut texts = match finals {
            Finals::Never => return,
            Finals::Soon | Finals::Late => vec![text],
            Finals::Doubled => vec![text.clone(), text],
            Finals::Halves => {
                let middle = text.len() / 2;
                let space = text[middle..].find(' ').map(|at| at + middle);
                match space {
                    Some(at) => vec![text[..at].to_owned(), text[at + 1..].to_owned()],
                    None => vec![text],
                }
            }
        };
        let mut at = self.now
            + if finals == Finals::Late {
                soon * 6
            } else {
                soon
            };
        for text in texts.drain(..) {
            self.plan(at, Due::Text(session, text));
            at += Duration::from_millis(50);
        }
    }

    /// A session that was left still speaks; nobody may hear it.
    fn stale(&mut self) {
        let Some(session) = self.witness.sessions.closing.last().copied() else {
            return;
        };
        let reply = ReplyId(self.witness.replies.next + 1_000);
        let audio = AudioFrame::silence(sound::RATE);
        for event in [
            ModelEvent::SpeechStarted,
            ModelEvent::Caption(reply, "Nobody hears this.".to_owned()),
            ModelEvent::Audio(reply, audio),
            ModelEvent::Interrupted,
            ModelEvent::ReplyEnded(reply),
        ] {
            self.input(Input::Model(session, event));
        }
    }

    fn lose(&mut self, session: SessionId, kind: Option<ProviderErrorKind>) {
        self.witness.gone(session);
        self.input(Input::ModelEnded(session, kind));
    }

    // Time.

    fn idle(&mut self, length: Duration) {
        let until = self.now + length;
        self.hear(false);
        let limit = self.schedule.conditions.session_limit;
        let step = limit.map_or(LONGEST_STEP, |limit| (limit / 50).min(LONGEST_STEP));
        while self.now < until && self.ended.is_none() && !self.witness.over {
            self.caller_frame();
            let next = (self.now + step).min(until);
            self.run_until(next, true);
        }
    }

    fn stall(&mut self, length: Duration) {
        let limit = self.schedule.conditions.session_limit;
        let until = self.now + limit.map_or(length, |limit| length.min(limit / 60));
        // Marks that wait meanwhile look like a carrier that is late.
        self.witness.blurs(until - self.now);
        self.now = until;
        self.run_for(Duration::ZERO);
    }

    fn run_for(&mut self, length: Duration) {
        self.run_until(self.now + length, false);
    }

    /// Lets time pass. Coarsely: while nobody speaks, what the conversation wants to be woken for
    /// waits for the next thing that happens.
    fn run_until(&mut self, until: Instant, coarse: bool) {
        while self.ended.is_none() {
            let quiet = coarse
                && self.core.state() == AgentState::Listening
                && self.ear.is_silent(self.now)
                && !self.witness.must_move_by(until);
            let wake = self.wake.filter(|_| !quiet);
            let planned = self.agenda.peek().map(|Reverse((at, _))| *at);
            let mark = self.ear.mark_at();
            let next = wake.into_iter().chain(planned).chain(mark).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.go_on(next);
            if mark.is_some_and(|at| at <= self.now) {
                if let Some(mark) = self.ear.take_mark() {
                    self.input(Input::Call(CallEvent::Played(mark)));
                }
            } else if planned.is_some_and(|at| at <= self.now) {
                self.happen();
            } else {
                self.input(Input::Tick);
                self.restless += 1;
                if self.restless > MOST_RESTLESS {
                    // It would never get past this moment.
                    self.witness.drained(self.now.checked_sub(FRAME));
                    break;
                }
            }
        }
        self.go_on(until);
        if coarse && self.ended.is_none() {
            self.input(Input::Tick);
        }
    }

    fn go_on(&mut self, now: Instant) {
        if now > self.now {
            self.now = now;
            self.restless = 0;
        }
    }

    fn plan(&mut self, at: Instant, due: Due) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.due[slot] = Some(due);
                slot
            }
            None => {
                self.due.push(Some(due));
                self.due.len() - 1
            }
        };
        self.agenda.push(Reverse((at, slot as u64)));
    }

    fn happen(&mut self) {
        let Some(Reverse((_, slot))) = self.agenda.pop() else {
            return;
        };
        let slot = usize::try_from(slot).unwrap_or_default();
        let Some(due) = self.due[slot].take() else {
            return;
        };
        self.free.push(slot);
        match due {
            Due::Opens(id, failure) => {
                let sessions = &self.witness.sessions;
                let both = [sessions.active, sessions.standby];
                let awaited = both.into_iter().flatten().any(|session| session.id == id);
                match failure {
                    _ if !awaited => {}
                    Some(kind) => self.lose(id, Some(kind)),
                    None => {
                        self.witness.now = self.now;
                        self.witness.opened(id);
                        self.input(Input::ModelOpened(id));
                    }
                }
            }
            Due::Expires(id) => {
                let sessions = &self.witness.sessions;
                let both = [sessions.active, sessions.standby];
                if both.into_iter().flatten().any(|session| session.id == id) {
                    self.witness.now = self.now;
                    self.witness.expires(id);
                    self.lose(id, Some(ProviderErrorKind::Expired));
                }
            }
            Due::Closes(id) => {
                if self.witness.sessions.closing.contains(&id) {
                    self.lose(id, None);
                }
            }
            Due::Text(id, text) => {
                let sessions = &self.witness.sessions;
                let active = sessions.active.is_some_and(|active| active.id == id);
                if active || sessions.closing.contains(&id) {
                    if self.finals.len() < MOST_FINALS {
                        self.finals.push(text.clone());
                    }
                    self.input(Input::Model(id, ModelEvent::AgentSaid(text)));
                }
            }
            Due::LegEnds => self.input(Input::Call(CallEvent::HungUp)),
            Due::Answer => self.says(1, Duration::from_millis(1_200), Finals::Soon, true, false),
        }
    }

    // The conversation.

    fn input(&mut self, input: Input) {
        if self.ended.is_some() {
            return;
        }
        self.listen();
        self.witness.now = self.now;
        let interrupts = matches!(
            &input,
            Input::Model(id, ModelEvent::Interrupted) if self.talking() == Some(*id)
        );
        if interrupts && !self.witness.over {
            self.witness.cut();
        }
        self.tell(input);
        self.drain();
    }

    fn tell(&mut self, input: Input) {
        if let Some(tape) = &mut self.tape {
            tape.input(self.now, &input);
        }
        self.core.handle(self.now, input);
    }

    /// What has begun to sound by now was heard.
    fn listen(&mut self) {
        while let Some(sent) = self.ear.sounded(self.now) {
            self.witness.sounds(sent.begins, sent.what);
        }
    }

    /// What has not begun to sound by now never will.
    fn silence(&mut self) {
        self.listen();
        self.ear.clear();
        self.witness.silenced(self.now);
    }

    fn drain(&mut self) {
        loop {
            match self.core.step() {
                Step::Do(action) => {
                    if let Some(tape) = &mut self.tape {
                        tape.action(&action);
                    }
                    self.perform(action);
                }
                Step::Wait(wake) => {
                    self.wake = wake;
                    self.witness.drained(wake);
                    break;
                }
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::OpenModel(id) => self.open(id),
            Action::Feed(id, frame) => {
                self.witness.fed(id, &frame);
                if self.refuse.0 > 0 {
                    self.refuse.0 -= 1;
                    self.witness.caller.refused += 1;
                    self.tell(Input::NotFed);
                }
            }
            Action::Tell(..) => {
                if !self.dice.once_in(4) {
                    let at = self.now + self.dice.millis(200..=1_500);
                    self.plan(at, Due::Answer);
                }
            }
            Action::CloseModel(id) => {
                self.witness.closes(id);
                // One in ten never closes.
                if !self.dice.once_in(10) {
                    let at = self.now + self.dice.millis(0..=3_000);
                    self.plan(at, Due::Closes(id));
                }
            }
            Action::Play(frame) => {
                let taken = self.refuse.1 == 0;
                self.witness.plays(&frame, taken);
                if taken {
                    self.ear.play(self.now, &frame);
                } else {
                    self.refuse.1 -= 1;
                    // Its line is busy for as long as the frame would have taken.
                    self.ear.play(self.now, &AudioFrame::silence(sound::RATE));
                    self.tell(Input::NotPlayed);
                }
            }
            Action::Mark(mark) => {
                let delay = self.schedule.conditions.mark_delay;
                self.ear.mark(self.now, mark, delay);
            }
            Action::ClearPlayback => self.silence(),
            Action::HangUp { .. } => {
                self.silence();
                self.witness.over = true;
                // The leg hangs up, now and then too late.
                let wait = self.dice.millis(0..=4_000);
                self.plan(self.now + wait, Due::LegEnds);
            }
            Action::Record(line) => self.witness.recorded(&line),
            Action::End(reason) => {
                self.witness.ended = true;
                self.ended = Some(reason);
                self.until = self.now;
            }
            // No tools here: the tests of the conversation have schedules of their own for them.
            Action::Brief(..)
            | Action::Answer(..)
            | Action::Configure(_)
            | Action::CallTool(..)
            | Action::CancelTool(_)
            | Action::Transfer(_)
            | Action::WarmTransfer { .. }
            | Action::SendDtmf(_)
            | Action::Show(_)
            | Action::Publish(_) => {}
        }
    }

    fn open(&mut self, id: SessionId) {
        let Openings { takes, failures } = &mut self.openings;
        let takes = *takes;
        let failure = (*failures > 0).then_some(ProviderErrorKind::Unavailable);
        *failures = failures.saturating_sub(1);
        let limit = self.schedule.conditions.session_limit;
        // Too slow for anybody: half of what is left between the soft age and the limit.
        let slow = limit.is_some_and(|limit| takes > limit.mul_f64(10.0 / 480.0));
        self.witness.opens(id, slow || failure.is_some());
        self.plan(self.now + takes, Due::Opens(id, failure));
        if let Some(limit) = limit {
            self.plan(self.now + limit, Due::Expires(id));
        }
    }
}

/// Long enough for every line to be certain.
const SETTLE: Duration = Duration::from_secs(30);

/// The coarsest step, where no session has a limit.
const LONGEST_STEP: Duration = Duration::from_secs(10);

/// A conversation that is woken more often without time going on never comes to rest.
const MOST_RESTLESS: u32 = 1_000;

const MOST_FINALS: usize = 1_000;

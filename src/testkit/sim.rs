//! One conversation and a clock: hours of calls in milliseconds.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    audio::{AudioFrame, FRAME, SampleRate},
    call::{CallId, LegCapabilities, Party},
    clock,
    conversation::{
        Action, CallStats, Config, Conversation, EndReason, Input, Notice, Reconfigure, SessionId,
        Setup, Step,
    },
    journal::{Header, Recording},
    model::{ModelEvent, ReplyId, Said},
    private::Private,
    telephony::{CallEvent, MarkId, Show},
    tool::{ToolCall, ToolOutput, ToolResult, ToolRunId},
    transcript::Utterance,
};

/// A [`Conversation`] in simulated time, with an ear at the end of the line.
///
/// The ear plays frames as a carrier does: one after the other in real time, forgetting on
/// [`Action::ClearPlayback`] what has not begun to sound, and answering marks once everything
/// before them was played. Nothing here reads a clock after [`Sim::new`].
#[derive(Debug)]
pub struct Sim {
    call: Conversation,
    tape: Option<Recording>,
    start: Instant,
    now: Instant,
    wake: Option<Instant>,
    ear: Ear,
    fed: BTreeMap<SessionId, Vec<(Instant, AudioFrame)>>,
    told: Vec<String>,
    lines: Vec<Utterance>,
    notices: Vec<Notice>,
    shown: Vec<Show>,
    opened: Vec<SessionId>,
    briefed: Vec<(SessionId, Vec<Said>)>,
    closed: Vec<SessionId>,
    hung_up: Option<bool>,
    answers: Vec<(SessionId, ToolResult)>,
    configured: Vec<Option<Reconfigure>>,
    transferred: Option<Party>,
    introduced: Option<(Party, Private<String>)>,
    pressed: String,
    running: BTreeMap<ToolRunId, ToolCall>,
    cancelled: Vec<ToolRunId>,
    ended: Option<EndReason>,
    last_fed: Option<SessionId>,
    replies: u64,
    wakes: u64,
    mark_delay: Duration,
}

/// What the caller hears.
#[derive(Debug, Default)]
struct Ear {
    /// Frames by the time at which each begins to sound.
    frames: Vec<(Instant, AudioFrame)>,
    marks: VecDeque<(Instant, MarkId)>,
    edge: Option<Instant>,
    clears: usize,
    deepest: Duration,
}

impl Sim {
    /// A call at 16 kHz on a leg with marks, whose model is opening.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with(config, Self::setup())
    }

    /// What a call at 16 kHz on a leg with marks is told at its beginning; assign what differs.
    #[must_use]
    pub fn setup() -> Setup {
        Setup {
            rate: SampleRate::Hz16000,
            leg: LegCapabilities {
                marks: true,
                text: true,
                transfer: true,
                dtmf: true,
            },
            text_input: true,
            tools: Arc::default(),
            offered: None,
            greeting: None,
            answering: None,
            session_limit: None,
            jitter: 0.0,
            filler: None,
            started: Timestamp::UNIX_EPOCH,
        }
    }

    /// A call of your own making, whose model is opening.
    #[must_use]
    pub fn with(config: Config, setup: Setup) -> Self {
        Self::begin(config, setup, clock::now(), None)
    }

    /// The same, written down for [`journal`](Self::journal).
    #[must_use]
    pub fn recorded(config: Config, setup: Setup) -> Self {
        let start = clock::now();
        let call = CallId::new("simulated");
        let header = Header::new(call, setup.clone(), config.clone(), false);
        let tape = Recording::new(&header, start, None);
        Self::begin(config, setup, start, Some(tape))
    }

    fn begin(config: Config, setup: Setup, start: Instant, tape: Option<Recording>) -> Self {
        let mut sim = Self {
            call: Conversation::new(config, setup, start),
            tape,
            start,
            now: start,
            wake: None,
            ear: Ear::default(),
            fed: BTreeMap::new(),
            told: Vec::new(),
            lines: Vec::new(),
            notices: Vec::new(),
            shown: Vec::new(),
            opened: Vec::new(),
            briefed: Vec::new(),
            closed: Vec::new(),
            hung_up: None,
            answers: Vec::new(),
            configured: Vec::new(),
            transferred: None,
            introduced: None,
            pressed: String::new(),
            running: BTreeMap::new(),
            cancelled: Vec::new(),
            ended: None,
            last_fed: None,
            replies: 0,
            wakes: 0,
            mark_delay: Duration::ZERO,
        };
        sim.drain();
        sim
    }

    /// The same, with the model open.
    #[must_use]
    pub fn opened(config: Config) -> Self {
        let mut sim = Self::new(config);
        sim.input(Input::ModelOpened(SessionId(1)));
        sim
    }

    /// Lets marks be answered this much later than everything before them was played.
    #[must_use]
    pub fn with_mark_delay(mut self, delay: Duration) -> Self {
        self.mark_delay = delay;
        self
    }

    /// Something happens now.
    pub fn input(&mut self, input: Input) {
        if let Some(tape) = &mut self.tape {
            tape.input(self.now, &input);
        }
        self.call.handle(self.now, input);
        self.drain();
    }

    /// The session that was fed last reports.
    pub fn model(&mut self, event: ModelEvent) {
        let session = self.talking();
        self.input(Input::Model(session, event));
    }

    /// The session that was fed last; before that, the first.
    #[must_use]
    pub fn talking(&self) -> SessionId {
        self.last_fed.unwrap_or(SessionId(1))
    }

    /// What sessions were told of the past, in order.
    #[must_use]
    pub fn briefed(&self) -> &[(SessionId, Vec<Said>)] {
        &self.briefed
    }

    /// The model says a sentence: its caption, its audio at once, and its end. Answers with the
    /// reply's name.
    pub fn says(&mut self, text: &str, length: Duration) -> ReplyId {
        let reply = self.begins(text, length);
        self.model(ModelEvent::ReplyEnded(reply));
        reply
    }

    /// The model begins a reply and does not end it.
    pub fn begins(&mut self, text: &str, length: Duration) -> ReplyId {
        self.replies += 1;
        let reply = ReplyId(self.replies);
        self.model(ModelEvent::Caption(reply, text.to_owned()));
        let mut left = length;
        while !left.is_zero() {
            let piece = left.min(FRAME * 4);
            let bytes = usize::try_from(piece.as_millis()).unwrap_or_default() * 32;
            let number = u8::try_from(self.replies % 250).unwrap_or_default() + 1;
            self.model(ModelEvent::Audio(
                reply,
                AudioFrame::new(Bytes::from(vec![number; bytes]), SampleRate::Hz16000),
            ));
            left -= piece;
        }
        reply
    }

    /// The caller speaks (or is silent) for a while, in frames of real time.
    pub fn caller(&mut self, voice: bool, length: Duration) {
        let until = self.now + length;
        self.input(Input::Voice(voice));
        while self.now < until {
            self.input(Input::Call(CallEvent::Audio(AudioFrame::silence(
                SampleRate::Hz16000,
            ))));
            self.run_for(FRAME);
        }
        if voice {
            self.input(Input::Voice(false));
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, length: Duration) {
        let until = self.now + length;
        loop {
            let mark = self.ear.marks.front().map(|(at, _)| *at);
            let next = self
                .wake
                .into_iter()
                .chain(mark)
                .min()
                .filter(|at| *at <= until);
            let Some(next) = next else { break };
            assert!(
                self.wake.is_none_or(|wake| wake >= self.now),
                "asked to wake up in the past"
            );
            self.now = self.now.max(next);
            match self.ear.marks.front() {
                Some((at, mark)) if *at <= self.now => {
                    let mark = *mark;
                    self.ear.marks.pop_front();
                    self.input(Input::Call(CallEvent::Played(mark)));
                }
                Some(_) | None => {
                    self.wakes += 1;
                    self.input(Input::Tick);
                }
            }
        }
        self.now = until;
    }

    /// How long the call has lasted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// What has sounded in the caller's ear by now.
    #[must_use]
    pub fn heard(&self) -> Duration {
        self.ear
            .frames
            .iter()
            .filter(|(at, _)| *at < self.now)
            .map(|(_, frame)| frame.duration())
            .sum()
    }

    /// The frames that sounded, with when each began, counted from the start of the call.
    pub fn sounded(&self) -> impl Iterator<Item = (Duration, &AudioFrame)> {
        let now = self.now;
        self.ear
            .frames
            .iter()
            .filter(move |(at, _)| *at < now)
            .map(|(at, frame)| (*at - self.start, frame))
    }

    /// The most that the carrier ever held.
    #[must_use]
    pub fn deepest_buffer(&self) -> Duration {
        self.ear.deepest
    }

    /// How often the carrier was told to forget.
    #[must_use]
    pub fn clears(&self) -> usize {
        self.ear.clears
    }

    /// What a session was fed, with when, counted from the start of the call.
    pub fn fed(&self, session: SessionId) -> impl Iterator<Item = (Duration, &AudioFrame)> {
        self.fed
            .get(&session)
            .into_iter()
            .flatten()
            .map(|(at, frame)| (*at - self.start, frame))
    }

    /// The texts that models were told.
    #[must_use]
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// The transcript so far, in the order of commitment.
    #[must_use]
    pub fn lines(&self) -> &[Utterance] {
        &self.lines
    }

    /// The transcript as `speaker: text`, with ` [cut]` where it was.
    #[must_use]
    pub fn transcript(&self) -> Vec<String> {
        let cut = |line: &Utterance| if line.cut { " [cut]" } else { "" };
        self.lines
            .iter()
            .map(|line| format!("{}: {}{}", line.speaker.as_str(), line.text, cut(line)))
            .collect()
    }

    /// What observers were told.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// What a leg with a screen showed.
    #[must_use]
    pub fn shown(&self) -> &[Show] {
        &self.shown
    }

    /// The sessions that were asked for, and those that were closed.
    #[must_use]
    pub fn sessions(&self) -> (&[SessionId], &[SessionId]) {
        (&self.opened, &self.closed)
    }

    /// Whether the leg was told to hang up.
    #[must_use]
    pub fn hung_up(&self) -> bool {
        self.hung_up.is_some()
    }

    /// Whether the carrier was asked to apologise when the agent ended the leg.
    #[must_use]
    pub fn apologised(&self) -> bool {
        self.hung_up == Some(true)
    }

    /// Why the call ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<&EndReason> {
        self.ended.as_ref()
    }

    /// The figures so far.
    #[must_use]
    pub fn stats(&self) -> CallStats {
        self.call.stats()
    }

    /// The tools that run now, as the model called them.
    #[must_use]
    pub fn running(&self) -> &BTreeMap<ToolRunId, ToolCall> {
        &self.running
    }

    /// A tool that runs is done.
    pub fn tool_done(&mut self, run: ToolRunId, output: ToolOutput) {
        self.running.remove(&run);
        self.input(Input::ToolDone(run, output));
    }

    /// The tools that were stopped.
    #[must_use]
    pub fn cancelled(&self) -> &[ToolRunId] {
        &self.cancelled
    }

    /// What sessions were told about their uses of tools, in order.
    #[must_use]
    pub fn answers(&self) -> &[(SessionId, ToolResult)] {
        &self.answers
    }

    /// The changes to how sessions are opened; `None`: back.
    #[must_use]
    pub fn configured(&self) -> &[Option<Reconfigure>] {
        &self.configured
    }

    /// Whom the caller was to be connected with.
    #[must_use]
    pub fn transferred(&self) -> Option<&Party> {
        self.transferred.as_ref()
    }

    /// Who was to be called first, and what they were to be told.
    #[must_use]
    pub fn introduced(&self) -> Option<&(Party, Private<String>)> {
        self.introduced.as_ref()
    }

    /// The keys that the agent has pressed.
    #[must_use]
    pub fn pressed(&self) -> &str {
        &self.pressed
    }

    /// How often the conversation was woken because it had asked for it.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.wakes
    }

    /// The journal file of a [recorded](Self::recorded) call; empty for any other one.
    #[must_use]
    pub fn journal(self) -> Vec<u8> {
        self.tape.map(Recording::finish).unwrap_or_default()
    }

    /// The conversation itself.
    #[must_use]
    pub fn conversation(&self) -> &Conversation {
        &self.call
    }

    fn drain(&mut self) {
        loop {
            match self.call.step() {
                Step::Do(action) => {
                    if let Some(tape) = &mut self.tape {
                        tape.action(&action);
                    }
                    self.perform(action);
                }
                Step::Wait(wake) => {
                    self.wake = wake;
                    break;
                }
            }
        }
    }

    fn perform(&mut self, action: Action) {
        assert!(self.ended.is_none(), "{} after the end", action.name());
        match action {
            Action::OpenModel(id) => self.opened.push(id),
            Action::Feed(id, frame) => {
                self.last_fed = Some(id);
                self.fed.entry(id).or_default().push((self.now, frame));
            }
            Action::Brief(id, history) => self.briefed.push((id, history)),
            Action::Tell(_, text) => self.told.push(text),
            Action::Answer(id, result) => {
                assert!(
                    !self.closed.contains(&id),
                    "a session that was left is answered"
                );
                self.answers.push((id, result));
            }
            Action::Configure(change) => self.configured.push(change),
            Action::CloseModel(id) => self.closed.push(id),
            Action::Play(frame) => self.ear.play(self.now, frame),
            Action::Mark(mark) => {
                let played = self.ear.edge.unwrap_or(self.now).max(self.now);
                self.ear.marks.push_back((played + self.mark_delay, mark));
            }
            Action::ClearPlayback => self.ear.clear(self.now),
            Action::Show(show) => self.shown.push(show),
            Action::Transfer(to) => self.transferred = Some(to),
            Action::WarmTransfer { to, briefing } => self.introduced = Some((to, briefing)),
            Action::SendDtmf(keys) => self.pressed.push_str(keys.reveal()),
            Action::CallTool(run, call) => {
                let before = self.running.insert(run, call);
                assert!(before.is_none(), "a run has a name of its own");
            }
            Action::CancelTool(run) => {
                let running = self.running.remove(&run);
                assert!(running.is_some(), "only what runs is cancelled");
                self.cancelled.push(run);
            }
            Action::HangUp { apologise } => self.hung_up = Some(apologise),
            Action::Record(line) => self.lines.push(line),
            Action::Publish(notice) => self.notices.push(notice),
            Action::End(reason) => self.ended = Some(reason),
        }
    }
}

impl Ear {
    fn play(&mut self, now: Instant, frame: AudioFrame) {
        let at = self.edge.unwrap_or(now).max(now);
        self.edge = Some(at + frame.duration());
        self.deepest = self.deepest.max(at + frame.duration() - now);
        self.frames.push((at, frame));
    }

    fn clear(&mut self, now: Instant) {
        self.clears += 1;
        self.marks.clear();
        self.frames.retain(|(at, _)| *at < now);
        self.edge = self.frames.last().map(|(at, frame)| *at + frame.duration());
    }
}

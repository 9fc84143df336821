//! One session: reads input, judges it, and plays its script.

use std::{
    fmt,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Response,
    body::{Body as _, Frame, Incoming},
};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{
    emit::Emitter,
    fault::{Exception, Fault, When},
    handle::Command,
    options::{Headers, Options, SessionScript},
    pace::Pace,
    record::Record,
    report::{Breach, End, Rule},
    rules::{Accepted, Rules},
    server::{self, ReplyBody, Server, Wire},
    sign::Chain,
    speaker::Speaker,
    wire::{self, Event, Inbound, Reader},
};

/// A reset that was asked for, as hyper wants to hear of it.
#[derive(Debug)]
pub(super) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset on purpose")
    }
}

impl std::error::Error for Reset {}

/// What hyper waits for: the response, or a reset in its place.
pub(super) type Answer = Result<Response<ReplyBody>, Reset>;

type Output = mpsc::Sender<Result<Frame<Bytes>, Reset>>;

/// A session that was accepted.
pub(super) struct Session {
    server: Arc<Server>,
    options: Arc<Options>,
    record: Arc<Record>,
    wire: Arc<Wire>,
    headers: Headers,
    faults: Vec<(When, Fault)>,
    rules: Rules,
    speaker: Speaker,
    pace: Pace,
    reader: Reader,
    request_id: String,
    /// The response, until it goes out.
    unanswered: Option<(oneshot::Sender<Answer>, ReplyBody)>,
    opened: Instant,
    /// The last audio or interactive text.
    active: Instant,
    inputs: u64,
    flow: Flow,
    end: Option<End>,
    rate: crate::audio::SampleRate,
    has_started: bool,
    /// Replies and interruptions, as recorded last.
    spoke: (usize, usize),
    pcm: Vec<u8>,
}

/// What still flows.
struct Flow {
    /// Input is read.
    reads: bool,
    /// Input is judged; else it is thrown away.
    judges: bool,
    /// Output is sent; else it is thrown away.
    sends: bool,
    /// The client's half is over.
    input_over: bool,
    /// Our half is over once everything is sent.
    output_over: bool,
    /// Nothing more is to be done, whatever is left.
    aborted: bool,
}

impl Session {
    #[expect(clippy::too_many_arguments, reason = "the parts of a session, once")]
    pub(super) fn new(
        server: Arc<Server>,
        record: Arc<Record>,
        wire: Arc<Wire>,
        script: SessionScript,
        model: &str,
        chain: Chain,
        request_id: String,
        answer: oneshot::Sender<Answer>,
    ) -> (Self, Output) {
        let options = Arc::clone(&server.options);
        let (output, body) = server::reply_body();
        let emitter = Emitter::new(request_id.clone(), script.quirks.clone());
        let now = crate::clock::now();
        let session = Self {
            speaker: Speaker::new(
                Arc::clone(&options),
                &script.behaviour,
                record.index(),
                emitter,
            ),
            server,
            options,
            record,
            wire,
            headers: script.headers,
            faults: script.faults,
            rules: Rules::new(model),
            pace: Pace::default(),
            reader: Reader::new(chain),
            request_id,
            unanswered: Some((answer, body)),
            opened: now,
            active: now,
            inputs: 0,
            flow: Flow {
                reads: true,
                judges: true,
                sends: true,
                input_over: false,
                output_over: false,
                aborted: false,
            },
            end: None,
            rate: crate::audio::SampleRate::Hz16000,
            has_started: false,
            spoke: (0, 0),
            pcm: Vec::new(),
        };
        (session, output)
    }

    /// Runs until both halves are over.
    pub(super) async fn run(
        mut self,
        mut body: Incoming,
        mut commands: mpsc::Receiver<Command>,
        output: Output,
    ) {
        let mut output = Some(output);
        if self.headers == Headers::AtOnce {
            self.answer();
        }
        loop {
            self.strike(crate::clock::now(), &mut output);
            let queued = self.settle_output(&mut output);
            if self.flow.aborted || (self.flow.input_over && output.is_none()) {
                break;
            }
            let due = self.due();
            tokio::select! {
                biased;
                () = gone(&mut self.unanswered, output.as_ref()) => {
                    self.end.get_or_insert(End::ResetByClient);
                    break;
                }
                () = sleep_until(due) => self.tick(),
                () = room(output.as_ref()), if queued => self.send(output.as_ref()),
                Some(command) = commands.recv() => self.obey(command, &mut output),
                frame = body.frame(), if self.flow.reads && !self.flow.input_over => {
                    self.receive(frame, &body);
                }
            }
        }
        drop(body);
        self.record.finish(match self.end {
            Some(end) if !self.server.is_stopped() => end,
            _ => End::Stopped,
        });
        self.server.session_finished();
    }

    /// Whether there is output that can be sent now; closes our half when all of it was.
    fn settle_output(&mut self, output: &mut Option<Output>) -> bool {
        let queue = &mut self.speaker.emitter.queue;
        if !self.flow.sends {
            queue.clear();
        }
        if queue.len() > MAX_QUEUED {
            self.flow.sends = false;
            queue.clear();
            self.note(Breach::noted(
                Rule::NotDrained,
                "the client does not read its output",
            ));
        }
        let queued = !self.speaker.emitter.queue.is_empty();
        if queued && self.unanswered.is_some() && self.flow.output_over {
            // An exception goes out even where headers were being held back.
            self.answer();
        }
        if !queued && self.flow.output_over {
            *output = None;
        }
        queued && self.unanswered.is_none()
    }

    fn send(&mut self, output: Option<&Output>) {
        let frame = self.speaker.emitter.queue.pop_front();
        if let (Some(output), Some(frame)) = (output, frame)
            && output.try_send(Ok(Frame::data(frame))).is_ok()
        {
            self.record.sent();
        }
    }

    /// Sends the response headers, once.
    fn answer(&mut self) {
        if self.headers == Headers::Never {
            return;
        }
        if let Some((answer, body)) = self.unanswered.take() {
            self.record.answered();
            let response = server::response(200, EVENT_STREAM, &self.request_id, body);
            // A client that is gone is noticed through its half of the stream.
            let _ = answer.send(Ok(response));
        }
    }

    fn receive(&mut self, frame: Option<Result<Frame<Bytes>, hyper::Error>>, body: &Incoming) {
        match frame {
            Some(Ok(frame)) => {
                if let (true, Ok(data)) = (self.flow.judges, frame.into_data()) {
                    self.reader.feed(&data);
                    self.read();
                }
            }
            None if body.is_end_stream() => self.input_ended(),
            Some(Err(_)) | None => {
                self.end.get_or_insert(End::ResetByClient);
                self.flow.aborted = true;
            }
        }
    }

    /// Takes all complete frames.
    fn read(&mut self) {
        while self.flow.judges {
            let taken = match self.reader.next(crate::clock::wall()) {
                Ok(None) => break,
                Ok(Some(Inbound::Event(json))) => self.event(&json),
                Ok(Some(Inbound::End)) if self.record.closing(|closing| closing.empty_frame) => {
                    Err(Breach::invalid(Rule::Frame, "a second empty frame"))
                }
                Ok(Some(Inbound::End)) => {
                    self.record.close(|closing| closing.empty_frame = true);
                    Ok(())
                }
                Err(breach) => Err(breach),
            };
            if let Err(breach) = taken {
                self.breach(breach);
            }
            for breach in self.rules.noted() {
                self.note(breach);
            }
            self.speaker_done();
        }
    }

    fn event(&mut self, json: &[u8]) -> Result<(), Breach> {
        let now = crate::clock::now();
        self.inputs += 1;
        if self.record.closing(|closing| closing.empty_frame) {
            return Err(Breach::invalid(
                Rule::Frame,
                "an event after the empty frame",
            ));
        }
        if self.headers == Headers::FirstFrame {
            self.answer();
        }
        match wire::parse(json)? {
            Event::Audio(input) => {
                self.rules.take_audio(&input, &mut self.pcm)?;
                self.audio(now);
                Ok(())
            }
            Event::Other(name, body) => {
                let accepted = self.rules.take(&name, &body);
                self.record.event(json!({ "event": { name: body } }));
                self.accept(now, accepted?);
                Ok(())
            }
        }
    }

    fn audio(&mut self, now: Instant) {
        self.active = now;
        let length = self.rate.duration_of(self.pcm.len());
        if let Some(breach) = self.pace.audio(now, length, &self.options) {
            self.note(breach);
        }
        self.record.audio(&self.pcm, self.options.keep_audio);
        let heard = self.pace.heard();
        self.speaker.emitter.heard(heard);
        if !self.has_started && heard >= PRIMING {
            self.has_started = true;
            self.speaker.emitter.completion_start();
        }
        self.speaker.listen(now, &self.pcm);
    }

    fn accept(&mut self, now: Instant, accepted: Accepted) {
        match accepted {
            Accepted::Nothing => {}
            Accepted::Prompted(prompt) => self
                .speaker
                .emitter
                .set_prompt(prompt.name, prompt.output_rate),
            Accepted::SystemDone => {
                if self.headers == Headers::AfterSystem {
                    self.answer();
                }
            }
            Accepted::AudioOpened(rate) => {
                self.rate = rate;
                self.speaker.open_ear(rate);
            }
            Accepted::Interactive(text) => {
                self.active = now;
                let heard = self.pace.heard();
                if heard < PRIMING_RULE {
                    self.note(Breach::noted(
                        Rule::InteractiveText,
                        format!("interactive text after {heard:?} of audio"),
                    ));
                }
                if heard >= PRIMING {
                    self.speaker.interactive(now, &text);
                }
            }
            Accepted::ToolResult { id, .. } => self.speaker.tool_result(now, &id),
            Accepted::AudioEnded => {
                if let Some(breach) = self.pace.end(now, &self.options) {
                    self.note(breach);
                }
                self.record.close(|closing| closing.audio_ended = true);
            }
            Accepted::PromptEnded => {
                self.record.close(|closing| closing.prompt_ended = true);
                self.speaker.finish();
            }
            Accepted::SessionEnded => self.record.close(|closing| closing.session_ended = true),
        }
    }

    fn input_ended(&mut self) {
        self.flow.input_over = true;
        if !self.flow.judges {
            return;
        }
        self.record.close(|closing| closing.end_stream = true);
        if self.reader.is_inside_frame() {
            self.note(Breach::noted(Rule::Frame, "the input ended inside a frame"));
        }
        if !self.record.closing(|closing| closing.empty_frame) {
            self.note(Breach::noted(
                Rule::Frame,
                "the input ended without the empty frame",
            ));
        }
        match self.rules.end() {
            Err(breach) if breach.answer.is_some() => self.breach(breach),
            ended => {
                if let Err(breach) = ended {
                    self.note(breach);
                }
                self.answer();
                self.flow.output_over = true;
                self.end.get_or_insert(End::Closed);
            }
        }
    }

    fn obey(&mut self, command: Command, output: &mut Option<Output>) {
        let now = crate::clock::now();
        match command {
            Command::Emit(event) => self.speaker.emitter.raw(&event),
            Command::Say(reply) => self.speaker.say(now, reply),
            Command::Interrupt => self.speaker.interrupt(now),
            Command::UserSaid(text) => self.speaker.caller_said(&text),
            Command::Fault(fault) => self.suffer(fault, output),
            Command::Answer => {
                self.headers = Headers::AtOnce;
                self.answer();
            }
        }
        self.speaker_done();
    }

    /// Does what time demands.
    fn tick(&mut self) {
        let now = crate::clock::now();
        self.speaker.run(now);
        self.speaker_done();
        if self.end.is_some() {
            return;
        }
        if now >= self.limit() {
            self.fail(&Exception::model_timeout());
        } else if self.idle().is_some_and(|at| now >= at) {
            self.breach(Breach::fatal(
                Rule::Idle,
                format!(
                    "no audio and no interactive text for {:?}",
                    now - self.active
                ),
                Exception::idle().message,
            ));
        }
    }

    fn speaker_done(&mut self) {
        for id in self.speaker.called.drain(..) {
            self.rules.tool_called(id);
        }
        let spoke = (self.speaker.replies, self.speaker.interruptions);
        if std::mem::replace(&mut self.spoke, spoke) != spoke {
            self.record.spoke(spoke.0, spoke.1);
        }
    }

    /// Lets the faults strike whose time has come.
    fn strike(&mut self, now: Instant, output: &mut Option<Output>) {
        if self.end.is_some() {
            return;
        }
        while let Some(at) = self
            .faults
            .iter()
            .position(|(when, _)| self.has_come(*when, now))
        {
            let (_, fault) = self.faults.remove(at);
            self.suffer(fault, output);
            if self.end.is_some() {
                break;
            }
        }
    }

    fn has_come(&self, when: When, now: Instant) -> bool {
        match when {
            When::Opened => self.unanswered.is_none(),
            When::After(span) => now >= self.opened + self.options.service(span),
            When::Inputs(count) => self.inputs >= count,
            When::Audio(span) => self.pace.heard() >= span,
            When::Outputs(count) => self.speaker.emitter.written >= count,
            When::Reply(index) => self.speaker.replies > index,
        }
    }

    fn suffer(&mut self, fault: Fault, output: &mut Option<Output>) {
        let emitter = &mut self.speaker.emitter;
        match fault {
            Fault::Exception(exception) => return self.fail(&exception),
            Fault::Emit(event) => return emitter.raw(&event),
            Fault::UnknownEvent => {
                return emitter.raw(&json!({ "event": { "surpriseEvent": { "level": 3 } } }));
            }
            Fault::UnknownEventType => return emitter.queue.push_back(wire::unknown_chunk()),
            Fault::GoAway => return self.wire.go_away(),
            Fault::StallInput => {
                self.flow.reads = false;
                return;
            }
            Fault::StallOutput => {
                self.flow.sends = false;
                return;
            }
            Fault::EndStream => {
                self.answer();
                self.flow.input_over = true;
                self.flow.output_over = true;
            }
            Fault::ResetStream => {
                match self.unanswered.take() {
                    Some((answer, _)) => drop(answer.send(Err(Reset))),
                    // A full channel resets too, with the end of the sender.
                    None => drop(output.take().map(|output| output.try_send(Err(Reset)))),
                }
                self.flow.aborted = true;
            }
            Fault::ResetTcp => {
                // The session waits for the reset: were it to end first, its stream would too.
                self.wire.reset();
                self.flow.sends = false;
                self.flow.judges = false;
            }
            Fault::CorruptFrame => {
                self.answer();
                let mut frame = wire::chunk(b"{\"event\":{}}", wire::Order::Service).to_vec();
                if let Some(last) = frame.last_mut() {
                    *last ^= 0xff;
                }
                self.send_last(frame.into(), output);
                self.flow.sends = false;
                self.flow.judges = false;
            }
            Fault::TruncatedFrame => {
                self.answer();
                let frame = wire::chunk(b"{\"event\":{}}", wire::Order::Service);
                self.send_last(frame.slice(..frame.len() / 2), output);
                self.flow.output_over = true;
                self.flow.judges = false;
            }
        }
        self.end = Some(End::Fault);
    }

    /// Sends a frame past the queue, which is given up.
    fn send_last(&mut self, frame: Bytes, output: &Option<Output>) {
        self.speaker.emitter.queue.clear();
        if let Some(output) = output {
            // A full channel means that the client reads nothing: no frame will hurt it.
            let _ = output.try_send(Ok(Frame::data(frame)));
        }
    }

    /// A breach that the service answers, if it has an answer.
    fn breach(&mut self, breach: Breach) {
        let answer = breach.answer.clone();
        self.note(breach);
        if let Some(message) = answer {
            self.fail(&Exception::validation(message));
        }
    }

    fn note(&self, breach: Breach) {
        self.server.violation(Some(self.record.index()), breach);
    }

    /// Ends the output with an exception. The input is read on, unjudged, until the client
    /// closes it: one that never does stays open, and shows.
    fn fail(&mut self, exception: &Exception) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(End::Exception(exception.clone()));
        self.speaker
            .emitter
            .queue
            .push_back(wire::exception(exception, &self.request_id));
        self.flow.judges = false;
        self.flow.output_over = true;
    }

    fn due(&self) -> Option<Instant> {
        if self.end.is_some() {
            return None;
        }
        let timed = self.faults.iter().filter_map(|(when, _)| match when {
            When::After(span) => Some(self.opened + self.options.service(*span)),
            _ => None,
        });
        timed
            .chain(self.speaker.due())
            .chain(self.idle())
            .chain([self.limit()])
            .min()
    }

    fn limit(&self) -> Instant {
        self.opened + self.options.service(self.options.session_limit)
    }

    fn idle(&self) -> Option<Instant> {
        let waits = self.flow.reads && !self.record.closing(|closing| closing.prompt_ended);
        waits.then(|| self.active + self.options.service(self.options.idle_limit))
    }
}

/// Resolves when the client gave the stream up.
async fn gone(
    unanswered: &mut Option<(oneshot::Sender<Answer>, ReplyBody)>,
    output: Option<&Output>,
) {
    match (unanswered, output) {
        (Some((answer, _)), _) => answer.closed().await,
        (None, Some(output)) => output.closed().await,
        (None, None) => pending().await,
    }
}

/// Resolves when a frame can be sent. Nobody else sends, so the room stays.
async fn room(output: Option<&Output>) {
    match output {
        // An error means that the client is gone, which has a branch of its own.
        Some(output) => drop(output.reserve().await),
        None => pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// Generation starts once this much audio came; measured by others between 64 and 72 ms.
const PRIMING: Duration = Duration::from_millis(68);

/// What a careful client sends first.
const PRIMING_RULE: Duration = Duration::from_millis(100);

/// Frames that wait for a client that does not read: minutes of speech.
const MAX_QUEUED: usize = 5_000;

const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

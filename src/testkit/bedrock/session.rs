//! One session: reads input, judges it, and plays its script.

mod failure;
mod input;

use std::{fmt, future::pending, sync::Arc, time::Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Response,
    body::{Frame, Incoming},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::Wire,
    emit::Emitter,
    fault::{Exception, Fault, When},
    handle::Command,
    options::{Headers, Options, SessionScript},
    pace::Pace,
    record::Record,
    report::{Breach, End, Rule},
    rules::Rules,
    server::{self, ReplyBody, Server},
    sign::Chain,
    speaker::Speaker,
    wire::Reader,
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
        let now = crate::clock::now();
        for id in self.speaker.called.drain(..) {
            self.rules.tool_called(now, id);
        }
        let spoke = (self.speaker.replies, self.speaker.interruptions);
        if std::mem::replace(&mut self.spoke, spoke) != spoke {
            self.record.spoke(spoke.0, spoke.1);
        }
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

/// Frames that wait for a client that does not read: minutes of speech.
const MAX_QUEUED: usize = 5_000;

const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

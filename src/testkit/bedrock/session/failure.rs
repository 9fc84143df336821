//! What goes wrong: faults on demand, and answers to breaches.

use std::time::Instant;

use bytes::Bytes;
use hyper::body::Frame;
use serde_json::json;

use super::{Output, Reset, Session};
use crate::testkit::bedrock::{
    fault::{Exception, Fault, When},
    report::{Breach, End},
    wire,
};

impl Session {
    /// Lets the faults strike whose time has come.
    pub(super) fn strike(&mut self, now: Instant, output: &mut Option<Output>) {
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

    pub(super) fn suffer(&mut self, fault: Fault, output: &mut Option<Output>) {
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
    pub(super) fn breach(&mut self, breach: Breach) {
        let answer = breach.answer.clone();
        self.note(breach);
        if let Some(message) = answer {
            self.fail(&Exception::validation(message));
        }
    }

    pub(super) fn note(&self, breach: Breach) {
        self.server.violation(Some(self.record.index()), breach);
    }

    /// Ends the output with an exception. The input is read on, unjudged, until the client
    /// closes it: one that never does stays open, and shows.
    pub(super) fn fail(&mut self, exception: &Exception) {
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
}

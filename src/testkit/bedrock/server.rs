//! Listening, TLS, HTTP/2, and the decision whether a request becomes a session.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use hyper::{
    Method, Request, Response, Version,
    body::{Body, Frame, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    connection::Wire,
    fault::Refusal,
    handle::Command,
    options::{Opening, Options},
    record::Record,
    report::{Breach, Rule, SessionReport, Violation},
    session::{Answer, Reset, Session},
    sign::{self, Keys},
};

/// What all sessions share.
pub(super) struct Server {
    pub(super) options: Arc<Options>,
    keys: Keys,
    started: Instant,
    records: Mutex<Vec<Arc<Record>>>,
    violations: Mutex<Vec<Violation>>,
    pub(super) connections: AtomicUsize,
    pub(super) open_connections: AtomicUsize,
    is_stopped: AtomicBool,
    pub(super) changed: Notify,
}

impl Server {
    pub(super) fn new(options: Options) -> Self {
        Self {
            keys: Keys {
                access_key: options.access_key.clone(),
                secret: options.secret.clone(),
                session_token: options.session_token.clone(),
                region: options.region.clone(),
            },
            options: Arc::new(options),
            started: crate::clock::now(),
            records: Mutex::default(),
            violations: Mutex::default(),
            connections: AtomicUsize::new(0),
            open_connections: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Vec<Arc<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violations(&self) -> MutexGuard<'_, Vec<Violation>> {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violation(&self, session: Option<usize>, breach: Breach) {
        self.violations().push(Violation {
            session,
            rule: breach.rule,
            detail: breach.detail,
        });
    }

    pub(super) fn session_finished(&self) {
        self.changed.notify_waiters();
    }

    /// The fake was dropped: what ends now, ends with it.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Takes a place in the list of sessions, and tells how many were open before.
    fn enlist(
        &self,
        connection: usize,
        model: &str,
        commands: mpsc::Sender<Command>,
    ) -> (Arc<Record>, usize) {
        let mut records = self.records();
        let open = records.iter().filter(|record| record.is_open()).count();
        let report = SessionReport {
            index: records.len(),
            connection,
            model: model.to_owned(),
            opened: crate::clock::now() - self.started,
            ..SessionReport::default()
        };
        let record = Arc::new(Record::new(report, commands));
        records.push(Arc::clone(&record));
        drop(records);
        self.changed.notify_waiters();
        (record, open)
    }
}

/// Answers one request.
pub(super) async fn serve(
    server: Arc<Server>,
    wire: Arc<Wire>,
    request: Request<Incoming>,
) -> Answer {
    let request_id = uuid::Uuid::new_v4().to_string();
    let (parts, body) = request.into_parts();
    let model = parts
        .uri
        .path()
        .strip_prefix("/model/")
        .and_then(|rest| rest.strip_suffix("/invoke-with-bidirectional-stream"))
        .filter(|model| !model.is_empty() && !model.contains('/'))
        .map(percent_decode);
    let Some(model) = model.filter(|_| parts.method == Method::POST) else {
        server.violation(
            None,
            Breach::noted(
                Rule::Request,
                format!("{} {}", parts.method, parts.uri.path()),
            ),
        );
        let refusal = Refusal::new(404, "UnknownOperationException", "Unknown operation");
        return Ok(refuse(&refusal, &request_id));
    };
    let (commands, orders) = mpsc::channel(64);
    let (record, open) = server.enlist(wire.index, &model, commands);
    let refuse = |refusal: &Refusal| {
        record.refused(refusal.status);
        server.session_finished();
        Ok(refuse(refusal, &request_id))
    };
    let is_event_stream = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/vnd.amazon.eventstream");
    if parts.version != Version::HTTP_2 || !is_event_stream {
        let detail = format!(
            "{:?} with {:?}",
            parts.version,
            parts.headers.get(CONTENT_TYPE)
        );
        server.violation(Some(record.index()), Breach::noted(Rule::Request, detail));
        return refuse(&Refusal::new(
            400,
            "ValidationException",
            "The content type must be application/vnd.amazon.eventstream",
        ));
    }
    let chain = match sign::verify_request(&parts, &server.keys, crate::clock::wall()) {
        Ok(chain) => chain,
        Err(refused) => {
            let breach = Breach::noted(Rule::Authorization, refused.message.as_str());
            server.violation(Some(record.index()), breach);
            return refuse(&Refusal::new(403, refused.code, refused.message));
        }
    };
    if server.options.max_sessions.is_some_and(|max| open >= max) {
        return refuse(&Refusal::throttled());
    }
    let script = server
        .options
        .script_of(&Opening::new(record.index(), &model));
    if let Some(refusal) = &script.refuse {
        return refuse(refusal);
    }
    let (answer, answered) = oneshot::channel();
    let (session, output) = Session::new(
        Arc::clone(&server),
        Arc::clone(&record),
        wire,
        script,
        &model,
        chain,
        request_id.clone(),
        answer,
    );
    tokio::spawn(session.run(body, orders, output));
    answered.await.unwrap_or(Err(Reset))
}

fn refuse(refusal: &Refusal, request_id: &str) -> Response<ReplyBody> {
    let (output, body) = reply_body();
    let message = json!({ "message": refusal.message }).to_string();
    // The channel was made a line ago and has room.
    let _ = output.try_send(Ok(Frame::data(message.into())));
    let mut response = response(refusal.status, "application/json", request_id, body);
    if let Ok(kind) = HeaderValue::from_str(&refusal.kind) {
        response.headers_mut().insert("x-amzn-errortype", kind);
    }
    response
}

pub(super) fn response(
    status: u16,
    content_type: &'static str,
    request_id: &str,
    body: ReplyBody,
) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    if let Ok(status) = status.try_into() {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// The body of a response, fed through a channel; an error resets the stream.
pub(super) struct ReplyBody(mpsc::Receiver<Result<Frame<Bytes>, Reset>>);

pub(super) fn reply_body() -> (mpsc::Sender<Result<Frame<Bytes>, Reset>>, ReplyBody) {
    let (sender, receiver) = mpsc::channel(32);
    (sender, ReplyBody(receiver))
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        self.0.poll_recv(cx)
    }
}

/// Undoes `%3A` and its like; what is no escape stays as it is.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = text_of(tail)
            .filter(|_| first == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text_of(tail: &[u8]) -> Option<&str> {
    std::str::from_utf8(tail.get(..2)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_may_be_escaped_or_not() {
        assert_eq!(
            percent_decode("amazon.nova-2-sonic-v1%3A0"),
            "amazon.nova-2-sonic-v1:0"
        );
        assert_eq!(
            percent_decode("amazon.nova-2-sonic-v1:0"),
            "amazon.nova-2-sonic-v1:0"
        );
        assert_eq!(percent_decode("a%2Fb%"), "a/b%");
    }
}

//! A network that loses answers, and a service that throttles: no retry doubles a line.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use novavoice::{
    ProviderErrorKind,
    dynamodb::Dynamo,
    testkit::conformance,
    transcript::{DynamoSink, Spool, dynamodb::call_records, spool::SpoolConfig},
};
use tokio::net::TcpListener;

use crate::dynamo::{Server, sdk};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It is refused, and nothing is done.
    Throttled,
    /// It is carried out, and the answer is lost on its way.
    AnswerLost,
}

/// A way to the server on which the fates of requests take turns, those of the attempts up to
/// `worst`; every later attempt of the SDK at the same request is fine.
async fn lossy(server: &Server, fates: &'static [Fate], worst: u32) -> Dynamo {
    let (url, count) = (server.url().to_owned(), Arc::new(AtomicUsize::new(0)));
    let client = reqwest::Client::new();
    let app = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
        let fate = if attempt(&headers) > worst {
            Fate::Fine
        } else {
            fates[count.fetch_add(1, Ordering::Relaxed) % fates.len()]
        };
        let request = client.post(&url).headers(without_host(headers)).body(body);
        async move {
            if fate == Fate::Throttled {
                return throttled();
            }
            let answer = request.send().await.expect("the server answers");
            let status = answer.status();
            let body = answer.bytes().await.expect("the server answers");
            if fate == Fate::AnswerLost {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            let headers = [("content-type", "application/x-amz-json-1.0")];
            (status, headers, Body::from(body)).into_response()
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    Dynamo::with_endpoint(&sdk(), format!("http://{address}"))
}

/// Which attempt of the SDK at a request this is (`amz-sdk-request: attempt=1; max=3`).
fn attempt(headers: &HeaderMap) -> u32 {
    let text = headers.get("amz-sdk-request").expect("an SDK asks");
    let text = text.to_str().expect("text");
    let attempt = text
        .split(';')
        .find_map(|part| part.trim().strip_prefix("attempt="));
    attempt.and_then(|n| n.parse().ok()).expect("a number")
}

fn without_host(mut headers: HeaderMap) -> HeaderMap {
    headers.remove("host");
    headers
}

fn throttled() -> Response {
    let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"too much"}"#;
    let headers = [("content-type", "application/x-amz-json-1.0")];
    (StatusCode::BAD_REQUEST, headers, body).into_response()
}

async fn table(server: &Server) -> String {
    let name = server.table(&uuid::Uuid::new_v4().simple().to_string());
    let made = server.dynamo().create_missing(&[call_records(&name)]).await;
    made.expect("a table");
    name
}

/// The SDK's own retries do it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_answer_is_lost_is_repeated_and_counts_once() {
    use Fate::{AnswerLost, Fine, Throttled};
    for server in Server::all() {
        let make = async || {
            let way = lossy(&server, &[AnswerLost, Fine, Throttled, Fine, Fine], 2).await;
            DynamoSink::new(way, table(&server).await)
        };
        let read = async |sink: &DynamoSink, call: &_| sink.lines(call).await.expect("readable");
        conformance::transcript::a_repeated_line_is_kept_once(&make().await, &read).await;
        conformance::transcript::a_call_goes_on_after_its_end(&make().await, &read).await;
        conformance::transcript::calls_run_side_by_side(&make().await, &read).await;
        conformance::transcript::a_long_call_is_kept_whole(&make().await, &read).await;
    }
}

/// The SDK gives up, and the spool does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_outlasts_what_the_sdk_does_not() {
    use Fate::{AnswerLost, Fine, Throttled};
    for server in Server::all() {
        let dirs = std::cell::RefCell::new(Vec::new());
        let make = async || {
            let dir = tempfile::tempdir().expect("a directory");
            let fates = &[
                Fine, Fine, AnswerLost, AnswerLost, AnswerLost, AnswerLost, AnswerLost, Throttled,
                Throttled, Throttled, Throttled, AnswerLost,
            ];
            let way = lossy(&server, fates, u32::MAX).await;
            let sink = DynamoSink::new(way, table(&server).await);
            let mut config = SpoolConfig::default();
            config.linger = Duration::from_millis(10);
            config.first_pause = Duration::from_millis(10);
            config.longest_pause = Duration::from_millis(50);
            let spool = Spool::open(dir.path(), sink, config).await;
            dirs.borrow_mut().push(dir);
            spool.expect("a journal")
        };
        let read = async |spool: &Spool<DynamoSink>, call: &_| {
            spool.drained().await;
            loop {
                match spool.sink().lines(call).await {
                    Ok(lines) => break lines,
                    Err(error) => assert!(error.kind().is_retryable(), "{error}"),
                }
            }
        };
        conformance::transcript::a_repeated_line_is_kept_once(&make().await, &read).await;
        conformance::transcript::lines_that_come_together_are_kept_like_others(
            &make().await,
            &read,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_only_throttles_is_called_so() {
    let server = Server::start();
    let way = lossy(&server, &[Fate::Throttled], u32::MAX).await;
    let error = way
        .check(&call_records("any"))
        .await
        .expect_err("throttled");
    assert!(
        matches!(error.kind(), ProviderErrorKind::Throttled { .. }),
        "{error}"
    );
}

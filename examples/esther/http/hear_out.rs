//! A refusal reaches also those who still send.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody, to_bytes},
    extract::Request,
    http::header::EXPECT,
    middleware::Next,
    response::Response,
};
use futures::{Stream, StreamExt};

/// Takes the rest of a body that was refused: where it is not read the connection breaks, and the
/// answer is lost with it.
pub(crate) async fn hear_out(request: Request, next: Next) -> Response {
    // Whoever waits to be told to send does not send.
    if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = Shared(Arc::new(Mutex::new(body.into_data_stream())));
    let read = Request::from_parts(parts, Body::from_stream(body.clone()));
    let response = next.run(read).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        // What is longer, or comes later, is not worth it.
        let rest = to_bytes(Body::from_stream(body), LONGEST);
        let _ = tokio::time::timeout(PATIENCE, rest).await;
    }
    response
}

/// A body that is left here when its reader is gone.
#[derive(Clone)]
struct Shared(Arc<Mutex<BodyDataStream>>);

impl Stream for Shared {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.poll_next_unpin(context)
    }
}

const LONGEST: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

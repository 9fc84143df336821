//! HTTP: requests in, answers out, or neither.

use std::{io, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle, task::JoinSet};

use super::{
    Desk, Failing, Requested,
    routes::{self, Answer},
};
use crate::clock;

/// Listens until the task is given up, and with it every connection.
pub(super) async fn listen(desk: Arc<Desk>) -> io::Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let desk = Arc::clone(&desk);
            connections.spawn(async move {
                let service = service_fn(|request| answer(Arc::clone(&desk), request));
                let io = TokioIo::new(stream);
                // A client that goes away has its answer, or does not want it.
                let _ = http1::Builder::new().serve_connection(io, service).await;
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok((address, task))
}

async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = parts.uri.path_and_query().map_or("", |it| it.as_str());
    let method = parts.method.as_str();
    let header = |name| {
        let value = parts.headers.get(name);
        value.and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    let place = {
        let mut book = desk.book();
        book.requests.push(Requested {
            method: method.to_owned(),
            path: path.to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            at: clock::now(),
            status: None,
            call: None,
        });
        book.requests.len() - 1
    };
    if !body.is_empty() && header(header::CONTENT_TYPE) != Some("application/json") {
        desk.violation("a body that is not application/json");
    }
    let authorization = header(header::AUTHORIZATION);
    let carry_out = async || {
        let answer = routes::answer(&desk, method, path, authorization, &body).await;
        if let Some(request) = desk.book().requests.get_mut(place) {
            request.call.clone_from(&answer.placed);
        }
        answer
    };
    let answer = match desk.fault(&format!("{method} {path}")) {
        None => carry_out().await,
        Some(Failing::Answer {
            status,
            body,
            headers,
        }) => Answer {
            status,
            body,
            headers,
            placed: None,
        },
        Some(Failing::Silent { carried_out }) => {
            if carried_out {
                carry_out().await;
            }
            std::future::pending().await
        }
        Some(Failing::Broken { carried_out }) => {
            if carried_out {
                carry_out().await;
            }
            // An error of the service ends the connection without an answer.
            return Err(io::Error::other("broken on purpose"));
        }
    };
    if let Some(request) = desk.book().requests.get_mut(place) {
        request.status = Some(answer.status);
    }
    let kind = match serde_json::from_str::<Value>(&answer.body) {
        Ok(_) => "application/json",
        Err(_) => "text/html",
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response
        .header(header::CONTENT_TYPE, kind)
        .header("x-nexmo-trace-id", format!("trace-{place}"))
        .body(Full::new(Bytes::from(answer.body)))
        .map_err(io::Error::other)
}

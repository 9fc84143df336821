//! A follower of a call's server-sent events.

use serde_json::Value;
use tokio::{sync::watch, time::timeout};

use crate::service::{Esther, PATIENCE};

/// One event as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

/// What came so far, and whether the stream has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) events: Vec<Event>,
    pub(crate) over: bool,
}

impl Stream {
    /// The data of all events of this name.
    pub(crate) fn named(&self, name: &str) -> Vec<&Value> {
        let those = self.events.iter().filter(|event| event.name == name);
        those.map(|event| &event.data).collect()
    }
}

pub(crate) struct Follower(watch::Receiver<Stream>);

impl Follower {
    /// Follows a call from its beginning, or after the line with this number.
    pub(crate) async fn of(esther: &Esther, call: &str, after: Option<u64>) -> Self {
        let mut request = esther.request("GET", &format!("/calls/{call}/events"));
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        let response = timeout(PATIENCE, request.send()).await;
        let mut response = response.expect("an answer in time").expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (sender, stream) = watch::channel(Stream::default());
        tokio::spawn(async move {
            let mut text = String::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
                while let Some((block, rest)) = text.split_once("\n\n") {
                    let event = read(block);
                    let rest = rest.to_owned();
                    sender.send_modify(|stream| stream.events.extend(event));
                    text = rest;
                }
            }
            sender.send_modify(|stream| stream.over = true);
        });
        Self(stream)
    }

    /// What came so far.
    pub(crate) fn now(&self) -> Stream {
        self.0.borrow().clone()
    }

    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Stream) -> bool + Send) -> Stream {
        let mut stream = self.0.clone();
        let found = async { stream.wait_for(is).await.ok().map(|stream| stream.clone()) };
        match timeout(PATIENCE, found).await {
            Ok(Some(stream)) => stream,
            _ => panic!("in vain waited for {what}: {:#?}", self.now()),
        }
    }

    /// Waits for this many lines.
    pub(crate) async fn lines(&self, count: usize) -> Stream {
        let what = format!("{count} lines");
        self.until(&what, |stream| stream.named("utterance").len() >= count)
            .await
    }

    /// Waits for the end of the stream.
    pub(crate) async fn over(&self) -> Stream {
        self.until("the end of the events", |stream| stream.over)
            .await
    }
}

/// One block of lines; `None` for comments, which keep the connection alive.
fn read(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches(": ").to_owned())
    };
    let data = field("data")?;
    Some(Event {
        name: field("event").expect("a name"),
        id: field("id"),
        data: serde_json::from_str(&data).expect("JSON"),
    })
}

//! Calls: listed, and followed as they happen.

use jiff::SignedDuration;
use novavoice::{call::CallInfo, transcript::TranscriptSink};

use super::*;

/// What the agent reports and what the sinks keep, as for a real call.
async fn begin(app: &App, store: &MemoryCalls, id: &str, second: i64) -> CallInfo {
    let mut call = info(id);
    call.started += SignedDuration::from_secs(second);
    app.calls.started(&call);
    store.start(&call).await.expect("it is in memory");
    call
}

async fn finish(app: &App, store: &MemoryCalls, call: &CallInfo) {
    app.calls.ended(&call.id, &summary());
    store
        .end(&call.id, &summary())
        .await
        .expect("it is in memory");
}

fn with_store() -> (App, Router, MemoryCalls) {
    let (mut app, _) = service(None);
    let store = MemoryCalls::new();
    app.store = Arc::new(store.clone());
    (app.clone(), super::super::app(app, Router::new()), store)
}

fn ids(page: &Value) -> Vec<String> {
    let calls = page["calls"].as_array().expect("calls").iter();
    calls
        .map(|call| call["call_uuid"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn calls_are_listed_newest_first_and_page_by_page() {
    let (app, router, store) = with_store();
    for (second, name) in (0..).zip(["one", "two", "three"]) {
        begin(&app, &store, name, second).await;
    }
    let (two, said) = (CallId::new("two"), line(1, "hello"));
    app.calls.line(&two, &said);
    store.record(&two, &said).await.expect("it is in memory");
    finish(&app, &store, &info("two")).await;

    let first = get_from(&router, "/calls?limit=2").await.json();
    assert_eq!(ids(&first), ["three", "two"]);
    let next = first["next"].as_str().expect("a cursor");
    let second = get_from(&router, &format!("/calls?limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(
        (ids(&second), &second["next"]),
        (vec!["one".to_owned()], &Value::Null)
    );

    let active = get_from(&router, "/calls/active").await.json();
    let active = active["activeCalls"].as_array().expect("calls").iter();
    assert!(active.map(|call| &call["id"]).eq(["three", "one"]));

    let call = get_from(&router, "/calls/two").await.json();
    assert_eq!(call["status"], "completed");
    assert_eq!(call["outcome"], "scheduled");
    assert_eq!(call["duration_seconds"], 61.5);
    assert_eq!(call["utterances"][0]["speaker"], "Human");
    assert_eq!(call["utterances"][0]["text"], "hello");
    for (query, found) in [
        ("q=HELL", vec!["two"]),
        ("q=nothing", vec![]),
        ("status=in_progress", vec!["three", "one"]),
        ("outcome=scheduled&direction=inbound", vec!["two"]),
        ("direction=outbound", vec![]),
        ("something=else", vec!["three", "two", "one"]),
    ] {
        let page = get_from(&router, &format!("/calls?{query}")).await.json();
        assert_eq!(ids(&page), found, "{query}");
    }
}

#[tokio::test]
async fn this_node_knows_better_than_a_store_that_is_behind() {
    let (app, router, store) = with_store();
    let call = begin(&app, &store, "a-call", 0).await;
    // Both are on their way to the store.
    app.calls.line(&call.id, &line(1, "hello"));
    app.calls.ended(&call.id, &summary());
    let shown = get_from(&router, "/calls/a-call").await.json();
    assert_eq!(shown["status"], "completed");
    assert_eq!(shown["utterances"][0]["text"], "hello");
    let listed = get_from(&router, "/calls").await.json();
    assert_eq!(listed["calls"][0]["status"], "completed");
    let active = get_from(&router, "/calls/active").await.json();
    assert_eq!(active, json!({ "activeCalls": [] }));
}

#[tokio::test]
async fn calls_of_other_nodes_are_shown_and_followed() {
    let (_, router, store) = with_store();
    let call = info("elsewhere");
    store.start(&call).await.expect("it is in memory");
    store
        .record(&call.id, &line(1, "hello"))
        .await
        .expect("kept");
    let active = get_from(&router, "/calls/active").await.json();
    assert_eq!(active["activeCalls"][0]["id"], "elsewhere");
    store.end(&call.id, &summary()).await.expect("ended");
    let events = events_of(&router, "elsewhere", None).await;
    let names: Vec<_> = events.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["utterance", "ended"]);
    assert_eq!(events[1].2["outcome"], "scheduled");
}

/// One event of a stream: its name, its id and its data.
type Told = (String, Option<u64>, Value);

async fn events_of(router: &Router, call: &str, last: Option<&str>) -> Vec<Told> {
    let mut request = request("GET", &format!("/calls/{call}/events"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = ask(router, empty(request)).await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "text/event-stream");
    told(&String::from_utf8(answer.body.into()).expect("text"))
}

fn told(stream: &str) -> Vec<Told> {
    let blocks = stream.split("\n\n").filter(|block| !block.is_empty());
    blocks
        .map(|block| {
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            (
                field("event").expect("a name").to_owned(),
                field("id").map(|id| id.parse().expect("a number")),
                serde_json::from_str(field("data").expect("data")).expect("JSON"),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_follower_that_comes_back_is_told_what_it_missed() {
    let (app, router) = service(None);
    let call = CallId::new("a-call");
    app.calls.started(&info("a-call"));
    for (seq, text) in [(1, "one"), (2, "two"), (3, "three")] {
        app.calls.line(&call, &line(seq, text));
    }
    app.calls.ended(&call, &summary());
    let names = |events: &[Told]| -> Vec<_> {
        events
            .iter()
            .map(|(name, id, _)| (name.clone(), *id))
            .collect()
    };
    let utterance = |id: u64| ("utterance".to_owned(), Some(id));
    let ended = ("ended".to_owned(), None);

    let all = events_of(&router, "a-call", None).await;
    assert_eq!(
        names(&all),
        [utterance(1), utterance(2), utterance(3), ended.clone()]
    );
    assert_eq!(
        all[0].2,
        json!({"seq": 1, "at": info("a-call").started, "speaker": "Human", "text": "one", "cut": false})
    );
    assert_eq!(
        all[3].2,
        json!({"status": "completed", "outcome": "scheduled", "duration": 61.5})
    );
    let rest = events_of(&router, "a-call", Some("2")).await;
    assert_eq!(names(&rest), [utterance(3), ended]);
    let confused = events_of(&router, "a-call", Some("nonsense")).await;
    assert_eq!(names(&confused), names(&all));
}

#[tokio::test]
async fn a_live_call_is_told_as_it_happens() {
    let (app, router) = service(None);
    let call = CallId::new("a-call");
    app.calls.started(&info("a-call"));
    let request = empty(request("GET", "/calls/a-call/events"));
    let response = router.oneshot(request).await.expect("infallible");
    let mut stream = response.into_body().into_data_stream();
    app.calls
        .state(&call, AgentState::Listening, AgentState::Speaking);
    app.calls
        .caption(&call, novavoice::transcript::Speaker::Agent, "two\nlines");
    app.calls.ended(&call, &summary());
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text += std::str::from_utf8(&chunk.expect("a chunk")).expect("text");
    }
    let events = told(&text);
    assert_eq!(events[0].2, json!({"old": "listening", "new": "speaking"}));
    assert_eq!(
        events[1].2,
        json!({"speaker": "Assistant", "text": "two\nlines"})
    );
    assert_eq!(events[2].0, "ended");
}

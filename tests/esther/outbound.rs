//! Calls that Esther places: one by hand, over a carrier that is strict about all of it.

use std::time::Duration;

use novavoice::{
    private::Private,
    testkit::vonage::{
        Call, CallEnd, Callee, Failing, FakeVonage, Fault, Options, Reaction, RestOptions,
        RestServer, speech,
    },
};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    follower::Follower,
    nova::{APPLICATION, SECRET},
    service::{Esther, Launch, soon, until},
};

/// Whom we call.
pub(crate) const CALLEE: &str = "12125550101";
pub(crate) const FROM: &str = "+12125550100";
const FIRST_WORDS: &str = "Good day, this is a test of the line.";

/// A carrier with its REST interface.
pub(crate) struct Carrier {
    pub(crate) carrier: FakeVonage,
    pub(crate) rest: RestServer,
}

impl Carrier {
    pub(crate) async fn start() -> Self {
        // Every address of a call that is placed stands in its request.
        let carrier = FakeVonage::new(Options {
            signature_secret: Some(Private::new(SECRET.to_owned())),
            ..Options::new("http://127.0.0.1:9")
        });
        let options = RestOptions::new().expect("a key");
        let rest = carrier.serve_rest(options).await.expect("a free port");
        Self { carrier, rest }
    }

    /// Settings with which Esther may call.
    pub(crate) fn launch(&self) -> Launch {
        Launch::local()
            .set("VONAGE_API_KEY", "a1b2c3d4")
            .set("VONAGE_API_SECRET", "an-api-secret")
            .set("VONAGE_APPLICATION_ID", APPLICATION)
            .set("VONAGE_SIGNATURE_SECRET", SECRET)
            .set("VONAGE_PRIVATE_KEY", self.key().replace('\n', "\\n"))
            .set("VONAGE_FROM_NUMBER", FROM)
            .set("VONAGE_API_URL", self.rest.base_url())
    }

    pub(crate) fn key(&self) -> &str {
        self.rest.key().private_pem()
    }

    pub(crate) async fn call(&self) -> Call {
        soon(self.rest.next_call()).await
    }
}

/// At whatever hour the tests run, and however often: what an operator may overrule is overruled.
pub(crate) async fn post(esther: &Esther, path: &str, body: &Value) -> Answer {
    let mut body = body.clone();
    if path.starts_with("/call/")
        && let Some(members) = body.as_object_mut()
    {
        members.entry("override").or_insert(json!(true));
    }
    Answer::to(esther.request("POST", path).json(&body)).await
}

/// The id of a call that was placed.
#[track_caller]
pub(crate) fn placed(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["success"], true);
    assert_eq!(body["status"], "initiated");
    body["callId"].as_str().expect("an id").to_owned()
}

/// The record of a call once it is over.
pub(crate) async fn ended(esther: &Esther, call: &str) -> Value {
    let path = format!("/calls/{call}");
    until("the end of the call", async || {
        let record = esther.json(&path).await;
        (record["status"] != "in_progress").then_some(record)
    })
    .await
}

/// Done-when 1: the whole life of a simple call.
#[tokio::test(flavor = "multi_thread")]
async fn a_simple_call_says_its_message_and_is_recorded() {
    let carrier = Carrier::start().await;
    let esther = carrier.launch().start().await;
    let body = json!({"to": "+1 (212) 555-0101", "message": "The meeting is at noon."});
    let id = placed(&post(&esther, "/call/simple", &body).await);
    let record = esther.json(&format!("/calls/{id}")).await;
    assert_eq!(record["direction"], "outbound");
    assert_eq!(record["phone_number"], CALLEE);
    let follower = Follower::of(&esther, &id, None).await;

    let call = carrier.call().await;
    assert_eq!(call.uuid(), id);
    assert_eq!(soon(call.ended()).await, CallEnd::Finished);
    assert_eq!(call.spoken(), ["The meeting is at noon."]);
    let request = carrier.rest.requests()[0].body.clone();
    assert_eq!(request["from"]["number"], FROM.trim_start_matches('+'));
    assert_eq!(
        request["event_url"],
        json!([esther.url("/outbound/webhooks/events")])
    );
    let record = ended(&esther, &id).await;
    assert_eq!(record["status"], "completed");
    assert_eq!(record["outcome"], "completed");
    let stream = follower.over().await;
    assert_eq!(stream.named("ended")[0]["status"], "completed");
    let over = post(&esther, &format!("/calls/{id}/hangup"), &json!({})).await;
    over.is_problem(404);
    assert_eq!(
        esther.json("/calls/active").await,
        json!({"activeCalls": []})
    );
    assert_eq!(carrier.carrier.violations(), []);
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[CALLEE, &FROM[1..], SECRET, "an-api-secret", "at noon"]);
}

/// Done-when 1: the whole life of an AI call, through webhooks and socket.
#[tokio::test(flavor = "multi_thread")]
async fn an_ai_call_begins_with_its_words_and_ends_by_request() {
    let carrier = Carrier::start().await;
    let esther = carrier.launch().start().await;
    let body = json!({
        "to": CALLEE, "initialMessage": FIRST_WORDS, "systemPrompt": "You test telephone lines.",
    });
    let id = placed(&post(&esther, "/call/ai", &body).await);
    let call = carrier.call().await;
    let request = carrier.rest.requests()[0].body.clone();
    assert!(
        request.get("ncco").is_none(),
        "a token in it would die while it rings"
    );
    assert_eq!(
        request["answer_url"],
        json!([esther.url("/outbound/webhooks/answer")])
    );
    assert_eq!(
        request["advanced_machine_detection"],
        json!({"behavior": "continue", "mode": "default"})
    );
    assert!(call.connected().await);
    let socket = call.ncco()[0]["endpoint"][0].clone();
    assert_eq!(socket["headers"]["uuid"], id.as_str());
    let follower = Follower::of(&esther, &id, None).await;
    let stream = follower.lines(1).await;
    let line = stream.named("utterance")[0];
    assert_eq!(line["text"], FIRST_WORDS);
    assert_eq!(line["speaker"], "Assistant");
    call.say(speech(
        Duration::from_millis(900),
        novavoice::audio::SampleRate::Hz16000,
    ));
    follower.lines(3).await;

    let path = format!("/calls/{id}/hangup");
    assert_eq!(post(&esther, &path, &json!({})).await.status, 202);
    assert_eq!(soon(call.ended()).await, CallEnd::Released, "by request");
    let record = ended(&esther, &id).await;
    assert_eq!(record["direction"], "outbound");
    assert_eq!(record["outcome"], "completed");
    follower.over().await;
    post(&esther, &path, &json!({})).await.is_problem(404);
    let transcript = esther.transcript(&id);
    assert_eq!(transcript.said()[0], format!("Assistant: {FIRST_WORDS}"));
    let file = transcript.record.expect("it is closed");
    assert_eq!(file["direction"], "outbound");
    esther.idle().await;
    assert_eq!(carrier.carrier.violations(), []);
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[
        CALLEE,
        &FROM[1..],
        SECRET,
        "test of the line",
        "telephone lines",
    ]);
}

/// Calls that nobody answers have a record, and followers hear how they ended.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_nobody_answers_are_recorded_by_their_reason() {
    let carrier = Carrier::start().await;
    let esther = carrier.launch().start().await;
    for (does, status) in [
        (Reaction::Busy, "busy"),
        (Reaction::Unreachable("unavailable"), "no_answer"),
        (Reaction::Rejects("declined"), "no_answer"),
        (Reaction::Fails("number_out_of_service"), "failed"),
    ] {
        let rings = Duration::from_secs(1);
        let callee = Callee {
            rings,
            ..Callee::that(does)
        };
        carrier.rest.reach(CALLEE, callee);
        let id = placed(&post(&esther, "/call/ai", &json!({"to": CALLEE})).await);
        let active = esther.json("/calls/active").await;
        assert_eq!(active["activeCalls"][0]["id"], id.as_str(), "it rings");
        let follower = Follower::of(&esther, &id, None).await;
        let call = carrier.call().await;
        assert_eq!(soon(call.ended()).await, CallEnd::Unanswered);
        let stream = follower.over().await;
        let end = stream.named("ended");
        assert_eq!((end[0]["status"].clone(), end.len()), (json!(status), 1));
        let record = ended(&esther, &id).await;
        assert_eq!(
            (&record["status"], &record["outcome"]),
            (&json!(status), &json!(status))
        );
        let path = format!("/calls/{id}/hangup");
        post(&esther, &path, &json!({})).await.is_problem(404);
    }
    assert_eq!(carrier.carrier.violations(), []);
    esther.stop().await.went_well();
}

/// `to` first, and everything before the carrier is asked.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_call_is_refused_before_anything_else() {
    // Nothing is configured: even so it is the body that is wrong.
    let esther = Launch::local().start().await;
    for path in ["/call/simple", "/call/ai", "/calls/nobody/transfer"] {
        for to in [
            json!(null),
            json!(12_125_550_101_u64),
            json!(["+12125550101"]),
            json!(""),
            json!("anonymous"),
            json!("123"),
            json!("+0123456789"),
            json!("+1212555\n0101"),
            json!("+12125550101\n"),
            json!("+12125550101\u{0}"),
            json!("sip:a@b.example"),
        ] {
            let body = json!({"to": to, "message": "Hello."});
            let answer = post(&esther, path, &body).await;
            answer.is_problem(422);
            assert!(
                answer.json()["detail"]
                    .as_str()
                    .is_some_and(|it| it.contains("`to`"))
            );
        }
        post(&esther, path, &json!([])).await.is_problem(422);
        let text = esther.request("POST", path).body("{}");
        Answer::to(text).await.is_problem(415);
    }
    for body in [
        json!({"to": CALLEE}),
        json!({"to": CALLEE, "message": " "}),
        json!({"to": CALLEE, "message": 7}),
        json!({"to": CALLEE, "message": "x".repeat(1501)}),
        json!({"to": CALLEE, "message": "a\u{7}b"}),
        json!({"to": CALLEE, "message": "Hello.", "override": "yes"}),
    ] {
        post(&esther, "/call/simple", &body).await.is_problem(422);
    }
    for member in ["initialMessage", "systemPrompt"] {
        let body = json!({"to": CALLEE, member: {}});
        post(&esther, "/call/ai", &body).await.is_problem(422);
    }
    let right = json!({"to": CALLEE, "message": "Hello."});
    for path in ["/call/simple", "/call/ai"] {
        let answer = post(&esther, path, &right).await;
        answer.is_problem(503);
        assert!(answer.body.contains("private key"), "{answer:?}");
    }
    let transfer = post(&esther, "/calls/nobody/transfer", &json!({"to": CALLEE})).await;
    transfer.is_problem(404);
    assert_eq!(esther.json("/calls").await["calls"], json!([]));
    esther.stop().await.went_well();
}

/// The carrier's failures are not ours, and leave no record.
#[tokio::test(flavor = "multi_thread")]
async fn the_carriers_failures_are_told_as_such() {
    let carrier = Carrier::start().await;
    let esther = carrier.launch().start().await;
    let body = json!({"to": CALLEE, "message": "Hello."});
    for (fault, status) in [
        (
            Fault::answer(400, r#"{"type":400,"title":"Bad Request"}"#),
            502,
        ),
        (Fault::answer(401, r#"{"error_title":"Unauthorized"}"#), 502),
        (Fault::answer(404, ""), 502),
        (Fault::answer(500, "<html>"), 503),
        (Fault::answer(503, ""), 503),
        (Fault::throttle(Some("77")), 503),
        (Fault::new(Failing::Broken { carried_out: false }), 502),
        (Fault::new(Failing::Silent { carried_out: false }), 504),
    ] {
        for path in ["/call/simple", "/call/ai"] {
            // One of both is enough where the carrier is silent for ten seconds.
            if status == 504 && path == "/call/ai" {
                continue;
            }
            carrier.rest.fail(fault.clone());
            let answer = post(&esther, path, &body).await;
            answer.is_problem(status);
            if let Failing::Answer { status: 429, .. } = fault.what {
                assert_eq!(answer.header("retry-after"), "77");
            }
        }
    }
    assert_eq!(esther.json("/calls").await["calls"], json!([]));
    assert_eq!(carrier.rest.placed(), 0);
    esther.stop().await.went_well();
}

/// The call is placed all the same, and counts once.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_call_may_go_away_while_the_carrier_is_asked_again() {
    let carrier = Carrier::start().await;
    let esther = carrier.launch().start().await;
    carrier.rest.fail(Fault::throttle(Some("2")));
    let body = json!({"to": CALLEE, "message": "Hello."});
    let asking = post(&esther, "/call/simple", &body);
    let gone = tokio::time::timeout(Duration::from_secs(1), asking).await;
    assert!(gone.is_err(), "{gone:?}");
    let call = carrier.call().await;
    assert_eq!(carrier.rest.placed(), 1);
    until("the call's record", async || {
        let calls = esther.json("/calls").await;
        (calls["calls"][0]["call_uuid"] == json!(call.uuid())).then_some(())
    })
    .await;
    esther.stop().await.went_well();
}

/// An account that is set over the API can call at once, and nothing of it is told again.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_configured_later_calls_at_once() {
    let carrier = Carrier::start().await;
    let esther = Launch::local()
        .set("VONAGE_API_URL", carrier.rest.base_url())
        .set("VONAGE_SIGNATURE_SECRET", SECRET)
        .set("RUST_LOG", "debug")
        .start()
        .await;
    let body = json!({"to": CALLEE, "message": "Hello."});
    post(&esther, "/call/simple", &body).await.is_problem(503);
    let account = json!({
        "apiKey": "a1b2c3d4", "apiSecret": "an-api-secret", "applicationId": APPLICATION,
        "privateKey": carrier.key(), "fromNumber": FROM,
    });
    let answer = post(&esther, "/configure", &account).await;
    assert_eq!(answer.json(), json!({"success": true, "configured": true}));
    let id = placed(&post(&esther, "/call/simple", &body).await);
    soon(carrier.call().await.ended()).await;
    assert_eq!(ended(&esther, &id).await["status"], "completed");
    assert_eq!(carrier.carrier.violations(), []);
    let ended = esther.stop().await;
    ended.went_well();
    let key = carrier.key().lines().nth(1).expect("some of the key");
    ended.says_nothing_of(&[CALLEE, &FROM[1..], SECRET, "an-api-secret", key]);
}

/// A call that Esther talks on goes to a person; one that rings is ended.
#[tokio::test(flavor = "multi_thread")]
async fn live_calls_are_passed_on_and_ended_by_request() {
    let carrier = Carrier::start().await;
    let esther = carrier.launch().start().await;
    let id = placed(&post(&esther, "/call/ai", &json!({"to": CALLEE})).await);
    let call = carrier.call().await;
    assert!(call.connected().await);
    let follower = Follower::of(&esther, &id, None).await;
    follower.lines(1).await;
    let path = format!("/calls/{id}/transfer");
    let desk = json!({"to": "+1 212 555 0177"});
    carrier.rest.fail(Fault::answer(403, "").on("PUT"));
    post(&esther, &path, &desk).await.is_problem(502);
    assert!(!call.is_over(), "it goes on");
    assert_eq!(post(&esther, &path, &desk).await.status, 202);
    let moved = |call: &Call| call.ncco()[0]["endpoint"][0]["number"] == "12125550177";
    assert!(soon(call.until(moved)).await);
    follower.over().await;
    assert_eq!(ended(&esther, &id).await["status"], "completed");
    assert!(!call.is_over(), "the two of them talk on");
    post(&esther, &path, &desk).await.is_problem(404);
    call.hang_up();
    soon(call.ended()).await;

    carrier.rest.reach(CALLEE, Callee::that(Reaction::Ignores));
    let id = placed(&post(&esther, "/call/ai", &json!({"to": CALLEE})).await);
    let call = carrier.call().await;
    let path = format!("/calls/{id}/hangup");
    assert_eq!(post(&esther, &path, &json!({})).await.status, 202);
    assert_eq!(soon(call.ended()).await, CallEnd::Unanswered);
    assert_eq!(ended(&esther, &id).await["status"], "no_answer");
    for nobody in ["nobody", "..%2f..", "63f61863-4a51-4f6b-86e1-46edebcf9356"] {
        let path = format!("/calls/{nobody}/hangup");
        post(&esther, &path, &json!({})).await.is_problem(404);
    }
    assert_eq!(carrier.carrier.violations(), []);
    esther.stop().await.went_well();
}

/// `esther call NUMBER`: one call, its words, and its outcome as the exit code.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_placed_from_the_command_line() {
    let carrier = Carrier::start().await;
    carrier
        .rest
        .reach(CALLEE, Callee::person().for_only(Duration::from_secs(5)));
    let launch = || carrier.launch().args(["call", "--override"]);
    let run = launch()
        .arg("+1 212 555 0101")
        .arg("--say")
        .arg(FIRST_WORDS)
        .run();
    let run = soon(run).await;
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(
        run.stdout.contains(&format!("Assistant: {FIRST_WORDS}")),
        "{run:?}"
    );
    assert!(run.stdout.contains("Outcome: completed"), "{run:?}");

    carrier.rest.reach(CALLEE, Callee::that(Reaction::Busy));
    let run = soon(launch().arg(CALLEE).run()).await;
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stdout.contains("Outcome: busy"), "{run:?}");
    let run = soon(launch().arg("nobody").run()).await;
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    let run = soon(Launch::local().args(["call", "--override", CALLEE]).run()).await;
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stderr.contains("private key"), "{run:?}");

    // Where a service runs already, the call goes through it.
    let esther = carrier.launch().start().await;
    let port = esther
        .address
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let run = launch().arg(CALLEE).set("PORT", port).run();
    let run = soon(run).await;
    assert!(run.stdout.contains("Outcome: busy"), "{run:?}");
    assert_eq!(carrier.carrier.violations(), []);
    esther.stop().await.went_well();
}

/// A process that is asked to stop calls nobody any more, and lets no phone ring for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_rings_is_cancelled_when_the_service_stops() {
    let carrier = Carrier::start().await;
    carrier.rest.reach(CALLEE, Callee::that(Reaction::Ignores));
    let esther = carrier.launch().start().await;
    placed(&post(&esther, "/call/ai", &json!({"to": CALLEE})).await);
    let call = carrier.call().await;
    assert!(call.until(|call| call.status() == "ringing").await);
    esther.stop().await.went_well();
    assert_eq!(soon(call.ended()).await, CallEnd::Unanswered);
    assert_eq!(call.status(), "cancelled");
}

/// Rules speak against a call by hand like against any other; not all of them can be overruled.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_hand_passes_the_gate_and_counts_as_an_attempt() {
    const UNWILLING: &str = "+12125550103";
    let carrier = Carrier::start().await;
    let launch = carrier.launch().set("LEAD_STORE", "sqlite").file(
        "leads.csv",
        &format!("phone,name,call_status\n{UNWILLING},Pat Doe,do_not_call\n"),
    );
    let home = launch.home_of();
    let import = Launch::local().set("LEAD_STORE", "sqlite").home(&home);
    let imported = import.args(["leads", "import", "leads.csv"]).run().await;
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    let esther = launch.start().await;
    let reasons = async |path: &str, to: &str, overrule: bool| {
        let body = json!({"to": to, "message": "Hello.", "override": overrule});
        let answer = post(&esther, path, &body).await;
        answer.is_problem(409);
        answer.json()["reasons"].clone()
    };
    for path in ["/call/simple", "/call/ai"] {
        assert_eq!(reasons(path, UNWILLING, true).await, json!(["do_not_call"]));
    }
    // A carrier that took nothing leaves no attempt behind, a call does.
    carrier.rest.fail(Fault::answer(401, "{}"));
    let hello = json!({"to": CALLEE, "message": "Hello."});
    post(&esther, "/call/simple", &hello).await.is_problem(502);
    placed(&post(&esther, "/call/simple", &hello).await);
    soon(carrier.call().await.ended()).await;
    let told = reasons("/call/ai", CALLEE, false).await;
    let told = told.as_array().expect("reasons");
    assert!(told.contains(&json!("too_soon")), "{told:?}");
    assert!(!told.contains(&json!("attempts_per_day")), "{told:?}");
    assert_eq!(carrier.rest.placed(), 1);
    placed(&post(&esther, "/call/simple", &hello).await);
    let command = carrier.launch().home(&home).set("DATA_DIR", "./data");
    let refused = soon(command.args(["call", CALLEE]).run()).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("attempts_per_day"), "{refused:?}");
    let log = std::fs::read_to_string(home.path().join("data/decisions.jsonl")).expect("a log");
    assert_eq!(
        log.lines().count(),
        6,
        "every decision is written down: {log}"
    );
    esther.stop().await.went_well();
}

/// What the carrier says of a call by hand that never reaches Esther stands at the lead, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_lead_tells_of_calls_that_never_reached_the_agent() {
    let carrier = Carrier::start().await;
    let launch = carrier.launch().set("LEAD_STORE", "sqlite");
    let launch = launch.file("leads.csv", "phone,name\n+12125550101,Pat Doe\n");
    let import = Launch::local()
        .set("LEAD_STORE", "sqlite")
        .home(&launch.home_of());
    let imported = import.args(["leads", "import", "leads.csv"]).run().await;
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    let esther = launch.start().await;
    let path = format!("/leads/{CALLEE}");
    let due = json!({"next_attempt": "2030-01-01T00:00:00Z"});
    let patch = esther.request("PATCH", &path).json(&due);
    assert_eq!(Answer::to(patch).await.status, 200);
    for (route, does, status) in [
        ("/call/simple", Reaction::Answers, "called"),
        ("/call/ai", Reaction::Busy, "no_answer"),
        ("/call/simple", Reaction::Rejects("declined"), "no_answer"),
        ("/call/ai", Reaction::Fails("cannot_route"), "no_answer"),
        (
            "/call/ai",
            Reaction::Fails("number_out_of_service"),
            "bad_number",
        ),
    ] {
        let fresh = esther.request("PATCH", &path);
        let fresh = fresh.json(&json!({"call_status": "not_called", "last_call_date": null}));
        assert_eq!(Answer::to(fresh).await.status, 200);
        carrier.rest.reach(CALLEE, Callee::that(does));
        let body = json!({"to": CALLEE, "message": "Hello."});
        placed(&post(&esther, route, &body).await);
        soon(carrier.call().await.ended()).await;
        let lead = until("the word at the lead", async || {
            let lead = esther.json(&path).await;
            lead["last_call_date"].is_string().then_some(lead)
        })
        .await;
        assert_eq!(lead["call_status"], status, "{does:?}");
        assert_eq!(
            lead["next_attempt"], "2030-01-01T00:00:00.000Z",
            "left alone"
        );
    }
    let sums = esther.json("/calls/totals").await;
    assert_eq!(sums["totals"][0]["directions"], json!({"outbound": 5}));
    assert_eq!(carrier.carrier.violations(), []);
    esther.stop().await.went_well();
}

/// Where consent is asked for, silence is none; what is noted of it has a time and a source.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_without_the_consent_that_is_asked_for() {
    let carrier = Carrier::start().await;
    let launch = carrier.launch().set("LEAD_STORE", "sqlite");
    let launch = launch.set("CONSENT_REQUIRED", "mobile").file(
        "leads.csv",
        "phone,name,consent,consent_at,consent_source\n\
         +12125550101,Pat Doe,,,\n+12125550103,Kim Roe,yes,2026-06-22,form\n",
    );
    let import = Launch::local()
        .set("LEAD_STORE", "sqlite")
        .home(&launch.home_of());
    let imported = import.args(["leads", "import", "leads.csv"]).run().await;
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    let esther = launch.start().await;
    let call = async |to: &str| {
        let body = json!({"to": to, "message": "Hello."});
        post(&esther, "/call/simple", &body).await
    };
    let refused = call(CALLEE).await;
    refused.is_problem(409);
    assert_eq!(
        refused.json()["reasons"],
        json!(["no_consent"]),
        "nobody overrules it"
    );
    placed(&call("+12125550103").await);
    let form = esther.json("/leads/+12125550103").await;
    assert_eq!(
        (
            &form["consent"],
            &form["consent_at"],
            &form["consent_source"]
        ),
        (
            &json!(true),
            &json!("2026-06-22T00:00:00.000Z"),
            &json!("form")
        )
    );
    let path = format!("/leads/{CALLEE}");
    let patch = async |body: Value| Answer::to(esther.request("PATCH", &path).json(&body)).await;
    let given = patch(json!({"consent": true})).await.json();
    assert_eq!(given["consent_source"], "api");
    assert!(given["consent_at"].is_string(), "{given}");
    placed(&call(CALLEE).await);
    for wrong in [
        json!({"consent": "yes"}),
        json!({"consent": true, "consent_at": "June"}),
    ] {
        patch(wrong).await.is_problem(422);
    }
    let taken = patch(json!({"consent": null})).await.json();
    for member in ["consent", "consent_at", "consent_source"] {
        assert!(taken[member].is_null(), "{member} in {taken}");
    }
    call(CALLEE).await.is_problem(409);
    let campaign = Answer::to(
        esther
            .request("POST", "/campaigns")
            .json(&json!({"name": "Fall"})),
    );
    let campaign = campaign.await.json();
    let id = campaign["id"].as_str().expect("an id");
    let preview = esther
        .post(&format!("/campaigns/{id}/preview"))
        .await
        .json();
    assert_eq!(preview["refusals"]["no_consent"], 1, "{preview}");
    esther.stop().await.went_well();
}

//! Which model speaks: asked for, found, not found, and not found in time.

use std::time::Duration;

use novavoice::testkit::bedrock::{Dialogue, Reply, SessionScript};
use tokio::{net::TcpListener, time::Instant};

use crate::{
    follower::Follower,
    nova::{Nova, carrier},
    service::{Launch, inbound},
    settings::full_after_one,
};

/// How long `auto` may take, and what a busy machine adds to the start of a process.
const DECIDED: Duration = Duration::from_secs(2);
const STARTED: Duration = Duration::from_secs(3);

/// A service that takes connections and never answers.
async fn black_hole() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_decides_within_two_seconds_also_where_nobody_answers() {
    let (_metadata, metadata) = black_hole().await;
    let (_container, container) = black_hole().await;
    let sleeper = "[default]\ncredential_process = sleep 60\nregion = eu-north-1\n";
    let launches = [
        Launch::bare().set("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata),
        Launch::bare().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", container),
        Launch::bare()
            .file("config", sleeper)
            .set("AWS_CONFIG_FILE", "config")
            .set("PATH", "/usr/bin:/bin"),
    ];
    let started = launches.map(async |launch| {
        let began = Instant::now();
        let esther = launch.start().await;
        let took = began.elapsed();
        assert!(took < DECIDED + STARTED, "{took:?}");
        let status = esther.json("/status").await;
        assert_eq!(status["model"]["real"], false, "{status}");
        assert!(esther.log().contains("stand-in"), "{}", esther.log());
        esther.stop().await.went_well();
    });
    futures::future::join_all(started).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nova_sonic_is_used_where_it_can_be_and_never_replaced_in_silence() {
    // Asked for and impossible: no start.
    let (_metadata, metadata) = black_hole().await;
    let launch = Launch::bare().set("SPEECH_MODEL", "nova-sonic");
    let refused = launch.set("AWS_EC2_METADATA_DISABLED", "true").run().await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(
        (refused.stdout.as_str(), refused.stderr.contains("panicked")),
        ("", false)
    );
    assert!(
        refused.stderr.contains("SPEECH_MODEL"),
        "{}",
        refused.stderr
    );

    // Found, but unreachable when a call comes: `auto` lets the script take it, and says so.
    let auto = Launch::bare()
        .set("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata)
        .set("CALL_STORE", "sqlite")
        .set("LEAD_STORE", "sqlite")
        .set("AWS_ACCESS_KEY_ID", "AKIDOFNOBODY")
        .set("AWS_SECRET_ACCESS_KEY", "a-secret-of-nobody")
        .set("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "https://127.0.0.1:9");
    let esther = auto.start().await;
    let call = esther
        .carrier()
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    assert!(call.wait_heard(Duration::from_secs(1)).await);
    assert_eq!(esther.metric("esther_stand_in_calls_total").await, 1.0);
    assert!(esther.log().contains("stand-in"), "{}", esther.log());
    call.hang_up();
    call.ended().await;
    esther.idle().await;
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&["a-secret-of-nobody"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_asked_for_is_not_replaced_and_the_caller_is_let_go() {
    let script = SessionScript::refuse(novavoice::testkit::bedrock::Refusal::access_denied());
    let nova = Nova::start(script).await;
    let esther = nova
        .launch()
        .set("SPEECH_MODEL", "nova-sonic")
        .start()
        .await;
    let carrier = carrier(&esther);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    call.ended().await;
    assert_eq!(carrier.violations(), []);
    let follower = Follower::of(&esther, call.uuid(), None).await;
    let events = follower.over().await;
    assert_eq!(events.named("ended")[0]["status"], "failed", "{events:?}");
    assert_eq!(
        esther.transcript(call.uuid()).record.expect("over")["outcome"],
        "failed"
    );
    esther.idle().await;
    assert_eq!(esther.metric("esther_stand_in_calls_total").await, 0.0);
    esther.stop().await;
}

/// With Nova Sonic no call is admitted past the quota minus two.
#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_of_the_quota_stay_free() {
    let hello = Dialogue::answering([Reply::of([("Good morning.", 1_000)])]);
    let nova = Nova::start(SessionScript::converse(hello)).await;
    let esther = nova
        .launch()
        .set("NOVA_SONIC_MAX_SESSIONS", "3")
        .start()
        .await;
    full_after_one(&esther).await;
    nova.closed_by_the_book(2).await;
    esther.stop().await.went_well();
}

//! Nova Sonic, against the fake Bedrock: real TLS, real HTTP/2, the real SDK.

use std::{cell::RefCell, time::Duration};

use novavoice::{
    model::nova_sonic::{NovaSonic, NovaSonicConfig},
    testkit::{
        bedrock::{Dialogue, FakeBedrock, Options, Reply, SessionScript},
        conformance::{
            self,
            model::{LOOK_UP, a_use_of_a_tool_is_followed_by_a_reply},
        },
    },
};

/// A Bedrock whose clocks run ten times as fast, and which takes audio as fast as it comes: the
/// suite does not speak in real time.
fn quick() -> Options {
    let dialogue = Dialogue::answering([Reply::of([("Very well, I can do that.", 1_500)])]);
    Options {
        time_scale: 10.0,
        audio_speed: 10.0,
        audio_burst: Duration::from_secs(3_600),
        audio_gap: Duration::from_secs(3_600),
        ..Options::default()
    }
    .on_session(move |_| SessionScript::converse(dialogue.clone()))
}

async fn model(bedrock: &FakeBedrock, model_id: &str) -> NovaSonic {
    let mut config = NovaSonicConfig::default();
    config.model_id = model_id.into();
    NovaSonic::with_http_clients(config, &bedrock.sdk_config().await, bedrock.http_clients())
}

/// Runs the suite and looks at what Bedrock saw of it: no rule broken, nothing left open.
async fn keeps_the_contract(model_id: &str) {
    let made = RefCell::new(Vec::new());
    conformance::speech_model(async || {
        let bedrock = FakeBedrock::start(quick()).await.expect("a free port");
        let model = model(&bedrock, model_id).await;
        made.borrow_mut().push((bedrock, model.clone()));
        model
    })
    .await;
    for (bedrock, model) in made.into_inner() {
        assert_eq!(bedrock.violations(), []);
        let let_go = async {
            while model.open_sessions() > 0 || bedrock.open_sessions() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let let_go = tokio::time::timeout(Duration::from_secs(20), let_go).await;
        assert!(
            let_go.is_ok(),
            "{bedrock:?} still has sessions of {model:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nova_sonic_keeps_the_contract() {
    keeps_the_contract("amazon.nova-2-sonic-v1:0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nova_sonic_uses_tools() {
    let reply = Reply::of([("Here it is.", 500)]).after_tool(LOOK_UP, "{}");
    let dialogue = Dialogue::answering([reply]);
    let options = quick().on_session(move |_| SessionScript::converse(dialogue.clone()));
    let bedrock = FakeBedrock::start(options).await.expect("a free port");
    let model = model(&bedrock, "amazon.nova-2-sonic-v1:0").await;
    a_use_of_a_tool_is_followed_by_a_reply(&model).await;
    assert_eq!(bedrock.violations(), []);
}

/// The first generation takes no text: what the suite cannot provoke it does not look at.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_nova_sonic_keeps_the_contract() {
    keeps_the_contract("amazon.nova-sonic-v1:0").await;
}

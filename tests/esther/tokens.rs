//! Who may open a media socket.

use std::time::Duration;

use jiff::Timestamp;
use novavoice::{telephony::channel::ChannelTokens, testkit::vonage::Token};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::{
    answer::Answer,
    nova::{SECRET, carrier, socket},
    service::{Launch, inbound},
    softphone::{Channel, closed, connect},
};

const TOKEN: &str = "a-token-of-the-black-box";

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_opens_with_a_fresh_token_of_its_own_channel_once() {
    let launch = Launch::local().set("ESTHER_API_TOKEN", TOKEN);
    let launch = launch.set("VONAGE_SIGNATURE_SECRET", SECRET);
    let esther = launch.set("RUST_LOG", "debug").start().await;
    let base = esther.url("/socket").replace("http:", "ws:");
    let address = |channel: &str, token: &str| format!("{base}?channel={channel}&token={token}");
    let make = async || {
        let request = esther.request("POST", "/channels").bearer_auth(TOKEN);
        Channel::from(&Answer::to(request).await)
    };
    let (one, two) = (make().await, make().await);
    // Any node that shares the key makes and reads the same tokens.
    let node = ChannelTokens::derived(TOKEN);
    let old = node.issue("c", Timestamp::now() - Duration::from_secs(61));
    let other_key = ChannelTokens::derived("another").issue("c", Timestamp::now());
    let spoilt = one.token.replacen(|_| true, "_", 1);
    for (why, url) in [
        ("nothing", base.clone()),
        ("no token", format!("{base}?channel={}", one.id)),
        ("no channel", format!("{base}?token={}", one.token)),
        ("an empty one", address(&one.id, "")),
        ("a wrong one", address(&one.id, "nonsense")),
        ("a spoilt one", address(&one.id, &spoilt)),
        ("another channel's", address(&one.id, &two.token)),
        ("the API's", address(&one.id, TOKEN)),
        ("an old one", address("c", &old)),
        ("one of another key", address("c", &other_key)),
        (
            "the other spelling",
            format!("{base}?token=x").replace("/socket", "/ws/c"),
        ),
    ] {
        assert_eq!(connect(&url).await.err(), Some(403), "{why}");
    }
    let refused = esther
        .get(&format!("/socket?channel={}&token=x", one.id))
        .await;
    refused.is_problem(403);

    // Whoever says to be the carrier must be; and a refusal costs nobody their token.
    let url = address("carried", &node.issue("carried", Timestamp::now()));
    for forged in [
        "Bearer a.b.c".to_owned(),
        bearer(
            &carrier(&esther)
                .signer()
                .expect("it signs")
                .token(b"")
                .corrupt(),
        ),
    ] {
        let mut request = url.as_str().into_client_request().expect("an address");
        let headers = request.headers_mut();
        headers.insert("authorization", forged.parse().expect("plain"));
        assert_eq!(connect(request).await.err(), Some(403), "{forged}");
    }
    drop(connect(&url).await.expect("still good"));

    let stop = || vec![Message::text(r#"{"type":"stopAudio"}"#)];
    for (id, token) in [
        (one.id.as_str(), one.token.as_str()),
        (
            "from-another-node",
            &node.issue("from-another-node", Timestamp::now()),
        ),
    ] {
        let url = address(id, token);
        let open = connect(&url).await.expect("a good token");
        assert_eq!(
            connect(&url).await.err(),
            Some(403),
            "spent while its socket is open"
        );
        assert_eq!(closed(open, stop()).await.0, 1000);
        assert_eq!(connect(&url).await.err(), Some(403), "spent for ever");
    }

    // So it is with the token of a call flow.
    let call = carrier(&esther)
        .place_inbound(inbound())
        .await
        .expect("an NCCO");
    assert!(call.wait_heard(Duration::from_millis(200)).await);
    let (url, token) = socket(&call);
    assert_eq!(
        connect(&format!("{url}&token={token}")).await.err(),
        Some(403)
    );
    call.hang_up();
    call.ended().await;
    assert_eq!(call.violations(), []);
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[&token, TOKEN, SECRET, &one.token, &two.token, &old]);
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.build())
}

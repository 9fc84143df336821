//! Who may use the management API.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::header::AUTHORIZATION;

use crate::{
    answer::Answer,
    service::{Esther, Launch},
};

const TOKEN: &str = "a-token-of-the-black-box";

/// Everything that is not named open, known or not.
const GUARDED: [(&str, &str, u16); 22] = [
    ("GET", "/", 200),
    ("GET", "/app.js", 200),
    ("GET", "/metrics", 200),
    ("GET", "/status", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/calls", 200),
    ("GET", "/calls/active", 200),
    ("GET", "/calls/nobody", 404),
    ("GET", "/calls/nobody/events", 404),
    ("POST", "/calls/nobody/hangup", 404),
    ("GET", "/channels", 200),
    ("POST", "/channels", 201),
    ("GET", "/configure", 200),
    ("POST", "/configure", 415),
    ("GET", "/nowhere", 404),
    ("GET", "/healthy", 404),
    ("GET", "/health/", 404),
    ("GET", "/webhooks", 404),
    ("GET", "/webhooks/answer/more", 404),
    ("POST", "/campaigns/7/start", 404),
    ("DELETE", "/calls", 405),
    ("PUT", "/", 405),
];

async fn ask(esther: &Esther, method: &str, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = esther.request(method, path);
    if let Some(value) = authorization {
        request = request.header(AUTHORIZATION, value);
    }
    Answer::to(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_everything_but_the_open_paths_answers_401_first() {
    let esther = Launch::local().set("ESTHER_API_TOKEN", TOKEN).start().await;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("user:{TOKEN}")));
    let bearer = format!("Bearer {TOKEN}");
    let longer = format!("Bearer {TOKEN}x");
    for (method, path, status) in GUARDED {
        for wrong in [
            None,
            Some("Bearer nonsense"),
            Some(longer.as_str()),
            Some("Bearer "),
            Some(TOKEN),
        ] {
            let answer = ask(&esther, method, path, wrong).await;
            answer.is_problem(401);
            assert!(
                answer.header("www-authenticate").starts_with("Bearer"),
                "{answer:?}"
            );
        }
        let answer = ask(&esther, method, path, Some(&bearer)).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        if status >= 400 {
            answer.is_problem(status);
        }
    }
    assert_eq!(
        ask(&esther, "GET", "/calls", Some(&basic)).await.status,
        200
    );
    for query in ["/calls?token=", "/calls?access_token="] {
        ask(&esther, "GET", &format!("{query}{TOKEN}"), None)
            .await
            .is_problem(401);
    }

    // Open: probes; and what checks its callers by itself.
    for path in ["/health", "/up", "/ready"] {
        assert_eq!(ask(&esther, "GET", path, None).await.status, 200, "{path}");
    }
    ask(&esther, "GET", "/socket", None).await.is_problem(403);
    let answer = "/webhooks/answer?uuid=u&from=1&to=2";
    assert_eq!(
        ask(&esther, "GET", answer, None).await.status,
        200,
        "on loopback, unsigned"
    );
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&[TOKEN]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_others_reach_prints_a_token_that_it_made() {
    let esther = Launch::local().set("HOST", "0.0.0.0").start().await;
    let log = esther.log();
    let line = log
        .lines()
        .find(|line| line.contains("token"))
        .expect("a line");
    let token = line.rsplit(' ').next().expect("a word");
    assert!(
        token.len() >= 32 && token.chars().all(|c| c.is_ascii_alphanumeric()),
        "{line}"
    );
    ask(&esther, "GET", "/calls", None).await.is_problem(401);
    let bearer = format!("Bearer {token}");
    assert_eq!(
        ask(&esther, "GET", "/calls", Some(&bearer)).await.status,
        200
    );
    let other = Launch::local().set("HOST", "0.0.0.0").start().await;
    ask(&other, "GET", "/calls", Some(&bearer))
        .await
        .is_problem(401);
    esther.stop().await.went_well();
    other.stop().await.went_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_without_a_token_everything_is_open_to_this_machine() {
    let esther = Launch::local().start().await;
    for (method, path, status) in GUARDED {
        let answer = ask(&esther, method, path, None).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    // But not to a page that makes its own name point here, or that posts from elsewhere.
    let rebound = esther
        .request("GET", "/calls")
        .header("host", "evil.example.com");
    Answer::to(rebound).await.is_problem(403);
    let foreign = esther
        .request("POST", "/channels")
        .header("origin", "https://evil.example.com");
    Answer::to(foreign).await.is_problem(403);
    assert!(!esther.log().contains("API token"));
    esther.stop().await.went_well();
}

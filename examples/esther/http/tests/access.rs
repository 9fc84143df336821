//! Who may come in.

use super::*;

#[tokio::test]
async fn without_the_token_nothing_else_answers_not_even_with_404() {
    let (_, router) = service(Some(TOKEN));
    let unknown = [("GET", "/nowhere"), ("PUT", "/calls"), ("POST", "/health/")];
    for (method, path) in GUARDED.into_iter().chain(unknown) {
        let answer = ask(&router, empty(request(method, path))).await;
        answer.is_problem(StatusCode::UNAUTHORIZED);
        let challenges: Vec<_> = answer
            .headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .collect();
        assert!(challenges[0].as_bytes().starts_with(b"Bearer"), "{path}");
        assert!(challenges[1].as_bytes().starts_with(b"Basic"), "{path}");
    }
}

#[tokio::test]
async fn the_token_opens_as_bearer_and_as_password() {
    let (_, router) = service(Some(TOKEN));
    let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
    let cases = [
        (format!("Bearer {TOKEN}"), true),
        (format!("bearer  {TOKEN}"), true),
        (basic(&format!("anybody:{TOKEN}")), true),
        (basic(&format!(":{TOKEN}")), true),
        (format!("Bearer {TOKEN}x"), false),
        (format!("Bearer {}", &TOKEN[1..]), false),
        ("Bearer ".to_owned(), false),
        (basic(&format!("{TOKEN}:")), false),
        (basic(TOKEN), false),
        (format!("Basic {TOKEN}"), false),
        (TOKEN.to_owned(), false),
        (format!("Digest {TOKEN}"), false),
    ];
    for (value, right) in cases {
        let request = request("GET", "/calls/active").header(header::AUTHORIZATION, &value);
        let status = ask(&router, empty(request)).await.status;
        assert_eq!(status == StatusCode::OK, right, "{value}: {status}");
    }
}

#[tokio::test]
async fn on_loopback_without_a_token_everything_is_open() {
    let (app, router) = service(None);
    app.calls.started(&info("a-call"));
    app.calls.ended(&CallId::new("a-call"), &summary());
    let phone = PhoneNumber::parse("2125550101").expect("a number");
    app.leads.upsert(Lead::new(phone)).await.expect("kept");
    let campaign = app
        .outbound
        .campaigns
        .create(Plan::new("Spring"), NOW)
        .await;
    let campaign = campaign.expect("kept").id;
    for (_, path) in GUARDED.into_iter().filter(|(method, _)| *method == "GET") {
        let path = path.replace("a-campaign", &campaign);
        assert_eq!(
            get_from(&router, &path).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
    get_from(&router, "/nowhere")
        .await
        .is_problem(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn while_it_is_open_no_strange_name_may_point_to_it() {
    let (_, router) = service(None);
    let cases = [
        ("127.0.0.1:3000", true),
        ("localhost", true),
        ("[::1]:3000", true),
        ("esther.example.org", true),
        ("esther.example.org:443", true),
        ("rebound.example.com", false),
        ("127.0.0.1.example.com", false),
        ("10.0.0.1:3000", false),
        ("a b", false),
    ];
    for (host, right) in cases {
        let answer = ask(
            &router,
            empty(request("GET", "/calls").header(header::HOST, host)),
        )
        .await;
        assert_eq!(answer.status == StatusCode::OK, right, "{host}");
        if !right {
            answer.is_problem(StatusCode::FORBIDDEN);
        }
    }
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let (_, open) = service(None);
    let (_, guarded) = service(Some(TOKEN));
    let password = format!("Basic {}", BASE64_STANDARD.encode(format!(":{TOKEN}")));
    let post = |origin: &str| {
        request("POST", "/channels")
            .header(header::HOST, "localhost:3000")
            .header(header::ORIGIN, origin)
    };
    for (origin, right) in [
        ("http://localhost:3000", true),
        ("https://esther.example.org", true),
        ("http://localhost:8080", false),
        ("https://evil.example.com", false),
        ("null", false),
    ] {
        let without = ask(&open, empty(post(origin))).await.status;
        // A browser sends a password by itself, whichever page asks.
        let with = post(origin).header(header::AUTHORIZATION, &password);
        let with = ask(&guarded, empty(with)).await.status;
        let expected = if right {
            StatusCode::CREATED
        } else {
            StatusCode::FORBIDDEN
        };
        assert_eq!((without, with), (expected, expected), "{origin}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let app = post("https://app.example.com").header(header::AUTHORIZATION, bearer);
    let status = ask(&guarded, empty(app)).await.status;
    assert_eq!(
        status,
        StatusCode::CREATED,
        "a bearer token is proof enough"
    );
}

//! The standard AWS environment. A process cannot change its own safely, so the test starts
//! itself anew in one that is prepared.

use std::process::Stdio;

use super::*;

/// Nova Sonic checklist 2: a bearer token in the environment does not win over the signature;
/// and the endpoint, the trust and the credentials are taken from there.
#[tokio::test]
async fn everything_can_come_from_the_environment() {
    let fake = FakeBedrock::start(quick()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let certificate = fake.write_ca(directory.path()).unwrap();
    let (key, secret) = fake.credentials();
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "environment::inside", "--ignored", "--nocapture"])
        .env_clear()
        .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", fake.endpoint())
        .env("SSL_CERT_FILE", certificate)
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_BEARER_TOKEN_BEDROCK", "not-for-this-operation")
        .env("HOME", directory.path())
        .stdin(Stdio::null())
        .output();
    let output = soon(child).await.unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let sessions = soon(fake.finished(1)).await;
    assert!(sessions[0].closed_by_the_book());
    assert_eq!(fake.violations(), []);
}

/// Runs in the process that the test above starts.
#[tokio::test]
#[ignore = "needs a prepared environment; everything_can_come_from_the_environment runs it"]
async fn inside() {
    let model = NovaSonic::from_env(config(), None).await;
    soon(model.credentials_resolve(Duration::from_secs(2)))
        .await
        .unwrap();
    let mut line = Line::open(&model).await;
    line.speak().await;
    line.until(ended(1)).await;
    line.finish().await;
}

//! What machines read about the service: its metrics and its OpenAPI document.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    answer::Answer,
    service::{Esther, Launch},
};

/// Reads the metrics as strictly as Prometheus does.
pub(crate) async fn check_metrics(esther: &Esther) {
    let answer = esther.get("/metrics").await;
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4"),
        "{answer:?}"
    );
    assert!(answer.body.ends_with('\n'));
    let mut kinds = BTreeMap::<String, String>::new();
    let mut samples = BTreeMap::<String, f64>::new();
    for line in answer.body.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a name and a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(
                kinds.insert(name.to_owned(), kind.to_owned()),
                None,
                "{line}"
            );
            continue;
        }
        if line.starts_with('#') {
            assert!(line.starts_with("# HELP esther_"), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        let name = series.split('{').next().expect("a name");
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(legal), "{line}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            let family = name.strip_suffix(end)?;
            (kinds.get(family).map(String::as_str) == Some("histogram")).then_some(family)
        });
        assert!(
            kinds.contains_key(family.unwrap_or(name)),
            "no type before {line}"
        );
        let value = value.parse().expect("a number");
        assert_eq!(
            samples.insert(series.to_owned(), value),
            None,
            "{line} twice"
        );
    }
    for (name, kind) in &kinds {
        match kind.as_str() {
            "gauge" => assert_eq!(samples[name], 0.0, "{name} returns to zero"),
            "histogram" => {
                let all = samples[&format!("{name}_bucket{{le=\"+Inf\"}}")];
                assert_eq!(all, samples[&format!("{name}_count")], "{name}");
            }
            _ => assert!(name.ends_with("_total"), "{name}"),
        }
    }
    assert_eq!(samples["esther_calls_started_total"], 1.0);
    assert!(samples["esther_utterances_total"] >= 3.0);
    assert!(samples["esther_frames_total{kind=\"received\"}"] > 50.0);
}

/// What the contract lists, as far as it is served.
const ROUTES: [(&str, &str); 38] = [
    ("get", "/health"),
    ("get", "/up"),
    ("get", "/ready"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/webhooks/answer"),
    ("post", "/webhooks/answer"),
    ("get", "/outbound/webhooks/answer"),
    ("post", "/outbound/webhooks/answer"),
    ("post", "/webhooks/events"),
    ("post", "/outbound/webhooks/events"),
    ("get", "/socket"),
    ("get", "/calls"),
    ("get", "/calls/active"),
    ("get", "/calls/{uuid}"),
    ("get", "/calls/{uuid}/events"),
    ("post", "/calls/{uuid}/hangup"),
    ("post", "/calls/{uuid}/transfer"),
    ("post", "/call/simple"),
    ("post", "/call/ai"),
    ("get", "/campaigns"),
    ("post", "/campaigns"),
    ("get", "/campaigns/{id}"),
    ("post", "/campaigns/{id}/preview"),
    ("post", "/campaigns/{id}/start"),
    ("post", "/campaigns/{id}/pause"),
    ("post", "/campaigns/{id}/resume"),
    ("get", "/prompts"),
    ("post", "/prompts"),
    ("get", "/prompts/active"),
    ("get", "/prompts/{version}"),
    ("post", "/prompts/{version}/activate"),
    ("post", "/prompts/rollback"),
    ("post", "/prompts/preview"),
    ("get", "/channels"),
    ("post", "/channels"),
    ("get", "/configure"),
    ("post", "/configure"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_names_what_is_served() {
    let esther = Launch::local().start().await;
    let answer = esther.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.json();
    let version = document["openapi"].as_str().unwrap_or_default();
    assert!(version.starts_with("3.1."), "{version}");
    for member in ["title", "version"] {
        assert!(document["info"][member].is_string(), "{member}");
    }
    check_references(&document, &document);
    let missing: Vec<_> = ROUTES
        .iter()
        .filter(|(method, path)| document["paths"][path][method].is_null())
        .collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            if method == "parameters" {
                continue;
            }
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|all| !all.is_empty()),
                "{path}"
            );
            let served = path.replace("{uuid}", "nobody");
            let answer = Answer::to(esther.request(&method.to_uppercase(), &served)).await;
            let unknown = answer.body.contains("nothing at this address");
            assert!(
                answer.status != 405 && !unknown,
                "{method} {path}: {answer:?}"
            );
        }
    }
    esther.stop().await.went_well();
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref") {
                let pointer = reference.as_str().and_then(|it| it.strip_prefix('#'));
                let found = pointer.and_then(|pointer| document.pointer(pointer));
                assert!(found.is_some(), "{reference} leads nowhere");
            }
            members
                .values()
                .for_each(|part| check_references(document, part));
        }
        Value::Array(parts) => parts
            .iter()
            .for_each(|part| check_references(document, part)),
        _ => {}
    }
}

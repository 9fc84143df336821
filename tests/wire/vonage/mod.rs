//! What Vonage sends and takes, frame by frame.

mod ncco;
mod ncco_rules;
mod socket;
mod webhook;

use novavoice::{
    audio::SampleRate,
    telephony::vonage::ncco::{Action, Ncco, NccoError, WebsocketEndpoint},
};
use proptest::prelude::*;
use serde_json::Value;

/// An object with some of these keys and values of any kind.
fn odd_object(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop_oneof![
            Just("websocket:connected"),
            Just("websocket:dtmf"),
            Just("websocket:notify"),
            Just("websocket:media:update"),
            Just("audio/l16;rate=16000"),
            Just("completed"),
            Just("transcribed"),
            Just("transfer"),
            Just("{\"a\":1}"),
            Just("2026-01-01T12:00:00Z"),
        ]
        .prop_map(Value::from),
    ];
    let key = prop::sample::select(keys).prop_map(str::to_owned);
    let value = leaf.prop_recursive(2, 16, 4, {
        let key = key.clone();
        move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        }
    });
    prop::collection::btree_map(key, value, 0..8)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// A good socket.
fn socket() -> WebsocketEndpoint {
    WebsocketEndpoint::new(
        "wss://agent.example.com/socket?token=t",
        SampleRate::Hz16000,
    )
}

/// One action as Vonage gets it.
fn built(action: impl Into<Action>) -> Result<Value, NccoError> {
    let ncco = Ncco::builder().then(action).build()?;
    let Value::Array(mut actions) = serde_json::from_str(&ncco.to_json()).unwrap() else {
        panic!("an NCCO is an array");
    };
    assert_eq!(actions.len(), 1);
    Ok(actions.remove(0))
}

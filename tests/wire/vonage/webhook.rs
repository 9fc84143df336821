//! The bodies of webhooks.

use std::time::Duration;

use novavoice::telephony::vonage::webhook::{
    AnswerRequest, Detail, EndedBy, Event, Status, StatusEvent, SubState, classify, region_base,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::odd_object;

fn status(body: &Value) -> StatusEvent {
    match classify(body.to_string().as_bytes()) {
        Event::Status(event) => *event,
        other => panic!("{body} gave {other:?}"),
    }
}

const STATUSES: [(&str, Status); 13] = [
    ("started", Status::Started),
    ("ringing", Status::Ringing),
    ("answered", Status::Answered),
    ("busy", Status::Busy),
    ("cancelled", Status::Cancelled),
    ("unanswered", Status::Unanswered),
    ("rejected", Status::Rejected),
    ("failed", Status::Failed),
    ("timeout", Status::Timeout),
    ("disconnected", Status::Disconnected),
    ("human", Status::Human),
    ("machine", Status::Machine),
    ("completed", Status::Completed),
];

/// Vonage checklist 47.
#[test]
fn every_status_is_read_and_written_and_a_new_one_is_kept() {
    for (word, expected) in STATUSES {
        let event = status(&json!({"uuid": "u", "status": word}));
        assert_eq!(event.status, expected);
        assert_eq!(event.status.as_str(), word);
    }
    let event = status(&json!({"uuid": "u", "status": "levitating"}));
    assert_eq!(event.status, Status::Other("levitating".to_owned()));
    assert_eq!(event.status.as_str(), "levitating");
    assert!(!event.is_final());
}

/// Vonage checklist 47 and 48: a whole body, as the webhook reference describes it.
#[test]
fn a_completed_call_says_what_it_was() {
    let event = status(&json!({
        "from": "447700900000", "to": "442079460000", "headers": {},
        "uuid": "aaaaaaaabbbbccccdddd0123456789ab",
        "conversation_uuid": "CON-f972836a-550f-45fa-956c-12a2ab5b7d22",
        "status": "completed", "direction": "inbound",
        "timestamp": "2026-01-01T12:00:30.500Z",
        "start_time": "2026-01-01T12:00:00.000Z", "end_time": "2026-01-01 12:00:12",
        "duration": "12", "rate": "0.00450000", "price": 0.0009, "network": "23433",
        "sip_code": 200, "disconnected_by": "user",
    }));
    assert_eq!(
        event.about.leg.as_ref().unwrap().as_str(),
        "aaaaaaaabbbbccccdddd0123456789ab"
    );
    assert_eq!(
        event.about.conversation.as_deref(),
        Some("CON-f972836a-550f-45fa-956c-12a2ab5b7d22")
    );
    assert_eq!(
        event.about.at.unwrap().to_string(),
        "2026-01-01T12:00:30.5Z"
    );
    assert_eq!(event.direction.unwrap().as_str(), "inbound");
    assert_eq!(event.started.unwrap().to_string(), "2026-01-01T12:00:00Z");
    assert_eq!(event.ended.unwrap().to_string(), "2026-01-01T12:00:12Z");
    assert_eq!(event.duration, Some(Duration::from_secs(12)));
    assert_eq!(event.rate, Some(0.0045));
    assert_eq!(event.price, Some(0.0009));
    assert_eq!(event.network.as_deref(), Some("23433"));
    assert_eq!(event.sip_code, Some(200));
    assert_eq!(event.ended_by, Some(EndedBy::User));
    assert!(event.is_final() && !event.is_websocket());
}

/// Vonage checklist 48.
#[test]
fn numbers_may_be_text_or_null_or_missing() {
    for (value, seconds) in [
        (json!(7), Some(7.0)),
        (json!("7"), Some(7.0)),
        (json!(" 7.5 "), Some(7.5)),
        (json!(null), None),
        (json!(""), None),
        (json!("-1"), None),
        (json!("NaN"), None),
        (json!("1e999"), None),
        (json!({}), None),
    ] {
        let event = status(&json!({
            "status": "completed", "duration": value, "sip_code": value, "network": value,
        }));
        assert_eq!(
            event.duration.map(|length| length.as_secs_f64()),
            seconds,
            "{value}"
        );
    }
    assert_eq!(status(&json!({"status": "completed"})).duration, None);
    for (size, bytes) in [
        (json!(12), Some(12)),
        (json!("12"), Some(12)),
        (json!(null), None),
        (json!(-3), None),
    ] {
        let body = json!({"recording_url": "https://api.nexmo.com/v1/files/x", "size": size});
        let Event::Recording(recording) = classify(body.to_string().as_bytes()) else {
            panic!("{body}");
        };
        assert_eq!(recording.bytes, bytes);
    }
}

#[test]
fn the_cause_of_a_failure_is_typed() {
    let event = status(&json!({
        "uuid": "u", "status": "rejected", "detail": "invalid_number", "sip_code": "404",
    }));
    assert_eq!(event.detail, Some(Detail::InvalidNumber));
    assert!(event.detail.unwrap().is_bad_number());
    assert_eq!(event.sip_code, Some(404));
    for detail in [
        "unavailable",
        "carrier_timeout",
        "declined",
        "cannot_route",
        "new",
    ] {
        let event = status(&json!({"status": "failed", "detail": detail}));
        let detail_read = event.detail.unwrap();
        assert_eq!(detail_read.as_str(), detail);
        assert!(!detail_read.is_bad_number());
    }
}

/// Vonage checklist 49.
#[test]
fn verdicts_name_their_leg_in_another_field() {
    for word in ["human", "machine"] {
        let event = status(&json!({
            "call_uuid": "aaaaaaaabbbbccccdddd0123456789ab", "status": word,
            "conversation_uuid": "CON-1",
        }));
        let leg = event.about.leg.as_ref().unwrap();
        assert_eq!(leg.as_str(), "aaaaaaaabbbbccccdddd0123456789ab");
        assert!(!event.is_final());
    }
    for (word, state) in [
        ("beep_start", SubState::BeepStart),
        ("beep_timeout", SubState::BeepTimeout),
    ] {
        let event = status(&json!({"call_uuid": "u", "status": "machine", "sub_state": word}));
        assert_eq!(event.sub_state, Some(state));
    }
}

/// Vonage checklist 50.
#[test]
fn bodies_without_a_status_are_told_by_their_keys() {
    let of = |body: Value| classify(body.to_string().as_bytes());
    let about = json!({"conversation_uuid": "CON-1", "timestamp": "2026-01-01T12:00:00.000Z"});
    let with = |more: Value| {
        let mut body = about.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };

    let transfer = of(json!({
        "type": "transfer", "uuid": "u", "conversation_uuid_from": "CON-1",
        "conversation_uuid_to": "CON-2",
    }));
    let Event::Transfer(transfer) = transfer else {
        panic!("{transfer:?}")
    };
    assert_eq!(
        (transfer.from.as_deref(), transfer.to.as_deref()),
        (Some("CON-1"), Some("CON-2"))
    );

    let keys = of(with(json!({
        "uuid": "u", "dtmf": {"digits": "42#", "timed_out": true}, "speech": {"results": []},
    })));
    let Event::Input(keys) = keys else {
        panic!("{keys:?}")
    };
    let digits = keys.dtmf.unwrap();
    assert_eq!(digits.digits.reveal(), "42#");
    assert!(digits.timed_out);
    assert!(keys.speech.unwrap().results.is_empty());

    for single in [json!("5"), json!({"digits": "5"}), json!({"digit": 5})] {
        let key = of(with(json!({ "dtmf": single })));
        let Event::Input(key) = key else {
            panic!("{key:?}")
        };
        assert_eq!(key.dtmf.unwrap().digits.reveal(), "5");
    }

    let words = of(with(json!({"speech": {
        "results": [{"text": "yes please", "confidence": "0.91"}, {"text": "yes"}, 7],
        "timeout_reason": "end_on_silence_timeout", "recording_url": "https://api.nexmo.com/x",
    }})));
    let Event::Input(words) = words else {
        panic!("{words:?}")
    };
    let speech = words.speech.unwrap();
    assert_eq!(speech.results.len(), 2);
    assert_eq!(speech.results[0].text.reveal(), "yes please");
    assert_eq!(speech.results[0].confidence, Some(0.91));
    assert_eq!(
        speech.timeout_reason.as_deref(),
        Some("end_on_silence_timeout")
    );

    for error in [json!("ERR1"), json!({"code": "ERR1"})] {
        let failed = of(with(json!({"speech": {"error": error}})));
        let Event::Input(failed) = failed else {
            panic!("{failed:?}")
        };
        assert!(failed.speech.unwrap().error.unwrap().contains("ERR1"));
    }

    let recording = of(with(json!({
        "recording_url": "https://api.nexmo.com/v1/files/r", "recording_uuid": "r",
        "size": 12345, "start_time": "2026-01-01T12:00:00Z", "end_time": null,
    })));
    let Event::Recording(recording) = recording else {
        panic!("{recording:?}")
    };
    assert_eq!(recording.id.as_deref(), Some("r"));
    assert!(recording.started.is_some() && recording.ended.is_none());

    let transcription = of(with(json!({
        "type": "record", "status": "transcribed", "recording_uuid": "r",
        "transcription_url": "https://api.nexmo.com/t",
    })));
    let Event::Transcription(transcription) = transcription else {
        panic!("{transcription:?}")
    };
    assert_eq!(
        transcription.url.unwrap().reveal(),
        "https://api.nexmo.com/t"
    );

    let notify = of(with(json!({"payload": {"a": 1}})));
    let Event::Notify(notify) = notify else {
        panic!("{notify:?}")
    };
    assert_eq!(notify.payload.reveal(), &json!({"a": 1}));

    let error = of(with(json!({"reason": "Invalid NCCO"})));
    let Event::Error(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.reason, "Invalid NCCO");
    assert_eq!(error.about.conversation.as_deref(), Some("CON-1"));

    let fallback = of(with(json!({
        "uuid": "u", "reason": "timeout", "status": "ignored",
        "original_request": {"url": "https://a.example/answer", "type": "answer"},
    })));
    let Event::Fallback(fallback) = fallback else {
        panic!("{fallback:?}")
    };
    assert_eq!(fallback.fallback.reason.as_deref(), Some("timeout"));

    for unknown in [
        json!({}),
        with(json!({"brand_new": 1})),
        json!([1]),
        json!({"status": null}),
    ] {
        let event = of(unknown.clone());
        let Event::Unknown(kept) = event else {
            panic!("{event:?}")
        };
        assert_eq!(kept.reveal(), &unknown);
    }
    let Event::Unknown(kept) = classify(b"\xff{") else {
        panic!("no JSON")
    };
    assert_eq!(kept.reveal(), &Value::Null);
}

/// Vonage checklist 52.
#[test]
fn a_socket_and_a_phone_share_a_conversation_and_nothing_else() {
    let phone = status(&json!({
        "uuid": "p", "conversation_uuid": "CON-1", "status": "answered",
        "from": "447700900000", "to": "442079460000", "headers": {},
    }));
    let socket = status(&json!({
        "uuid": "w", "conversation_uuid": "CON-1", "status": "disconnected",
        "from": "442079460000", "to": "wss://agent.example.com/socket?token=very-secret",
        "headers": {"uuid": "p"},
    }));
    assert_eq!(phone.about.conversation, socket.about.conversation);
    assert_ne!(phone.about.leg, socket.about.leg);
    assert!(!phone.is_websocket());
    assert!(socket.is_websocket() && socket.is_final());
    assert_eq!(socket.headers.reveal()["uuid"], "p");
    for body in [
        json!({"status": "answered", "to": "ws://127.0.0.1/socket"}),
        json!({"status": "answered", "to": "1", "headers": {"uuid": "p"}}),
    ] {
        assert!(status(&body).is_websocket());
    }
    for body in [
        json!({"status": "answered", "to": "wsomebody", "headers": null}),
        json!({"status": "disconnected"}),
    ] {
        let event = status(&body);
        assert!(!event.is_websocket() && !event.is_final());
    }
    let printed = format!("{phone:?} {socket:?}");
    assert!(
        !printed.contains("4477009") && !printed.contains("very-sec"),
        "{printed}"
    );
}

proptest! {
    /// Vonage checklist 50: an unknown shape never fails a webhook.
    #[test]
    fn no_bytes_make_the_classifier_panic(body: Vec<u8>) {
        let _ = classify(&body);
        let _ = AnswerRequest::from_json(&body);
        let _ = AnswerRequest::from_query(&String::from_utf8_lossy(&body));
    }

    /// Vonage checklist 50: an unknown shape never fails a webhook.
    #[test]
    fn no_object_makes_the_classifier_panic(body in odd_object(&[
        "status", "type", "uuid", "call_uuid", "dtmf", "speech", "recording_url", "payload",
        "reason", "original_request", "duration", "price", "size", "timestamp", "start_time",
        "headers", "conversation_uuid_from", "custom_data", "SipHeader_X", "sip_code",
    ])) {
        let text = body.to_string();
        let event = classify(text.as_bytes());
        let _ = format!("{event:?} {:?}", event.about());
        let _ = AnswerRequest::from_json(text.as_bytes());
    }

    #[test]
    fn no_region_makes_the_check_panic(url in ".*") {
        if let Some(base) = region_base(&url) {
            prop_assert!(base.ends_with(".vonage.com") || base.ends_with(".nexmo.com"));
        }
    }
}

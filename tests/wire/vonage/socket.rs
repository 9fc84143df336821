//! The text messages of the media socket.

use novavoice::{
    audio::SampleRate,
    telephony::{
        MarkId,
        vonage::wire::{self, Message, WireError},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::odd_object;

fn connected(text: &str) -> wire::Connected {
    match wire::decode(text) {
        Ok(Message::Connected(connected)) => connected,
        other => panic!("{text} gave {other:?}"),
    }
}

/// Vonage checklist 1.
#[test]
fn the_first_message_sets_the_frame() {
    for (hertz, bytes, samples) in [(8000, 320, 160), (16000, 640, 320), (24000, 960, 480)] {
        let text =
            format!(r#"{{"event":"websocket:connected","content-type":"audio/l16;rate={hertz}"}}"#);
        let rate = connected(&text).rate;
        assert_eq!(rate.bytes_per_frame(), bytes);
        assert_eq!(rate.samples_per_frame(), samples);
    }
}

/// Vonage checklist 2.
#[test]
fn metadata_comes_back_unchanged() {
    let custom = connected(
        r#"{"event":"websocket:connected","content-type":"audio/l16;rate=16000",
            "uuid":"aaaaaaaabbbbccccdddd0123456789ab","from":"447700900000",
            "deep":{"list":[1,2.5,null,true]},"contentType":"kept","digit":"5"}"#,
    )
    .custom;
    let expected = json!({
        "uuid": "aaaaaaaabbbbccccdddd0123456789ab", "from": "447700900000",
        "deep": {"list": [1, 2.5, null, true]}, "contentType": "kept", "digit": "5",
    });
    assert_eq!(Value::Object(custom), expected);
}

/// Vonage checklist 3 and 4.
#[test]
fn the_old_bridge_is_understood_at_its_first_word() {
    let spaced = connected(
        "  \n{\"event\":\"websocket:connected\",\"content-type\":\"audio/l16;rate=8000\"}",
    );
    let nameless = connected(r#"{"content-type":"audio/l16;rate=8000","to":"1"}"#);
    assert_eq!(spaced.rate, SampleRate::Hz8000);
    assert_eq!(nameless.rate, SampleRate::Hz8000);
    assert_eq!(nameless.custom["to"], "1");
}

/// Vonage checklist 5.
#[test]
fn audio_of_another_kind_is_an_error_that_names_it() {
    for format in [
        "audio/l16;rate=44100",
        "audio/pcmu;rate=8000",
        "audio/l16",
        "",
    ] {
        let text = json!({"event": "websocket:connected", "content-type": format}).to_string();
        let error = wire::decode(&text).unwrap_err();
        assert_eq!(error, WireError::UnsupportedFormat(format.to_owned()));
    }
    assert_eq!(
        wire::decode(r#"{"event":"websocket:connected"}"#),
        Err(WireError::MissingFormat)
    );
    let number = wire::decode(r#"{"event":"websocket:connected","content-type":16000}"#);
    assert_eq!(
        number,
        Err(WireError::UnsupportedFormat("16000".to_owned()))
    );
}

/// Vonage checklist 11 and 12.
#[test]
fn keys_come_in_every_shape_that_was_ever_sent() {
    for digit in "0123456789*#".chars() {
        let key = |duration_ms| Ok(Message::Dtmf { digit, duration_ms });
        let of = |text: String| wire::decode(&text);
        assert_eq!(
            of(format!(
                r#"{{"event":"websocket:dtmf","digit":"{digit}","duration":260}}"#
            )),
            key(Some(260))
        );
        assert_eq!(
            of(format!(r#"{{"event":"websocket:dtmf","digit":"{digit}"}}"#)),
            key(None)
        );
        assert_eq!(
            of(format!(r#"{{"digit":"{digit}","duration":"260"}}"#)),
            key(Some(260))
        );
        assert_eq!(
            of(format!(r#"{{"dtmf":{{"digit":"{digit}"}}}}"#)),
            key(None)
        );
        assert_eq!(of(format!(r#"{{"dtmf":"{digit}"}}"#)), key(None));
    }
    for text in [
        r#"{"event":"websocket:dtmf"}"#,
        r#"{"event":"websocket:dtmf","digit":""}"#,
        r#"{"event":"websocket:dtmf","digit":"12"}"#,
        r#"{"event":"websocket:dtmf","digit":"A"}"#,
        r#"{"digit":10}"#,
    ] {
        assert_eq!(
            wire::decode(text),
            Ok(Message::Unknown("websocket:dtmf".to_owned()))
        );
    }
    let endless = wire::decode(r#"{"digit":5,"duration":99999999999}"#);
    let key = Message::Dtmf {
        digit: '5',
        duration_ms: None,
    };
    assert_eq!(endless, Ok(key));
}

/// Vonage checklist 13.
#[test]
fn acknowledgements_marks_and_mutes_are_typed() {
    assert_eq!(
        wire::decode(r#"{"event":"websocket:cleared"}"#),
        Ok(Message::Cleared)
    );
    let payload = json!({"id": "u17", "nested": {"a": [1]}});
    let text = json!({"event": "websocket:notify", "payload": payload}).to_string();
    let Ok(Message::Notify(returned)) = wire::decode(&text) else {
        panic!("{text}");
    };
    assert_eq!(Value::Object(returned), payload);
    for active in [true, false] {
        let text = json!({
            "event": "websocket:media:update", "method": "update", "active": active,
            "content-type": "audio/l16;rate=16000",
        });
        assert_eq!(
            wire::decode(&text.to_string()),
            Ok(Message::MediaUpdate { active })
        );
    }
    assert_eq!(
        wire::decode(r#"{"event":"websocket:disconnected","reason":"x"}"#),
        Ok(Message::Disconnected)
    );
}

/// Vonage checklist 14.
#[test]
fn what_means_nothing_is_told_apart_and_harms_nothing() {
    for text in [
        "",
        "{",
        "RIFF",
        "{\"event\":\"websocket:cleared\"} x",
        "\u{0}",
    ] {
        assert_eq!(wire::decode(text), Err(WireError::NotJson), "{text}");
    }
    for text in [
        "[]",
        "[{\"event\":\"websocket:cleared\"}]",
        "1",
        "null",
        "\"x\"",
    ] {
        assert_eq!(wire::decode(text), Err(WireError::NotAnObject), "{text}");
    }
    for text in [
        r#"{}"#,
        r#"{"event":7}"#,
        r#"{"event":"websocket:hangup"}"#,
        r#"{"event":"websocket:notify","payload":"text"}"#,
        r#"{"event":"websocket:media:update","active":"maybe"}"#,
    ] {
        assert!(
            matches!(wire::decode(text), Ok(Message::Unknown(_))),
            "{text}"
        );
    }
    let long = json!({"event": "é".repeat(1000)}).to_string();
    let Ok(Message::Unknown(name)) = wire::decode(&long) else {
        panic!("a long name is a name");
    };
    assert_eq!(name.chars().count(), 64);
    assert_eq!(
        wire::decode(&"[".repeat(100_000)),
        Err(WireError::NotJson),
        "depth is bounded"
    );
}

/// Vonage checklist 17.
#[test]
fn commands_are_written_as_documented() {
    let clear: Value = serde_json::from_str(wire::CLEAR).unwrap();
    assert_eq!(clear, json!({"action": "clear"}));
    let notify: Value = serde_json::from_str(&wire::notify(MarkId(7))).unwrap();
    assert_eq!(notify["action"], "notify");
    assert!(notify["payload"].is_object());
    assert_eq!(notify.as_object().unwrap().len(), 2);
}

proptest! {
    /// Vonage checklist 29: the codec's part.
    #[test]
    fn every_mark_comes_back(mark: u64) {
        let sent: Value = serde_json::from_str(&wire::notify(MarkId(mark))).unwrap();
        let text = json!({"event": "websocket:notify", "payload": sent["payload"]}).to_string();
        match wire::decode(&text) {
            Ok(Message::Notify(payload)) => {
                prop_assert_eq!(wire::mark_of(&payload), Some(MarkId(mark)));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Vonage checklist 14.
    #[test]
    fn no_text_makes_the_codec_panic(text in ".*") {
        let _ = wire::decode(&text);
    }

    /// Vonage checklist 14.
    #[test]
    fn no_object_makes_the_codec_panic(body in odd_object(&[
        "event", "content-type", "digit", "dtmf", "duration", "payload", "active",
    ])) {
        let _ = format!("{:?}", wire::decode(&body.to_string()));
    }
}

//! What a call control object may not say.

use std::time::Duration;

use novavoice::{
    audio::SampleRate,
    private::Private,
    telephony::vonage::ncco::{
        Action, Authorization, Connect, Conversation, DtmfSettings, Input, Ncco, NccoError,
        PhoneEndpoint, Record, SpeechSettings, Stream, Talk, Transfer, Wait, WebsocketEndpoint,
    },
};
use serde_json::json;

use super::{built, socket};

const SECOND: Duration = Duration::from_secs(1);

/// Vonage checklist 36.
#[test]
fn nothing_follows_a_websocket_unless_it_is_meant_to() {
    let flow = || {
        Ncco::builder()
            .then(Connect::to(socket()))
            .then(Talk::new("Goodbye."))
    };
    assert_eq!(flow().build(), Err(NccoError::AfterWebsocket));
    let ncco = flow().allow_actions_after_websocket().build().unwrap();
    assert_eq!(ncco.actions().len(), 2);
    let phone = Ncco::builder()
        .then(Connect::to(PhoneEndpoint::new("12125550101")))
        .then(Talk::new("Goodbye."));
    assert!(phone.build().is_ok());
    let transfer = Ncco::builder()
        .then(Transfer::new("CON-1"))
        .then(Talk::new("Unheard."));
    assert_eq!(transfer.build(), Err(NccoError::AfterTransfer));
}

/// Vonage checklist 37.
#[test]
fn metadata_fits_and_keeps_off_the_sockets_own_keys() {
    // `{"k":"…"}` takes eight bytes around its value.
    assert!(built(Connect::to(socket().header("k", "x".repeat(504)))).is_ok());
    assert_eq!(
        built(Connect::to(socket().header("k", "x".repeat(505)))),
        Err(NccoError::HeadersTooLong {
            length: 513,
            max: 512
        })
    );
    assert!(matches!(
        built(Connect::to(socket().header("k", "ü".repeat(300)))),
        Err(NccoError::HeadersTooLong { .. })
    ));
    for key in ["event", "content-type"] {
        assert_eq!(
            built(Connect::to(socket().header(key, "x"))),
            Err(NccoError::ReservedHeader { key })
        );
    }
}

/// Vonage checklist 38.
#[test]
fn authorization_is_left_out_or_vonages_or_ours() {
    let with = |value: &str| {
        let custom = Authorization::Custom(Private::new(value.to_owned()));
        built(Connect::to(socket().authorization(custom)))
    };
    let plain = built(Connect::to(socket())).unwrap();
    assert_eq!(plain["endpoint"][0].get("authorization"), None);
    assert_eq!(
        with("Bearer x y~").unwrap()["endpoint"][0]["authorization"],
        json!({"type": "custom", "value": "Bearer x y~"})
    );
    assert!(with(&"x".repeat(8191)).is_ok());
    for wrong in ["", "a\r\nHost: evil", "tab\t", "ünicode", &"x".repeat(8192)] {
        assert_eq!(with(wrong), Err(NccoError::Authorization { max: 8191 }));
    }
}

/// Vonage checklist 39.
#[test]
fn numbers_are_digits_and_the_caller_is_chosen_once() {
    let from = |number: &str| {
        built(Connect::to(PhoneEndpoint::new("12125550101")).from(number))
            .map(|action| action["from"].clone())
    };
    for spelling in [
        "442079460000",
        "+442079460000",
        " +44 20-7946 (0000) ",
        "44.20.79460000",
    ] {
        assert_eq!(from(spelling), Ok(json!("442079460000")));
    }
    for wrong in [
        "",
        "+",
        "123456",
        "1234567890123456",
        "0207946000",
        "44207946000x",
        "++442079460000",
        "٤٤٢٠٧٩٤٦٠٠٠٠",
    ] {
        assert_eq!(
            from(wrong),
            Err(NccoError::Number { field: "from" }),
            "{wrong}"
        );
    }
    let both = Connect::to(socket())
        .from("442079460000")
        .random_from_number();
    assert_eq!(built(both), Err(NccoError::TwoCallers));
}

/// Vonage checklist 40.
#[test]
fn limits_hold_at_both_ends() {
    fn check(field: &str, good: Vec<Action>, bad: Vec<Action>) {
        for action in good {
            assert!(built(action.clone()).is_ok(), "{field} refuses {action:?}");
        }
        for action in bad {
            match built(action.clone()) {
                Err(
                    NccoError::OutOfRange { field: named, .. }
                    | NccoError::NotWhole { field: named },
                ) => {
                    assert_eq!(named, field);
                }
                other => panic!("{field} of {action:?} gave {other:?}"),
            }
        }
    }
    let ms = Duration::from_millis;
    let connect = || Connect::to(socket());
    let all = |values: &[u64], make: &dyn Fn(Duration) -> Action| {
        values
            .iter()
            .map(|value| make(ms(*value)))
            .collect::<Vec<_>>()
    };

    let timeout = |value| connect().timeout(value).into();
    check(
        "timeout",
        all(&[3000, 7_200_000], &timeout),
        all(&[2000, 3500, 7_201_000], &timeout),
    );
    let limit = |value| connect().limit(value).into();
    check(
        "limit",
        all(&[1000, 7_200_000], &limit),
        all(&[0, 7_201_000], &limit),
    );
    let wait = |value| Wait::new(value).into();
    check(
        "timeout",
        all(&[100, 7_200_000], &wait),
        all(&[99, 7_200_001], &wait),
    );
    let silence = |value| {
        Input::speech()
            .speech_settings(SpeechSettings::default().end_on_silence(value))
            .into()
    };
    check(
        "speech.endOnSilence",
        all(&[400, 10_000], &silence),
        all(&[399, 10_001], &silence),
    );
    let start = |value| {
        Input::speech()
            .speech_settings(SpeechSettings::default().start_timeout(value))
            .into()
    };
    check(
        "speech.startTimeout",
        all(&[1000, 60_000], &start),
        all(&[0, 61_000], &start),
    );
    let longest = |value| {
        Input::speech()
            .speech_settings(SpeechSettings::default().max_duration(value))
            .into()
    };
    check(
        "speech.maxDuration",
        all(&[1000, 60_000], &longest),
        all(&[0, 61_000], &longest),
    );
    let keys = |value| {
        Input::dtmf()
            .dtmf_settings(DtmfSettings::default().time_out(value))
            .into()
    };
    check(
        "dtmf.timeOut",
        all(&[0, 10_000], &keys),
        all(&[11_000], &keys),
    );
    let recorded = |value| Record::new().time_out(value).into();
    check(
        "timeOut",
        all(&[3000, 7_200_000], &recorded),
        all(&[2000, 7_201_000], &recorded),
    );
    let quiet = |value| Record::new().end_on_silence(value).into();
    check(
        "endOnSilence",
        all(&[3000, 10_000], &quiet),
        all(&[2000, 11_000], &quiet),
    );

    let level = |level| Talk::new("x").level(level).into();
    check(
        "level",
        [-1.0, 0.0, 1.0].map(level).into(),
        [-1.01, 1.01, f64::NAN, f64::INFINITY].map(level).into(),
    );
    let digits = |digits| {
        Input::dtmf()
            .dtmf_settings(DtmfSettings::default().max_digits(digits))
            .into()
    };
    check(
        "dtmf.maxDigits",
        [1, 20].map(digits).into(),
        [0, 21].map(digits).into(),
    );
    let sensitivity = |value| {
        Input::speech()
            .speech_settings(SpeechSettings::default().sensitivity(value))
            .into()
    };
    check(
        "speech.sensitivity",
        [10, 100].map(sensitivity).into(),
        [9, 101].map(sensitivity).into(),
    );
    let channels = |channels| Record::new().channels(channels).into();
    check(
        "channels",
        [1, 32].map(channels).into(),
        [0, 33].map(channels).into(),
    );

    assert!(built(Talk::new("é".repeat(1500))).is_ok());
    assert_eq!(
        built(Talk::new("é".repeat(1501))),
        Err(NccoError::TooLong {
            field: "text",
            length: 1501,
            max: 1500
        })
    );
    assert_eq!(
        built(Talk::new("  ")),
        Err(NccoError::Empty { field: "text" })
    );
}

/// Vonage checklist 41.
#[test]
fn speech_can_be_interrupted_only_where_somebody_listens() {
    let start = || Ncco::builder().then(Talk::new("Press one.").barge_in());
    assert_eq!(start().build(), Err(NccoError::BargeInWithoutInput));
    let waits = start().then(Wait::new(SECOND)).then(Input::dtmf());
    assert_eq!(waits.build(), Err(NccoError::BargeInWithoutInput));
    let listens = start()
        .then(Stream::new("https://a.example/x.mp3").barge_in())
        .then(Talk::new("Or two."))
        .then(Input::dtmf());
    let written = listens.build().unwrap().to_json();
    assert!(written.contains(r#""bargeIn":true"#), "{written}");
}

/// Vonage checklist 42.
#[test]
fn asynchronous_input_takes_bare_keys() {
    for input in [
        Input::speech().asynchronous(),
        Input::dtmf_or_speech().asynchronous(),
        Input::dtmf()
            .dtmf_settings(DtmfSettings::default())
            .asynchronous(),
    ] {
        assert_eq!(built(input), Err(NccoError::AsynchronousInput));
    }
    let unused = Input::dtmf().speech_settings(SpeechSettings::default());
    assert_eq!(built(unused), Err(NccoError::UnusedSettings));
}

/// Vonage checklist 43.
#[test]
fn a_socket_is_encrypted_unless_it_says_otherwise() {
    let at = |uri: &str| WebsocketEndpoint::new(uri, SampleRate::Hz8000);
    let build = |endpoint| built(Connect::to(endpoint)).map(|_| ());
    assert_eq!(build(at("wss://a.example/s")), Ok(()));
    assert_eq!(
        build(at("ws://127.0.0.1:3000/s")),
        Err(NccoError::InsecureWebsocket)
    );
    assert_eq!(build(at("ws://127.0.0.1:3000/s").insecure()), Ok(()));
    for wrong in [
        "",
        "https://a.example/s",
        "a.example/s",
        "wss://",
        "sip:a@b",
    ] {
        assert_eq!(
            build(at(wrong).insecure()),
            Err(NccoError::WebsocketUri),
            "{wrong}"
        );
    }
}

#[test]
fn other_contradictions_are_refused() {
    let muted = Conversation::new("room").mute().can_speak([]);
    assert_eq!(built(muted), Err(NccoError::MuteWithCanSpeak));
    let ringing = PhoneEndpoint::new("12125550101")
        .on_answer_with_ringback("https://a.example/w", "https://a.example/t.mp3");
    let ringing = Connect::to(ringing).ringback_tone("https://a.example/other.mp3");
    assert_eq!(built(ringing), Err(NccoError::TwoRingbackTones));
    assert!(matches!(
        built(Connect::to(
            PhoneEndpoint::new("12125550101").dtmf_answer("1,2")
        )),
        Err(NccoError::Keys {
            field: "dtmfAnswer",
            ..
        })
    ));
    assert!(matches!(
        built(Record::new().end_on_key('A')),
        Err(NccoError::Keys {
            field: "endOnKey",
            ..
        })
    ));
    for url in ["", "a.example", "ftp://a.example"] {
        assert_eq!(
            built(Stream::new(url)),
            Err(NccoError::Url { field: "streamUrl" })
        );
    }
}

#[test]
fn neither_an_ncco_nor_its_errors_print_what_is_private() {
    let endpoint = socket()
        .header("from", "447700900000")
        .authorization(Authorization::Custom(Private::new("hush".to_owned())));
    let ncco = Ncco::builder()
        .then(Talk::new("Hello Alice"))
        .then(Connect::to(endpoint).from("442079460000"))
        .build()
        .unwrap();
    let error = built(Connect::to(PhoneEndpoint::new("0447700900000"))).unwrap_err();
    let printed = format!("{ncco:?} {error} {error:?}");
    for private in ["447700900000", "hush", "Alice", "442079460000", "token=t"] {
        assert!(!printed.contains(private), "{printed}");
    }
}

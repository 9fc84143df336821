//! Call control objects.

use std::time::Duration;

use novavoice::telephony::vonage::ncco::{
    AdvancedMachineDetection, Authorization, Connect, Conversation, DetectionMode, DtmfSettings,
    Endpoint, Input, Method, Ncco, Notify, OnMachine, PhoneEndpoint, Record, RecordFormat,
    SipEndpoint, SpeechSettings, Stream, Talk, Transcription, Transfer, Wait,
};
use serde_json::{Value, json};

use super::{built, socket};

const SECOND: Duration = Duration::from_secs(1);

/// Vonage checklist 34 and 35.
#[test]
fn an_agents_ncco_looks_as_documented() {
    let endpoint = socket()
        .header("uuid", "63f61863-4a51-4f6b-86e1-46edebcf9356")
        .authorization(Authorization::Vonage);
    let ncco = Ncco::builder()
        .then(
            Talk::new("One moment.")
                .language("en-GB")
                .style(2)
                .premium()
                .level(-0.5),
        )
        .then(
            Connect::to(endpoint)
                .synchronous_events()
                .event_url("https://agent.example.com/events", Method::Post)
                .from("+44 20 7946-0000")
                .limit(Duration::from_secs(7200)),
        )
        .build()
        .unwrap();
    let written: Value = serde_json::from_str(&ncco.to_json()).unwrap();
    assert_eq!(
        written,
        json!([
            {"action": "talk", "text": "One moment.", "language": "en-GB", "style": 2,
             "premium": true, "level": -0.5},
            {"action": "connect", "eventType": "synchronous", "from": "442079460000",
             "eventUrl": ["https://agent.example.com/events"], "eventMethod": "POST",
             "limit": 7200,
             "endpoint": [{
                "type": "websocket", "uri": "wss://agent.example.com/socket?token=t",
                "content-type": "audio/l16;rate=16000",
                "headers": {"uuid": "63f61863-4a51-4f6b-86e1-46edebcf9356"},
                "authorization": {"type": "vonage"},
             }]},
        ])
    );
    assert!(!ncco.to_json().contains("contentType"));
    assert_eq!(serde_json::to_value(&ncco).unwrap(), written);
    assert_eq!(Ncco::builder().build().unwrap().to_json(), "[]");
}

/// Vonage checklist 35.
#[test]
fn addresses_stand_in_arrays() {
    let stream = built(Stream::new("https://a.example/x.mp3").level(1.0).repeat(0)).unwrap();
    assert_eq!(
        stream,
        json!({"action": "stream", "streamUrl": ["https://a.example/x.mp3"], "level": 1.0, "loop": 0})
    );
    let conversation = Conversation::new("room")
        .music_on_hold("https://a.example/hold.mp3")
        .wait_for_start()
        .end_on_exit()
        .record()
        .can_hear(["a".to_owned()])
        .can_speak([])
        .transcription(Transcription::new().language("en-US").sentiment_analysis())
        .event_url("https://a.example/e", Method::Get);
    assert_eq!(
        built(conversation).unwrap(),
        json!({"action": "conversation", "name": "room",
            "musicOnHoldUrl": ["https://a.example/hold.mp3"], "startOnEnter": false,
            "endOnExit": true, "record": true, "canHear": ["a"], "canSpeak": [],
            "transcription": {"language": "en-US", "sentimentAnalysis": true},
            "eventUrl": ["https://a.example/e"], "eventMethod": "GET"})
    );
}

#[test]
fn every_other_action_is_written_as_documented() {
    let record = Record::new()
        .format(RecordFormat::Wav)
        .channels(2)
        .end_on_silence(3 * SECOND)
        .end_on_key('#')
        .time_out(60 * SECOND)
        .beep_start()
        .event_url("https://a.example/r", Method::Post);
    assert_eq!(
        built(record).unwrap(),
        json!({"action": "record", "format": "wav", "split": "conversation", "channels": 2,
            "endOnSilence": 3, "endOnKey": "#", "timeOut": 60, "beepStart": true,
            "eventUrl": ["https://a.example/r"], "eventMethod": "POST"})
    );
    assert_eq!(built(Record::new()).unwrap(), json!({"action": "record"}));

    let input = Input::dtmf_or_speech()
        .dtmf_settings(
            DtmfSettings::default()
                .max_digits(1)
                .time_out(10 * SECOND)
                .submit_on_hash(),
        )
        .speech_settings(
            SpeechSettings::default()
                .leg("u")
                .end_on_silence(Duration::from_millis(400))
                .language("en-US")
                .hint("yes")
                .start_timeout(SECOND)
                .max_duration(60 * SECOND)
                .save_audio()
                .sensitivity(10),
        );
    assert_eq!(
        built(input).unwrap(),
        json!({"action": "input", "type": ["dtmf", "speech"],
            "dtmf": {"maxDigits": 1, "timeOut": 10, "submitOnHash": true},
            "speech": {"uuid": ["u"], "endOnSilence": 0.4, "language": "en-US",
                "context": ["yes"], "startTimeout": 1, "maxDuration": 60, "saveAudio": true,
                "sensitivity": 10}})
    );
    assert_eq!(
        built(Input::dtmf().asynchronous()).unwrap(),
        json!({"action": "input", "type": ["dtmf"], "mode": "asynchronous"})
    );

    let payload = json!({"a": {"b": 1}}).as_object().unwrap().clone();
    assert_eq!(
        built(Notify::new(payload, "https://a.example/n").method(Method::Post)).unwrap(),
        json!({"action": "notify", "payload": {"a": {"b": 1}},
            "eventUrl": ["https://a.example/n"], "eventMethod": "POST"})
    );
    assert_eq!(
        built(Wait::new(Duration::from_millis(500))).unwrap(),
        json!({"action": "wait", "timeout": 0.5})
    );
    assert_eq!(
        built(
            Transfer::new("CON-1")
                .can_hear(["a".to_owned()])
                .can_speak([])
                .mute()
        )
        .unwrap(),
        json!({"action": "transfer", "conversationId": "CON-1", "canHear": ["a"],
            "canSpeak": [], "mute": true})
    );
}

#[test]
fn every_endpoint_is_written_as_documented() {
    let written = |endpoint: Endpoint| {
        let mut action = built(Connect::to(endpoint)).unwrap();
        action["endpoint"][0].take()
    };
    let phone = PhoneEndpoint::new("+1 (212) 555-0101")
        .dtmf_answer("1p2#")
        .on_answer_with_ringback("https://a.example/w", "https://a.example/t.mp3")
        .shaken("identity");
    assert_eq!(
        written(phone.into()),
        json!({"type": "phone", "number": "12125550101", "dtmfAnswer": "1p2#",
            "onAnswer": {"url": "https://a.example/w", "ringbackTone": "https://a.example/t.mp3"},
            "shaken": "identity"})
    );
    assert_eq!(
        written(Endpoint::app("alice")),
        json!({"type": "app", "user": "alice"})
    );
    assert_eq!(
        written(Endpoint::vbc("111")),
        json!({"type": "vbc", "extension": "111"})
    );
    let sip = SipEndpoint::uri("sip:desk@sip.example.com;transport=tls")
        .header("tenant", "7")
        .user_to_user("x");
    assert_eq!(
        written(sip.into()),
        json!({"type": "sip", "uri": "sip:desk@sip.example.com;transport=tls",
            "headers": {"tenant": "7"}, "standardHeaders": {"User-to-User": "x"}})
    );
    assert_eq!(
        written(SipEndpoint::user("desk", "acme").into()),
        json!({"type": "sip", "user": "desk", "domain": "acme"})
    );
}

#[test]
fn machine_detection_keeps_its_snake_case() {
    let detection = |seconds| {
        AdvancedMachineDetection::new(DetectionMode::DetectBeep, OnMachine::Continue)
            .beep_timeout(Duration::from_secs(seconds))
    };
    let connect = Connect::to(PhoneEndpoint::new("12125550101"))
        .machine_detection(OnMachine::Hangup)
        .advanced_machine_detection(detection(60))
        .random_from_number();
    let written = built(connect).unwrap();
    assert_eq!(written["machineDetection"], "hangup");
    assert_eq!(written["randomFromNumber"], true);
    assert_eq!(
        written["advancedMachineDetection"],
        json!({"behavior": "continue", "mode": "detect_beep", "beep_timeout": 60})
    );
    for (asked, held) in [(0, 45), (30, 45), (500, 120)] {
        let written = serde_json::to_value(detection(asked)).unwrap();
        assert_eq!(written["beep_timeout"], held);
    }
}

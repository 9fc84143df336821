//! A call's leg over Vonage's sockets.

use std::time::Duration;

use bytes::Bytes;
use novavoice::{
    answer::CarrierVerdict,
    audio::{AudioFrame, SampleRate},
    call::Direction,
    telephony::{CallCommand, CallEvent, Leg, MarkId, Show, Telephony},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    carrier::{CALL, Carrier, claims, sign, sign_with, socket_leg},
    line::{command, event},
};

const RATE: SampleRate = SampleRate::Hz16000;

pub(crate) fn frame(value: u8) -> AudioFrame {
    AudioFrame::new(Bytes::from(vec![value; 640]), RATE)
}

pub(crate) async fn play(leg: &Leg, value: u8) {
    command(leg, CallCommand::Play(frame(value))).await;
}

pub(crate) async fn ended(leg: &mut Leg) {
    assert_eq!(event(leg).await, Some(CallEvent::HungUp));
    assert_eq!(event(leg).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_socket_brings_a_leg_that_knows_its_call() {
    let carrier = Carrier::new();
    let (_socket, leg) = carrier.call().await;
    let info = &leg.info;
    assert_eq!(info.id.as_str(), CALL);
    assert_eq!((info.direction, info.rate), (Direction::Inbound, RATE));
    assert_eq!(info.remote.as_ref().unwrap().reveal(), "447700900000");
    assert_eq!(info.local.as_ref().unwrap().reveal(), "442079460000");
    assert_eq!((info.leg.marks, info.leg.text), (true, false));
}

#[tokio::test(start_paused = true)]
async fn an_outbound_call_has_its_ends_the_other_way_round() {
    let carrier = Carrier::new();
    let reply = carrier
        .post("/outbound/webhooks/answer", &crate::carrier::inbound())
        .await;
    let _socket = carrier.open(&reply.endpoint()).await;
    let info = carrier.vonage.answer().await.unwrap().info;
    assert_eq!(info.direction, Direction::Outbound);
    assert_eq!(info.remote.unwrap().reveal(), "442079460000");
}

/// Any node takes any socket: what the webhook told another one stands in the metadata.
#[tokio::test(start_paused = true)]
async fn a_socket_may_come_to_another_node_than_its_webhook() {
    let tokens = novavoice::telephony::channel::ChannelTokens::derived("shared");
    let (one, two) = (tokens.clone(), tokens);
    let one = Carrier::with(|config| config.tokens = one);
    let two = Carrier::with(|config| config.tokens = two);
    let endpoint = one.answer().await.endpoint();
    let _socket = two.open(&endpoint).await;
    let info = two.vonage.answer().await.unwrap().info;
    assert_eq!(info.id.as_str(), CALL);
    assert_eq!(info.remote.unwrap().reveal(), "447700900000");
}

/// Vonage checklist 1 and 6: whatever was asked for, the rate of the first message counts.
#[tokio::test(start_paused = true)]
async fn the_first_message_decides_the_rate() {
    for rate in SampleRate::ALL {
        let carrier = Carrier::new();
        let mut endpoint = carrier.answer().await.endpoint();
        endpoint["content-type"] = format!("audio/l16;rate={}", rate.hertz()).into();
        let mut socket = carrier.open(&endpoint).await;
        let mut leg = carrier.vonage.answer().await.unwrap();
        assert_eq!(leg.info.rate, rate);
        socket.audio(vec![1; rate.bytes_per_frame()]).await;
        let heard = event(&mut leg).await;
        assert!(matches!(heard, Some(CallEvent::Audio(frame)) if frame.rate() == rate));
        command(&leg, CallCommand::Play(AudioFrame::silence(rate))).await;
        assert_eq!(socket.message().await.len(), rate.bytes_per_frame());
    }
}

/// Vonage checklist 5.
#[tokio::test(start_paused = true)]
async fn audio_that_nobody_understands_closes_with_1003() {
    for format in ["audio/l16;rate=44100", "audio/pcmu;rate=8000", ""] {
        let carrier = Carrier::new();
        let mut endpoint = carrier.answer().await.endpoint();
        endpoint["content-type"] = format.into();
        let mut socket = carrier.open(&endpoint).await;
        assert_eq!(socket.close_code().await, CloseCode::Unsupported);
    }
}

/// Vonage checklist 3, 4 and 7: spaces before the first message, no `event` in it, and audio
/// before it.
#[tokio::test(start_paused = true)]
async fn the_manners_of_old_bridges_are_understood() {
    let carrier = Carrier::new();
    let endpoint = carrier.answer().await.endpoint();
    let uri = endpoint["uri"].as_str().unwrap();
    let mut socket = carrier.server.connect(uri).await;
    socket.audio(vec![3; 640]).await;
    socket.text("hello?").await;
    socket
        .text(" \n {\"content-type\":\"audio/l16;rate=16000\"}")
        .await;
    socket.audio(vec![4; 640]).await;
    let mut leg = carrier.vonage.answer().await.unwrap();
    for value in [3, 4] {
        assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(value))));
    }
}

/// Vonage checklist 9 and 10.
#[tokio::test(start_paused = true)]
async fn audio_of_any_length_keeps_its_samples_whole() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    let pcm: Vec<u8> = (0..1280u32).map(|i| i.to_le_bytes()[0]).collect();
    for chunk in [&pcm[..3], &pcm[3..642], &pcm[642..643], &pcm[643..]] {
        socket.audio(chunk).await;
    }
    for half in pcm.chunks(640) {
        let whole = AudioFrame::new(Bytes::copy_from_slice(half), RATE);
        assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(whole)));
    }
}

/// Vonage checklist 11, 12, 13, 14 and 15.
#[tokio::test(start_paused = true)]
async fn messages_become_events_and_nonsense_becomes_nothing() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    for text in [
        r#"{"event":"websocket:dtmf","digit":"5","duration":260}"#,
        r##"{"event":"websocket:dtmf","digit":"#"}"##,
        r#"{"digit":"0","duration":260}"#,
        r#"{"dtmf":{"digit":"*"}}"#,
        r#"{"event":"websocket:media:update","active":false}"#,
        r#"{"event":"websocket:media:update","active":true}"#,
        r#"{"event":"websocket:cleared"}"#,
        r#"{"event":"websocket:disconnected"}"#,
        r#"{"event":"websocket:notify","payload":{"mark":"9"}}"#,
        r#"{"event":"websocket:levitate"}"#,
        r#"{"event":"websocket:connected","content-type":"audio/l16;rate=8000"}"#,
        "[1,2]",
        "{",
        "",
    ] {
        socket.text(text).await;
    }
    let text = br#"{"event":"websocket:dtmf","digit":"1"}"#;
    let mut binary = text.to_vec();
    binary.resize(640, b' ');
    socket.audio(binary.clone()).await;
    for wanted in [
        CallEvent::Dtmf('5'),
        CallEvent::Dtmf('#'),
        CallEvent::Dtmf('0'),
        CallEvent::Dtmf('*'),
        CallEvent::Muted(true),
        CallEvent::Muted(false),
        CallEvent::Audio(AudioFrame::new(binary.into(), RATE)),
    ] {
        assert_eq!(event(&mut leg).await, Some(wanted));
    }
}

/// Vonage checklist 49: verdicts name their leg in a field of their own.
#[tokio::test(start_paused = true)]
async fn verdicts_of_machine_detection_reach_the_leg_that_they_are_about() {
    let carrier = Carrier::new();
    let (_socket, mut leg) = carrier.call().await;
    let status = |call: &str, status: &str, sub_state: Value| json!({"call_uuid": call, "status": status, "sub_state": sub_state, "timestamp": "2026-06-22T20:35:32.000Z"});
    for (call, word, sub_state) in [
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "machine", Value::Null),
        (CALL, "human", Value::Null),
        (CALL, "machine", Value::Null),
        (CALL, "machine", json!("beep_timeout")),
        (CALL, "machine", json!("beep_start")),
    ] {
        let reply = carrier.event(&status(call, word, sub_state)).await;
        assert_eq!(reply.status, 200);
    }
    for verdict in [
        CarrierVerdict::Human,
        CarrierVerdict::Machine,
        CarrierVerdict::BeepTimeout,
        CarrierVerdict::BeepStart,
    ] {
        assert_eq!(event(&mut leg).await, Some(CallEvent::AnsweredBy(verdict)));
    }
}

/// Vonage checklist 18, 29 and 31: frames go out bit for bit as binary messages, marks in their
/// places as text, and nothing else.
#[tokio::test(start_paused = true)]
async fn frames_and_marks_go_out_in_order() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    play(&leg, 1).await;
    command(&leg, CallCommand::Mark(MarkId(7))).await;
    command(&leg, CallCommand::Show(Show::ReplyStarted)).await;
    play(&leg, 2).await;
    assert_eq!(socket.message().await, Message::binary(vec![1; 640]));
    let mark = socket.json().await;
    assert_eq!(mark["action"], "notify");
    assert_eq!(socket.message().await, Message::binary(vec![2; 640]));
    assert_eq!(socket.within(Duration::from_secs(15)).await, []);
    let played = json!({"event": "websocket:notify", "payload": mark["payload"]});
    for _ in 0..2 {
        socket.text(&played.to_string()).await;
    }
    socket.audio(vec![9; 640]).await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Played(MarkId(7))));
    assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(9))));
}

/// Vonage checklist 27 and 28: one clear, and no word of the marks that it took.
#[tokio::test(start_paused = true)]
async fn a_clear_goes_out_once_and_silences_its_marks() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    play(&leg, 1).await;
    command(&leg, CallCommand::Mark(MarkId(1))).await;
    assert!(socket.message().await.is_binary());
    let mark = socket.json().await;
    for _ in 0..3 {
        command(&leg, CallCommand::Clear).await;
    }
    let messages = socket.within(Duration::from_secs(1)).await;
    assert_eq!(messages, [Message::text(r#"{"action":"clear"}"#)]);
    let late = json!({"event": "websocket:notify", "payload": mark["payload"]});
    socket.text(&late.to_string()).await;
    socket.audio(vec![9; 640]).await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(9))));
}

/// Vonage checklist 25: however fast the agent talks and interrupts itself, after a clear
/// nothing older is heard.
#[tokio::test(start_paused = true)]
async fn nothing_older_follows_a_clear_under_stress() {
    let carrier = Carrier::new();
    let (mut socket, leg) = carrier.call().await;
    let agent = tokio::spawn(async move {
        for generation in 0..100 {
            for _ in 0..generation % 37 {
                play(&leg, generation).await;
            }
            command(&leg, CallCommand::Clear).await;
            if generation % 5 == 0 {
                tokio::task::yield_now().await;
            }
        }
        play(&leg, 200).await;
        leg
    });
    let (mut newest, mut oldest_allowed, mut clears) = (0, 0, 0);
    while newest != 200 {
        match socket.message().await {
            Message::Binary(pcm) => {
                assert_eq!(pcm.len(), 640);
                assert!(pcm[0] >= oldest_allowed, "{} after {newest}", pcm[0]);
                assert!(pcm[0] >= newest);
                newest = pcm[0];
            }
            Message::Text(text) => {
                assert_eq!(text.as_str(), r#"{"action":"clear"}"#);
                oldest_allowed = newest + 1;
                clears += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(clears > 0);
    drop(agent.await.unwrap());
}

/// Vonage checklist 33: an agent that does not listen costs audio, never memory, and never a
/// key press.
#[tokio::test(start_paused = true)]
async fn a_slow_agent_loses_audio_and_no_key() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    for _ in 0..500 {
        socket.audio(vec![1; 640]).await;
    }
    socket
        .text(r#"{"event":"websocket:dtmf","digit":"5"}"#)
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut frames = 0;
    loop {
        match event(&mut leg).await {
            Some(CallEvent::Audio(_)) => frames += 1,
            other => break assert_eq!(other, Some(CallEvent::Dtmf('5'))),
        }
    }
    assert_eq!(frames, 25);
}

#[tokio::test(start_paused = true)]
async fn the_agent_hangs_up_after_its_last_frame() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    play(&leg, 1).await;
    command(&leg, CallCommand::HangUp { apologise: false }).await;
    assert!(socket.message().await.is_binary());
    assert_eq!(socket.close_code().await, CloseCode::Normal);
    ended(&mut leg).await;
    let endpoint = json!({"uri": "wss://x", "headers": {"uuid": CALL}});
    let lost = socket_leg("disconnected", "ws-1", &endpoint);
    assert!(carrier.event(&lost).await.is_empty(), "we ended it");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_leg_hangs_up() {
    let carrier = Carrier::new();
    let (mut socket, leg) = carrier.call().await;
    drop(leg);
    assert_eq!(socket.close_code().await, CloseCode::Normal);
}

/// Vonage checklist 16 and 80: however the socket ends, the leg says so once.
/// A call that goes to somebody else loses its socket at once, and nobody waits for another one.
/// Vonage checklist 64: an upgrade that claims to come from Vonage must prove it.
#[tokio::test(start_paused = true)]
async fn a_signed_upgrade_is_verified_and_an_unsigned_one_is_let_in_by_its_token() {
    let carrier = Carrier::new();
    let connect = async |authorization: Option<&str>| {
        let endpoint = carrier.answer().await.endpoint();
        let uri = endpoint["uri"].as_str().unwrap();
        let socket = carrier.server.try_connect_as(uri, authorization).await;
        socket.map(drop).map_err(|(status, _): (u16, Value)| status)
    };
    assert_eq!(connect(None).await, Ok(()));
    assert_eq!(connect(Some(&sign(&claims(b"")))).await, Ok(()));
    let wrong = sign_with("another secret", &claims(b""));
    assert_eq!(connect(Some(&wrong)).await, Err(403));
    assert_eq!(connect(Some("Bearer x")).await, Err(403));
}

#[tokio::test(start_paused = true)]
async fn a_closed_line_takes_no_more_calls() {
    let carrier = Carrier::new();
    carrier.vonage.close();
    let endpoint = carrier.answer().await.endpoint();
    let mut socket = carrier.open(&endpoint).await;
    assert_eq!(socket.close_code().await, CloseCode::Again);
    assert!(carrier.vonage.answer().await.is_err());
}

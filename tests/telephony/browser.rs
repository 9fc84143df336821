//! A browser's call.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use novavoice::{
    audio::{AudioFrame, SampleRate},
    call::Direction,
    telephony::{
        CallCommand, CallEvent, Leg, Show, Telephony,
        admission::Admission,
        browser::{self, Browser, BrowserConfig},
        channel::ChannelTokens,
    },
    transcript::Speaker,
};
use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::line::{Server, Socket, command, event};

const RATE: SampleRate = SampleRate::Hz16000;

struct Call {
    browser: Browser,
    socket: Socket,
    id: String,
}

/// A client that has connected and said nothing.
async fn connected(extra: &str) -> Call {
    connected_with(extra, |_| {}).await
}

async fn connected_with(extra: &str, set: impl FnOnce(&mut BrowserConfig)) -> Call {
    let mut config = BrowserConfig::new("https://esther.test", ChannelTokens::random());
    set(&mut config);
    let browser = Browser::new(config);
    let server = Server::start(browser::router(&browser));
    let channel = browser.create_channel(Timestamp::now());
    let url = channel.url.reveal();
    assert!(url.starts_with("wss://esther.test/socket?channel="));
    let socket = server.connect(&format!("{url}{extra}")).await;
    Call {
        browser,
        socket,
        id: channel.id,
    }
}

async fn talking(extra: &str) -> (Call, Leg) {
    let mut call = connected(extra).await;
    call.socket.text(r#"{"type":"audioStart"}"#).await;
    let leg = call.browser.answer().await.unwrap();
    (call, leg)
}

fn frame(value: u8) -> AudioFrame {
    AudioFrame::new(Bytes::from(vec![value; 640]), RATE)
}

#[tokio::test(start_paused = true)]
async fn a_call_starts_with_audio_start_and_its_own_instructions() {
    let mut call = connected("").await;
    call.socket.text(r#"{"type":"promptStart"}"#).await;
    let prompt = json!({"type": "systemPrompt", "data": {"text": "Be brief."}});
    call.socket.text(&prompt.to_string()).await;
    call.socket.text(r#"{"type":"audioStart"}"#).await;
    let leg = call.browser.answer().await.unwrap();
    assert_eq!(leg.info.id.as_str(), call.id);
    assert_eq!(leg.info.direction, Direction::Inbound);
    assert_eq!(leg.info.rate, RATE);
    assert_eq!((leg.info.leg.marks, leg.info.leg.text), (false, true));
    assert_eq!(leg.info.instructions.as_deref(), Some("Be brief."));
}

#[tokio::test(start_paused = true)]
async fn a_call_starts_with_the_first_audio_after_another_control() {
    let mut call = connected("").await;
    call.socket.audio(vec![1; 640]).await;
    call.socket.text(r#"{"type":"promptStart"}"#).await;
    call.socket.audio(vec![2; 640]).await;
    let mut leg = call.browser.answer().await.unwrap();
    for value in [1, 2] {
        assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(value))));
    }
}

#[tokio::test(start_paused = true)]
async fn too_long_a_prompt_is_refused_and_the_call_goes_on() {
    let mut call = connected("").await;
    let prompt = json!({"type": "systemPrompt", "data": "x".repeat(51_201)});
    call.socket.text(&prompt.to_string()).await;
    let error = call.socket.json().await;
    assert!(
        error["event"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("50 KB")
    );
    call.socket.text(r#"{"type":"audioStart"}"#).await;
    assert_eq!(call.browser.answer().await.unwrap().info.instructions, None);
}

/// Vonage checklist 9 and 10, which hold for browsers too.
#[tokio::test(start_paused = true)]
async fn audio_of_any_length_arrives_as_whole_frames() {
    let (mut call, mut leg) = talking("").await;
    let pcm: Vec<u8> = (0..1280u32).map(|i| i.to_le_bytes()[0]).collect();
    for chunk in [&pcm[..1], &pcm[1..334], &pcm[334..1001], &pcm[1001..]] {
        call.socket.audio(chunk).await;
    }
    for half in pcm.chunks(640) {
        let whole = AudioFrame::new(Bytes::copy_from_slice(half), RATE);
        assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(whole)));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_come_back_bit_for_bit_as_base64_or_binary() {
    for binary in [false, true] {
        let (mut call, leg) = talking(if binary { "&audio=binary" } else { "" }).await;
        for value in 1..=3 {
            command(&leg, CallCommand::Play(frame(value))).await;
        }
        for value in 1..=3 {
            let message = call.socket.message().await;
            let pcm = if binary {
                assert!(message.is_binary());
                message.into_data().to_vec()
            } else {
                let json: serde_json::Value =
                    serde_json::from_str(message.to_text().unwrap()).unwrap();
                let content = json["event"]["audioOutput"]["content"].as_str().unwrap();
                BASE64_STANDARD.decode(content).unwrap()
            };
            assert_eq!(pcm, [value; 640]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn words_are_shown_in_order_between_the_frames() {
    let (mut call, leg) = talking("&audio=binary").await;
    command(&leg, CallCommand::Show(Show::ReplyStarted)).await;
    let text = "Hello".to_owned();
    let speaker = Speaker::Agent;
    command(&leg, CallCommand::Show(Show::Text { speaker, text })).await;
    command(&leg, CallCommand::Play(frame(1))).await;
    let interrupted = false;
    command(&leg, CallCommand::Show(Show::ReplyEnded { interrupted })).await;
    for wanted in [
        json!({"contentStart": {"type": "AUDIO", "role": "ASSISTANT"}}),
        json!({"contentStart": {"type": "TEXT", "role": "ASSISTANT"}}),
        json!({"textOutput": {"content": "Hello", "role": "ASSISTANT"}}),
        json!({"contentEnd": {"type": "TEXT"}}),
    ] {
        assert_eq!(call.socket.json().await["event"], wanted);
    }
    assert!(call.socket.message().await.is_binary());
    let end = json!({"contentEnd": {"type": "AUDIO", "stopReason": "END_TURN"}});
    assert_eq!(call.socket.json().await["event"], end);
}

#[tokio::test(start_paused = true)]
async fn an_interruption_reaches_the_client_once() {
    let (mut call, leg) = talking("&audio=binary").await;
    command(&leg, CallCommand::Play(frame(1))).await;
    assert!(call.socket.message().await.is_binary());
    command(&leg, CallCommand::Clear).await;
    command(&leg, CallCommand::Clear).await;
    let messages = call.socket.within(Duration::from_secs(1)).await;
    let json = json!({"event": {"textOutput":
        {"content": "{ \"interrupted\" : true }", "role": "ASSISTANT"}}});
    assert_eq!(messages, [Message::text(json.to_string())]);
}

#[tokio::test(start_paused = true)]
async fn stop_audio_hangs_up_after_the_last_words() {
    let (mut call, mut leg) = talking("").await;
    call.socket.audio(vec![5; 100]).await;
    call.socket.text(r#"{"type":"stopAudio"}"#).await;
    assert!(matches!(event(&mut leg).await, Some(CallEvent::Audio(_))));
    assert_eq!(event(&mut leg).await, Some(CallEvent::HungUp));
    assert_eq!(event(&mut leg).await, None);
    command(&leg, CallCommand::Play(frame(1))).await;
    let (speaker, text) = (Speaker::Caller, "Bye".to_owned());
    command(&leg, CallCommand::Show(Show::Text { speaker, text })).await;
    drop(leg);
    for part in ["contentStart", "textOutput", "contentEnd"] {
        assert!(call.socket.json().await["event"][part].is_object());
    }
    assert_eq!(call.socket.close_code().await, CloseCode::Normal);
}

#[tokio::test(start_paused = true)]
async fn the_agent_hangs_up_or_drops_the_leg() {
    let (mut call, mut leg) = talking("").await;
    command(&leg, CallCommand::HangUp { apologise: false }).await;
    assert_eq!(call.socket.close_code().await, CloseCode::Normal);
    assert_eq!(event(&mut leg).await, Some(CallEvent::HungUp));
    assert_eq!(event(&mut leg).await, None);
    let (mut call, leg) = talking("").await;
    drop(leg);
    assert_eq!(call.socket.close_code().await, CloseCode::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_lost_socket_ends_the_call() {
    let (call, mut leg) = talking("").await;
    drop(call.socket);
    assert_eq!(event(&mut leg).await, Some(CallEvent::HungUp));
    assert_eq!(event(&mut leg).await, None);
}

/// Vonage checklist 14 and 15, which hold for browsers too.
#[tokio::test(start_paused = true)]
async fn messages_without_sense_are_ignored_during_a_call() {
    let (mut call, mut leg) = talking("").await;
    for text in ["{", "[1]", r#"{"type":"x"}"#, r#"{"type":"audioStart"}"#] {
        call.socket.text(text).await;
    }
    call.socket.audio(vec![7; 640]).await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(7))));
}

/// Vonage checklist 33, which holds for browsers too: a slow agent costs audio, never memory.
#[tokio::test(start_paused = true)]
async fn an_agent_that_listens_too_late_hears_no_more_than_half_a_second() {
    let (mut call, mut leg) = talking("").await;
    for _ in 0..200 {
        call.socket.audio(vec![7; 640]).await;
    }
    call.socket.text(r#"{"type":"stopAudio"}"#).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut frames = 0;
    while let Some(CallEvent::Audio(_)) = event(&mut leg).await {
        frames += 1;
    }
    assert_eq!(frames, 25);
}

#[tokio::test(start_paused = true)]
async fn a_call_past_the_limit_is_turned_away_with_a_sentence() {
    let full = |config: &mut BrowserConfig| config.admission = Admission::new(|| false);
    let mut call = connected_with("", full).await;
    call.socket.text(r#"{"type":"audioStart"}"#).await;
    let error = call.socket.json().await;
    assert!(
        error["event"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("busy")
    );
    assert_eq!(call.socket.close_code().await, CloseCode::Again);
}

#[tokio::test(start_paused = true)]
async fn a_closed_browser_line_answers_those_who_wait_and_ends() {
    let (call, _leg) = talking("").await;
    call.browser.close();
    assert!(call.browser.answer().await.is_err());
}

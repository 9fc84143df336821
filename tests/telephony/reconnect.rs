//! Calls whose sockets come and go.

use std::time::Duration;

use novavoice::telephony::{CallCommand, CallEvent, MarkId, Telephony, vonage::VonageConfig};
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    carrier::{CALL, Carrier, caller, socket_leg},
    leg::{ended, frame, play},
    line::{Socket, command, event},
};

/// Announces the loss of a socket and opens the one that is asked for.
async fn reconnect(carrier: &Carrier, leg: &str) -> Socket {
    let endpoint = json!({"uri": "wss://esther.test/socket", "headers": {"uuid": CALL}});
    let reply = carrier
        .event(&socket_leg("disconnected", leg, &endpoint))
        .await;
    carrier.open(&reply.endpoint()).await
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_socket_ends_is_over_after_two_seconds() {
    for polite in [true, false] {
        let carrier = Carrier::new();
        let (mut socket, mut leg) = carrier.call().await;
        if polite {
            socket.0.close(None).await.unwrap();
        }
        let lost = Instant::now();
        drop(socket);
        ended(&mut leg).await;
        assert_eq!(lost.elapsed().as_secs(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_ends_its_leg_at_once() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    let told = Instant::now();
    carrier.event(&caller("completed")).await;
    ended(&mut leg).await;
    assert!(told.elapsed() < Duration::from_millis(10));
    assert_eq!(socket.close_code().await, CloseCode::Normal);

    let (socket, mut leg) = {
        let carrier = Carrier::new();
        let (socket, leg) = carrier.call().await;
        drop(socket);
        let told = Instant::now();
        carrier.event(&caller("completed")).await;
        (told, leg)
    };
    ended(&mut leg).await;
    assert!(socket.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_over_the_next_socket() {
    let carrier = Carrier::new();
    let (mut old, mut leg) = carrier.call().await;
    command(&leg, CallCommand::Mark(MarkId(1))).await;
    let mark = old.json().await;
    old.audio(vec![5; 641]).await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(5))));
    drop(old);
    let mut new = reconnect(&carrier, "ws-1").await;
    let late = json!({"event": "websocket:notify", "payload": mark["payload"]});
    new.text(&late.to_string()).await;
    new.audio(vec![6; 640]).await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(6))));
    command(&leg, CallCommand::Clear).await;
    play(&leg, 7).await;
    assert_eq!(new.message().await, Message::binary(vec![7; 640]));
}

#[tokio::test(start_paused = true)]
async fn a_leg_waits_ten_seconds_once_the_carrier_was_told() {
    let carrier = Carrier::new();
    let (socket, mut leg) = carrier.call().await;
    let endpoint = json!({"uri": "wss://x", "headers": {"uuid": CALL}});
    let lost = socket_leg("disconnected", "ws-1", &endpoint);
    let told = Instant::now();
    let endpoint = carrier.event(&lost).await.endpoint();
    drop(socket);
    tokio::time::sleep(Duration::from_secs(9)).await;
    play(&leg, 1).await;
    let socket = carrier.open(&endpoint).await;
    drop(socket);
    ended(&mut leg).await;
    assert_eq!(told.elapsed().as_secs(), 11, "9 s, and the next loss has 2");
}

#[tokio::test(start_paused = true)]
async fn what_is_played_while_no_socket_is_there_is_lost() {
    let carrier = Carrier::new();
    let (socket, leg) = carrier.call().await;
    drop(socket);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..200 {
        play(&leg, 1).await;
    }
    let mut new = reconnect(&carrier, "ws-1").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    play(&leg, 2).await;
    assert_eq!(new.message().await, Message::binary(vec![2; 640]));
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_counts_while_no_socket_is_there() {
    let carrier = Carrier::new();
    let (socket, mut leg) = carrier.call().await;
    drop(socket);
    tokio::time::sleep(Duration::from_secs(1)).await;
    command(&leg, CallCommand::HangUp { apologise: false }).await;
    ended(&mut leg).await;
    let endpoint = json!({"uri": "wss://x", "headers": {"uuid": CALL}});
    let lost = socket_leg("disconnected", "ws-1", &endpoint);
    assert!(carrier.event(&lost).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_fails_leaves_the_caller_with_an_apology_and_no_other_socket() {
    for polite in [true, false] {
        let carrier = Carrier::new();
        let (mut socket, mut leg) = carrier.call().await;
        let last = if polite {
            play(&leg, 1).await;
            command(&leg, CallCommand::HangUp { apologise: true }).await;
            assert!(socket.message().await.is_binary(), "its words come first");
            assert_eq!(socket.close_code().await, CloseCode::Normal);
            socket
        } else {
            drop(socket);
            tokio::time::sleep(Duration::from_secs(1)).await;
            command(&leg, CallCommand::HangUp { apologise: true }).await;
            // The carrier had asked before the agent failed.
            let endpoint = carrier.answer().await.endpoint();
            carrier.open(&endpoint).await
        };
        ended(&mut leg).await;
        drop(last);
        let endpoint = json!({"uri": "wss://x", "headers": {"uuid": CALL}});
        for leg in ["ws-1", "ws-1", "ws-2"] {
            let lost = socket_leg("disconnected", leg, &endpoint);
            let reply = carrier.event(&lost).await;
            assert!(reply.talks(), "{reply:?}");
            assert_eq!(reply.json()[0]["text"], VonageConfig::default().apology);
        }
        assert!(carrier.event(&caller("completed")).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_call_is_over_with_its_socket() {
    let carrier = Carrier::new();
    let (socket, mut leg) = carrier.call().await;
    carrier.vonage.release(&leg.info.id);
    let lost = Instant::now();
    drop(socket);
    ended(&mut leg).await;
    assert!(lost.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_second_socket_takes_the_place_of_the_first() {
    let carrier = Carrier::new();
    let (first, second) = (carrier.answer().await, carrier.answer().await);
    let mut old = carrier.open(&first.endpoint()).await;
    let mut leg = carrier.vonage.answer().await.unwrap();
    let mut new = carrier.open(&second.endpoint()).await;
    assert_eq!(old.close_code().await, CloseCode::Normal);
    new.audio(vec![1; 640]).await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(1))));
    play(&leg, 2).await;
    assert_eq!(new.message().await, Message::binary(vec![2; 640]));
}

#[tokio::test(start_paused = true)]
async fn a_socket_of_another_rate_cannot_take_over() {
    let carrier = Carrier::new();
    let (mut old, mut leg) = carrier.call().await;
    let mut endpoint = carrier.answer().await.endpoint();
    endpoint["content-type"] = "audio/l16;rate=8000".into();
    let mut new = carrier.open(&endpoint).await;
    assert_eq!(new.close_code().await, CloseCode::Unsupported);
    old.audio(vec![1; 640]).await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(1))));
}

#[tokio::test(start_paused = true)]
async fn a_socket_of_a_call_that_is_over_is_closed() {
    let carrier = Carrier::new();
    let endpoint = carrier.answer().await.endpoint();
    carrier.event(&caller("completed")).await;
    let mut socket = carrier.open(&endpoint).await;
    assert_eq!(socket.close_code().await, CloseCode::Normal);
}

#[tokio::test(start_paused = true)]
async fn an_apology_ends_the_leg() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    for leg in ["ws-1", "ws-2"] {
        drop(socket);
        socket = reconnect(&carrier, leg).await;
    }
    drop(socket);
    let endpoint = json!({"uri": "wss://x", "headers": {"uuid": CALL}});
    let lost = socket_leg("disconnected", "ws-3", &endpoint);
    assert!(carrier.event(&lost).await.talks());
    let told = Instant::now();
    ended(&mut leg).await;
    assert!(told.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_muted_caller_is_not_an_idle_one() {
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    socket
        .text(r#"{"event":"websocket:media:update","active":false}"#)
        .await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Muted(true)));
    assert_eq!(socket.within(Duration::from_secs(1800)).await, []);
    socket.audio(vec![1; 640]).await;
    assert_eq!(event(&mut leg).await, Some(CallEvent::Audio(frame(1))));
}

//! Peers that send too much, too slowly, or read nothing.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use novavoice::telephony::{CallCommand, Telephony};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    carrier::Carrier,
    leg::{ended, frame, play},
    line::{Socket, command, event},
    sockets::service,
};

/// A frame from a client, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126, "short ones only");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// What a server must answer is worth no more memory than what it wants to say.
#[tokio::test(start_paused = true)]
async fn pings_of_a_peer_that_reads_nothing_cost_no_memory() {
    let service = service();
    let mut socket = service.server.connect(&service.address("c")).await;
    let pings = masked(0x89, &[b'x'; 125]).repeat(1_000);
    for _ in 0..40 {
        socket.raw(&pings).await;
    }
    let mut answers = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match socket.0.get_mut().read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => answers += read,
        }
    }
    assert!(answers > 0, "some pongs at least");
    assert!(answers < 1024 * 1024, "{answers} bytes waited for the peer");
    service.none_left().await;
}

/// Fragments without content never make a message too long.
#[tokio::test(start_paused = true)]
async fn a_message_that_never_ends_ends_its_socket() {
    for (introduced, patience) in [(false, 6), (true, 70)] {
        let service = service();
        let mut socket = service.server.connect(&service.address("c")).await;
        if introduced {
            socket.text(r#"{"type":"promptStart"}"#).await;
        }
        let started = Instant::now();
        socket.raw(&masked(0x02, b"")).await;
        let fragments = masked(0x00, b"").repeat(500);
        while service.sockets.open_sockets() > 0 && started.elapsed().as_secs() < 100 {
            let _gone = socket.0.get_mut().write_all(&fragments).await;
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        let open = started.elapsed().as_secs();
        assert!((patience..patience + 5).contains(&open), "{open} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_trickles_in_holds_no_socket_open() {
    for (introduced, patience) in [(false, 6), (true, 70)] {
        let service = service();
        let mut socket = service.server.connect(&service.address("c")).await;
        if introduced {
            socket.text(r#"{"type":"promptStart"}"#).await;
        }
        let started = Instant::now();
        // A text of a hundred bytes, one each second.
        socket.raw(&[0x81, 0x80 | 100, 0, 0, 0, 0]).await;
        while service.sockets.open_sockets() > 0 && started.elapsed().as_secs() < 100 {
            let _gone = socket.0.get_mut().write_all(b" ").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let open = started.elapsed().as_secs();
        assert!((patience..patience + 5).contains(&open), "{open} s");
    }
}

/// Vonage checklist 7: bounded in bytes, too.
#[tokio::test(start_paused = true)]
async fn a_peer_that_has_not_introduced_itself_fills_no_memory() {
    let service = service();
    let mut socket = service.server.connect(&service.address("c")).await;
    for _ in 0..30 {
        socket.audio(vec![0; 60_000]).await;
    }
    assert_eq!(socket.close_code().await, CloseCode::Policy);
    assert!(service.sockets.stats().dropped_audio >= 29);
}

/// Vonage checklist 64: however many come with one token at the same moment, one gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_many_use_at_once_opens_one_socket() {
    let service = service();
    for channel in 0..20 {
        let address = service.address(&format!("c{channel}"));
        let upgrades = (0..8).map(|_| service.server.try_connect(&address));
        let sockets = join_all(upgrades).await;
        let refused: Vec<u16> = sockets
            .iter()
            .filter_map(|socket| socket.as_ref().err().map(|(status, _)| *status))
            .collect();
        assert_eq!(refused, [403; 7]);
    }
    assert_eq!(service.sockets.stats().opened, 20);
}

#[tokio::test(start_paused = true)]
async fn upgrades_with_made_up_tokens_leave_nothing_behind() {
    let service = service();
    let real = service.tokens.issue("c", Timestamp::now());
    for n in 0..500 {
        let address = format!("/socket?channel=c{n}&token={real}");
        assert_eq!(
            service.server.try_connect(&address).await.err().unwrap().0,
            403
        );
    }
    let stats = service.sockets.stats();
    assert_eq!((stats.refused, stats.opened), (500, 0));
    assert_eq!(service.sockets.open_sockets(), 0);
    service
        .server
        .connect(&format!("/socket?channel=c&token={real}"))
        .await;
}

/// An inbound call over a pipe that holds a frame or two.
async fn narrow(carrier: &Carrier) -> (Socket, novavoice::telephony::Leg) {
    let endpoint = carrier.answer().await.endpoint();
    let uri = endpoint["uri"].as_str().unwrap();
    let mut socket = carrier.server.connect_over(1024, uri).await;
    let first = r#"{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}"#;
    socket.text(first).await;
    (socket, carrier.vonage.answer().await.unwrap())
}

/// Vonage checklist 26: also where the network takes nothing for a while.
#[tokio::test(start_paused = true)]
async fn a_clear_overtakes_what_a_slow_socket_has_not_taken() {
    let carrier = Carrier::new();
    let (mut socket, leg) = narrow(&carrier).await;
    for _ in 0..120 {
        play(&leg, 1).await;
    }
    command(&leg, CallCommand::Clear).await;
    play(&leg, 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut stale = 0;
    while socket.message().await == Message::binary(vec![1; 640]) {
        stale += 1;
    }
    assert!(stale < 40, "{stale} frames of 120 went out first");
    assert_eq!(socket.message().await, Message::binary(vec![2; 640]));
}

/// Vonage checklist 33: a producer that is faster than the network waits, and whatever it makes,
/// the leg holds little of it.
#[tokio::test(start_paused = true)]
async fn a_carrier_that_takes_nothing_holds_the_agent_back_and_is_given_up() {
    let carrier = Carrier::new();
    let (socket, mut leg) = narrow(&carrier).await;
    let commands = leg.duplex.commands.clone();
    let started = Instant::now();
    let (mut taken, mut held_back) = (0, false);
    while started.elapsed() < Duration::from_secs(9) {
        let play = commands.send(CallCommand::Play(frame(1)));
        match tokio::time::timeout(Duration::from_secs(1), play).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => held_back = true,
        }
        taken += 1;
        assert!(taken < 1_000, "there is no end to what the leg takes in");
    }
    assert!(held_back);
    ended(&mut leg).await;
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    drop(socket);
}

/// Vonage checklist 33: half an hour of speech arrives whole and in order, through a leg that
/// never holds more than its bounded queues.
#[tokio::test(start_paused = true)]
async fn half_an_hour_of_speech_goes_through() {
    const FRAMES: u32 = 30 * 60 * 50;
    let carrier = Carrier::new();
    let (mut socket, leg) = carrier.call().await;
    let talk = tokio::spawn(async move {
        for n in 0..FRAMES {
            play(&leg, n.to_le_bytes()[0]).await;
        }
        leg
    });
    for n in 0..FRAMES {
        let message = socket.message().await;
        assert!(message.is_binary() && message.len() == 640);
        assert_eq!(message.into_data()[0], n.to_le_bytes()[0], "frame {n}");
    }
    drop(talk.await.unwrap());
}

/// A consumer that stalls for a while finds its keys and its end where they belong.
#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_waits_for_a_stalled_agent() {
    use novavoice::telephony::CallEvent;
    let carrier = Carrier::new();
    let (mut socket, mut leg) = carrier.call().await;
    let keys: Vec<char> = "0123456789*#".chars().cycle().take(200).collect();
    for key in &keys {
        let text = format!(r#"{{"event":"websocket:dtmf","digit":"{key}"}}"#);
        socket.text(&text).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    command(&leg, CallCommand::Play(frame(1))).await;
    assert!(socket.message().await.is_binary(), "it still obeys");
    for key in keys {
        assert_eq!(event(&mut leg).await, Some(CallEvent::Dtmf(key)));
    }
    drop(socket);
    ended(&mut leg).await;
}

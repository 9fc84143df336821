//! Peers that break every rule, beside a call that must not notice.

use std::{future::Future, pin::Pin, time::Duration};

use futures::future::join_all;
use novavoice::testkit::{
    bedrock::{Mark, Reply, SessionScript},
    vonage::Call,
};
use tokio::{io::AsyncWriteExt, time::Instant};
use tokio_tungstenite::{MaybeTlsStream, tungstenite::Message};

use crate::{
    nova::{Nova, carrier},
    service::{Esther, inbound, soon},
    softphone::{Channel, Socket, closed, connect},
};

const LIMIT: usize = 64 * 1024;
const HELLO: &str = r#"{"type":"promptStart"}"#;
const START: &str = r#"{"type":"audioStart"}"#;
const VONAGE: &str = r#"{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_break_the_rules_are_closed_and_no_other_call_notices() {
    let nova = Nova::start(SessionScript::by_hand()).await;
    let esther = nova.launch().start().await;
    let carrier = carrier(&esther);
    let call = carrier.place_inbound(inbound()).await.expect("an NCCO");
    assert!(soon(call.connected()).await);
    let session = soon(nova.bedrock.session(0)).await;
    session
        .reply(Reply::say("a long story", Duration::from_secs(9)))
        .await;
    assert!(call.wait_heard(Duration::from_millis(200)).await);
    // Too soft for any ear, and different in every frame.
    let murmur = murmur(Duration::from_secs(7));
    call.say(murmur.clone());

    let cases: Vec<Case<'_>> = vec![
        Box::pin(oversized(&esther)),
        Box::pin(not_the_protocol(&esther)),
        Box::pin(not_text(&esther)),
        Box::pin(unfit_formats(&esther)),
        Box::pin(silent(&esther)),
        Box::pin(wrongly_typed(&esther)),
        Box::pin(odd_lengths(&esther)),
        Box::pin(gone_without_a_word(&esther)),
    ];
    join_all(cases).await;
    assert!(esther.metric("esther_socket_violations_total").await >= 9.0);
    assert!(esther.metric("esther_socket_messages_ignored_total").await >= 20.0);

    assert!(
        call.wait_heard(Duration::from_secs(9)).await,
        "the whole story"
    );
    check_untouched(&call);
    assert!(soon(call.said()).await);
    let heard = session.wait_until(|report| report.audio_bytes > 8 * 32_000);
    soon(heard).await;
    let pcm = session.pcm();
    let whole = pcm.windows(murmur.len()).any(|window| window == murmur);
    assert!(whole, "the model heard every frame of the caller");
    call.hang_up();
    soon(call.ended()).await;
    assert_eq!(carrier.violations(), []);
    esther.idle().await;
    let channels = esther.json("/channels").await;
    assert_eq!(channels, serde_json::json!({"channels": []}));
    assert_eq!(nova.bedrock.violations(), []);
    esther.stop().await.went_well();
}

type Case<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// No gap, nothing missing, nothing twice.
fn check_untouched(call: &Call) {
    let marks = Mark::find_all(&call.heard());
    let mut expected = (0..).step_by(5);
    let off = marks
        .iter()
        .find(|mark| Some(mark.position) != expected.next());
    assert_eq!(off, None, "after {} marks", marks.len());
    assert_eq!(marks.len(), 9 * 16_000 / 5);
    assert_eq!(call.underruns(), 0);
    assert_eq!(call.cleared_count(), 0);
    assert_eq!((call.connections(), call.closes()), (1, vec![]));
}

async fn open(esther: &Esther) -> Socket {
    let channel = Channel::create(esther).await;
    connect(&channel.url).await.expect("a good token")
}

async fn oversized(esther: &Esther) {
    let text = |bytes: usize| Message::text("x".repeat(bytes));
    let binary = |bytes: usize| Message::binary(vec![0; bytes]);
    for messages in [
        vec![text(LIMIT + 1)],
        vec![binary(LIMIT + 1)],
        vec![Message::text(HELLO), text(LIMIT + 1)],
        vec![Message::text(VONAGE), binary(LIMIT + 2)],
        vec![binary(8 << 20)],
    ] {
        let (code, reason) = closed(open(esther).await, messages).await;
        assert_eq!(code, 1009, "{reason}");
        assert!(!reason.is_empty());
    }
    // Whole fragments below the limit, and more than it together.
    let fragment = vec![b'x'; LIMIT / 2];
    let mut raw = frame(0x01, &fragment);
    raw.extend(frame(0x00, &fragment));
    raw.extend(frame(0x80, b"x"));
    assert_eq!(after(open(esther).await, &raw).await, 1009);
    // What is just short enough is only ignored.
    let stop = Message::text(r#"{"type":"stopAudio"}"#);
    let messages = vec![Message::text(HELLO), text(LIMIT), stop];
    assert_eq!(closed(open(esther).await, messages).await.0, 1000);
}

async fn not_the_protocol(esther: &Esther) {
    let mut unmasked = vec![0x81, 2];
    unmasked.extend(b"{}");
    let cases = [
        unmasked,
        // A reserved bit, a reserved opcode, a continuation of nothing, a ping of 126 bytes.
        frame(0xc1, b"{}"),
        frame(0x83, b"{}"),
        frame(0x80, b"{}"),
        frame(0x89, &[0; 126]),
        // A data frame inside a fragmented message.
        [frame(0x01, b"{"), frame(0x81, b"}")].concat(),
    ];
    for raw in cases {
        assert_eq!(
            after(open(esther).await, &raw).await,
            1002,
            "{:x?}",
            &raw[..2]
        );
    }
    // In the middle of a call, too.
    let mut socket = open(esther).await;
    send(&mut socket, &[HELLO, START]).await;
    assert_eq!(after(socket, &frame(0xc1, b"{}")).await, 1002);
}

async fn not_text(esther: &Esther) {
    assert_eq!(
        after(open(esther).await, &frame(0x81, b"\"\xff\xfe\"")).await,
        1007
    );
    let mut socket = open(esther).await;
    send(&mut socket, &[VONAGE]).await;
    assert_eq!(after(socket, &frame(0x81, b"\xc3")).await, 1007);
}

async fn unfit_formats(esther: &Esther) {
    for format in ["audio/l16;rate=44100", "audio/mulaw;rate=8000", ""] {
        let hello = VONAGE.replace("audio/l16;rate=16000", format);
        let (code, reason) = closed(open(esther).await, vec![Message::text(hello)]).await;
        assert!(matches!(code, 1003 | 1008), "{format}: {code} {reason}");
        assert!(!reason.is_empty());
    }
}

/// Without a valid first message within 6 s: 1008. Silence, nonsense and audio alone are alike.
async fn silent(esther: &Esther) {
    let began = Instant::now();
    let nonsense = [
        "",
        "hello",
        "{",
        "[]",
        "null",
        "17",
        r#"{"type":"other"}"#,
        r#"{"event":5}"#,
    ];
    let nonsense = nonsense.map(Message::text).to_vec();
    let audio = vec![Message::binary(vec![0; 640]); 3];
    let cases = [vec![], nonsense, audio].map(async |messages| {
        let (code, reason) = closed(open(esther).await, messages).await;
        assert_eq!(code, 1008, "{reason}");
        assert!(!reason.is_empty());
    });
    join_all(cases).await;
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(6)..Duration::from_secs(12)).contains(&took),
        "{took:?}"
    );
}

/// In a call of either dialect: everything that is known, with values that are not.
async fn wrongly_typed(esther: &Esther) {
    let vonage = [
        VONAGE,
        r#"{"event":"websocket:connected","content-type":17}"#,
        r#"{"event":"websocket:dtmf"}"#,
        r#"{"event":"websocket:dtmf","digit":7,"duration":"long"}"#,
        r#"{"event":"websocket:dtmf","digit":"too many"}"#,
        r#"{"event":"websocket:notify"}"#,
        r#"{"event":"websocket:notify","payload":[1]}"#,
        r#"{"event":"websocket:notify","payload":{"mark":-1}}"#,
        r#"{"event":"websocket:media:update","active":"maybe"}"#,
        r#"{"event":"websocket:nobody:knows"}"#,
        r#"{"event":null}"#,
        r#"{"event":{"event":{}}}"#,
        "not even JSON",
        "",
    ];
    let browser = [
        r#"{"type":"systemPrompt","data":17}"#,
        START,
        START,
        r#"{"type":7}"#,
        r#"{"type":"stopaudio"}"#,
        r#"{"type":["stopAudio"]}"#,
        "[[[[",
        "\u{0}",
    ];
    let mut phone = open(esther).await;
    send(&mut phone, &vonage).await;
    let mut screen = open(esther).await;
    send(&mut screen, &browser).await;
    // They are still there, and end as they should.
    let bye = vec![Message::text(r#"{"type":"stopAudio"}"#)];
    assert_eq!(closed(screen, bye).await.0, 1000);
    let bye = vec![Message::Close(None)];
    soon(async {
        use futures::{SinkExt, StreamExt};
        for message in bye {
            phone.send(message).await.expect("an open socket");
        }
        while let Some(Ok(_)) = phone.next().await {}
    })
    .await;
}

/// One byte at a time, none at all, and half samples.
async fn odd_lengths(esther: &Esther) {
    for first in [VONAGE, START] {
        let mut messages = vec![Message::text(first)];
        for length in [1, 0, 639, 3, 641, 1, 1, 65_535] {
            messages.push(Message::binary(vec![0; length]));
        }
        let mut socket = open(esther).await;
        for message in messages {
            futures::SinkExt::send(&mut socket, message)
                .await
                .expect("an open socket");
        }
        let bye = after(socket, &frame(0x88, &1000_u16.to_be_bytes())).await;
        assert_eq!(bye, 1000);
    }
}

/// Connections that end in the middle of a frame, of a call, or before the first word.
async fn gone_without_a_word(esther: &Esther) {
    drop(open(esther).await);
    for first in [VONAGE, START] {
        let mut socket = open(esther).await;
        send(&mut socket, &[first]).await;
        raw(&mut socket, &[0x82, 0xfe, 0x02]).await;
    }
}

async fn send(socket: &mut Socket, texts: &[&str]) {
    for text in texts {
        let message = Message::text(*text);
        futures::SinkExt::send(socket, message)
            .await
            .expect("an open socket");
    }
}

/// Writes bytes under the WebSocket layer.
async fn raw(socket: &mut Socket, bytes: &[u8]) {
    let MaybeTlsStream::Plain(tcp) = socket.get_mut() else {
        panic!("no TLS here");
    };
    tcp.write_all(bytes).await.expect("an open connection");
}

/// The code with which the service answers these bytes.
async fn after(mut socket: Socket, bytes: &[u8]) -> u16 {
    raw(&mut socket, bytes).await;
    closed(socket, vec![]).await.0
}

/// One frame as a client sends it, masked with nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => frame.push(0x80 | short),
        (_, Ok(long)) => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
        _ => panic!("too long"),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn murmur(length: Duration) -> Vec<u8> {
    let samples = usize::try_from(length.as_millis()).expect("short") * 16;
    let mut state = 1_u32;
    (0..samples)
        .flat_map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let sample = i16::try_from(state >> 27).expect("five bits") - 16;
            sample.to_le_bytes()
        })
        .collect()
}

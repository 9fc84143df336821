//! On an empty machine: nothing configured, a browser's client, files in the working directory.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    follower::Follower,
    service::{Launch, until},
    softphone::{Channel, Got, Softphone, reply_end, text},
};

const SECOND: Duration = Duration::from_secs(1);
const HELLO: &str = "Hello, this is Esther";
const SECOND_LINE: &str = "Thank you.";

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_says_nothing_is_asked_and_then_left_with_a_goodbye() {
    let esther = Launch::bare()
        .set("IDLE_NUDGE_SECONDS", "1")
        .set("IDLE_HANGUP_SECONDS", "8")
        .start()
        .await;
    let phone = Softphone::call(&esther, "", 640).await;
    let asked = text("ASSISTANT", "Are you still there?");
    let first = phone.until("a nudge", 0, &asked).await;
    let second = phone.until("another", first, &asked).await;
    let goodbye = text("ASSISTANT", "I cannot hear you any more");
    let left = phone.until("a goodbye", second, goodbye).await;
    phone
        .until("the end", left, |got| matches!(got, Got::Closed(..)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_configured_a_spoken_dialogue_is_held_and_kept() {
    let esther = Launch::bare().start().await;
    assert!(esther.address.starts_with("http://127.0.0.1:"));
    assert!(esther.log().contains("stand-in"), "the script is announced");
    let phone = Softphone::call(&esther, "", 640).await;
    let name = format!("call-{}-", phone.id);

    // The agent speaks first: text, then audio between its start and its end.
    let shown = phone
        .until("the greeting's text", 0, text("ASSISTANT", HELLO))
        .await;
    let follower = Follower::of(&esther, &phone.id, None).await;
    let ended = phone
        .until("the greeting's end", shown, reply_end("END_TURN"))
        .await;
    follower.lines(1).await;
    let first = esther.transcript(&phone.id);
    assert!(
        first.name.starts_with(&name) && first.name.ends_with("Z.md"),
        "{}",
        first.name
    );
    let stamp = &first.name[name.len()..first.name.len() - 3];
    assert!(is_stamp(stamp), "{stamp}");
    assert!(
        first.said()[0].starts_with("Assistant: Hello, this is Esther"),
        "{first:?}"
    );
    assert_eq!(first.record, None, "the call goes on");

    // A turn of the caller brings the next line of the script.
    phone.say(SECOND).await;
    let heard = phone
        .until("the caller's text", ended, text("USER", "[speech "))
        .await;
    let next = phone
        .until("the second reply", heard, text("ASSISTANT", SECOND_LINE))
        .await;
    let next = phone.hears(SECOND, next).await;
    let lines = follower.lines(first.said().len() + 1).await;
    let second = esther.transcript(&phone.id);
    assert!(second.text.starts_with(&first.text), "it only grows");
    assert!(
        second.said().len() > first.said().len(),
        "while the call runs"
    );
    assert!(!lines.over);

    // The caller breaks in: what was not played yet is to be forgotten.
    phone.say(SECOND).await;
    let cut = phone
        .until("the interruption", next, reply_end("INTERRUPTED"))
        .await;
    let told = phone.got()[next..cut]
        .iter()
        .any(text("ASSISTANT", "{ \"interrupted\" : true }"));
    assert!(told, "{:#?}", phone.events());
    let third = phone
        .until("the third reply", cut, text("ASSISTANT", "Mike would like"))
        .await;
    phone.hears(SECOND / 2, third).await;

    phone.send(json!({"type": "stopAudio"}).to_string()).await;
    phone
        .until("the close", third, |got| *got == Got::Closed(1000))
        .await;
    let events = follower.over().await;
    check_dialect(&phone.got(), false);

    let transcript = until("the record", async || {
        let transcript = esther.transcript(&phone.id);
        transcript.record.is_some().then_some(transcript)
    })
    .await;
    assert!(transcript.text.starts_with(&second.text));
    let said = transcript.said();
    assert!(
        said.iter().any(|line| line.starts_with("Human: [speech 1")),
        "{said:?}"
    );
    assert!(said.iter().any(|line| line.ends_with(" [cut]")), "{said:?}");
    for footer in ["\n- Ended: ", "\n- Duration: ", "\n- Outcome: completed\n"] {
        assert!(transcript.text.contains(footer), "{}", transcript.text);
    }
    let record = transcript.record.as_ref().expect("just found");
    assert_eq!(record["call_uuid"], phone.id);
    assert_eq!(record["direction"], "inbound");
    assert_eq!(
        (&record["status"], &record["outcome"]),
        (&json!("completed"), &json!("completed"))
    );
    let lines = record["utterances"].as_array().expect("lines");
    assert_eq!(lines.len(), said.len());
    let told: Vec<_> = events.named("utterance").into_iter().cloned().collect();
    assert_eq!(told, *lines, "the same in events and file");
    let stored = esther.json(&format!("/calls/{}", phone.id)).await;
    for (name, value) in record.as_object().expect("an object") {
        assert!(
            name == "md_file_path" || stored[name] == *value,
            "{name}: {stored}"
        );
    }
    let path = record["md_file_path"].as_str().expect("a path");
    assert!(path.ends_with(&transcript.name), "{path}");
    let ended = record["end_time"]
        .as_str()
        .expect("a time")
        .trim_end_matches('Z');
    assert!(
        transcript.text.contains(&format!("- Ended: {ended}")),
        "{record}"
    );
    assert!(lines.iter().zip(1..).all(|(line, seq)| line["seq"] == seq));
    for line in lines {
        let end = if line["cut"] == true { " [cut]" } else { "" };
        let text = |name: &str| line[name].as_str().expect("text");
        let line = format!("{}: {}{end}", text("speaker"), text("text"));
        assert!(said.contains(&&*line), "{line}");
    }

    esther.idle().await;
    let ended = esther.stop().await;
    ended.went_well();
    ended.says_nothing_of(&["senior pastor", "this is Esther", "[speech"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_comes_as_binary_for_those_who_ask_and_goes_in_pieces_of_any_length() {
    let esther = Launch::local().start().await;
    let (usual, odd) = tokio::join!(
        dialogue(Softphone::call(&esther, "&audio=binary", 640).await, true),
        dialogue(Softphone::call(&esther, "", 641).await, false),
    );
    for phone in [usual, odd] {
        drop(phone);
    }
    esther.idle().await;
    esther.stop().await.went_well();
}

/// One turn each, with the microphone as it is.
async fn dialogue(phone: Softphone, binary: bool) -> Softphone {
    let next = phone
        .until("the greeting", 0, text("ASSISTANT", HELLO))
        .await;
    let next = phone.hears(SECOND, next).await;
    phone.say(SECOND).await;
    let next = phone
        .until("the caller's text", next, text("USER", "[speech "))
        .await;
    let shown = phone.got();
    let Got::Event(_, heard) = &shown[next - 1] else {
        panic!("{:?}", shown[next - 1]);
    };
    let length: f64 = heard["content"]
        .as_str()
        .and_then(|text| text.strip_prefix("[speech ")?.strip_suffix(" s]"))
        .and_then(|length| length.parse().ok())
        .unwrap_or_else(|| panic!("{heard}"));
    assert!(
        (0.7..1.5).contains(&length),
        "heard as it was said: {length}"
    );
    let next = phone
        .until("the second reply", next, text("ASSISTANT", SECOND_LINE))
        .await;
    phone.hears(SECOND / 2, next).await;
    check_dialect(&phone.got(), binary);
    phone
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_a_microphone_finds_a_page_and_a_probe_its_answers() {
    let esther = Launch::local().start().await;
    let page = esther.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let loaded: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|link| page.body.split(link).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(
        loaded.iter().any(|path| path.ends_with(".js")),
        "{loaded:?}"
    );
    for path in loaded {
        let path = format!("/{}", path.trim_start_matches('/'));
        assert_eq!(esther.get(&path).await.status, 200, "{path}");
    }

    let health = esther.json("/health").await;
    let health = health.as_object().expect("an object");
    assert_eq!(health.len(), 2, "{health:?}");
    assert_eq!(health["status"], "ok");
    let time: jiff::Timestamp = health["timestamp"]
        .as_str()
        .and_then(|time| time.parse().ok())
        .expect("RFC 3339");
    let off = jiff::Timestamp::now().duration_since(time).abs();
    assert!(off < jiff::SignedDuration::from_secs(30), "{time}");
    for path in ["/up", "/ready"] {
        assert_eq!(esther.get(path).await.status, 200, "{path}");
    }
    let channel = Channel::create(&esther).await;
    let host = esther.address.trim_start_matches("http");
    let url = format!(
        "ws{host}/socket?channel={}&token={}",
        channel.id, channel.token
    );
    assert_eq!(channel.url, url);
    esther.stop().await.went_well();
}

/// Nothing but what the dialect knows, audio in whole frames, and each reply in its brackets.
fn check_dialect(got: &[Got], is_binary: bool) {
    let (mut open, mut audio) = (Vec::<Value>::new(), 0);
    for got in got {
        match got {
            Got::Audio(pcm, binary) => {
                assert_eq!((pcm.len(), *binary), (640, is_binary));
                assert!(
                    open.iter().any(|start| start["type"] == "AUDIO"),
                    "audio outside a reply"
                );
                audio += 1;
            }
            Got::Event(name, body) => match name.as_str() {
                "contentStart" => open.push(body.clone()),
                "contentEnd" => {
                    let ends = open.iter().rposition(|start| start["type"] == body["type"]);
                    open.remove(ends.unwrap_or_else(|| panic!("nothing to end: {body}")));
                }
                "textOutput" => assert!(
                    ["USER", "ASSISTANT"]
                        .iter()
                        .any(|role| body["role"] == *role)
                ),
                _ => panic!("{name}: {body}"),
            },
            Got::Closed(code) => assert_eq!(*code, 1000),
            Got::Strange(text) => panic!("not of this dialect: {text}"),
        }
    }
    assert!(audio > 50, "only {audio} frames of audio");
}

/// `20260622T203532Z`
fn is_stamp(text: &str) -> bool {
    text.len() == 16
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

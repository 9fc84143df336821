//! Event-stream frames: the client's signed ones in, the service's plain ones out.

use std::borrow::Cow;

use aws_smithy_eventstream::frame::{
    DecodedFrame, MessageFrameDecoder, read_message_from, write_message_to,
};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    fault::Exception,
    report::{Breach, Rule},
    sign::Chain,
};

/// One frame of the client, verified.
#[derive(Debug)]
pub(super) enum Inbound {
    /// The JSON of an event.
    Event(Vec<u8>),
    /// The empty frame that ends the input.
    End,
}

/// Collects bytes and gives verified frames.
pub(super) struct Reader {
    buffer: BytesMut,
    decoder: MessageFrameDecoder,
    chain: Chain,
}

impl Reader {
    pub(super) fn new(chain: Chain) -> Self {
        Self {
            buffer: BytesMut::new(),
            decoder: MessageFrameDecoder::new(),
            chain,
        }
    }

    /// Takes bytes in whatever pieces the transport cut them.
    pub(super) fn feed(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// Whether bytes of an unfinished frame are left.
    pub(super) fn is_inside_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next frame, once all of it is there.
    pub(super) fn next(&mut self, now: Timestamp) -> Result<Option<Inbound>, Breach> {
        let frame = match self.decoder.decode_frame(&mut self.buffer) {
            Ok(DecodedFrame::Complete(frame)) => frame,
            Ok(DecodedFrame::Incomplete) if self.buffer.len() > MAX_FRAME => {
                return Err(broken("a frame is longer than 24 MiB".into()));
            }
            Ok(DecodedFrame::Incomplete) => return Ok(None),
            Err(error) => return Err(broken(format!("unreadable frame: {error}"))),
        };
        self.chain.verify(&frame, now).map_err(broken)?;
        if frame.payload().is_empty() {
            return Ok(Some(Inbound::End));
        }
        let inner = read_message_from(&mut frame.payload().clone())
            .map_err(|error| broken(format!("unreadable inner frame: {error}")))?;
        check_inner(&inner)?;
        let part: Part<'_> = serde_json::from_slice(inner.payload())
            .map_err(|error| malformed(format!("inner payload is not {{\"bytes\":…}}: {error}")))?;
        let event = STANDARD
            .decode(part.bytes.as_bytes())
            .map_err(|error| malformed(format!("bytes are not base64: {error}")))?;
        Ok(Some(Inbound::Event(event)))
    }
}

/// An event as the rules look at it.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// The frequent one, borrowed where it can be.
    Audio(AudioInput<'a>),
    /// Any other: its name and its body.
    Other(String, Value),
}

/// The body of an `audioInput`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AudioInput<'a> {
    #[serde(borrow)]
    pub(super) prompt_name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) content_name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
}

/// Reads `{"event":{"<name>":{…}}}`.
pub(super) fn parse(json: &[u8]) -> Result<Event<'_>, Breach> {
    if let Ok(audio) = serde_json::from_slice::<AudioEvent<'_>>(json) {
        return Ok(Event::Audio(audio.event.audio_input));
    }
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| malformed(format!("event is not JSON: {error}")))?;
    let Value::Object(mut top) = value else {
        return Err(malformed("event is not a JSON object".into()));
    };
    let (Some(Value::Object(event)), 0) = (top.remove("event"), top.len()) else {
        return Err(malformed("event must have the single key `event`".into()));
    };
    let mut entries = event.into_iter();
    match (entries.next(), entries.next()) {
        (Some((name, body)), None) => Ok(Event::Other(name, body)),
        _ => Err(malformed("`event` must have a single key".into())),
    }
}

/// Which side writes a chunk: they order its headers differently.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// As clients do, inside their signed frames.
    #[cfg_attr(not(test), expect(dead_code, reason = "the signer's test vector"))]
    Client,
    /// As the service does.
    Service,
}

/// A frame with an event inside.
pub(super) fn chunk(json: &[u8], order: Order) -> Bytes {
    let text = |name: &'static str, value: &'static str| {
        Header::new(name, HeaderValue::String(value.into()))
    };
    let headers = match order {
        Order::Client => vec![
            text(":message-type", "event"),
            text(":event-type", "chunk"),
            text(":content-type", "application/json"),
        ],
        Order::Service => vec![
            text(":event-type", "chunk"),
            text(":content-type", "application/json"),
            text(":message-type", "event"),
        ],
    };
    let mut payload = String::with_capacity(json.len() * 4 / 3 + 64);
    payload.push_str("{\"bytes\":\"");
    STANDARD.encode_string(json, &mut payload);
    payload.push('"');
    if matches!(order, Order::Service) {
        // The service pads its events with a member that clients must skip.
        payload.push_str(",\"p\":\"");
        payload.push_str(&PADDING[..json.len() % PADDING.len()]);
        payload.push('"');
    }
    payload.push('}');
    frame(headers, payload.into())
}

/// The event inside a frame of ours.
#[cfg(test)]
pub(super) fn event_in(mut frame: Bytes) -> Value {
    let message = read_message_from(&mut frame).unwrap();
    let part: Value = serde_json::from_slice(message.payload()).unwrap();
    let event = STANDARD.decode(part["bytes"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&event).unwrap()
}

/// An event frame of a kind that the operation does not define.
pub(super) fn unknown_chunk() -> Bytes {
    frame(
        vec![
            Header::new(":event-type", HeaderValue::String("surprise".into())),
            Header::new(
                ":content-type",
                HeaderValue::String("application/json".into()),
            ),
            Header::new(":message-type", HeaderValue::String("event".into())),
        ],
        Bytes::from_static(b"{}"),
    )
}

/// The frame that ends a session with an error.
pub(super) fn exception(exception: &Exception, request_id: &str) -> Bytes {
    let message = format!("RequestId={request_id} : {}", exception.message);
    let mut payload = serde_json::json!({ "message": message });
    if exception.kind == "modelStreamErrorException" {
        payload["originalStatusCode"] = 500.into();
        payload["originalMessage"] = exception.message.as_str().into();
    }
    frame(
        vec![
            Header::new(
                ":exception-type",
                HeaderValue::String(exception.kind.clone().into()),
            ),
            Header::new(
                ":content-type",
                HeaderValue::String("application/json".into()),
            ),
            Header::new(":message-type", HeaderValue::String("exception".into())),
        ],
        payload.to_string().into(),
    )
}

fn frame(headers: Vec<Header>, payload: Bytes) -> Bytes {
    let mut buffer = Vec::with_capacity(payload.len() + 128);
    write_message_to(&Message::new_from_parts(headers, payload), &mut buffer)
        .expect("a frame of ours is far below the limits of the format");
    buffer.into()
}

fn check_inner(inner: &Message) -> Result<(), Breach> {
    let is = |name: &str, value: &str| {
        inner.headers().iter().any(|header| {
            header.name().as_str() == name
                && header
                    .value()
                    .as_string()
                    .is_ok_and(|text| text.as_str() == value)
        })
    };
    for (name, value) in [
        (":message-type", "event"),
        (":event-type", "chunk"),
        (":content-type", "application/json"),
    ] {
        if !is(name, value) {
            return Err(malformed(format!("inner frame lacks {name}: {value}")));
        }
    }
    Ok(())
}

fn broken(detail: String) -> Breach {
    Breach::fatal(
        Rule::Frame,
        detail,
        "The request signature we calculated does not match the signature you provided.",
    )
}

fn malformed(detail: String) -> Breach {
    Breach::invalid(Rule::Payload, detail)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AudioEvent<'a> {
    #[serde(borrow)]
    event: OnlyAudio<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OnlyAudio<'a> {
    #[serde(borrow)]
    audio_input: AudioInput<'a>,
}

/// More than any event-stream message may be.
const MAX_FRAME: usize = 24 << 20;

const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::bedrock::sign::Keys;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn chain() -> Chain {
        let keys = Keys {
            access_key: "AKIDEXAMPLE".into(),
            secret: "SECRETEXAMPLE".into(),
            session_token: None,
            region: "us-east-1".into(),
        };
        Chain::new(&keys, "0".repeat(64))
    }

    /// What a client writes: a signed frame for each payload.
    fn signed(payloads: &[Bytes]) -> Vec<Bytes> {
        let mut chain = chain();
        let date = aws_smithy_types::DateTime::from_secs(now().as_second());
        payloads
            .iter()
            .map(|payload| {
                let signature = chain.next(now(), payload).to_vec();
                frame(
                    vec![
                        Header::new(":chunk-signature", HeaderValue::ByteArray(signature.into())),
                        Header::new(":date", HeaderValue::Timestamp(date)),
                    ],
                    payload.clone(),
                )
            })
            .collect()
    }

    /// Nova checklist 3
    #[test]
    fn frames_are_read_in_whatever_pieces_they_come() {
        let event = chunk(b"{}", Order::Client);
        let bytes = signed(&[event.clone(), event, Bytes::new()]).concat();
        for size in [1, 7, 100, bytes.len()] {
            let mut reader = Reader::new(chain());
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                reader.feed(piece);
                while let Some(inbound) = reader.next(now()).unwrap() {
                    read.push(inbound);
                }
            }
            assert!(
                matches!(
                    &read[..],
                    [Inbound::Event(_), Inbound::Event(_), Inbound::End]
                ),
                "{read:?}"
            );
            assert!(!reader.is_inside_frame());
        }
    }

    /// Nova checklist 3
    #[test]
    fn a_changed_byte_or_a_missing_frame_breaks_the_chain() {
        let event = chunk(b"{}", Order::Client);
        let frames = signed(&[event.clone(), event]);
        let mut changed = frames[0].to_vec();
        changed[100] ^= 1;
        for bytes in [&changed, &frames[1][..]] {
            let mut reader = Reader::new(chain());
            reader.feed(bytes);
            assert_eq!(reader.next(now()).unwrap_err().rule, Rule::Frame);
        }
    }

    /// Nova checklist 4
    #[test]
    fn a_signed_frame_around_something_else_is_refused() {
        let bare = frame(Vec::new(), Bytes::from_static(b"{\"bytes\":\"e30=\"}"));
        for inner in [bare, unknown_chunk()] {
            let mut reader = Reader::new(chain());
            reader.feed(&signed(&[inner])[0]);
            assert_eq!(reader.next(now()).unwrap_err().rule, Rule::Payload);
        }
    }

    #[test]
    fn an_audio_event_is_read_without_a_tree() {
        let json =
            br#"{"event":{"audioInput":{"promptName":"p","contentName":"c","content":"AAA="}}}"#;
        let Ok(Event::Audio(audio)) = parse(json) else {
            panic!("not audio")
        };
        assert!(matches!(audio.content, Cow::Borrowed("AAA=")));
    }

    /// Nova checklist 4
    #[test]
    fn an_event_has_exactly_one_name() {
        assert!(parse(br#"{"event":{"sessionEnd":{}}}"#).is_ok());
        for json in [
            r#"{"event":{"sessionEnd":{},"promptEnd":{}}}"#,
            r#"{"event":{}}"#,
            r#"{"event":{"sessionEnd":{}},"more":1}"#,
            r#"["event"]"#,
            "{",
        ] {
            let breach = parse(json.as_bytes()).unwrap_err();
            assert_eq!(breach.rule, Rule::Payload, "{json}");
        }
    }

    #[test]
    fn a_reply_frame_reads_back_as_its_event() {
        let mut frame = chunk(b"{}", Order::Service);
        let message = read_message_from(&mut frame).unwrap();
        let payload: Value = serde_json::from_slice(message.payload()).unwrap();
        assert_eq!(payload["bytes"], "e30=");
        assert_eq!(payload["p"], "ab");
    }
}

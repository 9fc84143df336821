//! The transcript as Markdown: written, and read again. Pure; the format is described in
//! [the module above](super).

use std::{fmt::Write as _, slice::SplitInclusive, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, de::IntoDeserializer};

use crate::{
    call::{CallId, CallInfo, CallSummary, Direction, Outcome, Party},
    model::Usage,
    transcript::{Speaker, Utterance, collapse_white_space},
};

/// What a file says before its first line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) call: CallId,
    pub(super) number: Option<Party>,
    pub(super) direction: Direction,
    pub(super) started: Timestamp,
}

impl Header {
    pub(super) fn of(call: &CallInfo) -> Self {
        Self {
            call: call.id.clone(),
            number: call.remote.clone(),
            direction: call.direction,
            started: call.started,
        }
    }
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) header: Header,
    pub(super) lines: Vec<Utterance>,
    /// Where the last whole line, or the header, ends: what follows is the footer or a torn write.
    pub(super) lines_end: usize,
    pub(super) footer: Option<CallSummary>,
}

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Its process died while it made the file: nothing was acknowledged.
    #[error("its header is not complete, so it holds no line")]
    TornHeader,
    #[error("it does not begin as a transcript does")]
    Header,
    /// Something that no torn write leaves behind.
    #[error("its line {0} is no line of a transcript")]
    Line(usize),
}

pub(super) fn header(header: &Header) -> String {
    let number = header.number.as_ref().map_or_else(
        || UNKNOWN.to_owned(),
        |number| match number.reveal() {
            UNKNOWN => quoted(UNKNOWN),
            number => on_one_line(number),
        },
    );
    format!(
        "{TITLE}{}\n\n{NUMBER}{number}\n{DIRECTION}{}\n{STARTED}{:.3}\n",
        on_one_line(header.call.as_str()),
        header.direction.as_str(),
        header.started,
    )
}

/// One utterance with the blank line before it that keeps Markdown from joining it to the last.
pub(super) fn line(utterance: &Utterance) -> String {
    let text = collapse_white_space(&utterance.text);
    // Collapsed text never ends in a space, so one there says: these words are no mark.
    let end = match utterance.cut {
        true => CUT,
        false if text.ends_with(CUT) => " ",
        false => "",
    };
    let speaker = utterance.speaker.as_str();
    format!("\n[{:.3}] {speaker}: {text}{end}\n", utterance.at)
}

/// The end of a file. `Outcome` is last, so a footer that has it is whole.
pub(super) fn footer(summary: &CallSummary) -> String {
    let mut text = format!(
        "\n{RULE}\n\n{ENDED}{:.3}\n{DURATION}{} s\n{STATUS}{}\n",
        summary.ended,
        seconds(summary.duration),
        summary.status.as_str(),
    );
    if summary.usage != Usage::default() {
        let Usage {
            input_speech_tokens,
            input_text_tokens,
            output_speech_tokens,
            output_text_tokens,
        } = summary.usage;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{TOKENS}speech {input_speech_tokens} in, {output_speech_tokens} out; \
             text {input_text_tokens} in, {output_text_tokens} out"
        );
    }
    text + OUTCOME + summary.outcome.as_str() + "\n"
}

pub(super) fn parse(bytes: &[u8]) -> Result<Document, Unreadable> {
    let mut pieces = Pieces::new(bytes);
    let Some(header) = parse_header(&mut pieces) else {
        return Err(if is_torn_header(bytes) {
            Unreadable::TornHeader
        } else {
            Unreadable::Header
        });
    };
    let mut document = Document {
        header,
        lines: Vec::new(),
        lines_end: pieces.read,
        footer: None,
    };
    let mut torn = false;
    while let Some(piece) = pieces.next() {
        let seq = document.lines.len() as u64 + 1;
        match piece.whole {
            Some("") => {}
            Some(RULE) if !torn => {
                document.footer = parse_footer(&mut pieces)?;
                break;
            }
            whole => match whole.and_then(|text| parse_line(seq, text)) {
                Some(line) if !torn => {
                    document.lines.push(line);
                    document.lines_end = pieces.read;
                }
                None if !torn && piece.may_be_torn() => torn = true,
                _ => return Err(Unreadable::Line(pieces.count)),
            },
        }
    }
    Ok(document)
}

/// Whether `tail`, the last bytes of a file, holds a whole footer.
pub(super) fn ends_with_footer(tail: &[u8]) -> bool {
    let rule = format!("\n{RULE}\n").into_bytes();
    let Some(at) = tail.windows(rule.len()).rposition(|window| window == rule) else {
        return false;
    };
    let mut pieces = Pieces::new(&tail[at + rule.len()..]);
    matches!(parse_footer(&mut pieces), Ok(Some(_)))
}

fn parse_header(pieces: &mut Pieces<'_>) -> Option<Header> {
    let call = pieces.next()?.whole?.strip_prefix(TITLE)?;
    pieces.next()?.whole.filter(|line| line.is_empty())?;
    let number = pieces.next()?.whole?.strip_prefix(NUMBER)?;
    let direction = pieces.next()?.whole?.strip_prefix(DIRECTION)?;
    let started = pieces.next()?.whole?.strip_prefix(STARTED)?;
    Some(Header {
        call: CallId::new(unquoted(call)?),
        number: match number {
            UNKNOWN => None,
            number => Some(Party::new(unquoted(number)?)),
        },
        direction: word(direction)?,
        started: started.parse().ok()?,
    })
}

fn parse_line(seq: u64, line: &str) -> Option<Utterance> {
    let (at, said) = line.strip_prefix('[')?.split_once("] ")?;
    let (speaker, text) = [Speaker::Caller, Speaker::Agent]
        .into_iter()
        .find_map(|speaker| {
            let text = said.strip_prefix(speaker.as_str())?.strip_prefix(": ")?;
            Some((speaker, text))
        })?;
    let (text, cut) = match text.strip_suffix(CUT) {
        Some(text) => (text, true),
        None => (text.strip_suffix(' ').unwrap_or(text), false),
    };
    Some(Utterance {
        seq,
        at: at.parse().ok()?,
        speaker,
        text: text.to_owned(),
        cut,
    })
}

/// `None` for a footer that was torn off. What people wrote below a whole one is theirs.
fn parse_footer(pieces: &mut Pieces<'_>) -> Result<Option<CallSummary>, Unreadable> {
    let (mut ended, mut duration, mut status) = (None, None, None);
    let mut usage = Usage::default();
    while let Some(piece) = pieces.next() {
        let Some(line) = piece.whole else { break };
        if let Some(text) = line.strip_prefix(ENDED) {
            ended = text.parse().ok();
        } else if let Some(text) = line.strip_prefix(DURATION) {
            duration = parse_seconds(text);
        } else if let Some(text) = line.strip_prefix(STATUS) {
            status = word(text);
        } else if let Some(text) = line.strip_prefix(TOKENS) {
            usage = parse_usage(text).unwrap_or_default();
        } else if let Some(text) = line.strip_prefix(OUTCOME) {
            let summary = (|| {
                let mut summary =
                    CallSummary::new(status?, word::<Outcome>(text)?, ended?, duration?);
                summary.usage = usage;
                Some(summary)
            })();
            return summary.map(Some).ok_or(Unreadable::Line(pieces.count));
        } else if !line.is_empty() && !line.contains('\0') {
            return Err(Unreadable::Line(pieces.count));
        }
    }
    Ok(None)
}

fn parse_usage(text: &str) -> Option<Usage> {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().ok());
    Some(Usage {
        input_speech_tokens: numbers.next()??,
        output_speech_tokens: numbers.next()??,
        input_text_tokens: numbers.next()??,
        output_text_tokens: numbers.next()??,
    })
}

fn is_torn_header(bytes: &[u8]) -> bool {
    let begun = TITLE.as_bytes();
    let length = begun.len().min(bytes.len());
    let zeros = bytes.iter().all(|byte| *byte == 0);
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    zeros || (bytes[..length] == begun[..length] && lines < HEADER_LINES)
}

/// The pieces that end in a line feed, and perhaps one more.
struct Pieces<'a> {
    split: SplitInclusive<'a, u8, fn(&u8) -> bool>,
    /// Bytes and lines that were handed out.
    read: usize,
    count: usize,
}

struct Piece<'a> {
    bytes: &'a [u8],
    /// The text, if it ends in a line feed and is text.
    whole: Option<&'a str>,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            split: bytes.split_inclusive(|byte| *byte == b'\n'),
            read: 0,
            count: 0,
        }
    }

    fn next(&mut self) -> Option<Piece<'a>> {
        let bytes = self.split.next()?;
        self.read += bytes.len();
        self.count += 1;
        let whole = bytes
            .strip_suffix(b"\n")
            .and_then(|line| str::from_utf8(line).ok());
        Some(Piece { bytes, whole })
    }
}

impl Piece<'_> {
    /// A write that a crash cut short leaves no line feed; one that lost its power may leave
    /// zeros where a block never reached the disk.
    fn may_be_torn(&self) -> bool {
        !self.bytes.ends_with(b"\n") || self.bytes.contains(&0)
    }
}

/// `text` itself, or in quotes with escapes where it would break its line.
fn on_one_line(text: &str) -> String {
    let plain = !text.is_empty()
        && text.trim() == text
        && !text.starts_with('"')
        && !text.contains(char::is_control);
    if plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn unquoted(text: &str) -> Option<String> {
    if text.starts_with('"') {
        serde_json::from_str(text).ok()
    } else {
        Some(text.to_owned())
    }
}

/// The value whose serialised form is `text`.
fn word<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    let text: serde::de::value::StrDeserializer<'de, serde::de::value::Error> =
        text.into_deserializer();
    T::deserialize(text).ok()
}

/// `93.4`: milliseconds without needless zeros.
fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:03}", duration.as_secs(), duration.subsec_millis());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn parse_seconds(text: &str) -> Option<Duration> {
    let (whole, part) = match text.strip_suffix(" s")?.split_once('.') {
        Some((whole, part)) => (whole, format!("{part:0<3}")),
        None => (text.strip_suffix(" s")?, "000".to_owned()),
    };
    let millis: u64 = part.get(..3)?.parse().ok()?;
    let whole = Duration::from_secs(whole.parse().ok()?);
    whole.checked_add(Duration::from_millis(millis))
}

const TITLE: &str = "# Call ";
const NUMBER: &str = "- Number: ";
const DIRECTION: &str = "- Direction: ";
const STARTED: &str = "- Started: ";
const HEADER_LINES: usize = 5;
const CUT: &str = " [cut]";
const RULE: &str = "---";
const ENDED: &str = "- Ended: ";
const DURATION: &str = "- Duration: ";
const STATUS: &str = "- Status: ";
const TOKENS: &str = "- Tokens: ";
const OUTCOME: &str = "- Outcome: ";
/// The number of a call whose other party the carrier does not name.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::call::CallStatus;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_782_160_532_000 + millis).unwrap()
    }

    fn head(id: &str, number: Option<&str>) -> Header {
        Header {
            call: CallId::new(id),
            number: number.map(Party::new),
            direction: Direction::Outbound,
            started: at(0),
        }
    }

    fn said(seq: u64, speaker: Speaker, text: &str, cut: bool) -> Utterance {
        Utterance {
            seq,
            at: at(seq as i64 * 1_512),
            speaker,
            text: text.to_owned(),
            cut,
        }
    }

    fn summary() -> CallSummary {
        let mut summary = CallSummary::new(
            CallStatus::Completed,
            Outcome::Scheduled,
            at(93_400),
            Duration::from_millis(93_400),
        );
        summary.usage.input_speech_tokens = 7;
        summary
    }

    #[test]
    fn a_transcript_reads_like_this() {
        let text = header(&head("5a3f", Some("12125550101")))
            + &line(&said(1, Speaker::Agent, "Good  morning,\nthis is", true))
            + &line(&said(2, Speaker::Caller, "Who *is* this?", false))
            + &footer(&summary());
        assert_eq!(
            text,
            "# Call 5a3f\n\n- Number: 12125550101\n- Direction: outbound\n\
             - Started: 2026-06-22T20:35:32.000Z\n\n\
             [2026-06-22T20:35:33.512Z] Assistant: Good morning, this is [cut]\n\n\
             [2026-06-22T20:35:35.024Z] Human: Who *is* this?\n\n---\n\n\
             - Ended: 2026-06-22T20:37:05.400Z\n- Duration: 93.4 s\n- Status: completed\n\
             - Tokens: speech 7 in, 0 out; text 0 in, 0 out\n- Outcome: scheduled\n"
        );
    }

    #[test]
    fn words_that_look_like_marks_stay_words() {
        for text in [
            "[cut]",
            "a [cut]",
            "a [cut] [cut]",
            "",
            "---",
            "- Outcome: failed",
        ] {
            for cut in [false, true] {
                let given = said(1, Speaker::Caller, text, cut);
                let file = header(&head("a", None)) + &line(&given) + &footer(&summary());
                let read = parse(file.as_bytes()).unwrap();
                assert_eq!(read.lines, [given], "{text:?} {cut}");
                assert!(read.footer.is_some());
            }
        }
    }

    #[test]
    fn what_no_torn_write_leaves_is_never_taken_for_one() {
        let whole = header(&head("a", None)) + &line(&said(1, Speaker::Agent, "Hello", false));
        for (tail, expected) in [
            ("\nNote to self\n", Some(9)),
            ("\nhalf\n\n[2026-06-22T20:35:32Z] Human: x\n", Some(9)),
            ("\n---\n\nNote to self\n", Some(11)),
            ("\n---\n\n- Outcome: nonsense\n", Some(11)),
            ("\n[2026-06-22T20:3\0\0\0\0\n", None),
            ("\n[2026-06-22T20:3", None),
            ("\n---\n\n- Ended: 2026", None),
        ] {
            let read = parse((whole.clone() + tail).as_bytes());
            match expected {
                Some(line) => assert_eq!(read.unwrap_err(), Unreadable::Line(line), "{tail:?}"),
                None => assert_eq!(read.unwrap().lines_end, whole.len(), "{tail:?}"),
            }
        }
        assert_eq!(parse(b"Dear diary\n").unwrap_err(), Unreadable::Header);
        assert_eq!(parse(b"").unwrap_err(), Unreadable::TornHeader);
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-zé ]{0,20}( \\[cut\\])?",
            "\\PC{0,300}",
            Just("] Human: ".to_owned()),
        ]
    }

    fn utterances() -> impl Strategy<Value = Vec<Utterance>> {
        let one = (any::<bool>(), text(), any::<bool>(), 0..100_000_000_i64);
        prop::collection::vec(one, 0..12).prop_map(|all| {
            let all = all.into_iter().enumerate();
            all.map(|(before, (caller, text, cut, millis))| Utterance {
                seq: before as u64 + 1,
                at: at(millis),
                speaker: if caller {
                    Speaker::Caller
                } else {
                    Speaker::Agent
                },
                text: collapse_white_space(&text),
                cut,
            })
            .collect()
        })
    }

    fn whole(head: &Header, lines: &[Utterance]) -> String {
        header(head) + &lines.iter().map(line).collect::<String>()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_written_is_read_again(
            id in any::<String>(),
            number in prop::option::of(any::<String>()),
            lines in utterances(),
            millis in 0..10_000_000_u64,
            tokens in any::<[u64; 4]>(),
        ) {
            let head = head(&id, number.as_deref());
            let mut summary = summary();
            summary.duration = Duration::from_millis(millis);
            let [a, b, c, d] = tokens;
            summary.usage = Usage {
                input_speech_tokens: a,
                input_text_tokens: b,
                output_speech_tokens: c,
                output_text_tokens: d,
            };
            let live = whole(&head, &lines);
            let read = parse(live.as_bytes()).unwrap();
            prop_assert_eq!(read.lines_end, live.len());
            prop_assert!(read.footer.is_none() && !ends_with_footer(live.as_bytes()));

            let ended = live.clone() + &footer(&summary);
            let read = parse(ended.as_bytes()).unwrap();
            prop_assert_eq!(&read.header, &head);
            prop_assert_eq!(&read.lines, &lines);
            prop_assert_eq!(read.lines_end, live.len());
            let footer = read.footer.unwrap();
            prop_assert_eq!(footer.duration, summary.duration);
            prop_assert_eq!(footer.usage, summary.usage);
            prop_assert_eq!(footer.ended, summary.ended);
            prop_assert!(ends_with_footer(ended.as_bytes()));
        }

        #[test]
        fn a_file_torn_anywhere_keeps_every_line_that_is_whole(lines in utterances()) {
            let head = head("a", Some("+12125550101"));
            let start = header(&head).len();
            let ended = whole(&head, &lines) + &footer(&summary());
            for length in start..ended.len() {
                let read = parse(&ended.as_bytes()[..length]).unwrap();
                let full = lines.iter().scan(start, |end, one| {
                    *end += line(one).len();
                    Some(*end)
                });
                let kept = full.take_while(|end| *end <= length).count();
                prop_assert_eq!(&read.lines, &lines[..kept], "torn at {}", length);
                prop_assert!(read.footer.is_none());
            }
            for length in 0..start {
                let read = parse(&ended.as_bytes()[..length]).unwrap_err();
                prop_assert_eq!(read, Unreadable::TornHeader, "torn at {}", length);
            }
        }
    }
}

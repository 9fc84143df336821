//! The transcript as Markdown: written, and read again. Pure; the format is described in
//! [the module above](super).

use std::{fmt::Write as _, slice::SplitInclusive, time::Duration};

use jiff::Timestamp;

use crate::{
    call::{CallId, CallInfo, CallSummary, Direction, Outcome, Party, word},
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
pub(in crate::transcript) enum Unreadable {
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
    if let Some(version) = &summary.prompt_version {
        let _ = writeln!(text, "{PROMPT}{}", on_one_line(version));
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
    let (mut usage, mut prompt_version) = (Usage::default(), None);
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
        } else if let Some(text) = line.strip_prefix(PROMPT) {
            prompt_version = unquoted(text);
        } else if let Some(text) = line.strip_prefix(OUTCOME) {
            let summary = (|| {
                let mut summary =
                    CallSummary::new(status?, word::<Outcome>(text)?, ended?, duration?);
                summary.usage = usage;
                summary.prompt_version = prompt_version;
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
const PROMPT: &str = "- Prompt: ";
const OUTCOME: &str = "- Outcome: ";
/// The number of a call whose other party the carrier does not name.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests;

//! One record: an input or an action, in a few bytes where there are many of its kind.

use std::{
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Entry, JournalError};
use crate::{
    audio::{AudioFrame, SampleRate},
    conversation::{Action, Input, SessionId},
    model::{ModelEvent, ReplyId},
    telephony::CallEvent,
};

/// An action as a journal keeps it: to be compared, and to be read by people.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Noted {
    /// A frame for a session.
    Feed(SessionId, Sound),
    /// A frame for the caller.
    Play(Sound),
    /// Anything else, as JSON.
    Other(String),
}

/// Audio by its rate, its length, and its checksum where samples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    rate: SampleRate,
    bytes: usize,
    crc: Option<u32>,
}

impl Sound {
    fn of(frame: &AudioFrame, checked: bool) -> Self {
        Self {
            rate: frame.rate(),
            bytes: frame.pcm().len(),
            crc: checked.then(|| crc32fast::hash(frame.pcm())),
        }
    }

    fn is_full(&self, rate: SampleRate) -> bool {
        self.rate == rate && self.bytes == rate.bytes_per_frame()
    }

    /// Samples are compared where both sides know them.
    fn matches(&self, other: &Self) -> bool {
        (self.rate, self.bytes) == (other.rate, other.bytes)
            && (self.crc.is_none() || other.crc.is_none() || self.crc == other.crc)
    }
}

impl Noted {
    /// The action as it is kept. With `checked` the samples count.
    pub(crate) fn of(action: &Action, checked: bool) -> Result<Self, serde_json::Error> {
        Ok(match action {
            Action::Feed(session, frame) => Self::Feed(*session, Sound::of(frame, checked)),
            Action::Play(frame) => Self::Play(Sound::of(frame, checked)),
            other => Self::Other(serde_json::to_string(other)?),
        })
    }

    /// Whether it is the same action, to the byte.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Feed(session, sound), Self::Feed(other, heard)) => {
                session == other && sound.matches(heard)
            }
            (Self::Play(sound), Self::Play(heard)) => sound.matches(heard),
            (Self::Other(text), Self::Other(other)) => text == other,
            (Self::Feed(..) | Self::Play(_) | Self::Other(_), _) => false,
        }
    }

    /// The action with everything that it says: words, too.
    pub(crate) fn reveal(&self) -> String {
        match self {
            Self::Feed(..) | Self::Play(_) => self.to_string(),
            Self::Other(text) => text.clone(),
        }
    }
}

/// Without anybody's words.
impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(session, sound) => write!(f, "feed session {} {sound}", session.0),
            Self::Play(sound) => write!(f, "play {sound}"),
            Self::Other(text) => match serde_json::from_str::<Action>(text) {
                Ok(action) => describe(&action, f),
                Err(_) => f.write_str("an action that this build does not know"),
            },
        }
    }
}

impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Noted({self})")
    }
}

impl fmt::Display for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.rate.duration_of(self.bytes);
        write!(f, "{length:?} at {}", self.rate)?;
        self.crc
            .map_or(Ok(()), |crc| write!(f, " (samples {crc:08x})"))
    }
}

/// What an action is about, without words.
fn describe(action: &Action, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = action.name();
    match action {
        Action::OpenModel(session) | Action::CloseModel(session) => {
            write!(f, "{name} {}", session.0)
        }
        Action::Brief(session, history) => {
            write!(f, "{name} session {}: {} lines", session.0, history.len())
        }
        Action::Tell(session, text) => {
            write!(f, "{name} session {}: {}", session.0, Length(text))
        }
        Action::CallTool(run, call) => write!(f, "{name} {} as run {}", call.name, run.0),
        Action::CancelTool(run) => write!(f, "{name} of run {}", run.0),
        Action::Mark(mark) => write!(f, "{name} {}", mark.0),
        Action::HangUp { apologise: true } => write!(f, "{name} with an apology"),
        Action::Record(line) => {
            let cut = if line.cut { ", cut" } else { "" };
            write!(
                f,
                "{name} line {} of {} at {}: {}{cut}",
                line.seq,
                line.speaker.as_str(),
                line.at,
                Length(&line.text)
            )
        }
        Action::Publish(crate::conversation::Notice::State { old, new }) => {
            write!(f, "{name} state {old} to {new}")
        }
        Action::End(reason) => write!(f, "{name}: {reason:?}"),
        _ => f.write_str(name),
    }
}

/// A text's length instead of the text.
struct Length<'a>(&'a str);

impl fmt::Display for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} characters", self.0.chars().count())
    }
}

/// Writes records.
#[derive(Debug)]
pub(crate) struct Encoder {
    rate: SampleRate,
    audio: bool,
    start: Instant,
    last: Instant,
    /// Audio of another rate came: what is played of it is calculated, and not to the bit the same
    /// on every machine.
    resampled: bool,
}

impl Encoder {
    /// Records of a call that begins at `start` on a leg of this rate.
    pub(crate) fn new(rate: SampleRate, audio: bool, start: Instant) -> Self {
        Self {
            rate,
            audio,
            start,
            last: start,
            resampled: false,
        }
    }

    /// How long after the first instant the last input came.
    pub(crate) fn at(&self) -> Duration {
        self.last.saturating_duration_since(self.start)
    }

    /// Appends an input.
    pub(crate) fn input(
        &mut self,
        out: &mut Vec<u8>,
        now: Instant,
        input: &Input,
    ) -> Result<(), serde_json::Error> {
        let now = now.max(self.last);
        let since = now.saturating_duration_since(self.last);
        self.last = now;
        // 2^64 nanoseconds are 584 years.
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let mut begin = |tag: u8| {
            out.push(tag);
            put_number(out, since);
        };
        match input {
            Input::Call(CallEvent::Audio(frame)) => {
                let sound = Sound::of(frame, false);
                if sound.is_full(self.rate) {
                    begin(CALLER);
                } else {
                    begin(CALLER_ODD);
                    put_sound(out, sound);
                }
                self.put_samples(out, frame);
            }
            Input::Model(session, ModelEvent::Audio(reply, frame)) => {
                begin(MODEL);
                put_number(out, session.0.into());
                put_number(out, reply.0);
                put_sound(out, Sound::of(frame, false));
                self.put_samples(out, frame);
                self.resampled |= frame.rate() != self.rate;
            }
            Input::Tick => begin(TICK),
            Input::Voice(true) => begin(VOICE),
            Input::Voice(false) => begin(SILENCE),
            Input::NotFed => begin(NOT_FED),
            Input::NotPlayed => begin(NOT_PLAYED),
            other => {
                begin(INPUT);
                put_json(out, other)?;
            }
        }
        Ok(())
    }

    /// Appends an action.
    pub(crate) fn action(
        &self,
        out: &mut Vec<u8>,
        action: &Action,
    ) -> Result<(), serde_json::Error> {
        let checked = self.audio && (!self.resampled || matches!(action, Action::Feed(..)));
        match action {
            Action::Feed(session, frame) => {
                let sound = Sound::of(frame, checked);
                let full = sound.is_full(self.rate);
                out.push(if full { FEED } else { FEED_ODD });
                put_number(out, session.0.into());
                put_checked(out, sound, full);
            }
            Action::Play(frame) => {
                let sound = Sound::of(frame, checked);
                let full = sound.is_full(self.rate);
                out.push(if full { PLAY } else { PLAY_ODD });
                put_checked(out, sound, full);
            }
            other => {
                out.push(ACTION);
                put_json(out, other)?;
            }
        }
        Ok(())
    }

    /// Appends the last record.
    pub(crate) fn end(out: &mut Vec<u8>, complete: bool) {
        out.push(if complete { END } else { END_LOST });
    }

    fn put_samples(&self, out: &mut Vec<u8>, frame: &AudioFrame) {
        if self.audio {
            out.extend_from_slice(frame.pcm());
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

fn put_sound(out: &mut Vec<u8>, sound: Sound) {
    put_number(out, sound.rate.hertz().into());
    put_number(out, sound.bytes as u64);
}

fn put_checked(out: &mut Vec<u8>, sound: Sound, full: bool) {
    if !full {
        put_sound(out, sound);
    }
    match sound.crc {
        Some(crc) => {
            out.push(1);
            out.extend(crc.to_le_bytes());
        }
        None => out.push(0),
    }
}

fn put_json(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), serde_json::Error> {
    let text = serde_json::to_vec(value)?;
    put_number(out, text.len() as u64);
    out.extend(text);
    Ok(())
}

/// What a record says.
pub(super) enum Record {
    Entry(Entry),
    End { complete: bool },
}

/// Reads records.
pub(super) struct Decoder {
    rate: SampleRate,
    audio: bool,
    at: Duration,
}

impl Decoder {
    pub(super) fn new(rate: SampleRate, audio: bool) -> Self {
        Self {
            rate,
            audio,
            at: Duration::ZERO,
        }
    }

    /// Reads all records of a block.
    pub(super) fn decode(
        &mut self,
        payload: &[u8],
        block: u64,
        mut take: impl FnMut(Record),
    ) -> Result<(), JournalError> {
        let mut rest = Rest(payload);
        while !rest.0.is_empty() {
            let record = self
                .record(&mut rest)
                .map_err(|what| JournalError::Record { block, what })?;
            take(record);
        }
        Ok(())
    }

    fn record(&mut self, rest: &mut Rest<'_>) -> Result<Record, &'static str> {
        let tag = rest.byte()?;
        let noted = match tag {
            END | END_LOST => {
                return Ok(Record::End {
                    complete: tag == END,
                });
            }
            FEED | FEED_ODD => {
                let session = rest.session()?;
                Noted::Feed(session, self.checked(rest, tag == FEED)?)
            }
            PLAY | PLAY_ODD => Noted::Play(self.checked(rest, tag == PLAY)?),
            ACTION => {
                let text = std::str::from_utf8(rest.text()?).map_err(|_| "an action is no text")?;
                Noted::Other(text.to_owned())
            }
            _ => return self.input(tag, rest).map(Record::Entry),
        };
        Ok(Record::Entry(Entry::Action(noted)))
    }

    fn input(&mut self, tag: u8, rest: &mut Rest<'_>) -> Result<Entry, &'static str> {
        let since = Duration::from_nanos(rest.number()?);
        self.at = self.at.checked_add(since).ok_or("a time is out of range")?;
        let input = match tag {
            CALLER => {
                let full = self.rate.bytes_per_frame();
                Input::Call(CallEvent::Audio(self.frame(rest, self.rate, full)?))
            }
            CALLER_ODD => {
                let (rate, bytes) = rest.sound()?;
                Input::Call(CallEvent::Audio(self.frame(rest, rate, bytes)?))
            }
            MODEL => {
                let (session, reply) = (rest.session()?, ReplyId(rest.number()?));
                let (rate, bytes) = rest.sound()?;
                let frame = self.frame(rest, rate, bytes)?;
                Input::Model(session, ModelEvent::Audio(reply, frame))
            }
            TICK => Input::Tick,
            VOICE => Input::Voice(true),
            SILENCE => Input::Voice(false),
            NOT_FED => Input::NotFed,
            NOT_PLAYED => Input::NotPlayed,
            INPUT => from_json(rest.text()?)?,
            _ => return Err("its kind is unknown"),
        };
        Ok(Entry::Input(self.at, input))
    }

    fn frame(
        &self,
        rest: &mut Rest<'_>,
        rate: SampleRate,
        bytes: usize,
    ) -> Result<AudioFrame, &'static str> {
        if self.audio {
            let pcm = Bytes::copy_from_slice(rest.take(bytes)?);
            return Ok(AudioFrame::new(pcm, rate));
        }
        Ok(if bytes == rate.bytes_per_frame() {
            AudioFrame::silence(rate)
        } else {
            AudioFrame::new(vec![0; bytes].into(), rate)
        })
    }

    fn checked(&self, rest: &mut Rest<'_>, full: bool) -> Result<Sound, &'static str> {
        let (rate, bytes) = if full {
            (self.rate, self.rate.bytes_per_frame())
        } else {
            rest.sound()?
        };
        let crc = match rest.byte()? {
            0 => None,
            _ => {
                let crc = rest.take(4)?;
                Some(u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]))
            }
        };
        Ok(Sound { rate, bytes, crc })
    }
}

fn from_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, &'static str> {
    serde_json::from_slice(text).map_err(|_| "an input is of an unknown kind")
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("it is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number is out of range")
    }

    fn session(&mut self) -> Result<SessionId, &'static str> {
        let number = u32::try_from(self.number()?);
        number.map(SessionId).map_err(|_| "no session's name")
    }

    fn sound(&mut self) -> Result<(SampleRate, usize), &'static str> {
        let rate = u32::try_from(self.number()?).ok();
        let rate = rate.and_then(SampleRate::from_hertz);
        let bytes = usize::try_from(self.number()?).ok();
        rate.zip(bytes.filter(|bytes| *bytes <= MAX_AUDIO))
            .ok_or("no audio of ours")
    }

    fn text(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.number()?).map_err(|_| "a text is too long")?;
        self.take(length)
    }
}

/// No piece of audio is longer; a length beyond it is no length.
const MAX_AUDIO: usize = 16 * 1024 * 1024;

const END: u8 = 0;
const END_LOST: u8 = 1;
const INPUT: u8 = 2;
const CALLER: u8 = 3;
const CALLER_ODD: u8 = 4;
const MODEL: u8 = 5;
const TICK: u8 = 6;
const VOICE: u8 = 7;
const SILENCE: u8 = 8;
const NOT_FED: u8 = 9;
const NOT_PLAYED: u8 = 10;
const ACTION: u8 = 16;
const FEED: u8 = 17;
const FEED_ODD: u8 = 18;
const PLAY: u8 = 19;
const PLAY_ODD: u8 = 20;

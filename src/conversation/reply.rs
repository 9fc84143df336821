//! What the agent says: planned, played, and in the end what was really heard.
//!
//! A model announces a sentence (a caption), sends its audio, and much later, if ever, the text
//! that it counts as said. The carrier plays less than all of it when the caller speaks up. A
//! [`Reply`] holds the three side by side, by position in its audio, until its line is certain.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{config::Config, playout::Heard};
use crate::{
    conversation::SessionId,
    model::{ReplyId, Said},
    transcript::{Speaker, collapse_white_space},
};

/// Names a reply within a call, across sessions; grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReplyKey(pub(super) u64);

/// A line that is certain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) began: Instant,
    pub(super) text: String,
    pub(super) cut: bool,
}

/// The replies whose lines are not certain yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Replies {
    open: VecDeque<Reply>,
    next: u64,
    /// Everything up to this one was cut or is done with: what still comes of it is void.
    void: Option<(SessionId, ReplyId)>,
    /// The sentences of lines that are gone already, to know a doubled or late one.
    recent: VecDeque<String>,
}

#[derive(Debug)]
struct Reply {
    key: ReplyKey,
    source: (SessionId, ReplyId),
    segments: Vec<Segment>,
    received: Duration,
    heard: Duration,
    began: Option<Instant>,
    ended: bool,
    /// Its session was left before it had said everything.
    broken: bool,
    cut: bool,
    /// Since when nothing more of it will be heard.
    closed: Option<Instant>,
}

/// A sentence and the stretch of the reply's audio that speaks it.
#[derive(Debug)]
struct Segment {
    caption: String,
    text: Option<String>,
    start: Duration,
    end: Duration,
}

impl Replies {
    /// The reply that the model names so; `None` when it was cut.
    pub(super) fn key(&mut self, session: SessionId, id: ReplyId) -> Option<ReplyKey> {
        let source = (session, id);
        if let Some(reply) = self.open.iter().rev().find(|reply| reply.source == source) {
            return (!reply.cut).then_some(reply.key);
        }
        if self.void.is_some_and(|void| source <= void) {
            return None;
        }
        self.next += 1;
        let key = ReplyKey(self.next);
        self.open.push_back(Reply {
            key,
            source,
            segments: Vec::new(),
            received: Duration::ZERO,
            heard: Duration::ZERO,
            began: None,
            ended: false,
            broken: false,
            cut: false,
            closed: None,
        });
        Some(key)
    }

    /// Whether the model has not named this reply before.
    pub(super) fn is_new(&self, session: SessionId, id: ReplyId) -> bool {
        let source = (session, id);
        self.void.is_none_or(|void| source > void)
            && self.open.iter().all(|reply| reply.source != source)
    }

    /// The model means to say this next.
    pub(super) fn caption(&mut self, key: ReplyKey, text: &str) {
        let Some(reply) = self.find(key) else { return };
        let at = reply.received;
        reply.segments.push(Segment {
            caption: collapse_white_space(text),
            text: None,
            start: at,
            end: at,
        });
    }

    /// The model means to say this in a reply that nobody hears any more: its final text may come
    /// all the same, and belongs to no other sentence.
    pub(super) fn unheard_caption(&mut self, text: &str) {
        self.recent.push_back(collapse_white_space(text));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// This much more of its audio came; answers with the new length.
    pub(super) fn audio(&mut self, key: ReplyKey, length: Duration) -> Duration {
        let Some(reply) = self.find(key) else {
            return Duration::ZERO;
        };
        if reply.segments.is_empty() {
            reply.segments.push(Segment {
                caption: String::new(),
                text: None,
                start: Duration::ZERO,
                end: Duration::ZERO,
            });
        }
        reply.received += length;
        let received = reply.received;
        reply
            .segments
            .last_mut()
            .into_iter()
            .for_each(|segment| segment.end = received);
        received
    }

    /// A frame of it goes out.
    pub(super) fn sent(&mut self, key: ReplyKey, now: Instant) {
        if let Some(reply) = self.find(key) {
            reply.began.get_or_insert(now);
        }
    }

    /// No more audio comes for it; answers with its length.
    pub(super) fn end(&mut self, key: ReplyKey) -> Duration {
        let Some(reply) = self.find(key) else {
            return Duration::ZERO;
        };
        reply.ended = true;
        reply.received
    }

    /// Whether the model is in the middle of a reply.
    pub(super) fn is_coming(&self) -> bool {
        self.open.iter().any(|reply| !reply.ended && !reply.cut)
    }

    /// The session is left: what it was saying ends with the audio that is here. Answers with the
    /// lengths of what was broken off.
    pub(super) fn break_off(&mut self) -> Vec<(ReplyKey, Duration)> {
        let coming = self
            .open
            .iter_mut()
            .filter(|reply| !reply.ended && !reply.cut);
        coming
            .map(|reply| {
                reply.ended = true;
                reply.broken = true;
                (reply.key, reply.received)
            })
            .collect()
    }

    /// What the agent has said or is saying and no line keeps yet, taking what is queued as said.
    pub(super) fn unrecorded(&self, now: Instant) -> Vec<(Instant, Said)> {
        let replies = self.open.iter().map(|reply| {
            let heard = if reply.cut {
                reply.heard
            } else {
                reply.received
            };
            let text = reply.text_until(heard);
            (
                reply.began.unwrap_or(now),
                Said {
                    speaker: Speaker::Agent,
                    text,
                },
            )
        });
        replies.filter(|(_, said)| !said.text.is_empty()).collect()
    }

    /// A name for audio that is no reply and leaves no line.
    pub(super) fn name(&mut self) -> ReplyKey {
        self.next += 1;
        ReplyKey(self.next)
    }

    /// The caller has heard this much; replies that are through are closed. Answers how many.
    pub(super) fn heard(&mut self, now: Instant, heard: Option<Heard>, all: bool) -> usize {
        let mut closed = 0;
        for reply in self.open.iter_mut().filter(|reply| reply.closed.is_none()) {
            match heard {
                Some(heard) if reply.key < heard.reply || all => reply.heard = reply.received,
                Some(heard) if reply.key == heard.reply => {
                    reply.heard = reply.heard.max(heard.upto.min(reply.received))
                }
                Some(_) | None => {}
            }
            if reply.ended && reply.heard >= reply.received {
                reply.closed = Some(now);
                closed += 1;
            }
        }
        closed
    }

    /// Whether some reply is not through: more of it is to be heard, or to come.
    pub(super) fn unfinished(&self) -> bool {
        self.open.iter().any(|reply| reply.closed.is_none())
    }

    /// Nothing more of any reply will be heard. Answers how many were cut short.
    pub(super) fn cut(&mut self, now: Instant) -> usize {
        let mut cut = 0;
        for reply in self.open.iter_mut().filter(|reply| reply.closed.is_none()) {
            reply.cut = true;
            reply.closed = Some(now);
            cut += 1;
        }
        self.void = self.void.max(self.open.back().map(|reply| reply.source));
        cut
    }

    /// The model counts this sentence as said. Which one it is follows from the words first and
    /// from the order second, never from the time: it comes seconds late.
    pub(super) fn final_text(&mut self, text: &str) {
        let text = collapse_white_space(text);
        if text.is_empty() {
            return;
        }
        let mut segments = self.open.iter_mut().flat_map(|reply| &mut reply.segments);
        if let Some(segment) =
            segments.find(|segment| segment.text.is_none() && segment.caption == text)
        {
            segment.text = Some(text);
            return;
        }
        let mut segments = self.open.iter().flat_map(|reply| &reply.segments);
        let doubled = segments.any(|segment| {
            segment
                .text
                .as_ref()
                .is_some_and(|known| known.contains(&text))
        });
        if doubled {
            return;
        }
        let part_of = |segment: &&mut Segment| segment.caption.contains(&text);
        let mut segments = self.open.iter_mut().flat_map(|reply| &mut reply.segments);
        if let Some(segment) = segments.find(part_of) {
            segment.append(&text);
            return;
        }
        // All of a line that is gone, or a piece of it.
        if self.recent.iter().any(|known| known.contains(&text)) {
            return;
        }
        let mut segments = self.open.iter_mut().flat_map(|reply| &mut reply.segments);
        if let Some(segment) = segments.find(|segment| segment.text.is_none()) {
            segment.text = Some(text);
        } else if let Some(segment) = self
            .open
            .back_mut()
            .and_then(|reply| reply.segments.last_mut())
        {
            segment.append(&text);
        }
    }

    /// The next line that is certain by `now`, in order; with `all`, as certain as it gets.
    pub(super) fn take_line(&mut self, now: Instant, all: bool, config: &Config) -> Option<Line> {
        loop {
            let front = self.open.front()?;
            if front.certain_at(config)? > now && !all {
                return None;
            }
            let reply = self.open.pop_front()?;
            self.void = self.void.max(Some(reply.source));
            for segment in &reply.segments {
                // Pieces of it may still come.
                self.recent.push_back(segment.caption.clone());
                let other = segment.text.iter().filter(|text| **text != segment.caption);
                self.recent.extend(other.cloned());
            }
            while self.recent.len() > RECENT {
                self.recent.pop_front();
            }
            let text = reply.text_until(reply.heard);
            if let Some(began) = reply.began
                && !text.is_empty()
            {
                return Some(Line {
                    began,
                    text,
                    cut: reply.cut || reply.broken,
                });
            }
        }
    }

    /// When the next line is certain at the latest.
    pub(super) fn certain_at(&self, config: &Config) -> Option<Instant> {
        self.open.front()?.certain_at(config)
    }

    fn find(&mut self, key: ReplyKey) -> Option<&mut Reply> {
        self.open.iter_mut().rev().find(|reply| reply.key == key)
    }
}

impl Reply {
    /// `None` while it is still to be heard.
    fn certain_at(&self, config: &Config) -> Option<Instant> {
        let closed = self.closed?;
        let heard = || {
            self.segments
                .iter()
                .filter(|segment| segment.start < self.heard)
        };
        // Text shorter than its caption may be the first of several pieces.
        let complete = |segment: &Segment| {
            segment
                .text
                .as_ref()
                .is_some_and(|text| text.len() >= segment.caption.len())
        };
        if heard().all(complete) {
            return Some(closed);
        }
        Some(
            closed
                + if self.cut {
                    config.cut_text_wait
                } else {
                    config.final_text_wait
                },
        )
    }

    /// The words up to a position in the audio.
    fn text_until(&self, heard: Duration) -> String {
        let mut words = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            if segment.start >= heard {
                break;
            }
            let complete = (self.ended && !self.broken) || index + 1 < self.segments.len();
            let text = segment.words();
            words.push(if complete && heard >= segment.end {
                text
            } else {
                segment.heard_part(text, heard, complete)
            });
        }
        collapse_white_space(&words.join(" "))
    }
}

impl Segment {
    /// What it says: the final text, unless that is a piece of the caption and the other pieces
    /// never came. What of it was heard is then a matter of position.
    fn words(&self) -> &str {
        let text = self.text.as_deref();
        text.filter(|text| !self.caption.contains(text))
            .unwrap_or(&self.caption)
    }

    fn append(&mut self, text: &str) {
        match &mut self.text {
            Some(known) => {
                known.push(' ');
                known.push_str(text);
            }
            None => self.text = Some(text.to_owned()),
        }
    }

    /// The words of `text` that end before the position `heard`, taking speech as even.
    fn heard_part<'a>(&self, text: &'a str, heard: Duration, complete: bool) -> &'a str {
        let spoken = heard.saturating_sub(self.start).as_secs_f64();
        let known = (self.end - self.start).as_secs_f64();
        // Of a sentence whose audio is not all here, the rest is estimated.
        let whole = self.caption.chars().count().max(text.chars().count());
        #[expect(clippy::cast_precision_loss, reason = "a sentence has few characters")]
        let length = if complete {
            known
        } else {
            known.max(whole as f64 * SECONDS_PER_CHARACTER)
        };
        if length <= 0.0 {
            return "";
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of few characters, not negative"
        )]
        let characters = (spoken / length * whole as f64 + 0.5) as usize;
        let limit = text
            .char_indices()
            .nth(characters)
            .map_or(text.len(), |(at, _)| at);
        if limit == text.len() || text[limit..].starts_with(char::is_whitespace) {
            return text[..limit].trim_end();
        }
        text[..limit]
            .rfind(char::is_whitespace)
            .map_or("", |at| text[..at].trim_end())
    }
}

/// How many final texts are remembered to know a doubled one.
const RECENT: usize = 256;

/// English speech at a calm pace: about fifteen characters a second.
const SECONDS_PER_CHARACTER: f64 = 0.065;

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary origin for simulated time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    /// A reply of sentences of one second each, all sent and begun at `now`.
    fn reply(replies: &mut Replies, id: u64, now: Instant, sentences: &[&str]) -> ReplyKey {
        let key = replies.key(SESSION, ReplyId(id)).unwrap();
        for sentence in sentences {
            replies.caption(key, sentence);
            replies.audio(key, SECOND);
        }
        replies.sent(key, now);
        replies.end(key);
        key
    }

    fn line(replies: &mut Replies, now: Instant) -> Option<(String, bool)> {
        replies
            .take_line(now, false, &Config::default())
            .map(|line| (line.text, line.cut))
    }

    #[test]
    fn a_heard_reply_is_one_line_once_its_final_text_is_there() {
        let (mut replies, now) = (Replies::default(), start());
        let key = reply(&mut replies, 1, now, &["Good morning.", "This is Esther."]);
        replies.final_text("Good  morning.");
        replies.heard(
            now,
            Some(Heard {
                reply: key,
                upto: 2 * SECOND,
            }),
            false,
        );
        assert_eq!(line(&mut replies, now), None);
        replies.final_text("This is Esther.");
        assert_eq!(
            line(&mut replies, now),
            Some(("Good morning. This is Esther.".to_owned(), false))
        );
        replies.final_text("This is Esther.");
        assert_eq!(
            line(&mut replies, now + 60 * SECOND),
            None,
            "a doubled final text is not said twice"
        );
    }

    /// Nova Sonic checklist 21.
    #[test]
    fn late_final_text_belongs_to_its_own_reply_though_the_next_one_has_begun() {
        let (mut replies, now) = (Replies::default(), start());
        let first = reply(&mut replies, 1, now, &["Are you the pastor?"]);
        let second = reply(&mut replies, 2, now, &["Wonderful."]);
        replies.heard(
            now,
            Some(Heard {
                reply: first,
                upto: SECOND,
            }),
            false,
        );
        replies.final_text("Wonderful.");
        replies.final_text("Are you the pastor?");
        assert_eq!(
            line(&mut replies, now),
            Some(("Are you the pastor?".to_owned(), false))
        );
        replies.heard(
            now,
            Some(Heard {
                reply: second,
                upto: SECOND,
            }),
            false,
        );
        assert_eq!(
            line(&mut replies, now),
            Some(("Wonderful.".to_owned(), false))
        );
    }

    #[test]
    fn final_text_that_never_comes_loses_nothing() {
        let (mut replies, now) = (Replies::default(), start());
        let key = reply(&mut replies, 1, now, &["Hello."]);
        replies.heard(
            now,
            Some(Heard {
                reply: key,
                upto: SECOND,
            }),
            false,
        );
        assert_eq!(line(&mut replies, now + 9 * SECOND), None);
        assert_eq!(
            line(&mut replies, now + 10 * SECOND),
            Some(("Hello.".to_owned(), false))
        );
    }

    #[test]
    fn a_cut_line_ends_at_the_last_word_heard() {
        let (mut replies, now) = (Replies::default(), start());
        let key = reply(
            &mut replies,
            1,
            now,
            &["First sentence.", "one two three four five six"],
        );
        replies.final_text("First sentence.");
        replies.heard(
            now,
            Some(Heard {
                reply: key,
                upto: SECOND + SECOND / 2,
            }),
            false,
        );
        assert_eq!(replies.cut(now), 1);
        assert_eq!(
            replies.key(SESSION, ReplyId(1)),
            None,
            "what still comes of it is void"
        );
        assert_eq!(
            line(&mut replies, now + SECOND),
            Some(("First sentence. one two three".to_owned(), true))
        );
    }

    #[test]
    fn a_reply_cut_before_its_first_word_leaves_no_line() {
        let (mut replies, now) = (Replies::default(), start());
        reply(&mut replies, 1, now, &["Hello there."]);
        replies.cut(now);
        assert_eq!(line(&mut replies, now + 60 * SECOND), None);
        assert_eq!(replies.key(SESSION, ReplyId(1)), None);
        assert!(replies.key(SESSION, ReplyId(2)).is_some());
    }

    #[test]
    fn a_late_piece_of_a_line_that_is_gone_belongs_to_no_other_line() {
        let (mut replies, now) = (Replies::default(), start());
        let first = reply(&mut replies, 1, now, &["One thing. And another."]);
        replies.final_text("One thing.");
        let heard = |reply| {
            Some(Heard {
                reply,
                upto: SECOND,
            })
        };
        replies.heard(now, heard(first), false);
        let later = now + 11 * SECOND;
        assert_eq!(
            line(&mut replies, later),
            Some(("One thing. And another.".to_owned(), false)),
            "what was heard is not lost because a piece of the text is late"
        );
        let second = reply(&mut replies, 2, later, &["Something else."]);
        replies.final_text("And another.");
        replies.final_text("One thing.");
        replies.heard(later, heard(second), false);
        replies.final_text("Something else.");
        assert_eq!(
            line(&mut replies, later),
            Some(("Something else.".to_owned(), false))
        );
    }

    #[test]
    fn final_text_of_a_sentence_that_nobody_heard_belongs_to_no_other_one() {
        let (mut replies, now) = (Replies::default(), start());
        replies.unheard_caption("A sentence after the cut.");
        let key = reply(&mut replies, 2, now, &["Something else."]);
        replies.final_text("A sentence after the cut.");
        let heard = Heard {
            reply: key,
            upto: SECOND,
        };
        replies.heard(now, Some(heard), false);
        assert_eq!(
            line(&mut replies, now + 10 * SECOND),
            Some(("Something else.".to_owned(), false))
        );
    }

    #[test]
    fn final_text_in_other_pieces_than_the_captions_is_kept_whole() {
        let (mut replies, now) = (Replies::default(), start());
        let key = reply(&mut replies, 1, now, &["One thing. And another."]);
        replies.heard(
            now,
            Some(Heard {
                reply: key,
                upto: SECOND,
            }),
            false,
        );
        replies.final_text("One thing.");
        assert_eq!(line(&mut replies, now), None, "the rest may follow");
        replies.final_text("And another.");
        assert_eq!(
            line(&mut replies, now),
            Some(("One thing. And another.".to_owned(), false))
        );
    }
}

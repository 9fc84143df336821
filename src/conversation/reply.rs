//! What the agent says: planned, played, and in the end what was really heard.
//!
//! A model announces a sentence (a caption), sends its audio, and much later, if ever, the text
//! that it counts as said. The carrier plays less than all of it when the caller speaks up. A
//! [`Reply`] holds the three side by side, by position in its audio, until its line is certain.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    config::Config,
    playout::Heard,
    wording::{Segment, Token, place, resemblance, settle, tokens},
};
use crate::{
    conversation::SessionId,
    model::{ReplyId, Said},
    transcript::{Speaker, collapse_white_space},
};

/// Names a reply within a call, across sessions; grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReplyKey(pub(super) u64);

impl ReplyKey {
    /// Audio that is no reply and leaves no line: before all replies, so that hearing it does not
    /// say that any of them was heard.
    pub(super) const NONE: Self = Self(0);
}

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
    /// The words of lines that are written already, to know doubled or late ones.
    recent: VecDeque<Vec<Token>>,
    /// How many sentences among them have got no final text.
    owed: u32,
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
        reply.segments.push(Segment::new(text, at));
    }

    /// The model means to say this in a reply that nobody hears any more: its final text may come
    /// all the same, and belongs to no other sentence.
    pub(super) fn unheard_caption(&mut self, text: &str) {
        self.recent.push_back(tokens(text));
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
            reply.segments.push(Segment::new("", Duration::ZERO));
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

    /// The model counts this as said. What it is follows from the words first and from the order
    /// second, never from the time: it comes seconds late.
    pub(super) fn final_text(&mut self, session: SessionId, text: &str) {
        let text = tokens(text);
        if text.is_empty() {
            return;
        }
        let best = self
            .of(session)
            .filter_map(|reply| Some((reply.key, place(&reply.segments, &text)?)))
            .reduce(|best, next| if next.1.beats(&best.1) { next } else { best });
        let known = self
            .recent
            .iter()
            .filter_map(|known| resemblance(known, &text));
        let known = known.max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)));
        match (best, known) {
            (Some((_, at)), Some(known)) if at.is_worse_than(known) => {}
            (Some((key, at)), _) => {
                if let Some(reply) = self.find(key) {
                    settle(&mut reply.segments, at, &text);
                }
                return;
            }
            (None, None) => return self.unlike_anything(session, &text),
            (None, Some(_)) => {}
        }
        // The line is written already.
        self.owed = self.owed.saturating_sub(1);
    }

    /// Final text in words of its own belongs to the oldest sentence that has none.
    fn unlike_anything(&mut self, session: SessionId, text: &[Token]) {
        let mut segments = self.open.iter().flat_map(|reply| &reply.segments);
        if segments.any(|segment| segment.has(text)) {
            return;
        }
        // What the session before said is no news of this one.
        let mut elsewhere = self
            .open
            .iter()
            .filter(|reply| reply.source.0 != session)
            .flat_map(|reply| &reply.segments);
        if elsewhere.any(|segment| place(std::slice::from_ref(segment), text).is_some()) {
            return;
        }
        let of_session = |reply: &&mut Reply| reply.source.0 == session;
        let mut segments = self
            .open
            .iter_mut()
            .filter(of_session)
            .flat_map(|reply| &mut reply.segments);
        if let Some(bare) = segments.find(|segment| segment.is_bare() && segment.is_unsaid()) {
            return bare.append(text);
        }
        if self.owed > 0 {
            self.owed -= 1;
            return;
        }
        let mut segments = self
            .open
            .iter_mut()
            .filter(of_session)
            .flat_map(|reply| &mut reply.segments);
        if let Some(segment) = segments.find(|segment| segment.is_unsaid()) {
            segment.replace(text);
        } else if let Some(segment) = self
            .open
            .iter_mut()
            .rfind(of_session)
            .and_then(|reply| reply.segments.last_mut())
        {
            segment.append(text);
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
            self.remember(&reply);
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

    /// What of it still comes as final text is no news.
    fn remember(&mut self, reply: &Reply) {
        let mut spellings: [Vec<Token>; 2] = Default::default();
        for segment in &reply.segments {
            for (all, one) in spellings.iter_mut().zip(segment.spellings()) {
                all.extend(one);
            }
            let waits = !reply.cut && segment.start < reply.heard && segment.is_unsaid();
            self.owed += u32::from(waits && !segment.is_bare());
        }
        let [planned, said] = spellings;
        let both = planned != said;
        self.recent.push_back(said);
        self.recent.extend(both.then_some(planned));
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// The replies of a session, oldest first.
    fn of(&self, session: SessionId) -> impl Iterator<Item = &Reply> {
        self.open
            .iter()
            .filter(move |reply| reply.source.0 == session)
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
        if heard().all(Segment::is_settled) {
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
            words.push(segment.heard_part(heard, complete));
        }
        collapse_white_space(&words.join(" "))
    }
}

/// So many recorded replies are remembered, most of them in two spellings: final text is seconds
/// late, not minutes.
const RECENT: usize = 64;

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
        replies.final_text(SESSION, "Good  morning.");
        replies.heard(
            now,
            Some(Heard {
                reply: key,
                upto: 2 * SECOND,
            }),
            false,
        );
        assert_eq!(line(&mut replies, now), None);
        replies.final_text(SESSION, "This is Esther.");
        assert_eq!(
            line(&mut replies, now),
            Some(("Good morning. This is Esther.".to_owned(), false))
        );
        replies.final_text(SESSION, "This is Esther.");
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
        replies.final_text(SESSION, "Wonderful.");
        replies.final_text(SESSION, "Are you the pastor?");
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
        replies.final_text(SESSION, "First sentence.");
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
        replies.final_text(SESSION, "One thing.");
        assert_eq!(line(&mut replies, now), None, "the rest may follow");
        replies.final_text(SESSION, "And another.");
        assert_eq!(
            line(&mut replies, now),
            Some(("One thing. And another.".to_owned(), false))
        );
    }
}

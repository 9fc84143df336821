//! What was answered to webhooks, in case the carrier asks again. Pure: time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::keys::Key;

/// What a webhook gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A call control object, as JSON.
    Ncco(String),
    /// Nothing.
    Empty,
}

/// The latest replies by the token ids of their requests, a bounded number of them.
///
/// Ids and targets are kept as keys, which lie in the tables themselves, and call control objects
/// side by side in large pieces: each by itself would hold on to a page of what a rush of calls
/// gives back.
#[derive(Debug, Default)]
pub(super) struct Replies {
    replies: HashMap<Key, Kept>,
    oldest_first: VecDeque<(Instant, Key)>,
    nccos: BytesMut,
}

#[derive(Debug)]
struct Kept {
    target: Key,
    ncco: Option<Bytes>,
}

/// A request carries the token of one to another target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OtherTarget;

impl Replies {
    /// Keeps the reply to the request `jti` to `target`.
    pub(super) fn keep(&mut self, jti: &str, target: &str, reply: &Reply, now: Instant) {
        while let Some((at, id)) = self.oldest_first.front()
            && (self.replies.len() >= MAX_REPLIES || now.saturating_duration_since(*at) > LIFE)
        {
            self.replies.remove(id);
            self.oldest_first.pop_front();
        }
        if self.replies.len() < self.replies.capacity() / 4 {
            // The rush is over.
            self.replies.shrink_to_fit();
            self.oldest_first.shrink_to_fit();
        }
        let ncco = match reply {
            Reply::Ncco(ncco) => Some(self.copy(ncco)),
            Reply::Empty => None,
        };
        let (id, target) = (Key::of(jti), Key::of(target));
        if self.replies.insert(id, Kept { target, ncco }).is_none() {
            self.oldest_first.push_back((now, id));
        }
    }

    /// What was replied to `jti`, if it is known, as long as it asked the same `target`.
    pub(super) fn find(&self, jti: &str, target: &str) -> Option<Result<Reply, OtherTarget>> {
        let kept = self.replies.get(&Key::of(jti))?;
        if kept.target != Key::of(target) {
            return Some(Err(OtherTarget));
        }
        Some(Ok(match &kept.ncco {
            Some(ncco) => Reply::Ncco(String::from_utf8_lossy(ncco).into_owned()),
            None => Reply::Empty,
        }))
    }

    fn copy(&mut self, ncco: &str) -> Bytes {
        if self.nccos.capacity() < ncco.len() {
            self.nccos = BytesMut::with_capacity(ncco.len().max(PIECE));
        }
        self.nccos.extend_from_slice(ncco.as_bytes());
        self.nccos.split().freeze()
    }
}

/// The objects of some sixty calls.
const PIECE: usize = 64 << 10;
/// A minute of a very busy node; about 4 MB where each is a call control object.
const MAX_REPLIES: usize = 4_096;
/// Longer than a signature is good for.
const LIFE: Duration = Duration::from_secs(330);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_found_as_it_was() {
        let mut replies = Replies::default();
        let now = crate::clock::now();
        let ncco = |n: usize| Reply::Ncco(format!("[{n}, \"{}\"]", "Grüß Gott ".repeat(n)));
        for n in 0..500 {
            replies.keep(&n.to_string(), "/answer", &ncco(n), now);
        }
        for n in 0..500 {
            let found = replies.find(&n.to_string(), "/answer");
            assert_eq!(found, Some(Ok(ncco(n))));
        }
    }

    #[test]
    fn the_latest_replies_are_kept_and_the_old_ones_forgotten() {
        let mut replies = Replies::default();
        let start = crate::clock::now();
        for n in 0..MAX_REPLIES * 2 {
            replies.keep(&n.to_string(), "/", &Reply::Empty, start);
        }
        assert_eq!(replies.replies.len(), MAX_REPLIES);
        assert!(replies.find("0", "/").is_none());
        let last = (MAX_REPLIES * 2 - 1).to_string();
        assert_eq!(replies.find(&last, "/"), Some(Ok(Reply::Empty)));
        assert_eq!(replies.find(&last, "/other"), Some(Err(OtherTarget)));
        let later = start + LIFE + Duration::from_secs(1);
        replies.keep("late", "/", &Reply::Empty, later);
        assert_eq!(replies.replies.len(), 1);
        assert_eq!(replies.oldest_first.len(), 1);
        assert!(replies.replies.capacity() < 100 && replies.oldest_first.capacity() < 100);
    }
}

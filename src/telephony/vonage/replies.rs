//! What was answered to webhooks, in case the carrier asks again. Pure: time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// What a webhook gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A call control object, as JSON.
    Ncco(String),
    /// Nothing.
    Empty,
}

/// The latest replies by the token ids of their requests, a bounded number of them.
#[derive(Debug, Default)]
pub(super) struct Replies {
    replies: HashMap<String, (String, Reply)>,
    oldest_first: VecDeque<(Instant, String)>,
}

impl Replies {
    /// Keeps the reply to the request `jti` to `target`.
    pub(super) fn keep(&mut self, jti: String, target: String, reply: Reply, now: Instant) {
        while let Some((at, jti)) = self.oldest_first.front()
            && (self.replies.len() >= MAX_REPLIES || now.saturating_duration_since(*at) > LIFE)
        {
            self.replies.remove(jti);
            self.oldest_first.pop_front();
        }
        if self.replies.insert(jti.clone(), (target, reply)).is_none() {
            self.oldest_first.push_back((now, jti));
        }
    }

    /// What was replied to `jti`, and the target that it asked.
    pub(super) fn find(&self, jti: &str) -> Option<&(String, Reply)> {
        self.replies.get(jti)
    }
}

/// A minute of a very busy node; about 4 MB.
const MAX_REPLIES: usize = 4_096;
/// Longer than a signature is good for.
const LIFE: Duration = Duration::from_secs(330);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_replies_are_kept_and_the_old_ones_forgotten() {
        let mut replies = Replies::default();
        let start = crate::clock::now();
        for n in 0..MAX_REPLIES * 2 {
            replies.keep(n.to_string(), "/".to_owned(), Reply::Empty, start);
        }
        assert_eq!(replies.replies.len(), MAX_REPLIES);
        assert!(replies.find("0").is_none());
        assert!(replies.find(&(MAX_REPLIES * 2 - 1).to_string()).is_some());
        let later = start + LIFE + Duration::from_secs(1);
        replies.keep("late".to_owned(), "/".to_owned(), Reply::Empty, later);
        assert_eq!(replies.replies.len(), 1);
        assert_eq!(replies.oldest_first.len(), 1);
    }
}

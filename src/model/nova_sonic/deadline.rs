//! What has to happen by when, in the reading half of a session. Pure: time is an argument.

use std::time::{Duration, Instant};

/// The deadlines of one session.
#[derive(Debug)]
pub(super) struct Deadlines {
    reply_timeout: Duration,
    close_timeout: Duration,
    /// The session is closing and will be cut at this time.
    closing: Option<Instant>,
    /// The input was refused; the output should tell why by this time.
    lost: Option<Instant>,
    /// A reply, or at least a sign of life, should have come by this time.
    reply: Option<Instant>,
}

/// What has not happened in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// The end of a stream that was closed by the book.
    Close,
    /// The reason why the input was refused.
    Reason,
    /// A reply.
    Reply,
}

impl Deadlines {
    /// Nothing is due yet.
    pub(super) fn new(reply_timeout: Duration, close_timeout: Duration) -> Self {
        Self {
            reply_timeout,
            close_timeout,
            closing: None,
            lost: None,
            reply: None,
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.closing, self.lost, self.reply]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the end of the stream is expected.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether the input was refused.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// The session is being closed: no reply is due any more, only the end.
    pub(super) fn close(&mut self, now: Instant) {
        self.closing = Some(now + self.close_timeout);
        self.reply = None;
    }

    /// The input is refused: whoever did it should say why.
    pub(super) fn lose(&mut self, now: Instant) {
        self.lost = Some(now + REASON);
    }

    /// A reply is due.
    pub(super) fn expect_reply(&mut self, now: Instant) {
        if !self.is_closing() {
            self.reply = Some(now + self.reply_timeout);
        }
    }

    /// Anything at all came: the reply may take its time anew.
    pub(super) fn sign_of_life(&mut self, now: Instant) {
        if self.reply.is_some() {
            self.expect_reply(now);
        }
    }

    /// The reply has begun.
    pub(super) fn replied(&mut self) {
        self.reply = None;
    }

    /// What was missed by `now`, when the caller was last heard at `heard`.
    pub(super) fn missed(&mut self, now: Instant, heard: Instant) -> Option<Missed> {
        let passed = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if passed(self.closing) {
            return Some(Missed::Close);
        }
        if passed(self.lost) {
            return Some(Missed::Reason);
        }
        let due = self.reply.filter(|due| *due <= now)?;
        if now > due + LATE {
            // We are the late ones: a machine that stood still says nothing about the service.
            self.expect_reply(now);
            return None;
        }
        // Who still speaks gets no reply yet.
        let quiet_until = heard + self.reply_timeout;
        if quiet_until > now {
            self.reply = Some(quiet_until);
            return None;
        }
        Some(Missed::Reply)
    }
}

/// The reason for a refused input comes on the output side at once, if it comes.
const REASON: Duration = Duration::from_secs(1);

/// A timer that fires this much too late was held up by the machine.
const LATE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn deadlines() -> (Deadlines, Instant) {
        (Deadlines::new(S * 10, S * 5), crate::clock::now())
    }

    #[test]
    fn a_reply_is_due_in_time_once_it_was_asked_for() {
        let (mut deadlines, start) = deadlines();
        assert_eq!(deadlines.next(), None);
        assert_eq!(deadlines.missed(start + S * 100, start), None);
        deadlines.expect_reply(start);
        assert_eq!(deadlines.next(), Some(start + S * 10));
        assert_eq!(deadlines.missed(start + S * 9, start), None);
        assert_eq!(deadlines.missed(start + S * 10, start), Some(Missed::Reply));
    }

    #[test]
    fn a_reply_that_began_is_not_missed() {
        let (mut deadlines, start) = deadlines();
        deadlines.expect_reply(start);
        deadlines.replied();
        deadlines.sign_of_life(start);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_sign_of_life_gives_the_reply_more_time() {
        let (mut deadlines, start) = deadlines();
        deadlines.expect_reply(start);
        deadlines.sign_of_life(start + S * 8);
        assert_eq!(deadlines.missed(start + S * 10, start), None);
        assert_eq!(deadlines.missed(start + S * 18, start), Some(Missed::Reply));
    }

    #[test]
    fn a_caller_who_still_speaks_is_owed_no_reply() {
        let (mut deadlines, start) = deadlines();
        deadlines.expect_reply(start);
        assert_eq!(deadlines.missed(start + S * 10, start + S * 7), None);
        assert_eq!(deadlines.next(), Some(start + S * 17));
        let now = start + S * 17;
        assert_eq!(deadlines.missed(now, start + S * 7), Some(Missed::Reply));
    }

    #[test]
    fn a_machine_that_stood_still_blames_nobody() {
        let (mut deadlines, start) = deadlines();
        deadlines.expect_reply(start);
        let now = start + S * 60;
        assert_eq!(deadlines.missed(now, start), None);
        assert_eq!(deadlines.missed(now + S * 10, start), Some(Missed::Reply));
    }

    #[test]
    fn a_closing_session_is_owed_nothing_but_its_end() {
        let (mut deadlines, start) = deadlines();
        deadlines.expect_reply(start);
        deadlines.close(start);
        deadlines.expect_reply(start);
        assert_eq!(deadlines.next(), Some(start + S * 5));
        assert_eq!(deadlines.missed(start + S * 5, start), Some(Missed::Close));
    }

    #[test]
    fn a_refused_input_is_explained_soon_or_not_at_all() {
        let (mut deadlines, start) = deadlines();
        deadlines.lose(start);
        assert!(deadlines.is_lost());
        assert_eq!(
            deadlines.missed(start + REASON, start),
            Some(Missed::Reason)
        );
    }
}

//! The host's own calendar on a CalDAV server (RFC 4791).
//!
//! A server has no lock over times, only over names: two events may lie at one time. So the
//! shared state stays what gives a time away once, as in [`EmbeddedCalendar`], and the server
//! follows it. What others enter there makes the host busy, and is looked at once more before a
//! meeting is booked; only the moment between that look and the entry is open, in which the host
//! may enter something by hand.
//!
//! Each change of a meeting leaves a note in the same write. The event on the server is then made
//! to say what the state says, and the note removed; where that fails or the node dies,
//! [`settle`](CalDavCalendar::settle) does it later. An event is read before the state is, and
//! written only if nobody has changed it since: so of two nodes that follow two changes at once,
//! the older one never wins.

mod event;
mod ics;
mod server;
mod wire;
mod zone;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use self::server::{Condition, Kept, Server};
use super::{Busy, Calendar, EmbeddedCalendar, Invitation, Meeting, queue};
use crate::{
    clock,
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    private::Private,
    state::{IdRange, Record, StateStore, Write},
};

/// Where a calendar is, and what is written into it.
#[derive(Clone)]
#[non_exhaustive]
pub struct CalDavConfig {
    /// The calendar's own address: https, or http on this machine.
    pub url: String,
    /// Who may write into it.
    pub user: Option<String>,
    /// Their password.
    pub password: Option<Private<String>>,
    /// The zone of days and times that name none: where the host lives.
    pub zone: TimeZone,
    /// What an event says besides the meeting.
    pub event: Invitation,
    /// How long a request may take. Default: 6 s, since a caller waits for it.
    pub timeout: Duration,
}

impl CalDavConfig {
    /// The calendar at `url` of somebody who lives in `zone`.
    #[must_use]
    pub fn new(url: impl Into<String>, zone: TimeZone, event: Invitation) -> Self {
        Self {
            url: url.into(),
            user: None,
            password: None,
            zone,
            event,
            timeout: Duration::from_secs(6),
        }
    }
}

impl fmt::Debug for CalDavConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalDavConfig")
            .field("zone", &self.zone.iana_name())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Meetings in the shared state and in the host's calendar. Cheap to clone.
///
/// A server that cannot be reached gives [`Unavailable`](ProviderErrorKind::Unavailable) or
/// [`TimedOut`](ProviderErrorKind::TimedOut) before anything is booked. Once a meeting is entered
/// in the state it is booked, moved or cancelled, and the server learns of it when it answers.
#[derive(Clone, Debug)]
pub struct CalDavCalendar {
    server: Server,
    state: Arc<dyn StateStore>,
    meetings: EmbeddedCalendar,
    zone: TimeZone,
    event: Arc<Invitation>,
}

impl CalDavCalendar {
    /// The calendar that `config` names, for the meetings that `state` keeps.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ProviderErrorKind::Invalid) when its address is none to which a password may
    /// be sent.
    pub fn new(config: CalDavConfig, state: Arc<dyn StateStore>) -> Result<Self, ProviderError> {
        Ok(Self {
            server: Server::new(&config)?,
            meetings: EmbeddedCalendar::new(Arc::clone(&state)).mirrored(),
            state,
            zone: config.zone,
            event: Arc::new(config.event),
        })
    }

    /// The same, and each change of a meeting whose guest has an address is written down as an
    /// invitation in the same step, for an `Outbox` to send.
    #[must_use]
    pub fn with_invitations(mut self) -> Self {
        self.meetings = self.meetings.with_invitations();
        self
    }

    /// Looks whether the calendar is there and lets the user in.
    ///
    /// # Errors
    ///
    /// What is wrong and how to mend it.
    pub async fn check(&self) -> Result<(), ProviderError> {
        match self.server.is_calendar().await? {
            true => Ok(()),
            false => Err(
                ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_detail(
                    "what is at the address is no calendar: give the address of the calendar \
                     itself, not that of its user",
                ),
            ),
        }
    }

    /// Tells the server what it has not heard yet, of changes that are a quarter of a minute old
    /// at `now`; answers with how many are left. Any number of nodes may do so at the same time.
    ///
    /// # Errors
    ///
    /// When the state cannot be read or the server cannot be reached.
    pub async fn settle(&self, now: Timestamp) -> Result<usize, ProviderError> {
        let mut left = 0;
        let mut range = IdRange::all();
        loop {
            let notes = self.state.list(queue::NOTES, &range, PAGE, now).await?;
            let Some(last) = notes.last() else {
                return Ok(left);
            };
            range.after = Some(last.key.id.clone());
            for note in &notes {
                if age(note, now) < UNDER_WAY {
                    left += 1;
                    continue;
                }
                match self.follow(&note.key.id, None, now).await {
                    Ok(()) => {}
                    Err(error) if error.kind().is_retryable() => return Err(error),
                    Err(error) => {
                        left += 1;
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            uid = note.key.id,
                            "a meeting is not in the host's calendar as it should be"
                        );
                    }
                }
            }
        }
    }

    /// Makes the event on the server say what the state says of the meeting. `first` is what is
    /// known of the event already.
    async fn follow(
        &self,
        uid: &str,
        mut first: Option<Option<Kept>>,
        now: Timestamp,
    ) -> Result<(), ProviderError> {
        for _ in 0..ROUNDS {
            let note = self.state.get(&queue::note_key(uid), now).await?;
            let Some(note) = note else {
                return Ok(());
            };
            // In this order: what is written must not be older than what was read.
            let kept = match first.take() {
                Some(known) => known,
                None => self.server.get(uid).await?,
            };
            let meeting = self.meetings.find(uid).await?;
            let is_done = match (meeting, kept) {
                (Some((meeting, _)), None) => {
                    let text = self.event.to_event(&meeting, now);
                    self.server.put(uid, text, Condition::Absent).await?
                }
                (Some((meeting, _)), Some(kept)) => {
                    let text = event::revised(&kept.text, &meeting, now)
                        .unwrap_or_else(|| self.event.to_event(&meeting, now));
                    let same = Condition::Same(kept.etag.as_deref());
                    self.server.put(uid, text, same).await?
                }
                (None, Some(kept)) => self.server.delete(uid, kept.etag.as_deref()).await?,
                // A node that died while it booked may have sent the event, to arrive after this.
                (None, None) if age(&note, now) < STRAGGLING => return Ok(()),
                (None, None) => true,
            };
            if !is_done {
                continue;
            }
            let done = Write::to(note.key.clone())
                .if_version(note.version)
                .delete();
            return match self.state.apply(vec![done], now).await {
                // Whoever changed the meeting again sees to it.
                Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => Ok(()),
                done => done,
            };
        }
        Err(ProviderError::new(PROVIDER, ProviderErrorKind::Unavailable)
            .with_detail("the event is being changed by others all the time"))
    }

    /// Follows a change for as long as a caller can wait; what is left is settled later.
    async fn follow_for_now(
        &self,
        uid: &str,
        first: Option<Option<Kept>>,
    ) -> Result<(), ProviderError> {
        let follow = self.follow(uid, first, clock::wall());
        let Ok(done) = tokio::time::timeout(PATIENCE, follow).await else {
            let slow = ProviderError::new(PROVIDER, ProviderErrorKind::TimedOut);
            return Err(slow.with_detail("the calendar server is slow"));
        };
        done
    }

    /// Something else lies in this time in the host's calendar.
    async fn is_taken(
        &self,
        uid: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<bool, ProviderError> {
        let taken = self.server.taken(start, end, &self.zone).await?;
        Ok(taken.iter().any(|taken| taken.uid != uid))
    }
}

#[async_trait]
impl Calendar for CalDavCalendar {
    async fn busy(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Busy>, ProviderError> {
        if from >= until {
            return Ok(Vec::new());
        }
        let taken = self.server.taken(from, until, &self.zone).await?;
        let mut busy = self.meetings.busy(from, until).await?;
        for taken in taken {
            // Most of our meetings are in both.
            if !busy.contains(&taken.busy) {
                busy.push(taken.busy);
            }
        }
        Ok(busy)
    }

    async fn book(&self, meeting: &Meeting) -> Result<(), ProviderError> {
        if self
            .is_taken(&meeting.uid, meeting.start, meeting.end)
            .await?
        {
            return Err(taken());
        }
        self.meetings.book(meeting).await?;
        match self.follow_for_now(&meeting.uid, Some(None)).await {
            Err(refused) if !refused.kind().is_retryable() => {
                // Nobody is told of a meeting that the host cannot see.
                self.meetings.withdraw(meeting).await?;
                Err(refused)
            }
            followed => {
                later(followed);
                Ok(())
            }
        }
    }

    async fn reschedule(&self, uid: &str, start: Timestamp) -> Result<Meeting, ProviderError> {
        let Some((old, _)) = self.meetings.find(uid).await? else {
            return Err(ProviderError::new(PROVIDER, ProviderErrorKind::NotFound));
        };
        if old.start != start {
            let length = old.end.duration_since(old.start);
            let end = start.checked_add(length).unwrap_or(Timestamp::MAX);
            if self.is_taken(uid, start, end).await? {
                return Err(taken());
            }
        }
        let moved = self.meetings.reschedule(uid, start).await?;
        later(self.follow_for_now(uid, None).await);
        Ok(moved)
    }

    async fn cancel(&self, uid: &str) -> Result<Option<Meeting>, ProviderError> {
        let cancelled = self.meetings.cancel(uid).await?;
        if cancelled.is_some() {
            later(self.follow_for_now(uid, None).await);
        }
        Ok(cancelled)
    }

    async fn of(&self, phone: &PhoneNumber, now: Timestamp) -> Result<Vec<Meeting>, ProviderError> {
        self.meetings.of(phone, now).await
    }
}

/// The server has not followed yet: its note stays.
fn later(followed: Result<(), ProviderError>) {
    if let Err(error) = followed {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the host's calendar follows a change of a meeting later"
        );
    }
}

fn taken() -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Conflict).with_detail("the time is taken")
}

/// How long ago a note was written.
fn age(note: &Record, now: Timestamp) -> SignedDuration {
    let since = note.value["since"].as_str();
    let since = since.and_then(|since| since.parse::<Timestamp>().ok());
    // Without a time it is of an age to be looked at.
    now.duration_since(since.unwrap_or(Timestamp::UNIX_EPOCH))
}

const PROVIDER: &str = "caldav";
const PAGE: usize = 100;

/// Others change one event at once; each of them is through after one round.
const ROUNDS: usize = 16;
/// How long a caller waits for the server after the meeting is booked.
const PATIENCE: Duration = Duration::from_secs(4);
/// Whoever made a younger change is still at it.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(15);
/// A request that was sent has arrived by then.
const STRAGGLING: SignedDuration = SignedDuration::from_secs(60);

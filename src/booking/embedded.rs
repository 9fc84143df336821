//! The calendar that needs no other program: meetings in the shared state.
//!
//! A meeting is two records that change together: itself under its number and `uid`, and the
//! time that it takes, which only one meeting can have.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::{Busy, Calendar, Meeting, Method, queue};
use crate::{
    clock,
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    state::{IdRange, Key, Record, StateStore, Write},
};

/// Keeps meetings where campaigns are kept.
#[derive(Clone, Debug)]
pub struct EmbeddedCalendar {
    state: Arc<dyn StateStore>,
    invites: bool,
    mirrored: bool,
}

impl EmbeddedCalendar {
    /// The meetings that `state` keeps.
    pub fn new(state: Arc<dyn StateStore>) -> Self {
        Self {
            state,
            invites: false,
            mirrored: false,
        }
    }

    /// The same, and each change of a meeting whose guest has an address is written down as an
    /// invitation in the same step, for an `Outbox` to send.
    #[must_use]
    pub const fn with_invitations(mut self) -> Self {
        self.invites = true;
        self
    }

    /// The same, and each change leaves a note that another calendar is to follow.
    #[cfg(feature = "caldav")]
    pub(super) const fn mirrored(mut self) -> Self {
        self.mirrored = true;
        self
    }

    /// What is written with a change.
    fn also(&self, meeting: &Meeting, method: Method) -> Result<Vec<Write>, ProviderError> {
        let mut also = Vec::new();
        if self.invites && meeting.email.is_some() {
            also.push(queue::invitation(meeting, method, clock::wall())?);
        }
        if self.mirrored {
            also.push(queue::note(&meeting.uid, clock::wall()));
        }
        Ok(also)
    }

    /// Takes back a meeting that was booked a moment ago, as if it had never been.
    #[cfg(feature = "caldav")]
    pub(super) async fn withdraw(&self, meeting: &Meeting) -> Result<(), ProviderError> {
        let Some((booked, version)) = self.find(&meeting.uid).await? else {
            return Ok(());
        };
        let writes = vec![
            Write::to(meeting_key(&booked.uid))
                .if_version(version)
                .delete(),
            Write::to(of_key(&booked)).delete(),
            Write::to(time_key(booked.start)).delete(),
            Write::to(queue::note_key(&booked.uid)).delete(),
            Write::to(queue::invitation_key(&booked)).delete(),
        ];
        self.state.apply(writes, clock::wall()).await
    }

    /// The meeting of this `uid` as it is now, and its version.
    pub(super) async fn find(&self, uid: &str) -> Result<Option<(Meeting, u64)>, ProviderError> {
        if uid.is_empty() {
            return Ok(None);
        }
        let record = self.state.get(&meeting_key(uid), clock::wall()).await?;
        record
            .map(|record| Ok((read(&record)?, record.version)))
            .transpose()
    }

    /// Nobody has changed the meeting since it had this version.
    async fn is_at(&self, uid: &str, version: u64) -> Result<bool, ProviderError> {
        let found = self.find(uid).await?;
        Ok(found.is_some_and(|(_, current)| current == version))
    }
}

#[async_trait]
impl Calendar for EmbeddedCalendar {
    async fn busy(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Busy>, ProviderError> {
        let mut busy = Vec::new();
        // A meeting that began before may reach into it.
        let earliest = from.checked_sub(LONGEST).unwrap_or(from);
        let mut range = IdRange::after(time_id(earliest)).until(time_id(until));
        loop {
            let page = self.state.list(TIMES, &range, PAGE, clock::wall()).await?;
            let Some(last) = page.last() else { break };
            range.after = Some(last.key.id.clone());
            for record in &page {
                let time = |name: &str| record.value[name].as_str()?.parse::<Timestamp>().ok();
                match (time("start"), time("end")) {
                    (Some(start), Some(end)) if end > from && start < until => {
                        busy.push(Busy { start, end });
                    }
                    (Some(_), Some(_)) => {}
                    _ => return Err(damaged(record)),
                }
            }
        }
        Ok(busy)
    }

    async fn book(&self, meeting: &Meeting) -> Result<(), ProviderError> {
        let mut writes = vec![
            Write::to(meeting_key(&meeting.uid))
                .if_absent()
                .set(value(meeting)?),
            Write::to(of_key(meeting)).set(json!({ "uid": meeting.uid })),
            take(meeting),
        ];
        writes.extend(self.also(meeting, Method::Request)?);
        match self.state.apply(writes, clock::wall()).await {
            Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => {
                // Perhaps it was ours: an answer that was lost.
                match self.find(&meeting.uid).await? {
                    Some((booked, _)) if booked == *meeting => Ok(()),
                    _ => Err(taken()),
                }
            }
            done => done,
        }
    }

    async fn reschedule(&self, uid: &str, start: Timestamp) -> Result<Meeting, ProviderError> {
        // Whoever changed it in between was first: their time is the one to leave.
        loop {
            let Some((old, version)) = self.find(uid).await? else {
                return Err(ProviderError::new(PROVIDER, ProviderErrorKind::NotFound));
            };
            if old.start == start {
                return Ok(old);
            }
            let length = old.end.duration_since(old.start);
            let mut new = old.clone();
            new.start = start;
            new.end = start.checked_add(length).unwrap_or(Timestamp::MAX);
            new.sequence += 1;
            let mut writes = vec![
                Write::to(meeting_key(uid))
                    .if_version(version)
                    .set(value(&new)?),
                Write::to(of_key(&old)).delete(),
                Write::to(of_key(&new)).set(json!({ "uid": uid })),
                Write::to(time_key(old.start)).delete(),
                take(&new),
            ];
            writes.extend(self.also(&new, Method::Request)?);
            match self.state.apply(writes, clock::wall()).await {
                Ok(()) => return Ok(new),
                Err(failed) if *failed.kind() != ProviderErrorKind::Conflict => return Err(failed),
                Err(_) if self.is_at(uid, version).await? => return Err(taken()),
                Err(_) => {}
            }
        }
    }

    async fn cancel(&self, uid: &str) -> Result<Option<Meeting>, ProviderError> {
        loop {
            let Some((mut meeting, version)) = self.find(uid).await? else {
                return Ok(None);
            };
            let mut writes = vec![
                Write::to(meeting_key(uid)).if_version(version).delete(),
                Write::to(of_key(&meeting)).delete(),
                Write::to(time_key(meeting.start)).delete(),
            ];
            // As it will be answered with.
            meeting.sequence += 1;
            writes.extend(self.also(&meeting, Method::Cancel)?);
            match self.state.apply(writes, clock::wall()).await {
                // It was moved in between.
                Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => {}
                done => {
                    done?;
                    return Ok(Some(meeting));
                }
            }
        }
    }

    async fn of(&self, phone: &PhoneNumber, now: Timestamp) -> Result<Vec<Meeting>, ProviderError> {
        let since = now.checked_sub(LONGEST).unwrap_or(now);
        let mut range = IdRange::after(time_id(since));
        let collection = meetings_of(phone);
        let mut meetings = Vec::new();
        loop {
            let records = self.state.list(&collection, &range, PAGE, now).await?;
            let Some(last) = records.last() else { break };
            range.after = Some(last.key.id.clone());
            for record in &records {
                let uid = record.value["uid"]
                    .as_str()
                    .ok_or_else(|| damaged(record))?;
                if let Some((meeting, _)) = self.find(uid).await?
                    && meeting.end > now
                {
                    meetings.push(meeting);
                }
            }
        }
        Ok(meetings)
    }
}

/// Takes a meeting's time, if nobody has it.
fn take(meeting: &Meeting) -> Write {
    Write::to(time_key(meeting.start))
        .if_absent()
        .set(json!({ "start": meeting.start, "end": meeting.end, "uid": meeting.uid }))
}

fn value(meeting: &Meeting) -> Result<serde_json::Value, ProviderError> {
    serde_json::to_value(meeting).map_err(|failed| {
        ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_source(failed)
    })
}

fn read(record: &Record) -> Result<Meeting, ProviderError> {
    serde_json::from_value(record.value.clone())
        .map_err(|failed| damaged(record).with_source(failed))
}

fn damaged(record: &Record) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol).with_detail(format!(
        "the record {}/{} is no meeting",
        record.key.collection, record.key.id
    ))
}

fn taken() -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Conflict).with_detail("the time is taken")
}

fn meeting_key(uid: &str) -> Key {
    Key::new("meetings", uid)
}

fn of_key(meeting: &Meeting) -> Key {
    Key::new(meetings_of(&meeting.phone), time_id(meeting.start))
}

fn meetings_of(phone: &PhoneNumber) -> String {
    format!("meetings-of/{}", phone.reveal())
}

fn time_key(start: Timestamp) -> Key {
    Key::new(TIMES, time_id(start))
}

fn time_id(time: Timestamp) -> String {
    format!("{:015}", time.as_millisecond().max(0))
}

const PROVIDER: &str = "calendar";
const TIMES: &str = "meeting-times";
const PAGE: usize = 100;

/// No meeting lasts longer.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

//! Looking for calls whose request was never answered. Vonage finds no call by its number: it
//! lists all calls of a time, up to a hundred to a request. Those who look at the same time
//! therefore share one listing.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Vonage,
    rest::{CallDetails, ListCalls, Rest},
};
use crate::{
    call::Direction,
    clock,
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
};

impl Vonage {
    /// What the carrier knows of calls to `to` that were placed at `since` or in the quarter of an
    /// hour after it, newest first: whether a call was placed whose request was never answered.
    /// Later calls may be among them, and calls of the quarter of an hour before that nobody
    /// answered, as they have no time.
    ///
    /// # Errors
    ///
    /// When the account is not ready, the carrier fails, or there were more calls in that time
    /// than can be looked through (ten thousand).
    pub async fn look_up(
        &self,
        to: &PhoneNumber,
        since: Timestamp,
    ) -> Result<Vec<CallDetails>, ProviderError> {
        let rest = self.rest(None)?;
        let look_ups = &self.0.look_ups;
        let wish = look_ups.wish(since);
        let asked = clock::now();
        let mut last = look_ups.last.lock().await;
        let listing = match last.take() {
            Some(last) if last.answers(asked, since) => last,
            _ => Listing::make(&rest, look_ups.wanted(since)).await,
        };
        drop(wish);
        let found = listing.to(to, since);
        // Nobody wants it any more: it holds the numbers of many people.
        *last = (!look_ups.wishes().is_empty()).then_some(listing);
        found
    }
}

/// Those who look for a call, and the last listing.
#[derive(Debug, Default)]
pub(super) struct LookUps {
    /// From when on, by each of those who wait.
    wishes: Mutex<Vec<Timestamp>>,
    last: tokio::sync::Mutex<Option<Listing>>,
}

impl LookUps {
    fn wish(&self, since: Timestamp) -> Wish<'_> {
        self.wishes().push(since);
        Wish { of: self, since }
    }

    /// The first and the last time from which on somebody wants to know, of those not far from
    /// `since`: nobody else's listing gets too long for the sake of a wish from long ago.
    fn wanted(&self, since: Timestamp) -> (Timestamp, Timestamp) {
        let wishes = self.wishes();
        let near = wishes
            .iter()
            .copied()
            .filter(|wish| wish.duration_since(since).unsigned_abs() <= WINDOW);
        near.fold((since, since), |(first, last), wish| {
            (first.min(wish), last.max(wish))
        })
    }

    fn wishes(&self) -> MutexGuard<'_, Vec<Timestamp>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits for a listing.
#[derive(Debug)]
struct Wish<'a> {
    of: &'a LookUps,
    since: Timestamp,
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        let mut wishes = self.of.wishes();
        if let Some(own) = wishes.iter().position(|since| *since == self.since) {
            wishes.swap_remove(own);
        }
    }
}

/// All calls of a time, newest first, or why they could not be listed.
#[derive(Debug)]
struct Listing {
    begun: Instant,
    since: Timestamp,
    last: Timestamp,
    calls: Result<Vec<CallDetails>, (ProviderErrorKind, String)>,
}

impl Listing {
    async fn make(rest: &Rest, (since, last): (Timestamp, Timestamp)) -> Self {
        let begun = clock::now();
        let calls = list(rest, since, last).await;
        let calls = calls.map_err(|error| (error.kind().clone(), error.to_string()));
        Self {
            begun,
            since,
            last,
            calls,
        }
    }

    /// Whether it tells somebody who asked at `asked` what was placed from `since` on.
    fn answers(&self, asked: Instant, since: Timestamp) -> bool {
        self.begun >= asked && (self.since..=self.last).contains(&since)
    }

    fn to(
        &self,
        number: &PhoneNumber,
        since: Timestamp,
    ) -> Result<Vec<CallDetails>, ProviderError> {
        match &self.calls {
            Ok(calls) => Ok(calls
                .iter()
                .filter(|call| call.direction != Some(Direction::Inbound))
                .filter(|call| {
                    let to = call.to.as_ref().map(PhoneNumber::try_from);
                    to.is_some_and(|to| to.as_ref() == Ok(number))
                })
                // The carrier's times are whole seconds.
                .filter(|call| {
                    let known = call.started.or(call.ended);
                    known.is_none_or(|known| known.as_second() >= since.as_second())
                })
                .cloned()
                .collect()),
            Err((kind, why)) => Err(ProviderError::new("vonage", kind.clone()).with_detail(why)),
        }
    }
}

async fn list(
    rest: &Rest,
    since: Timestamp,
    last: Timestamp,
) -> Result<Vec<CallDetails>, ProviderError> {
    let mut which = ListCalls {
        since: Some(since),
        page_size: Some(100),
        newest_first: true,
        ..ListCalls::default()
    };
    let mut calls = Vec::new();
    loop {
        let page = rest.list(&which).await?;
        if page.count > MOST {
            let until = last.checked_add(WINDOW).unwrap_or(Timestamp::MAX);
            if which.until.is_some() || until >= clock::wall() {
                return Err(too_many(page.count));
            }
            // Only now: calls that nobody answered have no time, and might be left out.
            which.until = Some(until);
            which.index = 0;
            calls.clear();
            continue;
        }
        let read = page.calls.len() as u64;
        calls.extend(page.calls);
        which.index += read;
        if read == 0 || which.index >= page.count {
            return Ok(calls);
        }
    }
}

fn too_many(count: u64) -> ProviderError {
    let detail = format!("{count} calls are too many to find one: look in the carrier's log");
    ProviderError::new("vonage", ProviderErrorKind::Unavailable).with_detail(detail)
}

/// How much later than its intent a call may be placed and begin, with a wide margin.
const WINDOW: Duration = Duration::from_mins(15);
/// Calls that are looked through at most: a hundred requests.
const MOST: u64 = 10_000;

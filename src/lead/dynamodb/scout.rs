//! Finding due leads page by page.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};

use jiff::Timestamp;
use tracing::warn;

use super::{
    DynamoLeads,
    item::{Item, Stored},
};
use crate::{
    error::ProviderError,
    lead::{LeadFilter, PhoneNumber},
};

/// A walk over the leads of a filter that never ends: behind the last page comes the first.
#[derive(Default)]
pub(super) struct Scout {
    /// Due leads of the page that was read last.
    due: Vec<Stored>,
    place: Place,
    /// Whether due leads of this walk were left to others.
    left: bool,
    /// Leads behind us that others hold or were faster to claim, by when to look whether their
    /// holders have died: the walk may be long, and what a dead holder left must not wait for
    /// the next one.
    watched: BTreeMap<Timestamp, Vec<PhoneNumber>>,
    /// Makes an order of one's own, so that workers that read the same page part ways.
    order: RandomState,
}

#[derive(Default)]
enum Place {
    #[default]
    Start,
    Behind(Item),
    End,
}

/// What a step of the walk found.
pub(super) struct Found {
    /// A lead that was due when it was read. None: the walk is at its end.
    pub(super) due: Option<Stored>,
    /// At the end: whether all that was due was handed out.
    pub(super) conclusive: bool,
}

impl Scout {
    /// Whether nothing of a walk was read yet.
    pub(super) fn is_at_start(&self) -> bool {
        matches!(self.place, Place::Start)
    }

    /// The next due lead of this walk. Behind the end of one, the next one begins.
    pub(super) async fn next(
        &mut self,
        leads: &DynamoLeads,
        filter: &LeadFilter,
        now: Timestamp,
    ) -> Result<Found, ProviderError> {
        if let Some(due) = self.left_behind(leads, now).await? {
            return Ok(Found {
                due: Some(due),
                conclusive: false,
            });
        }
        loop {
            if let Some(due) = self.due.pop() {
                return Ok(Found {
                    due: Some(due),
                    conclusive: false,
                });
            }
            let after = match &self.place {
                Place::Start => None,
                Place::Behind(key) => Some(key.clone()),
                Place::End => {
                    self.place = Place::Start;
                    return Ok(Found {
                        due: None,
                        conclusive: !std::mem::take(&mut self.left),
                    });
                }
            };
            let (items, next) = leads.walk(filter, after, PAGE).await?;
            self.place = next.map_or(Place::End, Place::Behind);
            for item in items {
                match Stored::read(item) {
                    Ok(stored) if stored.record.is_due(now) => self.due.push(stored),
                    Ok(stored) => self.watch(&stored),
                    Err(problem) => {
                        warn!(
                            reason = problem.reason,
                            "an item that is no lead is passed over"
                        );
                    }
                }
            }
            let order = &self.order;
            self.due
                .sort_by_cached_key(|stored| order.hash_one(&stored.record.lead.phone));
        }
    }

    /// A lead whose holder let its lease run out since the walk went past it.
    async fn left_behind(
        &mut self,
        leads: &DynamoLeads,
        now: Timestamp,
    ) -> Result<Option<Stored>, ProviderError> {
        while let Some(mut first) = self.watched.first_entry()
            && *first.key() <= now
        {
            let phone = first.get_mut().pop();
            if first.get().is_empty() {
                first.remove();
            }
            let Some(phone) = phone else { continue };
            match leads.read(&phone).await? {
                Some(stored) if stored.record.held.is_none() => {}
                Some(stored) if stored.record.is_due(now) => return Ok(Some(stored)),
                Some(stored) => self.watch(&stored),
                None => {}
            }
        }
        Ok(None)
    }

    /// Looks again at a lead that somebody holds when its lease has run out.
    fn watch(&mut self, stored: &Stored) {
        if let Some(held) = &stored.record.held {
            self.watch_until(held.until, stored.record.lead.phone.clone());
        }
    }

    /// Looks again at a lead that somebody else was faster to claim.
    pub(super) fn lost(&mut self, phone: PhoneNumber, lease: Timestamp) {
        self.watch_until(lease, phone);
    }

    /// Leaves what is left of the page to others, who claim it for about as long as we would.
    pub(super) fn leave_page(&mut self, lease: Timestamp) {
        self.left |= !self.due.is_empty();
        for stored in std::mem::take(&mut self.due) {
            self.watch_until(lease, stored.record.lead.phone);
        }
    }

    fn watch_until(&mut self, time: Timestamp, phone: PhoneNumber) {
        // More of them are found by the next walk.
        if self.watched.len() < WATCHED {
            self.watched.entry(time).or_default().push(phone);
        }
    }
}

/// Times at which to look at leads again.
const WATCHED: usize = 4_096;

/// Leads that are read at once: few enough that they are claimed before they are stale.
const PAGE: usize = 200;

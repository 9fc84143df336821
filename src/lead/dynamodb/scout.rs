//! Finding due leads page by page.

use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;
use tracing::warn;

use super::{
    DynamoLeads,
    item::{Item, Stored},
};
use crate::{error::ProviderError, lead::LeadFilter};

/// A walk over the leads of a filter that never ends: behind the last page comes the first.
#[derive(Default)]
pub(super) struct Scout {
    /// Due leads of the page that was read last.
    due: Vec<Stored>,
    place: Place,
    /// Whether due leads of this walk were left to others.
    left: bool,
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
                    Ok(_) => {}
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

    /// Leaves what is left of the page to others.
    pub(super) fn leave_page(&mut self) {
        self.left |= !self.due.is_empty();
        self.due.clear();
    }
}

/// Leads that are read at once: few enough that they are claimed before they are stale.
const PAGE: usize = 200;

//! Walks through indexes from new to old.

use std::collections::VecDeque;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;

use super::{
    PROVIDER,
    item::{Item, text},
};
use crate::{
    call::CallStatus,
    dynamodb::{Dynamo, failure},
    error::ProviderError,
    lead::PhoneNumber,
    record::{CallQuery, Cursor, cursor, entry::stamp},
};

/// An item of an index, and where it stands: by its start, then by its key.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) item: Item,
}

/// A start as it is written, and a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    start: String,
    pub(super) call: String,
}

impl Place {
    pub(super) fn cursor(&self) -> Cursor {
        cursor::pack(&[&self.start, &self.call])
    }
}

/// Several partitions of an index as one list, newest first.
pub(super) struct Walk {
    partitions: Vec<Partition>,
    heads: Vec<Option<Found>>,
    last: Option<String>,
}

impl Walk {
    /// The partitions in which the calls of `query` are: those of a person, or those of the
    /// statuses that it asks for. (Statuses are few and all their names are known, so seven
    /// partitions are all calls, however far apart in time.)
    pub(super) fn new(table: &str, query: &CallQuery) -> Result<Self, ProviderError> {
        let before = query.cursor.as_ref().map(|end| {
            let [start, call] = cursor::unpack(PROVIDER, end)?;
            Ok::<_, ProviderError>(Place { start, call })
        });
        let before = before.transpose()?;
        let (index, attribute, values) = match (&query.phone, query.status) {
            (Some(phone), _) => ("phone_number-index", "phone_number", spellings(phone)),
            (None, status) => {
                let statuses = status.map_or_else(|| STATUSES.to_vec(), |status| vec![status]);
                let words = statuses.iter().map(|status| status.as_str().to_owned());
                ("status-index", "status", words.collect())
            }
        };
        let page = query.limit.clamp(1, PAGE - 1) + 1;
        let partitions: Vec<_> = values
            .into_iter()
            .map(|value| Partition {
                table: table.to_owned(),
                index,
                attribute,
                value,
                from: query.from.map(stamp),
                to: query.to.map(stamp),
                before: before.clone(),
                page: i32::try_from(page).unwrap_or(i32::MAX),
                group: Vec::new(),
                ahead: VecDeque::new(),
                next: None,
                done: false,
            })
            .collect();
        Ok(Self {
            heads: Vec::new(),
            partitions,
            last: None,
        })
    }

    /// The next ones, further back: as many as that, or all.
    pub(super) async fn some(
        &mut self,
        dynamo: &Dynamo,
        most: usize,
    ) -> Result<Vec<Found>, ProviderError> {
        let mut found = Vec::new();
        while found.len() < most
            && let Some(next) = self.next(dynamo).await?
        {
            found.push(next);
        }
        Ok(found)
    }

    /// The next one, further back. A call that moves from one status to another meanwhile comes
    /// once.
    pub(super) async fn next(&mut self, dynamo: &Dynamo) -> Result<Option<Found>, ProviderError> {
        if self.heads.is_empty() {
            let firsts = self.partitions.iter_mut().map(|part| part.next(dynamo));
            self.heads = try_join_all(firsts).await?;
        }
        loop {
            let places = self.heads.iter().enumerate();
            let newest = places
                .filter_map(|(n, head)| Some((&head.as_ref()?.place, n)))
                .max();
            let Some((_, n)) = newest else {
                return Ok(None);
            };
            let following = self.partitions[n].next(dynamo).await?;
            let found = std::mem::replace(&mut self.heads[n], following);
            let Some(found) = found else { continue };
            if self.last.as_ref() != Some(&found.place.call) {
                self.last = Some(found.place.call.clone());
                return Ok(Some(found));
            }
        }
    }
}

struct Partition {
    table: String,
    index: &'static str,
    attribute: &'static str,
    value: String,
    from: Option<String>,
    to: Option<String>,
    before: Option<Place>,
    page: i32,
    /// Items of one start, the next one last. The index does not order them, so they are read
    /// together.
    group: Vec<Found>,
    /// What was read beyond that.
    ahead: VecDeque<Found>,
    /// Where the index goes on.
    next: Option<Item>,
    done: bool,
}

impl Partition {
    async fn next(&mut self, dynamo: &Dynamo) -> Result<Option<Found>, ProviderError> {
        loop {
            if let Some(found) = self.group.pop() {
                return Ok(Some(found));
            }
            while !self.done && !self.holds_a_whole_group() {
                self.read(dynamo).await?;
            }
            let Some(first) = self.ahead.pop_front() else {
                return Ok(None);
            };
            self.group.push(first);
            while let Some(next) = self.ahead.front()
                && next.place.start == self.group[0].place.start
            {
                self.group.extend(self.ahead.pop_front());
            }
            self.group.sort_by(|one, other| one.place.cmp(&other.place));
            if let Some(before) = &self.before {
                self.group.retain(|found| found.place < *before);
            }
        }
    }

    fn holds_a_whole_group(&self) -> bool {
        match (self.ahead.front(), self.ahead.back()) {
            (Some(first), Some(last)) => first.place.start != last.place.start,
            _ => false,
        }
    }

    async fn read(&mut self, dynamo: &Dynamo) -> Result<(), ProviderError> {
        let until = match (&self.before, &self.to) {
            (Some(before), Some(to)) => Some((&before.start).min(to)),
            (Some(before), None) => Some(&before.start),
            (None, to) => to.as_ref(),
        };
        let since = self.from.as_ref();
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            self.done = true;
            return Ok(());
        }
        // A key has one condition in a query, which may be a range.
        let range = match (since, until) {
            (None, None) => "",
            (Some(_), None) => " AND #s >= :since",
            (None, Some(_)) => " AND #s <= :until",
            (Some(_), Some(_)) => " AND #s BETWEEN :since AND :until",
        };
        let mut query = dynamo
            .client()
            .query()
            .table_name(&self.table)
            .index_name(self.index)
            .key_condition_expression(format!("#a = :a{range}"))
            .expression_attribute_names("#a", self.attribute)
            .expression_attribute_values(":a", AttributeValue::S(self.value.clone()))
            .scan_index_forward(false)
            .limit(self.page)
            .set_exclusive_start_key(self.next.take());
        if !range.is_empty() {
            query = query.expression_attribute_names("#s", "start_time");
        }
        for (name, bound) in [(":since", since), (":until", until)] {
            if let Some(bound) = bound {
                query = query.expression_attribute_values(name, AttributeValue::S(bound.clone()));
            }
        }
        let answer = query.send().await.map_err(|e| failure(PROVIDER, e))?;
        self.next = answer.last_evaluated_key;
        self.done = self.next.is_none();
        for item in answer.items.unwrap_or_default() {
            // Both are keys of the index: they are there.
            let start = text(&item, "start_time").unwrap_or_default().to_owned();
            let call = text(&item, "call_uuid").unwrap_or_default().to_owned();
            self.ahead.push_back(Found {
                place: Place { start, call },
                item,
            });
        }
        Ok(())
    }
}

/// How carriers and people write a number: `12125550101`, `+12125550101`, `+1 (212) 555-0101`.
fn spellings(phone: &PhoneNumber) -> Vec<String> {
    let e164 = phone.reveal();
    let digits = e164.trim_start_matches('+');
    let mut spellings = vec![digits.to_owned(), e164.to_owned(), phone.display()];
    // Outside the North American plan the last two are the same.
    spellings.dedup();
    spellings
}

const STATUSES: [CallStatus; 7] = [
    CallStatus::InProgress,
    CallStatus::Completed,
    CallStatus::Failed,
    CallStatus::NoAnswer,
    CallStatus::Busy,
    CallStatus::Voicemail,
    CallStatus::Abandoned,
];

/// Items that one query reads at most: records in an index are short.
const PAGE: usize = 200;

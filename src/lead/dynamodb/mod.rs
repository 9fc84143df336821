//! Leads in a table of DynamoDB: `Churches`, one item each.

mod item;
mod scout;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::Timestamp;

use self::{
    item::{Item, Stored},
    scout::Scout,
};
use crate::{
    dynamodb::{Column, Dynamo, Table, failure},
    error::{ProviderError, ProviderErrorKind},
    lead::{
        Change, Claim, Claimant, Guard, Lead, LeadCursor, LeadFilter, LeadPage, LeadQuery,
        LeadStore, PhoneNumber, fields,
        query::is_default,
        record::{Record, Refused},
    },
};

/// Keeps leads in a table that any number of nodes share. Clones share what they have looked up.
///
/// Every write is a conditional one: it is taken if what it was decided on still stands, and
/// otherwise decided again. Attributes that are not changed are not written, whatever they hold.
///
/// # Cost
///
/// In units for leads of up to 1 KB; a lead that holds a transcript costs a unit per KB and write.
///
/// - Looking a lead up: 1 read unit, since it must not be stale. A page of a query: half a read
///   unit per 4 KB of the leads in the index that it walks, wanted or not; without a
///   `lead_status` and an `owner_alias` in the filter it walks the table.
/// - Writing: 1 read unit, 1 write unit, and 1 for each index that the lead is in: 3 in all for
///   one with a status and an owner. So a lead claimed, renewed twice and settled costs 12.
/// - The next due lead: its claim, as above. Due leads are found by walking the index of the
///   filter page by page, and what a page has is kept until it is claimed: a worker reads each
///   page once for all its leads, not once for each of them. Workers take the leads of a page in
///   orders of their own, and leave a page to the others when they keep losing its leads. A lead
///   that another worker was faster to claim costs its write units, and 1 read unit when its
///   lease is over, to see whether its holder has died. That none is due costs a walk over the
///   whole index: ask no more often than once in some seconds.
///
/// Queries, and the search for due leads, see a change up to about a second late; a claim does
/// not, since it is decided on the lead itself.
#[derive(Clone)]
pub struct DynamoLeads {
    dynamo: Dynamo,
    table: String,
    scouts: Arc<Mutex<HashMap<LeadFilter, Arc<tokio::sync::Mutex<Scout>>>>>,
}

const PROVIDER: &str = "dynamodb";

/// How often a write is decided again because somebody else was faster.
const TRIES: usize = 50;

/// Filters whose due leads are remembered; many more come only from somebody who tries them out.
const SCOUTS: usize = 64;

/// Lost races in a row after which a page is left to the others.
const LOSSES: usize = 4;

impl DynamoLeads {
    /// The leads in `table`, which must be there.
    #[must_use]
    pub fn new(dynamo: Dynamo, table: impl Into<String>) -> Self {
        Self {
            dynamo,
            table: table.into(),
            scouts: Arc::default(),
        }
    }

    /// What the table `name` must look like, to be checked and made.
    #[must_use]
    pub fn table(name: impl Into<String>) -> Table {
        Table::new(name, Column::text("phone"))
            .with_index(LEAD_STATUS.index, Column::text(LEAD_STATUS.field), None)
            .with_index(OWNER_ALIAS.index, Column::text(OWNER_ALIAS.field), None)
    }

    async fn read(&self, phone: &PhoneNumber) -> Result<Option<Stored>, ProviderError> {
        let asked = self
            .dynamo
            .client()
            .get_item()
            .table_name(&self.table)
            .key("phone", AttributeValue::S(phone.display()))
            .consistent_read(true);
        let answer = asked.send().await.map_err(|e| failure(PROVIDER, e))?;
        answer.item.map(Stored::read).transpose().map_err(no_lead)
    }

    /// Writes what is different in `after` if `before` still stands. None: it does not.
    async fn put(
        &self,
        before: Option<&Stored>,
        after: &Record,
    ) -> Result<Option<Stored>, ProviderError> {
        let difference = item::difference(before, after);
        let asked = self
            .dynamo
            .client()
            .update_item()
            .table_name(&self.table)
            .key("phone", AttributeValue::S(after.lead.phone.display()))
            .update_expression(difference.update)
            .condition_expression(difference.condition)
            .set_expression_attribute_names(Some(difference.names))
            .set_expression_attribute_values(
                (!difference.values.is_empty()).then_some(difference.values),
            )
            .return_values(ReturnValue::AllNew);
        match asked.send().await.map_err(|e| failure(PROVIDER, e)) {
            Ok(answer) => {
                let written = answer.attributes.unwrap_or_default();
                Stored::read(written).map(Some).map_err(no_lead)
            }
            Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Writes what `becomes` makes of the lead, again and again until nobody else is faster.
    async fn write(
        &self,
        phone: &PhoneNumber,
        becomes: impl Fn(Option<&Record>) -> Result<Option<Record>, Refused> + Send + Sync,
    ) -> Result<Record, ProviderError> {
        for _ in 0..TRIES {
            let stored = self.read(phone).await?;
            let record = stored.as_ref().map(|stored| &stored.record);
            match becomes(record).map_err(|refused| refused.named(PROVIDER))? {
                Some(after) => {
                    if let Some(written) = self.put(stored.as_ref(), &after).await? {
                        return Ok(written.record);
                    }
                }
                None => {
                    return stored
                        .map(|stored| stored.record)
                        .ok_or_else(|| Refused::Unknown.named(PROVIDER));
                }
            }
            tokio::task::yield_now().await;
        }
        Err(ProviderError::new(PROVIDER, ProviderErrorKind::Unavailable)
            .with_detail("others keep changing the lead at the same time"))
    }

    /// Claims `stored` if it still is as it was found.
    async fn take(
        &self,
        stored: &Stored,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        let after = stored.record.claimed(claimant);
        let written = self.put(Some(stored), &after).await?;
        Ok(written.and_then(|written| written.record.into_claim()))
    }

    /// A page of items and the key of the last one, behind which the next page begins.
    async fn walk(
        &self,
        filter: &LeadFilter,
        after: Option<Item>,
        limit: usize,
    ) -> Result<(Vec<Item>, Option<Item>), ProviderError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let walk = Walk::new(filter);
        let client = self.dynamo.client();
        let values = (!walk.values.is_empty()).then_some(walk.values);
        let names = (!walk.names.is_empty()).then_some(walk.names);
        if let Some(key) = walk.key {
            let asked = client
                .query()
                .table_name(&self.table)
                .index_name(key.index)
                .key_condition_expression(format!("#{0} = :{0}", key.field))
                .set_filter_expression(walk.filter)
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .set_exclusive_start_key(after)
                .limit(limit);
            let answer = asked.send().await.map_err(|e| failure(PROVIDER, e))?;
            Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
        } else {
            let asked = client
                .scan()
                .table_name(&self.table)
                .set_filter_expression(walk.filter)
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .set_exclusive_start_key(after)
                .limit(limit);
            let answer = asked.send().await.map_err(|e| failure(PROVIDER, e))?;
            Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
        }
    }

    fn scout(&self, filter: &LeadFilter) -> Arc<tokio::sync::Mutex<Scout>> {
        let mut scouts = self.scouts.lock().unwrap_or_else(PoisonError::into_inner);
        if scouts.len() >= SCOUTS && !scouts.contains_key(filter) {
            scouts.clear();
        }
        Arc::clone(scouts.entry(filter.clone()).or_default())
    }
}

#[async_trait]
impl LeadStore for DynamoLeads {
    async fn get(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError> {
        let stored = self.read(phone).await?;
        Ok(stored.map(|stored| stored.record.lead))
    }

    async fn upsert(&self, lead: Lead) -> Result<Lead, ProviderError> {
        let fields = fields::checked(PROVIDER, lead.fields)?;
        let becomes = |stored: Option<&Record>| {
            Ok(Record::upserted(stored, lead.phone.clone(), fields.clone()))
        };
        Ok(self.write(&lead.phone, becomes).await?.lead)
    }

    async fn query(&self, query: &LeadQuery) -> Result<LeadPage, ProviderError> {
        let size = query.page_size();
        let key = Walk::new(&query.filter).key;
        if (query.after.as_ref()).is_some_and(|cursor| cursor.reveal().is_empty()) {
            return Err(super::foreign_cursor(PROVIDER));
        }
        let mut page = LeadPage::default();
        let mut after = (query.after.as_ref())
            .map(|cursor| item::start_key(cursor.reveal(), key, &query.filter));
        for _ in 0..LONGEST_WALK {
            let (items, next) = self.walk(&query.filter, after, size).await?;
            for item in items {
                if page.leads.len() + page.problems.len() == size {
                    return Ok(page);
                }
                let cursor = LeadCursor::new(item::key(&item));
                match Stored::read(item) {
                    Ok(stored) => page.leads.push(stored.record.lead),
                    Err(problem) => page.problems.push(problem),
                }
                page.next = Some(cursor);
            }
            match next {
                Some(key) => {
                    page.next = Some(LeadCursor::new(item::key(&key)));
                    after = Some(key);
                }
                None => {
                    page.next = None;
                    return Ok(page);
                }
            }
            if page.leads.len() + page.problems.len() == size {
                return Ok(page);
            }
        }
        Ok(page)
    }

    async fn update(
        &self,
        phone: &PhoneNumber,
        change: Change,
        guard: Guard,
    ) -> Result<Lead, ProviderError> {
        let change = Change::from(fields::checked(PROVIDER, change.fields)?);
        let becomes = |stored: Option<&Record>| {
            let stored = stored.ok_or(Refused::Unknown)?;
            stored.updated(change.clone(), guard)
        };
        Ok(self.write(phone, becomes).await?.lead)
    }

    async fn claim(
        &self,
        phone: &PhoneNumber,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        for _ in 0..TRIES {
            let Some(stored) = self.read(phone).await? else {
                return Ok(None);
            };
            if !stored.record.is_free(claimant.now) {
                return Ok(None);
            }
            if let Some(claim) = self.take(&stored, claimant).await? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    async fn claim_next(
        &self,
        filter: &LeadFilter,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        let scout = self.scout(filter);
        // Whether the walk that goes on began after this call did, so that its end says that
        // there is nothing.
        let mut whole = false;
        let mut losses = 0;
        loop {
            let found = {
                let mut scout = scout.lock().await;
                whole |= scout.is_at_start();
                scout.next(self, filter, claimant.now).await?
            };
            let Some(stored) = found.due else {
                if whole && found.conclusive {
                    return Ok(None);
                }
                // The next walk is a whole one.
                continue;
            };
            // Clocks differ, and so may what others were asked for.
            if !stored.record.is_due(claimant.now) || !filter.matches(&stored.record.lead) {
                continue;
            }
            if let Some(claim) = self.take(&stored, claimant).await? {
                return Ok(Some(claim));
            }
            losses += 1;
            let mut scout = scout.lock().await;
            scout.lost(stored.record.lead.phone, claimant.until());
            if losses == LOSSES {
                losses = 0;
                scout.leave_page(claimant.until());
            }
        }
    }

    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<Claim, ProviderError> {
        let until = crate::clock::whole_millis(until);
        let becomes = |stored: Option<&Record>| {
            let stored = stored.ok_or(Refused::Unknown)?;
            stored.renewed(claim.fence, until).map(Some)
        };
        self.write(&claim.lead.phone, becomes)
            .await?
            .into_claim()
            .ok_or_else(|| Refused::Lost.named(PROVIDER))
    }

    async fn settle(&self, claim: &Claim, change: Change) -> Result<Lead, ProviderError> {
        let change = Change::from(fields::checked(PROVIDER, change.fields)?);
        let becomes = |stored: Option<&Record>| {
            let stored = stored.ok_or(Refused::Unknown)?;
            stored.settled(change.clone(), claim.fence).map(Some)
        };
        Ok(self.write(&claim.lead.phone, becomes).await?.lead)
    }
}

impl fmt::Debug for DynamoLeads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoLeads")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// An index over one field.
#[derive(Clone, Copy, Debug)]
struct IndexOver {
    index: &'static str,
    field: &'static str,
}

const LEAD_STATUS: IndexOver = IndexOver {
    index: "lead_status-index",
    field: "lead_status",
};
const OWNER_ALIAS: IndexOver = IndexOver {
    index: "owner_alias-index",
    field: "owner_alias",
};

/// Requests of one query whose filter lets nearly nothing through; then the page is handed out as
/// it is.
const LONGEST_WALK: usize = 10;

/// A filter as DynamoDB evaluates it: the index whose key it names, and an expression for the
/// rest.
struct Walk {
    key: Option<IndexOver>,
    filter: Option<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Walk {
    fn new(filter: &LeadFilter) -> Self {
        let key = [LEAD_STATUS, OWNER_ALIAS].into_iter().find(|key| {
            filter
                .wanted()
                .any(|(field, value)| field == key.field && !value.is_empty())
        });
        let mut walk = Self {
            key,
            filter: None,
            names: HashMap::new(),
            values: HashMap::new(),
        };
        let mut conditions = Vec::new();
        for (field, wanted) in filter.wanted() {
            walk.names.insert(format!("#{field}"), field.to_owned());
            walk.values
                .insert(format!(":{field}"), AttributeValue::S(wanted.to_owned()));
            if is_default(field, wanted) {
                walk.values
                    .insert(":none".to_owned(), AttributeValue::S(String::new()));
                conditions.push(format!(
                    "(#{field} = :{field} OR #{field} = :none OR attribute_not_exists(#{field}))"
                ));
            } else if key.is_none_or(|key| key.field != field) {
                conditions.push(format!("#{field} = :{field}"));
            }
        }
        walk.filter = (!conditions.is_empty()).then(|| conditions.join(" AND "));
        walk
    }
}

fn no_lead(problem: crate::lead::LeadProblem) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
        .with_detail("what is stored under this number is no lead")
        .with_source(problem)
}

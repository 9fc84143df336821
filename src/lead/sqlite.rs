//! Leads in a file of SQLite: one row each, a column for every known field.

use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, types::ValueRef};
use serde_json::{Map, Value};

use crate::{
    error::{ProviderError, ProviderErrorKind},
    lead::{
        Change, Claim, Claimant, Fields, Guard, Lead, LeadCursor, LeadFilter, LeadPage,
        LeadProblem, LeadQuery, LeadStore, PhoneNumber,
        fields::{self, KNOWN, Kind},
        query::is_default,
        record::{Held, Record, Refused},
    },
    sqlite::{Database, Failure, Schema},
};

/// Keeps leads in the table `churches` of a file, which several processes may open.
///
/// ```
/// use novavoice::lead::{Lead, LeadStore, PhoneNumber, SqliteLeads};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("esther.sqlite");
/// let leads = SqliteLeads::open(&path).await?;
/// let phone = PhoneNumber::parse("+1 (212) 555-0101")?;
/// leads.upsert(Lead::new(phone.clone()).with("name", "Grace")).await?;
///
/// let reopened = SqliteLeads::open(&path).await?;
/// let lead = reopened.get(&phone).await?.ok_or("is stored")?;
/// assert_eq!(lead.text("name"), Some("Grace"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteLeads {
    database: Database,
}

const PROVIDER: &str = "sqlite";

/// `due_from` is when a lead is due, as text that compares like time: '' is at once. It finds the
/// candidates of a claim without reading the others; whether one is due is decided on the row.
const SCHEMA: Schema = Schema {
    name: "leads",
    steps: &["
        CREATE TABLE churches (
            phone TEXT NOT NULL PRIMARY KEY,
            version INTEGER NOT NULL DEFAULT 1,
            name TEXT,
            company TEXT,
            email TEXT,
            website TEXT,
            state_province TEXT,
            lead_source TEXT,
            lead_status TEXT,
            created_date TEXT,
            owner_alias TEXT,
            unread_by_owner INTEGER,
            call_transcript TEXT,
            last_call_date TEXT,
            call_status TEXT,
            next_attempt TEXT,
            attempts INTEGER,
            time_zone TEXT,
            claim_owner TEXT,
            claim_fence INTEGER NOT NULL DEFAULT 0,
            claim_until TEXT,
            other TEXT NOT NULL DEFAULT '{}',
            due_from TEXT GENERATED ALWAYS AS (CASE
                WHEN claim_until IS NOT NULL THEN NULL
                WHEN call_status IN ('do_not_call', 'bad_number') THEN NULL
                WHEN next_attempt IS NOT NULL THEN next_attempt
                WHEN coalesce(call_status, '') IN ('', 'not_called') THEN ''
            END) VIRTUAL
        ) WITHOUT ROWID;
        CREATE INDEX churches_lead_status ON churches (lead_status);
        CREATE INDEX churches_owner_alias ON churches (owner_alias);
        CREATE INDEX churches_due_from ON churches (due_from) WHERE due_from IS NOT NULL;
        CREATE INDEX churches_claim_until ON churches (claim_until)
            WHERE claim_until IS NOT NULL;
    "],
};

impl SqliteLeads {
    /// Opens the file at `path`, made when missing together with its folder.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, is no database, or was written by a newer release.
    pub async fn open(path: &Path) -> Result<Self, ProviderError> {
        let database = Database::open(PROVIDER, path, SCHEMA).await?;
        database.first(PhoneNumber::read_tables);
        Ok(Self { database })
    }

    /// Puts what `becomes` makes of the lead in its place, and answers with it.
    async fn write(
        &self,
        phone: &PhoneNumber,
        becomes: impl FnOnce(&Record) -> Result<Option<Record>, Refused> + Send + 'static,
    ) -> Result<Record, ProviderError> {
        let key = phone.display();
        self.database
            .transaction(move |rows| {
                let stored = read(rows, &key)?.ok_or_else(|| Refused::Unknown.named(PROVIDER))?;
                match becomes(&stored).map_err(|refused| refused.named(PROVIDER))? {
                    Some(changed) => {
                        put(rows, &changed)?;
                        Ok(changed)
                    }
                    None => Ok(stored),
                }
            })
            .await
    }
}

#[async_trait]
impl LeadStore for SqliteLeads {
    async fn get(&self, phone: &PhoneNumber) -> Result<Option<Lead>, ProviderError> {
        let key = phone.display();
        let found = self.database.call(move |rows| read(rows, &key)).await?;
        Ok(found.map(|record| record.lead))
    }

    async fn upsert(&self, lead: Lead) -> Result<Lead, ProviderError> {
        let fields = fields::checked(PROVIDER, lead.fields)?;
        let phone = lead.phone;
        self.database
            .transaction(move |rows| {
                let stored = read(rows, &phone.display())?;
                match Record::upserted(stored.as_ref(), phone, fields) {
                    Some(changed) => {
                        put(rows, &changed)?;
                        Ok(changed.lead)
                    }
                    // Nothing changes only in what is there.
                    None => match stored {
                        Some(stored) => Ok(stored.lead),
                        None => Err(Refused::Unknown.named(PROVIDER).into()),
                    },
                }
            })
            .await
    }

    async fn query(&self, query: &LeadQuery) -> Result<LeadPage, ProviderError> {
        let size = query.page_size();
        let (filter, mut values) = conditions(&query.filter);
        let mut sql = format!("SELECT {} FROM churches WHERE {filter}", columns());
        if let Some(cursor) = &query.after {
            if cursor.reveal().is_empty() {
                return Err(super::foreign_cursor(PROVIDER));
            }
            sql.push_str(" AND phone > ?");
            values.push(cursor.reveal().to_owned());
        }
        sql.push_str(&format!(" ORDER BY phone LIMIT {}", size + 1));
        self.database
            .call(move |connection| {
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                let (mut page, mut last) = (LeadPage::default(), String::new());
                for taken in 0.. {
                    let Some(row) = rows.next()? else { break };
                    if taken == size {
                        page.next = Some(LeadCursor::new(last));
                        break;
                    }
                    last = key_of(row)?;
                    match record(row)? {
                        Ok(record) => page.leads.push(record.lead),
                        Err(reason) => page.problems.push(LeadProblem::new(last.clone(), reason)),
                    }
                }
                Ok(page)
            })
            .await
    }

    async fn update(
        &self,
        phone: &PhoneNumber,
        change: Change,
        guard: Guard,
    ) -> Result<Lead, ProviderError> {
        let change = Change::from(fields::checked(PROVIDER, change.fields)?);
        let updated = self.write(phone, move |stored| stored.updated(change, guard));
        Ok(updated.await?.lead)
    }

    async fn claim(
        &self,
        phone: &PhoneNumber,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        let (key, claimant) = (phone.display(), claimant.clone());
        self.database
            .transaction(move |rows| {
                let stored = read(rows, &key)?;
                let Some(free) = stored.filter(|stored| stored.is_free(claimant.now)) else {
                    return Ok(None);
                };
                let claimed = free.claimed(&claimant);
                put(rows, &claimed)?;
                Ok(claimed.into_claim())
            })
            .await
    }

    async fn claim_next(
        &self,
        filter: &LeadFilter,
        claimant: &Claimant,
    ) -> Result<Option<Claim>, ProviderError> {
        let (filter, claimant) = (filter.clone(), claimant.clone());
        self.database
            .transaction(move |rows| {
                let Some(due) = next_due(rows, &filter, claimant.now)? else {
                    return Ok(None);
                };
                let claimed = due.claimed(&claimant);
                put(rows, &claimed)?;
                Ok(claimed.into_claim())
            })
            .await
    }

    async fn renew(&self, claim: &Claim, until: Timestamp) -> Result<Claim, ProviderError> {
        let (fence, until) = (claim.fence, crate::clock::whole_millis(until));
        let renewed = self.write(&claim.lead.phone, move |stored| {
            stored.renewed(fence, until).map(Some)
        });
        renewed
            .await?
            .into_claim()
            .ok_or_else(|| Refused::Lost.named(PROVIDER))
    }

    async fn settle(&self, claim: &Claim, change: Change) -> Result<Lead, ProviderError> {
        let change = Change::from(fields::checked(PROVIDER, change.fields)?);
        let fence = claim.fence;
        let settled = self.write(&claim.lead.phone, move |stored| {
            stored.settled(change, fence).map(Some)
        });
        Ok(settled.await?.lead)
    }
}

/// What holders left behind first, then what is due again, then what was never tried.
fn next_due(
    connection: &Connection,
    filter: &LeadFilter,
    now: Timestamp,
) -> Result<Option<Record>, Failure> {
    let (wanted, values) = conditions(filter);
    for (due, time) in [
        (
            "claim_until <= ? AND claim_until IS NOT NULL ORDER BY claim_until",
            Some(now),
        ),
        (
            "due_from <= ? AND due_from > '' ORDER BY due_from",
            Some(now),
        ),
        ("due_from = ''", None),
    ] {
        let sql = format!(
            "SELECT {} FROM churches WHERE {wanted} AND {due}",
            columns()
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let values = values.iter().cloned().chain(time.map(fields::time_text));
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            match record(row)? {
                Ok(record) if record.is_due(now) => return Ok(Some(record)),
                Ok(_) => {}
                Err(reason) => tracing::warn!(reason, "a row that is no lead is passed over"),
            }
        }
    }
    Ok(None)
}

/// The part of a `WHERE` that `filter` is, and its values.
fn conditions(filter: &LeadFilter) -> (String, Vec<String>) {
    let mut sql = "TRUE".to_owned();
    let mut values = Vec::new();
    for (field, wanted) in filter.wanted() {
        if is_default(field, wanted) {
            sql.push_str(&format!(" AND coalesce(nullif({field}, ''), ?) = ?"));
            values.push(wanted.to_owned());
        } else {
            sql.push_str(&format!(" AND {field} = ?"));
        }
        values.push(wanted.to_owned());
    }
    (sql, values)
}

/// The columns in the order in which rows are read and written.
fn columns() -> String {
    let known = KNOWN.iter().map(|(field, _)| *field);
    OWN.iter()
        .copied()
        .chain(known)
        .collect::<Vec<_>>()
        .join(", ")
}

const OWN: &[&str] = &[
    "phone",
    "version",
    "claim_owner",
    "claim_fence",
    "claim_until",
    "other",
];

fn read(connection: &Connection, key: &str) -> Result<Option<Record>, Failure> {
    let sql = format!("SELECT {} FROM churches WHERE phone = ?", columns());
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement
        .query_row([key], |row| Ok(record(row)))
        .optional()?;
    match found.transpose()? {
        None => Ok(None),
        Some(Ok(record)) => Ok(Some(record)),
        Some(Err(reason)) => Err(ProviderError::new(PROVIDER, ProviderErrorKind::Protocol)
            .with_detail(format!(
                "what is stored under this number is no lead: {reason}"
            ))
            .into()),
    }
}

/// A row as a record, or why it is none.
fn record(row: &Row<'_>) -> Result<Result<Record, String>, Failure> {
    // Every column is there: they are named in the statement.
    let mut cells = Vec::with_capacity(OWN.len() + KNOWN.len());
    for column in 0..OWN.len() + KNOWN.len() {
        cells.push(row.get_ref(column)?);
    }
    Ok(parse(&cells))
}

fn parse(cells: &[ValueRef<'_>]) -> Result<Record, String> {
    let (own, known) = cells.split_at(OWN.len());
    let [phone, version, owner, fence, until, other] = own else {
        return Err("it lacks columns".to_owned());
    };
    let key = text(*phone).ok_or("its key is no text")?;
    let phone = PhoneNumber::parse(key).map_err(|why| format!("its key is no number: {why}"))?;
    if phone.display() != key {
        return Err("its key is not written as +1 (XXX) XXX-XXXX".to_owned());
    }
    let other = text(*other).and_then(|text| serde_json::from_str::<Map<_, _>>(text).ok());
    let mut fields: Fields = other
        .ok_or("`other` is no JSON object")?
        .into_iter()
        .collect();
    for ((field, kind), cell) in KNOWN.iter().zip(known) {
        let Some(value) = value(*kind, *cell) else {
            continue;
        };
        fields::fits(field, &value).map_err(|why| format!("{field} {why}"))?;
        fields.insert((*field).to_owned(), value);
    }
    let mut lead = Lead::new(phone);
    lead.version = count(*version).ok_or("its version is no count")?;
    lead.fields = fields;
    let held = match until {
        ValueRef::Null => None,
        until => Some(Held {
            owner: text(*owner).unwrap_or_default().to_owned(),
            until: text(*until)
                .and_then(|text| text.parse().ok())
                .ok_or("claim_until is no time")?,
        }),
    };
    Ok(Record {
        lead,
        fence: count(*fence).ok_or("claim_fence is no count")?,
        held,
    })
}

/// A cell as a field; what does not fit its kind comes out as something that does not fit either.
fn value(kind: Kind, cell: ValueRef<'_>) -> Option<Value> {
    Some(match (kind, cell) {
        (_, ValueRef::Null) => return None,
        (Kind::Flag, ValueRef::Integer(flag @ 0..=1)) => (flag == 1).into(),
        (_, ValueRef::Integer(number)) => number.into(),
        (_, ValueRef::Real(number)) => number.into(),
        (_, ValueRef::Text(text)) => match std::str::from_utf8(text) {
            Ok(text) => text.into(),
            Err(_) => Value::Array(Vec::new()),
        },
        (_, ValueRef::Blob(_)) => Value::Array(Vec::new()),
    })
}

fn text(cell: ValueRef<'_>) -> Option<&str> {
    cell.as_str().ok()
}

fn count(cell: ValueRef<'_>) -> Option<u64> {
    u64::try_from(cell.as_i64().ok()?).ok()
}

/// The key of a row, readable or not.
fn key_of(row: &Row<'_>) -> Result<String, Failure> {
    Ok(match row.get_ref(0)? {
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => String::new(),
    })
}

/// Writes every column of ours; columns that somebody added stay as they are.
fn put(connection: &Connection, record: &Record) -> Result<(), Failure> {
    let mut fields = record.lead.fields.clone();
    let known: Vec<Box<dyn ToSql>> = KNOWN
        .iter()
        .map(|(field, _)| cell(fields.remove(*field)))
        .collect();
    let other = Value::Object(fields.into_iter().collect()).to_string();
    let until = record
        .held
        .as_ref()
        .map(|held| fields::time_text(held.until));
    let owner = record.held.as_ref().map(|held| held.owner.clone());
    let own: [Box<dyn ToSql>; OWN.len()] = [
        Box::new(record.lead.phone.display()),
        Box::new(i64::try_from(record.lead.version).unwrap_or(i64::MAX)),
        Box::new(owner),
        Box::new(i64::try_from(record.fence).unwrap_or(i64::MAX)),
        Box::new(until),
        Box::new(other),
    ];
    connection
        .prepare_cached(&put_statement())?
        .execute(rusqlite::params_from_iter(own.into_iter().chain(known)))?;
    Ok(())
}

fn put_statement() -> String {
    let columns = columns();
    let marks = vec!["?"; OWN.len() + KNOWN.len()].join(", ");
    let updates: Vec<_> = columns
        .split(", ")
        .skip(1)
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    format!(
        "INSERT INTO churches ({columns}) VALUES ({marks}) ON CONFLICT (phone) DO UPDATE SET {}",
        updates.join(", ")
    )
}

/// A known field as a cell. Fields were checked: they are texts, flags and counts.
fn cell(value: Option<Value>) -> Box<dyn ToSql> {
    match value {
        Some(Value::String(text)) => Box::new(text),
        Some(Value::Bool(flag)) => Box::new(flag),
        Some(Value::Number(number)) => Box::new(number.as_i64()),
        _ => Box::new(None::<String>),
    }
}

#[cfg(test)]
mod tests;

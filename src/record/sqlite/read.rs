//! Lists, searches and sums.

use std::{collections::BTreeMap, time::Duration};

use rusqlite::{Connection, params_from_iter, types::Value};
use tracing::warn;

use super::{PROVIDER, row, schema};
use crate::{
    model::Usage,
    record::{
        CallPage, CallQuery, GroupBy, Latency, Span, Totals, TotalsPage, cursor, words::Wanted,
    },
    sqlite::Failure,
};

/// One page. Rows are numbered by time, so the page before ends at a number.
pub(super) fn list(file: &Connection, query: &CallQuery) -> Result<CallPage, Failure> {
    let mut conditions = Conditions::default();
    let mut tables = "calls";
    if let Some(text) = &query.text {
        let wanted = Wanted::new(text.reveal());
        if wanted.is_empty() {
            return Ok(CallPage::default());
        }
        // The words come first: their rows are in order already.
        tables = "transcripts CROSS JOIN calls ON calls.id = transcripts.rowid";
        conditions.add("transcripts MATCH ?", match_expression(&wanted));
    }
    let id = match query.text {
        Some(_) => "transcripts.rowid",
        None => "calls.id",
    };
    if let Some(phone) = &query.phone {
        conditions.add("phone = ?", phone.reveal().to_owned());
    }
    if let Some(status) = query.status {
        conditions.add("status = ?", status.as_str().to_owned());
    }
    if let Some(direction) = query.direction {
        conditions.add("direction = ?", direction.as_str().to_owned());
    }
    if let Some(outcome) = query.outcome {
        conditions.add("outcome = ?", outcome.as_str().to_owned());
    }
    if let Some(from) = query.from {
        conditions.add(&format!("{id} >= ?"), schema::first_number_from(from));
    }
    if let Some(to) = query.to {
        conditions.add(&format!("{id} < ?"), schema::first_number_from(to));
    }
    if let Some(end) = &query.cursor {
        let [end] = cursor::unpack(PROVIDER, end)?;
        let end: i64 = end.parse().map_err(|_| cursor::foreign(PROVIDER))?;
        conditions.add(&format!("{id} < ?"), end);
    }
    let rows = i64::try_from(query.limit).unwrap_or(i64::MAX - 1) + 1;
    let select = format!(
        "SELECT {} FROM {tables} {} ORDER BY {id} DESC LIMIT {rows}",
        row::COLUMNS,
        conditions.sql()
    );
    let mut select = file.prepare_cached(&select)?;
    let mut rows = select.query(params_from_iter(conditions.values))?;
    let (mut page, mut seen, mut last) = (CallPage::default(), 0, None);
    while let Some(found) = rows.next()? {
        if seen == query.limit {
            let last: Option<i64> = last;
            page.next = last.map(|last| cursor::pack(&[&last.to_string()]));
            break;
        }
        seen += 1;
        last = Some(found.get("id")?);
        match row::read(found) {
            Ok(record) => page.calls.push(record),
            Err(bad) => {
                warn!(
                    key = bad.key,
                    problem = bad.problem,
                    "a call record is left out"
                );
                page.unreadable.push(bad);
            }
        }
    }
    Ok(page)
}

/// The words as the index's language has them (sqlite.org/fts5.html, "Full-text Query Syntax"):
/// each in quotes, so that none is an operator.
fn match_expression(wanted: &Wanted) -> String {
    let words: Vec<_> = wanted.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(" AND ")
}

#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, condition: &str, value: impl Into<Value>) {
        self.sql.push(condition.to_owned());
        self.values.push(value.into());
    }

    fn sql(&self) -> String {
        match self.sql.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.sql.join(" AND ")),
        }
    }
}

/// Sums by group, status, outcome and direction in one go; the groups are put together here.
pub(super) fn totals(file: &Connection, span: Span, by: GroupBy) -> Result<TotalsPage, Failure> {
    let group = match by {
        GroupBy::All => "'all'",
        GroupBy::Day => "day",
        GroupBy::Campaign => "ifnull(campaign, '')",
        GroupBy::Owner => "ifnull(owner_alias, '')",
    };
    let select = format!(
        "SELECT {group} AS kind, status, outcome, direction, count(*) AS calls,
            total(duration_seconds) AS seconds, total(cost_usd) AS cost_usd,
            ifnull(sum(reply_count), 0) AS replies,
            total(reply_count * reply_latency_ms) AS latency_ms,
            ifnull(max(reply_latency_max_ms), 0.0) AS longest_ms,
            sum(input_speech_tokens) AS input_speech, sum(input_text_tokens) AS input_text,
            sum(output_speech_tokens) AS output_speech, sum(output_text_tokens) AS output_text
        FROM calls WHERE id >= ?1 AND id < ?2 GROUP BY kind, status, outcome, direction"
    );
    let mut select = file.prepare_cached(&select)?;
    let from = schema::first_number_from(span.from);
    let to = schema::first_number_from(span.to);
    let mut rows = select.query((from, to))?;
    let mut groups = BTreeMap::<String, Totals>::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get("kind")?;
        let calls: u64 = row.get("calls")?;
        let totals = groups.entry(name.clone()).or_default();
        totals.group = name;
        totals.calls += calls;
        totals.talked += positive(row.get("seconds")?);
        let status: String = row.get("status")?;
        *totals.statuses.entry(status).or_default() += calls;
        let direction: String = row.get("direction")?;
        *totals.directions.entry(direction).or_default() += calls;
        if let Some(outcome) = row.get::<_, Option<String>>("outcome")? {
            *totals.outcomes.entry(outcome).or_default() += calls;
        }
        totals.cost_usd += row.get::<_, f64>("cost_usd")?;
        totals.usage += Usage {
            input_speech_tokens: row.get("input_speech")?,
            input_text_tokens: row.get("input_text")?,
            output_speech_tokens: row.get("output_speech")?,
            output_text_tokens: row.get("output_text")?,
        };
        let replies: u64 = row.get("replies")?;
        if replies > 0 {
            totals.latency.add(Latency {
                replies,
                mean: positive(row.get::<_, f64>("latency_ms")? / 1e3 / replies as f64),
                longest: positive(row.get::<_, f64>("longest_ms")? / 1e3),
            });
        }
    }
    Ok(TotalsPage {
        groups: groups.into_values().collect(),
        unreadable: Vec::new(),
    })
}

fn positive(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

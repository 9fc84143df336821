//! Sums over calls, as the store adds them up.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Query, State},
};
use jiff::{Timestamp, ToSpan};
use novavoice::record::{GroupBy, Span, Totals};
use serde_json::{Value, json};

use super::{
    App, Problem,
    calls::{bad, time},
};
use crate::{calls::seconds, clock::wall};

/// `GET /calls/totals?from=&to=&by=`: of the calls that started in that time; of all up to now where
/// it is left open. No transcript is read for it.
pub(super) async fn totals(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let moment = |name: &str| query.get(name).map(|text| time(name, text)).transpose();
    let span = Span {
        from: moment("from")?.unwrap_or(Timestamp::UNIX_EPOCH),
        // A call that starts in this very moment counts.
        to: moment("to")?.unwrap_or_else(|| wall() + 1.second()),
    };
    if span.from > span.to {
        return Err(bad("`from` is later than `to`."));
    }
    let by = query.get("by").map_or("all", String::as_str);
    let group = match by {
        "all" => GroupBy::All,
        "day" => GroupBy::Day,
        "campaign" => GroupBy::Campaign,
        "owner" => GroupBy::Owner,
        _ => return Err(bad("`by` is one of all, day, campaign and owner.")),
    };
    let page = app.store.totals(span, group).await;
    let mut page = page.map_err(|error| Problem::of_store(&error))?;
    if group == GroupBy::All && page.groups.is_empty() {
        let mut none = Totals::default();
        by.clone_into(&mut none.group);
        page.groups.push(none);
    }
    let groups: Vec<_> = page.groups.iter().map(as_json).collect();
    Ok(Json(json!({
        "from": span.from,
        "to": span.to,
        "by": by,
        "totals": groups,
        "unreadable": page.unreadable.len(),
    })))
}

fn as_json(totals: &Totals) -> Value {
    let millis = |length: std::time::Duration| {
        let measured = totals.latency.replies > 0;
        measured.then_some(length.as_secs_f64() * 1e3)
    };
    json!({
        "group": totals.group,
        "calls": totals.calls,
        "statuses": totals.statuses,
        "outcomes": totals.outcomes,
        "directions": totals.directions,
        "seconds": seconds(totals.talked),
        "usage": totals.usage,
        "cost_usd": totals.cost_usd,
        "reply_count": totals.latency.replies,
        "reply_latency_ms": millis(totals.latency.mean),
        "reply_latency_max_ms": millis(totals.latency.longest),
    })
}

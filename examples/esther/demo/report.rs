//! What the stores say before a campaign and after it. Nothing here knows the stories.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    sync::Arc,
};

use anyhow::Context;
use jiff::{Timestamp, tz::TimeZone};
use novavoice::{
    booking::{Calendar, EmbeddedCalendar, spoken},
    call::Outcome,
    lead::{Lead, LeadFilter, LeadQuery, PhoneNumber},
    outbound::{Campaign, ConsentRule, Gatekeeper, Plan},
    record::{CallQuery, CallRecord},
};

use super::screen::{Look, Screen};
use crate::{preview::Preview, stores::Stores};

/// Every lead by its number.
pub(crate) type Leads = HashMap<PhoneNumber, Lead>;

/// The leads as they are now.
pub(crate) async fn leads(stores: &Stores) -> anyhow::Result<Leads> {
    let query = LeadQuery::new(LeadFilter::all()).with_limit(MOST);
    let page = stores.leads.query(&query).await;
    let page = page.context("the store of leads")?;
    let leads = page.leads.into_iter();
    Ok(leads.map(|lead| (lead.phone.clone(), lead)).collect())
}

/// The name without a title.
pub(crate) fn name(lead: &Lead) -> &str {
    let name = lead.text("name").unwrap_or("-");
    name.strip_prefix("Pastor ").unwrap_or(name)
}

/// Enough of a number to tell it from others, too little to call it.
pub(crate) fn shortened(phone: &PhoneNumber) -> String {
    let whole = phone.display();
    let tail = whole.len().saturating_sub(4);
    let area = whole.split_whitespace().nth(1).unwrap_or_default();
    format!("{area} …{}", whole.get(tail..).unwrap_or_default())
}

/// Asks the gate about everybody as if their turn came at `at`, and says what it says: of each
/// answer how many get it, and the names of so many of them.
pub(crate) async fn preview(
    screen: &mut Screen,
    plan: &Plan,
    (stores, gate): (&Stores, &Gatekeeper),
    at: Timestamp,
    names: usize,
) -> anyhow::Result<()> {
    let counted = Preview::of(plan, &*stores.leads, gate, ConsentRule::None, at).await;
    let counted = counted.context("the store of leads")?;
    let mut leads: Vec<_> = leads(stores).await?.into_values().collect();
    leads.sort_by(|one, other| name(one).cmp(name(other)));
    let rules = plan.rules(ConsentRule::None);
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for lead in &leads {
        let refusals = gate.ask(&lead.phone, Some(lead), &rules, at).await;
        if refusals.is_empty() {
            groups.entry(String::new()).or_default().push(whom(lead));
        }
        for refusal in refusals {
            let hour = match refusal.as_str() {
                "outside_window" => local(lead, at),
                _ => String::new(),
            };
            let group = groups.entry(refusal.to_string()).or_default();
            group.push(whom(lead) + &hour);
        }
    }
    for (reason, mut people) in groups {
        let more = people.len().saturating_sub(names);
        if more > 0 {
            people.truncate(names);
            people.push(format!("and {more} more"));
        }
        let (what, look, count) = match reason.as_str() {
            "" => (
                "would be dialled".to_owned(),
                Look::Good,
                counted.would_dial,
            ),
            _ => {
                let count = counted.refusals.get(&reason).copied().unwrap_or(0);
                (format!("refused: {reason}"), Look::Plain, count)
            }
        };
        screen.row(
            &format!("  {what:<25} {count:>3}  "),
            None,
            look,
            &people.join(", "),
        )?;
    }
    Ok(())
}

fn whom(lead: &Lead) -> String {
    let state = lead.text("state_province").unwrap_or("-");
    format!("{} ({state})", name(lead))
}

/// What the clock of a lead shows, where it is one.
fn local(lead: &Lead, at: Timestamp) -> String {
    let zone = lead.zones().iter().next();
    zone.map_or_else(String::new, |zone| clock(at, &zone))
}

/// ` 7:40 AM`, behind something.
fn clock(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    local.strftime(" %-I:%M %p").to_string()
}

/// The calls of a campaign, oldest first.
pub(crate) async fn calls(stores: &Stores, campaign: &str) -> anyhow::Result<Vec<CallRecord>> {
    let mut query = CallQuery::default();
    query.limit = MOST;
    let page = stores.calls.list(&query).await;
    let mut calls = page.context("the store of calls")?.calls;
    calls.retain(|call| call.campaign.as_deref() == Some(campaign));
    calls.sort_by_key(|call| call.started);
    Ok(calls)
}

/// A transcript as it is on the disk: of the first call that came to a meeting.
pub(crate) fn transcript(screen: &mut Screen, calls: &[CallRecord]) -> anyhow::Result<()> {
    let mut booked = calls
        .iter()
        .filter(|call| call.outcome == Some(Outcome::Scheduled));
    let Some(file) = booked.next().and_then(|call| call.file.as_ref()) else {
        return Ok(());
    };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    screen
        .heading("The transcript of the first call that came to a meeting, as its file has it")?;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let look = match line {
            _ if line.contains("] Human: ") => Look::Human,
            _ if line.contains("] Assistant: ") => Look::Esther,
            _ => Look::Faint,
        };
        screen.row("  ", None, look, line)?;
    }
    Ok(())
}

/// The meetings in the calendar.
pub(crate) async fn meetings(
    screen: &mut Screen,
    stores: &Stores,
    leads: &Leads,
    now: Timestamp,
) -> anyhow::Result<()> {
    screen.heading("In Mike's calendar")?;
    let calendar = EmbeddedCalendar::new(Arc::clone(&stores.state));
    let mut meetings = Vec::new();
    for phone in leads.keys() {
        let theirs = calendar.of(phone, now).await;
        meetings.extend(theirs.context("the calendar")?);
    }
    meetings.sort_by_key(|meeting| meeting.start);
    for meeting in &meetings {
        let zone = TimeZone::get(&meeting.zone).unwrap_or(TimeZone::UTC);
        let name = meeting.name.as_deref().unwrap_or("-");
        let church = meeting.church.as_deref().unwrap_or("-");
        let email = meeting.email.as_deref().unwrap_or("-");
        let text = format!(
            "{name}, {church}, {email}: {} ({})",
            spoken(meeting.start, &zone),
            meeting.start
        );
        screen.row("  ", None, Look::Good, &text)?;
    }
    if meetings.is_empty() {
        screen.say(Look::Plain, "  nothing")?;
    }
    Ok(())
}

/// One row for each call, and the figures of the campaign.
pub(crate) fn summary(
    screen: &mut Screen,
    campaign: &Campaign,
    calls: &[CallRecord],
    leads: &Leads,
) -> io::Result<()> {
    screen.heading("What came of the calls")?;
    let head = format!(
        "  {:<19}  {:<12}  {:<14}  {:>6}  {:>8}  {:<17}  NEXT CALL",
        "LEAD", "NUMBER", "OUTCOME", "LASTED", "COST", "LEAD IS NOW"
    );
    screen.columns(Look::Faint, &head)?;
    for call in calls {
        let phone = call.remote.as_ref();
        let phone = phone.and_then(|remote| PhoneNumber::try_from(remote).ok());
        let lead = phone.as_ref().and_then(|phone| leads.get(phone));
        let text = |field| lead.and_then(|lead| lead.text(field));
        let next = text("next_attempt").and_then(|next| next.parse::<Timestamp>().ok());
        let zone = lead.and_then(|lead| lead.zones().iter().next());
        let next = next.map(|next| {
            let local = next.to_zoned(zone.unwrap_or(TimeZone::UTC));
            local.strftime("%a, %b %-d, %-I:%M %p %Z").to_string()
        });
        let lasted = call.duration.unwrap_or_default().as_secs_f64();
        let cost = call
            .cost_usd
            .map_or_else(|| "-".to_owned(), |usd| format!("${usd:.4}"));
        let row = format!(
            "  {:<19}  {:<12}  {:<14}  {lasted:>4.1} s  {cost:>8}  {:<17}  {}",
            lead.map_or("-", name),
            phone.as_ref().map(shortened).unwrap_or_default(),
            call.outcome.map_or("-", Outcome::as_str),
            text("call_status").unwrap_or("-"),
            next.unwrap_or_default(),
        );
        let look = match call.outcome {
            Some(Outcome::Scheduled | Outcome::FollowUp) => Look::Good,
            _ => Look::Plain,
        };
        screen.columns(look, row.trim_end())?;
    }
    let counts = &campaign.counts;
    screen.heading("The campaign's own figures")?;
    let state = serde_json::to_value(campaign.state)?;
    let all = format!(
        "  {}: {} leads matched = {} refused + {} done + {} pending + {} in progress; {} calls placed",
        state.as_str().unwrap_or_default(),
        counts.matched,
        counts.refused,
        counts.done,
        counts.pending,
        counts.in_progress,
        counts.dialled,
    );
    screen.say(Look::Plain, &all)?;
    for (outcome, count) in &campaign.outcomes {
        screen.say(Look::Plain, &format!("  outcome  {outcome:<16} {count:>3}"))?;
    }
    for (reason, count) in &campaign.refusals {
        screen.say(Look::Plain, &format!("  refused  {reason:<16} {count:>3}"))?;
    }
    let lasted: f64 = calls
        .iter()
        .filter_map(|call| call.duration)
        .map(|duration| duration.as_secs_f64())
        .sum();
    let cost: f64 = calls.iter().filter_map(|call| call.cost_usd).sum();
    let all = format!(
        "  {lasted:.0} s on the phone; Nova Sonic would have cost ${cost:.4}, by the tokens that \
         its stand-in counted"
    );
    screen.say(Look::Plain, &all)
}

/// More than a demonstration has.
const MOST: usize = 200;

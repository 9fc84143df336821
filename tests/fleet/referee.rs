//! Compares what the carrier saw with what the nodes were allowed to do and with what the stores
//! say afterwards.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use novavoice::{
    call::Outcome,
    lead::{Claimant, Lead, LeadCallStatus, LeadFilter, LeadQuery},
    outbound::{Campaign, Decisions},
    record::{CallQuery, CallRecord, CallStore},
    state::IdRange,
};
use serde_json::Value;

use crate::{
    crowd::{self, Kind, OUT_OF_SERVICE},
    fleet::{Fleet, NODES},
    report::Report,
    witness::{SETTLED, Witness, is_lead},
};

/// A request for a call, as it reached the carrier.
#[derive(Clone, Debug)]
struct Dial {
    at: Timestamp,
    from: String,
    to: String,
    /// The call that it placed.
    call: Option<String>,
    throttled: bool,
}

/// An intent to call, as the stores keep it.
#[derive(Clone, Debug)]
struct Attempt {
    at: Timestamp,
    dials: Vec<Dial>,
}

/// What the referee looks at.
struct Court<'a> {
    fleet: &'a Fleet,
    witness: &'a Witness,
    report: Report,
    dials: Vec<Dial>,
    records: HashMap<String, CallRecord>,
    leads: HashMap<String, Lead>,
    /// By the digits of the lead's number.
    attempts: HashMap<String, Vec<Attempt>>,
}

pub(crate) async fn judge(
    fleet: &Fleet,
    witness: &Witness,
    ended: Result<Campaign, Campaign>,
    took: Duration,
) -> Report {
    let mut court = Court {
        fleet,
        witness,
        report: Report::default(),
        dials: dials(fleet),
        records: records(fleet).await,
        leads: leads(fleet).await,
        attempts: HashMap::new(),
    };
    let finished = ended.is_ok();
    let (Ok(campaign) | Err(campaign)) = ended;
    court
        .report
        .check(finished, || format!("it did not finish: {campaign:?}"));
    court.setting(took);
    court.match_attempts().await;
    court.totals(&campaign);
    court.refusals(&campaign);
    court.outcomes();
    court.lead_states();
    court.pace();
    court.interruptions();
    court.carrier();
    court.decisions();
    court.free().await;
    court.report
}

impl Court<'_> {
    fn setting(&mut self, took: Duration) {
        let (size, diary) = (&self.fleet.size, self.fleet.diary());
        let report = &mut self.report;
        report.row("leads", size.leads);
        report.row("seed", size.seed);
        report.row("took", format!("{:.0} s", took.as_secs_f64()));
        report.row("processes killed", diary.kills);
        report.row("processes asked to stop", diary.stops.len());
        report.row("failures of the carrier", diary.faults);
        report.row("calls by hand meanwhile", diary.by_hand);
    }

    /// Which request belongs to which attempt: the intent comes first, and a lead has one at a
    /// time.
    async fn match_attempts(&mut self) {
        let (mut made, mut placed, mut lost) = (0, 0, 0);
        for lead in 0..self.fleet.size.leads {
            let digits = crowd::digits(lead);
            let collection = format!("calls-to/+{digits}");
            let (state, now) = (&self.fleet.state, Timestamp::now());
            let intents = state.list(&collection, &IdRange::all(), 1_000, now).await;
            let intents = intents.expect("the store answers");
            let mut attempts: Vec<_> = intents
                .iter()
                .map(|intent| Attempt {
                    at: time(&intent.value["at"]),
                    dials: Vec::new(),
                })
                .collect();
            attempts.sort_by_key(|attempt| attempt.at);
            for dial in self.dials.iter().filter(|dial| dial.to == digits) {
                // Its clock is the same, to the millisecond.
                let since = dial.at + SignedDuration::from_millis(2);
                let attempt = attempts.iter_mut().rev().find(|it| it.at <= since);
                match attempt {
                    Some(attempt) => attempt.dials.push(dial.clone()),
                    // It was taken back, as nothing was placed.
                    None if dial.call.is_none() => {}
                    None => self
                        .report
                        .fault(format!("lead {lead} was dialled without an intent")),
                }
            }
            for attempt in &attempts {
                let calls = attempt
                    .dials
                    .iter()
                    .filter(|dial| dial.call.is_some())
                    .count();
                self.report.check(calls <= 1, || {
                    format!("an attempt at lead {lead} was dialled {calls} times: {attempt:?}")
                });
                placed += calls;
                lost += usize::from(calls == 0);
            }
            made += attempts.len();
            self.attempts.insert(digits, attempts);
        }
        let ours = self
            .dials
            .iter()
            .filter(|dial| is_lead(self.fleet, &dial.to));
        let ours = ours.filter(|dial| dial.call.is_some()).count();
        self.report.row("attempts", made);
        self.report.row("  that became a call", placed);
        self.report.row("  of which the carrier never heard", lost);
        self.report.check(placed == ours, || {
            format!("the carrier placed {ours} calls, and {placed} belong to an attempt")
        });
        let again = self.attempts.values().filter(|attempts| attempts.len() > 1);
        let again = again.count();
        self.report.row("leads that were called again", again);
    }

    /// The campaign's figures, the carrier's book, the leads and the records are of one mind.
    fn totals(&mut self, campaign: &Campaign) {
        let counts = campaign.counts;
        let attempts: usize = self.attempts.values().map(Vec::len).sum();
        let sum: i64 = campaign.outcomes.values().sum();
        let report = &mut self.report;
        report.row("campaign: dialled", counts.dialled);
        report.row(
            "campaign: refused, done",
            format!("{}, {}", counts.refused, counts.done),
        );
        report.check(counts.matched == count(self.fleet.size.leads), || {
            format!("of the leads {} matched", counts.matched)
        });
        report.check(counts.matched == counts.refused + counts.done, || {
            format!("{counts:?}")
        });
        report.check(counts.pending == 0 && counts.in_progress == 0, || {
            format!("{counts:?}")
        });
        report.check(counts.dialled == count(attempts), || {
            format!("{} dialled, {attempts} attempts", counts.dialled)
        });
        report.check(sum == counts.dialled, || {
            format!("{} dialled, {sum} outcomes", counts.dialled)
        });
        let mut tally: BTreeMap<String, i64> = BTreeMap::new();
        for attempt in self.attempts.values().flatten() {
            let outcome = outcome_of(attempt, &self.records).unwrap_or(Outcome::Failed);
            *tally.entry(outcome.as_str().to_owned()).or_default() += 1;
        }
        for (outcome, n) in &tally {
            self.report.row(format!("  {outcome}"), n);
        }
        self.report.check(tally == campaign.outcomes, || {
            format!(
                "outcomes of the campaign {:?}, of its calls {tally:?}",
                campaign.outcomes
            )
        });
    }

    /// Whoever must not be called is not.
    fn refusals(&mut self, campaign: &Campaign) {
        let mut forbidden = 0;
        for lead in 0..self.fleet.size.leads {
            let Some(reason) = Kind::of(lead).refusal() else {
                continue;
            };
            forbidden += 1;
            let digits = crowd::digits(lead);
            let dialled = self.dials.iter().filter(|dial| dial.to == digits).count();
            self.report.check(dialled == 0, || {
                format!("lead {lead} was dialled {dialled} times in spite of {reason}")
            });
        }
        self.report.row("leads that must not be called", forbidden);
        let opted_out = self.fleet.diary().opted_out.clone();
        let mut longest = SignedDuration::ZERO;
        for (lead, answered) in &opted_out {
            let digits = crowd::digits(*lead);
            let late = self
                .dials
                .iter()
                .filter(|dial| dial.to == digits && dial.at > *answered);
            for dial in late {
                let after = dial.at.duration_since(*answered);
                longest = longest.max(after);
                self.report.check(after < IN_FLIGHT, || {
                    format!("lead {lead} was dialled {after:#} after it had opted out")
                });
            }
        }
        self.report
            .row("leads that opted out meanwhile", opted_out.len());
        self.report
            .row("  dialled after that, at most", format!("{longest:#}"));
        for (reason, n) in &campaign.refusals {
            self.report.row(format!("  refused: {reason}"), n);
        }
        self.report
            .check(!campaign.refusals.contains_key("unverified"), || {
                "some leads were refused since a store did not answer".to_owned()
            });
        for (lead, calls) in self.calls_by_lead() {
            let bad = calls.iter().position(|dial| self.is_out_of_service(dial));
            self.report
                .check(bad.is_none_or(|at| at + 1 == calls.len()), || {
                    format!("lead {lead} was dialled again though the number is bad")
                });
        }
    }

    /// What the records say of calls is what happened at the carrier.
    fn outcomes(&mut self) {
        let (mut abandoned, mut missing) = (0, 0);
        for dial in self.dials.clone() {
            let Some(call) = &dial.call else { continue };
            let calls = self.witness.calls();
            let Some(seen) = calls.get(call) else {
                self.report.fault(format!("nobody saw call {call}"));
                continue;
            };
            let Some(record) = self.records.get(call) else {
                missing += 1;
                // Who asked for it by hand died, and nobody took one of its events.
                let told = seen.events().iter().any(|event| event.status == Some(200));
                if told || is_lead(self.fleet, &dial.to) {
                    let fault = format!("call {call} to {} has no record", dial.to);
                    self.report.fault(fault);
                }
                continue;
            };
            let status = seen.status();
            let machine = seen.statuses(false).iter().any(|it| it == "machine");
            drop(calls);
            let outcome = record.outcome.map_or("none", |it| it.as_str());
            abandoned += usize::from(outcome == "abandoned");
            let right = match (&*status, outcome) {
                ("busy", "busy") | ("failed", "failed") => true,
                ("unanswered" | "rejected" | "cancelled", "no_answer") => true,
                ("completed", "completed") => !machine,
                ("completed", "voicemail") => machine,
                // Its process died, and the carrier ended it.
                ("completed", "abandoned") => true,
                _ => false,
            };
            self.report.check(right, || {
                format!("call {call} to {} ended {status} (machine: {machine}), its record says {outcome}", dial.to)
            });
            let campaign = record.campaign.as_deref();
            let ours = is_lead(self.fleet, &dial.to).then_some(&*self.fleet.campaign);
            self.report.check(campaign == ours, || {
                format!("call {call} belongs to campaign {ours:?}, its record says {campaign:?}")
            });
            self.report.check(!record.is_live(), || {
                format!("the record of call {call} is open")
            });
        }
        let placed: Vec<_> = self
            .dials
            .iter()
            .filter_map(|dial| dial.call.as_ref())
            .collect();
        let strange = self
            .records
            .keys()
            .filter(|id| !placed.contains(id))
            .count();
        self.report.row("records of calls", self.records.len());
        self.report.row("  abandoned", abandoned);
        self.report
            .row("  missing, of no call", format!("{missing}, {strange}"));
        self.report
            .check(strange == 0, || format!("{strange} records are of no call"));
    }

    /// Leads show what came of their last call.
    fn lead_states(&mut self) {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for lead in 0..self.fleet.size.leads {
            let digits = crowd::digits(lead);
            let found = &self.leads[&digits];
            let status = found.call_status().expect("a known status");
            *states.entry(status.as_str()).or_default() += 1;
            let attempts = &self.attempts[&digits];
            let opted_out = self
                .fleet
                .diary()
                .opted_out
                .iter()
                .any(|(it, _)| *it == lead);
            let last = attempts.last();
            let expected = match (Kind::of(lead), last) {
                (Kind::DoNotCall, _) => LeadCallStatus::DoNotCall,
                (Kind::BadNumber, _) => LeadCallStatus::BadNumber,
                _ if opted_out => LeadCallStatus::DoNotCall,
                (_, None) => LeadCallStatus::NotCalled,
                (_, Some(last)) if last.dials.iter().any(|dial| self.is_out_of_service(dial)) => {
                    LeadCallStatus::BadNumber
                }
                (_, Some(last)) => outcome_of(last, &self.records)
                    .unwrap_or(Outcome::Failed)
                    .into(),
            };
            self.report.check(status == expected, || {
                format!(
                    "lead {lead} ({digits}) is {}, and should be {}: {last:?}",
                    status.as_str(),
                    expected.as_str()
                )
            });
            let counted = found.fields.get("attempts").and_then(Value::as_u64);
            let made = attempts.len() as u64;
            self.report.check(counted.unwrap_or(0) == made, || {
                format!("lead {lead} ({digits}) counts {counted:?} attempts of {made}")
            });
        }
        let states = states.iter().map(|(state, n)| format!("{n} {state}"));
        let states = states.collect::<Vec<_>>().join(", ");
        self.report.row("leads afterwards", states);
    }

    fn pace(&mut self) {
        let fleet = self.fleet;
        let size = &fleet.size;
        let all: Vec<_> = self.dials.iter().map(|dial| dial.at).collect();
        let ours = self
            .dials
            .iter()
            .filter(|dial| is_lead(fleet, &dial.to) && !dial.throttled);
        let ours: Vec<_> = ours.map(|dial| dial.at).collect();
        let second = SignedDuration::from_secs(1);
        let most = |times: &[Timestamp], seconds: i32| most_within(times, second * seconds);
        let (one, ten, account) = (most(&ours, 1), most(&ours, 10), most(&all, 1));
        let requests = fleet.rest.requests();
        let others = requests.iter().filter(|request| request.method != "POST");
        let mut others: Vec<_> = others.map(|request| fleet.wall(request.at)).collect();
        others.sort();
        let seen = self.witness.seen();
        let report = &mut self.report;
        report.row(
            "account: other requests, and in a second, at most",
            format!("{}, {} of 15", others.len(), most(&others, 1)),
        );
        report.row(
            "campaign: calls in a second, at most",
            format!("{one} ({} wanted)", size.rate),
        );
        report.row(
            "campaign: calls in ten seconds, at most",
            format!("{ten} ({} wanted)", size.rate * 10),
        );
        report.row(
            "account: calls in a second, at most",
            format!("{account} of {}", size.account),
        );
        report.row(
            "calls at once, at most",
            format!("{} of {}", seen.concurrent, size.concurrent),
        );
        // A request may be a quarter of a second later than its turn.
        report.check(one <= size.rate + size.rate.div_ceil(4) + 1, || {
            format!("{one} calls in a second")
        });
        report.check(ten <= size.rate * 10 + size.rate.div_ceil(4) + 1, || {
            format!("{ten} calls in ten seconds")
        });
        report.check(account <= size.account, || {
            format!("{account} calls of the account in a second")
        });
        report.check(seen.concurrent <= size.concurrent, || {
            format!("{} calls at once", seen.concurrent)
        });
        report.row(
            "oldest attempt that was not settled",
            format!("{:#}", seen.oldest),
        );
        let longest = SETTLED + LONGEST_CALL;
        report.check(seen.oldest.unsigned_abs() < longest, || {
            format!("an attempt was not settled for {:#}", seen.oldest)
        });
    }

    /// Pauses, ends and starts of nodes have their effect in time.
    fn interruptions(&mut self) {
        let diary = self.fleet.diary();
        let mut late = SignedDuration::ZERO;
        for (paused, resumed) in &diary.pauses {
            let ours = self
                .dials
                .iter()
                .filter(|dial| is_lead(self.fleet, &dial.to));
            for dial in ours.filter(|dial| (*paused..*resumed).contains(&dial.at)) {
                late = late.max(dial.at.duration_since(*paused));
            }
        }
        self.report.row("pauses", diary.pauses.len());
        self.report
            .row("  last call after one", format!("{late:#}"));
        self.report.check(late < SignedDuration::from_secs(2), || {
            format!("a call {late:#} after a pause")
        });
        let mut late = SignedDuration::ZERO;
        for (nth, asked, again) in &diary.stops {
            let from = from(*nth);
            let its = self.dials.iter().filter(|dial| dial.from == from);
            for dial in its.filter(|dial| (*asked..*again).contains(&dial.at)) {
                late = late.max(dial.at.duration_since(*asked));
            }
        }
        self.report
            .row("last call after SIGTERM", format!("{late:#}"));
        self.report.check(late < SignedDuration::from_secs(1), || {
            format!("a call {late:#} after SIGTERM")
        });
        let mut waits: Vec<_> = diary
            .starts
            .iter()
            .filter_map(|(nth, start)| {
                let from = from(*nth);
                let first = self
                    .dials
                    .iter()
                    .find(|dial| dial.from == from && dial.at > *start)?;
                Some(first.at.duration_since(*start))
            })
            .collect();
        waits.sort();
        if let Some(middle) = waits.get(waits.len() / 2) {
            self.report.row(
                "from a start to the node's first call",
                format!("{middle:#} in the middle"),
            );
        }
    }

    fn carrier(&mut self) {
        let mut of: BTreeMap<String, usize> = BTreeMap::new();
        for violation in self.fleet.carrier.violations() {
            let text = violation.to_string();
            // A node that was killed answers nothing; the carrier sends it twice.
            let by_death = text.starts_with("webhook: no response")
                || text.starts_with("webhook: status 503")
                || text.contains("onnection reset")
                || text.starts_with("socket: ");
            if by_death {
                *of.entry("webhooks and sockets that met a dead node".to_owned())
                    .or_default() += 1;
            } else {
                *of.entry(format!("violation: {text}")).or_default() += 1;
                self.report.fault(text);
            }
        }
        for (what, n) in of {
            self.report.row(what, n);
        }
    }

    /// Every decision of every node is written down, and no log was torn.
    fn decisions(&mut self) {
        let (mut lines, mut allowed) = (0, 0);
        for site in &self.fleet.sites {
            let folder = fs::read_dir(site.home.join("data")).expect("a folder");
            for file in folder.map(|file| file.expect("a file").path()) {
                if file.extension().is_none_or(|it| it != "jsonl") {
                    continue;
                }
                match Decisions::verify(&file) {
                    Ok(sound) => lines += sound,
                    Err(error) => self.report.fault(error.to_string()),
                }
                let text = fs::read_to_string(&file).expect("text");
                allowed += text
                    .lines()
                    .filter(|line| line.contains(r#""refusals":[],"#))
                    .count();
            }
        }
        let attempts: usize = self.attempts.values().map(Vec::len).sum();
        self.report.row(
            "decisions written down",
            format!("{lines}, {allowed} of them allowed a call"),
        );
        self.report.check(allowed >= attempts, || {
            format!("{attempts} attempts, and {allowed} decisions that allow one")
        });
    }

    /// Nobody holds a lead any more.
    async fn free(&mut self) {
        let mut held = 0;
        for lead in (0..self.fleet.size.leads).step_by(self.fleet.size.leads.div_ceil(200)) {
            let claimant = Claimant::new("referee", Timestamp::now());
            let claim = self.fleet.leads.claim(&crowd::phone(lead), &claimant).await;
            held += usize::from(claim.expect("the store answers").is_none());
        }
        self.report
            .check(held == 0, || format!("{held} leads are still claimed"));
    }

    /// The calls of each lead, in order.
    fn calls_by_lead(&self) -> BTreeMap<String, Vec<Dial>> {
        let mut calls: BTreeMap<String, Vec<Dial>> = BTreeMap::new();
        let placed = self.dials.iter().filter(|dial| dial.call.is_some());
        for dial in placed.filter(|dial| is_lead(self.fleet, &dial.to)) {
            calls.entry(dial.to.clone()).or_default().push(dial.clone());
        }
        calls
    }

    fn is_out_of_service(&self, dial: &Dial) -> bool {
        let calls = self.witness.calls();
        let call = dial.call.as_ref().and_then(|call| calls.get(call));
        call.is_some_and(|call| {
            let events = call.events();
            events
                .iter()
                .any(|event| event.body["detail"] == OUT_OF_SERVICE)
        })
    }
}

/// What came of an attempt's call. `None`: there was none.
fn outcome_of(attempt: &Attempt, records: &HashMap<String, CallRecord>) -> Option<Outcome> {
    let call = attempt.dials.iter().find_map(|dial| dial.call.as_ref())?;
    records.get(call)?.outcome
}

fn dials(fleet: &Fleet) -> Vec<Dial> {
    let requests = fleet.rest.requests().into_iter();
    let dials = requests.filter(|request| request.method == "POST" && request.path == "/v1/calls");
    let mut dials: Vec<_> = dials
        .map(|request| Dial {
            at: fleet.wall(request.at),
            from: text(&request.body["from"]["number"]),
            to: text(&request.body["to"][0]["number"]),
            call: request.call,
            throttled: request.status == Some(429),
        })
        .collect();
    dials.sort_by_key(|dial| dial.at);
    dials
}

async fn records(fleet: &Fleet) -> HashMap<String, CallRecord> {
    let mut query = CallQuery::default();
    query.limit = 500;
    let mut records = HashMap::new();
    loop {
        let page = fleet.calls.list(&query).await.expect("the store answers");
        assert_eq!(page.unreadable, []);
        let read = page.calls.into_iter();
        records.extend(read.map(|record| (record.id.as_str().to_owned(), record)));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return records,
        }
    }
}

async fn leads(fleet: &Fleet) -> HashMap<String, Lead> {
    let mut query = LeadQuery::new(LeadFilter::all()).with_limit(500);
    let mut leads = HashMap::new();
    loop {
        let page = fleet.leads.query(&query).await.expect("the store answers");
        for lead in page.leads {
            leads.insert(lead.phone.reveal().trim_start_matches('+').to_owned(), lead);
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => return leads,
        }
    }
}

/// The most of these times, which are in order, within any such span.
fn most_within(times: &[Timestamp], span: SignedDuration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while at.duration_since(times[first]) >= span {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

/// By which the carrier knows a node.
fn from(nth: usize) -> String {
    assert!(nth < NODES);
    format!("1212555019{nth}")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn time(value: &Value) -> Timestamp {
    value
        .as_str()
        .and_then(|it| it.parse().ok())
        .expect("a time")
}

fn count(n: usize) -> i64 {
    i64::try_from(n).expect("few")
}

/// What was on its way to the carrier already.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(1);
/// Nobody talks longer than a machine records.
const LONGEST_CALL: Duration = Duration::from_secs(45);

//! Sequences of everything that can be done to leads, on every store, against a plain model.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use novavoice::{
    ProviderError, ProviderErrorKind,
    lead::{
        Change, Claim, Claimant, DynamoLeads, Fields, Guard, Lead, LeadFilter, LeadStore,
        MemoryLeads, PhoneNumber, SqliteLeads,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::dynamo::Server;

/// One thing that somebody does. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Wait(u32),
    Upsert(u32, Fields),
    Update(u32, Fields, Wanted),
    Claim(u32, u32),
    ClaimNext(u32),
    Renew(usize, u32),
    Settle(usize, Fields),
    WriteAs(usize, Fields),
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Anything,
    ThisVersion,
    Version(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (1..80_u32).prop_map(Step::Wait),
        3 => (LEADS, fields()).prop_map(|(n, fields)| Step::Upsert(n, fields)),
        3 => (LEADS, fields(), prop_oneof![
            Just(Wanted::Anything),
            Just(Wanted::ThisVersion),
            (0..6_u64).prop_map(Wanted::Version),
        ])
        .prop_map(|(n, fields, wanted)| Step::Update(n, fields, wanted)),
        3 => (LEADS, 1..100_u32).prop_map(|(n, lease)| Step::Claim(n, lease)),
        3 => (1..100_u32).prop_map(Step::ClaimNext),
        2 => (0..8_usize, 1..100_u32).prop_map(|(claim, lease)| Step::Renew(claim, lease)),
        3 => (0..8_usize, fields()).prop_map(|(claim, fields)| Step::Settle(claim, fields)),
        2 => (0..8_usize, fields()).prop_map(|(claim, fields)| Step::WriteAs(claim, fields)),
    ];
    prop::collection::vec(step, 1..40)
}

const LEADS: std::ops::Range<u32> = 0..3;

fn fields() -> impl Strategy<Value = Fields> {
    let named = prop_oneof![
        (
            "(name|email|x)",
            prop_oneof![Just(Value::Null), "[a-z]{0,2}".prop_map(Value::from),]
        ),
        (Just("n".to_owned()), (0..3).prop_map(Value::from)),
        (
            Just("call_status".to_owned()),
            prop_oneof![
                Just(Value::Null),
                Just(json!("not_called")),
                Just(json!("called")),
                Just(json!("no_answer")),
                Just(json!("do_not_call")),
            ]
        ),
        (
            Just("next_attempt".to_owned()),
            prop_oneof![
                Just(Value::Null),
                (0..400_i64).prop_map(|seconds| json!(at(seconds).to_string())),
            ]
        ),
    ];
    prop::collection::vec(named, 0..3).prop_map(|named| named.into_iter().collect())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_782_140_400 + seconds).expect("a time in 2026")
}

fn phone(n: u32) -> PhoneNumber {
    PhoneNumber::parse(&format!("+1212555010{n}")).expect("a number")
}

/// What is known of a lead by what the store has answered so far.
#[derive(Default)]
struct Known {
    fields: Fields,
    version: u64,
    fence: u64,
    /// Until when the last claim holds, unless it was settled.
    held: Option<Timestamp>,
}

impl Known {
    fn opted_out(&self) -> bool {
        self.fields.get("call_status") == Some(&json!("do_not_call"))
    }

    fn is_due(&self, now: Timestamp) -> bool {
        if let Some(until) = self.held {
            return until <= now;
        }
        let status = self.fields.get("call_status").and_then(Value::as_str);
        let next = self.fields.get("next_attempt").and_then(Value::as_str);
        match next {
            _ if self.opted_out() => false,
            Some(next) => next.parse::<Timestamp>().expect("a time") <= now,
            None => matches!(status, None | Some("not_called")),
        }
    }

    /// Merges as the contract says; null removes only in updates.
    fn merge(&mut self, fields: &Fields, removes: bool, knowing: bool) {
        let before = self.fields.clone();
        for (name, value) in fields {
            let kept = name == "call_status" && self.opted_out() && !knowing;
            match value {
                _ if kept => {}
                Value::Null if removes => drop(self.fields.remove(name)),
                Value::Null => {}
                Value::String(text) if name == "next_attempt" => {
                    let time: Timestamp = text.parse().expect("a time");
                    let text = time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
                    self.fields.insert(name.clone(), text.into());
                }
                value => drop(self.fields.insert(name.clone(), value.clone())),
            }
        }
        if self.fields != before || self.version == 0 {
            self.version += 1;
        }
    }

    fn assert_is(&self, lead: &Lead) {
        assert_eq!(lead.fields, self.fields);
        assert_eq!(lead.version, self.version);
    }
}

async fn play(store: &dyn LeadStore, steps: &[Step]) {
    let mut leads: BTreeMap<PhoneNumber, Known> = BTreeMap::new();
    let mut claims: Vec<Claim> = Vec::new();
    let mut now = at(0);
    for step in steps {
        match step {
            Step::Wait(seconds) => now += SignedDuration::from_secs((*seconds).into()),
            Step::Upsert(n, fields) => {
                let mut lead = Lead::new(phone(*n));
                lead.fields = fields.clone();
                let stored = store.upsert(lead).await.expect("it is taken");
                let known = leads.entry(phone(*n)).or_default();
                known.merge(fields, false, false);
                known.assert_is(&stored);
            }
            Step::Update(n, fields, wanted) => {
                let known = leads.get_mut(&phone(*n));
                let version = known.as_ref().map_or(0, |known| known.version);
                let (guard, holds) = match *wanted {
                    Wanted::Anything => (Guard::Any, true),
                    Wanted::ThisVersion => (Guard::Version(version), true),
                    Wanted::Version(other) => (Guard::Version(other), other == version),
                };
                let change = Change::from(fields.clone());
                let done = store.update(&phone(*n), change, guard).await;
                match known {
                    None => refused(done, &ProviderErrorKind::NotFound),
                    Some(_) if !holds => refused(done, &ProviderErrorKind::Conflict),
                    Some(known) => {
                        known.merge(fields, true, guard != Guard::Any);
                        known.assert_is(&done.expect("the guard holds"));
                    }
                }
            }
            Step::Claim(n, lease) => {
                let claimed = store.claim(&phone(*n), &claimant(now, *lease)).await;
                let claimed = claimed.expect("the store answers");
                let known = leads.get_mut(&phone(*n));
                let free = known.filter(|known| known.held.is_none_or(|until| until <= now));
                assert_eq!(claimed.is_some(), free.is_some());
                if let (Some(claim), Some(known)) = (claimed, free) {
                    take(claim, known, now, *lease, &mut claims);
                }
            }
            Step::ClaimNext(lease) => {
                let all = LeadFilter::all();
                let claimed = store.claim_next(&all, &claimant(now, *lease)).await;
                let claimed = claimed.expect("the store answers");
                let due = leads.values().any(|known| known.is_due(now));
                assert_eq!(claimed.is_some(), due);
                if let Some(claim) = claimed {
                    let known = leads.get_mut(&claim.lead.phone).expect("a lead of ours");
                    assert!(known.is_due(now), "given out before its time");
                    take(claim, known, now, *lease, &mut claims);
                }
            }
            Step::Renew(which, lease) => {
                let Some(claim) = claims.get(*which) else {
                    continue;
                };
                let until = now + SignedDuration::from_secs((*lease).into());
                let done = store.renew(claim, until).await;
                let known = leads.get_mut(&claim.lead.phone).expect("a lead of ours");
                if known.held.is_some() && known.fence == claim.fence {
                    let renewed = done.expect("it is ours");
                    assert_eq!((renewed.fence, renewed.until), (claim.fence, until));
                    known.held = Some(until);
                } else {
                    refused(done, &ProviderErrorKind::Conflict);
                }
            }
            Step::Settle(which, fields) | Step::WriteAs(which, fields) => {
                let Some(claim) = claims.get(*which) else {
                    continue;
                };
                let change = Change::from(fields.clone());
                let last = matches!(step, Step::Settle(..));
                let done = if last {
                    store.settle(claim, change).await
                } else {
                    let guard = Guard::Claim(claim.fence);
                    store.update(&claim.lead.phone, change, guard).await
                };
                let known = leads.get_mut(&claim.lead.phone).expect("a lead of ours");
                if known.held.is_some() && known.fence == claim.fence {
                    known.merge(fields, true, false);
                    known.assert_is(&done.expect("it is ours"));
                    known.held = known.held.filter(|_| !last);
                } else {
                    refused(done, &ProviderErrorKind::Conflict);
                }
            }
        }
    }
    for (phone, known) in &leads {
        let lead = store.get(phone).await.expect("the store answers");
        known.assert_is(&lead.expect("it is there"));
    }
}

fn claimant(now: Timestamp, lease: u32) -> Claimant {
    Claimant::new("w", now).with_lease(Duration::from_secs(lease.into()))
}

fn take(claim: Claim, known: &mut Known, now: Timestamp, lease: u32, claims: &mut Vec<Claim>) {
    known.assert_is(&claim.lead);
    assert_eq!(claim.fence, known.fence + 1);
    assert_eq!(claim.until, now + SignedDuration::from_secs(lease.into()));
    known.fence = claim.fence;
    known.held = Some(claim.until);
    claims.push(claim);
}

fn refused<T: std::fmt::Debug>(done: Result<T, ProviderError>, kind: &ProviderErrorKind) {
    assert_eq!(done.expect_err("it is refused").kind(), kind);
}

fn run(steps: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(steps);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_memory_store_does_what_the_model_says(steps in steps()) {
        run(play(&MemoryLeads::new(), &steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_store_in_a_file_does_what_the_model_says(steps in steps()) {
        run(async {
            let folder = tempfile::tempdir().expect("a folder");
            let store = SqliteLeads::open(&folder.path().join("leads.sqlite")).await;
            play(&store.expect("the file opens"), &steps).await;
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    #[test]
    fn the_store_in_dynamodb_does_what_the_model_says(steps in steps()) {
        run(async {
            for server in Server::all() {
                let (dynamo, table) = (server.dynamo(), server.table("Churches"));
                let made = dynamo.create_missing(&[DynamoLeads::table(&table)]).await;
                made.expect("the table can be made");
                play(&DynamoLeads::new(dynamo, table), &steps).await;
            }
        });
    }
}

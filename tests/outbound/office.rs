//! Stores, a carrier and a clock, for campaigns in simulated time.

use std::{cell::Cell, sync::Arc, time::Duration};

use jiff::Timestamp;
use novavoice::{
    call::Outcome,
    lead::{Lead, LeadStore, MemoryLeads, PhoneNumber},
    outbound::{
        Campaign, CampaignState, Campaigns, Decisions, Desk, Gatekeeper, Plan, Worker, WorkerConfig,
    },
    record::{CallStore, MemoryCalls},
    state::{MemoryState, StateStore},
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use crate::line::FakeLine;

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A Monday, ten in the morning in New York, and however long tokio's clock has run since.
pub(crate) fn now() -> Timestamp {
    let begun = BEGUN.with(|begun| {
        let first = begun.get().unwrap_or_else(Instant::now);
        begun.set(Some(first));
        first
    });
    let start: Timestamp = "2026-06-22T14:00:00Z".parse().unwrap();
    start + begun.elapsed()
}

pub(crate) struct Office {
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) leads: Arc<dyn LeadStore>,
    pub(crate) calls: Arc<dyn CallStore>,
    pub(crate) line: FakeLine,
    pub(crate) gate: Gatekeeper,
    pub(crate) campaigns: Campaigns,
    folder: tempfile::TempDir,
}

/// A node at work.
pub(crate) struct Node {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Office {
    /// An office where whoever carries a call writes its record.
    pub(crate) fn new() -> Self {
        Self::with(true)
    }

    pub(crate) fn with(records: bool) -> Self {
        now();
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let leads: Arc<dyn LeadStore> = Arc::new(MemoryLeads::new());
        let calls: Arc<dyn CallStore> = Arc::new(MemoryCalls::new());
        let line = FakeLine::new(records.then(|| Arc::clone(&calls)));
        let folder = tempfile::tempdir().unwrap();
        let log = Decisions::open(folder.path().join("decisions.jsonl")).unwrap();
        let gate = Gatekeeper::new(Arc::clone(&state), Arc::clone(&leads), log);
        let campaigns = Campaigns::new(Arc::clone(&state));
        Self {
            state,
            leads,
            calls,
            line,
            gate,
            campaigns,
            folder,
        }
    }

    /// A lead in New York whose calls end so.
    pub(crate) async fn lead(&self, nth: u32, outcomes: &[Outcome]) -> PhoneNumber {
        let phone = phone(nth);
        let lead = Lead::new(phone.clone())
            .with("name", format!("Pastor {nth}"))
            .with("state_province", "NY");
        self.leads.upsert(lead).await.unwrap();
        self.line.fate(&phone, outcomes);
        phone
    }

    pub(crate) fn node(&self) -> Node {
        let mut config = WorkerConfig::default();
        config.clock = now;
        config.account_rate = 50.0;
        let desk = Desk {
            state: Arc::clone(&self.state),
            leads: Arc::clone(&self.leads),
            calls: Arc::clone(&self.calls),
            line: Arc::new(self.line.clone()),
            gate: self.gate.clone(),
        };
        let worker = Worker::new(desk, config);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            worker
                .run(async { stopped.await.unwrap_or_default() })
                .await;
        });
        Node { task, stop }
    }

    /// A campaign of `plan`, which lacks its name, that runs.
    pub(crate) async fn start(&self, mut plan: Value) -> String {
        plan["name"] = json!("Test");
        let plan: Plan = serde_json::from_value(plan).unwrap();
        assert_eq!(plan.problems(), []);
        let campaign = self.campaigns.create(plan, now()).await.unwrap();
        self.campaigns.start(&campaign.id, now()).await.unwrap();
        campaign.id
    }

    pub(crate) async fn campaign(&self, id: &str) -> Campaign {
        let campaign = self.campaigns.get(id, now()).await.unwrap().unwrap();
        let counts = campaign.counts;
        assert_eq!(
            counts.matched,
            counts.refused + counts.pending + counts.in_progress + counts.done,
            "{counts:?}"
        );
        campaign
    }

    /// Waits until the campaign is no longer running.
    pub(crate) async fn over(&self, id: &str, longest: Duration) -> Campaign {
        let until = now() + longest;
        loop {
            let campaign = self.campaign(id).await;
            if campaign.state != CampaignState::Running {
                return campaign;
            }
            assert!(now() < until, "not over within {longest:?}: {campaign:?}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The lines of the log of decisions, whose chain holds.
    pub(crate) fn decisions(&self) -> u64 {
        Decisions::verify(self.folder.path().join("decisions.jsonl")).unwrap()
    }
}

impl Node {
    /// As a signal does it: what was begun is seen through.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap_or_default();
        self.task.await.unwrap();
    }

    /// As a crash does it, between two steps.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let gone = self.task.await;
        assert!(gone.is_err_and(|gone| gone.is_cancelled()));
    }
}

pub(crate) fn phone(nth: u32) -> PhoneNumber {
    // Fiction has a hundred numbers in each area.
    let areas = [
        "212", "315", "516", "518", "585", "607", "631", "646", "716", "718", "845", "914",
    ];
    let area = areas[usize::try_from(nth / 100).unwrap() % areas.len()];
    PhoneNumber::parse(&format!("+1{area}55501{:02}", nth % 100)).unwrap()
}

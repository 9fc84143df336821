//! Everything that takes part: the carrier, the stores, the nodes, and what goes on between them.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use novavoice::{
    lead::{DynamoLeads, LeadStore},
    outbound::{Campaign, CampaignState, Campaigns},
    private::Private,
    record::DynamoCalls,
    state::{DynamoState, StateStore},
    testkit::vonage::{Duplicates, FakeVonage, Opening, Options, RestOptions, RestServer},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    Size,
    balancer::{self, Nodes},
    crowd::{self, Days},
    dynamo::Server,
    held::Held,
    node::{Node, Site},
    referee,
    report::Report,
    trouble::{self, Diary},
    witness::{self, Witness},
};

pub(crate) struct Fleet {
    pub(crate) size: Size,
    pub(crate) carrier: FakeVonage,
    pub(crate) rest: RestServer,
    pub(crate) nodes: Nodes,
    pub(crate) sites: Vec<Site>,
    pub(crate) processes: Vec<tokio::sync::Mutex<Option<Node>>>,
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) leads: Arc<dyn LeadStore>,
    pub(crate) calls: DynamoCalls,
    pub(crate) campaigns: Campaigns,
    pub(crate) campaign: String,
    pub(crate) client: reqwest::Client,
    pub(crate) diary: Mutex<Diary>,
    pub(crate) over: AtomicBool,
    pub(crate) began: (Instant, Timestamp),
    folder: Option<TempDir>,
}

impl Fleet {
    /// Everybody is there, and the campaign has not begun.
    pub(crate) async fn start(size: &Size, server: &Server) -> Arc<Self> {
        let began = (Instant::now(), Timestamp::now());
        let folder = tempfile::tempdir().expect("a folder");
        let nodes: Nodes = Arc::new(Mutex::new(vec![None; NODES]));
        let public_url = balancer::serve(Arc::clone(&nodes)).await;
        let carrier = FakeVonage::new(Options {
            signature_secret: Some(Private::new(SECRET.to_owned())),
            duplicates: Duplicates::FreshToken,
            keep_audio: false,
            ..Options::new(&public_url)
        });
        let rest = carrier.serve_rest(RestOptions {
            calls_per_second: size.account,
            // Late, and not in the order in which things happened.
            opening: vec![
                Opening::Ringing,
                Opening::Answered,
                Opening::Started,
                Opening::Answer,
            ],
            ..RestOptions::new().expect("a key")
        });
        let rest = rest.await.expect("a free port");
        let days = Days::now();
        let dynamo = server.dynamo();
        let [calls, leads, state] =
            ["calls", "leads", "state"].map(|name| server.table(&format!("fleet-{name}")));
        let tables = [
            novavoice::transcript::dynamodb::call_records(&calls),
            DynamoLeads::table(&leads),
            DynamoState::table(&state),
        ];
        let made = dynamo.create_missing(&tables).await;
        made.expect("the tables can be made");
        let sites = (0..NODES).map(|nth| {
            let home = folder.path().join(format!("node-{nth}"));
            fs::create_dir(&home).expect("a folder");
            let from = format!("+1212555019{nth}");
            let settings = [
                ("PORT", "0"),
                ("SPEECH_MODEL", "local"),
                ("PUBLIC_URL", &public_url),
                ("ESTHER_API_TOKEN", TOKEN),
                ("DRAIN_SECONDS", "6"),
                ("AWS_ENDPOINT_URL_DYNAMODB", server.url()),
                ("CALL_RECORDS_TABLE", &calls),
                ("LEADS_TABLE", &leads),
                ("STATE_TABLE", &state),
                ("VONAGE_API_KEY", "a1b2c3d4"),
                ("VONAGE_API_SECRET", "an-api-secret"),
                ("VONAGE_APPLICATION_ID", APPLICATION),
                ("VONAGE_SIGNATURE_SECRET", SECRET),
                (
                    "VONAGE_PRIVATE_KEY",
                    &rest.key().private_pem().replace('\n', "\\n"),
                ),
                // By which the carrier tells nodes apart.
                ("VONAGE_FROM_NUMBER", &from),
                ("VONAGE_API_URL", rest.base_url()),
                ("VONAGE_CALLS_PER_SECOND", &size.account.to_string()),
            ];
            let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Site {
                home,
                settings: settings.to_vec(),
            }
        });
        let sites: Vec<_> = sites.collect();
        let state: Arc<dyn StateStore> = Arc::new(DynamoState::new(dynamo.clone(), state));
        let mut fleet = Self {
            size: size.clone(),
            carrier,
            rest,
            nodes,
            processes: (0..NODES).map(|_| tokio::sync::Mutex::new(None)).collect(),
            sites,
            campaigns: Campaigns::new(Arc::clone(&state)),
            state,
            leads: Arc::new(DynamoLeads::new(dynamo.clone(), leads)),
            calls: DynamoCalls::new(dynamo, calls),
            campaign: String::new(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(20))
                .build()
                .expect("no TLS to fail"),
            diary: Mutex::default(),
            over: AtomicBool::new(false),
            began,
            folder: Some(folder),
        };
        for lead in 0..size.leads {
            let stored = fleet.leads.upsert(crowd::lead(lead, &days)).await;
            stored.expect("a lead is stored");
            let callees = crowd::callees(size.seed, lead);
            fleet.rest.reach_in_turn(&crowd::digits(lead), callees);
        }
        for nth in 0..NODES {
            fleet.begin(nth).await;
        }
        let plan = days.plan(size.rate, size.concurrent);
        let created = fleet.ask("POST", "/campaigns", Some(&plan)).await;
        let created = created.expect("a campaign is made");
        fleet.campaign = created["id"].as_str().expect("an id").to_owned();
        Arc::new(fleet)
    }

    /// From the start of the campaign to its end, and what came of it.
    pub(crate) async fn run(self: Arc<Self>) -> Report {
        let held = Held::watch();
        let witness = Arc::new(Witness::default());
        let watching = tokio::spawn(witness::watch(Arc::clone(&self), Arc::clone(&witness)));
        let started = self.steer("start").await;
        assert!(started, "the campaign starts");
        let trouble = trouble::make(&self);
        let deadline = Instant::now() + PATIENCE;
        let mut told = Instant::now();
        let ended = loop {
            sleep(Duration::from_millis(500)).await;
            let campaign = self.campaign().await;
            if campaign.state == CampaignState::Finished {
                break Ok(campaign);
            }
            if campaign.state == CampaignState::Stopped || Instant::now() > deadline {
                break Err(campaign);
            }
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                eprintln!(
                    "{:>4.0?} s: {:?}",
                    self.began.0.elapsed().as_secs_f64(),
                    campaign.counts
                );
            }
        };
        let took = self.began.0.elapsed();
        self.over.store(true, Relaxed);
        for task in trouble {
            task.await.expect("no panic");
        }
        // The last events of calls, and what becomes of the records of dead nodes.
        witness.quiet(&self).await;
        watching.abort();
        let mut report = referee::judge(&self, &witness, ended, took).await;
        report.row(
            "the referee itself was held up for, at most",
            format!("{:?}", held.longest()),
        );
        for (nth, process) in self.processes.iter().enumerate() {
            if let Some(node) = process.lock().await.take() {
                node.terminate().await;
                let status = node.ended().await;
                if status.code() != Some(0) {
                    report.fault(format!("node {nth} ended with {status}"));
                }
            }
        }
        if !report.faults.is_empty()
            && let Some(folder) = &self.folder
        {
            let kept = std::env::temp_dir().join(format!("fleet-{}", std::process::id()));
            let copied = std::process::Command::new("cp")
                .arg("-r")
                .arg(folder.path())
                .arg(&kept)
                .status();
            if copied.is_ok_and(|copied| copied.success()) {
                report.fault(format!("what the nodes left is in {}", kept.display()));
            }
        }
        report
    }

    pub(crate) async fn campaign(&self) -> Campaign {
        let found = self.campaigns.get(&self.campaign, Timestamp::now()).await;
        found.expect("the store answers").expect("it is there")
    }

    /// Starts the process of a site, from now on one of those that take connections.
    pub(crate) async fn begin(&self, nth: usize) {
        let node = self.sites[nth].start().await;
        self.nodes()[nth] = Some(node.address.clone());
        *self.processes[nth].lock().await = Some(node);
    }

    pub(crate) fn nodes(&self) -> std::sync::MutexGuard<'_, Vec<Option<String>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn diary(&self) -> std::sync::MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Asks any node that lives, until one of them answers with success. `None`: none did.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Value> {
        for _ in 0..20 {
            for address in balancer::alive(&self.nodes) {
                let method = method.parse().expect("a method");
                let url = format!("http://{address}{path}");
                let mut request = self.client.request(method, url).bearer_auth(TOKEN);
                if let Some(body) = body {
                    request = request.json(body);
                }
                // It may be killed at this very moment.
                let Ok(answer) = request.send().await else {
                    continue;
                };
                if answer.status().is_success() {
                    return answer.json().await.ok();
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
        None
    }

    /// Starts, pauses or resumes the campaign.
    pub(crate) async fn steer(&self, verb: &str) -> bool {
        let path = format!("/campaigns/{}/{verb}", self.campaign);
        self.ask("POST", &path, None).await.is_some()
    }

    /// A time of the monotonic clock as the calendar shows it.
    pub(crate) fn wall(&self, at: std::time::Instant) -> Timestamp {
        let since = at.saturating_duration_since(self.began.0.into_std());
        self.began.1 + since
    }
}

pub(crate) const NODES: usize = 3;
/// A campaign that is not over by then is stuck.
const PATIENCE: Duration = Duration::from_mins(30);
pub(crate) const TOKEN: &str = "a-token-of-the-fleet";
const SECRET: &str = "novavoice-test-signature-secret-0123456789";
const APPLICATION: &str = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab";

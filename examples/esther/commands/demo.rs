//! `esther demo`: the whole story on this machine alone, with simulated people and model.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use novavoice::{
    agent::AgentEvent,
    outbound::{Campaigns, Gatekeeper, Plan},
    telephony::CallProgress,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{
    broadcast::{Receiver, error::TryRecvError},
    watch,
};

use super::{
    api::{Api, answered},
    leads::import::Import,
};
use crate::{
    clock::wall,
    config::Config,
    demo::{
        live::Live,
        report,
        screen::{Look, Screen},
        stage::{self, CLOCK_ZONE, Stage},
    },
    service::{Service, Stop},
    signals,
    stores::Stores,
};

/// How it is shown.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keeps the transcript files in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Demo {
    /// Shows it.
    pub(crate) async fn run(self, config: Config) -> anyhow::Result<()> {
        let folder = TempDir::with_prefix("esther-demo-");
        let folder = folder.context("there is no place for temporary files")?;
        let shown = self.show(config, folder.path()).await;
        folder.close().context("the temporary files remain")?;
        match shown {
            // Whoever read the output has seen enough.
            Err(problem) if is_closed(&problem) => Ok(()),
            shown => shown,
        }
    }

    async fn show(&self, mut config: Config, folder: &Path) -> anyhow::Result<()> {
        let asked = signals::watch();
        let mut screen = Screen::new();
        for line in INTRODUCTION {
            screen.say(Look::Plain, line)?;
        }
        let morning = stage::set_clock().in_tz(CLOCK_ZONE)?;
        let clock = morning.strftime("%A, %B %-d, %-I:%M %p").to_string();
        let clock = format!(
            "The clock of calling hours and of the calendar is set to {clock} in New York, so that \
             this runs at any hour. Farther west it is too early to call."
        );
        screen.say(Look::Plain, &clock)?;

        let transcripts = match &self.keep {
            Some(keep) => keep.clone(),
            None => folder.join("transcripts"),
        };
        fs::create_dir_all(&transcripts)
            .with_context(|| format!("cannot make {}", transcripts.display()))?;
        config.drain = DRAIN;
        let (stage, service, stores, token) =
            Box::pin(stage::set_up(config, folder, &transcripts)).await?;

        screen.heading("Leads in: the sample, and what the office knows better")?;
        import(&stores, folder).await?;
        let plan = Plan::deserialize(plan())?;
        let gate = service.gatekeeper().clone();
        screen.heading("Preview: what the gate says about each of them now")?;
        report::preview(&mut screen, &plan, (&stores, &gate), wall(), ALL).await?;

        let api = Api::new(service.address.clone(), Some(token))?;
        let campaign = campaign(&mut screen, service, &stores, &api, &asked).await?;
        after(&mut screen, &stores, &gate, &campaign).await?;
        end(&mut screen, &stage, self.keep.as_deref())
    }
}

/// Loads the leads of the example, and a second list over them.
async fn import(stores: &Stores, folder: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for (name, text) in [
        ("sample.csv", include_str!("../leads/sample.csv")),
        ("corrections.csv", include_str!("../demo/corrections.csv")),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        files.push(path);
    }
    Import::of(files).run(&*stores.leads).await
}

/// Runs the service and on it the campaign, to its end or until somebody asks to stop. Answers
/// with the campaign's id.
async fn campaign(
    screen: &mut Screen,
    service: Service,
    stores: &Stores,
    api: &Api,
    asked: &watch::Receiver<Stop>,
) -> anyhow::Result<String> {
    let leads = report::leads(stores).await?;
    let agent = service.agent();
    let (mut events, mut progress) = (agent.subscribe(), service.progress());
    let (finished, stop) = watch::channel(Stop::Never);
    let serving = service.run(stop);
    let working = async {
        let done = async {
            let made = read(api.post("/campaigns").json(&plan())).await?;
            let id = made["id"].as_str().context("it has no id")?.to_owned();
            screen.heading("The campaign, as it happens")?;
            let mut live = Live::new(screen, stores, &leads, agent.clone());
            read(api.post(&format!("/campaigns/{id}/start"))).await?;
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                drain(&mut live, &mut events, &mut progress).await?;
                if *asked.borrow() != Stop::Never {
                    finished.send_replace(Stop::Now);
                    break;
                }
                let campaign = read(api.get(&format!("/campaigns/{id}"))).await?;
                if campaign["state"] != "running" && agent.counts().calls == 0 {
                    break;
                }
            }
            drain(&mut live, &mut events, &mut progress).await?;
            anyhow::Ok(id)
        }
        .await;
        finished.send_if_modified(|stop| {
            let goes_on = *stop == Stop::Never;
            if goes_on {
                *stop = Stop::Drain;
            }
            goes_on
        });
        done
    };
    let (served, id) = tokio::join!(serving, working);
    let id = id?;
    served?;
    if *asked.borrow() != Stop::Never {
        screen.say(Look::Bad, "Stopped before the end: calls were hung up.")?;
    }
    Ok(id)
}

/// Shows what has happened since the last time, in the order in which it was told.
async fn drain(
    live: &mut Live<'_>,
    events: &mut Receiver<AgentEvent>,
    progress: &mut Receiver<CallProgress>,
) -> anyhow::Result<()> {
    loop {
        match progress.try_recv() {
            Ok(step) => live.progress(&step)?,
            Err(TryRecvError::Lagged(missed)) => live.missed(missed)?,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    loop {
        match events.try_recv() {
            Ok(event) => live.take(&event).await?,
            Err(TryRecvError::Lagged(missed)) => live.missed(missed)?,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(live.settle(None)?),
        }
    }
}

/// What is in the stores once the service has ended.
async fn after(
    screen: &mut Screen,
    stores: &Stores,
    gate: &Gatekeeper,
    id: &str,
) -> anyhow::Result<()> {
    let campaigns = Campaigns::new(Arc::clone(&stores.state));
    let campaign = campaigns.get(id, wall()).await?;
    let campaign = campaign.context("the campaign is gone")?;
    let calls = report::calls(stores, id).await?;
    let leads = report::leads(stores).await?;
    report::transcript(screen, &calls)?;
    screen.heading("Preview once more: whoever was called, or wants no calls, is left alone")?;
    report::preview(screen, &campaign.plan, (stores, gate), wall(), SOME).await?;
    report::meetings(screen, stores, &leads, wall()).await?;
    Ok(report::summary(screen, &campaign, &calls, &leads)?)
}

fn end(screen: &mut Screen, stage: &Stage, kept: Option<&Path>) -> anyhow::Result<()> {
    let violations = stage.violations();
    for wrong in &violations {
        screen.say(Look::Bad, &format!("  against the protocol: {wrong}"))?;
    }
    let strict = match violations.len() {
        0 => "Carrier and Bedrock checked every message, and had nothing to complain of.",
        _ => "Carrier and Bedrock checked every message; what they complain of stands above.",
    };
    screen.empty()?;
    screen.say(Look::Plain, strict)?;
    let files = match kept {
        Some(folder) => format!("The transcripts are in {}.", folder.display()),
        None => "All files are gone again; `--keep DIR` keeps the transcripts.".to_owned(),
    };
    screen.say(Look::Plain, &files)?;
    screen.say(Look::Plain, NEXT)?;
    Ok(())
}

/// Everybody is called once, and a machine gets a message.
fn plan() -> Value {
    json!({
        "name": "Demonstration",
        "pacing": {"callsPerSecond": 3, "maxConcurrent": 12},
        "retries": {},
        "voicemail": "message",
    })
}

async fn read(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let answer = answered(request).await?;
    answer.json().await.context("the service answers oddly")
}

/// Nobody reads standard output any more.
fn is_closed(problem: &anyhow::Error) -> bool {
    let io = problem.downcast_ref::<io::Error>();
    io.is_some_and(|problem| problem.kind() == io::ErrorKind::BrokenPipe)
}

const INTRODUCTION: [&str; 2] = [
    "The people on the phone and the model are simulated, and talk about twice as fast as people \
     do. Everything between them is the real service.",
    "It dials over Vonage's REST interface, takes signed webhooks and media sockets, and reaches \
     Nova Sonic through the AWS SDK. Carrier and Bedrock are strict stand-ins on this machine: no \
     keys, no network, no charges.",
];
const NEXT: &str = "Next: `cargo run --example esther`, and talk to Esther in the browser.";

/// Names in a preview.
const ALL: usize = usize::MAX;
const SOME: usize = 3;
/// How often it is looked what has happened: text must seem to come at once.
const LOOK: Duration = Duration::from_millis(100);
/// Calls that are still open once somebody asked to stop.
const DRAIN: Duration = Duration::from_secs(2);

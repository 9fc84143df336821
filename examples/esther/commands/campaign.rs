//! `esther campaign`: previews, runs and steers campaigns.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use novavoice::{
    ProviderError, ProviderErrorKind,
    outbound::{Campaign as Kept, Campaigns, Plan},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    WrongUsage,
    api::{self, Api, answered},
};
use crate::{
    clock::wall,
    config::Config,
    preview::Preview,
    prompts,
    stores::{self, Stores},
};

/// What is to be done with a campaign.
#[derive(Debug, Subcommand)]
pub(crate) enum Campaign {
    /// Counts whom a campaign would call now, and what speaks against the others
    Preview(Which),
    /// Starts a campaign and works until it is finished
    Run(Which),
    /// Lets a campaign call nobody new, on any node
    Pause(One),
    /// Lets a campaign go on
    Resume(One),
    /// Says how far a campaign is, or all of them
    Status(Any),
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// A campaign's id, or a JSON file with a new campaign
    campaign: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The campaign's id
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Any {
    /// The campaign's id
    id: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Campaign {
    /// Does it.
    pub(crate) async fn run(self, config: Config) -> anyhow::Result<()> {
        if let Self::Run(which) = self {
            return which.run(config).await;
        }
        let stores = Stores::open(&config.stores, config.speech.region.as_deref()).await?;
        stores.make_tables(&config.stores).await?;
        let campaigns = Campaigns::new(Arc::clone(&stores.state));
        match self {
            Self::Run(_) => Ok(()),
            Self::Preview(which) => which.preview(&config, &stores, &campaigns).await,
            Self::Pause(one) => one.told(campaigns.pause(&one.id, wall()).await),
            Self::Resume(one) => one.told(campaigns.resume(&one.id, wall()).await),
            Self::Status(Any { id: Some(id), json }) => {
                let found = campaigns.get(&id, wall()).await.context(STORE)?;
                show(&found.with_context(|| unknown(&id))?, json)
            }
            Self::Status(Any { id: None, json }) => {
                for campaign in campaigns.list(wall()).await.context(STORE)? {
                    show(&campaign, json)?;
                }
                Ok(())
            }
        }
    }
}

impl Which {
    /// The new campaign in the file, where it names one.
    fn plan(&self) -> anyhow::Result<Option<(Value, Plan)>> {
        let path = Path::new(&self.campaign);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wrong = |problem: String| WrongUsage(format!("{}: {problem}", path.display()));
        let body: Value = serde_json::from_slice(&text).map_err(|bad| wrong(bad.to_string()))?;
        let plan = Plan::deserialize(&body).map_err(|bad| wrong(bad.to_string()))?;
        let problems: Vec<_> = plan.problems().iter().map(ToString::to_string).collect();
        match problems.is_empty() {
            true => Ok(Some((body, plan))),
            false => Err(wrong(problems.join("; ")).into()),
        }
    }

    async fn preview(
        &self,
        config: &Config,
        stores: &Stores,
        campaigns: &Campaigns,
    ) -> anyhow::Result<()> {
        let plan = match self.plan()? {
            Some((_, mut plan)) => {
                let prompts = prompts::open(&stores.state);
                let problem = prompts::problem_of(&prompts, &mut plan).await;
                if let Some(problem) = problem.context("the store of prompts")? {
                    return Err(WrongUsage(format!("{}: {problem}", self.campaign)).into());
                }
                plan
            }
            None => {
                let kept = campaigns.get(&self.campaign, wall()).await.context(STORE)?;
                kept.with_context(|| unknown(&self.campaign))?.plan
            }
        };
        let gate = stores::gatekeeper(stores, &config.stores.data_dir)?;
        let preview = Preview::of(&plan, &*stores.leads, &gate, config.consent, wall()).await;
        let preview = preview.context("the store of leads")?;
        if self.json {
            println!("{}", json!(preview));
            return Ok(());
        }
        println!("{:<20} {}", "matched", preview.matched);
        println!("{:<20} {}", "would be called", preview.would_dial);
        for (reason, leads) in &preview.refusals {
            println!("{:<20} {leads}", format!("refused, {reason}"));
        }
        Ok(())
    }

    async fn run(self, config: Config) -> anyhow::Result<()> {
        let body = self.plan()?.map(|(body, _)| body);
        api::with(config, async |api| self.follow(api, body).await).await
    }

    /// Starts it, and waits for its end.
    async fn follow(&self, api: &Api, body: Option<Value>) -> anyhow::Result<()> {
        let account = read(api.get("/configure")).await?;
        if account["configured"] != true {
            bail!("the carrier is not configured: `esther check` says what is missing");
        }
        let id = match body {
            Some(body) => {
                let made = read(api.post("/campaigns").json(&body)).await?;
                made["id"].as_str().context("it has no id")?.to_owned()
            }
            None => self.campaign.clone(),
        };
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            bail!(unknown(&id));
        }
        read(api.post(&format!("/campaigns/{id}/start"))).await?;
        eprintln!("Campaign {id} runs.");
        // Drawn where standard error is a terminal, and nowhere else.
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(BAR)?);
        let campaign = loop {
            let campaign = read(api.get(&format!("/campaigns/{id}"))).await?;
            let count = |name: &str| campaign["counts"][name].as_u64().unwrap_or(0);
            bar.set_length(count("matched"));
            bar.set_position(count("refused") + count("done"));
            bar.set_message(format!("{} on the phone", count("inProgress")));
            if campaign["state"] != "running" {
                break campaign;
            }
            tokio::time::sleep(LOOK).await;
        };
        bar.finish_and_clear();
        match self.json {
            true => println!("{campaign}"),
            false => print_figures(&campaign),
        }
        match campaign["state"].as_str() {
            Some("finished") => Ok(()),
            Some("stopped") => {
                let why = campaign["stoppedBecause"].as_str().unwrap_or_default();
                bail!("the campaign stopped by itself: {why}")
            }
            state => bail!(
                "the campaign is {}: `esther campaign run {id}` goes on",
                state.unwrap_or("in no state")
            ),
        }
    }
}

impl One {
    fn told(&self, done: Result<Kept, ProviderError>) -> anyhow::Result<()> {
        match done {
            Ok(campaign) => show(&campaign, self.json),
            Err(error) if *error.kind() == ProviderErrorKind::NotFound => bail!(unknown(&self.id)),
            Err(error) => Err(error).context(STORE),
        }
    }
}

async fn read(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let answer = answered(request).await?;
    answer.json().await.context("the service answers oddly")
}

fn show(campaign: &Kept, json: bool) -> anyhow::Result<()> {
    let campaign = serde_json::to_value(campaign)?;
    match json {
        true => println!("{campaign}"),
        false => print_figures(&campaign),
    }
    Ok(())
}

/// A campaign as the API shows it, as a table.
fn print_figures(campaign: &Value) {
    let text = |name: &str| campaign[name].as_str().unwrap_or_default().to_owned();
    println!("{}  {}  {}", text("id"), text("state"), text("name"));
    for group in ["counts", "outcomes", "refusals"] {
        for (name, count) in campaign[group].as_object().into_iter().flatten() {
            println!("  {group:<10} {name:<18} {count:>6}");
        }
    }
}

fn unknown(id: &str) -> String {
    format!("there is no campaign {id:?}")
}

const STORE: &str = "the store of campaigns";
const BAR: &str = "{bar:40} {pos}/{len} leads, {msg}, {elapsed}";
/// How often it is looked how far the campaign is.
const LOOK: Duration = Duration::from_millis(500);

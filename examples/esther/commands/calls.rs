//! `esther calls`: looks calls up in the store.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use novavoice::{
    call::{CallId, CallStatus, Party},
    lead::PhoneNumber,
    record::{CallQuery, CallRecord, CallStore},
};
use serde_json::json;

use super::WrongUsage;
use crate::{calls::seconds, clock::wall, config::Config, stores::Stores};

/// What is asked about calls.
#[derive(Debug, Subcommand)]
pub(crate) enum Calls {
    /// Lists calls, newest first
    List(List),
    /// Shows a call with its transcript
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Calls with this person alone
    #[arg(long, value_name = "NUMBER")]
    phone: Option<String>,
    /// Calls in which all these words were said
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Calls that go on
    #[arg(long)]
    live: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The call
    uuid: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Answers.
pub(crate) async fn run(calls: Calls, config: &Config) -> anyhow::Result<()> {
    let stores = Stores::open(&config.stores, config.speech.region.as_deref()).await?;
    match calls {
        Calls::List(list) => list.run(&*stores.calls).await,
        Calls::Show(show) => show.run(&*stores.calls).await,
    }
}

impl List {
    async fn run(self, calls: &dyn CallStore) -> anyhow::Result<()> {
        let mut query = CallQuery::default();
        if let Some(phone) = &self.phone {
            let phone = PhoneNumber::parse(phone);
            query.phone = Some(phone.map_err(|wrong| WrongUsage(format!("--phone: {wrong}")))?);
        }
        query.text = self.search.map(Into::into);
        query.status = self.live.then_some(CallStatus::InProgress);
        let mut left = self.limit as usize;
        if !self.json {
            println!(
                "{:<36}  {:<20}  {:<8}  {:<16}  {:<11}  {:<14}  SECONDS",
                "CALL", "STARTED", "WAY", "NUMBER", "STATUS", "OUTCOME"
            );
        }
        while left > 0 {
            query.limit = left.min(LONGEST_PAGE);
            let page = calls.list(&query).await.context("the store of calls")?;
            for bad in &page.unreadable {
                eprintln!("left out: {}: {}", bad.key, bad.problem);
            }
            left -= page.calls.len().min(left);
            for call in &page.calls {
                match self.json {
                    true => println!("{}", json!(call)),
                    false => println!("{}", row(call)),
                }
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        Ok(())
    }
}

fn row(call: &CallRecord) -> String {
    let number = call.remote.as_ref().map_or("-", Party::reveal);
    let outcome = call.outcome.map_or("-", |outcome| outcome.as_str());
    format!(
        "{:<36}  {:<20.0}  {:<8}  {number:<16}  {:<11}  {outcome:<14}  {:.0}",
        call.id,
        call.started,
        call.direction.as_str(),
        call.status.as_str(),
        seconds(call.duration_at(wall())),
    )
}

impl Show {
    async fn run(self, calls: &dyn CallStore) -> anyhow::Result<()> {
        let id = CallId::new(self.uuid);
        let Some(call) = calls.get(&id).await.context("the store of calls")? else {
            bail!("there is no call {id}");
        };
        let lines = calls.lines(&id, 0).await.context("the store of calls")?;
        if self.json {
            let mut value = json!(call);
            value["utterances"] = json!(lines);
            println!("{value:#}");
            return Ok(());
        }
        println!("Call {id}\n");
        println!(
            "Number    {}",
            call.remote.as_ref().map_or("unknown", Party::reveal)
        );
        println!("Direction {}", call.direction.as_str());
        println!("Started   {}", call.started);
        println!("Status    {}", call.status.as_str());
        if let Some(outcome) = call.outcome {
            println!("Outcome   {}", outcome.as_str());
        }
        println!("Duration  {} s", seconds(call.duration_at(wall())));
        if let Some(version) = &call.prompt_version {
            println!("Prompt    {version}");
        }
        if let Some(cost) = call.cost_usd {
            println!("Cost      {cost:.4} USD");
        }
        if let Some(file) = &call.file {
            println!("File      {file}");
        }
        if !lines.is_empty() {
            println!();
        }
        for line in lines {
            let cut = if line.cut { " [cut]" } else { "" };
            println!(
                "[{:.3}] {}: {}{cut}",
                line.at,
                line.speaker.as_str(),
                line.text
            );
        }
        Ok(())
    }
}

const LONGEST_PAGE: usize = 200;

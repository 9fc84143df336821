//! `esther call NUMBER`: places one call and follows it.

use anyhow::{Context, bail};
use novavoice::lead::PhoneNumber;
use serde_json::{Value, json};

use super::{
    WrongUsage,
    api::{self, Api, answered},
};
use crate::config::Config;

/// Whom to call, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The number, with its country code
    number: String,
    /// The first words
    #[arg(long, value_name = "WORDS")]
    say: Option<String>,
    /// Call outside the calling hours or more often than usual; never those who do not want it
    #[arg(long = "override")]
    overrule: bool,
}

impl Call {
    /// Calls from the service that runs at `HOST` and `PORT`, or from one that lasts as long as
    /// the call.
    pub(crate) async fn run(self, config: Config) -> anyhow::Result<()> {
        let control = self.number.chars().any(char::is_control);
        if control || PhoneNumber::parse(&self.number).is_err() {
            let problem = "NUMBER is no phone number such as +12125550101";
            return Err(WrongUsage(problem.to_owned()).into());
        }
        api::with(config, async |api| self.place(api).await).await
    }

    async fn place(&self, api: &Api) -> anyhow::Result<()> {
        let mut body = json!({ "to": self.number, "override": self.overrule });
        if let Some(words) = &self.say {
            body["initialMessage"] = json!(words);
        }
        let placed = answered(api.post("/call/ai").json(&body)).await?;
        let placed: Value = placed.json().await.context("the service answers oddly")?;
        let Some(call) = placed["callId"].as_str() else {
            bail!("the service names no call");
        };
        println!("Call {call} is placed.");
        follow(api, call).await
    }
}

/// Prints what happens until the end, which decides about success.
async fn follow(api: &Api, call: &str) -> anyhow::Result<()> {
    let mut events = answered(api.get(&format!("/calls/{call}/events"))).await?;
    let mut unread = Vec::new();
    while let Some(piece) = events.chunk().await.context("the service went away")? {
        unread.extend_from_slice(&piece);
        while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = unread.drain(..end + 2).collect();
            if let Some(outcome) = told(&String::from_utf8_lossy(&event)) {
                println!("Outcome: {outcome}");
                return match FAILURES.contains(&outcome.as_str()) {
                    true => bail!("the call came to nothing: {outcome}"),
                    false => Ok(()),
                };
            }
        }
    }
    bail!("the service ended before the call")
}

/// Prints one event; the last one has an outcome.
fn told(event: &str) -> Option<String> {
    let field = |name: &str| {
        let mut lines = event.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()))
    };
    let data: Value = serde_json::from_str(&field("data:")?).ok()?;
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    match field("event:")?.as_str() {
        "utterance" => {
            let cut = if data["cut"] == true { " [cut]" } else { "" };
            println!("{}: {}{cut}", text("speaker"), text("text"));
            None
        }
        "ended" => Some(text("outcome")),
        _ => None,
    }
}

/// Outcomes of calls on which nobody was reached.
const FAILURES: [&str; 4] = ["no_answer", "busy", "failed", "abandoned"];

//! `esther call NUMBER`: places one call and follows it.

use std::io::ErrorKind;

use anyhow::{Context, bail};
use novavoice::{lead::PhoneNumber, private::Private};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::WrongUsage;
use crate::{
    config::Config,
    service::{Service, Stop},
    signals,
};

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
        let token = config.api_token.clone();
        let address = format!("http://{}:{}", config.host, config.port);
        let service = match Service::start(config).await {
            Ok(service) => service,
            Err(problem) if is_in_use(&problem) => {
                println!("Calling from the service at {address}/");
                return self.place(&Api::new(address, token)?).await;
            }
            Err(problem) => return Err(problem),
        };
        eprintln!("{}", service.notice);
        let token = token.or_else(|| service.made_token.clone());
        let api = Api::new(service.address.clone(), token)?;
        let (finished, mut done) = watch::channel(Stop::Never);
        let mut asked = signals::watch();
        let serving = async {
            let stop = finished.subscribe();
            service.run(stop).await
        };
        let following = async {
            let placed = tokio::select! {
                placed = self.place(&api) => placed,
                _ = asked.wait_for(|stop| *stop != Stop::Never) => {
                    Err(anyhow::anyhow!("stopped before the end of the call"))
                }
            };
            finished.send_replace(Stop::Drain);
            placed
        };
        let (served, placed) = tokio::join!(serving, following);
        done.mark_unchanged();
        placed.and(served)
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

/// The API of a service.
struct Api {
    address: String,
    token: Option<Private<String>>,
    client: Client,
}

impl Api {
    fn new(address: String, token: Option<Private<String>>) -> anyhow::Result<Self> {
        // It is on this machine, whatever proxies there are.
        let client = Client::builder().no_proxy().build()?;
        Ok(Self {
            address,
            token,
            client,
        })
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.with_token(self.client.get(format!("{}{path}", self.address)))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.with_token(self.client.post(format!("{}{path}", self.address)))
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }
}

/// The answer to a request, or what the service says against it.
async fn answered(request: RequestBuilder) -> anyhow::Result<reqwest::Response> {
    let answer = request
        .send()
        .await
        .context("the service does not answer")?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let problem: Value = answer.json().await.unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or_default();
    bail!("refused with {status}: {detail}")
}

fn is_in_use(problem: &anyhow::Error) -> bool {
    let mut causes = problem
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == ErrorKind::AddrInUse)
}

/// Outcomes of calls on which nobody was reached.
const FAILURES: [&str; 4] = ["no_answer", "busy", "failed", "abandoned"];

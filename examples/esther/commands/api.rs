//! The service as a command uses it: one that runs already, or one for as long as the command.

use std::io::ErrorKind;

use anyhow::{Context, bail};
use novavoice::private::Private;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    config::Config,
    service::{Service, Stop},
    signals,
};

/// Works with the service that runs at `HOST` and `PORT`, or with one that lasts as long as the
/// work. Asked to stop, the latter ends as ever, and the work with it.
pub(crate) async fn with(
    config: Config,
    work: impl AsyncFnOnce(&Api) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let token = config.api_token.clone();
    let address = format!("http://{}:{}", config.host, config.port);
    let service = match Service::start(config).await {
        Ok(service) => service,
        Err(problem) if is_in_use(&problem) => {
            eprintln!("Calling from the service at {address}/");
            return work(&Api::new(address, token)?).await;
        }
        Err(problem) => return Err(problem),
    };
    eprintln!("{}", service.notice);
    let token = token.or_else(|| service.made_token.clone());
    let api = Api::new(service.address.clone(), token)?;
    let (finished, _) = watch::channel(Stop::Never);
    let mut asked = signals::watch();
    let serving = service.run(finished.subscribe());
    let working = async {
        let done = tokio::select! {
            done = work(&api) => done,
            _ = asked.wait_for(|stop| *stop != Stop::Never) => {
                Err(anyhow::anyhow!("stopped before the end"))
            }
        };
        finished.send_replace(Stop::Drain);
        done
    };
    let (served, done) = tokio::join!(serving, working);
    done.and(served)
}

/// The API of a service.
pub(crate) struct Api {
    address: String,
    token: Option<Private<String>>,
    client: Client,
}

impl Api {
    pub(crate) fn new(address: String, token: Option<Private<String>>) -> anyhow::Result<Self> {
        // It is on this machine, whatever proxies there are, and speaks plain HTTP.
        let client = Client::builder().no_proxy().tls_certs_only([]).build()?;
        Ok(Self {
            address,
            token,
            client,
        })
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.with_token(self.client.get(format!("{}{path}", self.address)))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
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
pub(crate) async fn answered(request: RequestBuilder) -> anyhow::Result<reqwest::Response> {
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

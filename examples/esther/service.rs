//! The service: its parts put together, run, and brought to an end.

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use axum::{Router, http::Uri, serve::ListenerExt};
use novavoice::{
    agent::{AgentConfig, Prompt, VoiceAgent},
    lead::Discard as NoLeads,
    model::SpeechModel,
    private::Private,
    telephony::{
        Both,
        browser::{Browser, BrowserConfig},
        channel::ChannelTokens,
        socket::{self, SocketConfig, Sockets},
        vonage::{self, Vonage, VonageConfig},
    },
    transcript::FileSink,
};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
};
use uuid::Uuid;

use crate::{
    calls::Calls,
    config::{self, Config},
    follow::Follower,
    gate::Gate,
    http::{self, Access, App, Readiness},
    metrics::Metrics,
    persona,
    speech::{self, Speech},
    traces::{Sending, Traces},
};

type Agent = VoiceAgent<Both<Vonage, Browser>, Arc<dyn SpeechModel>, FileSink, NoLeads>;

/// Everything that runs.
pub(crate) struct Service {
    listener: TcpListener,
    routes: Router,
    agent: Agent,
    vonage: Vonage,
    browser: Browser,
    follower: Follower,
    sending: Option<Sending>,
    readiness: Readiness,
    /// What is printed once it listens.
    pub(crate) address: String,
    /// The token of the API, where it was made for this run.
    pub(crate) made_token: Option<Private<String>>,
    /// What people are told about the model.
    pub(crate) notice: String,
}

impl Service {
    /// Finds the model, opens the port and puts everything together.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Self> {
        let listener = listen(&config).await?;
        let local = listener.local_addr()?;
        let transcripts = transcripts(&config).await?;
        let speech = speech::choose(&config.speech).await?;
        let traces = config.traces.as_deref().map(Traces::start).transpose()?;
        Self::assemble(config, listener, local, transcripts, speech, traces)
    }

    fn assemble(
        config: Config,
        listener: TcpListener,
        local: SocketAddr,
        transcripts: FileSink,
        speech: Speech,
        traces: Option<(Traces, Sending)>,
    ) -> anyhow::Result<Self> {
        let address = reachable(local);
        let public_url = config.public_url.clone();
        let public_url = public_url.unwrap_or_else(|| address.clone());
        let made_token = (config.api_token.is_none() && !is_loopback(local)).then(random_token);
        let token = config.api_token.clone().or_else(|| made_token.clone());
        let tokens = match &token {
            Some(secret) => ChannelTokens::derived(secret.reveal()),
            None => ChannelTokens::random(),
        };
        let max_calls = config.max_calls.min(speech.max_calls.unwrap_or(usize::MAX));

        let readiness = Readiness::default();
        // Where another model takes its place, callers are let in all the same.
        let circuit = speech.circuit.clone();
        let circuit = circuit.filter(|_| speech.stand_in.is_none());
        let gate = Gate::new(max_calls, &readiness).guarded_by(circuit);
        let mut settings = BrowserConfig::new(&public_url, tokens.clone());
        settings.admission = gate.admission();
        let browser = Browser::new(settings);
        let mut settings = VonageConfig::new(&public_url);
        settings.credentials = config.vonage.credentials();
        settings.allow_unsigned = takes_unsigned(&config, local);
        settings.tokens = tokens.clone();
        settings.admission = gate.admission();
        persona::BUSY.clone_into(&mut settings.busy_message);
        persona::APOLOGY.clone_into(&mut settings.apology);
        let vonage = Vonage::new(settings)?;
        let sockets = Sockets::new(tokens, SocketConfig::default());
        let sockets = sockets.with_vonage(&vonage).with_browser(&browser);

        let mut settings = AgentConfig::default();
        settings.drain = config.drain;
        settings.max_calls = max_calls;
        settings.max_sessions = speech.max_sessions;
        settings.prices = speech.prices;
        let agent = VoiceAgent::builder()
            .telephony(Both(vonage.clone(), browser.clone()))
            .model(speech.model)
            .transcripts(transcripts)
            .prompt(|call, lead| {
                Prompt::new(persona::instructions(call, lead))
                    .with_greeting(persona::greeting(call))
            })
            .config(settings)
            .build();
        gate.open(agent.handle());

        let access = Access::new(token, &public_url);
        if access.is_open_to_the_world() {
            tracing::warn!(
                "PUBLIC_URL is not of this machine and ESTHER_API_TOKEN is unset: whoever finds \
                 that address may use the management API"
            );
        }
        let (calls, metrics) = (Calls::default(), Arc::<Metrics>::default());
        let app = App {
            access: Arc::new(access),
            agent: agent.handle(),
            calls: calls.clone(),
            max_calls,
            speech: speech.announcement.clone(),
            stand_in: speech.stand_in.clone(),
            circuit: speech.circuit,
            sockets: sockets.clone(),
            browser: browser.clone(),
            vonage: vonage.clone(),
            account: Arc::new(Mutex::new(config.vonage)),
            metrics: Arc::clone(&metrics),
            readiness: readiness.clone(),
        };
        let (traces, sending) = traces
            .map(|(traces, sending)| (Arc::new(traces), sending))
            .unzip();
        let webhooks = http::counting_refusals(vonage::webhooks(&vonage), &metrics);
        let peers = webhooks.merge(socket::router(sockets));
        Ok(Self {
            listener,
            routes: http::app(app, peers),
            agent,
            vonage,
            browser,
            follower: Follower {
                calls,
                metrics,
                gate,
                stand_in: speech.stand_in,
                traces,
            },
            sending,
            readiness,
            address,
            made_token,
            notice: speech.announcement.notice,
        })
    }

    /// Takes calls until `stop` turns to [`Stop::Drain`]; then takes no more and lets those that
    /// run come to their end.
    pub(crate) async fn run(self, stop: watch::Receiver<Stop>) -> anyhow::Result<()> {
        let handle = self.agent.handle();
        let (over, is_over) = oneshot::channel::<()>();
        let is_over = async {
            // An error says that the sender is gone, which is as good.
            is_over.await.ok();
        };
        let follower = self
            .follower
            .follow(handle.clone(), handle.subscribe(), is_over);
        let mut follower = tokio::spawn(follower);

        // A frame is far smaller than a packet, and must not wait for another one.
        let listener = self.listener.tap_io(|tcp| {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::warn!(%error, "TCP_NODELAY cannot be set");
            }
        });
        let (closing, mut closed) = watch::channel(());
        let http = axum::serve(listener, self.routes).with_graceful_shutdown(async move {
            // An error says that the sender is gone, which is as good.
            closed.changed().await.ok();
        });
        let http = tokio::spawn(http.into_future());

        let (vonage, browser, readiness) = (self.vonage, self.browser, self.readiness.clone());
        let turned_to = stop.clone();
        let ending = tokio::spawn(async move {
            // What comes during the drain is turned away.
            reached(turned_to.clone(), Stop::Drain).await;
            readiness.drain();
            vonage.close();
            browser.close();
            reached(turned_to, Stop::Now).await;
            handle.abort();
        });
        let served = self.agent.serve(reached(stop, Stop::Drain)).await;
        ending.abort();
        drop(closing);
        if tokio::time::timeout(LAST_ANSWERS, http).await.is_err() {
            tracing::debug!("some connections were still open");
        }
        drop(over);
        if tokio::time::timeout(LAST_REPORTS, &mut follower)
            .await
            .is_err()
        {
            follower.abort();
        }
        if let Some(sending) = self.sending {
            sending.finish().await;
        }
        match served {
            Err(error) if !self.readiness.is_draining() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// How far the process is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Not at all.
    Never,
    /// No new calls; those that run may finish.
    Drain,
    /// Calls are closed now.
    Now,
}

async fn reached(mut stop: watch::Receiver<Stop>, stage: Stop) {
    if stop.wait_for(|now| *now >= stage).await.is_err() {
        // Nobody can ask for it any more.
        std::future::pending::<()>().await;
    }
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let (host, port) = (config.host.as_str(), config.port);
    TcpListener::bind((host, port))
        .await
        .with_context(|| format!("cannot listen on {host}, port {port} (HOST and PORT say where)"))
}

/// The transcript files, with what a process that died has left open closed.
async fn transcripts(config: &Config) -> anyhow::Result<FileSink> {
    let folder = &config.transcripts_dir;
    tokio::fs::create_dir_all(folder).await.with_context(|| {
        format!(
            "cannot make the folder {} (TRANSCRIPTS_DIR)",
            folder.display()
        )
    })?;
    let sink = FileSink::new(folder);
    let recovered = sink
        .recover()
        .await
        .context("cannot read TRANSCRIPTS_DIR")?;
    for file in recovered {
        match file.result {
            Ok(call) => tracing::warn!(
                call_id = %call.id,
                "closed the transcript of a call whose process died"
            ),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                path = %file.path.display(),
                "a transcript could not be closed"
            ),
        }
    }
    Ok(sink)
}

/// The address at which a browser on this machine reaches the service.
fn reachable(local: SocketAddr) -> String {
    let ip = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, local.port()))
}

fn is_loopback(local: SocketAddr) -> bool {
    local.ip().to_canonical().is_loopback()
}

/// Unsigned webhooks are for a service that nobody but this machine reaches.
fn takes_unsigned(config: &Config, local: SocketAddr) -> bool {
    match &config.public_url {
        Some(url) => url.parse::<Uri>().is_ok_and(|url| {
            let host = url.host().unwrap_or_default();
            config::is_loopback(host.trim_matches(['[', ']']))
        }),
        None => is_loopback(local),
    }
}

fn random_token() -> Private<String> {
    let half = || Uuid::new_v4().simple().to_string();
    Private::new(half() + &half())
}

/// What the agent said last is taken at once.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// What is being answered when the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

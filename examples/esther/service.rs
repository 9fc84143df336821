//! The service: its parts put together, run, and brought to an end.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use axum::{Router, http::Uri, serve::ListenerExt};
use novavoice::{
    agent::{AgentConfig, AgentHandle, VoiceAgent},
    model::SpeechModel,
    outbound::Gatekeeper,
    private::Private,
    prompt::Prompts,
    telephony::{
        Both, CallProgress,
        browser::{Browser, BrowserConfig},
        channel::{ChannelTokens, SpentInState},
        socket::{self, SocketConfig, Sockets},
        vonage::{self, LimitInState, Liveness, Vonage, VonageConfig},
    },
    transcript::FanOut,
};
use tokio::{
    net::TcpListener,
    sync::{broadcast, oneshot, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::{
    calls::Calls,
    config::{self, Config},
    follow::Follower,
    gate::Gate,
    heard::{self, Hearsay},
    http::{self, Access, App, Readiness},
    metrics::Metrics,
    office::Office,
    outbound::{Outbound, VonageLine},
    permission::Permission,
    persona,
    placed::Placed,
    prompts::{self, Prompter},
    speech::{self, Speech},
    stores::{self, Acquaintance, Recording, Results, Stores},
    tools::{Desk, Judged},
    traces::{Sending, Traces},
};

type Agent = VoiceAgent<Both<Vonage, Browser>, Arc<dyn SpeechModel>, Judged<FanOut>, Acquaintance>;

/// Everything that runs.
pub(crate) struct Service {
    listener: TcpListener,
    routes: Router,
    agent: Agent,
    vonage: Vonage,
    browser: Browser,
    follower: Follower,
    sending: Option<Sending>,
    stores: Stores,
    recording: Recording,
    outbound: Outbound,
    office: Office,
    prompts: Prompts,
    /// Ends once the results of every call are written.
    results: JoinHandle<()>,
    readiness: Readiness,
    /// How long live calls may take to end.
    drain: Duration,
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
        let (speech, stores) = tokio::join!(
            Box::pin(speech::choose(&config.speech)),
            Box::pin(Stores::open(
                &config.stores,
                config.speech.region.as_deref()
            )),
        );
        Self::start_with(config, listener, speech?, stores?).await
    }

    /// The same at a port that is open, with a model and stores that are there.
    pub(crate) async fn start_with(
        config: Config,
        listener: TcpListener,
        speech: Speech,
        stores: Stores,
    ) -> anyhow::Result<Self> {
        let local = listener.local_addr()?;
        let traces = config.traces.as_deref().map(Traces::start).transpose()?;
        Box::pin(prepare(&config, &stores)).await;
        let recording = Box::pin(Recording::open(&config, &stores)).await?;
        let gatekeeper = stores::gatekeeper(&stores, &config.stores.data_dir)?;
        let office = Office::open(&config.booking, &stores.state)?;
        let desk = Desk::new(Arc::clone(&stores.state), Arc::clone(&stores.leads))
            .at(office)
            .with_gatekeeper(gatekeeper.clone())
            .with_colleague(config.transfer_number.clone());
        Self::assemble(
            config,
            listener,
            local,
            speech,
            traces,
            stores,
            (recording, desk, gatekeeper),
        )
    }

    /// Watches and steers its calls.
    pub(crate) fn agent(&self) -> AgentHandle {
        self.agent.handle()
    }

    /// What becomes of the calls that it places.
    pub(crate) fn progress(&self) -> broadcast::Receiver<CallProgress> {
        self.vonage.progress()
    }

    /// What is asked before every call.
    pub(crate) fn gatekeeper(&self) -> &Gatekeeper {
        &self.outbound.gate
    }

    fn assemble(
        config: Config,
        listener: TcpListener,
        local: SocketAddr,
        speech: Speech,
        traces: Option<(Traces, Sending)>,
        stores: Stores,
        (recording, desk, gatekeeper): (Recording, Desk, Gatekeeper),
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
        // A store that does not answer in time keeps no call from its socket.
        let tokens = match stores.are_shared() {
            true => tokens.sharing(Arc::new(SpentInState::new(Arc::clone(&stores.state)))),
            false => tokens,
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
        settings.account = config.vonage.account();
        settings.allow_unsigned = takes_unsigned(&config, local);
        settings.tokens = tokens.clone();
        settings.admission = gate.admission();
        settings.keeper = Some(Arc::new(Hearsay(Arc::clone(&stores.state))));
        if stores.are_shared() {
            settings.liveness = liveness(&stores);
            let requests = settings.account.limits.requests;
            let limit = LimitInState::new(Arc::clone(&stores.state), requests);
            settings.shared_limit = Some(Arc::new(limit));
        }
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
        settings.journals = config.journals.folder;
        settings.conversation.idle = persona::idle(&config.idle);
        let prompts = prompts::open(&stores.state);
        let prompter = Prompter {
            prompts: prompts.clone(),
            calls: Arc::clone(&stores.calls),
        };
        let agent = VoiceAgent::builder()
            .telephony(Both(vonage.clone(), browser.clone()))
            .model(speech.model)
            .transcripts(Judged {
                sink: recording.sink.clone(),
                notes: desk.notes.clone(),
                elsewhere: stores.are_shared().then(|| Arc::clone(&stores.state)),
            })
            .leads(Acquaintance::new(&stores))
            .tools(desk.tools())
            .prompt_from(move |call, lead| prompter.clone().prompt(call, lead))
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
        let (results, written) = Results::start(&stores, &gatekeeper, &recording.files);
        for call in &*recording.abandoned {
            results.submit(call.into());
        }
        let line = VonageLine {
            vonage: vonage.clone(),
            state: Arc::clone(&stores.state),
            prompts: prompts.clone(),
            agent: agent.handle(),
            calls: calls.clone(),
            readiness: readiness.clone(),
            max_calls,
        };
        let rate = config.vonage.calls_per_second;
        let outbound = Outbound::new(&stores, &gatekeeper, line, rate, config.consent);
        let app = App {
            access: Arc::new(access),
            agent: agent.handle(),
            calls: calls.clone(),
            store: Arc::clone(&stores.calls),
            leads: Arc::clone(&stores.leads),
            recording: Some(recording.clone()),
            max_calls,
            speech: speech.announcement.clone(),
            stand_in: speech.stand_in.clone(),
            circuit: speech.circuit,
            sockets: sockets.clone(),
            browser: browser.clone(),
            vonage: vonage.clone(),
            account: Arc::new(Mutex::new(config.vonage)),
            permission: Permission::of(&gatekeeper, config.consent),
            outbound: outbound.clone(),
            prompts: prompts.clone(),
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
                stand_in: speech.stand_in,
                traces,
                results,
                notes: desk.notes,
                live: HashMap::new(),
            },
            sending,
            stores,
            recording,
            outbound,
            office: desk.office,
            prompts,
            results: written,
            readiness,
            drain: config.drain,
            address,
            made_token,
            notice: speech.announcement.notice,
        })
    }

    /// Takes calls until `stop` turns to [`Stop::Drain`]; then takes no more and lets those that
    /// run come to their end.
    pub(crate) async fn run(self, stop: watch::Receiver<Stop>) -> anyhow::Result<()> {
        let handle = self.agent.handle();
        let placed = Placed {
            calls: self.follower.calls.clone(),
            store: Arc::clone(&self.stores.calls),
            state: Arc::clone(&self.stores.state),
            results: self.follower.results.clone(),
        };
        let placed = tokio::spawn(placed.follow(self.vonage.progress()));
        let listening = self.stores.are_shared().then(|| {
            let (state, vonage) = (Arc::clone(&self.stores.state), self.vonage.clone());
            tokio::spawn(heard::listen(
                state,
                vonage,
                handle.clone(),
                handle.subscribe(),
            ))
        });
        let results = self.follower.results.clone();
        let read_ahead = tokio::spawn(prompts::read_ahead(self.prompts));
        let keeper = tokio::spawn(stores::keep(self.stores, handle.clone(), results));
        let office = tokio::spawn(self.office.work());
        let (over, told) = oneshot::channel();
        let follower = self
            .follower
            .follow(handle.clone(), handle.subscribe(), told);
        let follower = tokio::spawn(follower);

        // A frame is far smaller than a packet, and must not wait for another one.
        let listener = self.listener.tap_io(|tcp| {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::warn!(%error, "TCP_NODELAY cannot be set");
            }
        });
        let (closing, mut closed) = watch::channel(());
        // Made once: a bare router is copied route by route for each connection.
        let routes = self.routes.into_make_service();
        let http = axum::serve(listener, routes).with_graceful_shutdown(async move {
            // An error says that the sender is gone, which is as good.
            closed.changed().await.ok();
        });
        let http = tokio::spawn(http.into_future());

        let (vonage, browser) = (self.vonage.clone(), self.browser);
        let readiness = self.readiness.clone();
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
        let (caller, asked) = (self.vonage.clone(), stop.clone());
        let cancelling = tokio::spawn(async move {
            reached(asked, Stop::Drain).await;
            match caller.cancel_ringing().await {
                Ok(0) => {}
                Ok(calls) => tracing::info!(calls, "calls that still rang are cancelled"),
                Err(error) => tracing::warn!(%error, "a call that still rings was not cancelled"),
            }
        });
        let worker = self
            .outbound
            .work(self.vonage.clone(), reached(stop.clone(), Stop::Drain));
        let mut worker = tokio::spawn(worker);
        let served = self.agent.serve(reached(stop.clone(), Stop::Drain)).await;
        // The agent may be through before anything else has heard of it.
        let asked_to_stop = *stop.borrow() >= Stop::Drain;
        if asked_to_stop {
            let patience = self.drain.clamp(LAST_ANSWERS, LAST_CALLS);
            let all_cancelled = tokio::select! {
                cancelled = tokio::time::timeout(patience, cancelling) => cancelled.is_ok(),
                () = reached(stop.clone(), Stop::Now) => false,
            };
            if !all_cancelled {
                tracing::warn!("some calls may still ring");
            }
        }
        ending.abort();
        // What came of campaign calls is settled while the carrier can still tell.
        if self.readiness.is_draining()
            && tokio::time::timeout(LAST_RESULTS, &mut worker)
                .await
                .is_err()
        {
            tracing::warn!("some calls of campaigns are settled later, here or by another node");
        }
        worker.abort();
        drop(closing);
        if tokio::time::timeout(LAST_ANSWERS, http).await.is_err() {
            tracing::debug!("some connections were still open");
        }
        placed.abort();
        if let Some(listening) = listening {
            listening.abort();
        }
        keeper.abort();
        // What it has not sent, the next process sends.
        office.abort();
        read_ahead.abort();
        // An error says that the follower has ended already.
        over.send(()).ok();
        // Every result is handed in once the follower has ended, and written once they are.
        let written = async {
            follower.await?;
            self.results.await
        };
        match tokio::time::timeout(LAST_RESULTS, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "writing the results of calls failed"),
            Err(_) => tracing::error!("the results of the last calls are not written"),
        }
        self.recording.flush().await;
        if let Some(sending) = self.sending {
            sending.finish().await;
        }
        match served {
            Err(error) if !asked_to_stop => Err(error.into()),
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

/// Calls that other nodes carry, or carried, by their records.
fn liveness(stores: &Stores) -> Liveness {
    let calls = Arc::clone(&stores.calls);
    Liveness::new(move |call| {
        let calls = Arc::clone(&calls);
        async move {
            match calls.get(&call).await {
                Ok(record) => record.is_none_or(|record| record.is_live()),
                // Rather a call too many than one that is cut.
                Err(_) => true,
            }
        }
    })
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let (host, port) = (config.host.as_str(), config.port);
    TcpListener::bind((host, port))
        .await
        .with_context(|| format!("cannot listen on {host}, port {port} (HOST and PORT say where)"))
}

/// Makes the tables that are missing where that is wanted, and says what is missing otherwise. A
/// server that does not answer keeps nobody from taking calls: what is said waits for it.
async fn prepare(config: &Config, stores: &Stores) {
    tracing::info!(calls = %stores.calls_in, leads = %stores.leads_in, "stores");
    let Some((dynamo, tables)) = stores::tables(stores, &config.stores) else {
        return;
    };
    if stores::is_made(&config.stores) {
        if let Err(error) = dynamo.create_missing(&tables).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the tables cannot be made"
            );
        }
        return;
    }
    // Nothing waits for it.
    tokio::spawn(async move {
        match stores::problems_of(&dynamo, &tables).await {
            Ok(problems) => problems.into_iter().for_each(|problem| {
                tracing::warn!(
                    table = problem.table,
                    "{}: `esther check --create-tables` makes what is missing",
                    problem.what
                );
            }),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the tables cannot be looked at"
            ),
        }
    });
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

/// What came of the last calls, while a store is slow.
const LAST_RESULTS: Duration = Duration::from_secs(5);
/// What is being answered when the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// Fifty calls that ring are cancelled by then, at the account's rate.
const LAST_CALLS: Duration = Duration::from_secs(10);

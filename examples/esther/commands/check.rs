//! `esther check`: whether everything that a real call needs is there, item by item.

mod models;

use std::{fmt, time::Duration};

use novavoice::{
    audio::SampleRate,
    call::CallId,
    model::{
        ModelCommand, SessionSeed, SpeechModel,
        nova_sonic::{NovaSonic, NovaSonicConfig},
    },
};

use crate::{
    config::{Config, CreateTables, SpeechChoice, StoreChoice, is_loopback},
    stores::{self, Aws, Credentials, Stores},
};

/// What became of one item.
enum Found {
    /// All is well, as this says.
    Ok(String),
    /// It will do, but.
    Warning(String),
    /// Something that is needed is missing; and how it is mended.
    Missing(String),
}

/// The lines that were printed.
#[derive(Default)]
struct Report(Vec<Found>);

impl Report {
    fn add(&mut self, item: &str, found: Found) {
        println!("{item:<22} {found}");
        self.0.push(found);
    }

    fn missing(&self) -> usize {
        let missing = |found: &&Found| matches!(found, Found::Missing(_));
        self.0.iter().filter(missing).count()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(text) => write!(f, "ok: {text}"),
            Self::Warning(text) => write!(f, "warning: {text}"),
            Self::Missing(text) => write!(f, "missing: {text}"),
        }
    }
}

/// Looks at everything; fails when something that is needed is missing.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let mut report = Report::default();
    // It was read, or this would not run.
    report.add(
        "configuration",
        Found::Ok("every setting is valid".to_owned()),
    );
    let (region, endpoint) = (
        config.speech.region.as_deref(),
        config.stores.dynamodb_endpoint.as_deref(),
    );
    let aws = Aws::find(region, endpoint).await;
    report.add("AWS credentials", credentials(config, &aws));
    speech(config, &aws, &mut report).await;
    places(config, &mut report).await;
    report.add("transcripts", transcripts(config).await);
    report.add(
        "log of decisions",
        match stores::check_log(&config.stores.data_dir) {
            Ok(0) => Found::Ok("nothing was decided yet".to_owned()),
            Ok(lines) => Found::Ok(format!("{lines} decisions, in one unbroken chain")),
            Err(broken) => Found::Missing(format!("nobody is called: {}", in_full(&broken))),
        },
    );
    carrier(config, &mut report);
    match report.missing() {
        0 => Ok(()),
        1 => anyhow::bail!("1 thing is missing"),
        missing => anyhow::bail!("{missing} things are missing"),
    }
}

async fn speech(config: &Config, aws: &Aws, report: &mut Report) {
    let speech = &config.speech;
    let found = matches!(aws.credentials, Credentials::Found(_));
    if speech.choice == SpeechChoice::Local || !found {
        let why = match speech.choice {
            SpeechChoice::Local => Found::Ok("not used: SPEECH_MODEL is local".to_owned()),
            SpeechChoice::Auto => {
                Found::Warning("without AWS credentials the local model speaks instead".to_owned())
            }
            SpeechChoice::NovaSonic => {
                Found::Missing("it cannot be reached without AWS credentials".to_owned())
            }
        };
        return report.add("speech model", why);
    }
    report.add(
        "model in the region",
        models::find(&speech.model_id, aws).await,
    );
    report.add("model access", access(config).await);
}

async fn places(config: &Config, report: &mut Report) {
    let settings = &config.stores;
    let stores = match Stores::open(settings, config.speech.region.as_deref()).await {
        Ok(stores) => stores,
        Err(problem) => {
            return report.add("stores", Found::Missing(format!("{problem:#}")));
        }
    };
    let places = format!("calls in {}, leads in {}", stores.calls_in, stores.leads_in);
    report.add("stores", Found::Ok(places));
    let Some((dynamo, tables)) = stores::tables(&stores, settings) else {
        return;
    };
    if settings.create_tables == CreateTables::Always
        && let Err(error) = dynamo.create_missing(&tables).await
    {
        report.add("making tables", Found::Missing(in_full(&error)));
    }
    for table in tables {
        let item = format!("table {}", table.name);
        let problems = stores::problems_of(&dynamo, std::slice::from_ref(&table)).await;
        let found = match problems.as_deref() {
            Ok([]) => Found::Ok("it is there, with its indexes".to_owned()),
            Ok([problem, ..]) => Found::Missing(format!(
                "{}; `esther check --create-tables` makes what is missing",
                problem.what
            )),
            Err(error) => Found::Missing(format!(
                "it cannot be looked at: {}; check the endpoint, the region and the \
                     permission dynamodb:DescribeTable",
                in_full(error)
            )),
        };
        report.add(&item, found);
    }
}

fn credentials(config: &Config, aws: &Aws) -> Found {
    let why = match &aws.credentials {
        Credentials::Found(_) => return Found::Ok("found".to_owned()),
        Credentials::Missing(why) => why,
    };
    let stores = [config.stores.calls, config.stores.leads];
    let needed = config.speech.choice == SpeechChoice::NovaSonic
        || (stores.contains(&StoreChoice::DynamoDb) && config.stores.dynamodb_endpoint.is_none());
    match needed {
        true => Found::Missing(format!(
            "{why}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )),
        false => Found::Warning(format!("not found ({why}), and nothing needs them")),
    }
}

/// Opens a session and closes it again.
async fn access(config: &Config) -> Found {
    let speech = &config.speech;
    let mut settings = NovaSonicConfig::default();
    settings.model_id.clone_from(&speech.model_id);
    settings.voice.clone_from(&speech.voice);
    settings.role_arn.clone_from(&speech.role_arn);
    let nova = NovaSonic::from_env(settings, speech.region.clone()).await;
    let seed = SessionSeed::new(CallId::random(), "You check a line.", SampleRate::Hz16000);
    match tokio::time::timeout(PATIENCE, nova.open(seed)).await {
        Ok(Ok(session)) => {
            // A session that takes no command any more is closed already.
            session.commands.send(ModelCommand::Finish).await.ok();
            Found::Ok(format!("{} opens a session", speech.model_id))
        }
        Ok(Err(error)) => Found::Missing(format!(
            "{} opens no session: {}; ask for access to the model in the Bedrock console, and \
             allow bedrock:InvokeModelWithBidirectionalStream",
            speech.model_id,
            in_full(&error)
        )),
        Err(_) => Found::Missing(format!(
            "{} opens no session in {} s: check the network and the region",
            speech.model_id,
            PATIENCE.as_secs()
        )),
    }
}

async fn transcripts(config: &Config) -> Found {
    let folder = &config.transcripts_dir;
    let probe = folder.join(".esther-check");
    let written = async {
        tokio::fs::create_dir_all(folder).await?;
        tokio::fs::write(&probe, b"").await?;
        tokio::fs::remove_file(&probe).await
    };
    match written.await {
        Ok(()) => Found::Ok(format!("{} can be written", folder.display())),
        Err(error) => Found::Missing(format!(
            "{} cannot be written ({error}): name another folder in TRANSCRIPTS_DIR",
            folder.display()
        )),
    }
}

fn carrier(config: &Config, report: &mut Report) {
    let vonage = &config.vonage;
    let needed = [
        ("VONAGE_API_KEY", vonage.api_key.is_some()),
        ("VONAGE_API_SECRET", vonage.api_secret.is_some()),
        ("VONAGE_APPLICATION_ID", !vonage.applications.is_empty()),
        ("VONAGE_PRIVATE_KEY", vonage.private_key.is_some()),
        ("VONAGE_FROM_NUMBER", vonage.from_number.is_some()),
    ];
    let missing: Vec<_> = needed
        .iter()
        .filter(|(_, set)| !set)
        .map(|(name, _)| *name)
        .collect();
    report.add(
        "Vonage account",
        match missing.is_empty() {
            true => {
                Found::Ok("key, secret, application, private key and number are set".to_owned())
            }
            false => Found::Missing(format!("set {}", missing.join(", "))),
        },
    );
    let url = config.public_url.as_deref();
    let host = url
        .and_then(|url| url.parse::<axum::http::Uri>().ok())
        .and_then(|url| url.host().map(str::to_owned));
    let local = host
        .as_deref()
        .is_none_or(|host| is_loopback(host.trim_matches(['[', ']'])));
    report.add(
        "Vonage signature",
        match (vonage.signature_secret.is_some(), local) {
            (true, _) => Found::Ok("webhooks are verified".to_owned()),
            (false, true) => Found::Warning(
                "VONAGE_SIGNATURE_SECRET is not set: unsigned webhooks are taken from this \
                 machine alone"
                    .to_owned(),
            ),
            (false, false) => {
                Found::Missing("set VONAGE_SIGNATURE_SECRET, or webhooks are refused".to_owned())
            }
        },
    );
    report.add(
        "public URL",
        match url {
            None => Found::Warning(
                "PUBLIC_URL is not set: the carrier reaches nothing but this machine's own address"
                    .to_owned(),
            ),
            Some(url) if local => Found::Warning(format!("{url} is this machine alone")),
            Some(url) if url.starts_with("https://") => Found::Ok(url.to_owned()),
            Some(url) => Found::Warning(format!("{url} is not encrypted: give an https address")),
        },
    );
}

/// An error with its causes, on one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Longer than a session takes to open.
const PATIENCE: Duration = Duration::from_secs(10);

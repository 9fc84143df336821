//! The configuration: read once, typed, and refused with every problem named.

mod booking;
pub(crate) mod parse;
mod reader;
mod settings;

use std::{
    collections::BTreeMap, env, ffi::OsString, fmt, net::IpAddr, path::PathBuf, time::Duration,
};

use novavoice::{
    journal::{JournalFolder, JournalKey},
    lead::PhoneNumber,
    model::price::PriceList,
    outbound::ConsentRule,
    private::Private,
    telephony::vonage::{Account, Credentials, rest::RateLimits},
};

pub(crate) use self::booking::BookingSettings;
use crate::commands::Command;
use reader::{Reader, Sources};
use settings::SETTINGS;
#[cfg(test)]
use settings::Setting;

/// Everything that can be set.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the service listens: an address or a name.
    pub(crate) host: String,
    /// The port; 0 takes a free one.
    pub(crate) port: u16,
    /// How the carrier reaches the service, without a slash at its end.
    pub(crate) public_url: Option<String>,
    /// The token of the management API and the dashboard.
    pub(crate) api_token: Option<Private<String>>,
    /// Which model speaks, and how it is reached.
    pub(crate) speech: SpeechConfig,
    /// The carrier.
    pub(crate) vonage: VonageSettings,
    /// Databases.
    pub(crate) stores: StoreSettings,
    /// Meetings.
    pub(crate) booking: BookingSettings,
    /// Where transcript files go.
    pub(crate) transcripts_dir: PathBuf,
    /// What is written down of calls so that they can be run again.
    pub(crate) journals: JournalSettings,
    /// What happens when the caller is silent.
    pub(crate) idle: IdleSettings,
    /// Who must have agreed to be called.
    pub(crate) consent: ConsentRule,
    /// Who takes calls over that are for a person.
    pub(crate) transfer_number: Option<PhoneNumber>,
    /// How many calls run at once.
    pub(crate) max_calls: usize,
    /// How long live calls may go on once the process is asked to end.
    pub(crate) drain: Duration,
    /// Where traces go.
    pub(crate) traces: Option<String>,
    /// What is logged, and how.
    pub(crate) log: LogSettings,
}

/// Which model speaks.
#[derive(Clone, Debug)]
pub(crate) struct SpeechConfig {
    /// The model that was asked for.
    pub(crate) choice: SpeechChoice,
    /// Where Nova Sonic runs; what the AWS profile says when `None`, else `us-east-1`.
    pub(crate) region: Option<String>,
    /// Nova Sonic's id.
    pub(crate) model_id: String,
    /// A role to assume.
    pub(crate) role_arn: Option<String>,
    /// The voice.
    pub(crate) voice: String,
    /// The model's stream limit; by its capabilities when `None`.
    pub(crate) session_limit: Option<Duration>,
    /// The account's session quota.
    pub(crate) max_sessions: usize,
    /// What its tokens cost; what is known of the model when `None`.
    pub(crate) prices: Option<PriceList>,
}

/// `SPEECH_MODEL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpeechChoice {
    /// Nova Sonic when AWS credentials resolve, else the local model.
    Auto,
    /// Nova Sonic, or no start.
    NovaSonic,
    /// The local model.
    Local,
}

/// The carrier's account.
#[derive(Clone, Debug)]
pub(crate) struct VonageSettings {
    pub(crate) api_key: Option<Private<String>>,
    pub(crate) api_secret: Option<Private<String>>,
    /// The first one dials.
    pub(crate) applications: Vec<String>,
    /// PEM text.
    pub(crate) private_key: Option<Private<String>>,
    pub(crate) signature_secret: Option<Private<String>>,
    pub(crate) from_number: Option<PhoneNumber>,
    pub(crate) api_url: String,
    /// How many calls may begin in one second.
    pub(crate) calls_per_second: usize,
}

/// Databases.
#[derive(Clone, Debug)]
pub(crate) struct StoreSettings {
    pub(crate) leads: StoreChoice,
    pub(crate) calls: StoreChoice,
    pub(crate) data_dir: PathBuf,
    pub(crate) calls_table: String,
    pub(crate) leads_table: String,
    pub(crate) state_table: String,
    pub(crate) create_tables: CreateTables,
    pub(crate) dynamodb_endpoint: Option<String>,
}

/// `LEAD_STORE` and `CALL_STORE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreChoice {
    Auto,
    Sqlite,
    DynamoDb,
}

/// `CREATE_TABLES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreateTables {
    Auto,
    Always,
    Never,
}

/// Journals of calls.
#[derive(Debug)]
pub(crate) struct JournalSettings {
    /// Where they go, and what is in them; `None`: there are none.
    pub(crate) folder: Option<JournalFolder>,
    /// What seals them.
    pub(crate) key: Option<JournalKey>,
}

/// `JOURNALS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JournalChoice {
    Off,
    Words,
    Audio,
}

/// What happens when the caller is silent. `None`: nothing, ever.
#[derive(Debug)]
pub(crate) struct IdleSettings {
    /// Esther asks whether someone is there.
    pub(crate) nudge: Option<Duration>,
    /// Esther hangs up.
    pub(crate) hangup: Option<Duration>,
}

/// What is logged, and how.
#[derive(Debug)]
pub(crate) struct LogSettings {
    /// Directives of `tracing`'s filter.
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// `LOG_FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Pretty,
    Json,
}

impl Config {
    /// Reads the command line, the environment and `.env`. Call it before any thread starts: what
    /// libraries read from the environment themselves is put there.
    ///
    /// Ends the process where the command line itself is wrong or asks for help.
    pub(crate) fn load(
        args: impl IntoIterator<Item = OsString>,
    ) -> anyhow::Result<(Command, Self)> {
        let matches = settings::command().get_matches_from(args);
        let command = Command::of(&matches).unwrap_or_else(|wrong| wrong.exit());
        let mut sources = Sources {
            flags: settings::flags(&matches)
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            environment: SETTINGS
                .iter()
                .filter_map(|setting| Some((setting.name.to_owned(), env::var(setting.name).ok()?)))
                .collect(),
            file: BTreeMap::new(),
        };
        if command.stands_alone() {
            let config = Self::read(&sources.of_logs()).map_err(WrongSettings)?;
            return Ok((command, config));
        }
        let mut problems = Vec::new();
        match dotenvy::dotenv_iter().and_then(Iterator::collect) {
            Ok(file) => sources.file = file,
            Err(missing) if missing.not_found() => {}
            Err(problem) => problems.push(in_file(&problem)),
        }
        let config = match Self::read(&sources) {
            Ok(config) if problems.is_empty() => config,
            read => {
                problems.extend(read.err().into_iter().flatten());
                return Err(WrongSettings(problems).into());
            }
        };
        dotenvy::dotenv().ok();
        dotenvy::from_read_override(exported(&sources).as_bytes())?;
        Ok((command, config))
    }

    /// Types and checks what the sources hold, or says everything that is wrong.
    fn read(sources: &Sources) -> Result<Self, Vec<String>> {
        let mut read = Reader::new(sources);
        // The TLS library reads it by itself; a wrong path must not be found at the first call.
        read.optional("SSL_CERT_FILE", parse::readable_file);
        // So does the AWS library.
        read.optional("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", parse::url);
        let config = Self {
            host: read.required("HOST", parse::host),
            port: read.required("PORT", parse::port),
            public_url: read.optional("PUBLIC_URL", parse::url),
            api_token: read.optional("ESTHER_API_TOKEN", parse::secret),
            speech: SpeechConfig::read(&mut read),
            vonage: VonageSettings::read(&mut read),
            stores: StoreSettings::read(&mut read),
            booking: BookingSettings::read(&mut read),
            transcripts_dir: read.required("TRANSCRIPTS_DIR", parse::folder),
            journals: JournalSettings::read(&mut read),
            idle: IdleSettings {
                nudge: read.required("IDLE_NUDGE_SECONDS", parse::seconds_or_never),
                hangup: read.required("IDLE_HANGUP_SECONDS", parse::seconds_or_never),
            },
            consent: read.required("CONSENT_REQUIRED", parse::one_of(CONSENT_RULES)),
            transfer_number: read.optional("TRANSFER_NUMBER", parse::phone),
            max_calls: read.required("MAX_CALLS", parse::number(1..=100_000)) as usize,
            drain: read.required("DRAIN_SECONDS", parse::seconds(0)),
            traces: read.optional("OTEL_EXPORTER_OTLP_ENDPOINT", parse::url),
            log: LogSettings {
                filter: read.required("RUST_LOG", parse::log_filter),
                format: read.required("LOG_FORMAT", parse::one_of(LOG_FORMATS)),
            },
        };
        read.finish(config)
    }
}

impl SpeechConfig {
    fn read(read: &mut Reader<'_>) -> Self {
        Self {
            choice: read.required("SPEECH_MODEL", parse::one_of(SPEECH_CHOICES)),
            region: read.optional("AWS_REGION", parse::region),
            model_id: read.required("NOVA_SONIC_MODEL_ID", parse::word),
            role_arn: read.optional("NOVA_SONIC_ROLE_ARN", parse::role),
            voice: read.required("NOVA_SONIC_VOICE", parse::word),
            session_limit: read.optional("NOVA_SONIC_SESSION_LIMIT", parse::seconds(1)),
            // Three: one call, and two spare so that it can roll over.
            max_sessions: read.required("NOVA_SONIC_MAX_SESSIONS", parse::number(3..=100_000))
                as usize,
            prices: read.optional("NOVA_SONIC_PRICES", parse::prices),
        }
    }
}

impl VonageSettings {
    fn read(read: &mut Reader<'_>) -> Self {
        Self {
            api_key: read.optional("VONAGE_API_KEY", parse::secret),
            api_secret: read.optional("VONAGE_API_SECRET", parse::secret),
            applications: read
                .optional("VONAGE_APPLICATION_ID", parse::applications)
                .unwrap_or_default(),
            private_key: read.optional("VONAGE_PRIVATE_KEY", parse::private_key),
            signature_secret: read.optional("VONAGE_SIGNATURE_SECRET", parse::secret),
            from_number: read.optional("VONAGE_FROM_NUMBER", parse::phone),
            api_url: read.required("VONAGE_API_URL", parse::url),
            calls_per_second: read.required("VONAGE_CALLS_PER_SECOND", parse::number(1..=1_000))
                as usize,
        }
    }
}

impl VonageSettings {
    /// Whose webhooks are believed.
    pub(crate) fn credentials(&self) -> Credentials {
        let key = self.api_key.as_ref();
        Credentials {
            signature_secrets: self.signature_secret.iter().cloned().collect(),
            api_key: key.map(|key| key.reveal().clone()),
            application_ids: self.applications.clone(),
        }
    }
}

impl JournalSettings {
    fn read(read: &mut Reader<'_>) -> Self {
        let key = read.optional("JOURNAL_KEY", parse::journal_key);
        let folder = read.required("DATA_DIR", parse::folder).join("journals");
        let folder = match read.required("JOURNALS", parse::one_of(JOURNAL_CHOICES)) {
            JournalChoice::Off => None,
            JournalChoice::Words => Some(JournalFolder::new(folder)),
            JournalChoice::Audio => Some(JournalFolder::new(folder).with_audio()),
        };
        let folder = folder.map(|folder| match &key {
            Some(key) => folder.encrypted(key.clone()),
            None => folder,
        });
        Self { folder, key }
    }
}

impl VonageSettings {
    /// With what calls are placed and steered.
    pub(crate) fn account(&self) -> Account {
        Account {
            application_id: self.applications.first().cloned(),
            private_key: self.private_key.clone(),
            from: self.from_number.clone(),
            api_url: self.api_url.clone(),
            limits: RateLimits {
                calls: self.calls_per_second,
                ..RateLimits::default()
            },
        }
    }
}

impl StoreSettings {
    fn read(read: &mut Reader<'_>) -> Self {
        Self {
            leads: read.required("LEAD_STORE", parse::one_of(STORE_CHOICES)),
            calls: read.required("CALL_STORE", parse::one_of(STORE_CHOICES)),
            data_dir: read.required("DATA_DIR", parse::folder),
            calls_table: read.required("CALL_RECORDS_TABLE", parse::table),
            leads_table: read.required("LEADS_TABLE", parse::table),
            state_table: read.required("STATE_TABLE", parse::table),
            create_tables: read.required("CREATE_TABLES", parse::one_of(CREATE_TABLES)),
            dynamodb_endpoint: read.optional("AWS_ENDPOINT_URL_DYNAMODB", parse::url),
        }
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug)]
pub(crate) struct WrongSettings(Vec<String>);

impl fmt::Display for WrongSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "{count} wrong setting{}:",
            if count == 1 { "" } else { "s" }
        )?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for WrongSettings {}

/// Whether a host names this machine alone.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A line that cannot be read may hold a secret: its text is not repeated.
fn in_file(problem: &dotenvy::Error) -> String {
    match problem {
        dotenvy::Error::Io(problem) => format!(".env: cannot be read ({problem})"),
        _ => ".env: a line is not of the form NAME=value".to_owned(),
    }
}

/// The flags of settings that libraries read from the environment by themselves, as lines of a
/// `.env` file: the one way to put them there that is safe Rust.
fn exported(sources: &Sources) -> String {
    let given = EXPORTED.into_iter().filter_map(|name| {
        let value = sources.flags.get(name)?.trim();
        let escaped = value
            .replace('\\', r"\\")
            .replace('"', r#"\""#)
            .replace('$', r"\$");
        (!value.is_empty()).then(|| format!("{name}=\"{escaped}\"\n"))
    });
    given.collect()
}

const CONSENT_RULES: &[(&str, ConsentRule)] = &[
    ("none", ConsentRule::None),
    ("mobile", ConsentRule::Mobile),
    ("all", ConsentRule::All),
];

const SPEECH_CHOICES: &[(&str, SpeechChoice)] = &[
    ("auto", SpeechChoice::Auto),
    ("nova-sonic", SpeechChoice::NovaSonic),
    ("local", SpeechChoice::Local),
];

const STORE_CHOICES: &[(&str, StoreChoice)] = &[
    ("auto", StoreChoice::Auto),
    ("sqlite", StoreChoice::Sqlite),
    ("dynamodb", StoreChoice::DynamoDb),
];

const CREATE_TABLES: &[(&str, CreateTables)] = &[
    ("auto", CreateTables::Auto),
    ("always", CreateTables::Always),
    ("never", CreateTables::Never),
];

const JOURNAL_CHOICES: &[(&str, JournalChoice)] = &[
    ("off", JournalChoice::Off),
    ("words", JournalChoice::Words),
    ("audio", JournalChoice::Audio),
];

const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];

/// Read by the AWS and TLS libraries from the environment.
const EXPORTED: [&str; 4] = [
    "AWS_REGION",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "SSL_CERT_FILE",
];

#[cfg(test)]
pub(crate) mod tests;

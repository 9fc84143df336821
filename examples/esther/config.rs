//! The configuration: read once, typed, and refused with every problem named.

pub(crate) mod parse;
mod reader;
mod settings;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt::{self, Write as _},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use novavoice::{lead::PhoneNumber, private::Private};

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
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "checked at the start; the stores come later")
    )]
    pub(crate) stores: StoreSettings,
    /// Where transcript files go.
    pub(crate) transcripts_dir: PathBuf,
    /// What happens when the caller is silent.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "checked at the start; the idle ladder comes later"
        )
    )]
    pub(crate) idle: IdleSettings,
    /// How many calls run at once.
    pub(crate) max_calls: usize,
    /// How long live calls may go on once the process is asked to end.
    pub(crate) drain: Duration,
    /// What is logged, and how.
    pub(crate) log: LogSettings,
    /// Settings that were given although this build has no use for them yet.
    pub(crate) unused: Vec<&'static str>,
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
}

/// Databases.
#[derive(Debug)]
#[expect(dead_code, reason = "checked at the start, see above")]
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

/// What happens when the caller is silent. `None`: nothing, ever.
#[derive(Debug)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "checked at the start, see above")
)]
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
    pub(crate) fn load(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<Self> {
        let matches = settings::command().get_matches_from(args);
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
        match dotenvy::dotenv_iter().and_then(Iterator::collect) {
            Ok(file) => sources.file = file,
            Err(missing) if missing.not_found() => {}
            Err(problem) => return Err(WrongSettings(vec![in_file(&problem)]).into()),
        }
        let config = Self::read(&sources).map_err(WrongSettings)?;
        dotenvy::dotenv().ok();
        export(&sources)?;
        Ok(config)
    }

    /// Types and checks what the sources hold, or says everything that is wrong.
    fn read(sources: &Sources) -> Result<Self, Vec<String>> {
        let mut read = Reader::new(sources);
        // The TLS library reads it by itself; a wrong path must not be found at the first call.
        read.optional("SSL_CERT_FILE", parse::readable_file);
        read.optional("OTEL_EXPORTER_OTLP_ENDPOINT", parse::url);
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
            transcripts_dir: read.required("TRANSCRIPTS_DIR", parse::folder),
            idle: IdleSettings {
                nudge: read.required("IDLE_NUDGE_SECONDS", parse::seconds_or_never),
                hangup: read.required("IDLE_HANGUP_SECONDS", parse::seconds_or_never),
            },
            max_calls: read.required("MAX_CALLS", parse::number(1..=100_000)) as usize,
            drain: read.required("DRAIN_SECONDS", parse::seconds(0)),
            log: LogSettings {
                filter: read.required("RUST_LOG", parse::log_filter),
                format: read.required("LOG_FORMAT", parse::one_of(LOG_FORMATS)),
            },
            unused: UNUSED
                .iter()
                .copied()
                .filter(|name| sources.has(name))
                .collect(),
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

/// Puts the flags of settings that libraries read by themselves into the environment.
fn export(sources: &Sources) -> anyhow::Result<()> {
    let mut lines = String::new();
    for name in EXPORTED {
        if let Some(value) = sources.flags.get(name).filter(|value| !value.is_empty()) {
            let value = value.replace('\\', r"\\").replace('"', r#"\""#);
            writeln!(lines, "{name}=\"{}\"", value.replace('$', r"\$"))?;
        }
    }
    Ok(dotenvy::from_read_override(lines.as_bytes())?)
}

/// Given in vain so far: said at the start, so that nobody waits for an effect.
const UNUSED: [&str; 10] = [
    "LEAD_STORE",
    "CALL_STORE",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "CALL_RECORDS_TABLE",
    "LEADS_TABLE",
    "STATE_TABLE",
    "CREATE_TABLES",
    "IDLE_NUDGE_SECONDS",
    "IDLE_HANGUP_SECONDS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
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
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// The configuration of a fresh machine.
    pub(crate) fn defaults() -> Config {
        Config::read(&Sources::default()).expect("defaults are right")
    }

    fn sources(environment: &[(&str, &str)]) -> Sources {
        Sources {
            environment: pairs(environment),
            ..Sources::default()
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn flags(args: &[&str]) -> BTreeMap<String, String> {
        let args = ["esther"].iter().chain(args);
        let matches = settings::command()
            .try_get_matches_from(args)
            .expect("right usage");
        settings::flags(&matches)
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    #[test]
    fn nothing_given_is_a_right_configuration() {
        let config = defaults();
        assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 3000));
        assert!(is_loopback(&config.host));
        assert_eq!(config.speech.choice, SpeechChoice::Auto);
        assert_eq!(config.speech.model_id, "amazon.nova-2-sonic-v1:0");
        assert_eq!(config.speech.session_limit, None);
        assert_eq!(config.speech.max_sessions, 20);
        assert_eq!(config.idle.nudge, Some(Duration::from_secs(20)));
        assert_eq!(config.idle.hangup, Some(Duration::from_secs(90)));
        assert_eq!((config.max_calls, config.drain.as_secs()), (200, 120));
        assert_eq!(config.stores.calls_table, "nova-sonic-call-records");
        assert!(config.unused.is_empty());
    }

    #[test]
    fn every_setting_is_read_by_its_name() {
        let key = key_file();
        let given: &[(&str, &str)] = &[
            ("HOST", "0.0.0.0"),
            ("PORT", "8080"),
            ("PUBLIC_URL", "https://esther.example.org/"),
            ("ESTHER_API_TOKEN", "token-of-the-api"),
            ("SPEECH_MODEL", "nova-sonic"),
            ("AWS_REGION", "eu-north-1"),
            ("NOVA_SONIC_MODEL_ID", "amazon.nova-sonic-v1:0"),
            (
                "NOVA_SONIC_ROLE_ARN",
                "arn:aws:iam::123456789012:role/esther",
            ),
            ("NOVA_SONIC_VOICE", "matthew"),
            ("NOVA_SONIC_SESSION_LIMIT", "30"),
            ("NOVA_SONIC_MAX_SESSIONS", "7"),
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "https://127.0.0.1:9001"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9002"),
            ("SSL_CERT_FILE", key.path().to_str().expect("a plain path")),
            ("VONAGE_API_KEY", "abcd1234"),
            ("VONAGE_API_SECRET", "secret-of-the-account"),
            (
                "VONAGE_APPLICATION_ID",
                "78d335fa-323d-0114-9c3d-d6f0d48968cf, 88d335fa-323d-0114-9c3d-d6f0d48968cf",
            ),
            (
                "VONAGE_PRIVATE_KEY",
                key.path().to_str().expect("a plain path"),
            ),
            ("VONAGE_SIGNATURE_SECRET", "secret-of-the-signature"),
            ("VONAGE_FROM_NUMBER", "12125550100"),
            ("VONAGE_API_URL", "http://127.0.0.1:9003"),
            ("LEAD_STORE", "sqlite"),
            ("CALL_STORE", "dynamodb"),
            ("DATA_DIR", "/tmp/data"),
            ("TRANSCRIPTS_DIR", "/tmp/transcripts"),
            ("CALL_RECORDS_TABLE", "calls"),
            ("LEADS_TABLE", "leads"),
            ("STATE_TABLE", "state"),
            ("CREATE_TABLES", "never"),
            ("IDLE_NUDGE_SECONDS", "0"),
            ("IDLE_HANGUP_SECONDS", "45"),
            ("MAX_CALLS", "3"),
            ("DRAIN_SECONDS", "0"),
            ("RUST_LOG", "warn,novavoice=debug"),
            ("LOG_FORMAT", "json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ];
        let names: Vec<_> = given.iter().map(|(name, _)| *name).collect();
        let table: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names, table, "this test names every setting");

        let by_environment = Config::read(&sources(given)).expect("all are right");
        let args: Vec<String> = given
            .iter()
            .flat_map(|(name, value)| {
                [
                    format!("--{}", Setting::named(name).flag()),
                    (*value).to_owned(),
                ]
            })
            .collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let by_flags = Config::read(&Sources {
            flags: flags(&args),
            ..Sources::default()
        });
        let by_flags = by_flags.expect("all are right");

        let config = by_environment;
        assert_eq!(format!("{config:?}"), format!("{by_flags:?}"));
        assert!(!is_loopback(&config.host));
        assert_eq!(
            config.public_url.as_deref(),
            Some("https://esther.example.org")
        );
        assert_eq!(config.speech.choice, SpeechChoice::NovaSonic);
        assert_eq!(config.speech.session_limit, Some(Duration::from_secs(30)));
        assert_eq!(config.vonage.applications.len(), 2);
        assert_eq!(
            config.vonage.from_number.expect("given").reveal(),
            "+12125550100"
        );
        assert_eq!(config.stores.calls, StoreChoice::DynamoDb);
        assert_eq!((config.idle.nudge, config.drain), (None, Duration::ZERO));
        assert_eq!(config.log.format, LogFormat::Json);
        assert_eq!(config.unused, UNUSED);
    }

    #[test]
    fn all_problems_are_listed_at_once_and_no_secret_with_them() {
        let problems = Config::read(&sources(&[
            ("HOST", "not a host"),
            ("PORT", "99999"),
            ("PUBLIC_URL", "ftp://example.org"),
            ("ESTHER_API_TOKEN", "hush hush"),
            ("SPEECH_MODEL", "parrot"),
            ("AWS_REGION", "Moon"),
            ("NOVA_SONIC_ROLE_ARN", "esther"),
            ("NOVA_SONIC_MAX_SESSIONS", "2"),
            ("NOVA_SONIC_SESSION_LIMIT", "0"),
            ("SSL_CERT_FILE", "/nowhere/at/all"),
            ("VONAGE_APPLICATION_ID", "1234"),
            (
                "VONAGE_PRIVATE_KEY",
                "-----BEGIN PRIVATE KEY-----\\nhush\\n-----END PRIVATE KEY-----",
            ),
            ("VONAGE_FROM_NUMBER", "hush"),
            ("VONAGE_API_URL", "http://hush@example.org"),
            ("CALL_STORE", "paper"),
            ("LEADS_TABLE", "a"),
            ("CREATE_TABLES", "perhaps"),
            ("IDLE_NUDGE_SECONDS", "-1"),
            ("MAX_CALLS", "many"),
            ("DRAIN_SECONDS", "1.5"),
            ("RUST_LOG", "esther=loud"),
            ("LOG_FORMAT", "xml"),
        ]))
        .expect_err("all are wrong");
        assert_eq!(problems.len(), 22, "{problems:#?}");
        let text = WrongSettings(problems).to_string();
        assert!(!text.contains("hush"), "{text}");
        assert!(
            text.contains("PORT: \"99999\" is wrong, expected a whole number"),
            "{text}"
        );
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let mut sources = Sources {
            flags: flags(&["serve", "--port", "1"]),
            environment: pairs(&[("PORT", "2"), ("MAX_CALLS", "2")]),
            file: pairs(&[("PORT", "3"), ("MAX_CALLS", "3"), ("DRAIN_SECONDS", "3")]),
        };
        let config = Config::read(&sources).expect("right");
        assert_eq!(
            (config.port, config.max_calls, config.drain.as_secs()),
            (1, 2, 3)
        );

        sources
            .environment
            .insert("MAX_CALLS".to_owned(), " ".to_owned());
        let config = Config::read(&sources).expect("right");
        assert_eq!(config.max_calls, 3, "an empty value counts as none");
    }

    #[test]
    fn flags_stand_before_or_after_the_command_or_without_one() {
        for args in [
            &["--max-calls", "5"][..],
            &["serve", "--max-calls", "5"],
            &["--max-calls=5", "serve"],
        ] {
            assert_eq!(flags(args), pairs(&[("MAX_CALLS", "5")]));
        }
        assert!(
            settings::command()
                .try_get_matches_from(["esther", "--nonsense"])
                .is_err()
        );
        assert!(
            settings::command()
                .try_get_matches_from(["esther", "nonsense"])
                .is_err()
        );
    }

    #[test]
    fn the_help_names_every_variable_and_shows_no_value() {
        let help = settings::command().render_long_help().to_string();
        for setting in SETTINGS {
            assert!(
                help.contains(&format!("[env: {}]", setting.name)),
                "{}",
                setting.name
            );
            assert!(
                help.contains(&format!("--{}", setting.flag())),
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn a_private_key_is_text_or_a_path_and_never_printed() {
        let key = key_file();
        let text = fs::read_to_string(key.path()).expect("just written");
        let one_line = text.trim().replace('\n', "\\n");
        for given in [
            text.as_str(),
            &one_line,
            key.path().to_str().expect("plain"),
        ] {
            let config = Config::read(&sources(&[("VONAGE_PRIVATE_KEY", given)])).expect("right");
            let read = config.vonage.private_key.as_ref().expect("given");
            assert_eq!(read.reveal().trim(), text.trim());
            assert!(!format!("{config:?}").contains("BEGIN"));
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "localhost",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "0.0.0.0",
            "::",
            "10.0.0.1",
            "example.org",
            "localhost.example.org",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    /// A key made for this test alone.
    fn key_file() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
        fs::write(file.path(), key.serialize_pem()).expect("writable");
        file
    }
}

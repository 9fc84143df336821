//! Every setting: its variable, its default and one line about it. The command line, the help
//! and the reading of the environment all come from this table.

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use crate::commands;

/// One row of the table.
pub(crate) struct Setting {
    /// The environment variable; the flag is the same name in kebab case.
    pub(crate) name: &'static str,
    /// The value where none is given.
    pub(crate) default: Option<&'static str>,
    /// One line for the help.
    pub(crate) help: &'static str,
    /// Whether a wrong value may be repeated in a message.
    pub(crate) private: bool,
    /// What the flag means without a value, where it may stand alone.
    pub(crate) alone: Option<&'static str>,
}

impl Setting {
    /// The flag's name: `ESTHER_API_TOKEN` becomes `esther-api-token`.
    pub(crate) fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    /// The row of `name`.
    pub(crate) fn named(name: &str) -> &'static Self {
        SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .expect("every setting that is read stands in the table")
    }
}

/// The command line: one flag for each setting, before or after the command.
pub(crate) fn command() -> Command {
    let flags = SETTINGS.iter().map(|setting| {
        let default = setting
            .default
            .map(|default| format!(" [default: {default}]"));
        let flag = Arg::new(setting.name)
            .long(setting.flag())
            .env(setting.name)
            .hide_env_values(true)
            .value_name("VALUE")
            .global(true)
            .help(setting.help.to_owned() + &default.unwrap_or_default());
        match setting.alone {
            None => flag,
            Some(value) => flag.num_args(0..=1).default_missing_value(value),
        }
    });
    let command = Command::new("esther")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Esther, a phone agent that books meetings")
        .after_help("Every setting may also stand in the environment or in a file `.env`; a flag wins over the environment, and that over the file.")
        .args(flags);
    commands::Command::add_to(command)
}

/// The flags that stood on the command line itself, by the setting's name.
pub(crate) fn flags(matches: &ArgMatches) -> impl Iterator<Item = (&'static str, String)> {
    // A global flag behind a command is kept with that command.
    let mut matches = matches;
    while let Some((_, below)) = matches.subcommand() {
        matches = below;
    }
    SETTINGS.iter().filter_map(move |setting| {
        (matches.value_source(setting.name) == Some(ValueSource::CommandLine))
            .then(|| matches.get_one::<String>(setting.name).cloned())
            .flatten()
            .map(|value| (setting.name, value))
    })
}

const fn row(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        default: Some(default),
        help,
        private: false,
        alone: None,
    }
}

const fn bare(name: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        default: None,
        help,
        private: false,
        alone: None,
    }
}

const fn private(name: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        default: None,
        help,
        private: true,
        alone: None,
    }
}

/// The table, in the order of the help.
pub(crate) const SETTINGS: &[Setting] = &[
    row("HOST", "127.0.0.1", "Where the service listens"),
    row("PORT", "3000", "The port; 0 takes a free one"),
    bare(
        "PUBLIC_URL",
        "How the carrier reaches the service; http://HOST:PORT when unset",
    ),
    private(
        "ESTHER_API_TOKEN",
        "Bearer token of the management API and the dashboard",
    ),
    row(
        "SPEECH_MODEL",
        "auto",
        "nova-sonic, local, or auto: Nova Sonic when AWS credentials resolve, else local",
    ),
    row("AWS_REGION", "us-east-1", "Where Nova Sonic runs"),
    row(
        "NOVA_SONIC_MODEL_ID",
        "amazon.nova-2-sonic-v1:0",
        "The model",
    ),
    bare(
        "NOVA_SONIC_ROLE_ARN",
        "Role to assume; without it, or where it fails, the base credentials serve",
    ),
    row("NOVA_SONIC_VOICE", "tiffany", "The voice"),
    bare(
        "NOVA_SONIC_SESSION_LIMIT",
        "The model's stream limit in seconds; by the model when unset",
    ),
    row(
        "NOVA_SONIC_MAX_SESSIONS",
        "20",
        "The account's session quota; two stay free for rollovers",
    ),
    bare(
        "NOVA_SONIC_PRICES",
        "Rows of a day and US dollars a million tokens of speech in, speech out, text in, text \
         out, separated by semicolons; by the model when unset",
    ),
    bare(
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        "Another address for Bedrock",
    ),
    bare("AWS_ENDPOINT_URL_DYNAMODB", "Another address for DynamoDB"),
    bare("SSL_CERT_FILE", "Extra certificates to trust"),
    private("VONAGE_API_KEY", "The account's key"),
    private("VONAGE_API_SECRET", "The account's secret"),
    bare(
        "VONAGE_APPLICATION_ID",
        "Application id, or several with commas; the first one dials",
    ),
    private(
        "VONAGE_PRIVATE_KEY",
        "The application's private key: PEM text or a path to it",
    ),
    private(
        "VONAGE_SIGNATURE_SECRET",
        "Verifies signed webhooks; without it they are taken on a loopback PUBLIC_URL only",
    ),
    private("VONAGE_FROM_NUMBER", "The number that calls come from"),
    row(
        "VONAGE_API_URL",
        "https://api.nexmo.com",
        "REST base of the carrier",
    ),
    row(
        "VONAGE_CALLS_PER_SECOND",
        "3",
        "How many calls the account may begin in one second",
    ),
    private(
        "CALENDAR_URL",
        "The host's CalDAV calendar, https; the embedded calendar when unset",
    ),
    private("CALENDAR_USER", "Who may write into it"),
    private("CALENDAR_PASSWORD", "Their password"),
    private(
        "SMTP_URL",
        "The mail server, smtps://user:password@host or smtp:// with STARTTLS; no invitations \
         when unset",
    ),
    private("MAIL_FROM", "Whom invitations come from"),
    private(
        "HOST_EMAIL",
        "Where guests' answers go; MAIL_FROM when unset",
    ),
    private("MEETING_LINK", "Where meetings are"),
    row(
        "HOST_TIME_ZONE",
        "America/Chicago",
        "By whose clock the host takes meetings",
    ),
    row(
        "HOST_DAYS",
        "mon,tue,wed,thu,fri",
        "On which days the host takes meetings, but for federal holidays",
    ),
    row("HOST_HOURS", "09:00-18:00", "In which hours of these days"),
    row(
        "HOST_BUFFER_MINUTES",
        "15",
        "How long the host is free between meetings",
    ),
    row(
        "HOST_LEAD_HOURS",
        "2",
        "How long ahead of a meeting it is offered at the latest",
    ),
    row("LEAD_STORE", "auto", "sqlite, dynamodb or auto"),
    row("CALL_STORE", "auto", "sqlite, dynamodb or auto"),
    row("DATA_DIR", "./data", "Database file, journals, spool"),
    row(
        "JOURNALS",
        "off",
        "What is kept in DATA_DIR/journals to run calls again: off, words or audio",
    ),
    private(
        "JOURNAL_KEY",
        "Seals journals and opens them: 64 hexadecimal digits",
    ),
    row("TRANSCRIPTS_DIR", "./transcripts", "Transcript files"),
    row(
        "CALL_RECORDS_TABLE",
        "nova-sonic-call-records",
        "DynamoDB table of calls",
    ),
    row("LEADS_TABLE", "Churches", "DynamoDB table of leads"),
    row(
        "STATE_TABLE",
        "esther-state",
        "DynamoDB table of everything else",
    ),
    Setting {
        alone: Some("always"),
        ..row(
            "CREATE_TABLES",
            "auto",
            "always, never, or auto: only with a DynamoDB endpoint override",
        )
    },
    row(
        "IDLE_NUDGE_SECONDS",
        "20",
        "Silence before Esther asks whether someone is there; 0: never",
    ),
    row(
        "IDLE_HANGUP_SECONDS",
        "90",
        "Silence before Esther hangs up; 0: never",
    ),
    row(
        "CONSENT_REQUIRED",
        "none",
        "Who must have agreed to be called: none, mobile (whose number may be a mobile one), or all",
    ),
    private(
        "TRANSFER_NUMBER",
        "Who takes calls over from Esther; without it she hands nobody over by herself",
    ),
    row("MAX_CALLS", "200", "How many calls run at once"),
    row(
        "DRAIN_SECONDS",
        "120",
        "How long live calls may go on after SIGTERM",
    ),
    row("RUST_LOG", "info", "What is logged"),
    row("LOG_FORMAT", "pretty", "pretty or json"),
    bare("OTEL_EXPORTER_OTLP_ENDPOINT", "Where traces go"),
];

//! What is right, what is wrong, and which source wins.

use std::fs;

use super::*;

/// The configuration of a fresh machine.
pub(crate) fn defaults() -> Config {
    Config::read(&Sources::default()).expect("defaults are right")
}

/// The configuration of a machine with these variables.
pub(crate) fn with(environment: &[(&str, &str)]) -> Config {
    Config::read(&sources(environment)).expect("the variables are right")
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
    assert!(config.journals.folder.is_none());
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
        ("NOVA_SONIC_PRICES", "2026-09-01 3.00 12.00 0.33 2.75"),
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
        ("VONAGE_CALLS_PER_SECOND", "30"),
        ("CALENDAR_URL", "https://dav.example.org/mike/work/"),
        ("CALENDAR_USER", "mike"),
        ("CALENDAR_PASSWORD", "password-of-mike"),
        ("SMTP_URL", "smtps://esther:secret@smtp.example.org"),
        ("MAIL_FROM", "Esther <esther@example.org>"),
        ("HOST_EMAIL", "mike@example.org"),
        ("MEETING_LINK", "https://meet.example.org/mike"),
        ("HOST_TIME_ZONE", "America/New_York"),
        ("HOST_DAYS", "tue, thu"),
        ("HOST_HOURS", "10:00-16:30"),
        ("HOST_BUFFER_MINUTES", "0"),
        ("HOST_LEAD_HOURS", "24"),
        ("LEAD_STORE", "sqlite"),
        ("CALL_STORE", "dynamodb"),
        ("DATA_DIR", "/tmp/data"),
        ("JOURNALS", "audio"),
        (
            "JOURNAL_KEY",
            "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ),
        ("TRANSCRIPTS_DIR", "/tmp/transcripts"),
        ("CALL_RECORDS_TABLE", "calls"),
        ("LEADS_TABLE", "leads"),
        ("STATE_TABLE", "state"),
        ("CREATE_TABLES", "never"),
        ("IDLE_NUDGE_SECONDS", "0"),
        ("IDLE_HANGUP_SECONDS", "45"),
        ("CONSENT_REQUIRED", "all"),
        ("TRANSFER_NUMBER", "12125550177"),
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
    let account = config.vonage.account();
    assert_eq!(
        account.application_id.as_ref(),
        config.vonage.applications.first()
    );
    assert_eq!(account.api_url, "http://127.0.0.1:9003");
    assert_eq!((account.limits.calls, account.limits.requests), (30, 15));
    assert_eq!(
        config.vonage.from_number.expect("given").reveal(),
        "+12125550100"
    );
    assert_eq!(config.consent, ConsentRule::All);
    assert_eq!(
        config.transfer_number.expect("given").reveal(),
        "+12125550177"
    );
    assert_eq!(config.stores.calls, StoreChoice::DynamoDb);
    let booking = &config.booking;
    assert!(booking.calendar.is_some() && booking.mail.is_some());
    let hours = &booking.hours;
    assert_eq!(hours.zone.iana_name(), Some("America/New_York"));
    assert_eq!(hours.window.days.len(), 2);
    assert_eq!(hours.window.end.to_string(), "16:30");
    assert_eq!(
        (hours.buffer, hours.notice),
        (Duration::ZERO, Duration::from_secs(24 * 3_600))
    );
    assert!(!format!("{booking:?}").contains("secret"));
    assert_eq!((config.idle.nudge, config.drain), (None, Duration::ZERO));
    assert!(config.journals.folder.is_some() && config.journals.key.is_some());
    assert_eq!(config.log.format, LogFormat::Json);
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
        ("CALENDAR_URL", "http://dav.hush.example/"),
        ("CALENDAR_PASSWORD", "hush"),
        ("SMTP_URL", "https://esther:hush@smtp.example.org"),
        ("MAIL_FROM", "hush"),
        ("HOST_EMAIL", "hush"),
        ("HOST_TIME_ZONE", "Moon/Sea_of_Tranquility"),
        ("HOST_DAYS", "mon,someday"),
        ("HOST_HOURS", "18:00-09:00"),
        ("HOST_BUFFER_MINUTES", "soon"),
        ("HOST_LEAD_HOURS", "1000"),
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
    // The user whose password is given is missing, too.
    assert_eq!(problems.len(), 32, "{problems:#?}");
    let text = WrongSettings(problems).to_string();
    assert!(!text.contains("hush"), "{text}");
    assert!(
        text.contains("PORT: \"99999\" is wrong, expected a whole number"),
        "{text}"
    );
}

#[test]
fn a_mail_server_needs_a_sender_and_a_password_its_calendar() {
    let problems = Config::read(&sources(&[
        ("SMTP_URL", "smtps://smtp.example.org"),
        ("CALENDAR_USER", "mike"),
    ]))
    .expect_err("half of it is missing");
    let names: Vec<_> = problems
        .iter()
        .filter_map(|problem| Some(problem.split_once(':')?.0))
        .collect();
    assert_eq!(names, ["CALENDAR_URL", "MAIL_FROM"]);
    let booking = defaults().booking;
    assert!(booking.calendar.is_none() && booking.mail.is_none());
    assert_eq!(booking.hours.zone.iana_name(), Some("America/Chicago"));
    assert_eq!(booking.hours.window.days.len(), 5);
    assert_eq!(booking.hours.notice, Duration::from_secs(2 * 3_600));
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
fn flags_reach_the_libraries_that_read_the_environment() {
    let odd = r#"/tmp/a $HOME "quoted" back\slash's.pem"#;
    let sources = Sources {
        flags: pairs(&[
            ("SSL_CERT_FILE", odd),
            ("AWS_REGION", "eu-north-1"),
            ("PORT", "1"),
        ]),
        ..Sources::default()
    };
    let lines = exported(&sources);
    let lines = dotenvy::from_read_iter(lines.as_bytes());
    let read: BTreeMap<_, _> = lines.collect::<Result<_, _>>().expect("right lines");
    assert_eq!(
        read,
        pairs(&[("SSL_CERT_FILE", odd), ("AWS_REGION", "eu-north-1")])
    );
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

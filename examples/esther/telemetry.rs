//! Logs, on standard error: standard output belongs to what the program answers.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, LogSettings};

/// Starts the logs. Once in a process.
pub(crate) fn start(settings: &LogSettings) -> anyhow::Result<()> {
    let mut filter = settings.filter.clone();
    if !filter.contains("aws") {
        // It warns at length about every place where it finds no credentials.
        filter.push_str(",aws_config=error");
    }
    let logs = fmt()
        .with_env_filter(EnvFilter::builder().parse(filter)?)
        .with_writer(io::stderr);
    let started = match settings.format {
        LogFormat::Pretty => logs.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    started.map_err(|problem| anyhow::anyhow!(problem))
}

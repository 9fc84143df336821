//! Esther: a phone agent that books meetings, as a service.
//!
//! `cargo run --example esther` starts it; `-- --help` lists what can be set.

mod calls;
mod clock;
mod config;
mod follow;
mod gate;
mod http;
mod metrics;
mod persona;
mod service;
mod signals;
mod speech;
mod telemetry;
mod traces;

use std::{env, process::ExitCode};

use config::{Config, WrongSettings};
use mimalloc::MiMalloc;
use service::Service;

/// Gives the memory of a rush of calls back to the system, which the platform's own keeps.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem:#}");
            ExitCode::from(if problem.is::<WrongSettings>() { 2 } else { 1 })
        }
    }
}

fn run() -> anyhow::Result<()> {
    // Before the runtime: it starts threads, and those may read the environment.
    let config = Config::load(env::args_os())?;
    telemetry::start(&config.log)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = signals::watch();
    if !config.unused.is_empty() {
        let names = config.unused.join(", ");
        tracing::warn!(names, "set, but of no use in this build yet");
    }
    let service = Service::start(config).await?;
    // On standard error and past the logs: a filter must not hide either, and no log may keep
    // the token.
    eprintln!("{}", service.notice);
    if let Some(token) = &service.made_token {
        eprintln!("API token, made for this run: {}", token.reveal());
    }
    println!("Esther is at {}/", service.address);
    service.run(stop).await
}

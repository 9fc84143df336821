//! Esther: a phone agent that books meetings, as a service.
//!
//! `cargo run --example esther` starts it; `-- --help` lists what can be set.

mod briefing;
mod calls;
mod clock;
mod commands;
mod config;
mod demo;
mod follow;
mod gate;
mod heard;
mod http;
mod metrics;
mod office;
mod outbound;
mod permission;
mod persona;
mod placed;
mod preview;
mod prompts;
mod service;
mod signals;
mod speech;
mod stores;
mod telemetry;
mod tools;
mod traces;

use std::{env, process::ExitCode};

use commands::WrongUsage;
use config::{Config, WrongSettings};
use tikv_jemallocator::Jemalloc;

/// Gives the memory of a rush of calls back to the system within seconds, in the background; the
/// platform's own and others keep most of it. How it is built says `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem:#}");
            let misused = problem.is::<WrongSettings>() || problem.is::<WrongUsage>();
            ExitCode::from(if misused { 2 } else { 1 })
        }
    }
}

fn run() -> anyhow::Result<()> {
    // Before the runtime: it starts threads, and those may read the environment.
    let (command, config) = Config::load(env::args_os())?;
    telemetry::start(&config.log)?;
    command.run(config)
}

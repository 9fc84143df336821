//! Esther: a phone agent that books meetings, as a service.

mod calls;
mod clock;
mod config;
mod http;
mod metrics;
mod persona;
mod planned;
mod speech;
mod telemetry;

use std::{env, process::ExitCode};

use config::{Config, WrongSettings};

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
    let config = Config::load(env::args_os())?;
    telemetry::start(&config.log)?;
    Ok(())
}

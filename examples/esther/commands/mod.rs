//! The commands, one file each: what is typed behind `esther`.

use std::{
    fmt,
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use clap::{ArgMatches, FromArgMatches, Subcommand};
use novavoice::lead::PhoneNumber;

use crate::config::Config;

pub(crate) mod api;
pub(crate) mod call;
mod calls;
mod campaign;
mod check;
mod demo;
pub(crate) mod leads;
mod prompts;
mod replay;
pub(crate) mod serve;

/// What the program is asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Takes calls: HTTP, webhooks, media sockets and the dashboard (default)
    Serve,
    /// Shows it all without keys and without a network: leads, a campaign of simulated calls, bookings
    Demo(demo::Demo),
    /// Runs a recorded call journal through this build in simulated time
    Replay(replay::Replay),
    /// Says what is missing for real calls, item by item
    Check,
    /// Looks calls up
    #[command(subcommand)]
    Calls(calls::Calls),
    /// Looks leads up, and loads them
    #[command(subcommand)]
    Leads(leads::Leads),
    /// Previews, runs and steers campaigns
    #[command(subcommand)]
    Campaign(campaign::Campaign),
    /// Looks at the versions of the prompt, saves and steers them
    #[command(subcommand)]
    Prompts(prompts::Prompts),
    /// Places one call, follows what is said, and ends with its outcome
    Call(call::Call),
}

impl Command {
    /// The commands, beside the flags of the settings.
    pub(crate) fn add_to(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command).subcommand_required(false)
    }

    /// The command that stands on the command line; without one, to serve.
    pub(crate) fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand_name() {
            Some(_) => Self::from_arg_matches(matches),
            None => Ok(Self::Serve),
        }
    }

    /// Whether it needs nothing of this machine: then nothing of its settings counts.
    pub(crate) const fn stands_alone(&self) -> bool {
        matches!(self, Self::Demo(_))
    }

    /// Does it.
    pub(crate) fn run(self, config: Config) -> anyhow::Result<()> {
        match self {
            Self::Serve => on_ready_runtime(serve::run(config)),
            Self::Demo(demo) => on_runtime(demo.run(config)),
            Self::Replay(replay) => replay.run(&config),
            Self::Check => on_runtime(async move { check::run(&config).await }),
            Self::Calls(calls) => on_runtime(async move { calls::run(calls, &config).await }),
            Self::Leads(leads) => on_runtime(async move { leads::run(leads, &config).await }),
            Self::Prompts(prompts) => {
                on_runtime(async move { prompts::run(prompts, &config).await })
            }
            Self::Campaign(campaign) => on_runtime(campaign.run(config)),
            Self::Call(call) => on_runtime(call.run(config)),
        }
    }
}

fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Runs a service: the threads that will carry calls are ready for phone numbers before the first
/// one.
fn on_ready_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // The workers start first; later threads do what blocks.
    let workers = AtomicUsize::new(thread::available_parallelism().map_or(1, NonZero::get));
    let is_worker = move || {
        let one_less = |left: usize| left.checked_sub(1);
        workers.fetch_update(Relaxed, Relaxed, one_less).is_ok()
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(move || {
            if is_worker() {
                PhoneNumber::read_tables();
            }
        })
        .build()?
        .block_on(work)
}

/// Arguments that clap lets pass and the command does not: exit code 2.
#[derive(Debug)]
pub(crate) struct WrongUsage(pub(crate) String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

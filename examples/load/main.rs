//! How many calls one node carries: fake callers and a fake model around the real service.
//!
//! ```sh
//! cargo run --release --example load -- --calls 200 --seconds 60
//! ```
//!
//! Starts a fake Bedrock, the esther example against it as a process of its own, and simulated
//! Vonage calls of 50 frames a second each way, in turns; prints a table in Markdown. Everything
//! stays on loopback, and everything that was started ends with it. Exit code 0: no frame was
//! dropped and no rule broken; 1: something was; 2: wrong usage. Linux only: it reads `/proc`.
//!
//! Both fakes run in this process, so one clock times a frame at either end. Added latency is
//! what the service, the loopback and the fakes add to the speech itself: from the model's first
//! audio of a reply to the caller's first frame of it; from the caller's last word, plus the
//! silence that ends a turn, to the model's reply; and the sum of both.
#![allow(clippy::print_stdout, reason = "its output is a table")]

mod calls;
mod model;
mod report;
mod service;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use novavoice::testkit::vonage::{FakeVonage, Options};

use crate::{
    model::Model,
    report::{Report, Round, Sample},
    service::{Gauge, Service},
};

/// Puts one node of the service under load.
#[derive(Parser)]
#[command(about)]
struct Args {
    /// Calls at the same time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=5000))]
    calls: u16,
    /// How long all of them are up, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: u64,
    /// Calls placed per second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    per_second: u16,
    /// Rounds, one after another, to see whether memory comes back.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// How long to wait, in seconds, before memory is measured: after the start, and after the last
    /// call of a round. Shorter than 15, threads that idle are still there.
    #[arg(long, default_value_t = 15)]
    settle: u64,
    /// The service's binary. Default: the esther example, built in the profile of this program.
    #[arg(long)]
    esther: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let binary = match &args.esther {
        // The service starts in another directory.
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("cannot find {}", path.display()))?,
        None => service::build()?,
    };
    let dir = tempfile::tempdir().context("no temporary directory")?;
    let model = Model::start()?;
    let service = Service::start(&binary, dir.path(), &settings(args, &model, dir.path())?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let settle = Duration::from_secs(args.settle);
    std::thread::sleep(settle);
    let before = service.gauge().memory()?;

    let (mut rounds, mut after) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        match runtime.block_on(round(args, &service)) {
            Ok(round) => rounds.push(round),
            Err(error) => return Err(error.context(service.last_words())),
        }
        std::thread::sleep(settle);
        after.push(service.gauge().memory()?);
    }
    let last_words = service.last_words();
    let ended_well = service.stop(Duration::from_secs(20))?;

    let report = Report::new(&rounds, &model, before, after);
    println!("{report}");
    if !ended_well {
        println!("- the service did not end by itself with exit code 0");
    }
    let is_clean = report.is_clean() && ended_well;
    if !is_clean {
        eprintln!("{last_words}");
    }
    Ok(is_clean)
}

async fn round(args: &Args, service: &Service) -> anyhow::Result<Round> {
    let vonage = FakeVonage::new(Options {
        signature_secret: Some(SECRET.to_owned().into()),
        keep_audio: false,
        ..Options::new(service.url())
    });
    let gauge = service.gauge();
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let sampler = tokio::spawn(async move {
        let mut samples = vec![sample(gauge)?];
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = ticks.tick() => samples.push(sample(gauge)?),
                _ = &mut stopped => return Ok::<_, anyhow::Error>(samples),
            }
        }
    });
    let (talks, steady) = calls::run(
        &vonage,
        args.calls.into(),
        args.per_second.into(),
        Duration::from_secs(args.seconds),
    )
    .await;
    // The sampler is gone when the service is, and says so below.
    let _ = stop.send(());
    Ok(Round {
        talks,
        samples: sampler.await.context("the sampler failed")??,
        steady,
    })
}

fn sample(gauge: Gauge) -> anyhow::Result<Sample> {
    Ok(Sample {
        at: service::now(),
        cpu: gauge.cpu()?,
        own_cpu: Gauge::own().cpu()?,
        memory: gauge.memory()?,
    })
}

fn settings(args: &Args, model: &Model, dir: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let calls = usize::from(args.calls);
    let mut settings = model.settings(dir)?;
    settings.extend([
        // With room for rollovers, which need a second session for a moment.
        ("NOVA_SONIC_MAX_SESSIONS", (calls * 2 + 2).to_string()),
        ("MAX_CALLS", calls.to_string()),
        ("VONAGE_SIGNATURE_SECRET", SECRET.to_owned()),
        ("LEAD_STORE", "sqlite".to_owned()),
        ("CALL_STORE", "sqlite".to_owned()),
        ("DRAIN_SECONDS", "10".to_owned()),
        ("RUST_LOG", "warn".to_owned()),
    ]);
    Ok(settings)
}

const SECRET: &str = "signature-secret-of-the-load-generator-0123";

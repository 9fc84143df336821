//! Thousands of hours of random calls in simulated time, and the journals that CI replays.
//!
//! `cargo run --release --example soak -- run --hours 100000` plays random schedules on every
//! processor until that many hours of calls are through, checks every rule of
//! [`novavoice::testkit::schedule`], and prints what it saw. Idle stretches are stepped coarsely.
//! `-- one SEED` plays a single call and prints its script. `-- journals` writes the set in
//! `tests/journals` anew.

mod journals;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use clap::{Parser, Subcommand};
use novavoice::{
    conversation::Input,
    journal::Journal,
    model::ModelEvent,
    telephony::CallEvent,
    testkit::schedule::{Outcome, Schedule},
};

#[derive(Debug, Parser)]
#[command(name = "soak", about = "Random calls in simulated time")]
struct Arguments {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Plays random calls until so many hours of them are through
    Run {
        /// Hours of calls
        #[arg(long, default_value_t = 1_000)]
        hours: u64,
        /// Threads; one for each processor when unset
        #[arg(long)]
        threads: Option<usize>,
        /// The first call's seed; the others follow
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Calls of minutes in which something happens all the time, instead of calls of hours
        #[arg(long)]
        busy: bool,
    },
    /// Plays one call and prints it
    One {
        /// Its seed
        seed: u64,
        /// A busy call
        #[arg(long)]
        busy: bool,
    },
    /// Writes the journals that CI replays
    Journals {
        /// Where to
        #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/journals"))]
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().work {
        Work::Run {
            hours,
            threads,
            seed,
            busy,
        } => {
            let threads = threads.or_else(|| thread::available_parallelism().ok().map(Into::into));
            run(hours, threads.unwrap_or(1).max(1), seed, busy)
        }
        Work::One { seed, busy } => one(seed, busy),
        Work::Journals { folder } => match journals::write(&folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => {
                eprintln!("error: {failed:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn schedule(seed: u64, busy: bool) -> Schedule {
    if busy {
        Schedule::random(seed)
    } else {
        Schedule::long(seed)
    }
}

/// What all threads saw together.
#[derive(Debug, Default)]
struct Tally {
    next: AtomicU64,
    seconds: AtomicU64,
    calls: AtomicU64,
    heard: AtomicU64,
    fed: AtomicU64,
    played: AtomicU64,
    rollovers: AtomicU64,
    restarts: AtomicU64,
    cuts: AtomicU64,
    lines: AtomicU64,
    violations: AtomicU64,
    enough: AtomicBool,
}

impl Tally {
    fn add(&self, outcome: &Outcome) {
        let stats = &outcome.stats;
        for (counter, more) in [
            (&self.seconds, outcome.length.as_secs()),
            (&self.calls, 1),
            (&self.heard, stats.frames_received),
            (&self.fed, stats.frames_fed),
            (&self.played, stats.frames_played),
            (&self.rollovers, stats.rollovers),
            (&self.restarts, stats.restarts),
            (&self.cuts, stats.interruptions),
            (&self.lines, stats.utterances),
            (&self.violations, outcome.violations.len() as u64),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the machine took is what is measured"
)]
fn run(hours: u64, threads: usize, seed: u64, busy: bool) -> ExitCode {
    let (tally, began) = (Tally::default(), std::time::Instant::now());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !tally.enough.load(Ordering::Relaxed) {
                    let seed = seed + tally.next.fetch_add(1, Ordering::Relaxed);
                    let outcome = schedule(seed, busy).run();
                    for violation in &outcome.violations {
                        eprintln!("seed {seed}: {violation}");
                    }
                    tally.add(&outcome);
                    let enough = tally.seconds.load(Ordering::Relaxed) >= hours * 3_600
                        || tally.violations.load(Ordering::Relaxed) > MOST_VIOLATIONS;
                    tally.enough.fetch_or(enough, Ordering::Relaxed);
                }
            });
        }
    });
    report(&tally, began.elapsed())
}

fn report(tally: &Tally, took: Duration) -> ExitCode {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let hours = count(&tally.seconds) / 3_600;
    println!("call hours          {hours}");
    println!("calls               {}", count(&tally.calls));
    println!("frames of callers   {}", count(&tally.heard));
    println!("frames fed          {}", count(&tally.fed));
    println!("frames played       {}", count(&tally.played));
    println!("rollovers           {}", count(&tally.rollovers));
    println!("sessions restarted  {}", count(&tally.restarts));
    println!("replies cut         {}", count(&tally.cuts));
    println!("lines               {}", count(&tally.lines));
    println!("violations          {}", count(&tally.violations));
    let seconds = took.as_secs_f64();
    println!("took                {seconds:.1} s");
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = hours as f64 / seconds;
    println!("call hours a second {rate:.0}");
    if count(&tally.violations) == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(seed: u64, busy: bool) -> ExitCode {
    let schedule = schedule(seed, busy);
    println!("{schedule:#?}");
    let (outcome, journal) = schedule.record();
    if let Ok(journal) = Journal::read(&journal, None) {
        for (at, input) in journal.inputs() {
            let audio = matches!(
                input,
                Input::Tick
                    | Input::Call(CallEvent::Audio(_))
                    | Input::Model(_, ModelEvent::Audio(..))
            );
            if !audio {
                println!("{:9.3} {input:?}", at.as_secs_f64());
            }
        }
    }
    println!("{:?} after {:?}", outcome.ended, outcome.length);
    for violation in &outcome.violations {
        println!("{violation}");
    }
    if outcome.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// More of them say nothing new.
const MOST_VIOLATIONS: u64 = 200;

//! Greetings through the detector, and what came of it.

use std::{
    fmt::Write as _,
    io::Write as _,
    time::{Duration, Instant},
};

use novavoice::answer::{AnswerDetector, AnsweredBy, Config, Verdict};

use crate::greeting::Greeting;

/// One greeting, heard to the end and 4 s beyond.
struct Trial {
    greeting: Greeting,
    verdicts: Vec<Verdict>,
}

impl Trial {
    #[expect(clippy::disallowed_methods, reason = "any instant will do as a zero")]
    fn run(greeting: Greeting) -> Self {
        let zero = Instant::now();
        let mut detector = AnswerDetector::new(Config::default(), zero);
        let mut verdicts = Vec::new();
        let evidence = greeting.evidence();
        let end = evidence.last().map_or(Duration::ZERO, |(at, _)| *at) + AFTER;
        let mut sleep_until = |detector: &mut AnswerDetector, at: Instant| {
            while let Some(deadline) = detector.deadline().filter(|deadline| *deadline < at) {
                verdicts.extend(std::iter::from_fn(|| detector.poll(deadline)));
            }
            verdicts.extend(std::iter::from_fn(|| detector.poll(at)));
        };
        for (at, evidence) in evidence {
            sleep_until(&mut detector, zero + at);
            detector.handle(zero + at, evidence);
        }
        sleep_until(&mut detector, zero + end);
        Self { greeting, verdicts }
    }

    fn half(held_out: bool) -> Vec<Self> {
        Greeting::all()
            .into_iter()
            .filter(|greeting| greeting.is_held_out() == held_out)
            .map(Self::run)
            .collect()
    }

    fn is(&self, label: AnsweredBy) -> bool {
        self.greeting.label == label
    }

    fn last(&self) -> AnsweredBy {
        self.verdicts
            .last()
            .map_or(AnsweredBy::Uncertain, |verdict| verdict.answered_by)
    }

    fn first(&self) -> AnsweredBy {
        self.verdicts
            .first()
            .map_or(AnsweredBy::Uncertain, |verdict| verdict.answered_by)
    }

    /// How long after the greeting the callee was first taken for a person.
    fn wait(&self) -> Option<Duration> {
        let human = |verdict: &&Verdict| verdict.answered_by == AnsweredBy::Human;
        let found = self.verdicts.iter().find(human)?.at;
        Some(found.saturating_sub(self.greeting.waits_from()?))
    }
}

/// What came of one half.
struct Tally(Vec<Trial>);

impl Tally {
    fn of(&self, label: AnsweredBy) -> impl Iterator<Item = &Trial> {
        self.0.iter().filter(move |trial| trial.is(label))
    }

    fn accuracy(&self) -> f64 {
        share(&self.0, |trial| trial.is(trial.last()))
    }

    /// The share of the people for whom this held of any verdict.
    fn people(&self, ever: impl Fn(&Verdict) -> bool) -> f64 {
        let people: Vec<_> = self.of(AnsweredBy::Human).collect();
        share(&people, |trial| trial.verdicts.iter().any(&ever))
    }

    /// How long people waited, shortest first; those who were never taken for people waited
    /// for ever.
    fn waits(&self) -> Vec<Duration> {
        let wait = |trial: &Trial| trial.wait().unwrap_or(Duration::MAX);
        let mut waits: Vec<_> = self.of(AnsweredBy::Human).map(wait).collect();
        waits.sort();
        waits
    }

    fn report(&self, title: &str) -> String {
        let mut out = format!("\n{title}: {} greetings\n", self.0.len());
        let _ = write!(out, "{:<20}", "truth \\ verdict");
        for verdict in ANSWERS {
            let _ = write!(out, "{:>12}", short(verdict));
        }
        out.push('\n');
        for label in ANSWERS {
            let _ = write!(out, "{:<20}", label.as_str());
            for verdict in ANSWERS {
                let count = self.of(label).filter(|trial| trial.last() == verdict);
                let _ = write!(out, "{:>12}", count.count());
            }
            out.push('\n');
        }
        let waits = self.waits();
        let first = share(&self.0, |trial| trial.is(trial.first()));
        let _ = writeln!(
            out,
            "accuracy {:.1} % (of the first verdicts {:.1} %); people ever called a machine {:.1} %, \
             surely {:.1} %; people wait {:?} at the median, {:?} at p95, {:?} at most",
            100.0 * self.accuracy(),
            100.0 * first,
            100.0 * self.people(|verdict| verdict.answered_by.is_machine()),
            100.0 * self.people(Verdict::is_surely_a_machine),
            quantile(&waits, 50),
            quantile(&waits, 95),
            quantile(&waits, 100),
        );
        for trial in self.0.iter().filter(|trial| !trial.is(trial.last())) {
            let _ = writeln!(
                out,
                "  missed: {} ({}) for {}",
                trial.greeting.name,
                trial.greeting.label,
                trial.last()
            );
        }
        out
    }
}

#[test]
fn tuned() {
    let t = Tally(Trial::half(false));
    let r = t.report("the half that the rules were tuned on");
    std::io::stdout().write_all(r.as_bytes()).unwrap();
    for x in &t.0 {
        if !x.is(x.last())
            || x.is(AnsweredBy::Human)
                && x.verdicts
                    .iter()
                    .any(|v| v.answered_by != AnsweredBy::Human)
            || x.wait()
                .is_some_and(|w| x.is(AnsweredBy::Human) && w > Duration::from_millis(1200))
        {
            println!(
                "{} [{}]: {}",
                x.greeting.name, x.greeting.label, x.greeting.text
            );
            for v in &x.verdicts {
                println!(
                    "     {:?} {} ({}) {:.2} {:?}",
                    v.at, v.answered_by, v.likeliest, v.confidence, v.reasons
                );
            }
        }
    }
}

fn share<T>(of: &[T], is: impl Fn(&T) -> bool) -> f64 {
    of.iter().filter(|one| is(one)).count() as f64 / of.len() as f64
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

fn short(answer: AnsweredBy) -> &'static str {
    answer.as_str().trim_start_matches("machine-")
}

const ANSWERS: [AnsweredBy; 6] = [
    AnsweredBy::Human,
    AnsweredBy::MachineVm,
    AnsweredBy::MachineIvr,
    AnsweredBy::MachineScreening,
    AnsweredBy::MachineUnavailable,
    AnsweredBy::Uncertain,
];

const AFTER: Duration = Duration::from_secs(4);

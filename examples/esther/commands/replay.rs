//! `esther replay FILE`: runs a recorded call through this build.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use novavoice::{
    conversation::Config as Rules,
    journal::{self, Changes, Difference, Ending, Journal, JournalError, Report, Summary},
    transcript::Utterance,
};

use super::WrongUsage;
use crate::config::Config;

/// What to run, and how.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The journal of a call
    file: PathBuf,
    /// Print what this setting would have changed, as in `barge_in.min_ms=200`; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    what_if: Vec<String>,
    /// Print the words of the call, too
    #[arg(long)]
    words: bool,
}

impl Replay {
    /// Runs it and prints what came of it. An error where this build acts in another way.
    pub(crate) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let key = config.journals.key.as_ref();
        let file = self.file.display();
        let journal = Journal::open(&self.file, key).map_err(|failed| match failed {
            JournalError::Sealed => anyhow::anyhow!("{file}: {failed} (JOURNAL_KEY)"),
            failed => anyhow::Error::new(failed).context(format!("{file}")),
        })?;
        print!("{}", about(&journal));
        let same = journal::replay(&journal, None).map(|report| self.report(&report));
        if self.what_if.is_empty() {
            print!("{}", same.map_err(|first| self.difference(&first))?);
            return Ok(());
        }
        if let Err(first) = same {
            eprintln!(
                "note: this build does not act as was recorded; changes are counted from what \
                 it does\n{:#}",
                self.difference(&first)
            );
        }
        let rules = self.rules(&journal)?;
        print!("{}", self.changes(&journal::what_if(&journal, &rules)));
        Ok(())
    }

    /// The recorded settings with those that were asked for.
    fn rules(&self, journal: &Journal) -> anyhow::Result<Rules> {
        let mut rules = journal.header().config.clone();
        for change in &self.what_if {
            let Some((name, value)) = change.split_once('=') else {
                let expected = "expected NAME=VALUE, as in barge_in.min_ms=200";
                return Err(WrongUsage(format!("--what-if {change}: {expected}")).into());
            };
            journal::set_knob(&mut rules, name.trim(), value.trim())
                .map_err(|wrong| WrongUsage(format!("--what-if: {wrong}")))?;
        }
        Ok(rules)
    }

    fn report(&self, report: &Report) -> String {
        let mut text = format!(
            "the same: {} actions after {} inputs\n",
            report.actions, report.inputs
        );
        if self.words {
            text += &transcript(&report.lines);
        }
        text
    }

    fn difference(&self, first: &Difference) -> anyhow::Error {
        let mut text = format!("this build acts in another way {first}");
        if self.words {
            let shown = |noted: Option<String>| noted.unwrap_or_else(|| "nothing".to_owned());
            // Writing to a string does not fail.
            write!(text, "\n  recorded {}", shown(first.expected())).unwrap_or_default();
            write!(text, "\n  got      {}", shown(first.got())).unwrap_or_default();
        }
        anyhow::Error::msg(text)
    }

    fn changes(&self, changes: &Changes) -> String {
        if changes.changes.is_empty() {
            return "nothing would have changed\n".to_owned();
        }
        let mut text = String::new();
        for change in &changes.changes {
            text += &format!("{change}\n");
            if self.words {
                let sides = [("-", &change.before), ("+", &change.after)];
                for (sign, moment) in sides {
                    if let Some(moment) = moment {
                        text += &format!("      {sign} {}\n", moment.reveal());
                    }
                }
            }
        }
        text += "caller and model as recorded; they do not answer to the change\n";
        text + &figures(&changes.before, &changes.after)
    }
}

fn about(journal: &Journal) -> String {
    let header = journal.header();
    let ending = match journal.ending() {
        Ending::Complete => "",
        Ending::Lost => ", incomplete: the disk did not keep up",
        _ => ", torn: its process died",
    };
    format!(
        "call {} of {}, {:.1} s, recorded with {}{}{ending}\n",
        header.call,
        header.setup.started,
        journal.length().as_secs_f64(),
        header.recorded_with,
        if header.audio { ", with audio" } else { "" },
    )
}

fn transcript(lines: &[Utterance]) -> String {
    let line = |line: &Utterance| {
        let cut = if line.cut { " [cut]" } else { "" };
        format!("{}: {}{cut}\n", line.speaker.as_str(), line.text)
    };
    lines.iter().map(line).collect()
}

/// The figures that are others, as they were and as they would have been.
fn figures(before: &Summary, after: &Summary) -> String {
    let (old, new) = (&before.stats, &after.stats);
    let cut = |summary: &Summary| summary.lines.iter().filter(|line| line.cut).count() as u64;
    let rows = [
        ("replies cut short", old.interruptions, new.interruptions),
        (
            "false interruptions",
            old.false_interruptions,
            new.false_interruptions,
        ),
        ("frames to the model", old.frames_fed, new.frames_fed),
        ("frames dropped", old.frames_dropped, new.frames_dropped),
        ("frames to the caller", old.frames_played, new.frames_played),
        ("underruns", old.underruns, new.underruns),
        ("rollovers", old.rollovers, new.rollovers),
        ("restarts", old.restarts, new.restarts),
        ("lines", old.utterances, new.utterances),
        ("lines cut", cut(before), cut(after)),
    ];
    let changed = rows.iter().filter(|(_, old, new)| old != new);
    changed
        .map(|(name, old, new)| format!("{name:<22}{old:>8} -> {new}\n"))
        .collect()
}

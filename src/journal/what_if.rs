//! What a call would have been under other settings.

use std::{collections::VecDeque, fmt, time::Duration};

use super::{
    Entry, Journal, Noted,
    replay::{Player, Wakes},
};
use crate::{
    conversation::{Action, CallStats, Config},
    transcript::Utterance,
};

/// What other settings would have changed, action by action; frames of audio are summed up as
/// stretches.
///
/// What the caller and the model did stays as it was recorded: they do not answer to what would have
/// been another way. Read it as what this agent would have done with the same minutes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Changes {
    /// In the order of time.
    pub changes: Vec<Change>,
    /// The figures and the transcript as they were.
    pub before: Summary,
    /// As they would have been.
    pub after: Summary,
}

/// The outcome of a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The figures.
    pub stats: CallStats,
    /// The transcript.
    pub lines: Vec<Utterance>,
}

/// Something that the agent would have left, done, or done at another time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Change {
    /// As it was; `None`: it was not.
    pub before: Option<Moment>,
    /// As it would have been; `None`: it would not.
    pub after: Option<Moment>,
}

/// Something that the agent did. `Display` says it without anybody's words.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Moment {
    /// When, counted from the conversation's first instant.
    pub at: Duration,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Action(Noted),
    /// Frames for the caller, without a pause.
    Played(Duration),
}

impl Moment {
    /// What it was, words included. Keep it away from logs.
    #[must_use]
    pub fn reveal(&self) -> String {
        match &self.what {
            What::Action(noted) => noted.reveal(),
            What::Played(_) => self.to_string(),
        }
    }

    fn is_alike(&self, other: &Self) -> bool {
        match (&self.what, &other.what) {
            (What::Action(noted), What::Action(other)) => noted.matches(other),
            (What::Played(length), What::Played(other)) => length == other,
            (What::Action(_) | What::Played(_), _) => false,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Action(noted) => noted.fmt(f),
            What::Played(length) => write!(f, "play {:.2} s", length.as_secs_f64()),
        }
    }
}

/// With a minus what was, with a plus what would have been.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |moment: &Moment| moment.at.as_secs_f64();
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                write!(f, "~ {:9.3} s  {before}, at {:.3} s", at(before), at(after))
            }
            (Some(before), None) => write!(f, "- {:9.3} s  {before}", at(before)),
            (None, Some(after)) => write!(f, "+ {:9.3} s  {after}", at(after)),
            (None, None) => Ok(()),
        }
    }
}

/// Runs the journal's inputs under its own settings and under `config`, and compares what the agent
/// does.
#[must_use]
pub fn what_if(journal: &Journal, config: &Config) -> Changes {
    let (before, left) = run(journal, None);
    let (after, right) = run(journal, Some(config));
    Changes {
        changes: compare(&left, &right),
        before,
        after,
    }
}

fn run(journal: &Journal, config: Option<&Config>) -> (Summary, Vec<Moment>) {
    // Both runs wake up by the same rule, so that a stall of the recorded process is no change.
    let mut player = Player::new(journal, config, Wakes::Wanted);
    let (mut lines, mut moments) = (Vec::new(), Vec::new());
    let mut taken = VecDeque::new();
    player.drain(&mut taken);
    for entry in &journal.entries {
        if let Entry::Input(at, input) = entry {
            player.input(*at, input, &mut taken);
        }
        for taken in taken.drain(..) {
            let at = taken.moment.at;
            if let Action::Play(frame) = &taken.action {
                extend(&mut moments, at, frame.duration());
                continue;
            }
            if let Action::Record(line) = &taken.action {
                lines.push(line.clone());
            }
            if !matches!(taken.action, Action::Feed(..)) {
                let what = What::Action(taken.noted);
                moments.push(Moment { at, what });
            }
        }
    }
    let stats = player.call.stats();
    (Summary { stats, lines }, moments)
}

/// Adds a frame to the stretch that is being played, or begins one.
fn extend(moments: &mut Vec<Moment>, at: Duration, frame: Duration) {
    if let Some(Moment {
        at: began,
        what: What::Played(length),
    }) = moments.last_mut()
        && at <= *began + *length
    {
        *length += frame;
        return;
    }
    let what = What::Played(frame);
    moments.push(Moment { at, what });
}

/// The longest common sequence stays; what is left of both is what changed.
fn compare(left: &[Moment], right: &[Moment]) -> Vec<Change> {
    let same = |pair: &(&Moment, &Moment)| pair.0.is_alike(pair.1) && pair.0.at == pair.1.at;
    let head = left.iter().zip(right).take_while(same).count();
    let (left, right) = (&left[head..], &right[head..]);
    let tail = left.iter().rev().zip(right.iter().rev());
    let tail = tail.take_while(same).count();
    let (left, right) = (&left[..left.len() - tail], &right[..right.len() - tail]);

    let width = right.len() + 1;
    let mut changes = Vec::new();
    let (mut x, mut y) = (0, 0);
    if left.len().saturating_mul(width) <= MAX_TABLE {
        let mut common = vec![0_u32; (left.len() + 1) * width];
        for x in (0..left.len()).rev() {
            for y in (0..right.len()).rev() {
                common[x * width + y] = if left[x].is_alike(&right[y]) {
                    common[(x + 1) * width + y + 1] + 1
                } else {
                    common[(x + 1) * width + y].max(common[x * width + y + 1])
                };
            }
        }
        while x < left.len() && y < right.len() {
            if left[x].is_alike(&right[y]) {
                if left[x].at != right[y].at {
                    changes.push(change(Some(&left[x]), Some(&right[y])));
                }
                (x, y) = (x + 1, y + 1);
            } else if common[(x + 1) * width + y] >= common[x * width + y + 1] {
                changes.push(change(Some(&left[x]), None));
                x += 1;
            } else {
                changes.push(change(None, Some(&right[y])));
                y += 1;
            }
        }
    }
    let gone = left[x..].iter().map(|moment| change(Some(moment), None));
    let new = right[y..].iter().map(|moment| change(None, Some(moment)));
    changes.extend(gone.chain(new));
    changes.sort_by_key(Change::at);
    changes
}

fn change(before: Option<&Moment>, after: Option<&Moment>) -> Change {
    Change {
        before: before.cloned(),
        after: after.cloned(),
    }
}

impl Change {
    fn at(&self) -> Duration {
        let moment = self.before.as_ref().or(self.after.as_ref());
        moment.map_or(Duration::ZERO, |moment| moment.at)
    }
}

/// Cells of the table that finds the common sequence: 64 MB. Calls that differ in more are
/// listed one after the other.
const MAX_TABLE: usize = 16 * 1024 * 1024;

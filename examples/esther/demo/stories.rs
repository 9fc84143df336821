//! Who is on the phone, what they say, and what the model makes of it: data, in `stories.json`.

use std::collections::HashMap;

use anyhow::Context;
use novavoice::lead::PhoneNumber;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Everything that is simulated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stories {
    /// The message for an answering machine.
    pub(super) voicemail: String,
    /// What the model says when a tool did not give what it needs.
    pub(super) lost: String,
    stories: Vec<Story>,
}

/// One number, and what happens when it is called.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Story {
    phone: String,
    pub(super) reached: Reached,
    #[serde(default)]
    pub(super) turns: Vec<Turn>,
    /// When they hang up by themselves. Without it they wait for the agent to.
    pub(super) hangs_up: Option<Cue>,
}

/// Who or what is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reached {
    Person,
    /// An answering machine.
    Machine,
    /// A call screener.
    Screener,
    Busy,
    Nobody,
    OutOfService,
}

/// One line of theirs, and the model's answer to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Turn {
    #[serde(default)]
    pub(super) cue: Cue,
    /// Their words.
    #[serde(default)]
    pub(super) person: String,
    /// Tools that the model uses then, one after the other, each with its arguments.
    #[serde(default)]
    pub(super) does: Vec<(String, Map<String, Value>)>,
    /// What the model says then.
    pub(super) esther: Option<String>,
}

/// What they wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cue {
    /// The agent has said something and pauses.
    #[default]
    Pause,
    /// Nothing.
    AtOnce,
    /// The agent has talked for so many milliseconds: they talk over it.
    Over(u64),
    /// Nothing, and it is no line but the beep of a machine.
    Beep,
}

impl Stories {
    /// Those that come with the program.
    pub(super) fn load() -> anyhow::Result<Self> {
        serde_json::from_str(include_str!("stories.json")).context("stories.json")
    }

    /// Each story under the number that is called, in digits alone.
    pub(super) fn by_number(&self) -> anyhow::Result<HashMap<String, Story>> {
        let stories = self.stories.iter().map(|story| {
            let phone = PhoneNumber::parse(&story.phone).context("stories.json: a number")?;
            let digits = phone.reveal().trim_start_matches('+');
            Ok((digits.to_owned(), story.clone()))
        });
        stories.collect()
    }

    /// The turn that ends with these words, from whichever story: people may have said something
    /// else just before.
    pub(super) fn turn(&self, words: &str) -> Option<&Turn> {
        let mut turns = self.stories.iter().flat_map(|story| &story.turns);
        turns.find(|turn| !turn.person.is_empty() && words.ends_with(&turn.person))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_people_say_the_same_and_everybody_is_in_the_sample() {
        let stories = Stories::load().expect("readable");
        let numbers = stories.by_number().expect("numbers");
        assert_eq!(numbers.len(), stories.stories.len());
        let turns = || stories.stories.iter().flat_map(|story| &story.turns);
        let lines: Vec<_> = turns().map(|turn| &turn.person).collect();
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        let different: HashSet<_> = lines.iter().collect();
        assert_eq!(different.len(), lines.len(), "the model knows lines apart");
        for line in lines {
            let found = stories.turn(line).map(|turn| &turn.person);
            assert_eq!(found, Some(line), "no line ends with another one");
        }
        let sample = include_str!("../leads/sample.csv");
        for story in &stories.stories {
            assert!(sample.contains(&story.phone), "{}", story.phone);
        }
    }
}

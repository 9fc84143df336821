//! How the sessions of a call are opened, and how they were before that was changed.

use std::collections::VecDeque;

use crate::{conversation::Reconfigure, model::SessionSeed, tool::Tools};

/// The seed of the next session, and those before it.
#[derive(Debug)]
pub(super) struct Seeds {
    current: SessionSeed,
    before: VecDeque<SessionSeed>,
    /// All that the agent has; none for a model that uses none.
    tools: Tools,
}

impl Seeds {
    /// Sessions are opened with `first`, which is offered those of `tools` that are named;
    /// `None`: all.
    pub(super) fn new(mut first: SessionSeed, tools: Tools, offered: Option<&[String]>) -> Self {
        first.tools = tools.offered(offered);
        Self {
            current: first,
            before: VecDeque::new(),
            tools,
        }
    }

    pub(super) fn current(&self) -> SessionSeed {
        self.current.clone()
    }

    /// Changes the seed, or (`None`) takes the last change back.
    pub(super) fn configure(&mut self, change: Option<Reconfigure>) {
        let Some(change) = change else {
            if let Some(before) = self.before.pop_back() {
                self.current = before;
            }
            return;
        };
        if self.before.len() >= MAX_BEFORE {
            self.before.pop_front();
        }
        self.before.push_back(self.current.clone());
        if let Some(instructions) = change.instructions {
            self.current.instructions = instructions;
        }
        if let Some(voice) = change.voice {
            self.current.voice = Some(voice);
        }
        if let Some(names) = change.tools {
            self.current.tools = self.tools.offered(Some(&names));
        }
    }
}

/// Changes that can be taken back: those that no session has taken over yet, so rarely two.
const MAX_BEFORE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::SampleRate,
        call::CallId,
        tool::{NoArguments, Tool},
    };

    fn tool(name: &str) -> Tool {
        Tool::new(name, async |_, NoArguments {}| Ok(()))
    }

    #[test]
    fn changes_are_made_one_on_the_other_and_taken_back_one_by_one() {
        let first = SessionSeed::new(CallId::new("a"), "First.", SampleRate::Hz16000);
        let tools = Tools::new([tool("one"), tool("two")]);
        let mut seeds = Seeds::new(first, tools, Some(&["one".to_owned()]));
        let state = |seeds: &Seeds| {
            let seed = seeds.current();
            let names: Vec<_> = seed.tools.iter().map(|tool| tool.name.clone()).collect();
            (seed.instructions, seed.voice, names.concat())
        };
        let start = ("First.".to_owned(), None, "one".to_owned());
        assert_eq!(state(&seeds), start);
        seeds.configure(Some(Reconfigure {
            instructions: Some("Second.".to_owned()),
            ..Reconfigure::default()
        }));
        seeds.configure(Some(Reconfigure {
            voice: Some("amy".to_owned()),
            tools: Some(vec!["two".to_owned()]),
            ..Reconfigure::default()
        }));
        let changed = (
            "Second.".to_owned(),
            Some("amy".to_owned()),
            "two".to_owned(),
        );
        assert_eq!(state(&seeds), changed);
        seeds.configure(None);
        assert_eq!(state(&seeds).0, "Second.");
        seeds.configure(None);
        seeds.configure(None);
        assert_eq!(state(&seeds), start);
    }
}

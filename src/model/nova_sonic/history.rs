//! What was said before, in the shape in which Nova Sonic accepts it.
//!
//! The service ends a stream whose history begins with the assistant, is too long, or comes in
//! other roles than the two (Nova Sonic user guide, chat history).

use crate::{model::Said, transcript::Speaker};

use super::{capabilities::HistoryLimits, decode::is_interruption_marker};

/// One message of history: who said it, and all that they said in a row.
pub(super) struct Message {
    pub(super) speaker: Speaker,
    pub(super) text: String,
}

/// `said` as alternating messages that begin with the caller and keep `limits`; what does not
/// fit is cut from the oldest end, so that the newest words survive.
///
/// A conversation that the agent opened gets a line in front that says so: dropping the agent's
/// first words would make it greet again. A caller's line at the end stays what it is, history:
/// whoever wants it answered sends it as text or plays its audio again.
pub(super) fn shape(said: &[Said], limits: HistoryLimits) -> Vec<Message> {
    let mut messages = merge(said);
    if messages
        .first()
        .is_some_and(|m| m.speaker == Speaker::Agent)
    {
        messages.insert(
            0,
            Message {
                speaker: Speaker::Caller,
                text: OPENING.to_owned(),
            },
        );
    }
    for message in &mut messages {
        keep_tail(&mut message.text, limits.message);
    }
    let mut room = limits.total;
    let kept = messages
        .iter()
        .rev()
        .take_while(|message| {
            let fits = message.text.len() <= room;
            room = room.saturating_sub(message.text.len());
            fits
        })
        .count();
    let mut oldest = messages.len() - kept;
    if messages
        .get(oldest)
        .is_some_and(|m| m.speaker == Speaker::Agent)
    {
        oldest += 1;
    }
    messages.split_off(oldest)
}

/// Joins what one side said in a row; leaves out what is no words.
fn merge(said: &[Said]) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for line in said {
        let text = line.text.trim();
        if text.is_empty() || is_interruption_marker(text) {
            continue;
        }
        match messages.last_mut() {
            Some(last) if last.speaker == line.speaker => {
                last.text.push(' ');
                last.text.push_str(text);
            }
            _ => messages.push(Message {
                speaker: line.speaker,
                text: text.to_owned(),
            }),
        }
    }
    messages
}

/// Cuts `text` from the front to at most `limit` bytes, between two characters.
fn keep_tail(text: &mut String, limit: usize) {
    if text.len() > limit {
        let from = text.ceil_char_boundary(text.len() - limit);
        text.replace_range(..from, "");
    }
}

/// Stands for the caller where the agent spoke first.
const OPENING: &str = "(The call has just been connected.)";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Speaker::{Agent, Caller};

    const LIMITS: HistoryLimits = HistoryLimits {
        message: 51_200,
        total: 204_800,
    };

    fn said(speaker: Speaker, text: &str) -> Said {
        Said {
            speaker,
            text: text.to_owned(),
        }
    }

    fn shaped(said: &[Said]) -> Vec<(Speaker, String)> {
        shape(said, LIMITS)
            .into_iter()
            .map(|m| (m.speaker, m.text))
            .collect()
    }

    /// Nova Sonic checklist 14.
    #[test]
    fn lines_of_one_side_in_a_row_become_one_message() {
        assert_eq!(
            shaped(&[
                said(Caller, "Hello?"),
                said(Caller, " Anyone there? "),
                said(Agent, "Good morning."),
                said(Agent, "How can I help?"),
                said(Caller, "I have a question."),
            ]),
            [
                (Caller, "Hello? Anyone there?".to_owned()),
                (Agent, "Good morning. How can I help?".to_owned()),
                (Caller, "I have a question.".to_owned()),
            ]
        );
    }

    /// Nova Sonic checklist 14: never the assistant first.
    #[test]
    fn an_opening_by_the_agent_is_kept_behind_a_line_of_the_caller() {
        let messages = shaped(&[said(Agent, "Good morning, this is Esther.")]);
        assert_eq!(messages[0], (Caller, OPENING.to_owned()));
        assert_eq!(messages[1].0, Agent);
    }

    /// Nova Sonic checklist 14: no marker text.
    #[test]
    fn the_interruption_marker_is_no_history() {
        assert_eq!(
            shaped(&[
                said(Caller, "Stop."),
                said(Agent, "{ \"interrupted\" : true }"),
                said(Agent, "  "),
            ]),
            [(Caller, "Stop.".to_owned())]
        );
    }

    #[test]
    fn nothing_said_is_no_history() {
        assert!(shape(&[], LIMITS).is_empty());
    }

    #[test]
    fn the_newest_words_survive_the_limits() {
        let limits = HistoryLimits {
            message: 8,
            total: 14,
        };
        let messages = shape(
            &[
                said(Caller, "first"),
                said(Agent, "second"),
                said(Caller, "third ééé"),
                said(Agent, "fourth"),
            ],
            limits,
        );
        // The last 8 bytes of the 12 of "third ééé"; with "fourth" that makes 14.
        assert_eq!(messages[0].text, "d ééé");
        assert_eq!(messages[1].text, "fourth");
        assert_eq!(messages.len(), 2);
    }

    proptest! {
        /// Nova Sonic checklist 14.
        #[test]
        fn whatever_was_said_keeps_the_rules(
            lines in prop::collection::vec((any::<bool>(), ".{0,40}"), 0..40),
            message in 40_usize..200,
            total in 40_usize..600,
        ) {
            let lines: Vec<Said> = lines
                .iter()
                .map(|(caller, text)| said(if *caller { Caller } else { Agent }, text))
                .collect();
            let messages = shape(&lines, HistoryLimits { message, total });
            prop_assert!(messages.iter().map(|m| m.text.len()).sum::<usize>() <= total);
            for (at, m) in messages.iter().enumerate() {
                let expected = if at % 2 == 0 { Caller } else { Agent };
                prop_assert_eq!(m.speaker, expected);
                prop_assert!(!m.text.is_empty() && m.text.len() <= message);
            }
        }
    }
}

//! When somebody who was not reached is called again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::call::Outcome;

/// What is done after each outcome; one that is not named is final.
///
/// Written as `{"busy":{"afterMinutes":240,"max":2}, …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a table")]
pub struct Retries(pub BTreeMap<Outcome, Retry>);

/// Another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a delay and a cap")]
pub struct Retry {
    /// How many minutes after the call ended.
    pub after_minutes: u32,
    /// How many calls may follow for this outcome.
    pub max: u32,
}

impl Default for Retries {
    /// Busy and unanswered numbers twice more after four hours; machines, screeners and failures
    /// once, a day later. The delays agree with the default rules on attempts.
    fn default() -> Self {
        let table = [
            (Outcome::Busy, 240, 2),
            (Outcome::NoAnswer, 240, 2),
            (Outcome::Voicemail, 1_440, 1),
            (Outcome::Screened, 1_440, 1),
            (Outcome::Failed, 1_440, 1),
        ];
        let retry = |(outcome, after_minutes, max)| (outcome, Retry { after_minutes, max });
        Self(table.into_iter().map(retry).collect())
    }
}

impl Retries {
    /// When the next call is due after one that ended at `ended` with `outcome`, which was the
    /// `nth` of the lead in this campaign to end so (1 for the first); `None` when there is none.
    #[must_use]
    pub fn next(&self, outcome: Outcome, nth: u32, ended: Timestamp) -> Option<Timestamp> {
        let retry = self.0.get(&outcome).filter(|retry| nth <= retry.max)?;
        let after = SignedDuration::from_mins(i64::from(retry.after_minutes));
        ended.checked_add(after).ok()
    }

    /// Outcomes after which a call must not be repeated: what the person said is final.
    #[must_use]
    pub fn against_the_person(&self) -> Vec<Outcome> {
        let said = [
            Outcome::Scheduled,
            Outcome::NotInterested,
            Outcome::WrongNumber,
            Outcome::DoNotCall,
        ];
        said.into_iter()
            .filter(|outcome| self.0.get(outcome).is_some_and(|retry| retry.max > 0))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn outcomes_have_a_delay_and_a_cap_of_their_own() {
        let ended: Timestamp = "2026-06-22T16:00:00Z".parse().unwrap();
        let retries = Retries::default();
        assert_eq!(
            retries.next(Outcome::Busy, 1, ended),
            Some("2026-06-22T20:00:00Z".parse().unwrap())
        );
        assert!(retries.next(Outcome::Busy, 2, ended).is_some());
        assert_eq!(retries.next(Outcome::Busy, 3, ended), None);
        assert_eq!(retries.next(Outcome::Completed, 1, ended), None);
    }

    #[test]
    fn a_table_is_written_by_the_words_of_outcomes() {
        let retries: Retries =
            serde_json::from_str(r#"{"no_answer":{"afterMinutes":30,"max":1}}"#).unwrap();
        assert_eq!(retries.0.len(), 1);
        for wrong in [
            r#"{"no answer":{"afterMinutes":30,"max":1}}"#,
            r#"{"busy":{"afterMinutes":-1,"max":1}}"#,
            r#"{"busy":{"after":1}}"#,
        ] {
            assert!(serde_json::from_str::<Retries>(wrong).is_err(), "{wrong}");
        }
        let insisting: Retries =
            serde_json::from_str(r#"{"do_not_call":{"afterMinutes":30,"max":1}}"#).unwrap();
        assert_eq!(insisting.against_the_person(), [Outcome::DoNotCall]);
    }

    proptest! {
        #[test]
        fn every_chain_of_retries_ends(after in 0_u32..100_000, max in 0_u32..20, outcomes in prop::collection::vec(0_usize..3, 0..100)) {
            const WORDS: [Outcome; 3] = [Outcome::Busy, Outcome::NoAnswer, Outcome::Failed];
            let retry = Retry { after_minutes: after, max };
            let retries = Retries(WORDS.into_iter().map(|outcome| (outcome, retry)).collect());
            let mut counts = [0_u32; 3];
            let mut now = Timestamp::UNIX_EPOCH;
            let mut calls = 0_u32;
            for which in outcomes {
                calls += 1;
                counts[which] += 1;
                match retries.next(WORDS[which], counts[which], now) {
                    Some(next) => {
                        prop_assert_eq!(next.duration_since(now), SignedDuration::from_mins(i64::from(after)));
                        now = next;
                    }
                    None => break,
                }
            }
            prop_assert!(calls <= 3 * max + 1);
        }
    }
}

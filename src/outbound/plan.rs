//! What a campaign is: whom it calls, when, how fast and how often.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use super::{Attempts, ConsentRule, NeverOpen, Retries, Rules, Window};
use crate::{call::Outcome, lead::LeadFilter};

/// A campaign as an operator writes it; everything but its name has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Plan {
    /// What people call it.
    pub name: String,
    /// Whom it calls. Default: everybody.
    #[serde(default)]
    pub filter: LeadFilter,
    /// When.
    #[serde(default)]
    pub window: Window,
    /// How fast.
    #[serde(default)]
    pub pacing: Pacing,
    /// How often.
    #[serde(default)]
    pub attempts: AttemptLimits,
    /// When somebody is called again.
    #[serde(default)]
    pub retries: Retries,
    /// What is done when a machine answers.
    #[serde(default)]
    pub voicemail: Voicemail,
    /// What a day may cost. Default: no limit.
    #[serde(default)]
    pub budget: Budget,
    /// Who must have agreed to be called. Default: whoever must for every call of the operator's,
    /// whose rule no campaign softens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentRule>,
    /// The version of the prompt, for every call of it. Default: the one that is active when a
    /// call begins.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number_or_text"
    )]
    pub prompt_version: Option<String>,
}

/// How fast a campaign calls, over all nodes together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Pacing {
    /// New calls per second; may be less than one. Default: 1, a third of what a carrier's
    /// account usually allows.
    pub calls_per_second: f64,
    /// Calls at the same time. Default: 10, half of the sessions that Nova Sonic's quota allows,
    /// so that callers and rollovers find room.
    pub max_concurrent: NonZeroU32,
    /// How long the campaign takes to come up to both. Default: at once.
    pub ramp_seconds: u32,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            calls_per_second: 1.0,
            max_concurrent: const { NonZeroU32::new(10).expect("ten is not zero") },
            ramp_seconds: 0,
        }
    }
}

/// How often somebody may be called; see [`Attempts`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the members of Attempts")]
#[non_exhaustive]
pub struct AttemptLimits {
    pub total: u32,
    pub per_day: u32,
    pub min_hours_between: f64,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        let Attempts {
            total,
            per_day,
            pause,
        } = Attempts::default();
        Self {
            total,
            per_day,
            min_hours_between: pause.as_secs_f64() / HOUR,
        }
    }
}

/// What is done when a machine answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "a driver must obey each")]
pub enum Voicemail {
    /// Hang up.
    #[default]
    Hangup,
    /// Leave a message after the beep.
    Message,
    /// Talk on as with a person.
    Continue,
}

/// What one day (UTC) may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Budget {
    /// Calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_day: Option<u32>,
    /// What the model costs, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<f64>,
}

/// Why a campaign cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPlan {
    /// No name.
    #[error("name: give the campaign one, of at most {MAX_NAME} characters")]
    Name,
    /// The window.
    #[error("window: {0}")]
    Window(#[from] NeverOpen),
    /// The pace.
    #[error("pacing.callsPerSecond: give a number above 0 and up to {MAX_RATE}")]
    Rate,
    /// The pause.
    #[error("attempts.minHoursBetween: give 0 or more hours, up to a year")]
    Pause,
    /// No attempts.
    #[error("attempts: total and perDay must be at least 1")]
    NoAttempts,
    /// Retries against somebody's word.
    #[error("retries.{}: nobody is called again after this", .0.as_str())]
    Retry(Outcome),
    /// The dollars.
    #[error("budget.usdPerDay: give 0 or more dollars")]
    Dollars,
}

impl Plan {
    /// A campaign with every default.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            filter: LeadFilter::default(),
            window: Window::default(),
            pacing: Pacing::default(),
            attempts: AttemptLimits::default(),
            retries: Retries::default(),
            voicemail: Voicemail::default(),
            budget: Budget::default(),
            consent: None,
            prompt_version: None,
        }
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<BadPlan> {
        let name = self.name.trim();
        let rate = self.pacing.calls_per_second;
        let hours = self.attempts.min_hours_between;
        let dollars = self.budget.usd_per_day;
        let mut problems = Vec::new();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            problems.push(BadPlan::Name);
        }
        problems.extend(self.window.validate().err().map(BadPlan::Window));
        if !(rate > 0.0 && rate <= MAX_RATE) {
            problems.push(BadPlan::Rate);
        }
        if !(0.0..=MAX_HOURS).contains(&hours) {
            problems.push(BadPlan::Pause);
        }
        if self.attempts.total == 0 || self.attempts.per_day == 0 {
            problems.push(BadPlan::NoAttempts);
        }
        problems.extend(
            self.retries
                .against_the_person()
                .into_iter()
                .map(BadPlan::Retry),
        );
        if dollars.is_some_and(|dollars| !(dollars.is_finite() && dollars >= 0.0)) {
            problems.push(BadPlan::Dollars);
        }
        problems
    }

    /// The rules for its calls, where `consent` holds for every call.
    #[must_use]
    pub fn rules(&self, consent: ConsentRule) -> Rules {
        Rules {
            window: self.window.clone(),
            attempts: Attempts {
                total: self.attempts.total,
                per_day: self.attempts.per_day,
                pause: Duration::try_from_secs_f64(self.attempts.min_hours_between * HOUR)
                    .unwrap_or(Duration::MAX),
            },
            consent: self.consent.unwrap_or_default().max(consent),
        }
    }
}

/// Versions are numbers, and may be written as texts.
fn number_or_text<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "promptVersion is a number")]
    enum Written {
        Number(u64),
        Text(String),
    }
    Ok(Option::deserialize(reader)?.map(|written| match written {
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    }))
}

const HOUR: f64 = 3_600.0;
const MAX_NAME: usize = 200;
const MAX_RATE: f64 = 1_000.0;
const MAX_HOURS: f64 = 24.0 * 366.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_enough() {
        let plan: Plan = serde_json::from_value(json!({"name": "Fall"})).unwrap();
        assert_eq!(plan, Plan::new("Fall"));
        assert_eq!(plan.problems(), []);
        assert_eq!(plan.rules(ConsentRule::None), Rules::default());
    }

    #[test]
    fn every_member_of_the_interface_is_kept() {
        let whole = json!({
            "name": "Fall",
            "filter": {"leadStatus": "New", "ownerAlias": "mike", "callStatus": "not_called", "state": "TX"},
            "window": {"days": ["mon", "sat"], "start": "10:00", "end": "16:30"},
            "pacing": {"callsPerSecond": 0.5, "maxConcurrent": 3, "rampSeconds": 60},
            "attempts": {"total": 3, "perDay": 1, "minHoursBetween": 20.0},
            "retries": {"busy": {"afterMinutes": 30, "max": 2}},
            "voicemail": "message",
            "budget": {"callsPerDay": 100, "usdPerDay": 12.5},
            "consent": "mobile",
            "promptVersion": "4",
        });
        let plan: Plan = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(plan.problems(), []);
        assert_eq!(serde_json::to_value(&plan).unwrap(), whole);
        let mut numbered = whole;
        numbered["promptVersion"] = 4.into();
        let again: Plan = serde_json::from_value(numbered).unwrap();
        assert_eq!(again, plan);
    }

    #[test]
    fn a_campaign_may_ask_for_more_consent_and_never_for_less() {
        use ConsentRule::{All, Mobile, None};
        for (own, operator, holds) in [
            (Option::None, Mobile, Mobile),
            (Some(None), Mobile, Mobile),
            (Some(All), Mobile, All),
            (Some(Mobile), None, Mobile),
        ] {
            let mut plan = Plan::new("Fall");
            plan.consent = own;
            assert_eq!(plan.rules(operator).consent, holds);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let plan: Plan = serde_json::from_value(json!({
            "name": " ",
            "window": {"days": []},
            "pacing": {"callsPerSecond": 0.0},
            "attempts": {"total": 0, "minHoursBetween": -1.0},
            "retries": {"wrong_number": {"afterMinutes": 1, "max": 1}},
            "budget": {"usdPerDay": -1.0},
        }))
        .unwrap();
        let problems: Vec<String> = plan.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 7, "{problems:#?}");
        for unreadable in [
            json!({}),
            json!({"name": "x", "pacing": {"maxConcurrent": 0}}),
            json!({"name": "x", "voicemail": "shout"}),
            json!({"name": "x", "filters": {}}),
            json!({"name": "x", "promptVersion": [4]}),
        ] {
            assert!(
                serde_json::from_value::<Plan>(unreadable.clone()).is_err(),
                "{unreadable}"
            );
        }
    }
}

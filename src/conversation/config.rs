//! The knobs of a conversation, each with the reason for its default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a conversation behaves. Start from [`Config::default`] and assign what differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Config {
    /// How far ahead of the ear reply audio is sent. Default: 400 ms. It covers one TCP
    /// retransmission on a path of 200 ms, and keeps the carrier's buffer nearly empty, so that
    /// "heard" is known to tens of milliseconds and a late `clear` costs little.
    pub lead: Duration,
    /// How long the caller's audio may pause before the model gets silence instead. Default:
    /// 60 ms: three frames, more than ordinary jitter, far less than the gap of 1 s that would
    /// trouble a model's end-pointing.
    pub fill_after: Duration,
    /// How far the model's audio may run ahead of real time before frames without voice are left
    /// out. Default: 1 s: a burst after a network stall passes untouched, a client whose clock
    /// runs fast does not pile up delay.
    pub surplus: Duration,
    /// How much caller audio is kept while a session opens; the oldest goes first. Default: 3 s:
    /// a slow open with a caller who says hello, and the longest burst that models are known to
    /// take.
    pub hold: Duration,
    /// When the caller speaks over the agent.
    pub barge_in: BargeIn,
    /// How long final text is awaited once a reply has been heard; then its caption counts.
    /// Default: 10 s: Nova Sonic's comes up to 9 s late.
    pub final_text_wait: Duration,
    /// How long more final text is awaited once a reply was cut. Default: 1 s: after a barge-in
    /// the sentences that were not spoken have none.
    pub cut_text_wait: Duration,
    /// How long an utterance of the caller stays open for more text. Default: 1.5 s; the agent's
    /// reply closes it sooner.
    pub caller_text_wait: Duration,
    /// How long more keys are awaited before the model is told of them. Default: 700 ms.
    pub keys_wait: Duration,
    /// How long a tool may run before the agent says its
    /// [`filler`](crate::tool::ToolSpec::filler). Default: 2 s, a pause that people do not notice
    /// as one.
    pub tool_filler_after: Duration,
    /// A leg from which nothing came for this long is given up. Default: 5 minutes.
    pub no_traffic: Duration,
    /// How long the agent's last words may take before it hangs up all the same. Default: 20 s:
    /// longer than any reply under 25 words.
    pub last_words: Duration,
    /// How long a mark may be overdue before the carrier's buffer counts as played. Default: 2 s.
    pub mark_overdue: Duration,
    /// How long nothing at all may come from the model once the caller has spoken; then its
    /// session is replaced, once in a minute. Default: 8 s: words that were understood come within
    /// two seconds, and a stream that is dead in one direction is noticed no other way.
    pub no_sign: Duration,
    /// What is done about a caller who says nothing.
    pub idle: Idle,
    /// How long a call may last; the agent is told to come to an end a little before. Default:
    /// without limit.
    pub max_call: Option<Duration>,
    /// How long before that the agent is told. Default: 30 s: a sentence, an answer, a goodbye.
    pub wrap_up: Duration,
    /// What it is told then.
    pub wrap_up_text: String,
    /// How long a model session may take to close by the book, and tools that must not stop half
    /// way to finish, once the leg is gone. Default: 6 s: Nova Sonic's provider gives up after 5.
    pub close: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lead: Duration::from_millis(400),
            fill_after: Duration::from_millis(60),
            surplus: Duration::from_secs(1),
            hold: Duration::from_secs(3),
            barge_in: BargeIn::default(),
            final_text_wait: Duration::from_secs(10),
            cut_text_wait: Duration::from_secs(1),
            caller_text_wait: Duration::from_millis(1_500),
            keys_wait: Duration::from_millis(700),
            tool_filler_after: Duration::from_secs(2),
            no_traffic: Duration::from_secs(300),
            last_words: Duration::from_secs(20),
            mark_overdue: Duration::from_secs(2),
            no_sign: Duration::from_secs(8),
            idle: Idle::default(),
            max_call: None,
            wrap_up: Duration::from_secs(30),
            wrap_up_text: "(The time for this call is nearly over. Come to a courteous end now.)"
                .to_owned(),
            close: Duration::from_secs(6),
        }
    }
}

/// What is done about a caller who says nothing: two nudges, a goodbye, and the end. Mute and hold
/// stop it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Idle {
    /// After how much silence the agent asks whether somebody is there; twice. Default: never,
    /// since what to say is the application's.
    pub nudge: Option<Duration>,
    /// After how much silence of the caller the agent says goodbye and hangs up. Default: never.
    pub hang_up: Option<Duration>,
    /// What makes the model ask.
    pub nudge_text: String,
    /// What makes the model say goodbye.
    pub goodbye_text: String,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            nudge: None,
            hang_up: None,
            nudge_text: "(The caller has said nothing for a while. Ask in a few words whether they are still there.)".to_owned(),
            goodbye_text: "(The caller does not answer any more. Say goodbye in one short sentence.)".to_owned(),
        }
    }
}

/// When the caller speaks over the agent, as the local voice detector hears it.
///
/// The detector can only pause: playout stops at once and goes on from the same sample when
/// nothing confirms the barge-in. The model's own interrupt is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BargeIn {
    /// Whether the local detector may pause playout. Default: yes.
    pub local: bool,
    /// How long the detector must hear the caller before playout pauses. Default: 350 ms. The
    /// default detector goes on hearing a voice for some 200 ms after it has ended, so bursts
    /// under about 200 ms, which are coughs, clicks and echo, do not pause. Each pause that
    /// nothing confirmed doubles the time, up to sixteen times it; a confirmed one resets it.
    pub min: Duration,
    /// How long after the caller stopped the model may still confirm. Default: 900 ms.
    pub confirm: Duration,
    /// The longest pause; noise that never ends must not silence the agent. Default: 4 s.
    pub max_pause: Duration,
}

impl Default for BargeIn {
    fn default() -> Self {
        Self {
            local: true,
            min: Duration::from_millis(350),
            confirm: Duration::from_millis(900),
            max_pause: Duration::from_secs(4),
        }
    }
}

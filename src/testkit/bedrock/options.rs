//! How the fake service behaves.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    fault::{Fault, Quirks, Refusal, When},
    hearing::Hearing,
    voice::Voice,
};

/// Settings of a fake service. Every field has a default that resembles the real one.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with struct update syntax; the testkit is outside semver"
)]
pub struct Options {
    /// The loopback port. Default 0: any free one.
    pub port: u16,
    /// The region that requests must be signed for. Default `us-east-1`.
    pub region: String,
    /// The only access key that is known.
    pub access_key: String,
    /// Its secret.
    pub secret: String,
    /// The session token that must come with it. Default: none may come.
    pub session_token: Option<String>,
    /// Makes the service's own clock run faster: the session and idle limits, thinking time and
    /// the lag of FINAL text are divided by it. Default 1.
    pub time_scale: f64,
    /// Seconds of audio per second of real time, both ways: for callers that feed recorded audio
    /// faster than it was spoken. Default 1.
    pub audio_speed: f64,
    /// The age at which a session ends with `ModelTimeoutException`. Default 480 s.
    pub session_limit: Duration,
    /// How long neither audio nor interactive text may be missing. Default 55 s.
    pub idle_limit: Duration,
    /// The longest gap between two `audioInput` events, in audio time. Default 1 s.
    pub audio_gap: Duration,
    /// How far caller audio may run ahead of real time. Default 3 s: a rollover's replay.
    pub audio_burst: Duration,
    /// Sessions that may be open at once; one more is refused with 429. Default: no limit.
    pub max_sessions: Option<usize>,
    /// SETTINGS_MAX_CONCURRENT_STREAMS of each connection. Default 1000, which is no limit.
    pub max_concurrent_streams: u32,
    /// Keeps the caller's audio of every session, 32 kB/s at 16 kHz. Default true; switch it off
    /// for load tests.
    pub keep_audio: bool,
    /// What a session does when no [`script`](Self::script) says otherwise.
    pub behaviour: Behaviour,
    /// Decides per session. Default: none.
    pub script: Option<Script>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            region: "us-east-1".into(),
            access_key: "AKIDFAKEBEDROCK".into(),
            secret: "fake-bedrock-secret".into(),
            session_token: None,
            time_scale: 1.0,
            audio_speed: 1.0,
            session_limit: Duration::from_secs(480),
            idle_limit: Duration::from_secs(55),
            audio_gap: Duration::from_secs(1),
            audio_burst: Duration::from_secs(3),
            max_sessions: None,
            max_concurrent_streams: 1000,
            keep_audio: true,
            behaviour: Behaviour::default(),
            script: None,
        }
    }
}

impl Options {
    /// Decides per session by its index: requests count from 0, refused ones included.
    #[must_use]
    pub fn on_session<F>(mut self, script: F) -> Self
    where
        F: Fn(usize) -> SessionScript + Send + Sync + 'static,
    {
        self.script = Some(Script::new(move |opening| script(opening.index)));
        self
    }

    pub(super) fn script_of(&self, opening: &Opening<'_>) -> SessionScript {
        match &self.script {
            Some(script) => (script.0)(opening),
            None => SessionScript {
                behaviour: self.behaviour.clone(),
                ..SessionScript::default()
            },
        }
    }

    /// A span of service time, in real time.
    pub(super) fn service(&self, span: Duration) -> Duration {
        span.div_f64(self.time_scale)
    }

    /// A span of audio, in real time.
    pub(super) fn audio(&self, span: Duration) -> Duration {
        span.div_f64(self.audio_speed)
    }
}

/// A request for a session, as a [`Script`] sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Opening<'a> {
    /// Counted from 0, refused ones included.
    pub index: usize,
    /// The id of the model, decoded.
    pub model: &'a str,
}

impl<'a> Opening<'a> {
    pub(super) fn new(index: usize, model: &'a str) -> Self {
        Self { index, model }
    }
}

/// Decides what each session does.
#[derive(Clone)]
pub struct Script(Arc<dyn Fn(&Opening<'_>) -> SessionScript + Send + Sync>);

impl Script {
    /// A decision by index and model.
    pub fn new<F>(decide: F) -> Self
    where
        F: Fn(&Opening<'_>) -> SessionScript + Send + Sync + 'static,
    {
        Self(Arc::new(decide))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

/// What one session does.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with struct update syntax; the testkit is outside semver"
)]
pub struct SessionScript {
    /// Whether and how it answers.
    pub behaviour: Behaviour,
    /// When response headers go out.
    pub headers: Headers,
    /// Refuses the request.
    pub refuse: Option<Refusal>,
    /// What goes wrong, and when. Each strikes once.
    pub faults: Vec<(When, Fault)>,
    /// Awkward habits.
    pub quirks: Quirks,
}

impl SessionScript {
    /// Converses as `dialogue` says.
    #[must_use]
    pub fn converse(dialogue: Dialogue) -> Self {
        Self {
            behaviour: Behaviour::Converse(dialogue),
            ..Self::default()
        }
    }

    /// Says nothing by itself: a test drives it through its
    /// [`SessionHandle`](super::SessionHandle).
    #[must_use]
    pub fn by_hand() -> Self {
        Self {
            behaviour: Behaviour::ByHand,
            ..Self::default()
        }
    }

    /// Refuses the request.
    #[must_use]
    pub fn refuse(refusal: Refusal) -> Self {
        Self {
            refuse: Some(refusal),
            ..Self::default()
        }
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, when: When, fault: Fault) -> Self {
        self.faults.push((when, fault));
        self
    }

    /// Sets when headers go out.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Sets awkward habits.
    #[must_use]
    pub fn quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = quirks;
        self
    }
}

/// When response headers go out. A client must open with each but the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Headers {
    /// Once the first input frame is there.
    #[default]
    FirstFrame,
    /// At once.
    AtOnce,
    /// Once the SYSTEM block is complete.
    AfterSystem,
    /// Never.
    Never,
}

/// Whether and how a session answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Behaviour {
    /// Hears the caller's turns and answers them.
    Converse(Dialogue),
    /// Nothing by itself.
    ByHand,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::Converse(Dialogue::default())
    }
}

/// A scripted conversation.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with struct update syntax; the testkit is outside semver"
)]
pub struct Dialogue {
    /// What the agent answers, in order; starts again at the end. Empty: it never answers.
    pub replies: Vec<Reply>,
    /// What the caller is heard to say, in order; after the last, `caller words 5` and so on,
    /// counted from 1.
    pub caller: Vec<String>,
    /// The level from which audio is speech, as RMS of 16-bit samples. Default 500.
    pub threshold: u16,
    /// Speech shorter than this is noise. Default 100 ms.
    pub min_speech: Duration,
    /// The silence that ends a turn, measured in the audio itself. Default 500 ms; the real
    /// service waits 1.5 to 2 s.
    pub end_silence: Duration,
    /// From the end of a turn to the first sentence, in service time. Default 200 ms.
    pub think: Duration,
    /// How much faster than real time audio is sent. Default 3.
    pub burst: f64,
    /// From the moment at which a sentence would have been spoken to its FINAL text, in service
    /// time. Default 300 ms; the real service takes 2.6 to 9 s.
    pub final_lag: Duration,
    /// What the audio is made of.
    pub voice: Voice,
    /// Understands what is said, instead of following the script. Default: none.
    pub hearing: Option<Hearing>,
}

impl Default for Dialogue {
    fn default() -> Self {
        Self {
            replies: vec![
                Reply::of([
                    ("Hello, this is the fake agent.", 1_600),
                    ("How can I help you today?", 1_300),
                ]),
                Reply::of([("I see, tell me more about that.", 1_500)]),
                Reply::of([
                    ("Thank you, that is good to know.", 1_600),
                    ("Is there anything else?", 1_100),
                ]),
            ],
            caller: Vec::new(),
            threshold: 500,
            min_speech: Duration::from_millis(100),
            end_silence: Duration::from_millis(500),
            think: Duration::from_millis(200),
            burst: 3.0,
            final_lag: Duration::from_millis(300),
            voice: Voice::default(),
            hearing: None,
        }
    }
}

impl Dialogue {
    /// The default one with these replies.
    #[must_use]
    pub fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            replies: replies.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// One turn of the agent: perhaps tool calls first, then sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// Asked for first, all at once; the sentences wait for the results.
    pub tools: Vec<ToolCall>,
    /// What is said.
    pub sentences: Vec<Sentence>,
    /// Takes the place of the sentences once the results are there.
    pub then: Option<Then>,
}

impl Reply {
    /// Sentences with their lengths in milliseconds.
    #[must_use]
    pub fn of<const N: usize>(sentences: [(&str, u64); N]) -> Self {
        Self {
            sentences: sentences
                .map(|(text, ms)| Sentence::new(text, Duration::from_millis(ms)))
                .into(),
            ..Self::default()
        }
    }

    /// One sentence.
    #[must_use]
    pub fn say(text: impl Into<String>, duration: Duration) -> Self {
        Self {
            sentences: vec![Sentence::new(text, duration)],
            ..Self::default()
        }
    }

    /// Calls a tool before it speaks, together with those that it calls already. `arguments` is sent as it is: normally a JSON object.
    #[must_use]
    pub fn after_tool(mut self, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.tools.push(ToolCall {
            name: name.into(),
            arguments: arguments.into(),
        });
        self
    }

    /// Goes on with what `make` makes of the results of its tools, in the order of these: as
    /// JSON, or as text where they are none. Without tools there is nothing to go on from.
    #[must_use]
    pub fn and_then<F>(mut self, make: F) -> Self
    where
        F: Fn(&[Value]) -> Self + Send + Sync + 'static,
    {
        self.then = Some(Then(Arc::new(make)));
        self
    }
}

/// Makes a reply from the results of tools. Equal to its own clones alone.
#[derive(Clone)]
pub struct Then(Arc<Make>);

type Make = dyn Fn(&[Value]) -> Reply + Send + Sync;

impl Then {
    pub(super) fn make(&self, results: &[Value]) -> Reply {
        (self.0)(results)
    }
}

impl PartialEq for Then {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Then {}

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Then")
    }
}

/// A sentence and how long it takes to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sentence {
    /// The words.
    pub text: String,
    /// How long its audio plays.
    pub duration: Duration,
}

impl Sentence {
    /// `text`, said in `duration`.
    #[must_use]
    pub fn new(text: impl Into<String>, duration: Duration) -> Self {
        Self {
            text: text.into(),
            duration,
        }
    }
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// The text of its arguments.
    pub arguments: String,
}

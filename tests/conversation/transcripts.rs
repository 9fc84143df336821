//! Whatever the model's final text does, a line is what was heard, once.

use std::time::Duration;

use novavoice::{
    audio::{AudioFrame, FRAME, SampleRate},
    call::LegCapabilities,
    conversation::{Config, Input, SessionId, Setup},
    model::{ModelEvent, ReplyId},
    telephony::CallEvent,
    testkit::sim::Sim,
    transcript::{Speaker, Utterance},
};
use proptest::{collection::vec, prelude::*, sample::select};

const SECOND: Duration = Duration::from_secs(1);

/// Some of them again and again, some within others: order and words must both count.
const SENTENCES: [&str; 10] = [
    "Okay.",
    "Yes.",
    "Yes, yes.",
    "One moment, please.",
    "One moment, please. Let me look.",
    "Let me look.",
    "Does ten o'clock on Tuesday work for you?",
    "I am Esther, and I call about the new roof.",
    "I am here. I am here.",
    "Wonderful, then I will see you on Tuesday at ten o'clock.",
];

/// A sentence of the script, and what becomes of its final text.
#[derive(Clone, Debug)]
struct Sentence {
    text: &'static str,
    millis: u64,
    wording: Wording,
    pieces: Vec<Delivery>,
}

/// How the final text is written.
#[derive(Clone, Copy, Debug)]
enum Wording {
    Same,
    Loud,
    Bare,
    Spaced,
    Digits,
}

/// When a piece of the final text comes after its caption: never, once, or twice.
type Delivery = (Option<u64>, Option<u64>);

#[derive(Clone, Debug)]
struct Turn {
    sentences: Vec<Sentence>,
    /// All of its final text comes as one.
    merged: bool,
    pause: u64,
    /// When the caller speaks up, counted from the first word.
    cut: Option<u64>,
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let late = prop_oneof![4 => (0..3_000_u64).prop_map(Some), 3 => (0..25_000_u64).prop_map(Some), 2 => Just(None)];
    let again = prop_oneof![3 => Just(None), 1 => (0..25_000_u64).prop_map(Some)];
    (late, again)
}

fn sentence() -> impl Strategy<Value = Sentence> {
    let wording = select(vec![
        Wording::Same,
        Wording::Same,
        Wording::Same,
        Wording::Loud,
        Wording::Bare,
        Wording::Spaced,
        Wording::Digits,
    ]);
    (
        select(SENTENCES.to_vec()),
        300..4_000_u64,
        wording,
        vec(delivery(), 1..3),
    )
        .prop_map(|(text, millis, wording, pieces)| Sentence {
            text,
            millis: millis / 20 * 20,
            wording,
            pieces,
        })
}

fn turn() -> impl Strategy<Value = Turn> {
    let cut = prop_oneof![2 => Just(None), 1 => (0..8_000_u64).prop_map(Some)];
    (vec(sentence(), 1..4), any::<bool>(), 0..4_000_u64, cut).prop_map(
        |(sentences, merged, pause, cut)| Turn {
            sentences,
            merged,
            pause,
            cut,
        },
    )
}

impl Wording {
    fn of(self, text: &str) -> String {
        match self {
            Self::Same => text.to_owned(),
            Self::Loud => text.to_uppercase(),
            Self::Bare => text
                .chars()
                .filter(|c| c.is_alphanumeric() || c.is_whitespace())
                .collect(),
            Self::Spaced => format!("  {} \n", text.replace(' ', "  ")),
            Self::Digits => text.replace("ten", "10"),
        }
    }
}

/// The words alone, in one spelling.
fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| {
        let word: String = word.chars().filter(|c| c.is_alphanumeric()).collect();
        word.to_lowercase().replace("10", "ten")
    };
    text.split_whitespace()
        .map(bare)
        .filter(|word| !word.is_empty())
        .collect()
}

impl Turn {
    fn length(&self) -> Duration {
        self.sentences
            .iter()
            .map(|one| Duration::from_millis(one.millis))
            .sum()
    }

    /// The final texts, with when each comes after the first caption.
    fn finals(&self) -> Vec<(Duration, String)> {
        let mut all = Vec::new();
        let mut deliver = |(first, again): &Delivery, text: &str| {
            for at in [first, again].into_iter().flatten() {
                all.push((Duration::from_millis(*at), text.to_owned()));
            }
        };
        if self.merged {
            let text: Vec<String> = self
                .sentences
                .iter()
                .map(|one| one.wording.of(one.text))
                .collect();
            deliver(&self.sentences[0].pieces[0], &text.join(" "));
            return all;
        }
        for one in &self.sentences {
            let text = one.wording.of(one.text);
            let tokens: Vec<&str> = text.split_whitespace().collect();
            let pieces = one.pieces.len().min(tokens.len());
            let size = tokens.len().div_ceil(pieces);
            for (piece, delivery) in tokens.chunks(size).zip(&one.pieces) {
                deliver(delivery, &piece.join(" "));
            }
        }
        all
    }

    fn words(&self) -> Vec<String> {
        self.sentences
            .iter()
            .flat_map(|one| words(one.text))
            .collect()
    }

    /// The fewest and the most words that somebody has heard who heard so much of it.
    fn heard(&self, heard: Duration) -> (usize, usize) {
        let (mut fewest, mut most, mut start) = (0, 0, Duration::ZERO);
        for one in &self.sentences {
            let length = Duration::from_millis(one.millis);
            let part = heard.saturating_sub(start).min(length).as_secs_f64() / length.as_secs_f64();
            let letters = one.text.chars().count() as f64;
            // A word counts once it was heard to its end, give or take two letters: wordings differ.
            let mut upto = 0;
            for word in one.text.split_whitespace() {
                upto += word.chars().count();
                fewest += usize::from(part >= 1.0 || (upto as f64 + 2.0) <= part * letters);
                most +=
                    usize::from(part >= 1.0 || (upto as f64 - 2.0) <= part * letters && part > 0.0);
                upto += 1;
            }
            start += length;
        }
        (fewest, most)
    }
}

/// A model that says what it likes when it likes.
struct Stage {
    sim: Sim,
    replies: u64,
    opened: usize,
    /// What is still to come of final text, and from which session.
    due: Vec<(Duration, SessionId, String)>,
}

impl Stage {
    fn new(session_limit: Option<Duration>) -> Self {
        let mut stage = Self {
            sim: calls(session_limit, true),
            replies: 0,
            opened: 0,
            due: Vec::new(),
        };
        stage.open();
        stage
    }

    /// Every session that was asked for opens at once.
    fn open(&mut self) {
        while let Some(session) = self.sim.sessions().0.get(self.opened).copied() {
            self.opened += 1;
            self.sim.input(Input::ModelOpened(session));
        }
    }

    fn run_for(&mut self, length: Duration) {
        let until = self.sim.elapsed() + length;
        while self.sim.elapsed() < until {
            let left = until - self.sim.elapsed();
            self.sim.run_for(left.min(SECOND / 10));
            self.open();
        }
    }

    /// The session that talks; one that was just left has not been followed yet.
    fn session(&mut self) -> SessionId {
        while self.sim.sessions().1.contains(&self.sim.talking()) {
            self.run_for(FRAME);
        }
        self.sim.talking()
    }

    /// Lets time pass, and final text come.
    fn run_until(&mut self, until: Duration) {
        loop {
            let next = self.due.iter().map(|(at, ..)| *at).min();
            let Some(at) = next.filter(|at| *at <= until) else {
                break;
            };
            self.run_for(at.saturating_sub(self.sim.elapsed()));
            let (now, later): (Vec<_>, Vec<_>) =
                self.due.drain(..).partition(|(due, ..)| *due <= at);
            self.due = later;
            for (_, session, text) in now {
                let said = ModelEvent::AgentSaid(text);
                self.sim.input(Input::Model(session, said));
            }
        }
        self.run_for(until.saturating_sub(self.sim.elapsed()));
    }

    fn say(&mut self, turn: &Turn) -> Duration {
        self.replies += 1;
        let session = self.session();
        let (reply, began) = (ReplyId(self.replies), self.sim.elapsed());
        let mut model = |event| self.sim.input(Input::Model(session, event));
        for one in &turn.sentences {
            model(ModelEvent::Caption(reply, one.text.to_owned()));
            for _ in 0..one.millis / 20 {
                model(ModelEvent::Audio(reply, frame(self.replies)));
            }
        }
        model(ModelEvent::ReplyEnded(reply));
        let finals = turn.finals().into_iter();
        self.due
            .extend(finals.map(|(at, text)| (began + at, session, text)));
        match turn.cut.map(Duration::from_millis) {
            Some(cut) if cut < turn.length() => {
                self.run_until(began + cut);
                let session = self.session();
                self.sim
                    .input(Input::Model(session, ModelEvent::Interrupted));
            }
            _ => self.run_until(began + turn.length()),
        }
        let end = self.sim.elapsed();
        self.run_until(end + Duration::from_millis(turn.pause));
        began
    }

    fn heard(&self, reply: u64) -> Duration {
        let mine = frame(reply);
        let frames = self.sim.sounded().filter(|(_, frame)| **frame == mine);
        FRAME * u32::try_from(frames.count()).expect("few")
    }

    /// The call ends once everything is certain.
    fn end(mut self) -> Self {
        let now = self.sim.elapsed();
        self.run_until(now + 40 * SECOND);
        self.sim.input(Input::Call(CallEvent::HungUp));
        for session in self.sim.sessions().0.to_vec() {
            self.sim.input(Input::ModelEnded(session, None));
        }
        self
    }

    fn agent_lines(&self) -> impl Iterator<Item = &Utterance> {
        let lines = self.sim.lines().iter();
        lines.filter(|line| line.speaker == Speaker::Agent)
    }
}

/// A frame that tells whose it is.
fn frame(reply: u64) -> AudioFrame {
    let number = u8::try_from(reply % 250 + 1).expect("small");
    AudioFrame::new(vec![number; 640].into(), SampleRate::Hz16000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Nova Sonic checklist 20 and 21.
    #[test]
    fn the_agent_s_lines_are_the_script_as_far_as_it_was_heard(
        turns in vec(turn(), 1..7),
        session_limit in select(vec![None, Some(12 * SECOND), Some(40 * SECOND)]),
    ) {
        let mut stage = Stage::new(session_limit);
        let began: Vec<Duration> = turns.iter().map(|turn| stage.say(turn)).collect();
        let stage = stage.end();
        let mut lines: Vec<&Utterance> = stage.agent_lines().collect();
        let seq: Vec<u64> = lines.iter().map(|line| line.seq).collect();
        prop_assert_eq!(seq, (1..=lines.len() as u64).collect::<Vec<_>>());
        for (number, (turn, began)) in (1_u64..).zip(turns.iter().zip(began)) {
            let mine: Vec<&Utterance> = lines.iter().copied().filter(|line| at(line) == began).collect();
            lines.retain(|line| at(line) != began);
            // The last frame counts once it has begun to sound.
            let cut = stage.heard(number) < turn.length();
            let script = turn.words();
            let (fewest, most) = turn.heard(stage.heard(number));
            let Some((line, doubles)) = mine.split_first() else {
                prop_assert_eq!(fewest, 0, "reply {} left no line", number);
                continue;
            };
            prop_assert!(doubles.is_empty(), "reply {} is there twice", number);
            let said = words(&line.text);
            prop_assert!((fewest..=most).contains(&said.len()), "{}: {:?} of {:?}, {} to {} words heard", number, line.text, script, fewest, most);
            prop_assert_eq!(&said[..], &script[..said.len()], "{}", number);
            prop_assert_eq!(line.cut, cut);
        }
        prop_assert!(lines.is_empty(), "lines that nobody said");
    }
}

fn at(line: &Utterance) -> Duration {
    Duration::from_millis(u64::try_from(line.at.as_millisecond()).expect("after the start"))
}

/// A mark proves what was played; late, early or never, no line says more than was heard.
#[test]
fn marks_that_come_late_early_or_never_change_no_line_that_was_heard() {
    for (marks, delay) in [(true, 0), (true, 300), (true, 5_000), (false, 0)] {
        let mut sim = calls(None, marks).with_mark_delay(Duration::from_millis(delay));
        sim.input(Input::ModelOpened(SessionId(1)));
        for text in ["one two three four.", "five six seven eight."] {
            sim.says(text, 4 * SECOND);
            sim.model(ModelEvent::AgentSaid(text.to_owned()));
            sim.run_for(8 * SECOND);
        }
        sim.says("nine ten eleven twelve.", 4 * SECOND);
        sim.run_for(3 * SECOND);
        sim.model(ModelEvent::Interrupted);
        sim.run_for(12 * SECOND);
        let lines = sim.transcript();
        assert_eq!(
            lines[..2],
            [
                "Assistant: one two three four.",
                "Assistant: five six seven eight."
            ],
            "{marks} {delay}"
        );
        let last = &lines[2];
        assert!(
            ["nine", "nine ten", "nine ten eleven"]
                .iter()
                .any(|heard| *last == format!("Assistant: {heard} [cut]")),
            "{marks} {delay} {last}"
        );
        if delay == 0 {
            assert_eq!(last, "Assistant: nine ten eleven [cut]");
        }
    }
}

/// One mark that dawdled on its way says nothing about where the ear is.
#[test]
fn a_single_late_mark_does_not_shorten_the_next_line() {
    let mut sim = calls(None, true).with_mark_delay(Duration::from_millis(40));
    sim.input(Input::ModelOpened(SessionId(1)));
    for _ in 0..3 {
        sim.says("one two three four.", 4 * SECOND);
        sim.run_for(5 * SECOND);
    }
    let mut sim = sim.with_mark_delay(Duration::from_millis(900));
    sim.says("one two three four.", 4 * SECOND);
    sim.run_for(6 * SECOND);
    sim.says("nine ten eleven twelve.", 4 * SECOND);
    sim.run_for(3 * SECOND);
    sim.model(ModelEvent::Interrupted);
    sim.run_for(12 * SECOND);
    let last = sim.transcript().pop();
    assert_eq!(last.as_deref(), Some("Assistant: nine ten eleven [cut]"));
}

#[test]
fn the_caller_s_text_in_several_blocks_is_one_line_while_they_speak() {
    let mut sim = calls(None, true);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim.caller(false, SECOND);
    sim.input(Input::Voice(true));
    speak_on(&mut sim, 2);
    sim.model(ModelEvent::CallerSaid("My name is Pam,".to_owned()));
    speak_on(&mut sim, 4);
    sim.model(ModelEvent::CallerSaid("and we meet on Tuesday.".to_owned()));
    sim.input(Input::Voice(false));
    sim.run_for(2 * SECOND);
    assert_eq!(
        sim.transcript(),
        ["Human: My name is Pam, and we meet on Tuesday."]
    );
    assert_eq!(at(&sim.lines()[0]), SECOND);
}

/// Overlapping speech: `seq` is the order of commitment, `at` that of the words.
#[test]
fn words_spoken_into_a_reply_are_dated_into_it() {
    let mut sim = calls(None, true);
    sim.input(Input::ModelOpened(SessionId(1)));
    sim.says("A reply of six seconds that goes on.", 6 * SECOND);
    sim.run_for(2 * SECOND);
    sim.caller(true, 300 * Duration::from_millis(1));
    sim.run_for(5 * SECOND);
    sim.model(ModelEvent::CallerSaid("Mm-hm.".to_owned()));
    sim.says("And another one.", SECOND);
    sim.run_for(30 * SECOND);
    let mut lines: Vec<_> = sim.lines().iter().collect();
    let seq: Vec<u64> = lines.iter().map(|line| line.seq).collect();
    assert_eq!(seq, [1, 2, 3]);
    lines.sort_by_key(|line| line.at);
    let order: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(
        order,
        [
            "A reply of six seconds that goes on.",
            "Mm-hm.",
            "And another one."
        ]
    );
}

/// Frames of a caller who speaks on, a second at a time.
fn speak_on(sim: &mut Sim, seconds: u32) {
    for _ in 0..seconds * 50 {
        let frame = AudioFrame::silence(SampleRate::Hz16000);
        sim.input(Input::Call(CallEvent::Audio(frame)));
        sim.run_for(FRAME);
    }
}

fn calls(session_limit: Option<Duration>, marks: bool) -> Sim {
    Sim::with(
        Config::default(),
        Setup {
            leg: LegCapabilities {
                marks,
                ..LegCapabilities::default()
            },
            session_limit,
            ..Sim::setup()
        },
    )
}

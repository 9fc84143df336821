use std::time::Duration;

use tokio::task::yield_now;

use super::*;
use crate::{
    audio::{AudioFrame, SampleRate},
    call::CallId,
    model::{ReplyId, Said},
    tool::{ToolCallId, ToolOutput, ToolResult, ToolSpec},
    transcript::Speaker,
};

const RATE: SampleRate = SampleRate::Hz16000;
const LINES: [&str; 3] = ["One. Shall we go on?", "Two, is it?", "Three?"];

/// A caller on a session, who feeds audio as fast as it is taken and reads all the while.
struct Caller {
    session: Session,
    heard: Vec<ModelEvent>,
}

impl Caller {
    async fn call() -> Self {
        let seed = SessionSeed::new(CallId::random(), "", RATE);
        Self::call_with(Script::new(LINES), seed).await
    }

    async fn call_with(script: Script, seed: SessionSeed) -> Self {
        let model = Scripted::new(script);
        let session = model.open(seed).await.expect("the script has lines");
        Self {
            session,
            heard: Vec::new(),
        }
    }

    async fn send(&mut self, command: ModelCommand) {
        self.session
            .commands
            .send(command)
            .await
            .expect("the session lives");
        self.read().await;
    }

    /// Reads until nothing more comes without more audio.
    async fn read(&mut self) {
        let mut quiet = 0;
        while quiet < 4 {
            match self.session.events.try_recv() {
                Ok(event) => {
                    self.heard.push(event.expect("the session goes well"));
                    quiet = 0;
                }
                Err(_) => quiet += 1,
            }
            yield_now().await;
        }
    }

    async fn text(&mut self) {
        self.send(ModelCommand::Text("The phone was answered.".to_owned()))
            .await;
    }

    async fn speaks(&mut self, milliseconds: usize) {
        for n in 0..milliseconds / 20 {
            // Two levels in turn, as no steady noise has.
            let level = if n % 2 == 0 { 6000_i16 } else { 3000 };
            let square = |n| if n / 20 % 2 == 0 { level } else { -level };
            let pcm: Vec<u8> = (0..RATE.samples_per_frame())
                .flat_map(|n| square(n).to_le_bytes())
                .collect();
            self.send(ModelCommand::Audio(AudioFrame::new(pcm.into(), RATE)))
                .await;
        }
    }

    async fn is_silent(&mut self, milliseconds: usize) {
        for _ in 0..milliseconds / 20 {
            self.send(ModelCommand::Audio(AudioFrame::silence(RATE)))
                .await;
        }
    }

    /// What happened since the last time, in a few words, the sound of a reply as one.
    fn story(&mut self) -> Vec<String> {
        let mut story: Vec<String> = self.heard.drain(..).map(|event| tell(&event)).collect();
        story.dedup_by(|next, last| next == last && next.starts_with("sound"));
        story
    }

    /// How long the sound of the events since the last story plays.
    fn sound(&self) -> Duration {
        self.heard
            .iter()
            .filter_map(|event| match event {
                ModelEvent::Audio(_, frame) => Some(frame.duration()),
                _ => None,
            })
            .sum()
    }
}

fn tell(event: &ModelEvent) -> String {
    match event {
        ModelEvent::SpeechStarted => "speech started".to_owned(),
        ModelEvent::CallerSaid(text) => format!("caller: {text}"),
        ModelEvent::Caption(ReplyId(id), text) => format!("caption {id}: {text}"),
        ModelEvent::Audio(ReplyId(id), _) => format!("sound {id}"),
        ModelEvent::AgentSaid(text) => format!("agent: {text}"),
        ModelEvent::Interrupted => "interrupted".to_owned(),
        ModelEvent::ReplyEnded(ReplyId(id)) => format!("end {id}"),
        ModelEvent::Usage(_) => "usage".to_owned(),
        ModelEvent::ToolCall(call) => {
            format!(
                "tool {}: {} {}",
                call.id.as_str(),
                call.name,
                call.arguments
            )
        }
    }
}

/// A script that looks up and books before its second line.
fn with_tools() -> Script {
    Script::new(LINES)
        .with_tool(1, "look_up", &serde_json::json!({"day": "mon"}))
        .with_tool(1, "book", &serde_json::json!({}))
        .with_tool(1, "unknown", &serde_json::json!({}))
}

async fn call_with_tools() -> Caller {
    let mut seed = SessionSeed::new(CallId::random(), "", RATE);
    let spec = |name| ToolSpec::new(name, "", serde_json::Map::new());
    seed.tools = [spec("look_up"), spec("book")].into();
    let mut caller = Caller::call_with(with_tools(), seed).await;
    caller.text().await;
    caller.story();
    caller
}

async fn result(caller: &mut Caller, id: &str) {
    let result = ToolResult {
        id: ToolCallId::new(id),
        output: ToolOutput::new("ok"),
    };
    caller.send(ModelCommand::ToolResult(result)).await;
}

#[tokio::test]
async fn a_line_waits_for_its_tools() {
    let mut caller = call_with_tools().await;
    caller.is_silent(6_000).await;
    caller.story();
    caller.text().await;
    assert_eq!(
        caller.story(),
        [
            r#"tool use-1: look_up {"day":"mon"}"#,
            "tool use-2: book {}"
        ]
    );
    result(&mut caller, "use-2").await;
    result(&mut caller, "use-2").await;
    caller.text().await;
    caller.is_silent(1_000).await;
    assert!(caller.story().is_empty(), "one is still awaited");
    result(&mut caller, "use-1").await;
    assert_eq!(
        caller.story(),
        ["caption 2: Two, is it?", "sound 2", "end 2"]
    );
}

#[tokio::test]
async fn a_session_without_the_tools_speaks_its_lines_all_the_same() {
    let seed = SessionSeed::new(CallId::random(), "", RATE);
    let mut caller = Caller::call_with(with_tools(), seed).await;
    caller.text().await;
    caller.is_silent(6_000).await;
    caller.story();
    caller.text().await;
    assert_eq!(caller.story()[0], "caption 2: Two, is it?");
}

#[tokio::test]
async fn the_first_text_is_answered_with_the_first_line() {
    let mut caller = Caller::call().await;
    caller.text().await;
    assert_eq!(
        caller.story(),
        [
            "caption 1: One.",
            "sound 1",
            "caption 1: Shall we go on?",
            "sound 1",
            "end 1",
        ]
    );
}

#[tokio::test]
async fn a_sentence_counts_as_said_once_it_has_been_played() {
    let mut caller = Caller::call().await;
    caller.text().await;
    let length = caller.sound().as_millis();
    assert!((800..3000).contains(&length), "{length} ms");
    let first = RATE
        .duration_of(tones::speak("One.", RATE).len())
        .as_millis();
    caller.story();

    let (first, length) = (first.div_ceil(20) * 20, length.div_ceil(20) * 20);
    let milliseconds = |ms: u128| usize::try_from(ms).expect("a few seconds");
    caller.is_silent(milliseconds(first) - 20).await;
    assert!(caller.story().is_empty());
    caller.is_silent(20).await;
    assert_eq!(caller.story(), ["agent: One."]);
    caller.is_silent(milliseconds(length - first) - 20).await;
    assert!(caller.story().is_empty());
    caller.is_silent(20).await;
    assert_eq!(caller.story(), ["agent: Shall we go on?"]);
}

#[tokio::test]
async fn a_turn_is_measured_and_answered_with_the_next_line() {
    let mut caller = Caller::call().await;
    caller.text().await;
    caller.is_silent(4000).await;
    caller.story();

    caller.speaks(1200).await;
    assert_eq!(caller.story(), ["speech started"]);
    caller.is_silent(580).await;
    assert!(caller.story().is_empty());
    caller.is_silent(40).await;
    assert_eq!(
        caller.story(),
        [
            "caller: [speech 1.2 s]",
            "caption 2: Two, is it?",
            "sound 2",
            "end 2"
        ]
    );
    caller.is_silent(3000).await;
    assert_eq!(caller.story(), ["agent: Two, is it?"]);
}

#[tokio::test]
async fn words_with_short_pauses_are_one_turn() {
    let mut caller = Caller::call().await;
    caller.is_silent(500).await;
    for _ in 0..3 {
        caller.speaks(300).await;
        caller.is_silent(400).await;
    }
    caller.is_silent(600).await;
    assert_eq!(
        caller.story()[..2],
        ["speech started", "caller: [speech 1.7 s]"]
    );
}

#[tokio::test]
async fn a_cough_is_no_turn() {
    let mut caller = Caller::call().await;
    caller.speaks(120).await;
    caller.is_silent(3000).await;
    assert!(caller.story().is_empty());
}

#[tokio::test]
async fn speaking_over_a_reply_interrupts_it_once() {
    let mut caller = Caller::call().await;
    caller.text().await;
    caller.is_silent(200).await;
    caller.story();

    caller.speaks(180).await;
    assert!(caller.story().is_empty());
    caller.speaks(820).await;
    assert_eq!(caller.story(), ["speech started", "interrupted"]);
    caller.is_silent(620).await;
    assert_eq!(
        caller.story(),
        [
            "caller: [speech 1.0 s]",
            "caption 2: Two, is it?",
            "sound 2",
            "end 2"
        ]
    );
    // Of the first line nothing was played to its end, and nothing is ever reported.
    caller.is_silent(5000).await;
    assert_eq!(caller.story(), ["agent: Two, is it?"]);
}

#[tokio::test]
async fn an_interrupted_reply_that_was_not_sent_in_full_ends_without_more_sound() {
    let seed = SessionSeed::new(CallId::random(), "", RATE);
    let mut caller = Caller::call_with(Script::scheduling(), seed).await;
    // Nobody reads: of the reply only what the channel holds is sent.
    let commands = caller.session.commands.clone();
    commands
        .send(ModelCommand::Text(String::new()))
        .await
        .expect("the session lives");
    for n in 0..15 {
        let mut pcm = vec![0_u8; RATE.bytes_per_frame()];
        pcm.chunks_exact_mut(80)
            .for_each(|c| c[1] = 60 + n % 2 * 30);
        let frame = AudioFrame::new(pcm.into(), RATE);
        commands
            .send(ModelCommand::Audio(frame))
            .await
            .expect("commands are taken though nobody reads");
        yield_now().await;
    }
    caller.read().await;
    let sound = caller.sound();
    let story = caller.story();
    assert_eq!(
        story[story.len() - 3..],
        ["speech started", "interrupted", "end 1"]
    );
    assert!(sound < Duration::from_millis(80 * DEPTH as u64));
}

#[tokio::test]
async fn words_from_the_text_input_also_interrupt() {
    let mut caller = Caller::call().await;
    caller.text().await;
    caller.is_silent(100).await;
    caller.story();
    caller.text().await;
    assert_eq!(
        caller.story(),
        ["interrupted", "caption 2: Two, is it?", "sound 2", "end 2"]
    );
}

#[tokio::test]
async fn exact_words_are_spoken_between_the_lines() {
    let mut caller = Caller::call().await;
    caller.text().await;
    caller.is_silent(4000).await;
    caller.story();
    let words = format!("Nothing is heard. Say {EXACT_WORDS} Are you there?");
    caller.send(ModelCommand::Text(words)).await;
    caller.is_silent(4000).await;
    assert_eq!(caller.story()[0], "caption 2: Are you there?");
    caller.text().await;
    assert_eq!(caller.story()[0], "caption 3: Two, is it?");
}

#[tokio::test]
async fn after_its_last_line_the_script_starts_again() {
    let mut caller = Caller::call().await;
    let mut captions = Vec::new();
    for _ in 0..4 {
        caller.speaks(400).await;
        caller.is_silent(4000).await;
        captions.extend(
            caller
                .story()
                .into_iter()
                .find(|s| s.starts_with("caption")),
        );
    }
    assert_eq!(
        captions,
        [
            "caption 1: One.",
            "caption 2: Two, is it?",
            "caption 3: Three?",
            "caption 4: One.",
        ]
    );
}

#[tokio::test]
async fn a_session_goes_on_where_its_history_ends() {
    let mut seed = SessionSeed::new(CallId::random(), "", RATE);
    seed.history = vec![Said {
        speaker: Speaker::Agent,
        text: LINES[1].to_owned(),
    }];
    let mut caller = Caller::call_with(Script::new(LINES), seed).await;
    caller.text().await;
    assert_eq!(caller.story()[0], "caption 1: Three?");
}

#[tokio::test]
async fn a_finished_session_reports_what_it_heard_and_ends() {
    let mut caller = Caller::call().await;
    caller.text().await;
    caller.is_silent(4000).await;
    caller.speaks(500).await;
    caller.story();
    caller.send(ModelCommand::Finish).await;
    assert_eq!(caller.story(), ["caller: [speech 0.5 s]"]);
    assert!(caller.session.events.recv().await.is_none());
}

#[tokio::test]
async fn finishing_cuts_a_reply_that_nobody_reads() {
    let mut caller = Caller::call().await;
    for command in [ModelCommand::Text(String::new()), ModelCommand::Finish] {
        let sent = caller.session.commands.send(command).await;
        sent.expect("the session lives");
    }
    let mut last = None;
    while let Some(event) = caller.session.events.recv().await {
        last = Some(event.expect("the session goes well"));
    }
    assert_eq!(last, Some(ModelEvent::ReplyEnded(ReplyId(1))));
}

#[tokio::test]
async fn a_dropped_session_stops() {
    for read_before in [true, false] {
        let mut caller = Caller::call().await;
        let commands = caller.session.commands.clone();
        if read_before {
            caller.text().await;
        } else {
            let sent = commands.send(ModelCommand::Text(String::new())).await;
            sent.expect("the session lives");
        }
        drop(caller);
        commands.closed().await;
    }
}

#[tokio::test]
async fn a_user_who_never_reads_cannot_make_it_hoard_events() {
    let caller = Caller::call().await;
    let Duplex {
        commands,
        mut events,
    } = caller.session;
    // Every text interrupts the reply before, so each adds two events that must not be lost.
    for _ in 0..MAX_BACKLOG {
        let sent = commands.send(ModelCommand::Text(String::new())).await;
        sent.expect("commands are taken though nobody reads");
    }
    let mut last = None;
    while let Some(event) = events.recv().await {
        last = Some(event);
    }
    let error = last.expect("something came").expect_err("it gave up");
    assert_eq!(error.kind(), &ProviderErrorKind::Closed);
}

#[tokio::test]
async fn the_same_input_gives_the_same_events() {
    let mut stories = Vec::new();
    for _ in 0..2 {
        let mut caller = Caller::call().await;
        caller.text().await;
        caller.speaks(700).await;
        caller.is_silent(2000).await;
        stories.push(std::mem::take(&mut caller.heard));
    }
    assert_eq!(stories[0], stories[1]);
}

#[tokio::test]
async fn an_empty_script_is_refused_at_the_opening() {
    let model = Scripted::new(Script::new([" "]));
    let seed = SessionSeed::new(CallId::random(), "", RATE);
    let error = model.open(seed).await.expect_err("nothing to say");
    assert_eq!(error.kind(), &ProviderErrorKind::Invalid);
}

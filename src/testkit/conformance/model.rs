//! The contract of [`SpeechModel`].

use std::time::Duration;

use super::soon;
use crate::{
    audio::{AudioFrame, FRAME, SampleRate},
    call::CallId,
    error::ProviderError,
    model::{ModelCommand, ModelEvent, ReplyId, Said, Session, SessionSeed, SpeechModel},
    tool::{ToolCall, ToolCallId, ToolOutput, ToolResult, ToolSpec},
    transcript::Speaker,
};

/// Runs everything in this module, each on a fresh model that `make` makes. The model must
/// answer a [`Text`](ModelCommand::Text) with at least a sentence of speech; what a model that
/// takes no text says cannot be provoked, so of its replies only those that it gives by itself
/// are looked at.
pub async fn speech_model<M: SpeechModel>(make: impl AsyncFn() -> M) {
    a_text_is_answered_with_a_reply(&make().await).await;
    replies_are_numbered_upwards(&make().await).await;
    audio_has_the_rate_that_was_asked_for(&make().await).await;
    a_session_takes_history(&make().await).await;
    a_session_that_may_use_tools_answers(&make().await).await;
    finish_ends_the_events(&make().await).await;
    finish_ends_the_events_in_the_middle_of_a_reply(&make().await).await;
    a_dropped_session_is_let_go(&make().await).await;
    commands_are_taken_while_nobody_reads_events(&make().await).await;
    sessions_run_side_by_side(&make().await).await;
    an_open_that_is_given_up_harms_nothing(&make().await).await;
}

/// A text is answered with a caption, audio and the end of the reply, all under one id.
pub async fn a_text_is_answered_with_a_reply<M: SpeechModel>(model: &M) {
    let mut session = open(model, seed(SampleRate::Hz16000)).await;
    if let Some(reply) = ask(model, &mut session).await {
        assert!(reply.captions > 0, "a reply has captions");
        assert!(reply.audio > Duration::ZERO, "a reply has audio");
    }
}

/// A later reply of a session has a greater id.
pub async fn replies_are_numbered_upwards<M: SpeechModel>(model: &M) {
    let mut session = open(model, seed(SampleRate::Hz16000)).await;
    let mut last = None;
    for _ in 0..3 {
        let reply = ask(model, &mut session).await.map(|reply| reply.id);
        assert!(
            reply.is_none() || reply > last,
            "{reply:?} came after {last:?}"
        );
        last = reply;
    }
}

/// The model speaks at the rate that the seed asks for, whatever the rate of the caller.
pub async fn audio_has_the_rate_that_was_asked_for<M: SpeechModel>(model: &M) {
    for output in SampleRate::ALL {
        let mut seed = seed(SampleRate::Hz8000);
        seed.output_rate = output;
        let mut session = open(model, seed).await;
        if let Some(reply) = ask(model, &mut session).await {
            let rates = reply.rates;
            assert!(
                rates.iter().all(|rate| *rate == output),
                "asked for {output}: {rates:?}"
            );
        }
    }
}

/// A session opens with what was said before, and answers.
pub async fn a_session_takes_history<M: SpeechModel>(model: &M) {
    let mut seed = seed(SampleRate::Hz16000);
    let said = |speaker, text: &str| Said {
        speaker,
        text: text.to_owned(),
    };
    seed.history = vec![
        said(Speaker::Agent, "Good morning, this is Esther."),
        said(Speaker::Caller, "Good morning. What is this about?"),
        said(Speaker::Caller, "Añ… hello?"),
        said(Speaker::Agent, "About your newsletter."),
    ];
    let mut session = open(model, seed).await;
    ask(model, &mut session).await;
    finish(&mut session).await;
}

/// A session that is offered tools opens and answers; whatever it uses meanwhile is answered.
pub async fn a_session_that_may_use_tools_answers<M: SpeechModel>(model: &M) {
    if !model.capabilities().tools {
        return;
    }
    let mut session = open(model, seed_with_tools()).await;
    ask(model, &mut session).await;
    finish(&mut session).await;
}

/// For models that use their tools when they are asked anything: each use has an id of its own,
/// names a tool of the seed, and is followed by a reply once its result is there, while the
/// caller's audio goes on. Not among those that run for every model, since real ones use tools as
/// they please.
pub async fn a_use_of_a_tool_is_followed_by_a_reply<M: SpeechModel>(model: &M) {
    let mut session = open(model, seed_with_tools()).await;
    for turn in 1..=2 {
        let reply = ask(model, &mut session).await.expect("it can be asked");
        assert!(reply.captions > 0, "the reply follows the result");
        assert_eq!(session.uses.len(), turn, "each turn uses a tool");
    }
    let mut ids = session.uses.clone();
    ids.dedup();
    assert_eq!(ids, session.uses, "each use has an id of its own");
    finish(&mut session).await;
}

/// After a finish, what still comes comes, and then the events end without an error.
pub async fn finish_ends_the_events<M: SpeechModel>(model: &M) {
    let mut session = open(model, seed(SampleRate::Hz16000)).await;
    finish(&mut session).await;
    let closed = session.duplex.commands.closed();
    soon("a finished session is let go", closed).await;
}

/// The same when the model is just speaking.
pub async fn finish_ends_the_events_in_the_middle_of_a_reply<M: SpeechModel>(model: &M) {
    let mut session = open(model, seed(SampleRate::Hz16000)).await;
    prompt(model, &session).await;
    if model.capabilities().text_input {
        soon("a reply begins", async {
            while !matches!(next(&mut session).await, ModelEvent::Audio(..)) {}
        })
        .await;
    }
    finish(&mut session).await;
}

/// A dropped session closes, though nobody told it to: its channels do.
pub async fn a_dropped_session_is_let_go<M: SpeechModel>(model: &M) {
    for speaking in [false, true] {
        let session = open(model, seed(SampleRate::Hz16000)).await;
        if speaking {
            prompt(model, &session).await;
        }
        // Only a sender tells that the other side is gone, so this one stays.
        let Session { commands, events } = session.duplex;
        drop(events);
        soon("a dropped session is let go", commands.closed()).await;
    }
}

/// A session keeps reading, whatever its user does.
pub async fn commands_are_taken_while_nobody_reads_events<M: SpeechModel>(model: &M) {
    let mut session = open(model, seed(SampleRate::Hz16000)).await;
    prompt(model, &session).await;
    for _ in 0..TEN_SECONDS {
        session.send(session.silence()).await;
        tokio::time::sleep(FRAME / 20).await;
    }
    finish(&mut session).await;
}

/// Sessions of one model do not get into each other's way.
pub async fn sessions_run_side_by_side<M: SpeechModel>(model: &M) {
    let mut first = open(model, seed(SampleRate::Hz16000)).await;
    let mut second = open(model, seed(SampleRate::Hz24000)).await;
    let (one, other) = tokio::join!(ask(model, &mut first), ask(model, &mut second));
    assert_eq!(one.is_some(), other.is_some());
    finish(&mut first).await;
    ask(model, &mut second).await;
    finish(&mut second).await;
}

/// Dropping the future of `open` leaves the model as it was.
pub async fn an_open_that_is_given_up_harms_nothing<M: SpeechModel>(model: &M) {
    for patience in [0, 1, 5] {
        let patience = Duration::from_millis(patience);
        let attempt = model.open(seed(SampleRate::Hz16000));
        drop(tokio::time::timeout(patience, attempt).await);
    }
    let mut session = open(model, seed(SampleRate::Hz16000)).await;
    ask(model, &mut session).await;
    finish(&mut session).await;
}

/// A session and the rate at which its caller is heard.
struct Talk {
    duplex: Session,
    rate: SampleRate,
    /// The uses of tools so far; each was answered.
    uses: Vec<ToolCallId>,
}

impl Talk {
    async fn send(&self, command: ModelCommand) {
        let sent = self.duplex.commands.send(command);
        let sent = soon("a session takes commands", sent).await;
        assert!(sent.is_ok(), "a live session takes commands");
    }

    fn silence(&self) -> ModelCommand {
        ModelCommand::Audio(AudioFrame::silence(self.rate))
    }
}

/// What one reply was made of.
struct Reply {
    id: ReplyId,
    captions: usize,
    audio: Duration,
    rates: Vec<SampleRate>,
}

/// Prompts the model and hears its reply out. `None` for a model that cannot be prompted.
async fn ask<M: SpeechModel>(model: &M, session: &mut Talk) -> Option<Reply> {
    if !model.capabilities().text_input {
        return None;
    }
    prompt(model, session).await;
    soon("a text is answered", async {
        let mut reply: Option<Reply> = None;
        loop {
            let event = next(session).await;
            if let ModelEvent::ToolCall(call) = &event {
                answer(session, call).await;
            }
            let id = match &event {
                ModelEvent::Caption(id, _)
                | ModelEvent::Audio(id, _)
                | ModelEvent::ReplyEnded(id) => *id,
                _ => continue,
            };
            let reply = reply.get_or_insert(Reply {
                id,
                captions: 0,
                audio: Duration::ZERO,
                rates: Vec::new(),
            });
            assert_eq!(reply.id, id, "a reply ends before another one begins");
            match event {
                ModelEvent::Caption(..) => reply.captions += 1,
                ModelEvent::Audio(_, frame) => {
                    reply.audio += frame.duration();
                    reply.rates.push(frame.rate());
                }
                _ => break,
            }
        }
        reply
    })
    .await
}

async fn prompt<M: SpeechModel>(model: &M, session: &Talk) {
    if model.capabilities().text_input {
        let text = "Please say one short sentence.".to_owned();
        session.send(ModelCommand::Text(text)).await;
    }
}

async fn open<M: SpeechModel>(model: &M, seed: SessionSeed) -> Talk {
    let rate = seed.input_rate;
    let session: Result<_, ProviderError> = soon("a session opens", model.open(seed)).await;
    let duplex = session.expect("a session can be opened");
    Talk {
        duplex,
        rate,
        uses: Vec::new(),
    }
}

/// The next event; meanwhile the caller is silent, in the pace of speech.
async fn next(session: &mut Talk) -> ModelEvent {
    loop {
        match tokio::time::timeout(FRAME, session.duplex.events.recv()).await {
            Ok(event) => break event.expect("the session goes on").expect("no failure"),
            Err(_) => session.send(session.silence()).await,
        }
    }
}

/// Answers a use of a tool, once, after a moment in which the caller goes on.
async fn answer(session: &mut Talk, call: &ToolCall) {
    assert_eq!(call.name, LOOK_UP, "only what is offered is used");
    if session.uses.contains(&call.id) {
        return;
    }
    session.uses.push(call.id.clone());
    for _ in 0..5 {
        session.send(session.silence()).await;
    }
    let result = ToolResult {
        id: call.id.clone(),
        output: ToolOutput::new("found"),
    };
    session.send(ModelCommand::ToolResult(result)).await;
}

async fn finish(session: &mut Talk) {
    session.send(ModelCommand::Finish).await;
    soon("a finished session ends its events", async {
        while let Some(event) = session.duplex.events.recv().await {
            event.expect("a session that is asked to finish does not fail");
        }
    })
    .await;
}

fn seed(rate: SampleRate) -> SessionSeed {
    SessionSeed::new(
        CallId::new("conformance"),
        "You are a friendly assistant on the phone. Answer in one short sentence.",
        rate,
    )
}

fn seed_with_tools() -> SessionSeed {
    let mut seed = seed(SampleRate::Hz16000);
    let parameters = [
        ("type".to_owned(), "object".into()),
        ("properties".to_owned(), serde_json::json!({})),
    ];
    let description = "Looks up whatever is asked for.";
    seed.tools = [ToolSpec::new(
        LOOK_UP,
        description,
        parameters.into_iter().collect(),
    )]
    .into();
    seed
}

/// The one tool that sessions of this suite are offered.
pub const LOOK_UP: &str = "look_up";

/// Frames in ten seconds.
const TEN_SECONDS: usize = 500;

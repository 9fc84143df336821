//! Tools of Nova Sonic: sessions alone, and whole calls with an agent.

use std::sync::Arc;

use jiff::Timestamp;
use novavoice::{
    agent::{AgentHandle, Counts, Prompt, VoiceAgent},
    call::{CallId, CallInfo, Direction},
    telephony::memory::{Callers, Loopback, Phone},
    testkit::bedrock::{Dialogue, Quirks, Reply},
    tool::{
        NoArguments, Tool, ToolCall, ToolCallId, ToolError, ToolOutput, ToolResult, ToolSpec, Tools,
    },
    transcript::MemorySink,
};
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use super::*;

fn with_tools() -> SessionSeed {
    let mut seed = seed();
    seed.tools = ["look_up", "book"]
        .map(|name| {
            let schema = [("type".to_owned(), Value::from("object"))];
            ToolSpec::new(name, "Does it.", schema.into_iter().collect())
        })
        .into();
    seed
}

/// One reply that follows the results of these tools.
fn after(tools: &[(&str, &str)]) -> SessionScript {
    let mut reply = Reply::of([("Here it is.", 500)]);
    for (name, arguments) in tools {
        reply = reply.after_tool(*name, *arguments);
    }
    SessionScript::converse(Dialogue::answering([reply]))
}

fn calls(events: &[ModelEvent]) -> Vec<&ToolCall> {
    events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::ToolCall(call) => Some(call),
            _ => None,
        })
        .collect()
}

impl Line {
    async fn result(&self, id: &ToolCallId, output: ToolOutput) {
        let result = ToolResult {
            id: id.clone(),
            output,
        };
        let sent = self.session.commands.send(ModelCommand::ToolResult(result));
        sent.await.unwrap();
    }
}

/// The bodies of the input events of this name.
fn inputs(events: &[Value], name: &str) -> Vec<Value> {
    let bodies = events.iter().map(|event| &event["event"][name]);
    bodies.filter(|body| !body.is_null()).cloned().collect()
}

/// Nova Sonic checklist 11, 30, 31 and 32: offered as the service wants it, used once though the
/// call comes twice and doubly encoded, and answered in any order while the audio goes on.
#[tokio::test]
async fn tools_are_offered_used_and_answered() {
    let script = after(&[("look_up", r#"{"day":"mon"}"#), ("book", "")]).quirks(Quirks {
        double_encoded_tool: true,
        double_tool: true,
        ..Quirks::default()
    });
    let (fake, model) = scripted(script).await;
    let mut line = Line::open_with(&model, with_tools()).await;
    line.speak().await;
    line.hum();
    let mut seen = 0;
    let events = line
        .until(|event| {
            seen += usize::from(matches!(event, ModelEvent::ToolCall(_)));
            seen == 4
        })
        .await;
    let calls = calls(&events);
    assert_eq!(calls[0], calls[1]);
    assert_eq!(calls[0].name, "look_up");
    assert_eq!(calls[0].arguments, r#""{\"day\":\"mon\"}""#);
    assert_eq!(
        (calls[2].name.as_str(), calls[2].arguments.as_str()),
        ("book", "\"\"")
    );
    let fed = fake.session(0).await.report().audio_bytes;
    let more =
        |report: &novavoice::testkit::bedrock::SessionReport| report.audio_bytes > fed + 64_000;
    soon(fake.session(0).await.wait_until(more)).await;
    // Reversed, and each as often as it came.
    for call in [calls[2], calls[0], calls[3], calls[1]] {
        line.result(&call.id, ToolOutput::new(&call.name)).await;
    }
    let events = line.until(ended(1)).await;
    assert_eq!(captions(&events), ["Here it is."]);
    line.finish().await;
    soon(fake.finished(1)).await;
    assert_eq!(fake.violations(), []);
    let events = fake.session(0).await.events();
    let prompt = &inputs(&events, "promptStart")[0];
    assert_eq!(
        prompt["toolConfiguration"]["tools"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let results = inputs(&events, "toolResult");
    let contents: Vec<_> = results
        .iter()
        .map(|result| result["content"].clone())
        .collect();
    assert_eq!(
        contents,
        [r#"{"result":"book"}"#, r#"{"result":"look_up"}"#]
    );
}

/// Nova Sonic checklist 30: what would end the stream is not sent.
#[tokio::test]
async fn a_result_that_nobody_waits_for_does_not_cost_the_session() {
    let (fake, model) = scripted(after(&[("look_up", "{}")])).await;
    let mut line = Line::open_with(&model, with_tools()).await;
    line.result(&ToolCallId::new("never-seen"), ToolOutput::new(1))
        .await;
    line.speak().await;
    line.hum();
    let events = line
        .until(|event| matches!(event, ModelEvent::ToolCall(_)))
        .await;
    line.result(&calls(&events)[0].id, ToolOutput::error("no"))
        .await;
    line.until(ended(1)).await;
    line.finish().await;
    soon(fake.finished(1)).await;
    assert_eq!(fake.violations(), []);
}

/// An agent on the fake Bedrock, with one tool that waits for the test.
struct Call {
    fake: FakeBedrock,
    model: NovaSonic,
    /// As long as somebody may call, the agent serves.
    callers: Callers,
    phone: Phone,
    handle: AgentHandle,
    started: Arc<Notify>,
    go: Arc<Notify>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ProviderError>>,
}

impl Call {
    async fn begin(options: Options, limit: Option<Duration>, interruptible: bool) -> Self {
        let fake = FakeBedrock::start(options).await.unwrap();
        let mut config = config();
        config.session_limit = limit;
        let model = model(&fake, config).await;
        let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (telephony, callers) = Loopback::new();
        let agent = VoiceAgent::builder()
            .telephony(telephony)
            .model(model.clone())
            .transcripts(MemorySink::new())
            .prompt(|_, _| Prompt::new("You are Esther."))
            .tools(Tools::new([waiting(&started, &go, interruptible)]))
            .build();
        let handle = agent.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _dropped = stopped.await;
            };
            agent.serve(stopped).await
        });
        let id = CallId::new("one");
        let info = CallInfo::new(id, Direction::Inbound, Timestamp::UNIX_EPOCH, RATE);
        let phone = callers.call(info).await.into_phone();
        Self {
            fake,
            model,
            callers,
            phone,
            handle,
            started,
            go,
            stop,
            serving,
        }
    }

    /// The model uses the tool, which then waits.
    async fn uses_the_tool(&self) {
        let session = self.fake.session(0).await;
        soon(session.wait_until(|report| report.audio_bytes > 0)).await;
        let reply = Reply::of([("Here it is.", 500)]).after_tool("look_up", "{}");
        session.reply(reply).await;
        soon(self.started.notified()).await;
    }

    /// Nothing is left of the call, and no rule was broken.
    async fn ends(self, sessions: usize) {
        soon(self.phone.ended()).await;
        soon(self.fake.finished(sessions)).await;
        drop(self.stop);
        soon(self.serving).await.unwrap().unwrap();
        drop(self.callers);
        assert_eq!(self.handle.counts(), Counts::default());
        assert_eq!(self.model.open_sessions(), 0);
        assert_eq!(self.fake.open_sessions(), 0);
        assert_eq!(self.fake.violations(), []);
    }
}

fn waiting(started: &Arc<Notify>, go: &Arc<Notify>, interruptible: bool) -> Tool {
    let (started, go) = (Arc::clone(started), Arc::clone(go));
    let tool = Tool::new("look_up", move |_, NoArguments {}| {
        let (started, go) = (Arc::clone(&started), Arc::clone(&go));
        async move {
            started.notify_one();
            go.notified().await;
            Ok::<_, ToolError>("found")
        }
    });
    let tool = tool
        .describe("Looks it up.")
        .deadline(Duration::from_secs(30));
    if interruptible {
        tool.interruptible()
    } else {
        tool
    }
}

fn by_hand() -> Options {
    Options::default().on_session(|_| SessionScript::by_hand())
}

/// Nova Sonic checklist 30 and 32, through the agent.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_looks_up_while_the_line_stays_alive() {
    let call = Call::begin(by_hand(), None, false).await;
    call.uses_the_tool().await;
    let session = call.fake.session(0).await;
    let fed = session.report().audio_bytes;
    // A second of silence is fed meanwhile, in real time.
    soon(session.wait_until(|report| report.audio_bytes > fed + 32_000)).await;
    assert!(call.phone.heard().is_empty());
    call.go.notify_one();
    soon(async {
        while call.phone.heard().len() < 25 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let results = inputs(&session.events(), "toolResult");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["content"], r#"{"result":"found"}"#);
    call.phone.hang_up().await;
    call.ends(1).await;
}

/// Nova Sonic checklist 46.
#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_while_a_tool_runs_leaves_no_stream_open() {
    for interruptible in [true, false] {
        let call = Call::begin(by_hand(), None, interruptible).await;
        call.uses_the_tool().await;
        // Long enough for the service to mind that nothing was answered.
        tokio::time::sleep(Duration::from_millis(700)).await;
        call.phone.hang_up().await;
        if !interruptible {
            call.go.notify_one();
        }
        let session = call.fake.session(0).await;
        soon(session.finished()).await;
        assert_eq!(inputs(&session.events(), "toolResult").len(), 1);
        assert!(session.report().closed_by_the_book());
        call.ends(1).await;
    }
}

/// Nova Sonic checklist 37: the old name never appears on another stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_crosses_the_session_limit_as_text() {
    let limit = Duration::from_secs(8);
    let options = Options {
        session_limit: limit,
        ..Options::default()
    };
    let options = options.on_session(|index| match index {
        0 => SessionScript::by_hand(),
        _ => SessionScript::converse(Dialogue::answering([Reply::of([("Yes.", 300)])])),
    });
    let call = Call::begin(options, Some(limit), false).await;
    call.uses_the_tool().await;
    let first = call.fake.session(0).await;
    soon(first.finished()).await;
    let id = inputs(&first.events(), "contentStart")
        .iter()
        .find_map(|start| {
            start["toolResultInputConfiguration"]["toolUseId"]
                .as_str()
                .map(str::to_owned)
        })
        .expect("the old session is answered, too");
    call.go.notify_one();
    let told = soon(async {
        loop {
            let mut found = Vec::new();
            for index in 1..call.fake.sessions().len() {
                let events = call.fake.session(index).await.events();
                let whole = Value::from(events.clone()).to_string();
                assert!(!whole.contains(&id), "the old name on another stream");
                let texts = inputs(&events, "textInput").into_iter();
                found.extend(texts.filter_map(|text| {
                    let text = text["content"].as_str()?.to_owned();
                    text.contains("found").then_some(text)
                }));
            }
            if !found.is_empty() {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("look_up"), "{}", told[0]);
    call.phone.hang_up().await;
    let sessions = call.fake.sessions().len();
    call.ends(sessions).await;
}

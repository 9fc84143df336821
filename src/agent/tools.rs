//! The tools that run for one call, each in a task of its own, away from the audio.

use std::sync::{Arc, atomic::AtomicUsize};

use tokio::{
    sync::mpsc,
    task::{AbortHandle, Id, JoinError, JoinSet},
};
use tracing::{Instrument, error, info, info_span};

use super::handle::Counted;
use crate::{
    call::CallInfo,
    clock,
    conversation::{Command, Input},
    lead::Lead,
    tool::{ToolCall, ToolContext, ToolOutput, ToolRunId, ToolWish, Tools, WISHES},
};

/// What runs. Dropping it stops everything.
#[derive(Debug)]
pub(super) struct ToolRuns {
    tools: Tools,
    call: Arc<CallInfo>,
    lead: Option<Arc<Lead>>,
    running: JoinSet<ToolOutput>,
    runs: Vec<(ToolRunId, AbortHandle)>,
    wish: mpsc::Sender<(ToolRunId, ToolWish)>,
    wishes: mpsc::Receiver<(ToolRunId, ToolWish)>,
    tasks: Arc<AtomicUsize>,
}

impl ToolRuns {
    pub(super) fn new(
        tools: Tools,
        call: CallInfo,
        lead: Option<Lead>,
        tasks: &Arc<AtomicUsize>,
    ) -> Self {
        let (wish, wishes) = mpsc::channel(WISHES);
        Self {
            tools,
            call: Arc::new(call),
            lead: lead.map(Arc::new),
            running: JoinSet::new(),
            runs: Vec::new(),
            wish,
            wishes,
            tasks: Arc::clone(tasks),
        }
    }

    /// Starts a tool; what comes of it is reported by [`next`](Self::next).
    pub(super) fn start(&mut self, run: ToolRunId, call: ToolCall) {
        let span = info_span!("tool", name = call.name, run = run.0);
        let context = ToolContext::new(
            Arc::clone(&self.call),
            self.lead.clone(),
            run,
            self.wish.clone(),
        );
        let tool = self.tools.get(&call.name).cloned();
        let task = Counted::new(&self.tasks);
        let using = async move {
            let _task = task;
            let began = clock::now();
            let output = match tool {
                Some(tool) => tool.call(context, &call.arguments).await,
                None => ToolOutput::error("There is no tool of this name."),
            };
            info!(
                failed = output.is_error(),
                took = ?clock::now().saturating_duration_since(began),
                "tool done"
            );
            output
        };
        let handle = self.running.spawn(using.instrument(span));
        self.runs.push((run, handle));
    }

    /// Stops a tool. Nothing more is reported of it.
    pub(super) fn cancel(&mut self, run: ToolRunId) {
        if let Some(at) = self.runs.iter().position(|(known, _)| *known == run) {
            let (_, task) = self.runs.swap_remove(at);
            info!(run = run.0, "tool stopped");
            task.abort();
        }
    }

    /// What a tool wishes for, or what came of it. Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            tokio::select! {
                // What a tool has asked for comes before its own end.
                biased;
                Some((run, wish)) = self.wishes.recv() => {
                    // One that was stopped has nothing to wish for.
                    if self.runs.iter().any(|(known, _)| *known == run)
                        || !matches!(wish, ToolWish::Progress(_))
                    {
                        return asked(run, wish);
                    }
                }
                Some(done) = self.running.join_next_with_id() => {
                    if let Some(input) = self.done(done) {
                        return input;
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    fn done(&mut self, done: Result<(Id, ToolOutput), JoinError>) -> Option<Input> {
        let task = match &done {
            Ok((task, _)) => *task,
            Err(failed) => failed.id(),
        };
        // One that was stopped is not known any more.
        let at = self.runs.iter().position(|(_, run)| run.id() == task)?;
        let (run, _) = self.runs.swap_remove(at);
        let output = match done {
            Ok((_, output)) => output,
            Err(failed) => {
                error!(
                    run = run.0,
                    error = &failed as &dyn std::error::Error,
                    "a tool panicked; the call goes on"
                );
                ToolOutput::error("The tool failed.")
            }
        };
        Some(Input::ToolDone(run, output))
    }
}

fn asked(run: ToolRunId, wish: ToolWish) -> Input {
    match wish {
        ToolWish::EndCall => Input::Command(Command::HangUp),
        ToolWish::Transfer(to) => Input::Command(Command::Transfer { to }),
        ToolWish::WarmTransfer { to, briefing } => {
            Input::Command(Command::WarmTransfer { to, briefing })
        }
        ToolWish::SendDtmf(keys) => Input::Command(Command::SendDtmf(keys)),
        ToolWish::Tell(text) => Input::Command(Command::Tell(text)),
        ToolWish::Progress(text) => Input::ToolProgress(run, text),
    }
}

//! Tools in a conversation: each use is started once and answered once, whatever happens.
//!
//! A use belongs to the session that asked for it. When that session is left, the use goes on and
//! what comes of it is told to the next session as text: names of uses mean nothing there.

use std::time::{Duration, Instant};

use super::{Action, Conversation, Notice, SessionId, WorkKind, ending::Phase, timer::Timer};
use crate::{
    error::ProviderErrorKind,
    tool::{ToolCall, ToolCallId, ToolOutput, ToolResult, ToolRunId, ToolSpec},
};

/// The uses of tools in a call.
#[derive(Debug, Default)]
pub(super) struct Tools {
    last: u32,
    /// The names of those that the session which talks was offered; `None`: all.
    pub(super) offered: Option<Vec<String>>,
    /// Those of the session that talks, and those that still run though theirs was left.
    uses: Vec<Use>,
    /// What came of those whose session was left, in words, and since when the first waits.
    late: Vec<String>,
    late_since: Option<Instant>,
    /// No reply to a result is awaited from here on.
    reply_due: Option<Instant>,
}

#[derive(Debug)]
struct Use {
    run: ToolRunId,
    /// The session that asked and was not left; `None`: what comes of it is told as text.
    session: Option<SessionId>,
    call: ToolCall,
    state: State,
}

#[derive(Debug)]
enum State {
    Running {
        deadline: Instant,
        interruptible: bool,
        /// What the agent says when the line is silent, and from when on.
        say: Option<(Instant, String)>,
    },
    /// The session was told and has said nothing since.
    Answered(ToolOutput),
    /// Kept to know the use if it comes again.
    Over,
}

impl Use {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }
}

impl Tools {
    /// None was used so far; the first session is offered these.
    pub(super) fn offering(offered: Option<Vec<String>>) -> Self {
        Self {
            offered,
            ..Self::default()
        }
    }

    /// Whether anything runs.
    pub(super) fn is_running(&self) -> bool {
        self.uses.iter().any(Use::is_running)
    }

    /// Whether the session that talks waits for something that runs.
    pub(super) fn is_awaited(&self) -> bool {
        let awaited = |used: &Use| used.session.is_some() && used.is_running();
        self.uses.iter().any(awaited)
    }

    /// The model has begun to say something: it has heard what came of its tools.
    pub(super) fn replied(&mut self) {
        self.reply_due = None;
        for used in &mut self.uses {
            if matches!(used.state, State::Answered(_)) {
                used.state = State::Over;
            }
        }
    }

    /// The caller speaks: a reply is due for another reason now.
    pub(super) fn caller_said(&mut self) {
        self.reply_due = None;
    }

    fn knows(&self, session: SessionId, id: &ToolCallId) -> bool {
        let same = |used: &Use| used.session == Some(session) && used.call.id == *id;
        self.uses.iter().any(same)
    }

    fn name(&mut self) -> ToolRunId {
        self.last += 1;
        ToolRunId(self.last)
    }

    fn remember(&mut self, used: Use) {
        if self.uses.len() >= MAX_KNOWN
            && let Some(oldest) = self.uses.iter().position(|used| !used.is_running())
        {
            self.uses.remove(oldest);
        }
        self.uses.push(used);
    }

    /// The use that runs under this name, unless it was answered already.
    fn running(&mut self, run: ToolRunId) -> Option<&mut Use> {
        let this = |used: &&mut Use| used.run == run && used.is_running();
        self.uses.iter_mut().find(this)
    }

    fn names_of(&self, which: impl Fn(&Use) -> bool) -> Vec<ToolRunId> {
        let these = self.uses.iter().filter(|used| which(used));
        these.map(|used| used.run).collect()
    }

    /// What a session must know that follows one whose tools still run.
    pub(super) fn pending_note(&self) -> Option<String> {
        let pending: Vec<_> = self
            .uses
            .iter()
            .filter(|used| used.is_running())
            .map(|used| used.call.name.as_str())
            .collect();
        (!pending.is_empty()).then(|| {
            format!(
                "(You have called {} and the result is not there yet. It will follow; do not call it again.)",
                pending.join(" and ")
            )
        })
    }
}

impl Conversation {
    /// The model wants to use a tool.
    pub(super) fn on_tool_call(&mut self, session: SessionId, call: ToolCall) {
        if self.tools.knows(session, &call.id) {
            return;
        }
        // This is the model's answer to what the caller said. Another session that hears it again
        // would do everything twice.
        self.commit_caller();
        self.feed.answered(self.hears_voice());
        let run = self.tools.name();
        let used = |state| Use {
            run,
            session: Some(session),
            call: call.clone(),
            state,
        };
        match self.admit(&call.name) {
            Ok(spec) => {
                let say = spec.filler.clone();
                let state = State::Running {
                    deadline: self.now + spec.deadline,
                    interruptible: spec.interruptible,
                    say: say
                        .map(|words| (self.now + self.config.tool_filler_after, say_this(&words))),
                };
                let used = used(state);
                self.tools.remember(used);
                self.stats.tools_called += 1;
                self.turn.begin(WorkKind::tool(run, &call.name), self.now);
                self.actions.push_back(Action::Publish(Notice::ToolCalled {
                    run,
                    name: call.name.clone(),
                }));
                self.actions.push_back(Action::CallTool(run, call));
            }
            Err(refusal) => {
                self.tools.remember(used(State::Over));
                self.stats.tools_refused += 1;
                let output = ToolOutput::error(refusal);
                let id = call.id;
                self.actions
                    .push_back(Action::Answer(session, ToolResult { id, output }));
                self.await_reply_to_result();
            }
        }
        self.schedule_tools();
        self.refresh();
    }

    /// The tool of this name, if it may be started now.
    fn admit(&self, name: &str) -> Result<&ToolSpec, &'static str> {
        if !self.is_going_on() {
            return Err("The call is over.");
        }
        let offered = self.tools.offered.as_ref();
        let known = self.setup.tools.iter().find(|tool| {
            tool.name == name && offered.is_none_or(|names| names.contains(&tool.name))
        });
        let spec = known.ok_or("There is no tool of this name.")?;
        let running = self.tools.uses.iter().filter(|used| used.is_running());
        if running.count() < MAX_RUNNING {
            Ok(spec)
        } else {
            Err("Too many tools are running. Wait for their results first.")
        }
    }

    /// A tool is done.
    pub(super) fn on_tool_done(&mut self, run: ToolRunId, output: ToolOutput) {
        if self.tools.running(run).is_none() {
            return;
        }
        let awaits = self.answer(run, output);
        if awaits {
            self.await_reply_to_result();
        }
        self.schedule_tools();
        self.refresh();
        self.finish_when_closed();
    }

    /// A tool that runs has something to say.
    pub(super) fn on_tool_progress(&mut self, run: ToolRunId, text: &str) {
        let at = self.now;
        let Some(used) = self.tools.running(run) else {
            return;
        };
        let text = &text[..text.floor_char_boundary(MAX_PROGRESS)];
        let words = format!(
            "(The tool {} is still running: {text} Tell the caller in a few words.)",
            used.call.name
        );
        if let State::Running { say, .. } = &mut used.state {
            *say = Some((at, words));
        }
        self.on_tools_time();
    }

    /// A tool is late, or the line is silent enough to speak of one.
    pub(super) fn on_tools_time(&mut self) {
        let now = self.now;
        let due =
            |used: &Use| matches!(used.state, State::Running { deadline, .. } if deadline <= now);
        for run in self.tools.names_of(due) {
            self.stats.tools_timed_out += 1;
            self.actions.push_back(Action::CancelTool(run));
            if self.answer(run, ToolOutput::error(TOO_LATE)) {
                self.await_reply_to_result();
            }
        }
        if self.tools.reply_due.take_if(|due| *due <= now).is_some() {
            // It has nothing to say about the result, which is its right.
            self.awaits_reply = false;
            self.refresh();
        }
        self.tell_late_results();
        self.say_what_takes_so_long();
        self.schedule_tools();
        self.finish_when_closed();
    }

    /// Tells the session that talks what came of tools that an earlier one started. Text over a
    /// reply would stop it, so this waits for silence, though not for ever.
    fn tell_late_results(&mut self) {
        let Some(since) = self.tools.late_since else {
            return;
        };
        let silent = self.line_is_silent() && !self.awaits_reply && !self.replies.is_coming();
        if self.links.open().is_some() && (silent || since + LATE_WAIT <= self.now) {
            self.tools.late_since = None;
            let words = std::mem::take(&mut self.tools.late).join("\n");
            self.tell(words);
        }
    }

    fn say_what_takes_so_long(&mut self) {
        if !self.line_is_silent() || self.links.open().is_none() {
            return;
        }
        let now = self.now;
        let due = |used: &mut Use| match &mut used.state {
            State::Running { say, .. } => say.take_if(|(at, _)| *at <= now),
            State::Answered(_) | State::Over => None,
        };
        let words = self.tools.uses.iter_mut().find_map(due);
        if let Some((_, words)) = words.filter(|_| self.setup.text_input) {
            self.tell(words);
        }
    }

    /// Whether neither side speaks and all that was said was heard.
    fn line_is_silent(&self) -> bool {
        !self.hears_voice() && self.playout.is_empty() && !self.playout.is_audible(self.now)
    }

    /// Gives the model what came of a use. `true` when it was told and will reply.
    fn answer(&mut self, run: ToolRunId, output: ToolOutput) -> bool {
        let open = self.links.open();
        let Some(used) = self.tools.running(run) else {
            return false;
        };
        let failed = output.is_error();
        let id = used.call.id.clone();
        let told = used.session.filter(|session| open == Some(*session));
        let late = late_result(&used.call, &output);
        let work = WorkKind::tool(run, &used.call.name);
        used.state = match told {
            Some(_) => State::Answered(output.clone()),
            None => State::Over,
        };
        self.stats.tools_failed += u64::from(failed);
        self.actions
            .push_back(Action::Publish(Notice::ToolAnswered { run, failed }));
        self.end_work(&work, failed);
        match told {
            Some(session) => self
                .actions
                .push_back(Action::Answer(session, ToolResult { id, output })),
            None => self.keep_late(late),
        }
        told.is_some()
    }

    fn keep_late(&mut self, words: String) {
        if !self.is_going_on() {
            return;
        }
        if self.setup.text_input {
            self.tools.late.push(words);
            self.tools.late_since.get_or_insert(self.now);
        } else {
            self.actions
                .push_back(Action::Publish(Notice::Trouble(ProviderErrorKind::Invalid)));
        }
    }

    /// The model was given a result and will say something, most likely.
    fn await_reply_to_result(&mut self) {
        match self.phase {
            Phase::Live | Phase::Transferring => {
                self.awaits_reply = true;
                self.tools.reply_due = Some(self.now + REPLY_WAIT);
            }
            // It has said goodbye already, or does now.
            Phase::LastWords(_) => self.allow_last_words(),
            Phase::HangingUp(_) | Phase::Closing(_) | Phase::Over => {}
        }
    }

    /// The session that talks is left, or lost: what its tools bring goes to the next one. A
    /// session that lives is told so, since it waits for an answer to each.
    pub(super) fn move_tools(&mut self, living: Option<SessionId>) {
        let mut late = Vec::new();
        for used in &mut self.tools.uses {
            let Some(session) = used.session.take() else {
                continue;
            };
            match &used.state {
                State::Running { .. } if living == Some(session) => {
                    let id = used.call.id.clone();
                    let output = ToolOutput::error(MOVED);
                    self.actions
                        .push_back(Action::Answer(session, ToolResult { id, output }));
                }
                State::Answered(output) => late.push(late_result(&used.call, output)),
                State::Running { .. } | State::Over => {}
            }
        }
        self.tools.uses.retain(Use::is_running);
        if self.tools.reply_due.take().is_some() {
            // The next session is told what this one would have spoken of.
            self.awaits_reply = false;
        }
        late.into_iter().for_each(|words| self.keep_late(words));
        self.schedule_tools();
    }

    /// The caller interrupts the agent's turn, and with it the tools that allow it.
    pub(super) fn interrupt_tools(&mut self) {
        let cancelled = |used: &Use| {
            matches!(
                used.state,
                State::Running {
                    interruptible: true,
                    ..
                }
            )
        };
        for run in self.tools.names_of(cancelled) {
            self.actions.push_back(Action::CancelTool(run));
            // The caller has the word: no reply is due.
            let _told = self.answer(run, ToolOutput::error(INTERRUPTED));
        }
        self.schedule_tools();
    }

    /// The call is over. Whatever must not stop half way may still finish.
    pub(super) fn close_tools(&mut self) {
        self.tools.late.clear();
        self.tools.late_since = None;
        let open = self.links.open();
        for used in &mut self.tools.uses {
            let State::Running { interruptible, .. } = used.state else {
                continue;
            };
            if let Some(session) = used.session.take().filter(|session| open == Some(*session)) {
                let id = used.call.id.clone();
                let output = ToolOutput::error(CALL_OVER);
                self.actions
                    .push_back(Action::Answer(session, ToolResult { id, output }));
            }
            if interruptible {
                self.actions.push_back(Action::CancelTool(used.run));
                used.state = State::Over;
            }
        }
        self.tools.uses.retain(Use::is_running);
        self.schedule_tools();
    }

    /// Nobody waits for anything any more.
    pub(super) fn cancel_tools(&mut self) {
        for used in self.tools.uses.drain(..).filter(Use::is_running) {
            self.actions.push_back(Action::CancelTool(used.run));
        }
        self.timers.stop(Timer::Tools);
    }

    fn schedule_tools(&mut self) {
        let look = self.now + LOOK;
        let of_use = |used: &Use| match &used.state {
            State::Running { deadline, say, .. } => {
                let say = say.as_ref().map(|(at, _)| (*at).max(look));
                Some(say.map_or(*deadline, |say| say.min(*deadline)))
            }
            State::Answered(_) | State::Over => None,
        };
        let uses = self.tools.uses.iter().filter_map(of_use);
        let late = self.tools.late_since.map(|_| look);
        match uses.chain(late).chain(self.tools.reply_due).min() {
            Some(at) => self.timers.set(Timer::Tools, at.max(self.now)),
            None => self.timers.stop(Timer::Tools),
        }
    }
}

/// What came of a use whose session was left, for a session that knows nothing of it.
fn late_result(call: &ToolCall, output: &ToolOutput) -> String {
    let arguments = &call.arguments[..call.arguments.floor_char_boundary(MAX_ARGUMENTS)];
    format!(
        "(The tool {} that you called with {arguments} is done. Its result: {} Do not call it again for this.)",
        call.name,
        output.to_json()
    )
}

fn say_this(words: &str) -> String {
    format!("(This takes a moment. Say only this to the caller, and wait for the result: {words})")
}

const TOO_LATE: &str =
    "The tool took too long and was stopped. It may or may not have had an effect.";
const MOVED: &str = "The result will follow in another session.";
const INTERRUPTED: &str = "The caller interrupted, and the tool was stopped.";
const CALL_OVER: &str = "The call is over.";

/// More at once is a model that runs wild.
const MAX_RUNNING: usize = 8;

/// Uses that are remembered to know a doubled one; no session has nearly as many.
const MAX_KNOWN: usize = 256;

/// In bytes.
const MAX_PROGRESS: usize = 500;
const MAX_ARGUMENTS: usize = 2_000;

/// How often silence is looked for while there is something to say.
const LOOK: Duration = Duration::from_millis(200);

/// A late result interrupts rather than wait for longer.
const LATE_WAIT: Duration = Duration::from_secs(10);

/// A model that has said nothing about a result by now has nothing to say.
const REPLY_WAIT: Duration = Duration::from_secs(8);

//! Performs what a conversation decides. The only `select!` on the call path, and no opinions.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{
    Parts,
    event::EventKind,
    handle::{Counted, Entry},
    journaled::Journaled,
    recorder::Recorder,
    seeds::Seeds,
    sessions::Sessions,
    tools::ToolRuns,
};
use crate::{
    answer::{AnsweredBy, BeepDetector},
    audio::{comfort_tone, vad::VoiceDetector},
    call::{CallId, CallInfo, CallStatus, CallSummary, Direction, Outcome},
    clock,
    conversation::{Action, Command, EndReason, Input, Notice, Setup, Step},
    duplex::Duplex,
    lead::{Lead, LeadStore, PhoneNumber},
    model::{ModelCommand, SessionSeed, SpeechModel},
    telephony::{CallCommand, CallEvent, Leg},
    tool::Tools,
    transcript::TranscriptSink,
};

/// Runs one call from its leg's first event to its record's last word.
pub(super) async fn run<M, S, L>(parts: Arc<Parts<M, S, L>>, leg: Leg)
where
    M: SpeechModel,
    S: TranscriptSink,
    L: LeadStore,
{
    let Leg { info, duplex } = leg;
    let _counted = Counted::new(&parts.shared.tasks);
    let Some((entry, commands)) = parts.shared.enter(&info) else {
        return warn!("refused: a call of this id is going on already");
    };
    let entry = Arc::new(entry);
    info!(from = ?info.remote, "call started");
    entry.publish(EventKind::Started(info.clone()));
    let recorder = Recorder::start(Arc::clone(&parts), info.clone(), Arc::clone(&entry));

    let began = clock::now();
    let lead = look_up(&parts.leads, parts.config.lead_lookup, &info).await;
    let prompt = (parts.prompt)(info.clone(), lead.clone()).await;
    let prompt_version = match info.has_own_prompt() {
        true => Some(CallInfo::OWN_PROMPT.to_owned()),
        false => prompt.version,
    };
    let mut seed = SessionSeed::new(
        info.id.clone(),
        info.instructions.clone().unwrap_or(prompt.instructions),
        info.rate,
    );
    seed.voice = prompt.voice;
    let capabilities = parts.model.capabilities();
    let tools = match capabilities.tools {
        true => parts.tools.clone(),
        false => Tools::default(),
    };
    let seeds = Seeds::new(seed, tools.clone(), prompt.tools.as_deref());
    let setup = Setup {
        rate: info.rate,
        leg: info.leg,
        text_input: capabilities.text_input,
        tools: tools.specs(),
        offered: prompt.tools,
        greeting: info.greeting.clone().or(prompt.greeting),
        answering: prompt
            .answering
            .filter(|_| info.direction == Direction::Outbound),
        session_limit: capabilities.max_session,
        jitter: jitter(&info.id),
        filler: parts.config.filler.then(|| comfort_tone(info.rate)),
        started: clock::wall(),
    };
    let (conversation, journal) = Journaled::begin(
        parts.config.journals.as_ref(),
        &parts.shared,
        &info,
        parts.config.conversation.clone(),
        setup,
    );
    let call = Call {
        conversation,
        leg: duplex,
        sessions: Sessions::new(&parts.shared),
        tools: ToolRuns::new(tools, info.clone(), lead, &parts.shared.tasks),
        detector: (parts.detector)(),
        tones: BeepDetector::new(),
        seeds,
        parts: &parts,
        recorder: &recorder,
        entry: &entry,
        commands,
    };
    let (reason, stats, failure) = call.run().await;

    let mut summary = summarise(
        &reason,
        stats.answered_by,
        clock::wall(),
        clock::now().saturating_duration_since(began),
    );
    summary.usage = stats.usage;
    summary.prompt_version = prompt_version;
    summary.transfer = stats.transfer;
    summary.failure = failure;
    let day = info.started.to_zoned(jiff::tz::TimeZone::UTC).date();
    let prices = parts.config.prices.as_ref().and_then(|list| list.on(day));
    summary.cost_usd = prices.map(|prices| prices.cost(stats.usage));
    let deadline = parts.config.record_deadline;
    if let Err(failed) = recorder
        .finish(&parts.transcripts, &info, &summary, deadline)
        .await
    {
        warn!(
            error = &failed as &dyn std::error::Error,
            "closing the transcript failed"
        );
        entry.publish(EventKind::Trouble(failed.to_string()));
    }
    info!(
        ?reason,
        status = summary.status.as_str(),
        seconds = summary.duration.as_secs(),
        "call ended"
    );
    entry.publish(EventKind::Ended {
        reason,
        summary,
        stats: Box::new(stats),
    });
    if let Some(journal) = journal {
        journal.finish(deadline).await;
    }
}

/// A call's moving parts.
struct Call<'a, M, S, L> {
    conversation: Journaled,
    leg: Duplex<CallCommand, CallEvent>,
    sessions: Sessions,
    tools: ToolRuns,
    detector: Box<dyn VoiceDetector>,
    tones: BeepDetector,
    seeds: Seeds,
    parts: &'a Arc<Parts<M, S, L>>,
    recorder: &'a Recorder,
    entry: &'a Entry,
    commands: mpsc::Receiver<Command>,
}

impl<M: SpeechModel, S: TranscriptSink, L: LeadStore> Call<'_, M, S, L> {
    /// Why it ended, the figures, and what the model said where that is the reason.
    async fn run(mut self) -> (EndReason, crate::conversation::CallStats, Option<String>) {
        let mut leg_open = true;
        loop {
            let wake = loop {
                match self.conversation.step() {
                    Step::Do(Action::End(reason)) => {
                        let failed = matches!(reason, EndReason::ModelFailed(_));
                        let failure = self.sessions.failure().filter(|_| failed);
                        let failure = failure.map(str::to_owned);
                        return (reason, self.conversation.stats(), failure);
                    }
                    Step::Do(action) => self.perform(action),
                    Step::Wait(until) => break until,
                }
            };
            let input = tokio::select! {
                biased;
                event = self.leg.events.recv(), if leg_open => match event {
                    Some(Ok(CallEvent::Audio(frame))) => {
                        self.listen(&frame);
                        Input::Call(CallEvent::Audio(frame))
                    }
                    Some(Ok(event)) => Input::Call(event),
                    Some(Err(failed)) => {
                        leg_open = false;
                        warn!(error = &failed as &dyn std::error::Error, "the leg failed");
                        Input::Call(CallEvent::HungUp)
                    }
                    None => {
                        leg_open = false;
                        Input::Call(CallEvent::HungUp)
                    }
                },
                input = self.sessions.next() => input,
                input = self.tools.next() => input,
                Some(command) = self.commands.recv() => Input::Command(command),
                () = sleep_until(wake.unwrap_or_else(far_future).into()), if wake.is_some() => Input::Tick,
            };
            self.conversation.handle(clock::now(), input);
        }
    }

    /// Lets the detectors hear the caller, and passes on what changed.
    fn listen(&mut self, frame: &crate::audio::AudioFrame) {
        let voice = self.detector.hear(frame);
        if voice != self.conversation.hears_voice() {
            self.conversation.handle(clock::now(), Input::Voice(voice));
        }
        if self.conversation.listens_for_tones()
            && let Some(sound) = self.tones.listen(frame)
        {
            self.conversation.handle(clock::now(), Input::Sound(sound));
        }
    }

    fn perform(&mut self, action: Action) {
        if !matches!(action, Action::Feed(..) | Action::Play(_)) {
            debug!(action = action.name());
        }
        match action {
            Action::OpenModel(id) => {
                self.sessions
                    .open(id, Arc::clone(self.parts), self.seeds.current())
            }
            Action::Brief(id, history) => self.sessions.command(id, ModelCommand::History(history)),
            Action::Feed(id, frame) => {
                if !self.sessions.feed(id, frame) {
                    self.conversation.handle(clock::now(), Input::NotFed);
                }
            }
            Action::Tell(id, text) => self.sessions.command(id, ModelCommand::Text(text)),
            Action::Answer(id, result) => {
                self.sessions.command(id, ModelCommand::ToolResult(result));
            }
            Action::Configure(change) => self.seeds.configure(change),
            Action::CloseModel(id) => self.sessions.close(id),
            Action::Play(frame) => self.play(frame),
            Action::Mark(mark) => self.leg(CallCommand::Mark(mark)),
            Action::ClearPlayback => self.leg(CallCommand::Clear),
            Action::Show(show) => self.leg(CallCommand::Show(show)),
            Action::Transfer(to) => self.leg(CallCommand::Transfer { to }),
            Action::WarmTransfer { to, briefing } => {
                self.leg(CallCommand::WarmTransfer { to, briefing });
            }
            Action::SendDtmf(keys) => self.leg(CallCommand::SendDtmf(keys)),
            Action::CallTool(run, call) => self.tools.start(run, call),
            Action::CancelTool(run) => self.tools.cancel(run),
            Action::HangUp { apologise } => self.leg(CallCommand::HangUp { apologise }),
            Action::Record(line) => {
                if !self.recorder.record(line) {
                    self.entry.publish(EventKind::Trouble(
                        "a line of the transcript was lost: the sink is too far behind".to_owned(),
                    ));
                }
            }
            Action::Publish(notice) => self.entry.publish(match notice {
                Notice::State { old, new } => EventKind::State { old, new },
                Notice::Caption { speaker, text } => EventKind::Caption { speaker, text },
                Notice::AnsweredBy(verdict) => EventKind::AnsweredBy(verdict),
                Notice::ToolCalled { run, name } => EventKind::ToolCalled { run, name },
                Notice::ToolAnswered { run, failed } => EventKind::ToolAnswered { run, failed },
                Notice::Transfer(step) => EventKind::Transfer(step),
                Notice::Trouble(kind) => EventKind::Trouble(kind.to_string()),
                Notice::Turn(turn) => EventKind::Turn(Box::new(turn)),
                Notice::Work(work) => EventKind::Work(work),
            }),
            // Taken by the loop.
            Action::End(_) => {}
        }
    }

    /// Audio leaves room for what must not be lost.
    fn play(&mut self, frame: crate::audio::AudioFrame) {
        let room = self.leg.commands.capacity() > reserve(self.leg.commands.max_capacity());
        if !room
            || self
                .leg
                .commands
                .try_send(CallCommand::Play(frame))
                .is_err()
        {
            self.conversation.handle(clock::now(), Input::NotPlayed);
        }
    }

    /// A leg that takes no commands is lost.
    fn leg(&mut self, command: CallCommand) {
        match self.leg.commands.try_send(command) {
            Ok(()) => {}
            // Its end is reported by its events.
            Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                warn!("the leg takes no commands any more and counts as lost");
                self.conversation
                    .handle(clock::now(), Input::Call(CallEvent::HungUp));
            }
        }
    }
}

/// Spreads calls evenly between -1 and 1, the same for the same call.
fn jitter(call: &CallId) -> f32 {
    let mut hasher = DefaultHasher::new();
    call.hash(&mut hasher);
    let bucket = u16::try_from(hasher.finish() % 2_001).unwrap_or(1_000);
    f32::from(bucket) / 1_000.0 - 1.0
}

/// Slots of a command queue that audio may not take.
pub(super) fn reserve(capacity: usize) -> usize {
    (capacity / 4).min(16)
}

/// What the store knows of the person on the phone, if it answers in time.
async fn look_up<L: LeadStore>(leads: &L, deadline: Duration, info: &CallInfo) -> Option<Lead> {
    let phone = PhoneNumber::try_from(info.remote.as_ref()?).ok()?;
    match timeout(deadline, leads.get(&phone)).await {
        Ok(Ok(lead)) => lead,
        Ok(Err(failed)) => {
            warn!(
                error = &failed as &dyn std::error::Error,
                "looking the caller up failed"
            );
            None
        }
        Err(_) => {
            warn!("looking the caller up took too long");
            None
        }
    }
}

fn summarise(
    reason: &EndReason,
    answered_by: Option<AnsweredBy>,
    ended: jiff::Timestamp,
    duration: Duration,
) -> CallSummary {
    let (status, outcome) = match reason {
        EndReason::ModelFailed(_) => (CallStatus::Failed, Outcome::Failed),
        _ if answered_by == Some(AnsweredBy::MachineScreening) => {
            (CallStatus::Voicemail, Outcome::Screened)
        }
        _ if answered_by.is_some_and(AnsweredBy::is_machine) => {
            (CallStatus::Voicemail, Outcome::Voicemail)
        }
        EndReason::CallerHungUp
        | EndReason::AgentHungUp
        | EndReason::Aborted
        | EndReason::Transferred
        | EndReason::NoTraffic => (CallStatus::Completed, Outcome::Completed),
    };
    CallSummary::new(status, outcome, ended, duration)
}

fn far_future() -> Instant {
    clock::now() + Duration::from_secs(86_400)
}

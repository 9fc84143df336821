//! The campaign as it happens, line by line.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use anyhow::Context;
use jiff::Timestamp;
use novavoice::{
    agent::{AgentEvent, AgentHandle, EventKind},
    answer::AnsweredBy,
    call::{CallId, Party},
    lead::{Lead, LeadCallStatus, PhoneNumber},
    telephony::{CallProgress, Progress},
    tool::ToolRunId,
    transcript::{Speaker, Utterance},
};

use super::{
    report::{Leads, name, shortened},
    screen::{Look, Screen},
};
use crate::{clock, stores::Stores};

/// Shows what is told to it.
pub(crate) struct Live<'a> {
    screen: &'a mut Screen,
    stores: &'a Stores,
    leads: &'a Leads,
    agent: AgentHandle,
    began: Timestamp,
    phones: HashMap<CallId, PhoneNumber>,
    /// The calls in their order, and when each was placed.
    placed: Vec<(CallId, Timestamp)>,
    /// Calls in which the agent talks, or has.
    talked: HashSet<CallId>,
    /// Uses of tools that are not answered yet.
    tools: HashMap<(CallId, ToolRunId), String>,
    /// Who answered, as it was told last.
    answered: HashMap<CallId, AnsweredBy>,
    /// What is told a moment later: tools are often done before the words that asked for them are
    /// on the disk.
    fresh: Vec<Note>,
    ripe: Vec<Note>,
}

type Note = (CallId, Look, String);

impl<'a> Live<'a> {
    /// Begins now.
    pub(crate) fn new(
        screen: &'a mut Screen,
        stores: &'a Stores,
        leads: &'a Leads,
        agent: AgentHandle,
    ) -> Self {
        Self {
            screen,
            stores,
            leads,
            agent,
            began: clock::real(),
            phones: HashMap::new(),
            placed: Vec::new(),
            talked: HashSet::new(),
            tools: HashMap::new(),
            answered: HashMap::new(),
            fresh: Vec::new(),
            ripe: Vec::new(),
        }
    }

    /// Something happened in a call.
    pub(crate) async fn take(&mut self, event: &AgentEvent) -> anyhow::Result<()> {
        let call = &event.call;
        match &event.kind {
            EventKind::Started(info) => {
                self.talked.insert(call.clone());
                self.knows(call, info.remote.as_ref());
            }
            EventKind::AnsweredBy(verdict) if verdict.answered_by.is_machine() => {
                let by = verdict.answered_by;
                if self.answered.insert(call.clone(), by) != Some(by) {
                    self.note(call, Look::Faint, &format!("-- sounds like {by}"))?;
                }
            }
            EventKind::ToolCalled { run, name } => {
                self.tools.insert((call.clone(), *run), name.clone());
            }
            EventKind::ToolAnswered { run, failed } => {
                let tool = self.tools.remove(&(call.clone(), *run));
                let tool = tool.unwrap_or_default();
                self.tool(call, &tool, *failed).await?;
            }
            EventKind::Utterance(line) => self.line(call, line)?,
            EventKind::Ended { summary, .. } => {
                let seconds = summary.duration.as_secs_f64();
                let record = self.stores.calls.get(call).await;
                let record = record.context("the store of calls")?;
                let outcome = record.and_then(|record| record.outcome);
                let outcome = outcome.unwrap_or(summary.outcome).as_str();
                let text = format!("== {outcome}, after {seconds:.1} s");
                self.settle(Some(call))?;
                self.note(call, Look::Good, &text)?;
            }
            // States, captions, figures.
            _ => {}
        }
        Ok(())
    }

    /// The carrier tells of a call.
    pub(crate) fn progress(&mut self, progress: &CallProgress) -> io::Result<()> {
        let call = &progress.call;
        match &progress.step {
            Progress::Placed => {
                self.knows(call, progress.remote.as_ref());
                self.placed.push((call.clone(), progress.at));
                let Some(phone) = self.phones.get(call) else {
                    return Ok(());
                };
                let text = |field| self.lead(call).and_then(|lead| lead.text(field));
                let church = text("company").unwrap_or("-");
                let state = text("state_province").unwrap_or("-");
                let text = format!("-- dialling {}, {church}, {state}", shortened(phone));
                self.note(call, Look::Faint, &text)
            }
            // Where the agent talked it knows better what came of the call.
            Progress::Ended(end) if !self.talked.contains(call) => {
                let bad = match end.bad_number {
                    true => "; the number is out of order, and dialled no more",
                    false => "",
                };
                let placed = self.placed.iter().find(|(placed, _)| placed == call);
                let rang =
                    placed.map_or(0.0, |(_, at)| progress.at.duration_since(*at).as_secs_f64());
                let text = format!("== {}, after {rang:.1} s{bad}", end.outcome.as_str());
                self.note(call, Look::Bad, &text)
            }
            _ => Ok(()),
        }
    }

    /// Tells what has waited long enough, or everything of a call that is over.
    pub(crate) fn settle(&mut self, over: Option<&CallId>) -> io::Result<()> {
        let is_due = |note: &mut Note| over.is_none_or(|over| note.0 == *over);
        let mut due: Vec<_> = self.ripe.extract_if(.., is_due).collect();
        match over {
            Some(_) => due.extend(self.fresh.extract_if(.., is_due)),
            None => self.ripe.append(&mut self.fresh),
        }
        for (call, look, text) in due {
            self.note(&call, look, &text)?;
        }
        Ok(())
    }

    /// Events were missed: honest about it.
    pub(crate) fn missed(&mut self, events: u64) -> io::Result<()> {
        let text = format!("({events} events came faster than they could be shown)");
        self.screen.say(Look::Bad, &text)
    }

    async fn tool(&mut self, call: &CallId, tool: &str, failed: bool) -> anyhow::Result<()> {
        let (look, text) = match failed {
            true => (Look::Bad, format!("-- {tool} declines")),
            false => (Look::Faint, format!("-- {tool}")),
        };
        self.fresh.push((call.clone(), look, text));
        if tool != "record_outcome" || failed {
            return Ok(());
        }
        // Read back from the store, while the call goes on.
        let Some(phone) = self.phones.get(call) else {
            return Ok(());
        };
        let lead = self.stores.leads.get(phone).await;
        let lead = lead.context("the store of leads")?;
        let status = lead.as_ref().and_then(Lead::call_status);
        let is_live = self.agent.calls().iter().any(|live| live.info.id == *call);
        if status == Some(LeadCallStatus::DoNotCall) && is_live {
            let text = "-- is on the do-not-call list from here on, while the call goes on";
            self.fresh.push((call.clone(), Look::Bad, text.to_owned()));
        }
        Ok(())
    }

    fn line(&mut self, call: &CallId, line: &Utterance) -> io::Result<()> {
        let (who, look) = match line.speaker {
            Speaker::Caller => ("Human", Look::Human),
            Speaker::Agent => ("Esther", Look::Esther),
        };
        let cut = if line.cut { " [cut]" } else { "" };
        let margin = format!("{}{who:<7} ", self.margin(call));
        let text = format!("{}{cut}", line.text);
        self.screen.row(&margin, self.tint(call), look, &text)
    }

    fn note(&mut self, call: &CallId, look: Look, text: &str) -> io::Result<()> {
        let margin = self.margin(call);
        self.screen.row(&margin, self.tint(call), look, text)
    }

    /// When, and with whom.
    fn margin(&self, call: &CallId) -> String {
        let seconds = clock::real().duration_since(self.began).as_secs_f64();
        let who = self.lead(call).map_or("-", name);
        format!("{seconds:>5.1} s  {who:<19}  ")
    }

    /// In the order of the calls.
    fn tint(&self, call: &CallId) -> Option<usize> {
        self.placed.iter().position(|(placed, _)| placed == call)
    }

    fn lead(&self, call: &CallId) -> Option<&Lead> {
        self.leads.get(self.phones.get(call)?)
    }

    fn knows(&mut self, call: &CallId, remote: Option<&Party>) {
        if let Some(phone) = remote.and_then(|remote| PhoneNumber::try_from(remote).ok()) {
            self.phones.insert(call.clone(), phone);
        }
    }
}

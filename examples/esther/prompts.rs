//! The versions of Esther's prompt: read for a call, and written by people.

use std::{sync::Arc, time::Duration};

use novavoice::{
    ProviderError,
    agent::Prompt,
    call::{CallInfo, Direction},
    lead::Lead,
    outbound::Plan,
    prompt::{Draft, Prompts, Texts},
    record::{CallNote, CallStore},
    state::StateStore,
};
use serde_json::{Map, Value};

use crate::{clock::wall, persona, stores::Acquaintance};

/// All versions, in the store that the nodes share.
pub(crate) fn open(state: &Arc<dyn StateStore>) -> Prompts {
    Prompts::new(Arc::clone(state), persona::shipped())
}

/// Tells each call what to say. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(crate) struct Prompter {
    pub(crate) prompts: Prompts,
    pub(crate) calls: Arc<dyn CallStore>,
}

impl Prompter {
    /// What the model is told in a call that begins now. The call's record says which version that
    /// is from now on, also when the process dies in the middle of it.
    pub(crate) async fn prompt(self, call: CallInfo, lead: Option<Lead>) -> Prompt {
        let wanted = wanted(&call, lead.as_ref());
        let version = self.prompts.for_call(wanted, wall()).await;
        let prompt = persona::prompt(&version, &call, lead.as_ref());
        let mut note = CallNote::default();
        note.direction = Some(call.direction);
        note.started = Some(call.started);
        note.prompt_version = match call.has_own_prompt() {
            true => Some(CallInfo::OWN_PROMPT.to_owned()),
            false => prompt.version.clone(),
        };
        // Beside the call: what is said does not wait for it.
        tokio::spawn(async move {
            if let Err(error) = self.calls.note(&call.id, &note).await {
                tracing::warn!(
                    call_id = %call.id,
                    error = &error as &dyn std::error::Error,
                    "the record of a call says which prompt it had when it is over, not before"
                );
            }
        });
        prompt
    }
}

/// The version that the campaign wants which placed the call.
fn wanted(call: &CallInfo, lead: Option<&Lead>) -> Option<u32> {
    let placed = call.direction == Direction::Outbound;
    lead.filter(|_| placed)?
        .text(Acquaintance::PROMPT)?
        .parse()
        .ok()
}

/// Keeps what a call falls back to close to what is active, for as long as the process runs.
pub(crate) async fn read_ahead(prompts: Prompts) {
    loop {
        if let Err(error) = prompts.read_ahead(wall()).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the active prompt cannot be read"
            );
        }
        tokio::time::sleep(AHEAD).await;
    }
}

/// Why a plan's version of the prompt cannot be; otherwise it is written as its number.
///
/// # Errors
///
/// When the versions cannot be read.
pub(crate) async fn problem_of(
    prompts: &Prompts,
    plan: &mut Plan,
) -> Result<Option<String>, ProviderError> {
    let Some(written) = &plan.prompt_version else {
        return Ok(None);
    };
    let shown: String = written
        .chars()
        .filter(|c| !c.is_control())
        .take(20)
        .collect();
    let number = written.trim().parse::<u32>().ok();
    let Some(number) = number.filter(|_| !written.contains('+')) else {
        return Ok(Some(format!(
            "promptVersion: {shown:?} is no number of a version"
        )));
    };
    match prompts.get(number, wall()).await? {
        Some(_) => {
            plan.prompt_version = Some(number.to_string());
            Ok(None)
        }
        None => Ok(Some(format!(
            "promptVersion: there is no prompt version {number}"
        ))),
    }
}

/// Reads what somebody wrote as JSON: texts, `author` and `note`. Texts that are left out are those
/// of `base`. Members that an answer of ours has besides are not looked at.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn draft(members: &Map<String, Value>, base: &Texts) -> Result<Draft, Vec<String>> {
    let (mut texts, mut wrong) = (base.clone(), Vec::new());
    let (mut author, mut note) = (None, None);
    for (name, value) in members {
        if let Some(text) = texts.text_mut(name) {
            match value {
                Value::String(written) => text.clone_from(written),
                _ => wrong.push(format!("{name}: it is no text")),
            }
            continue;
        }
        match name.as_str() {
            "author" => author = remark(name, value, LONGEST_AUTHOR, &mut wrong),
            "note" => note = remark(name, value, LONGEST_NOTE, &mut wrong),
            "version" | "createdAt" | "active" | "warnings" => {}
            _ => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
                wrong.push(format!("{name}: a prompt has no member of this name"));
            }
        }
    }
    match Draft::new(texts) {
        Ok(draft) if wrong.is_empty() => {
            let draft = author.into_iter().fold(draft, Draft::by);
            Ok(note.into_iter().fold(draft, Draft::because))
        }
        Ok(_) => Err(wrong),
        Err(bad) => {
            wrong.extend(bad.iter().map(ToString::to_string));
            Err(wrong)
        }
    }
}

/// A line about a version, or none.
pub(crate) fn remark(
    name: &str,
    value: &Value,
    most: usize,
    wrong: &mut Vec<String>,
) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.trim(),
        _ => {
            wrong.push(format!("{name}: it is no text"));
            return None;
        }
    };
    if text.chars().count() > most || text.chars().any(char::is_control) {
        wrong.push(format!(
            "{name}: at most {most} characters, without control characters"
        ));
        return None;
    }
    (!text.is_empty()).then(|| text.to_owned())
}

/// Characters of a name, and of a remark.
pub(crate) const LONGEST_AUTHOR: usize = 100;
const LONGEST_NOTE: usize = 500;

/// How often the active version is read when nobody calls.
const AHEAD: Duration = Duration::from_secs(2);

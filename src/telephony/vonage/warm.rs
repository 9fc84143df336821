//! Handing a caller over to somebody who is called first, told who waits, and may say no.
//!
//! The caller's leg stays where it is until the person has said yes: whatever goes wrong before,
//! the agent still has the call. Then both join a conversation of their own, which ends for both
//! when either leaves (Vonage NCCO reference, `conversation`).

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout_at};
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    Vonage,
    dial::{endpoint, invalid},
    flow,
    introductions::{Chosen, Step},
    leg::Signal,
    ncco::{AdvancedMachineDetection, DetectionMode, Method, OnMachine},
    replies::Reply,
    rest::{CallFlow, CallerId, CreateCall, MachineDetection, Rest, RestError},
    router::{MAX_ID, Refusal, ncco},
    webhook::{Digits, Event, Status, StatusEvent, classify},
};
use crate::{
    call::{CallId, Party},
    clock,
    error::ProviderError,
    private::Private,
    telephony::{CallEvent, NotTaken},
};

/// Why the caller stays where they are.
enum Stays {
    NotTaken(NotTaken),
    Failed(ProviderError),
    /// They do not: they have left.
    CallerLeft,
}

/// Calls `to`, tells them `briefing`, and connects `caller` with them if they take the call. What
/// comes of it is reported to the caller's leg.
pub(super) async fn introduce(
    vonage: Vonage,
    caller: CallId,
    to: Party,
    briefing: Private<String>,
) {
    let report = |event| vonage.signal(caller.as_str(), Signal::Report(event));
    match attempt(&vonage, &caller, &to, briefing.reveal()).await {
        Ok(()) => tracing::info!(call = %caller, "a caller was handed over"),
        Err(Stays::NotTaken(why)) => {
            tracing::info!(call = %caller, ?why, "a call is not taken over");
            report(CallEvent::NotTaken(why));
        }
        Err(Stays::Failed(error)) => {
            tracing::warn!(call = %caller, %error, "handing a caller over failed");
            report(CallEvent::TransferFailed(error.kind().clone()));
        }
        Err(Stays::CallerLeft) => {
            tracing::info!(call = %caller, "a caller left before they were handed over");
        }
    }
}

async fn attempt(vonage: &Vonage, caller: &CallId, to: &Party, words: &str) -> Result<(), Stays> {
    let (rest, from) = vonage.dialling().dialler().map_err(Stays::Failed)?;
    // Both legs join one conversation, so both live where the caller's does.
    let rest = rest
        .in_region(vonage.region(caller).as_deref())
        .for_caller();
    let id = Uuid::new_v4().to_string();
    let events = flow::introduction_url(vonage.config(), caller, &id);
    let flow = flow::introduce(words, &events).map_err(|error| Stays::Failed(invalid(error)))?;
    // A machine that is briefed must not be taken for somebody who stays on the line.
    let listen = AdvancedMachineDetection::new(DetectionMode::Default, OnMachine::Continue);
    let shown = CallerId::Number(Private::new(from.reveal().to_owned()));
    let call = CreateCall::new(endpoint(to), shown, CallFlow::Ncco(flow))
        .events(events, Method::Post)
        .machine_detection(MachineDetection::Advanced(listen))
        .ringing(RINGING);
    let mut news = vonage
        .introductions()
        .open(id.clone(), caller, clock::now());
    let came = match rest.create(&call).await {
        Err(error) => Err(Stays::Failed(error.into())),
        Ok(created) => {
            let person = Person {
                vonage,
                rest: &rest,
                leg: created.id,
                caller,
                id: &id,
            };
            person.is_told(&mut news, words).await
        }
    };
    vonage.introductions().close(&id);
    came
}

/// Somebody who is called.
struct Person<'a> {
    vonage: &'a Vonage,
    rest: &'a Rest,
    leg: CallId,
    caller: &'a CallId,
    /// Names the introduction, and the conversation that it leads to.
    id: &'a str,
}

impl Person<'_> {
    async fn is_told(&self, news: &mut mpsc::Receiver<Step>, words: &str) -> Result<(), Stays> {
        match self.decides(news, words).await {
            Ok(()) => self.joins(news).await,
            Err((stays, is_up)) => {
                if is_up {
                    self.hang_up().await;
                }
                Err(stays)
            }
        }
    }

    /// Waits until they have chosen. Whoever says no says so on a leg that ends by itself; in all
    /// other cases the second value says whether it may still be up.
    async fn decides(
        &self,
        news: &mut mpsc::Receiver<Step>,
        words: &str,
    ) -> Result<(), (Stays, bool)> {
        let mut answered = false;
        let mut deadline = clock::now() + RINGING + LATE;
        loop {
            let step = match timeout_at(deadline.into(), news.recv()).await {
                Ok(Some(step)) => step,
                // The news may go to another node.
                Err(_) if !answered && self.has_answered().await => Step::Answered,
                Ok(None) | Err(_) => return Err((Stays::NotTaken(NotTaken::NoAnswer), true)),
            };
            match step {
                Step::Answered if answered => {}
                Step::Answered => {
                    answered = true;
                    deadline = clock::now() + time_to_decide(words);
                }
                Step::Chose(true) => return Ok(()),
                Step::Chose(false) => return Err((Stays::NotTaken(NotTaken::Declined), false)),
                Step::Machine => return Err((Stays::NotTaken(NotTaken::Machine), true)),
                Step::Ended(word) => {
                    return Err((Stays::NotTaken(why(&word, answered)), false));
                }
                Step::CallerLeft if self.was_joined_elsewhere().await => {
                    return Err((Stays::CallerLeft, false));
                }
                Step::CallerLeft => return Err((Stays::CallerLeft, true)),
            }
        }
    }

    /// They said yes: the caller joins them.
    async fn joins(&self, news: &mut mpsc::Receiver<Step>) -> Result<(), Stays> {
        let caller = self.caller.as_str();
        let flow = flow::join(self.id).map_err(|error| Stays::Failed(invalid(error)))?;
        self.vonage.signal(caller, Signal::Report(CallEvent::Taken));
        let undo = self.vonage.calls().released(caller);
        let mut moved = self.rest.transfer(self.caller, &flow).await;
        // Whoever is there already joins nothing by being told again.
        for _ in 0..AGAIN {
            match &moved {
                Err(error) if error.may_have_happened() => {
                    moved = self.rest.transfer(self.caller, &flow).await;
                }
                _ => break,
            }
        }
        if let Err(error) = moved {
            if undo && !error.may_have_happened() {
                self.vonage.calls().kept(caller);
            }
            self.hang_up().await;
            return Err(match is_over(&error) {
                true => Stays::CallerLeft,
                false => Stays::Failed(error.into()),
            });
        }
        self.stays_a_moment(news).await;
        Ok(())
    }

    /// Somebody who hangs up in the very moment leaves a caller in an empty room.
    async fn stays_a_moment(&self, news: &mut mpsc::Receiver<Step>) {
        let until = clock::now() + MOMENT;
        while let Ok(Some(step)) = timeout_at(until.into(), news.recv()).await {
            if !matches!(step, Step::Ended(_)) {
                continue;
            }
            // Where they had met it is over for both, which is news on its way.
            tokio::time::sleep(NEWS).await;
            if self.vonage.calls().is_over(self.caller.as_str()) {
                return;
            }
            let Ok(sorry) = flow::say(&self.vonage.config().apology) else {
                return;
            };
            match self.rest.transfer(self.caller, &sorry).await {
                Ok(()) => tracing::warn!(call = %self.caller, "nobody was there any more"),
                Err(error) if is_over(&error) => {}
                Err(error) => {
                    tracing::error!(call = %self.caller, %error, "a caller may be left alone");
                }
            }
            return;
        }
    }

    async fn hang_up(&self) {
        if let Err(error) = self.rest.hang_up(&self.leg).await {
            tracing::warn!(call = %self.leg, %error, "a call to a person was not ended");
        }
    }

    async fn has_answered(&self) -> bool {
        let found = self.rest.get(&self.leg).await;
        found.is_ok_and(|call| call.status == Status::Answered)
    }

    /// A caller whose leg was lost without a word is gone, unless the choice was told to another
    /// node, which has joined the two.
    async fn was_joined_elsewhere(&self) -> bool {
        if !self.vonage.is_live(self.caller) {
            return false;
        }
        let found = self.rest.get(self.caller).await;
        found.is_ok_and(|call| call.status == Status::Answered)
    }
}

/// What an event of the person's leg says, or what they chose.
pub(super) fn report(vonage: &Vonage, query: &str, body: &[u8]) -> Result<Reply, Refusal> {
    let named = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    let short = |text: &String| (1..=MAX_ID).contains(&text.len());
    let id = named(flow::INTRODUCTION).filter(short);
    let caller = named(flow::CALLER).filter(short);
    let (Some(id), Some(caller)) = (id, caller) else {
        return Err(Refusal::Senseless(
            "the address names no introduction".to_owned(),
        ));
    };
    match classify(body) {
        Event::Status(event) => {
            if let Some(step) = step(&event)
                && !vonage.introductions().happened(&id, step)
            {
                tracing::debug!("an introduction of another node goes on");
            }
            Ok(Reply::Empty)
        }
        Event::Input(input) => {
            let Some(takes) = input.dtmf.as_ref().map(takes) else {
                return Ok(Reply::Empty);
            };
            let chosen = vonage.introductions().chose(&id, takes);
            let join = match (chosen, takes) {
                (Chosen::Join, _) => true,
                (Chosen::Elsewhere, true) => {
                    let (vonage, caller) = (vonage.clone(), CallId::new(caller));
                    tokio::spawn(join_here(vonage, caller, id.clone(), input.about.leg));
                    true
                }
                (Chosen::Farewell | Chosen::TooLate | Chosen::Elsewhere, _) => false,
            };
            ncco(match (join, chosen) {
                (true, _) => flow::join(&id),
                (false, Chosen::TooLate) => flow::say(TOO_LATE),
                (false, _) => flow::say(FAREWELL),
            })
        }
        _ => Ok(Reply::Empty),
    }
}

/// The node that waits for the choice was not told of it: what it would do is done here. Its own
/// leg of the caller ends with that, and it asks the carrier why.
async fn join_here(vonage: Vonage, caller: CallId, id: String, person: Option<CallId>) {
    let joined = async {
        let flow = flow::join(&id).map_err(invalid)?;
        let rest = vonage.rest(Some(&caller))?;
        rest.transfer(&caller, &flow).await?;
        Ok::<_, ProviderError>(())
    };
    let Err(error) = joined.await else { return };
    tracing::warn!(call = %caller, %error, "a caller of another node was not handed over");
    if let Some(person) = person
        && let Err(error) = vonage.hang_up(&person).await
    {
        tracing::warn!(call = %person, %error, "a call to a person was not ended");
    }
}

/// Key 1, or no key at all, is a yes.
fn takes(keys: &Digits) -> bool {
    let keys = keys.digits.reveal();
    keys.is_empty() || keys == "1"
}

fn step(event: &StatusEvent) -> Option<Step> {
    match &event.status {
        Status::Answered | Status::Human => Some(Step::Answered),
        Status::Machine => Some(Step::Machine),
        word if event.is_final() => Some(Step::Ended(word.clone())),
        _ => None,
    }
}

/// Why somebody whose leg is over did not take the call.
const fn why(word: &Status, answered: bool) -> NotTaken {
    match word {
        // They hung up on it.
        _ if answered => NotTaken::Declined,
        Status::Busy => NotTaken::Busy,
        Status::Rejected => NotTaken::Declined,
        Status::Failed => NotTaken::Unreachable,
        _ => NotTaken::NoAnswer,
    }
}

fn is_over(error: &RestError) -> bool {
    let problem = error.problem();
    problem.is_some_and(|problem| problem.status == 404 || problem.is_about_the_state())
}

/// How long somebody may listen and think: a slow voice says ten characters in a second.
fn time_to_decide(words: &str) -> Duration {
    let said = u32::try_from(words.len()).unwrap_or(u32::MAX);
    THINKING + (Duration::from_millis(100) * said).min(LONGEST_SPEECH)
}

/// Said to somebody who takes a call when nobody waits any more.
const TOO_LATE: &str = "The caller is no longer waiting. Thank you, and goodbye.";
const FAREWELL: &str = "Thank you. Goodbye.";
/// How long it rings: longer than a caller wants to wait.
const RINGING: Duration = Duration::from_secs(30);
/// How late the news of it may be.
const LATE: Duration = Duration::from_secs(10);
/// The question, the time for it, and what is lost on the way.
const THINKING: Duration = Duration::from_secs(30);
const LONGEST_SPEECH: Duration = Duration::from_secs(180);
/// How long the two may take to meet.
const MOMENT: Duration = Duration::from_secs(5);
/// How long the news of an end may take.
const NEWS: Duration = Duration::from_millis(500);
/// How often a caller is moved again whose move was not confirmed.
const AGAIN: usize = 2;

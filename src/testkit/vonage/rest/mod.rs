//! The carrier's REST interface: strict about who asks, what for, and how often; calls that it
//! places run through the same simulated telephone network as those that come in.

mod auth;
mod callee;
pub use callee::{Callee, Reaction};
mod fault;
pub use fault::{Failing, Fault};
mod key;
pub use key::ApplicationKey;
mod order;
pub(super) use order::Detection;
mod routes;
mod serve;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use self::auth::Auth;
use super::{Call, Carrier, FakeVonage, Opening, Violation};
use crate::clock;

/// How the REST interface behaves. Start from [`RestOptions::new`] and change what matters with
/// struct update syntax.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with struct update syntax; the testkit is outside semver"
)]
pub struct RestOptions {
    /// The key pair of the application. Default: a fresh one.
    pub key: ApplicationKey,
    /// Calls that may be placed in any one second. Default: 3.
    pub calls_per_second: usize,
    /// Other requests in any one second. Default: 15.
    pub requests_per_second: usize,
    /// The first webhooks of a call that is placed, in order. It rings before the first of
    /// [`Opening::Answer`] and [`Opening::Answered`].
    pub opening: Vec<Opening>,
    /// Who answers where nobody else was named.
    pub callee: Callee,
}

impl RestOptions {
    /// The default limits, a person who answers, and a fresh key.
    ///
    /// # Errors
    ///
    /// When no key can be made.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            key: ApplicationKey::generate()?,
            calls_per_second: 3,
            requests_per_second: 15,
            opening: vec![
                Opening::Started,
                Opening::Ringing,
                Opening::Answered,
                Opening::Answer,
            ],
            callee: Callee::person(),
        })
    }
}

/// A REST interface that listens. Dropped, it listens no more.
pub struct RestServer {
    address: String,
    key: ApplicationKey,
    desk: Arc<Desk>,
    task: JoinHandle<()>,
}

impl FakeVonage {
    /// Opens the REST interface of this carrier, over HTTP on this machine.
    ///
    /// # Errors
    ///
    /// When no port is free, or the key cannot be used.
    pub async fn serve_rest(&self, options: RestOptions) -> io::Result<RestServer> {
        let application = self.carrier.options.application_id.clone();
        let auth = Auth::new(&options.key, application.unwrap_or_default())?;
        let key = options.key.clone();
        let desk = Arc::new(Desk {
            carrier: Arc::clone(&self.carrier),
            auth,
            options,
            book: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let (address, task) = serve::listen(Arc::clone(&desk)).await?;
        Ok(RestServer {
            address,
            key,
            desk,
            task,
        })
    }
}

impl RestServer {
    /// Where it listens: the base of all requests.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.address
    }

    /// The application's key pair.
    #[must_use]
    pub const fn key(&self) -> &ApplicationKey {
        &self.key
    }

    /// Who is reached at a number (digits alone) from now on.
    pub fn reach(&self, number: &str, callee: Callee) {
        self.reach_in_turn(number, [callee]);
    }

    /// Who is reached at a number by one call after another, from now on; the last of them by all
    /// that follow.
    pub fn reach_in_turn(&self, number: &str, callees: impl IntoIterator<Item = Callee>) {
        let callees = callees.into_iter().collect();
        self.desk.book().callees.insert(number.to_owned(), callees);
    }

    /// Lets some of the next requests fail, after those that were named before.
    pub fn fail(&self, fault: Fault) {
        self.desk.book().faults.push_back(fault);
    }

    /// The next call that was placed and not taken yet, seen from the callee's phone. Calls that
    /// nobody takes go on by themselves.
    pub async fn next_call(&self) -> Call {
        let mut changed = self.desk.changed.subscribe();
        loop {
            if let Some(call) = self.desk.book().calls.pop_front() {
                return call;
            }
            // The sender lives in `self`, so this is never an error.
            let _ = changed.changed().await;
        }
    }

    /// How many calls were placed, taken or not.
    #[must_use]
    pub fn placed(&self) -> usize {
        self.desk.book().placed
    }

    /// Every request that came, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Requested> {
        self.desk.book().requests.clone()
    }

    /// How many different tokens were used.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.desk.auth.tokens()
    }
}

impl Drop for RestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for RestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A request that came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Requested {
    /// The method.
    pub method: String,
    /// The path and the query.
    pub path: String,
    /// The body; null for none.
    pub body: Value,
    /// When it came.
    pub at: Instant,
    /// With what status it was answered; `None` when it was not.
    pub status: Option<u16>,
    /// The id of the call that it placed, whatever became of the answer.
    pub call: Option<String>,
}

/// What all requests share.
struct Desk {
    carrier: Arc<Carrier>,
    auth: Auth,
    options: RestOptions,
    book: Mutex<Book>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Book {
    callees: HashMap<String, VecDeque<Callee>>,
    faults: VecDeque<Fault>,
    calls: VecDeque<Call>,
    placed: usize,
    requests: Vec<Requested>,
    /// When the last calls were asked for.
    creates: VecDeque<Instant>,
    /// When the last other requests came.
    others: VecDeque<Instant>,
}

impl Desk {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who answers the next call to a number.
    fn callee(&self, number: &str) -> Callee {
        let mut book = self.book();
        let turns = book.callees.get_mut(number);
        let next = turns.and_then(|turns| match turns.len() {
            0 | 1 => turns.front().cloned(),
            _ => turns.pop_front(),
        });
        next.unwrap_or_else(|| self.options.callee.clone())
    }

    fn violation(&self, what: impl Into<String>) {
        self.carrier.violation(Violation::Rest(what.into()));
    }

    /// Takes the first fault that is meant for a request, where there is one.
    fn fault(&self, request: &str) -> Option<Failing> {
        let mut book = self.book();
        let at = book
            .faults
            .iter()
            .position(|fault| request.starts_with(&fault.on))?;
        let fault = book.faults.get_mut(at)?;
        let what = fault.what.clone();
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            book.faults.remove(at);
        }
        Some(what)
    }

    /// Whether a request is within the account's rate.
    fn is_slow_enough(&self, creates: bool) -> bool {
        let now = clock::now();
        let options = &self.options;
        let mut book = self.book();
        let (times, most) = match creates {
            true => (&mut book.creates, options.calls_per_second),
            false => (&mut book.others, options.requests_per_second),
        };
        times.retain(|at| now.saturating_duration_since(*at) < SECOND);
        let fits = times.len() < most;
        if fits {
            times.push_back(now);
        }
        fits
    }
}

const SECOND: Duration = Duration::from_secs(1);

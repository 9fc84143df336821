//! The service as its users have it: a process with an address, folders and logs.

use std::{
    fs,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use novavoice::testkit::vonage::{FakeVonage, InboundCall, Options};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{answer::Answer, program::binary, transcript::Transcript};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Numbers that no log may hold.
pub(crate) const CALLER: &str = "12125550142";
pub(crate) const CALLED: &str = "442079460000";

/// A process to be started, in an environment that holds nothing but what it is given.
pub(crate) struct Launch {
    home: Arc<TempDir>,
    settings: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Launch {
    /// Nothing configured but the port, which is a free one.
    pub(crate) fn bare() -> Self {
        let home = TempDir::new().expect("a temporary folder");
        Self {
            home: Arc::new(home),
            settings: Vec::new(),
            arguments: Vec::new(),
        }
        .set("PORT", "0")
    }

    /// With the scripted model, which needs no looking around for credentials.
    pub(crate) fn local() -> Self {
        Self::bare().set("SPEECH_MODEL", "local")
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn args(self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Its working directory, for others.
    pub(crate) fn home_of(&self) -> Arc<TempDir> {
        Arc::clone(&self.home)
    }

    /// In the working directory of another process.
    pub(crate) fn home(mut self, home: &Arc<TempDir>) -> Self {
        self.home = Arc::clone(home);
        self
    }

    /// Puts a file into the working directory.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.home.path().join(name), text).expect("a file");
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(self) -> Esther {
        let mut process = self.spawn();
        let address = until("the line with the address", async || {
            if let Some(status) = process.child.try_wait().expect("a child") {
                panic!("it ended with {status}: {}", process.stderr.text());
            }
            process.stdout.text().lines().next().map(str::to_owned)
        })
        .await;
        let address = address
            .strip_prefix("Esther is at ")
            .and_then(|rest| rest.strip_suffix('/'))
            .unwrap_or_else(|| panic!("no address in {address:?}"))
            .to_owned();
        let home = Arc::clone(&process.home);
        Esther {
            address,
            home,
            process,
            client: Client::builder()
                .no_proxy()
                .build()
                .expect("no TLS to fail"),
        }
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn begin(self) -> Begun {
        Begun(self.spawn())
    }

    /// Runs it to its end.
    pub(crate) async fn run(self) -> Ended {
        self.spawn().ended(PATIENCE).await
    }

    fn spawn(self) -> Process {
        let mut child = Command::new(binary())
            .args(&self.arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .envs(self.settings)
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the example starts");
        Process {
            stdout: Pipe::read(child.stdout.take().expect("piped")),
            stderr: Pipe::read(child.stderr.take().expect("piped")),
            home: self.home,
            child,
        }
    }
}

/// A process that runs.
pub(crate) struct Begun(Process);

impl Begun {
    /// What it has printed so far.
    pub(crate) fn stdout(&self) -> String {
        self.0.stdout.text()
    }

    /// Sends a signal by its name: `INT`.
    pub(crate) async fn signal(&self, name: &str) {
        self.0.signal(name).await;
    }

    /// Waits for its end, which may take a while.
    pub(crate) async fn ended(self) -> Ended {
        self.0.ended(4 * PATIENCE).await
    }
}

struct Process {
    child: Child,
    home: Arc<TempDir>,
    stdout: Pipe,
    stderr: Pipe,
}

impl Process {
    async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs");
        let kill = format!("kill -{name} {id}");
        let done = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(done.expect("a shell").success(), "{kill}");
    }

    async fn ended(mut self, patience: Duration) -> Ended {
        let status = timeout(patience, self.child.wait()).await;
        let Ok(status) = status else {
            panic!("it does not end: {}", self.stderr.text());
        };
        Ended {
            status: status.expect("a child"),
            stdout: self.stdout.whole().await,
            stderr: self.stderr.whole().await,
        }
    }
}

/// What a process writes, as far as it has.
struct Pipe {
    text: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Pipe {
    fn read(mut pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let into = Arc::clone(&text);
        let task = tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(1..) = pipe.read(&mut bytes).await.inspect(|count| {
                let mut text = into.lock().expect("never poisoned");
                text.extend_from_slice(&bytes[..*count]);
            }) {}
        });
        Self { text, task }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("never poisoned")).into_owned()
    }

    async fn whole(self) -> String {
        let Self { text, task } = self;
        task.await.expect("no panic");
        let text = text.lock().expect("never poisoned");
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A process that listens.
pub(crate) struct Esther {
    /// `http://127.0.0.1:PORT`
    pub(crate) address: String,
    /// Its working directory.
    pub(crate) home: Arc<TempDir>,
    process: Process,
    client: Client,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Checks that none of these was written anywhere, in any case of letters.
    #[track_caller]
    pub(crate) fn says_nothing_of(&self, secrets: &[&str]) {
        for said in [&self.stdout, &self.stderr] {
            for line in said.lines() {
                let lower = line.to_ascii_lowercase();
                let told = |secret: &&&str| lower.contains(&secret.to_ascii_lowercase());
                if let Some(secret) = secrets.iter().find(told) {
                    panic!("{secret:?} is in the log: {line}");
                }
            }
        }
    }

    /// Checks that it ended well, having printed one line and complained of nothing.
    #[track_caller]
    pub(crate) fn went_well(&self) {
        assert_eq!(self.status.code(), Some(0), "{}", self.stderr);
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        let is_bad = |line: &&str| line.contains(" ERROR ") || line.contains("panicked");
        let complaints: Vec<_> = self.stderr.lines().filter(is_bad).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

impl Esther {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        Answer::to(self.request("POST", path)).await
    }

    /// The JSON at a path that answers 200.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// The value of one metric.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.body;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.trim().parse().expect("a number")
    }

    /// Waits until no call, session, socket or task is left.
    pub(crate) async fn idle(&self) {
        until("the end of all calls", async || {
            let text = self.get("/metrics").await.body;
            GAUGES
                .iter()
                .all(|gauge| text.contains(&format!("\n{gauge} 0\n")))
                .then_some(())
        })
        .await;
    }

    /// A carrier whose webhooks are not signed.
    pub(crate) fn carrier(&self) -> FakeVonage {
        FakeVonage::new(Options::new(&self.address))
    }

    /// What it wrote to its log so far.
    pub(crate) fn log(&self) -> String {
        self.process.stderr.text()
    }

    /// Sends a signal by its name: `TERM`, `KILL`.
    pub(crate) async fn signal(&self, name: &str) {
        self.process.signal(name).await;
    }

    /// Waits for its end.
    pub(crate) async fn ended(self) -> Ended {
        self.process.ended(PATIENCE).await
    }

    /// Asks it to stop and waits for its end.
    pub(crate) async fn stop(self) -> Ended {
        self.signal("TERM").await;
        self.ended().await
    }

    /// The files of one call, `(.md, .json)`, by their names; the second only if it is there.
    pub(crate) fn transcript(&self, call: &str) -> Transcript {
        Transcript::find(&self.home.path().join("transcripts"), call)
    }
}

/// An inbound call of the usual caller.
pub(crate) fn inbound() -> InboundCall {
    InboundCall::new(CALLER, CALLED)
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = timeout(PATIENCE, answer).await;
    answer.unwrap_or_else(|_| panic!("in vain waited for {what}"))
}

/// Whatever is waited for must come.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it comes in time")
}

/// What is open right now.
const GAUGES: [&str; 4] = [
    "esther_calls_active",
    "esther_sessions_active",
    "esther_tasks_active",
    "esther_sockets_active",
];

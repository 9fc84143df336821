//! One of the processes, and where it lives.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::program::binary;

/// A place where one process runs at a time, with its folder and its settings.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) home: PathBuf,
    pub(crate) settings: Vec<(String, String)>,
}

/// A process that listens.
pub(crate) struct Node {
    child: Child,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
}

impl Site {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(&self) -> Node {
        let mut log = OpenOptions::new();
        let log = log.create(true).append(true).open(self.log());
        let mut child = Command::new(binary())
            .env_clear()
            .env("HOME", &self.home)
            .envs(self.settings.clone())
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a file"))
            .kill_on_drop(true)
            .spawn()
            .expect("the example starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.ok().and_then(Result::ok).flatten();
        let address = line
            .as_deref()
            .and_then(|line| line.strip_prefix("Esther is at http://"))
            .and_then(|rest| rest.strip_suffix('/'));
        let Some(address) = address.map(str::to_owned) else {
            panic!(
                "a node does not listen: {:?}",
                fs::read_to_string(self.log())
            );
        };
        // Whatever else it prints must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Node { child, address }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("log")
    }
}

impl Node {
    /// With SIGKILL: it has no last words.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Asks it to stop.
    pub(crate) async fn terminate(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.expect("a signal").success(), "it has ended by itself");
    }

    /// Waits for the end that it was asked for.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let status = timeout(PATIENCE, self.child.wait()).await;
        status.expect("it ends").expect("a child")
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// Debug builds on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

//! A real mail server on a loopback port, and what it was given: aiosmtpd.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::python::{Running, python};

pub(crate) struct MailServer {
    pub(crate) port: u16,
    folder: TempDir,
    login: Vec<String>,
    /// Where `cert.pem` and `key.pem` are, if it encrypts from the start.
    tls: Option<PathBuf>,
    process: Option<Running>,
}

/// A mail as it came.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// Head and body, unfolded.
    pub(crate) text: String,
}

impl MailServer {
    /// A server that lets everybody in; nothing where none can be installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// A server that wants a user and a password.
    pub(crate) fn start_with(login: &[&str]) -> Option<Self> {
        python()?;
        let mut server = Self {
            port: 0,
            folder: TempDir::new().expect("a temporary folder"),
            login: login.iter().map(|&word| word.to_owned()).collect(),
            tls: None,
            process: None,
        };
        server.resume();
        Some(server)
    }

    /// The same, encrypted from the start, with `cert.pem` and `key.pem` in this folder.
    pub(crate) fn encrypted(mut self, folder: &Path) -> Self {
        self.pause();
        self.tls = Some(folder.to_owned());
        self.resume();
        self
    }

    /// Nobody listens there any more.
    pub(crate) fn pause(&mut self) {
        self.process = None;
    }

    /// It is back where it was.
    pub(crate) fn resume(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/mail_server.py");
        let process = Command::new(python().expect("it was there"))
            .arg(script)
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .args(&self.login)
            .envs(self.tls.as_ref().map(|folder| ("TLS_FOLDER", folder)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Running(process.expect("it starts"));
        let told = process.0.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(told).read_line(&mut line).expect("a line");
        self.port = line.trim().parse().expect("a port");
        self.process = Some(process);
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// What it took, oldest first.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        let files = fs::read_dir(self.folder.path()).expect("a folder");
        let files = files.map(|file| file.expect("a file").path());
        let mut files: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|end| end == "eml"))
            .collect();
        files.sort();
        let texts = files.iter().map(fs::read_to_string);
        texts
            .map(|text| Mail {
                text: text
                    .expect("a mail")
                    .replace("\r\n", "\n")
                    .replace("\n ", " "),
            })
            .collect()
    }
}

impl Mail {
    /// The value of a header, or of a line of the calendar in it.
    pub(crate) fn value(&self, name: &str) -> &str {
        let mut lines = self.text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = value.unwrap_or_else(|| panic!("no {name} in {}", self.text));
        value.trim()
    }
}

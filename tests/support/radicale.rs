//! A real CalDAV server with one user, on a loopback port: Radicale.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use novavoice::private::Private;
use reqwest::{Client, Method};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::python::{Running, python};

pub(crate) const USER: &str = "mike";
pub(crate) const PASSWORD: &str = "a-password-of-mike";

pub(crate) struct Radicale {
    port: u16,
    folder: TempDir,
    process: Option<Running>,
    http: Client,
    /// Where `cert.pem` and `key.pem` are, if it encrypts.
    tls: Option<PathBuf>,
}

impl Radicale {
    /// A server without calendars; nothing where none can be installed.
    pub(crate) async fn start() -> Option<Self> {
        python()?;
        let folder = TempDir::new().expect("a temporary folder");
        let users = format!("{USER}:{PASSWORD}\n");
        fs::write(folder.path().join("users"), users).expect("a file");
        let http = Client::builder().no_proxy().build().expect("a client");
        let mut server = Self {
            port: free_port(),
            folder,
            process: None,
            http,
            tls: None,
        };
        server.resume().await;
        Some(server)
    }

    /// The same under https, with `cert.pem` and `key.pem` in this folder.
    pub(crate) async fn encrypted(mut self, folder: &Path) -> Self {
        self.pause();
        self.tls = Some(folder.to_owned());
        self.resume().await;
        self
    }

    /// Nobody listens there any more.
    pub(crate) fn pause(&mut self) {
        self.process = None;
    }

    /// It is back where it was, with all that it kept.
    pub(crate) async fn resume(&mut self) {
        let path = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(python().expect("it was there"));
        command.args(["-m", "radicale"]);
        if let Some(tls) = &self.tls {
            command.arg("--server-ssl");
            command
                .arg("--server-certificate")
                .arg(tls.join("cert.pem"));
            command.arg("--server-key").arg(tls.join("key.pem"));
        }
        let process = command
            .args(["--config", ""])
            .args(["--server-hosts", &format!("127.0.0.1:{}", self.port)])
            .args(["--auth-type", "htpasswd"])
            .args(["--auth-htpasswd-encryption", "plain"])
            .args(["--auth-delay", "0"])
            .args(["--logging-level", "warning"])
            .arg("--auth-htpasswd-filename")
            .arg(path("users"))
            .arg("--storage-filesystem-folder")
            .arg(path("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).expect("a file"))
            .spawn();
        self.process = Some(Running(process.expect("it starts")));
        for _ in 0..400 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = fs::read_to_string(path("log")).unwrap_or_default();
        panic!("it does not listen: {log}");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn password() -> Private<String> {
        Private::new(PASSWORD.to_owned())
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// A new calendar; answers with its address.
    pub(crate) async fn calendar(&self, name: &str) -> String {
        let url = self.url(&format!("{USER}/{name}/"));
        let method = Method::from_bytes(b"MKCALENDAR").expect("a method");
        let made = self.http.request(method, &url);
        let made = made.basic_auth(USER, Some(PASSWORD)).send().await;
        assert_eq!(made.expect("it answers").status(), 201);
        url
    }

    /// Enters an event as the user does with a program of their own.
    pub(crate) async fn put(&self, calendar: &str, name: &str, text: &str) {
        let put = self
            .http
            .put(format!("{calendar}{name}.ics"))
            .basic_auth(USER, Some(PASSWORD))
            .header("Content-Type", "text/calendar")
            .body(text.to_owned());
        let put = put.send().await.expect("it answers");
        let status = put.status();
        let said = put.text().await.unwrap_or_default();
        assert!(status.is_success(), "{status}: {said}");
    }

    /// The events that a calendar keeps, unfolded.
    pub(crate) fn events(&self, calendar: &str) -> Vec<String> {
        let name = calendar.trim_end_matches('/').rsplit('/').next();
        let folder: PathBuf = ["data", "collection-root", USER, name.expect("a name")]
            .iter()
            .collect();
        let files = fs::read_dir(self.folder.path().join(folder)).expect("a calendar");
        let files = files.map(|file| file.expect("a file").path());
        let events = files.filter(|path| path.extension().is_some_and(|end| end == "ics"));
        let texts = events.map(|path| fs::read_to_string(path).expect("a text"));
        let texts = texts.map(|text| text.replace("\r\n", "\n").replace("\n ", ""));
        texts.collect()
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

//! A browser without a window, driven over the DevTools protocol. Its microphone beeps.

use std::{env, path::PathBuf, process::Stdio};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// One page of a browser of its own.
pub(super) struct Page {
    tools: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_id: u64,
    /// What the browser reported, oldest first.
    events: Vec<Value>,
    browser: Child,
    /// Removed with the page.
    _profile: TempDir,
}

impl Page {
    /// An empty page, or nothing where no browser is installed.
    pub(super) async fn open() -> Option<Self> {
        let program = installed()?;
        let profile = TempDir::new().expect("a temporary folder");
        let mut folder = std::ffi::OsString::from("--user-data-dir=");
        folder.push(profile.path());
        let mut browser = Command::new(program)
            .args(FLAGS)
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the browser starts");
        let mut log = BufReader::new(browser.stderr.take().expect("piped")).lines();
        let address = loop {
            let line = log.next_line().await.expect("readable");
            let line = line.expect("the browser says where its tools listen");
            if let Some((_, address)) = line.split_once("DevTools listening on ") {
                break address.trim().to_owned();
            }
        };
        // Read on, or the browser would wait for it.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let (tools, _) = connect_async(address).await.expect("the tools listen");
        let mut page = Self {
            tools,
            session: None,
            last_id: 0,
            events: Vec::new(),
            browser,
            _profile: profile,
        };
        let target = page.tell("Target.createTarget", json!({"url": "about:blank"}));
        let target = target.await["targetId"].clone();
        let params = json!({"targetId": target, "flatten": true});
        let session = page.tell("Target.attachToTarget", params).await["sessionId"].clone();
        page.session = session.as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.tell(&format!("{domain}.enable"), json!({})).await;
        }
        Some(page)
    }

    pub(super) async fn go(&mut self, address: &str) {
        self.tell("Page.navigate", json!({"url": address})).await;
    }

    /// Gives the page the size of a phone.
    pub(super) async fn shrink(&mut self) {
        let size = json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true});
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// What a piece of JavaScript comes to, as if a person had made it run.
    pub(super) async fn run(&mut self, script: &str) -> Value {
        let params = json!({
            "expression": script,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let answer = self.tell("Runtime.evaluate", params).await;
        assert_eq!(answer["exceptionDetails"], Value::Null, "{script}");
        answer["result"]["value"].clone()
    }

    /// Waits until a condition in JavaScript holds.
    pub(super) async fn until(&mut self, condition: &str) {
        let script = format!(
            "new Promise((done) => {{
               const look = () => ({condition}) ? done(true) : setTimeout(look, 20);
               look();
             }})"
        );
        self.run(&script).await;
    }

    /// What was reported under this name so far.
    pub(super) fn events<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        let named = self
            .events
            .iter()
            .filter(move |event| event["method"] == name);
        named.map(|event| &event["params"])
    }

    pub(super) async fn close(mut self) {
        self.session = None;
        self.tell("Browser.close", json!({})).await;
        self.browser.wait().await.expect("the browser ends");
    }

    async fn tell(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let command = Message::text(command.to_string());
        self.tools.send(command).await.expect("the tools listen");
        loop {
            let message = self.tools.next().await.expect("an answer");
            let Message::Text(text) = message.expect("a whole one") else {
                continue;
            };
            let mut message: Value = serde_json::from_str(&text).expect("JSON");
            if message["id"] == self.last_id {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }
}

fn installed() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<_> = env::split_paths(&path).collect();
    let programs = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |at| at.join(name)));
    programs.into_iter().find(|program| program.is_file())
}

/// What a browser that knows the protocol is called.
pub(super) const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// No window, nothing of its own on the network, and a microphone that is there and allowed.
const FLAGS: [&str; 13] = [
    "--headless",
    // It runs as root in containers, with little shared memory, and sees no page but ours.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--remote-debugging-port=0",
    "about:blank",
];

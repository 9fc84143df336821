//! Real DynamoDB servers for tests: one of the test's own on a loopback port, and the one at
//! `DYNAMODB_LOCAL_URL` where that is set.

use std::{path::Path, sync::mpsc, thread::JoinHandle, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use dynoxide::Database;
use novavoice::dynamodb::Dynamo;
use tokio::net::TcpListener;
use uuid::Uuid;

/// A server that speaks DynamoDB's protocol. The test's own one ends with it.
pub(crate) struct Server {
    url: String,
    /// What tables of this test are called after, since others use the server, too.
    prefix: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server of the test's own, which keeps its tables in memory.
    pub(crate) fn start() -> Self {
        Self::serve(Database::memory().expect("a database"), 0)
    }

    /// A server of the test's own, which keeps its tables in a file.
    pub(crate) fn start_at(path: &Path) -> Self {
        let path = path.to_str().expect("a path that is text");
        Self::serve(Database::new(path).expect("a database"), 0)
    }

    /// A server at `url`, which somebody else runs, with the prefix of the one that made it.
    pub(crate) fn at(url: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: prefix.into(),
            stop: None,
            thread: None,
        }
    }

    /// Every server that a suite has to pass on.
    pub(crate) fn all() -> Vec<Self> {
        let external = std::env::var("DYNAMODB_LOCAL_URL").ok();
        let external = external.map(|url| Self::at(url, prefix()));
        [Self::start()].into_iter().chain(external).collect()
    }

    /// It runs on a thread of its own: a paused or busy test does not hold it up.
    fn serve(database: Database, port: u16) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = listen(port).await;
                let address = listener.local_addr().expect("an address");
                tell.send(address).expect("the test waits");
                tokio::select! {
                    () = dynoxide::server::serve_on(listener, database) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().expect("the server listens");
        Self {
            url: format!("http://{address}"),
            prefix: prefix(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Takes the server away: nobody listens there any more.
    pub(crate) fn pause(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server did not fail");
        }
    }

    /// The server is back where it was, with what is in its file.
    pub(crate) fn restarted(mut self, path: &Path) -> Self {
        self.pause();
        let port = self.url.rsplit_once(':').expect("a port").1;
        let path = path.to_str().expect("a path that is text");
        let database = Database::new(path).expect("a database");
        let mut server = Self::serve(database, port.parse().expect("a number"));
        server.prefix.clone_from(&self.prefix);
        server
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client of it.
    pub(crate) fn dynamo(&self) -> Dynamo {
        Dynamo::with_endpoint(&sdk(), &self.url)
    }

    /// What the tables of this test are called after.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A table name that no other test uses.
    pub(crate) fn table(&self, name: &str) -> String {
        format!("{name}-{}", self.prefix)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.pause();
    }
}

/// A port that was in use a moment ago may still be.
async fn listen(port: u16) -> TcpListener {
    for _ in 0..100 {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("port {port} is not free");
}

fn prefix() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Credentials that every server for tests takes.
pub(crate) fn sdk() -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "AKIDTEST", "secret", None, None, "test",
        )))
        .build()
}

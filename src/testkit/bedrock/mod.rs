//! A strict local Bedrock: `InvokeModelWithBidirectionalStream` for Nova Sonic.
//!
//! Real TLS under an authority of its own, HTTP/2, event-stream frames, verified signatures. It
//! enforces the order of input events, plays scripted conversations, breaks in every way that the
//! real service is known to, and records what the client did wrong.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use std::time::Duration;
//! use novavoice::testkit::bedrock::{FakeBedrock, Fault, Options, SessionScript, When};
//!
//! // The first session is reset after ten seconds of audio, the others converse.
//! let fake = FakeBedrock::start(Options::default().on_session(|index| match index {
//!     0 => SessionScript::default().fault(When::Audio(Duration::from_secs(10)), Fault::ResetStream),
//!     _ => SessionScript::default(),
//! }))
//! .await?;
//! let aws = fake.sdk_config().await;
//! // … run calls against `aws` …
//! fake.finished(2).await;
//! assert_eq!(fake.violations(), []);
//! assert!(fake.sessions()[1].closed_by_the_book());
//! # Ok(())
//! # }
//! ```
//!
//! Facts about the service are those of the protocol reference; what nobody outside knows (which
//! input makes it send headers, how it ends a stream whose frames are badly signed) is a choice,
//! and adjustable where it matters.

mod connection;
mod ear;
mod emit;
mod fault;
mod handle;
mod hearing;
mod options;
mod pace;
mod record;
mod report;
mod rules;
mod server;
mod session;
mod shapes;
mod sign;
mod speaker;
mod tls;
mod voice;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_bedrockruntime::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::{net::TcpListener, task::JoinHandle};

use self::server::Server;
pub use self::{
    fault::{Exception, Fault, Interruption, Quirks, Refusal, When},
    handle::SessionHandle,
    hearing::{Hearing, Incoming},
    options::{
        Behaviour, Dialogue, Headers, Opening, Options, Reply, Script, Sentence, SessionScript,
        Then, ToolCall,
    },
    report::{Closing, End, Rule, SessionReport, Violation},
    voice::{Mark, Voice},
};

/// A fake Bedrock on a loopback port. Dropping it closes everything at once.
pub struct FakeBedrock {
    server: Arc<Server>,
    address: SocketAddr,
    ca_pem: String,
    accepting: JoinHandle<()>,
}

impl FakeBedrock {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// When the port is taken, or a certificate cannot be made.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let authority = tls::authority()?;
        let server = Arc::new(Server::new(options));
        let accepting = tokio::spawn(connection::accept(
            Arc::clone(&server),
            listener,
            authority.acceptor,
        ));
        Ok(Self {
            server,
            address,
            ca_pem: authority.pem,
            accepting,
        })
    }

    /// The endpoint to set, `https://localhost:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The certificate of the authority to trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Writes the authority's certificate into `directory`, for `SSL_CERT_FILE`, and gives its
    /// path.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_ca(&self, directory: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = directory.as_ref().join("fake-bedrock-ca.pem");
        std::fs::write(&path, &self.ca_pem)?;
        Ok(path)
    }

    /// The access key and the secret that are accepted.
    #[must_use]
    pub fn credentials(&self) -> (&str, &str) {
        let options = &self.server.options;
        (&options.access_key, &options.secret)
    }

    /// A configuration with endpoint, region, credentials and trust, for any client of the AWS
    /// SDK. Nothing in it comes from the environment or a profile, so that nothing there leads
    /// anywhere else. Asynchronous like the SDK's own loader, whose place it takes.
    ///
    /// # Panics
    ///
    /// When the SDK cannot read the certificate that was just made.
    pub async fn sdk_config(&self) -> SdkConfig {
        let options = &self.server.options;
        let credentials = Credentials::new(
            &options.access_key,
            &options.secret,
            options.session_token.clone(),
            None,
            "fake-bedrock",
        );
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(options.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(self.endpoint())
            .http_client(http_client(&self.ca_pem))
            .build()
    }

    /// Makes HTTP clients that trust this server, each with connections of its own.
    ///
    /// # Panics
    ///
    /// What it returns panics when the SDK cannot read the certificate that was just made.
    pub fn http_clients(&self) -> impl Fn() -> SharedHttpClient + Send + Sync + use<> {
        let pem = self.ca_pem.clone();
        move || http_client(&pem)
    }

    /// All requests for sessions so far, in order.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionReport> {
        self.server
            .records()
            .iter()
            .map(|record| record.report())
            .collect()
    }

    /// Everything that clients did wrong so far. Empty: they conform.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.server.violations().clone()
    }

    /// Sessions that are open now, on either half.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.server
            .records()
            .iter()
            .filter(|record| record.is_open())
            .count()
    }

    /// TCP connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.connections.load(Ordering::Relaxed)
    }

    /// TCP connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.server.open_connections.load(Ordering::Relaxed)
    }

    /// The session of this index, once it was requested; for ever, if it never is.
    pub async fn session(&self, index: usize) -> SessionHandle {
        loop {
            let changed = self.server.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let record = self.server.records().get(index).cloned();
            if let Some(record) = record {
                return SessionHandle::new(record);
            }
            changed.await;
        }
    }

    /// Waits until `count` sessions, refused ones included, are over, and gives the reports of
    /// all.
    pub async fn finished(&self, count: usize) -> Vec<SessionReport> {
        loop {
            let changed = self.server.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let reports = self.sessions();
            if reports.iter().filter(|report| !report.is_open()).count() >= count {
                return reports;
            }
            changed.await;
        }
    }
}

impl Drop for FakeBedrock {
    fn drop(&mut self) {
        self.server.stop();
        self.accepting.abort();
    }
}

fn http_client(pem: &str) -> SharedHttpClient {
    let tls = TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(pem.as_bytes()))
        .build()
        .expect("a trust store of one fresh certificate is valid");
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_https()
}

impl fmt::Debug for FakeBedrock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeBedrock")
            .field("endpoint", &self.endpoint())
            .field("open_sessions", &self.open_sessions())
            .finish_non_exhaustive()
    }
}

//! The REST interface against a strict carrier, over a real network.

mod dialling;
mod errors;
mod interface;
mod steering;
mod warm;

use std::time::Duration;

use novavoice::{
    lead::PhoneNumber,
    private::Private,
    telephony::{
        CallProgress, Leg, Progress, Telephony,
        vonage::{
            self, Account, Credentials, Vonage, VonageConfig,
            rest::{PrivateKey, RateLimits, Rest, RestConfig},
        },
    },
    testkit::vonage::{Call, FakeVonage, Options, RestOptions, RestServer},
};
use tokio::{net::TcpListener, sync::broadcast, time::timeout};

pub(crate) const APPLICATION: &str = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab";
const SECRET: &str = "a-signature-secret-for-tests-0123456789";
/// Whom we call; the carrier writes it without the `+`.
const CALLEE: &str = "12125550101";

/// A service, its carrier, and the carrier's REST interface.
struct Bench {
    vonage: Vonage,
    carrier: FakeVonage,
    rest: RestServer,
    progress: broadcast::Receiver<CallProgress>,
    address: String,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    async fn with(carrier: impl FnOnce(&mut Options), rest: impl FnOnce(&mut RestOptions)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let mut options = Options {
            signature_secret: Some(Private::new(SECRET.to_owned())),
            ..Options::new(&url)
        };
        carrier(&mut options);
        let carrier = FakeVonage::new(options);
        let mut options = RestOptions::new().expect("a key");
        rest(&mut options);
        let limits = RateLimits {
            calls: options.calls_per_second,
            requests: options.requests_per_second,
            count_sockets: false,
        };
        let rest = carrier.serve_rest(options).await.expect("a free port");
        let mut config = VonageConfig::new(&url);
        config.credentials = Credentials {
            signature_secrets: vec![Private::new(SECRET.to_owned())],
            ..Credentials::default()
        };
        config.account = Account {
            limits,
            ..account(&rest)
        };
        let vonage = Vonage::new(config).expect("valid settings");
        tokio::spawn(axum::serve(listener, vonage::router(&vonage)).into_future());
        Self {
            progress: vonage.progress(),
            vonage,
            carrier,
            rest,
            address: url,
        }
    }

    /// A client of the same account that is not patient.
    fn client(&self) -> Rest {
        self.client_with(|_| {})
    }

    fn client_with(&self, set: impl FnOnce(&mut RestConfig)) -> Rest {
        let key = PrivateKey::load(self.rest.key().private_pem()).expect("a key");
        let mut config = RestConfig::new(APPLICATION, key);
        self.rest.base_url().clone_into(&mut config.base_url);
        config.pause = Duration::from_millis(20);
        config.timeout = Duration::from_millis(500);
        set(&mut config);
        Rest::new(config).expect("a client")
    }

    async fn leg(&self) -> Leg {
        soon(self.vonage.answer())
            .await
            .expect("a call is answered")
    }

    async fn call(&self) -> Call {
        soon(self.rest.next_call()).await
    }

    /// The next step of a call that was placed.
    async fn step(&mut self) -> Progress {
        soon(self.progress.recv()).await.expect("a step").step
    }

    /// Everything up to the end of one call.
    async fn steps(&mut self) -> Vec<Progress> {
        let mut steps = Vec::new();
        loop {
            steps.push(self.step().await);
            if let Some(Progress::Ended(_)) = steps.last() {
                return steps;
            }
        }
    }

    /// An address of the service.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Methods and paths of the requests so far.
    fn asked(&self) -> Vec<String> {
        let requests = self.rest.requests();
        let asked = requests
            .iter()
            .map(|request| format!("{} {}", request.method, request.path));
        asked.collect()
    }
}

fn account(rest: &RestServer) -> Account {
    Account {
        application_id: Some(APPLICATION.to_owned()),
        private_key: Some(Private::new(rest.key().private_pem().to_owned())),
        from: PhoneNumber::parse("+442079460000").ok(),
        api_url: rest.base_url().to_owned(),
        ..Account::default()
    }
}

fn callee() -> PhoneNumber {
    PhoneNumber::parse("+12125550101").expect("a number")
}

/// Whatever is waited for must come.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    timeout(patience, what).await.expect("it comes in time")
}

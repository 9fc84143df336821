//! Vonage, called by the simulated carrier: signed webhooks, real sockets, a playout buffer. In
//! real time, since the network is real.

use std::cell::RefCell;

use async_trait::async_trait;
use futures::future::join_all;
use novavoice::{
    audio::{AudioFrame, SampleRate},
    lead::PhoneNumber,
    private::Private,
    telephony::vonage::{self, Account, Credentials, Vonage, VonageConfig},
    testkit::{
        conformance::{
            self,
            telephony::{CalledParty, RemoteParty},
        },
        vonage::{Call, FakeVonage, InboundCall, Options, RestOptions, RestServer},
    },
};
use tokio::net::TcpListener;

const SECRET: &str = "a-signature-secret-for-tests-0123456789";

/// A person who was put through to the socket.
struct Caller(Call);

#[async_trait]
impl RemoteParty for Caller {
    fn has_keys(&self) -> bool {
        true
    }

    async fn speak(&mut self, frame: AudioFrame) {
        self.0.say(frame.into_pcm());
        // A call that is over hears no more, which the suite notices by itself.
        self.0.said().await;
    }

    async fn press(&mut self, key: char) {
        self.0.dtmf(key);
    }

    async fn hang_up(&mut self) {
        self.0.hang_up();
    }

    async fn heard(&mut self) -> Vec<i16> {
        let heard = self.0.heard();
        let samples = heard.chunks_exact(2);
        samples
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    async fn ended(&mut self) {
        self.0.ended().await;
    }
}

/// Somebody whom the carrier reaches.
struct Callee(RestServer);

#[async_trait]
impl CalledParty for Callee {
    type Answered = Caller;

    fn number(&self) -> PhoneNumber {
        PhoneNumber::parse("+12125550101").expect("a number")
    }

    async fn pick_up(&mut self) -> Caller {
        let call = self.0.next_call().await;
        call.connected().await;
        Caller(call)
    }
}

/// A service that is called, its caller, and the carrier between them.
async fn call(rate: SampleRate) -> (Vonage, Caller, FakeVonage) {
    let (vonage, carrier) = service(rate).await;
    let call = InboundCall::new("12125550142", "12125550100");
    let call = carrier.place_inbound(call).await.expect("an NCCO");
    (vonage, Caller(call), carrier)
}

/// A service with an account, somebody to call, and the carrier between them.
async fn dialler() -> (Vonage, Callee, FakeVonage) {
    let (vonage, carrier) = service(SampleRate::Hz16000).await;
    let options = RestOptions::new().expect("a key");
    let rest = carrier.serve_rest(options).await.expect("a free port");
    vonage.set_account(Account {
        application_id: Options::new("").application_id,
        private_key: Some(Private::new(rest.key().private_pem().to_owned())),
        from: PhoneNumber::parse("+442079460000").ok(),
        api_url: rest.base_url().to_owned(),
        ..Account::default()
    });
    (vonage, Callee(rest), carrier)
}

async fn service(rate: SampleRate) -> (Vonage, FakeVonage) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let mut config = VonageConfig::new(&url);
    config.rate = rate;
    config.credentials = Credentials {
        signature_secrets: vec![Private::new(SECRET.to_owned())],
        ..Credentials::default()
    };
    let vonage = Vonage::new(config).expect("valid settings");
    tokio::spawn(axum::serve(listener, vonage::router(&vonage)).into_future());
    let carrier = FakeVonage::new(Options {
        signature_secret: Some(Private::new(SECRET.to_owned())),
        ..Options::new(url)
    });
    (vonage, carrier)
}

/// Runs the suite; the carrier must have nothing to complain about.
async fn keeps_the_contract(rate: SampleRate) {
    let carriers = RefCell::new(Vec::new());
    conformance::telephony(async || {
        let (vonage, caller, carrier) = call(rate).await;
        carriers.borrow_mut().push(carrier);
        (vonage, caller)
    })
    .await;
    for carrier in carriers.into_inner() {
        assert_eq!(carrier.violations(), [], "at {rate}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vonage_keeps_the_contract_at_every_rate() {
    join_all(SampleRate::ALL.map(keeps_the_contract)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vonage_keeps_the_contract_of_those_who_dial() {
    let carriers = RefCell::new(Vec::new());
    conformance::dialling(async || {
        let (vonage, callee, carrier) = dialler().await;
        carriers.borrow_mut().push(carrier);
        (vonage, callee)
    })
    .await;
    for carrier in carriers.into_inner() {
        assert_eq!(carrier.violations(), []);
    }
}

//! Telephonies. A new one adds a `mod` here that calls `conformance::telephony` with a way to
//! make one that is being called: the telephony (what its webhooks and sockets need runs in the
//! background) and the far end as a `conformance::telephony::RemoteParty`.

mod both;
mod browser;
mod vonage;

mod memory {
    use std::sync::Arc;

    use novavoice::{
        audio::SampleRate,
        call::{CallId, CallInfo, Direction},
        lead::PhoneNumber,
        telephony::{
            DialOptions, Dialled, Telephony,
            memory::{Callers, Loopback, Phone},
        },
        testkit::conformance::{
            self,
            telephony::{self as suite, CalledParty},
        },
    };

    pub(super) async fn ring(rate: SampleRate) -> (Loopback, Phone, Callers) {
        let (telephony, callers) = Loopback::new();
        let started = "2026-06-22T20:35:32Z".parse().expect("a time");
        let mut info = CallInfo::new(CallId::random(), Direction::Inbound, started, rate);
        info.leg.marks = true;
        info.leg.transfer = true;
        info.leg.dtmf = true;
        let phone = callers.call(info).await.into_phone();
        (telephony, phone, callers)
    }

    #[tokio::test(start_paused = true)]
    async fn the_loopback_keeps_the_contract_at_every_rate() {
        for rate in SampleRate::ALL {
            conformance::telephony(async || {
                let (telephony, phone, _) = ring(rate).await;
                (telephony, phone)
            })
            .await;
        }
    }

    struct Callee(Callers);

    #[async_trait::async_trait]
    impl CalledParty for Callee {
        type Answered = Phone;

        fn number(&self) -> PhoneNumber {
            PhoneNumber::parse("+12125550101").expect("a number")
        }

        async fn pick_up(&mut self) -> Phone {
            let ringing = self.0.rung().await.expect("the loopback lives");
            ringing.pick_up(SampleRate::Hz16000).await.into_phone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_loopback_keeps_the_contract_of_those_who_dial() {
        conformance::dialling(async || {
            let (telephony, callers) = Loopback::new();
            (telephony, Callee(callers))
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_telephony_behind_a_pointer_keeps_the_contract() {
        conformance::telephony(async || {
            let (telephony, phone, _) = ring(SampleRate::Hz16000).await;
            let telephony: Arc<dyn Telephony> = Arc::new(telephony);
            (telephony, phone)
        })
        .await;
    }

    /// The suite looks closely: an answer that forgets a call when it is given up is noticed.
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "loses no call")]
    async fn an_answer_that_is_not_cancel_safe_is_noticed() {
        #[derive(Debug)]
        struct Forgetful(Loopback, tokio::sync::Mutex<()>);

        #[async_trait::async_trait]
        impl Telephony for Forgetful {
            async fn answer(&self) -> Result<novavoice::telephony::Leg, novavoice::ProviderError> {
                let _one_at_a_time = self.1.lock().await;
                let leg = self.0.answer().await?;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                Ok(leg)
            }

            fn can_dial(&self) -> bool {
                self.0.can_dial()
            }

            async fn dial(
                &self,
                to: &PhoneNumber,
                options: DialOptions,
            ) -> Result<Dialled, novavoice::ProviderError> {
                self.0.dial(to, options).await
            }
        }

        let (telephony, phone, _callers) = ring(SampleRate::Hz8000).await;
        let telephony = Forgetful(telephony, tokio::sync::Mutex::default());
        suite::a_call_survives_answers_that_are_given_up((telephony, phone)).await;
    }
}

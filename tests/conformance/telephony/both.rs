//! Two telephonies as one.

use std::cell::RefCell;

use novavoice::{
    audio::SampleRate,
    telephony::{
        Both, Telephony,
        memory::{Loopback, Phone},
        vonage::{Vonage, VonageConfig},
    },
    testkit::conformance,
};

use super::{browser, memory::ring};

/// Runs the suite on a line that rings, beside another one that does not.
async fn keep_the_contract<T: Telephony>(
    pair: impl Fn(Loopback, Loopback) -> T,
    quiet_lives: bool,
) {
    let kept = RefCell::new(Vec::new());
    conformance::telephony(async || -> (T, Phone) {
        let (busy, phone, _) = ring(SampleRate::Hz16000).await;
        let (quiet, callers) = Loopback::new();
        if quiet_lives {
            // A line ends when nobody is left who could call.
            kept.borrow_mut().push(callers);
        }
        (pair(busy, quiet), phone)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn both_keep_the_contract_beside_a_line_that_is_quiet() {
    keep_the_contract(Both, true).await;
    keep_the_contract(|busy, quiet| Both(quiet, busy), true).await;
}

#[tokio::test(start_paused = true)]
async fn both_keep_the_contract_beside_a_line_that_has_ended() {
    keep_the_contract(Both, false).await;
    keep_the_contract(|busy, quiet| Both(quiet, busy), false).await;
}

#[tokio::test(start_paused = true)]
async fn a_browser_beside_a_carrier_keeps_the_contract() {
    conformance::telephony(async || {
        let carrier = Vonage::new(VonageConfig::default()).expect("valid settings");
        let (browser, client) = browser::call(true).await;
        (Both(carrier, browser), client)
    })
    .await;
}

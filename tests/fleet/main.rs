//! One campaign on three Esther processes that share DynamoDB, while each of them is killed and
//! started again at random. Afterwards the carrier's book is compared with what the stores say.
//!
//! `cargo test --test fleet` calls sixty leads; `cargo test --test fleet -- --full` calls two
//! thousand, which takes some ten minutes and a core. Both run once more on the server at
//! `DYNAMODB_LOCAL_URL` where that is set, and end with a table.
#![expect(clippy::disallowed_methods, reason = "real processes run in real time")]

mod balancer;
mod crowd;
mod fleet;
mod held;
mod node;
mod referee;
mod report;
mod trouble;
mod witness;

#[path = "../support/dynamo.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod dynamo;
#[path = "../esther/program.rs"]
mod program;

use std::{env, process::ExitCode, time::Duration};

use self::{dynamo::Server, fleet::Fleet};

/// How large a run is, and how rough.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    pub(crate) leads: usize,
    /// New calls a second of the campaign.
    pub(crate) rate: usize,
    /// New calls a second of the carrier's account.
    pub(crate) account: usize,
    pub(crate) concurrent: usize,
    /// Between half and one and a half of it lie between two deaths.
    pub(crate) death: Duration,
    /// No more than so many deaths.
    pub(crate) deaths: usize,
    /// Once so many leads are through, nobody dies any more.
    pub(crate) peace: usize,
    pub(crate) seed: u64,
}

const SMALL: Size = Size {
    leads: 60,
    rate: 5,
    account: 9,
    concurrent: 30,
    death: Duration::from_secs(4),
    deaths: 4,
    peace: 40,
    seed: 1,
};

const FULL: Size = Size {
    leads: 2_000,
    rate: 20,
    account: 28,
    concurrent: 200,
    death: Duration::from_secs(6),
    deaths: usize::MAX,
    peace: 1_900,
    seed: 2,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // What the test harness would do with its arguments, as far as it matters here.
    if arguments.iter().any(|argument| argument == "--list") {
        println!("campaign_of_mortals: test");
        return ExitCode::SUCCESS;
    }
    let mut names = arguments.iter().filter(|it| !it.starts_with('-'));
    if names.clone().count() > 0 && !names.any(|name| "campaign_of_mortals".contains(&**name)) {
        return ExitCode::SUCCESS;
    }
    let full = arguments.iter().any(|argument| argument == "--full");
    let mut size = if full { FULL } else { SMALL };
    let given = env::var("FLEET_SEED").ok().and_then(|it| it.parse().ok());
    size.seed = given.unwrap_or(size.seed);
    let given = env::var("FLEET_LEADS").ok().and_then(|it| it.parse().ok());
    if let Some(leads) = given {
        size.peace = leads * size.peace / size.leads;
        size.leads = leads;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let sound = runtime.block_on(async {
        let mut sound = true;
        for (nth, server) in Server::all().into_iter().enumerate() {
            let place = ["DynamoDB (dynoxide)", "DynamoDB Local"][nth.min(1)];
            let report = Box::pin(Fleet::start(&size, &server)).await.run().await;
            println!("three nodes on {place}\n{report}");
            sound &= report.faults.is_empty();
        }
        sound
    });
    match sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

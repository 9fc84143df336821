//! The claim race: eight workers in four processes work through one table of leads while
//! processes are killed at random. Afterwards their diaries and the table are compared.
//!
//! `cargo test --test race` runs a small one on SQLite and on DynamoDB;
//! `cargo test --test race -- --full` runs ten thousand leads on each.
#![expect(
    clippy::disallowed_methods,
    reason = "a test is the shell: it hands the time out"
)]

mod diary;
mod referee;
mod store;
mod worker;

#[path = "../support/dynamo.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod dynamo;

use std::{env, path::Path, process::ExitCode, time::Duration};

use novavoice::lead::DynamoLeads;

use self::{dynamo::Server, referee::Race, store::Place};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Some(job) = env::var_os("RACE_JOB") {
        runtime.block_on(worker::process(&job.to_string_lossy()));
        return ExitCode::SUCCESS;
    }
    // What the test harness would do with its arguments, as far as it matters here.
    if arguments.iter().any(|argument| argument == "--list") {
        println!("claim_race: test");
        return ExitCode::SUCCESS;
    }
    let mut names = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    if names.clone().count() > 0 && !names.any(|name| "claim_race".contains(name.as_str())) {
        return ExitCode::SUCCESS;
    }
    let race = if arguments.iter().any(|argument| argument == "--full") {
        Race {
            leads: 10_000,
            lease: Duration::from_secs(3),
            kill_every: Duration::from_secs(2),
            sleepy: 1,
        }
    } else {
        Race {
            leads: 150,
            lease: Duration::from_secs(1),
            kill_every: Duration::from_millis(1_200),
            sleepy: 10,
        }
    };
    runtime.block_on(race_everywhere(&race));
    ExitCode::SUCCESS
}

async fn race_everywhere(race: &Race) {
    let folder = tempfile::tempdir().expect("a folder");
    let home = |name: &str| {
        let home = folder.path().join(name);
        std::fs::create_dir(&home).expect("a folder");
        home
    };
    let sqlite = home("sqlite");
    let place = Place::Sqlite {
        path: sqlite.join("leads.sqlite"),
    };
    report("SQLite", race, &place, &sqlite).await;

    for (n, server) in Server::all().into_iter().enumerate() {
        let place = Place::Dynamo {
            url: server.url().to_owned(),
            table: server.table("Churches"),
        };
        let table = DynamoLeads::table(server.table("Churches"));
        let made = server.dynamo().create_missing(&[table]).await;
        made.expect("the table can be made");
        let name = if n == 0 {
            "DynamoDB (dynoxide)"
        } else {
            "DynamoDB Local"
        };
        report(name, race, &place, &home(&format!("dynamodb{n}"))).await;
    }
}

async fn report(name: &str, race: &Race, place: &Place, home: &Path) {
    let result = race.run(place, home).await;
    println!("claim race on {name}: {result}");
}

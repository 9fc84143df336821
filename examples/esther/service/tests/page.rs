//! The page in a browser, as a person uses it.

use std::{env, io::Write as _};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    chromium::{NAMES, Page},
    *,
};

#[tokio::test]
async fn a_person_talks_with_esther_on_the_page() {
    let Some(page) = Page::open().await else {
        return left_out();
    };
    let service = Running::start(&[]).await;
    let call = talk(page, &service.address);
    let page = tokio::time::timeout(PATIENCE, call).await;
    let page = page.expect("the page goes on");

    // Frames of 20 ms at 16 kHz, in both directions.
    for (direction, least) in [("Received", 50), ("Sent", 50)] {
        let frames = frames(&page, &format!("Network.webSocketFrame{direction}"));
        assert!(frames.len() >= least, "{direction}: {}", frames.len());
        assert!(frames.iter().all(|bytes| *bytes == 640), "{direction}");
    }
    let complaints = page.events("Log.entryAdded").map(|log| &log["entry"]);
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&Value>::new());
    for name in ["Runtime.exceptionThrown", "Runtime.consoleAPICalled"] {
        assert_eq!(page.events(name).next(), None);
    }
    for request in page.events("Network.requestWillBeSent") {
        let address = request["request"]["url"].as_str().expect("an address");
        assert!(address.starts_with(&service.address), "{address}");
    }
    page.close().await;
    let transcript = service.transcript();
    assert!(transcript.contains("Assistant: Hello"), "{transcript}");
    assert!(transcript.contains("Outcome: completed"), "{transcript}");
}

async fn talk(mut page: Page, address: &str) -> Page {
    page.go(&format!("{address}/")).await;
    page.until("document.getElementById('notice')?.textContent.includes('stand-in')")
        .await;
    page.run("document.getElementById('start').click()").await;
    page.until("document.getElementById('early').textContent.includes('Hello')")
        .await;
    page.until("document.getElementById('words').textContent.includes('Hello')")
        .await;
    page.until("document.querySelectorAll('#calls button').length === 2")
        .await;
    page.shrink().await;
    let fits = "document.documentElement.scrollWidth <= window.innerWidth";
    assert_eq!(page.run(fits).await, true, "nothing sticks out on a phone");
    page.run("document.getElementById('stop').click()").await;
    page.until("document.getElementById('about').textContent.includes('over')")
        .await;
    page.until("!document.getElementById('start').hidden").await;
    assert_eq!(
        page.run("document.getElementById('trouble').hidden").await,
        true
    );
    page
}

/// The lengths of the binary messages of one direction.
fn frames(page: &Page, name: &str) -> Vec<usize> {
    let frames = page.events(name).map(|event| &event["response"]);
    frames
        .filter(|frame| frame["opcode"] == 2)
        .map(|frame| frame["payloadData"].as_str().expect("base64"))
        .map(|data| BASE64_STANDARD.decode(data).expect("base64").len())
        .collect()
}

/// Never in silence: a test that did not run proves nothing.
fn left_out() {
    let names = NAMES.join(", ");
    let missing = format!("no browser is installed (looked for {names})");
    assert_ne!(env::var("CI").as_deref(), Ok("true"), "{missing}");
    // Past the harness, which keeps what a test prints to itself.
    writeln!(
        std::io::stderr(),
        "\nLEFT OUT: the test of the page, since {missing}.\n"
    )
    .ok();
}

/// A greeting takes some seconds, and a browser on a busy machine some more.
const PATIENCE: Duration = Duration::from_secs(60);

//! The host's calendar on a real CalDAV server.

use std::sync::{Arc, atomic::Ordering};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use novavoice::{
    ProviderErrorKind,
    booking::{Busy, CalDavCalendar, CalDavConfig, Calendar, Hours},
    state::{MemoryState, StateStore},
};

use crate::{
    at, invitation, meeting,
    proxy::Proxy,
    radicale::{PASSWORD, Radicale, USER},
};

fn chicago() -> TimeZone {
    TimeZone::get("America/Chicago").expect("a zone")
}

fn config(url: &str) -> CalDavConfig {
    let mut config = CalDavConfig::new(url, chicago(), invitation());
    config.user = Some(USER.to_owned());
    config.password = Some(Radicale::password());
    config
}

/// One of the nodes that share `state`.
fn node(url: &str, state: &Arc<MemoryState>) -> CalDavCalendar {
    let state: Arc<dyn StateStore> = Arc::clone(state) as _;
    CalDavCalendar::new(config(url), state).expect("a calendar")
}

fn alone(url: &str) -> CalDavCalendar {
    node(url, &Arc::new(MemoryState::new()))
}

async fn busy(calendar: &CalDavCalendar, from: &str, until: &str) -> Vec<(String, String)> {
    let busy = calendar.busy(at(from), at(until)).await;
    let mut busy = busy.expect("it answers");
    busy.sort_by_key(|busy| busy.start);
    let both = |busy: Busy| (busy.start.to_string(), busy.end.to_string());
    busy.into_iter().map(both).collect()
}

fn event(lines: &[&str]) -> String {
    let lines = lines.join("\r\n");
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//host//EN\r\n{ZONE}BEGIN:VEVENT\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:Something\r\n{lines}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

/// A zone whose name says nothing.
const ZONE: &str = "BEGIN:VTIMEZONE\r\nTZID:The Office\r\nBEGIN:STANDARD\r\nDTSTART:20071104T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\r\nTZOFFSETFROM:-0400\r\nTZOFFSETTO:-0500\r\nTZNAME:EST\r\nEND:STANDARD\r\nBEGIN:DAYLIGHT\r\nDTSTART:20070311T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU\r\nTZOFFSETFROM:-0500\r\nTZOFFSETTO:-0400\r\nTZNAME:EDT\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n";

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(start, end): &(&str, &str)| ((*start).to_owned(), (*end).to_owned());
    pairs.iter().map(owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_enters_makes_them_busy_in_every_form() {
    let Some(server) = Radicale::start().await else {
        return;
    };
    let url = server.calendar("host").await;
    let calendar = alone(&url);
    // Every Monday at half past nine by the office's clock, but for one, over the end of summer
    // time.
    let weekly = event(&[
        "UID:weekly",
        "DTSTART;TZID=The Office:20261012T093000",
        "DTEND;TZID=The Office:20261012T100000",
        "RRULE:FREQ=WEEKLY;COUNT=6",
        "EXDATE;TZID=The Office:20261109T093000",
    ]);
    server.put(&url, "weekly", &weekly).await;
    assert_eq!(
        busy(&calendar, "2026-10-24T00:00:00Z", "2026-12-01T00:00:00Z").await,
        pairs(&[
            ("2026-10-26T13:30:00Z", "2026-10-26T14:00:00Z"),
            ("2026-11-02T14:30:00Z", "2026-11-02T15:00:00Z"),
            ("2026-11-16T14:30:00Z", "2026-11-16T15:00:00Z"),
        ])
    );
    for (name, lines) in [
        // The day on which Chicago sets its clocks back, and a holiday of two days.
        ("day", vec!["UID:day", "DTSTART;VALUE=DATE:20261101"]),
        (
            "days",
            vec![
                "UID:days",
                "DTSTART;VALUE=DATE:20261209",
                "DTEND;VALUE=DATE:20261211",
            ],
        ),
        (
            "utc",
            vec!["UID:utc", "DTSTART:20261103T160000Z", "DURATION:PT45M"],
        ),
        (
            "named",
            vec![
                "UID:named",
                "DTSTART;TZID=America/Denver:20261104T090000",
                "DTEND;TZID=America/Denver:20261104T100000",
            ],
        ),
        (
            "free",
            vec![
                "UID:free",
                "DTSTART:20261105T160000Z",
                "DTEND:20261105T170000Z",
                "TRANSP:TRANSPARENT",
            ],
        ),
        (
            "cancelled",
            vec![
                "UID:cancelled",
                "DTSTART:20261105T160000Z",
                "DTEND:20261105T170000Z",
                "STATUS:CANCELLED",
            ],
        ),
    ] {
        server.put(&url, name, &event(&lines)).await;
    }
    assert_eq!(
        busy(&calendar, "2026-10-31T00:00:00Z", "2026-11-06T00:00:00Z").await,
        pairs(&[
            ("2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"),
            ("2026-11-02T14:30:00Z", "2026-11-02T15:00:00Z"),
            ("2026-11-03T16:00:00Z", "2026-11-03T16:45:00Z"),
            ("2026-11-04T16:00:00Z", "2026-11-04T17:00:00Z"),
        ])
    );
    assert_eq!(
        busy(&calendar, "2026-12-08T00:00:00Z", "2026-12-12T00:00:00Z").await,
        pairs(&[("2026-12-09T06:00:00Z", "2026-12-11T06:00:00Z")])
    );
    // Offers keep away from all of it.
    let now = at("2026-10-30T12:00:00Z");
    let taken = calendar.busy(now, at("2026-11-14T00:00:00Z")).await;
    let taken = taken.expect("it answers");
    let hours = Hours::new(chicago());
    for slot in hours.slots(now, &taken) {
        let apart = |busy: &Busy| busy.end <= slot || hours.end(slot) <= busy.start;
        assert!(taken.iter().all(apart), "{slot}");
    }
    assert!(hours.offers(at("2026-11-05T16:00:00Z"), now, &taken));
    assert!(!hours.offers(at("2026-11-04T16:00:00Z"), now, &taken));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_is_entered_moved_and_taken_out_and_the_hosts_edits_stay() {
    let Some(server) = Radicale::start().await else {
        return;
    };
    let url = server.calendar("host").await;
    let calendar = alone(&url);
    calendar.check().await.expect("a calendar");
    let grace = meeting(1, at("2026-06-23T19:30:00Z"));
    calendar.book(&grace).await.expect("it is free");
    let [event] = &server.events(&url)[..] else {
        panic!("not one event");
    };
    for line in [
        "UID:1@meetings.example\n",
        "SEQUENCE:0\n",
        "DTSTART:20260623T193000Z\n",
        "DTEND:20260623T194500Z\n",
        "SUMMARY:Gospel outreach: Pastor Grace 1\n",
        "SCHEDULE-AGENT=CLIENT",
        "+12125550101",
    ] {
        assert!(event.contains(line), "{line}: {event}");
    }
    assert!(!event.contains("METHOD"), "{event}");

    let theirs = event.replace("END:VEVENT", "CATEGORIES:CHURCHES\nEND:VEVENT");
    server.put(&url, "1@meetings.example", &theirs).await;
    let moved = calendar.reschedule(&grace.uid, at("2026-06-24T15:00:00Z"));
    assert_eq!(moved.await.expect("it is free").sequence, 1);
    let [event] = &server.events(&url)[..] else {
        panic!("not one event");
    };
    for line in [
        "SEQUENCE:1\n",
        "DTSTART:20260624T150000Z\n",
        "CATEGORIES:CHURCHES\n",
    ] {
        assert!(event.contains(line), "{line}: {event}");
    }
    assert_eq!(event.matches("DTSTART").count(), 1);
    assert!(calendar.cancel(&grace.uid).await.expect("done").is_some());
    assert_eq!(server.events(&url), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_the_host_has_taken_is_nobodys() {
    let Some(server) = Radicale::start().await else {
        return;
    };
    let url = server.calendar("host").await;
    let calendar = alone(&url);
    let dentist = event(&[
        "UID:dentist",
        "DTSTART:20260623T194000Z",
        "DTEND:20260623T203000Z",
    ]);
    server.put(&url, "dentist", &dentist).await;
    let grace = meeting(1, at("2026-06-23T19:30:00Z"));
    let refused = calendar.book(&grace).await.expect_err("it is taken");
    assert_eq!(refused.kind(), &ProviderErrorKind::Conflict);
    let elsewhere = meeting(2, at("2026-06-23T15:00:00Z"));
    calendar.book(&elsewhere).await.expect("it is free");
    let moved = calendar.reschedule(&elsewhere.uid, grace.start).await;
    assert_eq!(
        moved.expect_err("it is taken").kind(),
        &ProviderErrorKind::Conflict
    );
    let theirs = calendar.of(&grace.phone, Timestamp::UNIX_EPOCH).await;
    assert_eq!(theirs.expect("it answers"), []);
    let theirs = calendar.of(&elsewhere.phone, Timestamp::UNIX_EPOCH).await;
    assert_eq!(theirs.expect("it answers"), [elsewhere]);
    assert_eq!(server.events(&url).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_never_give_one_time_away_twice() {
    let Some(server) = Radicale::start().await else {
        return;
    };
    let url = server.calendar("host").await;
    let state = Arc::new(MemoryState::new());
    let nodes = [node(&url, &state), node(&url, &state)];
    let start = at("2026-06-23T19:30:00Z");
    let attempts: Vec<_> = (0..8)
        .map(|number| {
            let node = nodes[number % 2].clone();
            let number = u32::try_from(number).expect("small");
            tokio::spawn(async move { node.book(&meeting(number, start)).await })
        })
        .collect();
    let mut winners = 0;
    for attempt in attempts {
        match attempt.await.expect("no panic") {
            Ok(()) => winners += 1,
            Err(lost) => assert_eq!(lost.kind(), &ProviderErrorKind::Conflict, "{lost:?}"),
        }
    }
    assert_eq!((winners, server.events(&url).len()), (1, 1));
    for node in &nodes {
        let busy = busy(node, "2026-06-23T19:00:00Z", "2026-06-23T20:00:00Z").await;
        assert_eq!(busy.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_refuses_says_what_to_do() {
    let Some(mut server) = Radicale::start().await else {
        return;
    };
    let url = server.calendar("host").await;
    let (start, until) = (at("2026-06-23T19:30:00Z"), at("2026-06-24T19:30:00Z"));
    let calendar = alone(&url);
    let kept = meeting(1, start);
    calendar.book(&kept).await.expect("it is free");

    let mut wrong = config(&url);
    wrong.password = Some("another-password".to_owned().into());
    let state = Arc::new(MemoryState::new());
    let locked_out = CalDavCalendar::new(wrong, state).expect("a calendar");
    for refused in [
        locked_out.check().await.expect_err("it is wrong"),
        locked_out
            .busy(start, until)
            .await
            .expect_err("it is wrong"),
        locked_out
            .book(&meeting(2, until))
            .await
            .expect_err("it is wrong"),
    ] {
        assert_eq!(refused.kind(), &ProviderErrorKind::Unauthorized);
        assert!(!format!("{refused:?} {refused}").contains("another-password"));
    }
    assert!(!format!("{:?}", config(&url)).contains(PASSWORD));
    assert!(!format!("{locked_out:?}").contains("another-password"));
    let nowhere = alone(&format!("{url}nothing/")).check().await;
    assert_eq!(
        nowhere.expect_err("no calendar").kind(),
        &ProviderErrorKind::NotFound
    );
    let user = alone(&url.replace("host/", "")).check().await;
    assert_eq!(
        user.expect_err("no calendar").kind(),
        &ProviderErrorKind::Invalid
    );

    server.pause();
    let away = calendar.busy(start, until).await.expect_err("it is away");
    assert_eq!(away.kind(), &ProviderErrorKind::Unavailable);
    let third = meeting(3, until);
    let away = calendar.book(&third).await.expect_err("it is away");
    assert_eq!(away.kind(), &ProviderErrorKind::Unavailable);
    let theirs = calendar.of(&third.phone, Timestamp::UNIX_EPOCH).await;
    assert_eq!(theirs.expect("the state answers"), [], "nothing is booked");
    // Whoever does not come says so at any time, and the calendar follows.
    assert!(calendar.cancel(&kept.uid).await.expect("done").is_some());
    let later = Timestamp::now() + SignedDuration::from_mins(5);
    assert!(calendar.settle(later).await.is_err(), "it is still away");
    server.resume().await;
    assert_eq!(server.events(&url).len(), 1);
    assert_eq!(calendar.settle(later).await.expect("it is back"), 0);
    assert_eq!(server.events(&url), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_expands_nothing_is_asked_when_the_host_is_busy() {
    let Some(server) = Radicale::start().await else {
        return;
    };
    let url = server.calendar("host").await;
    let proxy = Proxy::to(server.port()).await;
    let calendar = alone(&url.replace(&server.port().to_string(), &proxy.port.to_string()));
    let daily = event(&[
        "UID:daily",
        "DTSTART:20260620T120000Z",
        "DURATION:PT20M",
        "RRULE:FREQ=DAILY;COUNT=9",
    ]);
    server.put(&url, "daily", &daily).await;
    let (from, until) = ("2026-06-23T00:00:00Z", "2026-06-25T00:00:00Z");
    let expanded = busy(&calendar, from, until).await;
    assert_eq!(expanded.len(), 2, "{expanded:?}");
    proxy.faults.keeps_rules.store(true, Ordering::SeqCst);
    assert_eq!(busy(&calendar, from, until).await, expanded);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_leaves_half_done_another_one_ends() {
    let Some(server) = Radicale::start().await else {
        return;
    };
    let url = server.calendar("host").await;
    let proxy = Proxy::to(server.port()).await;
    let through = url.replace(&server.port().to_string(), &proxy.port.to_string());
    let state = Arc::new(MemoryState::new());
    let (first, second) = (node(&through, &state), node(&url, &state));
    let later = || Timestamp::now() + SignedDuration::from_mins(5);

    // The entry is lost on its way: the meeting is booked all the same.
    proxy.faults.drops_writes.store(true, Ordering::SeqCst);
    let (one, two) = (
        meeting(1, at("2026-06-23T19:30:00Z")),
        meeting(2, at("2026-06-24T19:30:00Z")),
    );
    first.book(&one).await.expect("it is kept");
    assert_eq!(server.events(&url), [""; 0]);
    let lost = second.book(&meeting(3, one.start)).await;
    assert_eq!(
        lost.expect_err("it is taken").kind(),
        &ProviderErrorKind::Conflict
    );
    let left = second.settle(Timestamp::now()).await;
    assert_eq!(left.expect("it answers"), 1, "somebody may be at it");
    assert_eq!(second.settle(later()).await.expect("it answers"), 0);
    assert_eq!(server.events(&url).len(), 1);

    // The node dies once the entry is sent: nobody knows whether it came.
    proxy.faults.drops_writes.store(false, Ordering::SeqCst);
    proxy.faults.withholds.store(true, Ordering::SeqCst);
    let dying = tokio::spawn({
        let (first, two) = (first.clone(), two.clone());
        async move { first.book(&two).await }
    });
    proxy.faults.withheld.notified().await;
    dying.abort();
    assert_eq!(second.settle(later()).await.expect("it answers"), 0);
    assert_eq!(server.events(&url).len(), 2);
    // It is moved and cancelled by whoever is left.
    let moved = second
        .reschedule(&two.uid, at("2026-06-25T19:30:00Z"))
        .await;
    assert_eq!(moved.expect("it is free").sequence, 1);
    for one in [&one, &two] {
        assert!(second.cancel(&one.uid).await.expect("done").is_some());
    }
    assert_eq!(second.settle(later()).await.expect("it answers"), 0);
    assert_eq!(server.events(&url), [""; 0]);
}

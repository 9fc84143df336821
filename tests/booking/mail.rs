//! Invitations by a real mail server.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use novavoice::{
    ProviderErrorKind,
    booking::{Calendar, EmbeddedCalendar, MailConfig, Outbox},
    private::Private,
    state::{IdRange, MemoryState, StateStore},
};

use crate::{invitation, mailbox::MailServer, meeting};

/// A calendar, and the outbox of one of its nodes.
struct Office {
    state: Arc<MemoryState>,
    calendar: EmbeddedCalendar,
    outbox: Outbox,
}

impl Office {
    fn with(url: String) -> Self {
        let state = Arc::new(MemoryState::new());
        Self {
            calendar: EmbeddedCalendar::new(Arc::clone(&state) as _).with_invitations(),
            outbox: outbox(url, &state),
            state,
        }
    }

    async fn book(&self, number: u32, email: &str) -> Timestamp {
        let start = tomorrow() + SignedDuration::from_mins(30 * i64::from(number));
        let mut meeting = meeting(number, start);
        meeting.email = Some(email.to_owned());
        self.calendar.book(&meeting).await.expect("it is free");
        start
    }

    /// How many are left after sending what is due so many seconds from now.
    async fn send(&self, seconds: i64) -> usize {
        let now = Timestamp::now() + SignedDuration::from_secs(seconds);
        self.outbox.send_due(now).await.expect("the state answers")
    }
}

fn outbox(url: String, state: &Arc<MemoryState>) -> Outbox {
    let from = "Esther <esther@office.example>";
    let config = MailConfig::new(Private::new(url), from, invitation());
    Outbox::new(config, Arc::clone(state) as Arc<dyn StateStore>).expect("an outbox")
}

fn tomorrow() -> Timestamp {
    let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
    Timestamp::from_second(tomorrow.as_second()).expect("a time")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_sent_once_with_a_higher_sequence() {
    let Some(server) = MailServer::start() else {
        return;
    };
    let office = Office::with(server.url());
    office.outbox.check().await.expect("it answers");
    let start = office.book(1, "grace@chapel.example").await;
    assert_eq!(office.send(0).await, 0);
    assert_eq!(office.send(3_600).await, 0);
    let uid = "1@meetings.example";
    let later = start + SignedDuration::from_hours(1);
    let moved = office.calendar.reschedule(uid, later).await;
    moved.expect("it is free");
    assert_eq!(office.send(0).await, 0);
    office.calendar.cancel(uid).await.expect("done");
    assert_eq!(office.send(0).await, 0);
    let mails = server.mails();
    let told: Vec<_> = mails
        .iter()
        .map(|mail| (mail.value("METHOD"), mail.value("SEQUENCE")))
        .collect();
    assert_eq!(told, [("REQUEST", "0"), ("REQUEST", "1"), ("CANCEL", "2")]);
    for mail in &mails {
        assert_eq!(mail.value("UID"), uid);
        assert_eq!(mail.value("X-Envelope-To"), "grace@chapel.example");
        assert_eq!(mail.value("X-Envelope-From"), "esther@office.example");
        assert!(mail.value("Reply-To").contains("<mike@lawrence.example>"));
        let kind = format!("text/calendar; method={}", mail.value("METHOD"));
        assert!(mail.text.contains(&kind), "{}", mail.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_change_replaces_is_not_sent() {
    let Some(server) = MailServer::start() else {
        return;
    };
    let office = Office::with(server.url());
    let start = office.book(1, "grace@chapel.example").await;
    office.book(2, "hope@chapel.example").await;
    let later = start + SignedDuration::from_hours(5);
    let moved = office
        .calendar
        .reschedule("1@meetings.example", later)
        .await;
    moved.expect("it is free");
    let cancelled = office.calendar.cancel("2@meetings.example").await;
    cancelled.expect("done");
    // Who gave no address gets nothing.
    let mut silent = meeting(3, tomorrow());
    silent.email = None;
    office.calendar.book(&silent).await.expect("it is free");
    assert_eq!(office.send(0).await, 0);
    let mut told: Vec<_> = server
        .mails()
        .iter()
        .map(|mail| format!("{} {}", mail.value("METHOD"), mail.value("SEQUENCE")))
        .collect();
    told.sort();
    assert_eq!(told, ["CANCEL 1", "REQUEST 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_gets_it_once_it_is_back() {
    let Some(mut server) = MailServer::start() else {
        return;
    };
    let office = Office::with(server.url());
    server.pause();
    let away = office.outbox.check().await.expect_err("it is away");
    assert_eq!(away.kind(), &ProviderErrorKind::Unavailable);
    office.book(1, "grace@chapel.example").await;
    assert_eq!(office.send(0).await, 1);
    assert_eq!(office.send(0).await, 1, "not at once again");
    assert_eq!(office.send(6).await, 1);
    server.resume();
    assert_eq!(office.send(7).await, 1, "the second pause is longer");
    // Two nodes look at the same time.
    let others = outbox(server.url(), &office.state);
    let now = Timestamp::now() + SignedDuration::from_secs(60);
    let (one, two) = tokio::join!(office.outbox.send_due(now), others.send_due(now));
    assert!(one.expect("done") + two.expect("done") <= 1);
    assert_eq!(office.send(60).await, 0);
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_good_is_recorded_and_one_for_now_is_not_final() {
    let Some(server) = MailServer::start() else {
        return;
    };
    let office = Office::with(server.url());
    office.book(1, "gone@chapel.example").await;
    office.book(2, "later@chapel.example").await;
    office.book(3, "not an address").await;
    assert_eq!(office.send(0).await, 1, "the one to be tried again");
    assert_eq!(office.send(3_600).await, 1);
    assert_eq!(server.mails().len(), 0);
    let now = Timestamp::now();
    let refused = office
        .state
        .list("invitations-refused", &IdRange::all(), 10, now)
        .await
        .expect("it answers");
    let codes: Vec<_> = refused
        .iter()
        .map(|record| record.value["code"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(codes, ["550", "no address"]);
    // After the meeting nobody needs it any more.
    assert_eq!(office.send(3 * 24 * 3_600).await, 0);
    assert_eq!(server.mails().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_gives_nothing_up() {
    let Some(server) = MailServer::start_with(&["esther", "right-password"]) else {
        return;
    };
    let url = |password: &str| format!("smtp://esther:{password}@127.0.0.1:{}", server.port);
    let office = Office::with(url("wrong-password"));
    let refused = office.outbox.check().await.expect_err("it is wrong");
    assert_eq!(refused.kind(), &ProviderErrorKind::Unauthorized);
    let said = format!("{refused:?} {:?}", office.outbox);
    assert!(!said.contains("wrong-password"), "{said}");
    office.book(1, "grace@chapel.example").await;
    assert_eq!(office.send(0).await, 1);
    let mended = outbox(url("right-password"), &office.state);
    let later = Timestamp::now() + SignedDuration::from_secs(60);
    assert_eq!(mended.send_due(later).await.expect("done"), 0);
    assert_eq!(server.mails().len(), 1);
}

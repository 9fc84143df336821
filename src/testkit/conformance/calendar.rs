//! The contract of [`Calendar`].

use std::{slice::from_ref, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::soon;
use crate::{
    booking::{Busy, Calendar, Meeting},
    error::ProviderErrorKind,
    lead::PhoneNumber,
};

/// Runs everything in this module, each on a fresh and empty calendar that `make` makes.
pub async fn calendar<C: Calendar>(make: impl AsyncFn() -> C) {
    a_booked_time_is_busy(&make().await).await;
    booking_again_changes_nothing(&make().await).await;
    a_time_is_given_away_once(&make().await).await;
    a_moved_meeting_frees_its_time(&make().await).await;
    a_move_to_a_taken_time_changes_nothing(&make().await).await;
    a_cancelled_meeting_frees_its_time(&make().await).await;
    meetings_are_found_by_their_number(&make().await).await;
    one_of_many_gets_the_time(Arc::new(make().await)).await;
    many_moves_of_one_meeting_leave_it_once(Arc::new(make().await)).await;
    a_cancellation_is_never_in_vain(Arc::new(make().await)).await;
}

/// What is booked is busy for whoever looks at any part of it, and only for them.
pub async fn a_booked_time_is_busy<C: Calendar>(calendar: &C) {
    assert_eq!(busy(calendar, at(-600), at(600)).await, []);
    let meeting = meeting(1, at(0));
    book(calendar, &meeting).await;
    let taken = [Busy {
        start: at(0),
        end: at(15),
    }];
    for (from, until) in [(-600, 600), (0, 15), (-5, 1), (14, 20), (5, 10)] {
        assert_eq!(
            busy(calendar, at(from), at(until)).await,
            taken,
            "from minute {from} to {until}"
        );
    }
    for (from, until) in [(-15, 0), (15, 30), (600, 1_200), (30, 20)] {
        let found = busy(calendar, at(from), at(until)).await;
        assert_eq!(found, [], "from minute {from} to {until}");
    }
}

/// An answer may be lost, and the same meeting booked again: it is entered once.
pub async fn booking_again_changes_nothing<C: Calendar>(calendar: &C) {
    let first = meeting(1, at(0));
    for _ in 0..3 {
        book(calendar, &first).await;
    }
    assert_eq!(of(calendar, 1).await, from_ref(&first));
    assert_eq!(busy(calendar, at(-600), at(600)).await.len(), 1);
    let mut another = meeting(1, at(30));
    another.uid.clone_from(&first.uid);
    conflict(calendar.book(&another).await);
    assert_eq!(of(calendar, 1).await, [first]);
    assert_eq!(busy(calendar, at(30), at(45)).await, []);
}

/// A time that somebody has is nobody else's, the next one is.
pub async fn a_time_is_given_away_once<C: Calendar>(calendar: &C) {
    let (first, second) = (meeting(1, at(0)), meeting(2, at(0)));
    book(calendar, &first).await;
    conflict(calendar.book(&second).await);
    assert_eq!(of(calendar, 1).await, [first]);
    assert_eq!(of(calendar, 2).await, []);
    book(calendar, &meeting(2, at(30))).await;
}

/// A meeting that is moved keeps its name, length and person, and its old time is free.
pub async fn a_moved_meeting_frees_its_time<C: Calendar>(calendar: &C) {
    let first = meeting(1, at(0));
    book(calendar, &first).await;
    let moved = reschedule(calendar, &first.uid, at(60)).await;
    let expected = Meeting {
        start: at(60),
        end: at(75),
        sequence: first.sequence + 1,
        ..first.clone()
    };
    assert_eq!(moved, expected);
    // A move whose answer was lost.
    assert_eq!(reschedule(calendar, &first.uid, at(60)).await, expected);
    assert_eq!(of(calendar, 1).await, [expected]);
    assert_eq!(busy(calendar, at(0), at(15)).await, []);
    assert_eq!(busy(calendar, at(60), at(75)).await.len(), 1);
    book(calendar, &meeting(2, at(0))).await;
    conflict(calendar.book(&meeting(3, at(60))).await);
    let back = calendar.reschedule(&first.uid, at(0)).await;
    conflict(back);
    let nobody = calendar.reschedule("nobody's", at(120)).await;
    let failed = nobody.expect_err("there is no such meeting");
    assert_eq!(failed.kind(), &ProviderErrorKind::NotFound);
    assert_eq!(busy(calendar, at(120), at(135)).await, []);
}

/// A meeting whose new time is taken stays where it was.
pub async fn a_move_to_a_taken_time_changes_nothing<C: Calendar>(calendar: &C) {
    let (first, second) = (meeting(1, at(0)), meeting(2, at(30)));
    book(calendar, &first).await;
    book(calendar, &second).await;
    conflict(calendar.reschedule(&first.uid, at(30)).await);
    assert_eq!(of(calendar, 1).await, [first]);
    assert_eq!(of(calendar, 2).await, [second]);
    assert_eq!(busy(calendar, at(0), at(60)).await.len(), 2);
    conflict(calendar.book(&meeting(3, at(0))).await);
}

/// A meeting that is cancelled is gone with its time, and answered with once.
pub async fn a_cancelled_meeting_frees_its_time<C: Calendar>(calendar: &C) {
    let first = meeting(1, at(0));
    book(calendar, &first).await;
    let cancelled = cancel(calendar, &first.uid).await;
    let cancelled = cancelled.expect("it was there");
    assert_eq!(
        (&cancelled.uid, cancelled.start, &cancelled.phone),
        (&first.uid, first.start, &first.phone)
    );
    assert!(
        cancelled.sequence > first.sequence,
        "a cancellation is a change"
    );
    for uid in [&*first.uid, "nobody's", ""] {
        assert_eq!(cancel(calendar, uid).await, None, "{uid:?}");
    }
    assert_eq!(of(calendar, 1).await, []);
    assert_eq!(busy(calendar, at(-600), at(600)).await, []);
    book(calendar, &meeting(2, at(0))).await;
}

/// The meetings of a number are those that are not over, earliest first, with all that was said.
pub async fn meetings_are_found_by_their_number<C: Calendar>(calendar: &C) {
    let mut whole = meeting(1, at(300));
    whole.name = Some("Pastor Gráce O'Néill".to_owned());
    whole.church = None;
    whole.email = Some("grace@chapel.example".to_owned());
    let (early, other) = (meeting(1, at(0)), meeting(2, at(60)));
    for meeting in [&whole, &early, &other] {
        book(calendar, meeting).await;
    }
    assert_eq!(of(calendar, 1).await, [early.clone(), whole.clone()]);
    assert_eq!(of(calendar, 2).await, [other]);
    assert_eq!(of(calendar, 3).await, []);
    for (minute, expected) in [
        (14, vec![early, whole.clone()]),
        (15, vec![whole.clone()]),
        (314, vec![whole]),
        (315, vec![]),
    ] {
        let phone = phone(1);
        let found = soon("of", calendar.of(&phone, at(minute))).await;
        let found = found.expect("it can be read");
        assert_eq!(found, expected, "at minute {minute}");
    }
}

/// Of many who want the same time at once, some by a booking and some by a move, one gets it.
pub async fn one_of_many_gets_the_time<C: Calendar>(calendar: Arc<C>) {
    const MANY: u32 = 10;
    for number in (0..MANY).filter(|number| number % 2 == 1) {
        let elsewhere = meeting(number, at(600 + 30 * i64::from(number)));
        book(&*calendar, &elsewhere).await;
    }
    let attempts: Vec<_> = (0..MANY)
        .map(|number| {
            let calendar = Arc::clone(&calendar);
            tokio::spawn(async move {
                let wanted = meeting(number, at(0));
                match number % 2 {
                    0 => calendar.book(&wanted).await,
                    _ => calendar.reschedule(&uid(number), at(0)).await.map(drop),
                }
            })
        })
        .collect();
    let mut winners = Vec::new();
    for (number, attempt) in (0..).zip(attempts) {
        match soon("a booking", attempt).await.expect("no panic") {
            Ok(()) => winners.push(number),
            Err(failed) => assert_eq!(failed.kind(), &ProviderErrorKind::Conflict, "{failed:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "not one winner: {winners:?}");
    let winner = winners[0];
    assert_eq!(busy(&*calendar, at(0), at(15)).await.len(), 1);
    assert_eq!(of(&*calendar, winner).await[0].start, at(0));
    for number in (0..MANY).filter(|number| *number != winner) {
        let kept = of(&*calendar, number).await;
        assert_eq!(kept.len(), (number % 2) as usize, "of {number}: {kept:?}");
        assert!(kept.iter().all(|meeting| meeting.start != at(0)));
    }
}

/// Moves of one meeting at once follow each other: the time of the last one is taken, and no
/// other.
pub async fn many_moves_of_one_meeting_leave_it_once<C: Calendar>(calendar: Arc<C>) {
    let first = meeting(1, at(0));
    book(&*calendar, &first).await;
    let moves: Vec<_> = (1..=4)
        .map(|step| {
            let (calendar, uid) = (Arc::clone(&calendar), first.uid.clone());
            tokio::spawn(async move { calendar.reschedule(&uid, at(step * 30)).await })
        })
        .collect();
    for moved in moves {
        let moved = soon("a move", moved).await.expect("no panic");
        moved.expect("nobody else wants any of these times");
    }
    let kept = of(&*calendar, 1).await;
    assert_eq!(kept.len(), 1, "not one meeting: {kept:?}");
    let last = &kept[0];
    assert_eq!(last.sequence, first.sequence + 4);
    let taken = busy(&*calendar, at(-600), at(600)).await;
    assert_eq!(
        taken,
        [Busy {
            start: last.start,
            end: last.end
        }]
    );
}

/// Somebody who cancels while the meeting is moved has cancelled it.
pub async fn a_cancellation_is_never_in_vain<C: Calendar>(calendar: Arc<C>) {
    let first = meeting(1, at(0));
    book(&*calendar, &first).await;
    let tasks: Vec<_> = (0..4)
        .map(|step| {
            let (calendar, uid) = (Arc::clone(&calendar), first.uid.clone());
            tokio::spawn(async move {
                match step {
                    2 => calendar.cancel(&uid).await.map(drop),
                    _ => match calendar.reschedule(&uid, at(30 + step * 30)).await {
                        Err(gone) if *gone.kind() == ProviderErrorKind::NotFound => Ok(()),
                        moved => moved.map(drop),
                    },
                }
            })
        })
        .collect();
    for task in tasks {
        let done = soon("a change", task).await.expect("no panic");
        done.expect("nobody else wants any of these times");
    }
    assert_eq!(of(&*calendar, 1).await, []);
    assert_eq!(busy(&*calendar, at(-600), at(600)).await, []);
}

/// So many minutes after a Tuesday's afternoon began.
fn at(minutes: i64) -> Timestamp {
    let noon: Timestamp = "2026-06-23T19:30:00Z".parse().expect("a time");
    noon + SignedDuration::from_mins(minutes)
}

fn phone(number: u32) -> PhoneNumber {
    PhoneNumber::parse(&format!("+1212555{:04}", 100 + number)).expect("a number")
}

fn uid(number: u32) -> String {
    format!("{number}@meetings.example")
}

/// A meeting of a quarter of an hour. Those of one number that begin at other times are others.
fn meeting(number: u32, start: Timestamp) -> Meeting {
    let offset = start.duration_since(at(0)).as_mins();
    Meeting {
        uid: match offset {
            0 | 600.. => uid(number),
            _ => format!("{offset}-{}", uid(number)),
        },
        sequence: 0,
        start,
        end: start + SignedDuration::from_mins(15),
        phone: phone(number),
        name: Some(format!("Pastor {number}")),
        church: Some("Chapel Hill".to_owned()),
        email: None,
        zone: "America/New_York".to_owned(),
    }
}

async fn busy<C: Calendar>(calendar: &C, from: Timestamp, until: Timestamp) -> Vec<Busy> {
    let mut busy = soon("busy", calendar.busy(from, until))
        .await
        .expect("it can be read");
    busy.sort_by_key(|busy| busy.start);
    busy
}

async fn book<C: Calendar>(calendar: &C, meeting: &Meeting) {
    let booked = soon("book", calendar.book(meeting)).await;
    booked.expect("the time is free");
}

async fn reschedule<C: Calendar>(calendar: &C, uid: &str, start: Timestamp) -> Meeting {
    let moved = soon("reschedule", calendar.reschedule(uid, start)).await;
    moved.expect("the time is free")
}

async fn cancel<C: Calendar>(calendar: &C, uid: &str) -> Option<Meeting> {
    let cancelled = soon("cancel", calendar.cancel(uid)).await;
    cancelled.expect("it can be cancelled")
}

async fn of<C: Calendar>(calendar: &C, number: u32) -> Vec<Meeting> {
    let found = soon("of", calendar.of(&phone(number), at(-60))).await;
    found.expect("it can be read")
}

#[track_caller]
fn conflict<T: std::fmt::Debug>(result: Result<T, crate::ProviderError>) {
    let refused = result.expect_err("it is taken");
    assert_eq!(refused.kind(), &ProviderErrorKind::Conflict, "{refused:?}");
}

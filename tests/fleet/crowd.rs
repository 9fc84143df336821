//! Who is called: what the rules say of them, and what they do when their phone rings.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use novavoice::{
    lead::{Lead, PhoneNumber},
    outbound::federal_holiday,
    testkit::vonage::{Callee, Reaction},
};
use serde_json::{Value, json};

/// What is special about a lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May be called.
    Open,
    /// Asked before the campaign not to be called.
    DoNotCall,
    /// Was found to be no number before.
    BadNumber,
    /// It is no day for calls where they are.
    Elsewhere,
    /// Asks during the campaign not to be called.
    OptsOut,
}

impl Kind {
    pub(crate) fn of(lead: usize) -> Self {
        match lead % 25 {
            3 => Self::DoNotCall,
            9 => Self::BadNumber,
            15 => Self::Elsewhere,
            7 | 21 => Self::OptsOut,
            _ => Self::Open,
        }
    }

    /// The reason for which nobody may ever call them.
    pub(crate) const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::OptsOut => None,
            Self::DoNotCall => Some("do_not_call"),
            Self::BadNumber => Some("invalid_number"),
            Self::Elsewhere => Some("outside_window"),
        }
    }
}

/// The number of a lead: those for fiction in one area after another.
pub(crate) fn phone(lead: usize) -> PhoneNumber {
    let mut areas = (212..1_000).filter(|area| area % 100 != 11);
    let area = areas.nth(lead / 100).expect("there are hundreds");
    let number = format!("+1{area}55501{:02}", lead % 100);
    PhoneNumber::parse(&number).expect("a number")
}

/// A number as the carrier writes it.
pub(crate) fn digits(lead: usize) -> String {
    phone(lead).reveal().trim_start_matches('+').to_owned()
}

pub(crate) fn lead(lead: usize, days: &Days) -> Lead {
    let kind = Kind::of(lead);
    let zone = match kind {
        Kind::Elsewhere => days.shut,
        _ => days.open,
    };
    let status = match kind {
        Kind::DoNotCall => "do_not_call",
        Kind::BadNumber => "bad_number",
        _ => "not_called",
    };
    Lead::new(phone(lead))
        .with("name", format!("Pastor {lead}"))
        .with("time_zone", zone)
        .with("call_status", status)
}

/// What a lead does at one call after another.
pub(crate) fn callees(seed: u64, lead: usize) -> Vec<Callee> {
    (0..CALLS).map(|nth| callee(seed, lead, nth)).collect()
}

fn callee(seed: u64, lead: usize, nth: usize) -> Callee {
    let chance = |what: &str, limit: u64| {
        let mut hasher = DefaultHasher::new();
        (seed, lead, nth, what).hash(&mut hasher);
        hasher.finish() % limit
    };
    let does = match chance("does", 100) {
        0..32 => Reaction::Answers,
        32..52 => Reaction::Busy,
        52..70 => Reaction::Unreachable("unavailable"),
        70..80 => Reaction::Records,
        80..88 => Reaction::Rejects("declined"),
        88..95 => Reaction::Fails("cannot_route"),
        _ => Reaction::Fails(OUT_OF_SERVICE),
    };
    let stays = match does {
        // Esther hangs up long before.
        Reaction::Records => Duration::from_secs(40),
        _ => Duration::from_millis(1_000 + chance("stays", 4_000)),
    };
    Callee {
        rings: Duration::from_millis(200 + chance("rings", 2_500)),
        verdict: Duration::from_millis(300 + chance("verdict", 700)),
        ..Callee::that(does).for_only(stays)
    }
}

/// Where it is a day for calls, and where it is none, for the next hour at least: in two places
/// where it is never the same day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Days {
    pub(crate) open: &'static str,
    pub(crate) shut: &'static str,
    days: [&'static str; 2],
}

impl Days {
    pub(crate) fn now() -> Self {
        let day = |zone: &str, later: SignedDuration| -> Date {
            let zone = TimeZone::get(zone).expect("a zone");
            zone.to_datetime(Timestamp::now() + later).date()
        };
        let hour = SignedDuration::from_hours(1);
        let both = |zone| [day(zone, SignedDuration::ZERO), day(zone, hour)];
        let (east, west) = ("Pacific/Kiritimati", "Pacific/Pago_Pago");
        for (open, shut) in [(east, west), (west, east)] {
            let is_ordinary = |day: &Date| federal_holiday(*day).is_none();
            if both(open).iter().all(is_ordinary)
                && !both(shut).iter().any(|day| both(open).contains(day))
            {
                let days = both(open).map(|day| {
                    let nth = usize::try_from(day.weekday().to_monday_zero_offset());
                    WEEK[nth.expect("of seven")]
                });
                return Self { open, shut, days };
            }
        }
        panic!("no two days in a row are holidays");
    }

    /// The campaign.
    pub(crate) fn plan(&self, rate: usize, concurrent: usize) -> Value {
        let mut days = self.days.to_vec();
        days.dedup();
        json!({
            "name": "Autumn",
            "window": {"days": days, "start": "00:00", "end": "24:00"},
            "pacing": {"callsPerSecond": rate, "maxConcurrent": concurrent},
            "attempts": {"total": 20, "perDay": 20, "minHoursBetween": 0},
            "retries": {
                "busy": {"afterMinutes": 0, "max": 2},
                "no_answer": {"afterMinutes": 0, "max": 1},
                "voicemail": {"afterMinutes": 1, "max": 1},
                "failed": {"afterMinutes": 0, "max": 1},
            },
        })
    }
}

/// No rule lets more calls follow one another.
const CALLS: usize = 20;
pub(crate) const OUT_OF_SERVICE: &str = "number_out_of_service";
const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

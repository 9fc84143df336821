//! The public holidays of the United States.

use jiff::civil::{Date, Weekday};

/// The federal holiday that `date` is, or the day on which one is observed that falls on a
/// weekend (Title 5 of the United States Code, section 6103, and Executive Order 11582).
#[must_use]
pub fn federal_holiday(date: Date) -> Option<&'static str> {
    let year = date.year();
    // The first day of the next year may be observed on the last of this one.
    let fixed = FIXED
        .iter()
        .chain([&("New Year's Day", 13, 1)])
        .find(|(_, month, day)| {
            fixed_date(year, *month, *day).is_some_and(|on| on == date || observed(on) == date)
        });
    let movable = || {
        MOVABLE.iter().find(|(_, month, nth, weekday)| {
            date.month() == *month
                && date
                    .nth_weekday_of_month(*nth, *weekday)
                    .is_ok_and(|on| on == date)
        })
    };
    fixed
        .map(|(name, ..)| *name)
        .or_else(|| movable().map(|(name, ..)| *name))
}

fn fixed_date(year: i16, month: i8, day: i8) -> Option<Date> {
    let (year, month) = if month > 12 {
        (year.checked_add(1)?, month - 12)
    } else {
        (year, month)
    };
    Date::new(year, month, day).ok()
}

/// The weekday on which offices close for a holiday.
fn observed(on: Date) -> Date {
    let moved = match on.weekday() {
        Weekday::Saturday => on.yesterday(),
        Weekday::Sunday => on.tomorrow(),
        _ => Ok(on),
    };
    moved.unwrap_or(on)
}

/// Holidays of one date each: month and day.
const FIXED: [(&str, i8, i8); 5] = [
    ("New Year's Day", 1, 1),
    ("Juneteenth", 6, 19),
    ("Independence Day", 7, 4),
    ("Veterans Day", 11, 11),
    ("Christmas Day", 12, 25),
];

/// Holidays on the n-th weekday of a month; -1 is the last one.
const MOVABLE: [(&str, i8, i8, Weekday); 6] = [
    ("Martin Luther King Jr.'s Birthday", 1, 3, Weekday::Monday),
    ("Washington's Birthday", 2, 3, Weekday::Monday),
    ("Memorial Day", 5, -1, Weekday::Monday),
    ("Labor Day", 9, 1, Weekday::Monday),
    ("Columbus Day", 10, 2, Weekday::Monday),
    ("Thanksgiving Day", 11, 4, Weekday::Thursday),
];

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// Dates as the United States Office of Personnel Management publishes them.
    #[test]
    fn the_holidays_of_2026_are_known() {
        let expected = [
            date(2026, 1, 1),
            date(2026, 1, 19),
            date(2026, 2, 16),
            date(2026, 5, 25),
            date(2026, 6, 19),
            date(2026, 7, 3),
            date(2026, 7, 4),
            date(2026, 9, 7),
            date(2026, 10, 12),
            date(2026, 11, 11),
            date(2026, 11, 26),
            date(2026, 12, 25),
        ];
        let found: Vec<Date> = date(2026, 1, 1)
            .series(jiff::Span::new().days(1))
            .take_while(|day| day.year() == 2026)
            .filter(|day| federal_holiday(*day).is_some())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_holiday_on_a_weekend_is_observed_on_a_weekday_even_in_another_year() {
        // Both Saturdays and Sundays are kept beside the day on which offices close.
        assert_eq!(
            federal_holiday(date(2021, 12, 31)),
            Some("New Year's Day"),
            "Friday before a Saturday"
        );
        assert_eq!(
            federal_holiday(date(2023, 1, 2)),
            Some("New Year's Day"),
            "Monday after a Sunday"
        );
        assert_eq!(federal_holiday(date(2022, 12, 26)), Some("Christmas Day"));
        assert_eq!(federal_holiday(date(2026, 12, 31)), None);
        assert_eq!(federal_holiday(Date::MAX), None);
    }
}

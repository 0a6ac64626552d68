//! Dates as feeds write them: RFC 822 and RFC 3339, and what is meant to be one of them.

use crate::sdk::Timestamp;
use time::{Date, Month};

/// The time that a text means, if it means one.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let year_first = text.bytes().take(4).all(|b| b.is_ascii_digit()) && text.len() > 4;
    if year_first { iso(text) } else { rfc_822(text) }
}

/// `2026-11-22T10:00:00Z`, also with a space, without seconds, without a zone (then it is UTC) or without a time.
fn iso(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00"));
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (
        parts.next()??,
        parts.next()?.unwrap_or(1),
        parts.next().flatten().unwrap_or(1),
    );
    let zone_at = time.find(['Z', 'z', '+', '-', ' ']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    at(year, month, day, clock, zone)
}

/// `Sun, 22 Nov 2026 10:00:00 GMT`, also without the weekday, the seconds or the zone, and with long names.
fn rfc_822(text: &str) -> Option<Timestamp> {
    let text = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = text.split_whitespace();
    let first = words.next()?;
    let first = if first.chars().all(char::is_alphabetic) {
        words.next()?
    } else {
        first
    };
    let day = first.parse().ok()?;
    let month = month(words.next()?)?;
    let year: i64 = words.next()?.parse().ok()?;
    let year = match year {
        0..50 => 2_000 + year,
        50..100 => 1_900 + year,
        year => year,
    };
    at(
        year,
        month,
        day,
        words.next().unwrap_or("00:00:00"),
        words.next().unwrap_or("GMT"),
    )
}

fn month(name: &str) -> Option<i64> {
    const NAMES: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let short = name.get(..3)?.to_ascii_lowercase();
    let at = NAMES.iter().position(|name| *name == short)?;
    i64::try_from(at + 1).ok()
}

fn at(year: i64, month: i64, day: i64, clock: &str, zone: &str) -> Option<Timestamp> {
    let mut parts = clock
        .split(':')
        .map(|part| part.split('.').next().and_then(|p| p.trim().parse::<i64>().ok()));
    let (hour, minute, second) = (
        parts.next()??,
        parts.next().flatten().unwrap_or(0),
        parts.next().flatten().unwrap_or(0),
    );
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    let seconds = hour * 3_600 + minute * 60 + second - offset(zone.trim())?;
    Timestamp::from_seconds(date.midnight().assume_utc().unix_timestamp() + seconds)
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    let hours = |h: i64| Some(h * 3_600);
    match zone.to_ascii_uppercase().as_str() {
        "" | "Z" | "UT" | "UTC" | "GMT" | "WET" => return Some(0),
        "EST" => return hours(-5),
        "EDT" => return hours(-4),
        "CST" => return hours(-6),
        "CDT" => return hours(-5),
        "MST" => return hours(-7),
        "MDT" => return hours(-6),
        "PST" => return hours(-8),
        "PDT" => return hours(-7),
        "BST" | "CET" | "WEST" => return hours(1),
        "CEST" | "EET" => return hours(2),
        "EEST" => return hours(3),
        "JST" => return hours(9),
        _ => {}
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes: i64 = if minutes.is_empty() {
        0
    } else {
        minutes.get(..2)?.parse().ok()?
    };
    Some(sign * (hours.parse::<i64>().ok()? * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn dates_are_read_as_they_are_meant() {
        let cases = [
            ("Sun, 22 Nov 2026 10:00:00 GMT", Some("2026-11-22T10:00:00.000Z")),
            ("22 Nov 26 10:00 +0200", Some("2026-11-22T08:00:00.000Z")),
            (
                "Sunday, 22 November 2026 10:00:00 EST",
                Some("2026-11-22T15:00:00.000Z"),
            ),
            ("Sun 22 Nov 2026 10:00:00 -05:30", Some("2026-11-22T15:30:00.000Z")),
            ("22 Nov 2026", Some("2026-11-22T00:00:00.000Z")),
            ("29 Feb 2024 23:59:60 Z", Some("2024-03-01T00:00:00.000Z")),
            ("2026-11-22T10:00:00.123+01:00", Some("2026-11-22T09:00:00.000Z")),
            ("2026-11-22 10:00:00", Some("2026-11-22T10:00:00.000Z")),
            ("2026-11-22T10:00Z", Some("2026-11-22T10:00:00.000Z")),
            ("2026-11-22", Some("2026-11-22T00:00:00.000Z")),
            ("1969-12-31T23:59:59Z", Some("1969-12-31T23:59:59.000Z")),
            ("2026-13-22", None),
            ("22 Foo 2026", None),
            ("Sun, 22 Nov 2026 10:00:00 LMT", None),
            ("yesterday", None),
            ("1700000000", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|at| at.rfc3339()).as_deref(), expected, "{text}");
        }
    }
}

//! How often: the text of an interval, as `30s`, `5m`, `12h`, `30d`.

use crate::error::{Error, Result};
use crate::time::{DAY, HOUR, MINUTE, SECOND};

/// Shortest interval, in milliseconds. Whatever is under a minute means every tick.
pub const SHORTEST: i64 = 30 * SECOND;
/// Longest interval, in milliseconds.
pub const LONGEST: i64 = 30 * DAY;

/// Milliseconds of an interval from `30s` to `30d`. The error names `pointer`.
pub fn parse(text: &str, pointer: &str) -> Result<i64> {
    let wrong = || {
        Error::invalid(
            pointer,
            "must be an interval from `30s` to `30d`, as `5m`, `12h` or `1d`",
        )
    };
    let text = text.trim();
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return Err(wrong()),
    };
    let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count: i64 = count.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    let interval = count.checked_mul(unit).ok_or_else(wrong)?;
    (SHORTEST..=LONGEST)
        .contains(&interval)
        .then_some(interval)
        .ok_or_else(wrong)
}

/// The text of an interval: in the largest unit that divides it.
pub fn text(interval: i64) -> String {
    let units = [(DAY, 'd'), (HOUR, 'h'), (MINUTE, 'm')];
    let fits = units.into_iter().find(|(unit, _)| interval % unit == 0);
    let (unit, letter) = fits.unwrap_or((SECOND, 's'));
    format!("{}{letter}", interval / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_written() {
        let cases = [
            ("30s", Some("30s")),
            ("90s", Some("90s")),
            ("120s", Some("2m")),
            ("5m", Some("5m")),
            (" 24h ", Some("1d")),
            ("36h", Some("36h")),
            ("30d", Some("30d")),
            ("29s", None),
            ("31d", None),
            ("0m", None),
            ("-5m", None),
            ("+5m", None),
            ("1.5h", None),
            ("5", None),
            ("m", None),
            ("", None),
            ("5w", None),
            ("5 m", None),
            ("5ｍ", None),
            ("9223372036854775807d", None),
        ];
        for (given, expected) in cases {
            assert_eq!(
                parse(given, "/interval").ok().map(self::text).as_deref(),
                expected,
                "{given}"
            );
        }
    }
}

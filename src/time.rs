//! Points in time and the spellings that services use for them. Nothing here reads a clock.

use serde::{Deserialize, Serialize};
use std::ops::Add;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// One second, in the unit of [`Timestamp`].
pub const SECOND: i64 = 1_000;
/// One minute, in the unit of [`Timestamp`].
pub const MINUTE: i64 = 60 * SECOND;
/// One hour, in the unit of [`Timestamp`].
pub const HOUR: i64 = 60 * MINUTE;
/// One day, in the unit of [`Timestamp`].
pub const DAY: i64 = 24 * HOUR;

impl Timestamp {
    /// From whole seconds, or none if that is out of range.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        seconds.checked_mul(SECOND).map(Self)
    }

    /// Whole seconds, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-11-22T10:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).map_or_else(
            |_| "out of range".to_owned(),
            |t| {
                format!(
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                    t.year(),
                    u8::from(t.month()),
                    t.day(),
                    t.hour(),
                    t.minute(),
                    t.second(),
                    t.millisecond()
                )
            },
        )
    }

    /// Reads RFC 3339 with any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        from_offset(OffsetDateTime::parse(text, &Rfc3339).ok()?)
    }

    /// Reads RFC 3339, also where the offset lacks its colon (`+0100`), as ISO 8601 allows and services write it.
    pub fn parse_iso8601(text: &str) -> Option<Self> {
        Self::parse_rfc3339(text).or_else(|| {
            let (before, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
            Self::parse_rfc3339(&format!("{before}:{minutes}"))
        })
    }

    /// Reads an HTTP date in its preferred form (RFC 9110, 5.6.7).
    pub fn parse_http_date(text: &str) -> Option<Self> {
        from_offset(OffsetDateTime::parse(text, &Rfc2822).ok()?)
    }
}

fn from_offset(time: OffsetDateTime) -> Option<Timestamp> {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000)
        .ok()
        .map(Timestamp)
}

impl Add<i64> for Timestamp {
    type Output = Self;

    /// Adds milliseconds, staying within range.
    fn add(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// Milliseconds to wait that a `Retry-After` value asks for: whole or decimal seconds, or an HTTP date
/// (RFC 9110, 10.2.3). None for anything else; never negative.
pub fn retry_after(value: &str, now: Timestamp) -> Option<i64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        let millis = (seconds * 1000.0).ceil();
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked just before")]
        return (seconds.is_finite() && (0.0..=1e12).contains(&millis)).then_some(millis as i64);
    }
    Timestamp::parse_http_date(value).map(|at| (at.0 - now.0).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_goes_there_and_back() {
        let t = Timestamp(1_763_805_600_123);

        assert_eq!(t.rfc3339(), "2025-11-22T10:00:00.123Z");
        assert_eq!(Timestamp::parse_rfc3339(&t.rfc3339()), Some(t));
        assert_eq!(Timestamp::parse_rfc3339("2025-11-22T12:00:00.123+02:00"), Some(t));
        assert_eq!(Timestamp::parse_iso8601("2025-11-22T12:00:00.123+0200"), Some(t));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
        for neither in ["yesterday", "", "é", "2025-11-22T12:00:00.123+02:0é"] {
            assert_eq!(Timestamp::parse_iso8601(neither), None, "{neither}");
        }
        assert_eq!(Timestamp(i64::MAX).rfc3339(), "out of range");
    }

    #[test]
    fn retry_after_in_every_spelling() {
        let now = Timestamp(784_111_777_000);
        let cases = [
            ("0", Some(0)),
            ("120", Some(120_000)),
            (" 1.5 ", Some(1_500)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(retry_after(text, now), expected, "{text}");
        }
    }
}

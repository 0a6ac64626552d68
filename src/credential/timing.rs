//! When tokens are refreshed, and when the next try comes: plain arithmetic, apart from who does it.

use super::grant::Provider;
use crate::oauth::reply::Tokens;
use crate::store::connection::Connection;
use crate::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};

/// How an access token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Good.
    Fresh,
    /// Good, and to be refreshed by whoever comes first.
    Early,
    /// Over, or about to be on its way.
    Over,
}

/// Early is a tenth of a token's life, from one minute to fifteen, and never more than half of it; `jitter` in 0..1
/// spreads it, so that workers do not all come at once.
pub(super) fn age(row: &Connection, now: Timestamp, jitter: f64) -> Age {
    let Some(ends) = row.token_expires_at else {
        return Age::Fresh;
    };
    let life = row.token_given_at.map_or(HOUR, |given| (ends.0 - given.0).max(0));
    let margin = (life / 10).clamp(MINUTE, 15 * MINUTE).min(life / 2);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "at most fifteen minutes"
    )]
    let early = (margin as f64 * (0.8 + 0.2 * jitter)) as i64;
    let last = (5 * SECOND).min(life / 4);
    if now >= ends + -last {
        Age::Over
    } else if now >= ends + -early {
        Age::Early
    } else {
        Age::Fresh
    }
}

/// When the refresh token ends if nobody uses it: as the reply says, or after the provider's idle time, and in any
/// case with the consent.
pub(super) fn refresh_end(
    provider: &Provider<'_>,
    row: &Connection,
    is_new: bool,
    tokens: &Tokens,
    now: Timestamp,
) -> Option<Timestamp> {
    let refresh = &provider.spec.refresh;
    let idle = tokens
        .refresh_expires_at
        .or_else(|| refresh.idle_s.map(|s| now + s * SECOND));
    let consented = if is_new { Some(now) } else { row.connected_at };
    let absolute = refresh.absolute_s.and_then(|s| Some(consented? + s * SECOND));
    match (idle, absolute) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// At four fifths of the idle time, spread over a tenth of it, and at least a day before the end where that is possible.
pub(super) fn keep_alive_time(now: Timestamp, ends: Timestamp, jitter: f64) -> Timestamp {
    let life = (ends.0 - now.0).max(0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "years in milliseconds fit"
    )]
    let at = (life as f64 * (0.7 + 0.1 * jitter)) as i64;
    let latest = if life > 3 * DAY { life - DAY } else { life };
    now + at.min(latest)
}

/// Milliseconds until the next try after so many failures: 5 s, doubled each time, up to ten minutes.
pub(super) fn backoff(failures: i64) -> i64 {
    let doublings = u32::try_from(failures.clamp(0, 7)).unwrap_or(7);
    ((5 * SECOND) << doublings).min(10 * MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_is_refreshed_before_it_ends_but_not_all_the_time() {
        let row = |life: i64| -> Connection {
            serde_json::from_value(json!({
                "id": "con_1", "integration": "x", "name": "x", "owner": null, "status": "CONNECTED", "config": "{}",
                "secrets": "", "version": 1, "created_at": 0, "updated_at": 0, "method": "oauth2", "tokens": null,
                "token_version": 1, "token_given_at": 0, "token_expires_at": life, "refresh_failures": 0,
            }))
            .unwrap()
        };
        let cases = [
            (HOUR, 0, Age::Fresh),
            (HOUR, 50 * MINUTE, Age::Fresh),
            (HOUR, 56 * MINUTE, Age::Early),
            (HOUR, HOUR - 4 * SECOND, Age::Over),
            (HOUR, HOUR + 1, Age::Over),
            (DAY, DAY - 16 * MINUTE, Age::Fresh),
            (DAY, DAY - 10 * MINUTE, Age::Early),
            (20 * SECOND, 5 * SECOND, Age::Fresh),
            (20 * SECOND, 13 * SECOND, Age::Early),
            (20 * SECOND, 16 * SECOND, Age::Over),
        ];
        for (life, at, expected) in cases {
            assert_eq!(age(&row(life), Timestamp(at), 0.0), expected, "{life} {at}");
        }
        let mut unknown = row(HOUR);
        unknown.token_expires_at = None;
        assert_eq!(age(&unknown, Timestamp(i64::MAX), 0.5), Age::Fresh);
    }

    #[test]
    fn failures_are_spaced_out_and_idle_tokens_used_in_time() {
        let waits: Vec<i64> = [0, 1, 2, 7, 100, -1].map(backoff).to_vec();
        assert_eq!(waits, [5_000, 10_000, 20_000, 600_000, 600_000, 5_000]);
        for jitter in [0.0, 0.5, 0.999] {
            let ninety_days = keep_alive_time(Timestamp(0), Timestamp(90 * DAY), jitter);
            assert!((63 * DAY..=72 * DAY).contains(&ninety_days.0));
            assert!(keep_alive_time(Timestamp(0), Timestamp(HOUR), jitter).0 < HOUR);
        }
    }
}

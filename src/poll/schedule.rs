//! When a poll is due again: plain functions of what happened. Times are milliseconds; `jitter` is in 0..1.

use crate::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};

/// How often cron comes by.
pub const TICK: i64 = MINUTE;

/// Failures in a row after which a poll needs attention.
pub const ENOUGH: i64 = 10;

/// Longest wait after a failure, unless the interval itself is longer.
const SLOWEST: i64 = 6 * HOUR;

/// Longest wait that a service can ask for.
const MOST_ASKED: i64 = DAY;

/// Most that jitter takes off an interval.
const MOST_JITTER: i64 = 10 * MINUTE;

/// Deaths of its worker after which a poll is no longer begun: something in it ends the whole instance.
pub const DEATHS: i64 = 8;

/// When a run that began at `started` and went well is due again. Half a tick early, so that cron's own delay does not
/// cost a whole tick, and up to a tenth early by `jitter`, so that polls made together do not stay together.
pub fn next(started: Timestamp, interval: i64, asked: Option<i64>, jitter: f64) -> Timestamp {
    let interval = interval.max(asked.unwrap_or(0).min(MOST_ASKED));
    let early = TICK / 2 + share((interval / 10).min(MOST_JITTER), jitter);
    let exact = asked.is_some_and(|asked| asked >= interval);
    started + if exact { interval } else { (interval - early).max(0) }
}

/// When a poll is tried again after `failures` failures in a row: its interval, doubled each time, up to six hours;
/// never before the service's own `Retry-After`.
pub fn after_failure(now: Timestamp, interval: i64, failures: i64, asked: Option<i64>, jitter: f64) -> Timestamp {
    let doublings = u32::try_from((failures - 1).clamp(0, 20)).unwrap_or(20);
    let usual = interval
        .max(TICK)
        .saturating_mul(1 << doublings)
        .min(SLOWEST.max(interval));
    let spread = usual - share(usual / 5, jitter);
    now + spread.max(asked.unwrap_or(0).min(MOST_ASKED))
}

/// How long the claim on a poll lasts that was begun and never ended `deaths` times: one whose worker dies each time
/// comes back ever more seldom.
pub fn claim(deaths: i64) -> i64 {
    const CLAIM: i64 = 3 * MINUTE;
    CLAIM << deaths.clamp(0, 7)
}

/// How late a poll may be before that is told: some intervals, or minutes where the interval is short.
pub fn overdue_after(interval: i64) -> i64 {
    (2 * interval).clamp(10 * MINUTE, DAY)
}

fn share(whole: i64, jitter: f64) -> i64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "days in milliseconds fit"
    )]
    let part = (whole as f64 * jitter.clamp(0.0, 1.0)) as i64;
    part
}

/// Seconds as milliseconds, for what services say.
pub fn seconds(text: &str) -> Option<i64> {
    let seconds: i64 = text.trim().parse().ok()?;
    (0..=DAY / SECOND).contains(&seconds).then_some(seconds * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    #[test]
    fn a_poll_is_due_for_the_tick_of_its_interval() {
        // Cron comes each minute on the minute; a run begins a moment after it.
        let ticks_until = |interval: i64, jitter: f64| {
            let due = next(NOW + 2 * SECOND, interval, None, jitter).0 - NOW.0;
            (due + TICK - 1) / TICK
        };
        for jitter in [0.0, 0.5, 0.999] {
            assert_eq!(ticks_until(30 * SECOND, jitter), 1, "{jitter}");
            assert_eq!(ticks_until(MINUTE, jitter), 1, "{jitter}");
            assert_eq!(ticks_until(2 * MINUTE, jitter), 2, "{jitter}");
            assert_eq!(ticks_until(5 * MINUTE, jitter), 5, "{jitter}");
        }
        assert_eq!(ticks_until(HOUR, 0.0), 60);
        assert_eq!(ticks_until(HOUR, 0.999), 54);
        assert_eq!(ticks_until(30 * DAY, 0.999), 30 * 24 * 60 - 10);
    }

    #[test]
    fn a_service_that_asks_for_longer_gets_it() {
        assert_eq!(next(NOW, MINUTE, Some(10 * MINUTE), 0.9), NOW + 10 * MINUTE);
        assert_eq!(next(NOW, MINUTE, Some(30 * DAY), 0.9), NOW + DAY);
        assert_eq!(next(NOW, HOUR, Some(MINUTE), 0.0), NOW + (HOUR - TICK / 2));
    }

    #[test]
    fn failures_come_ever_more_seldom() {
        let waits: Vec<i64> = (1..=9)
            .map(|n| (after_failure(NOW, 5 * MINUTE, n, None, 0.0).0 - NOW.0) / MINUTE)
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 360, 360]);
        assert_eq!(after_failure(NOW, 5 * MINUTE, 1, None, 1.0), NOW + 4 * MINUTE);
        assert_eq!(after_failure(NOW, 30 * SECOND, 1, None, 0.0), NOW + MINUTE);
        assert_eq!(after_failure(NOW, 2 * DAY, 50, None, 0.0), NOW + 2 * DAY);
        assert_eq!(after_failure(NOW, MINUTE, 1, Some(HOUR), 1.0), NOW + HOUR);
        assert_eq!(after_failure(NOW, MINUTE, i64::MAX, Some(9 * DAY), 1.0), NOW + DAY);
    }

    #[test]
    fn a_claim_grows_with_the_deaths_before_it() {
        assert_eq!(claim(0), 3 * MINUTE);
        assert_eq!(claim(3), 24 * MINUTE);
        assert_eq!(claim(1_000), claim(7));
    }
}

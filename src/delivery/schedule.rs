//! When a delivery is tried again: a plain function of what happened.

use crate::http::Response;
use crate::ports::FetchError;
use crate::store::delivery::Attempt;
use crate::store::destination::{Destination, NOTED};
use crate::time::{DAY, HOUR, MINUTE, SECOND, Timestamp, retry_after};

/// Standard Webhooks' schedule: waits between tries, in milliseconds.
pub const WAITS: [i64; 9] = [
    5 * SECOND,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
];

/// Longest wait that a destination can ask for with `Retry-After`.
const MAX_WAIT: i64 = DAY;

/// Tries that a destination can have before their time, by asking for less than the schedule's wait.
const EARLY: usize = 10;

/// Why a message is given up that its destination refused.
pub const REFUSED: &str = "the destination refused this message for good";

/// What becomes of a delivery after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It arrived.
    Delivered,
    /// Try again after so many milliseconds.
    Again(i64),
    /// Given up; the text says why.
    GiveUp(&'static str),
    /// Given up, and the destination is switched off: it said that it wants no more.
    Disable(&'static str),
}

/// Judges the last of the `attempts`. `jitter` in 0..=1 adds up to a tenth to the scheduled waits.
///
/// `Retry-After` is obeyed, but one that asks for less than the schedule's wait does not use that wait up: a delivery is
/// given up when all waits of the schedule have passed, whatever a proxy says meanwhile.
pub fn next(
    result: &Result<Response, FetchError>,
    attempts: &[Attempt],
    now: Timestamp,
    jitter: f64,
    waits: &[i64],
) -> Next {
    let mut asked = None;
    if let Ok(reply) = result {
        if reply.is_success() {
            return Next::Delivered;
        }
        let control = reply.headers.get("webhook-delivery").map(str::trim);
        if reply.status == 410 || control == Some("disable") {
            return Next::Disable("the destination answered that it wants no more messages");
        }
        if control == Some("abort-message") {
            return Next::GiveUp(REFUSED);
        }
        asked = reply.headers.get("retry-after").and_then(|v| retry_after(v, now));
    }
    let (passed, early) = passed(attempts, waits);
    let Some(usual) = waits.get(passed) else {
        return Next::GiveUp("every try failed");
    };
    match asked.map(|wait| wait.clamp(SECOND, MAX_WAIT)) {
        Some(wait) if wait >= *usual || early < EARLY => Next::Again(wait),
        _ => Next::Again(spread(*usual, jitter)),
    }
}

/// Since when a destination has failed throughout that failed at `now`: only as long as it was tried all the while. After
/// a pause longer than any wait between its tries nobody knows how it was meanwhile, and it begins to fail now.
pub fn failing_since(destination: &Destination, now: Timestamp) -> Timestamp {
    let own = destination.settings.waits();
    let longest = own.as_deref().unwrap_or(&WAITS).iter().copied().max();
    let longest = longest.unwrap_or(0).max(MAX_WAIT);
    let pause = longest + longest / 10 + 2 * NOTED;
    match (destination.failing_since, destination.failed_at) {
        (Some(since), Some(last)) if now.0 - last.0 <= pause => since,
        // Noted by a version that did not know when it failed last.
        (Some(since), None) => since,
        _ => now,
    }
}

/// How many waits of the schedule lie between the attempts, and how many attempts came before their wait was over.
fn passed(attempts: &[Attempt], waits: &[i64]) -> (usize, usize) {
    let (mut passed, mut early) = (0, 0);
    for (before, after) in attempts.iter().zip(attempts.iter().skip(1)) {
        let waited = after.at.0 - before.at.0 - before.ms;
        match waits.get(passed) {
            Some(usual) if waited < *usual => early += 1,
            _ => passed += 1,
        }
    }
    (passed, early)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a day in milliseconds fits"
)]
fn spread(wait: i64, jitter: f64) -> i64 {
    (wait as f64 * (1.0 + 0.1 * jitter.clamp(0.0, 1.0))) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn reply(status: u16, headers: &[(&str, &str)]) -> Result<Response, FetchError> {
        Ok(Response {
            status,
            headers: Headers::from_pairs(headers.iter().copied()),
            body: Vec::new(),
        })
    }

    fn attempt(at: i64) -> Attempt {
        Attempt {
            at: Timestamp(at),
            ms: 0,
            status: None,
            error: None,
            reply: None,
        }
    }

    /// So many attempts, each when the schedule says.
    fn tried(tries: usize, waits: &[i64]) -> Vec<Attempt> {
        let at = |n: usize| attempt(waits.iter().take(n).sum());
        (0..tries).map(at).collect()
    }

    /// A delivery from its first try to its end: tries, milliseconds, and how it ended.
    fn delivery(waits: &[i64], answer: impl Fn(usize) -> Result<Response, FetchError>) -> (usize, i64, Next) {
        let mut attempts = vec![attempt(0)];
        let mut now = 0;
        loop {
            match next(&answer(attempts.len()), &attempts, Timestamp(now), 0.0, waits) {
                Next::Again(wait) => now += wait,
                end => return (attempts.len(), now, end),
            }
            attempts.push(attempt(now));
        }
    }

    #[test]
    fn no_retry_after_makes_a_delivery_end_before_its_time() {
        let whole: i64 = WAITS.iter().sum();
        let gone = Next::GiveUp("every try failed");
        let past = "Thu, 01 Jan 1970 00:00:00 GMT";
        // What each reply asks for, tries, the least and the most time.
        let cases = [
            (None, 10, whole, whole),
            (Some("1"), 20, whole, whole + 10 * SECOND),
            (Some("0"), 20, whole, whole + 10 * SECOND),
            (Some(past), 20, whole, whole + 10 * SECOND),
            (Some("30"), 20, whole, whole + 11 * 30 * SECOND),
            (Some("7200"), 20, whole, whole + 13 * 2 * HOUR),
            (Some("99999999"), 10, 9 * DAY, 9 * DAY),
            (Some("soon"), 10, whole, whole),
        ];
        for (asked, tries, least, most) in cases {
            let (made, took, end) = delivery(&WAITS, |_| {
                let header = asked.map(|value| ("retry-after", value));
                reply(503, header.as_slice())
            });
            assert_eq!((made, &end), (tries, &gone), "{asked:?}");
            assert!((least..=most).contains(&took), "{asked:?}: {took}");
        }
        let own = delivery(&[60_000], |_| reply(503, &[("retry-after", "1")]));
        assert_eq!(own, (12, 70_000, gone.clone()));
        assert_eq!(delivery(&[], |_| reply(503, &[("retry-after", "1")])), (1, 0, gone));
    }

    #[test]
    fn an_outage_that_ends_within_the_schedule_loses_nothing() {
        let (tries, took, end) = delivery(&WAITS, |tries| match tries {
            1..=15 => reply(503, &[("retry-after", "1")]),
            _ => reply(200, &[]),
        });
        assert_eq!((tries, end), (16, Next::Delivered));
        assert!(took > 7 * HOUR, "{took}");
        let (tries, _, end) = delivery(&WAITS, |tries| match tries {
            1 | 2 => reply(503, &[("retry-after", "30")]),
            _ => reply(503, &[("webhook-delivery", "disable"), ("retry-after", "30")]),
        });
        assert_eq!(tries, 3);
        assert_eq!(
            end,
            Next::Disable("the destination answered that it wants no more messages")
        );
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let again = |ms| Next::Again(ms);
        let cases = [
            (reply(200, &[]), 1, Next::Delivered),
            (reply(204, &[]), 9, Next::Delivered),
            (reply(500, &[]), 1, again(5_000)),
            (reply(302, &[("location", "https://x")]), 1, again(5_000)),
            (reply(404, &[]), 2, again(5 * MINUTE)),
            (reply(429, &[("retry-after", "17")]), 1, again(17_000)),
            (reply(503, &[("retry-after", "99999999")]), 1, again(DAY)),
            (reply(500, &[]), 10, Next::GiveUp("every try failed")),
            (
                reply(500, &[("webhook-delivery", "abort-message")]),
                1,
                Next::GiveUp("the destination refused this message for good"),
            ),
            (
                reply(410, &[]),
                1,
                Next::Disable("the destination answered that it wants no more messages"),
            ),
            (
                reply(500, &[("webhook-delivery", "disable")]),
                1,
                Next::Disable("the destination answered that it wants no more messages"),
            ),
            (Err(FetchError::Timeout), 9, again(24 * HOUR)),
            (
                Err(FetchError::Network("x".into())),
                10,
                Next::GiveUp("every try failed"),
            ),
        ];
        for (result, tries, expected) in cases {
            assert_eq!(
                next(&result, &tried(tries, &WAITS), Timestamp(0), 0.0, &WAITS),
                expected,
                "{result:?} {tries}"
            );
        }
        let failed = |tries: usize, jitter: f64, waits: &[i64]| {
            next(&reply(500, &[]), &tried(tries, waits), Timestamp(0), jitter, waits)
        };
        assert_eq!(failed(1, 1.0, &WAITS), again(5_500));
        assert_eq!(failed(2, 0.0, &[1, 2]), again(2));
        assert_eq!(failed(3, 0.0, &[1, 2]), Next::GiveUp("every try failed"));
    }
}

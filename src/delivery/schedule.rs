//! When a delivery is tried again: a plain function of what happened.

use crate::http::Response;
use crate::ports::FetchError;
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

/// Judges try number `tries` (from 1). `jitter` in 0..=1 adds up to a tenth to the scheduled waits.
pub fn next(result: &Result<Response, FetchError>, tries: usize, now: Timestamp, jitter: f64, waits: &[i64]) -> Next {
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
    let Some(usual) = tries.checked_sub(1).and_then(|at| waits.get(at)) else {
        return Next::GiveUp("every try failed");
    };
    if let Some(asked) = asked {
        return Next::Again(asked.min(MAX_WAIT));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a day in milliseconds fits"
    )]
    Next::Again((*usual as f64 * (1.0 + 0.1 * jitter.clamp(0.0, 1.0))) as i64)
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
                next(&result, tries, Timestamp(0), 0.0, &WAITS),
                expected,
                "{result:?} {tries}"
            );
        }
        assert_eq!(next(&reply(500, &[]), 1, Timestamp(0), 1.0, &WAITS), again(5_500));
        assert_eq!(next(&reply(500, &[]), 2, Timestamp(0), 0.0, &[1, 2]), again(2));
        assert_eq!(
            next(&reply(500, &[]), 3, Timestamp(0), 0.0, &[1, 2]),
            Next::GiveUp("every try failed")
        );
    }
}

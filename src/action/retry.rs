//! What to do after a try: a plain function of what happened.

use super::call::Outcome;
use crate::http::Response;
use crate::manifest::RateLimit;
use crate::time::{HOUR, MINUTE, SECOND, Timestamp, retry_after};

/// Waits between tries, in milliseconds. There is one more try than waits.
const WAITS: [i64; 5] = [2 * SECOND, 10 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE];

/// Longest wait that a service can ask for.
const MAX_WAIT: i64 = HOUR;

/// What a try came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is done; the reply says with what result.
    Done,
    /// Not done, and trying again can help.
    Again {
        /// Milliseconds that the service asks to wait.
        wait: Option<i64>,
        /// Whether this try may have taken effect all the same.
        unsettled: bool,
        /// Why, for the log of attempts.
        reason: String,
    },
    /// Refused for good.
    Refused,
}

/// Judges a try. `accept` holds statuses besides 2xx that are answers.
pub fn judge(outcome: &Outcome, accept: &[u16], limit: Option<&RateLimit>, now: Timestamp) -> Verdict {
    let reply = match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Lost(reason) => {
            return Verdict::Again {
                wait: None,
                unsettled: true,
                reason: reason.clone(),
            };
        }
    };
    let wait = wait_asked(reply, limit, now);
    match reply.status {
        status if reply.is_success() || accept.contains(&status) => Verdict::Done,
        429 => again(wait, false, "rate limited"),
        403 if wait.is_some() => again(wait, false, "rate limited"),
        status @ (408 | 500 | 502 | 503 | 504) => again(wait, true, &format!("status {status}")),
        _ => Verdict::Refused,
    }
}

/// Milliseconds until try number `tries` + 1, or none when there were enough. `jitter` in 0..=1 spreads the wait over
/// 80 to 120 %; what a service asks for is kept exactly, up to an hour.
pub fn next_wait(tries: usize, asked: Option<i64>, jitter: f64) -> Option<i64> {
    let usual = WAITS.get(tries.checked_sub(1)?)?;
    if let Some(asked) = asked {
        return Some(asked.min(MAX_WAIT));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a few minutes in ms fit"
    )]
    Some((*usual as f64 * (0.8 + 0.4 * jitter.clamp(0.0, 1.0))) as i64)
}

fn again(wait: Option<i64>, unsettled: bool, reason: &str) -> Verdict {
    Verdict::Again {
        wait,
        unsettled,
        reason: reason.to_owned(),
    }
}

/// What the service asks for: `Retry-After`, or its own header once the allowance is used up.
fn wait_asked(reply: &Response, limit: Option<&RateLimit>, now: Timestamp) -> Option<i64> {
    if let Some(value) = reply.headers.get("retry-after") {
        return retry_after(value, now);
    }
    let limit = limit?;
    if reply.headers.get(&limit.remaining)?.trim() != "0" {
        return None;
    }
    let reset: i64 = reply.headers.get(&limit.reset)?.trim().parse().ok()?;
    Some((Timestamp::from_seconds(reset)?.0 - now.0).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn reply(status: u16, headers: &[(&str, &str)]) -> Outcome {
        Outcome::Reply(Response {
            status,
            headers: Headers::from_pairs(headers.iter().copied()),
            body: Vec::new(),
        })
    }

    #[test]
    fn each_reply_has_its_verdict() {
        let limit = RateLimit {
            remaining: "x-left".into(),
            reset: "x-reset".into(),
        };
        let cases: [(Outcome, &str); 14] = [
            (reply(201, &[]), "done"),
            (reply(404, &[]), "done"),
            (reply(400, &[]), "refused"),
            (reply(403, &[]), "refused"),
            (reply(422, &[]), "refused"),
            (reply(302, &[]), "refused"),
            (reply(401, &[]), "refused"),
            (reply(429, &[]), "again None settled"),
            (reply(429, &[("retry-after", "7")]), "again Some(7000) settled"),
            (reply(403, &[("retry-after", "7")]), "again Some(7000) settled"),
            (
                reply(403, &[("x-left", "0"), ("x-reset", "1000000060")]),
                "again Some(60000) settled",
            ),
            (reply(403, &[("x-left", "5"), ("x-reset", "1000000060")]), "refused"),
            (reply(502, &[]), "again None unsettled"),
            (Outcome::Lost("gone".into()), "again None unsettled"),
        ];
        for (outcome, expected) in cases {
            let text = match judge(&outcome, &[404], Some(&limit), NOW) {
                Verdict::Done => "done".to_owned(),
                Verdict::Refused => "refused".to_owned(),
                Verdict::Again { wait, unsettled, .. } => {
                    format!("again {wait:?} {}", if unsettled { "unsettled" } else { "settled" })
                }
            };
            assert_eq!(text, expected, "{outcome:?}");
        }
    }

    #[test]
    fn waits_grow_are_spread_and_end() {
        assert_eq!(next_wait(1, None, 0.5), Some(2 * SECOND));
        assert_eq!(next_wait(1, None, 0.0), Some(1_600));
        assert_eq!(next_wait(5, None, 1.0), Some(18 * MINUTE));
        assert_eq!(next_wait(6, None, 0.5), None);
        assert_eq!(next_wait(0, None, 0.5), None);
        assert_eq!(next_wait(1, Some(90 * SECOND), 0.9), Some(90 * SECOND));
        assert_eq!(next_wait(1, Some(10 * HOUR), 0.9), Some(HOUR));
        assert_eq!(next_wait(6, Some(SECOND), 0.9), None);
    }
}

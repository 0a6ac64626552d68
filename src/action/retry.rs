//! What to do after a try: plain functions of what happened.

use super::call::Outcome;
use crate::http::Response;
use crate::manifest::limit::{LimitHeaders, RateLimit, ResetUnit};
use crate::ports::FetchError;
use crate::time::{HOUR, MINUTE, SECOND, Timestamp, retry_after};

/// Waits between tries, in milliseconds. There is one more try than waits.
const WAITS: [i64; 5] = [2 * SECOND, 10 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE];

/// Waits between the tries of a call whose caller waits for the answer.
const SHORT_WAITS: [i64; 3] = [300, SECOND, 3 * SECOND];

/// Longest wait that a service can ask for.
const MAX_WAIT: i64 = HOUR;

/// What a try came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is done; the reply says with what result.
    Done,
    /// Not done, and trying again can help.
    Again(Again),
    /// Refused for good.
    Refused,
}

/// A try that did not do it.
#[derive(Debug, Clone, PartialEq)]
pub struct Again {
    /// Milliseconds that the service asks to wait.
    pub wait: Option<i64>,
    /// Whether this try may have taken effect all the same.
    pub unsettled: bool,
    /// What stood in the way.
    pub cause: Cause,
    /// Why, for the log of attempts.
    pub reason: String,
}

/// What stood in the way of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Too many requests.
    RateLimited,
    /// No answer in time.
    Timeout,
    /// The reply passes the limit: asking again gives the same.
    TooLarge,
    /// Anything else that passes.
    Temporary,
}

impl Again {
    /// An [`Again`] without a wait of its own.
    pub fn new(cause: Cause, unsettled: bool, reason: impl Into<String>) -> Self {
        Self {
            wait: None,
            unsettled,
            cause,
            reason: reason.into(),
        }
    }
}

/// Judges a try by its status. `accept` holds statuses besides 2xx that are answers.
pub fn judge(outcome: &Outcome, accept: &[u16], limit: Option<&RateLimit>, now: Timestamp) -> Verdict {
    let reply = match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Lost(error) => {
            let cause = match error {
                FetchError::Timeout => Cause::Timeout,
                FetchError::Network(_) => Cause::Temporary,
                FetchError::TooLarge(_) => Cause::TooLarge,
            };
            return Verdict::Again(Again::new(cause, true, error.to_string()));
        }
    };
    let wait = wait_asked(reply, limit, now);
    let again = |cause, unsettled, reason: String| {
        Verdict::Again(Again {
            wait,
            unsettled,
            cause,
            reason,
        })
    };
    match reply.status {
        status if reply.is_success() || accept.contains(&status) => Verdict::Done,
        429 => again(Cause::RateLimited, false, "rate limited".into()),
        403 if wait.is_some() => again(Cause::RateLimited, false, "rate limited".into()),
        status @ (408 | 500 | 502 | 503) => again(Cause::Temporary, true, format!("status {status}")),
        504 => again(Cause::Timeout, true, "status 504".into()),
        _ => Verdict::Refused,
    }
}

/// Milliseconds until try number `tries` + 1, or none when there were enough. `jitter` in 0..=1 spreads the wait over
/// 80 to 120 %; what a service asks for is kept exactly, up to an hour.
pub fn next_wait(tries: usize, asked: Option<i64>, jitter: f64) -> Option<i64> {
    spread(&WAITS, tries, asked, jitter)
}

/// The same for a call whose caller waits: a few short pauses. None also where the service asks for one of more than
/// `left` milliseconds: the caller is told instead.
pub fn next_short_wait(tries: usize, asked: Option<i64>, jitter: f64, left: i64) -> Option<i64> {
    spread(&SHORT_WAITS, tries, asked, jitter).filter(|wait| *wait < left)
}

fn spread(waits: &[i64], tries: usize, asked: Option<i64>, jitter: f64) -> Option<i64> {
    let usual = waits.get(tries.checked_sub(1)?)?;
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

/// Milliseconds that the service asks to wait: `Retry-After`, or its own header once the allowance is used up.
pub fn wait_asked(reply: &Response, limit: Option<&RateLimit>, now: Timestamp) -> Option<i64> {
    if let Some(wait) = reply.headers.get("retry-after").and_then(|v| retry_after(v, now)) {
        return Some(wait);
    }
    // Of several limits that are used up, the one that lasts longest.
    limit?.headers.iter().filter_map(|h| used_up(reply, h, now)).max()
}

fn used_up(reply: &Response, headers: &LimitHeaders, now: Timestamp) -> Option<i64> {
    match &headers.remaining {
        Some(remaining) if reply.headers.get(remaining)?.trim() != "0" => return None,
        None if reply.status != 429 => return None,
        _ => {}
    }
    let value = reply.headers.get(&headers.reset)?.trim();
    let from_now = |at: i64| at.saturating_sub(now.0).max(0);
    match headers.unit {
        ResetUnit::EpochS => Some(from_now(Timestamp::from_seconds(value.parse().ok()?)?.0)),
        ResetUnit::EpochMs => Some(from_now(value.parse().ok()?)),
        ResetUnit::DeltaS => millis(value, 1_000.0),
        ResetUnit::DeltaMs => millis(value, 1.0),
        ResetUnit::Rfc3339 => Some(from_now(Timestamp::parse_rfc3339(value)?.0)),
        ResetUnit::Duration => duration(value),
    }
}

fn millis(number: &str, unit: f64) -> Option<i64> {
    let millis = (number.parse::<f64>().ok()? * unit).ceil();
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked just before")]
    (0.0..=1e12).contains(&millis).then_some(millis as i64)
}

/// `1h2m3.5s`, `20ms`.
fn duration(text: &str) -> Option<i64> {
    let mut total = 0i64;
    let mut rest = text;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(split);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        };
        total = total.checked_add(millis(number, unit)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;
    use serde_json::json;

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
        let limit: RateLimit = serde_json::from_value(json!({"headers": [
            {"remaining": "x-left", "reset": "x-reset"},
            {"reset": "x-reset-after", "unit": "delta_s"},
        ]}))
        .unwrap();
        let cases: [(Outcome, &str); 16] = [
            (reply(201, &[]), "done"),
            (reply(404, &[]), "done"),
            (reply(400, &[]), "refused"),
            (reply(403, &[]), "refused"),
            (reply(422, &[]), "refused"),
            (reply(302, &[]), "refused"),
            (reply(401, &[]), "refused"),
            (reply(429, &[]), "again None settled"),
            (reply(429, &[("retry-after", "7")]), "again Some(7000) settled"),
            (reply(429, &[("x-reset-after", "1.5")]), "again Some(1500) settled"),
            (reply(403, &[("retry-after", "7")]), "again Some(7000) settled"),
            (
                reply(403, &[("x-left", "0"), ("x-reset", "1000000060")]),
                "again Some(60000) settled",
            ),
            (reply(403, &[("x-left", "5"), ("x-reset", "1000000060")]), "refused"),
            (reply(403, &[("x-reset-after", "1.5")]), "refused"),
            (reply(502, &[]), "again None unsettled"),
            (
                Outcome::Lost(FetchError::Network("gone".into())),
                "again None unsettled",
            ),
        ];
        for (outcome, expected) in cases {
            let text = match judge(&outcome, &[404], Some(&limit), NOW) {
                Verdict::Done => "done".to_owned(),
                Verdict::Refused => "refused".to_owned(),
                Verdict::Again(Again { wait, unsettled, .. }) => {
                    format!("again {wait:?} {}", if unsettled { "unsettled" } else { "settled" })
                }
            };
            assert_eq!(text, expected, "{outcome:?}");
        }
    }

    #[test]
    fn every_unit_of_a_reset_is_read() {
        let cases = [
            ("epoch_s", "1000000060", Some(60_000)),
            ("epoch_ms", "1000000000500", Some(500)),
            ("epoch_s", "1", Some(0)),
            ("delta_s", "0.25", Some(250)),
            ("delta_ms", "250", Some(250)),
            ("rfc3339", "2001-09-09T01:47:40Z", Some(60_000)),
            ("duration", "1m2.5s", Some(62_500)),
            ("duration", "6ms", Some(6)),
            ("duration", "1h", Some(HOUR)),
            ("duration", "", None),
            ("duration", "soon", None),
            ("duration", "5", None),
            ("delta_s", "-1", None),
            ("delta_s", "NaN", None),
            ("epoch_s", "x", None),
        ];
        for (unit, value, expected) in cases {
            let limit = serde_json::from_value(json!({"headers": [{"reset": "x-reset", "unit": unit}]})).unwrap();
            let Outcome::Reply(reply) = reply(429, &[("x-reset", value)]) else {
                unreachable!()
            };
            assert_eq!(wait_asked(&reply, Some(&limit), NOW), expected, "{unit} {value}");
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
        assert_eq!(next_short_wait(1, None, 0.5, 25_000), Some(300));
        assert_eq!(next_short_wait(1, Some(SECOND), 0.5, 25_000), Some(SECOND));
        assert_eq!(next_short_wait(1, Some(30 * SECOND), 0.5, 25_000), None);
        assert_eq!(next_short_wait(4, None, 0.5, 25_000), None);
    }
}

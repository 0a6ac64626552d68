//! How often a service may be asked, and how it says that it was too often.

use crate::time::{DAY, HOUR, MINUTE, SECOND};
use serde::Deserialize;

/// The `rate_limit` part of a manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct RateLimit {
    /// Headers of replies that tell of the service's limits, besides `Retry-After`, which always counts.
    #[serde(default)]
    pub headers: Vec<LimitHeaders>,
    /// Most requests of one connection, as `100/min`: the hub waits or refuses before the service does.
    #[serde(default)]
    pub per_connection: Option<Rate>,
}

/// A pair of headers that tell of one limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct LimitHeaders {
    /// The header with the number of requests left; `0` makes a 403 a matter of waiting. Without it, `reset` counts on
    /// a 429 alone.
    #[serde(default)]
    pub remaining: Option<String>,
    /// The header with the time at which there are some again.
    pub reset: String,
    /// What that header holds.
    #[serde(default)]
    pub unit: ResetUnit,
}

/// What a header that tells of the end of a limit holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum ResetUnit {
    /// Seconds since 1970.
    #[default]
    EpochS,
    /// Milliseconds since 1970.
    EpochMs,
    /// Seconds from now, also decimal.
    DeltaS,
    /// Milliseconds from now.
    DeltaMs,
    /// RFC 3339 text.
    Rfc3339,
    /// A duration as `1h2m3.5s` or `20ms`.
    Duration,
}

/// So many in so long, written `100/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how many milliseconds.
    pub window: i64,
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(count, unit)| {
            let window = match unit.trim() {
                "s" | "sec" | "second" => SECOND,
                "m" | "min" | "minute" => MINUTE,
                "h" | "hour" => HOUR,
                "d" | "day" => DAY,
                _ => return None,
            };
            let count = count.trim().parse().ok().filter(|n| *n > 0)?;
            Some(Self { count, window })
        });
        parsed.ok_or_else(|| format!("`{text}` is not a rate like `100/min` (s, min, h, day)"))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl schemars::JsonSchema for Rate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^ *[1-9][0-9]* */ *(s|sec|second|m|min|minute|h|hour|d|day) *$",
            "description": "So many in so long, as `100/min`"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let rate = |text: &str| Rate::try_from(text.to_owned()).ok().map(|r| (r.count, r.window));

        assert_eq!(rate("100/min"), Some((100, MINUTE)));
        assert_eq!(rate("5 / s"), Some((5, SECOND)));
        assert_eq!(rate("1/day"), Some((1, DAY)));
        for wrong in ["0/min", "100", "/min", "1/year", "-1/s", ""] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }
}

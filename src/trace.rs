//! Trace ids (W3C Trace Context): from the provider's request to the last attempt, one id to search for.

use crate::http::Headers;
use crate::ports::Host;

/// The trace id of a request: that of a valid `traceparent`, else a new one.
pub fn of(headers: &Headers, host: &dyn Host) -> String {
    headers
        .get("traceparent")
        .and_then(parent)
        .map_or_else(|| random(host), str::to_owned)
}

/// A new trace id: 16 random bytes in lower-case hex.
pub fn random(host: &dyn Host) -> String {
    let mut bytes = [0u8; 16];
    host.random(&mut bytes);
    hex::encode(bytes)
}

/// The trace id inside a `traceparent`: `00-{32 hex}-{16 hex}-{2 hex}`; neither id may be all zero.
fn parent(value: &str) -> Option<&str> {
    let mut parts = value.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let known = version == "00" && parts.next().is_none();
    let later = hex(version, 2) && version != "00" && version != "ff";
    let sound = (known || later) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    let named = trace.bytes().any(|b| b != b'0') && span.bytes().any(|b| b != b'0');
    (sound && named).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_traceparent_is_continued() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let cases = [
            (format!("00-{trace}-00f067aa0ba902b7-01"), Some(trace)),
            (format!("cc-{trace}-00f067aa0ba902b7-01-more"), Some(trace)),
            (format!("00-{trace}-00f067aa0ba902b7-01-more"), None),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), None),
            (format!("00-{trace}-0000000000000000-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            ("nonsense".to_owned(), None),
            (String::new(), None),
        ];
        for (value, expected) in cases {
            assert_eq!(parent(&value), expected, "{value}");
        }
    }
}

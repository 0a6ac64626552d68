//! Signed times: exact reading, and how far from now they may be.

use super::view::View;
use super::{KeyMaterial, Rejection};
use crate::manifest::webhook::{Unit, Window};
use crate::time::Timestamp;
use std::borrow::Cow;

/// The exact text of the time, as it was signed.
pub fn text<'a>(window: &Window, view: &View<'a>) -> Result<Cow<'a, str>, Rejection> {
    for locator in window.from.as_slice() {
        if let Some(text) = view.find(locator) {
            super::signature::once(locator, view.headers)?;
            return Ok(text);
        }
    }
    Err(Rejection::MissingTimestamp)
}

/// A time in this unit, read strictly: digits only, no sign, no blank, no fraction (except in ISO).
pub fn read(text: &str, unit: Unit) -> Option<Timestamp> {
    match unit {
        Unit::Iso => Timestamp::parse_rfc3339(text),
        Unit::Seconds => Timestamp::from_seconds(whole(text)?),
        Unit::Millis => whole(text).map(Timestamp),
    }
}

fn whole(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Whether the time is near enough. The connection's tolerance replaces the scheme's window to each side that it has,
/// and gives one to the past where it has none.
pub fn check(window: &Window, text: &str, keys: &KeyMaterial, now: Timestamp) -> Result<(), Rejection> {
    let at = read(text, window.unit).ok_or(Rejection::MalformedTimestamp)?;
    let past = keys.tolerance_s.or(window.past_s);
    let future = window.future_s.map(|own| keys.tolerance_s.unwrap_or(own));
    // Ages are compared in milliseconds: a time in whole seconds is as old as its beginning.
    let age = now.0.saturating_sub(at.0);
    if past.is_some_and(|limit| age > i64::from(limit) * crate::time::SECOND) {
        return Err(Rejection::Stale {
            age_s: age / crate::time::SECOND,
        });
    }
    if future.is_some_and(|limit| age.saturating_neg() > i64::from(limit) * crate::time::SECOND) {
        return Err(Rejection::Future {
            ahead_s: age.saturating_neg() / crate::time::SECOND,
        });
    }
    Ok(())
}

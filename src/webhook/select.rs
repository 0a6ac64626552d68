//! Conditions: which variant of a scheme, which handshake.

use super::Rejection;
use super::view::View;
use crate::manifest::webhook::{Condition, Scheme, Verification};

/// The one scheme that this delivery must satisfy. Chosen before anything is checked, by the connection's setting
/// `variant` if it is made, otherwise by the conditions: a failed check never leads to another scheme.
pub fn scheme<'s>(verification: &'s Verification, view: &View<'_>) -> Result<&'s Scheme, Rejection> {
    let variants = match verification {
        Verification::One(scheme) => return Ok(scheme),
        Verification::Variants(variants) => variants,
    };
    if let Some(name) = view.keys.options.get("variant").and_then(|v| v.as_str()) {
        return variants
            .iter()
            .find(|v| v.name == name)
            .map(|v| &v.scheme)
            .ok_or_else(|| Rejection::MissingSetting("variant".to_owned()));
    }
    let mut open = variants.iter().filter(|v| !v.only_by_setting);
    let last = open.clone().next_back();
    open.find(|v| holds(&v.when, view))
        .or(last)
        .map(|v| &v.scheme)
        .ok_or_else(|| Rejection::BadManifest("there is no variant".to_owned()))
}

/// Whether a condition holds.
pub fn holds(when: &Condition, view: &View<'_>) -> bool {
    let key = |prefix: &String| {
        let current = view.keys.secrets.iter().find(|s| !s.is_empty());
        current.is_some_and(|s| s.expose().starts_with(prefix.as_str()))
    };
    when.present.iter().all(|l| view.find(l).is_some())
        && when.absent.iter().all(|l| view.find(l).is_none())
        && when
            .equals
            .iter()
            .all(|(l, wanted)| view.find(l).is_some_and(|text| text == wanted.as_str()))
        && when.key_prefix.as_ref().is_none_or(key)
}

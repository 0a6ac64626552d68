//! The few schemes that data cannot say. The engine chooses them by the manifest's scheme name alone.

use super::Rejection;
use super::verify::Outside;
use super::view::View;
use crate::manifest::webhook::Named;

/// Runs the verifier of this name.
pub async fn verify(spec: &Named, _view: &View<'_>, _outside: Outside<'_>) -> Result<(), Rejection> {
    Err(Rejection::BadManifest(format!("there is no scheme `{}`", spec.name)))
}

/// Whether it needs a secret of the connection's.
pub fn needs_secret(_spec: &Named) -> bool {
    true
}

/// The header fields it needs.
pub fn headers(_spec: &Named) -> &'static [&'static str] {
    &[]
}

/// The host of an https URL without user, port or anything else that could point elsewhere; none if it has any.
pub fn https_host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    (!host.is_empty() && host.bytes().all(plain) && url.bytes().all(|b| b.is_ascii_graphic())).then_some(host)
}

/// Whether a host is the pattern; a label `*` stands for any one label of at least three characters.
pub fn host_matches(host: &str, pattern: &str) -> bool {
    let (mut labels, mut wanted) = (host.split('.'), pattern.split('.'));
    loop {
        match (labels.next(), wanted.next()) {
            (None, None) => return true,
            (Some(label), Some("*")) if label.len() >= 3 => {}
            (Some(label), Some(same)) if label == same => {}
            _ => return false,
        }
    }
}

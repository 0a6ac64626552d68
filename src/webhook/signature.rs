//! Finding the candidate signatures of a delivery.

use super::Rejection;
use super::key::decode_signature;
use super::view::View;
use crate::http::Headers;
use crate::manifest::webhook::{Locator, Signature};

/// Longest credential that is looked at, in bytes: longer than any real one, short enough to be cheap.
pub const MAX_CREDENTIAL: usize = 16 * 1024;

/// A signature that was sent, and which place it came from.
pub struct Candidate {
    /// The position of its place in the manifest's list.
    pub place: usize,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Every well-formed signature that was sent. An error if none was, or one that is alone is malformed.
pub fn candidates(spec: &Signature, view: &View<'_>) -> Result<Vec<Candidate>, Rejection> {
    let mut found = Vec::new();
    let mut places = 0;
    for (place, locator) in spec.from.as_slice().iter().enumerate() {
        let Some(text) = view.find(locator) else { continue };
        places += 1;
        once(locator, view.headers)?;
        if text.len() > MAX_CREDENTIAL {
            return Err(Rejection::Malformed("it is longer than any signature"));
        }
        let mut bytes = entries(spec, &text, locator)?;
        found.extend(bytes.drain(..).map(|bytes| Candidate { place, bytes }));
    }
    if places == 0 {
        let name = spec
            .from
            .as_slice()
            .first()
            .map_or_else(String::new, ToString::to_string);
        return Err(Rejection::Missing(name));
    }
    if found.is_empty() {
        return Err(Rejection::Malformed(
            "no entry is of this scheme's version and encoding",
        ));
    }
    Ok(found)
}

/// The signatures of one place.
fn entries(spec: &Signature, text: &str, locator: &Locator) -> Result<Vec<Vec<u8>>, Rejection> {
    let Some(separator) = spec.separator else {
        let Some(entry) = text.strip_prefix(spec.prefix.as_str()) else {
            return Err(Rejection::Malformed("it does not begin as this scheme's signatures do"));
        };
        let bytes = decode_signature(entry, spec.encoding).filter(|b| !b.is_empty());
        return bytes
            .map(|b| vec![b])
            .ok_or(Rejection::Malformed("it is not in this scheme's encoding"));
    };
    // A Worker sees a repeated field as one text joined by ", ". Where the separator is another, that is visible.
    if is_joined(text, separator) {
        return Err(Rejection::Doubled(locator.to_string()));
    }
    Ok(text
        .split(separator)
        .filter_map(|entry| entry.trim_matches(' ').strip_prefix(spec.prefix.as_str()))
        .filter_map(|entry| decode_signature(entry, spec.encoding).filter(|b| !b.is_empty()))
        .collect())
}

/// Whether the text is a repeated field: where its own separator is a comma, both halves begin with the same key.
fn is_joined(text: &str, separator: char) -> bool {
    let mut parts = text.split(", ");
    let key = |part: &str| part.split('=').next().unwrap_or_default().to_owned();
    let first = parts.next().map(key);
    let mut rest = parts.peekable();
    rest.peek().is_some() && (separator != ',' || rest.any(|part| Some(key(part)) == first))
}

/// A field that must come once does.
pub fn once(locator: &Locator, headers: &Headers) -> Result<(), Rejection> {
    match locator {
        Locator::Header(name) if headers.all(name).nth(1).is_some() => Err(Rejection::Doubled(locator.to_string())),
        _ => Ok(()),
    }
}

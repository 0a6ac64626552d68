//! A canonical request: method, path with a query that is escaped twice, chosen headers, body.
//!
//! Source: github.com/contentful/node-apps-toolkit, `src/requests`. The signed path is that of the registered URL.

use super::single;
use crate::manifest::webhook::OneOrMany;
use crate::manifest::webhook::{Encoding, Hash, KeyEncoding, Locator, Unit, Window};
use crate::secret::same;
use crate::time::Timestamp;
use crate::webhook::digest::Sink;
use crate::webhook::view::View;
use crate::webhook::{Rejection, key, window};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The fields it needs.
pub const HEADERS: [&str; 3] = [
    "x-contentful-signature",
    "x-contentful-signed-headers",
    "x-contentful-timestamp",
];
/// Seconds that a request is good for.
const TTL_S: u32 = 30;

/// What JavaScript's `querystring.escape` leaves alone.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
/// What JavaScript's `encodeURI` leaves alone.
const URI: &AsciiSet = &QUERY
    .remove(b';')
    .remove(b',')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b'#');

/// Verifies the canonical request with each secret.
pub fn verify(view: &View<'_>, now: Timestamp) -> Result<(), Rejection> {
    let [signature, names, time] = HEADERS.map(|name| single(name, view));
    let (names, time) = (names?, time?);
    let sent = key::decode_signature(signature?, Encoding::Hex).ok_or(Rejection::Malformed("it is not hexadecimal"))?;
    let names: Vec<&str> = names.split(',').collect();
    // Otherwise the time, or the list itself, could be changed.
    if !HEADERS.iter().skip(1).all(|needed| names.contains(needed)) {
        return Err(Rejection::Unexpected("list of signed headers".to_owned()));
    }
    let url = view
        .url()
        .ok_or_else(|| Rejection::MissingSetting("webhook_url".to_owned()))?;
    let path = canonical_path(&url);
    let mut fits = false;
    for secret in view.keys.secrets.iter().filter(|s| !s.is_empty()) {
        let mut sink = Sink::hmac(Hash::Sha256, &key::decode(secret, KeyEncoding::Text)?).ok_or(Rejection::NoSecret)?;
        sink.put(view.method.as_str().as_bytes());
        sink.put(b"\n");
        sink.put(path.as_bytes());
        sink.put(b"\n");
        for (index, name) in names.iter().enumerate() {
            let value = single(name, view)?.trim();
            sink.put(if index > 0 { b";" } else { b"" });
            sink.put(name.as_bytes());
            sink.put(b":");
            sink.put(value.as_bytes());
        }
        sink.put(b"\n");
        sink.put(view.body);
        fits |= same(&sink.finish(), &sent);
    }
    if !fits {
        return Err(Rejection::WrongSignature);
    }
    let window = Window {
        from: OneOrMany::One(Locator::Timestamp),
        unit: Unit::Millis,
        past_s: Some(TTL_S),
        future_s: Some(TTL_S),
    };
    window::check(&window, time, view.keys, now)
}

/// Path and query as the toolkit spells them.
fn canonical_path(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    let mut pieces = path.split('?');
    let (path, search) = (pieces.next().unwrap_or_default(), pieces.next().unwrap_or_default());
    if search.is_empty() {
        return utf8_percent_encode(path, URI).to_string();
    }
    let search = utf8_percent_encode(search, QUERY).to_string();
    utf8_percent_encode(&format!("{path}?{search}"), URI).to_string()
}

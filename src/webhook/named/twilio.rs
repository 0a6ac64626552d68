//! HMAC-SHA-1 over the registered URL and the sorted parameters of a form, or over the URL alone if it carries the
//! digest of the body.
//!
//! Source: github.com/twilio/twilio-node and twilio-python, `RequestValidator`. The sender is not consistent about
//! ports and about `'` in queries, so its libraries try a few spellings of the one URL; so does this.

use super::single;
use crate::http::form_pairs;
use crate::manifest::webhook::{Encoding, Hash, KeyEncoding, Locator};
use crate::secret::same;
use crate::webhook::digest::{Sink, sha256_hex};
use crate::webhook::document::is_form;
use crate::webhook::view::View;
use crate::webhook::{Rejection, key};
use std::collections::{BTreeMap, BTreeSet};

/// Verifies the URL and what goes with it, with each secret.
pub fn verify(view: &View<'_>) -> Result<(), Rejection> {
    let sent = single("x-twilio-signature", view)?;
    let sent = key::decode_signature(sent, Encoding::Base64).ok_or(Rejection::Malformed("it is not base64"))?;
    let url = url(view)?;
    let parameters = parameters(view)?;
    let mut fits = false;
    for secret in view.keys.secrets.iter().filter(|s| !s.is_empty()) {
        let key = key::decode(secret, KeyEncoding::Text)?;
        for url in spellings(&url) {
            let mut sink = Sink::hmac(Hash::Sha1, &key).ok_or(Rejection::NoSecret)?;
            sink.put(url.as_bytes());
            for (name, values) in &parameters {
                for value in values {
                    sink.put(name.as_bytes());
                    sink.put(value.as_bytes());
                }
            }
            fits |= same(&sink.finish(), &sent);
        }
    }
    if fits { Ok(()) } else { Err(Rejection::WrongSignature) }
}

/// The registered URL with the query of the request: the sender appends the body's digest to it.
fn url(view: &View<'_>) -> Result<String, Rejection> {
    let registered = view.keys.registered_url.as_deref();
    let registered = registered.ok_or_else(|| Rejection::MissingSetting("webhook_url".to_owned()))?;
    if view.query.is_empty() {
        return Ok(registered.to_owned());
    }
    let base = registered.split('?').next().unwrap_or_default();
    Ok(format!("{base}?{}", view.query))
}

/// The signed parameters: names in order, the values of a repeated name in order and once each. Empty where the URL
/// carries the body's digest, which is checked here, and for requests without a body.
fn parameters(view: &View<'_>) -> Result<BTreeMap<String, BTreeSet<String>>, Rejection> {
    let mut sorted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if let Some(digest) = view.find(&Locator::Query("bodySHA256".to_owned())) {
        let fits = same(digest.to_ascii_lowercase().as_bytes(), sha256_hex(view.body).as_bytes());
        return if fits {
            Ok(sorted)
        } else {
            Err(Rejection::WrongSignature)
        };
    }
    if view.body.is_empty() {
        return Ok(sorted);
    }
    // A body that nothing covers would be anybody's.
    if !is_form(view.headers) {
        return Err(Rejection::Missing("query parameter `bodySHA256`".to_owned()));
    }
    let text = std::str::from_utf8(view.body).map_err(|_| Rejection::UnreadableBody)?;
    for (name, value) in form_pairs(text) {
        sorted.entry(name).or_default().insert(value);
    }
    Ok(sorted)
}

/// The URL as it is, without its port and with the default one, each also with `'` escaped.
fn spellings(url: &str) -> Vec<String> {
    let mut all = vec![url.to_owned()];
    if let Some((scheme, rest)) = url.split_once("://") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host_from = authority.rfind('@').map_or(0, |at| at + 1);
        let port_at = authority
            .rfind(':')
            .filter(|at| *at >= host_from)
            .unwrap_or(authority.len());
        let host = authority.get(..port_at).unwrap_or(authority);
        let port = if scheme == "https" { 443 } else { 80 };
        all.push(format!("{scheme}://{host}{path}"));
        all.push(format!("{scheme}://{host}:{port}{path}"));
    }
    let escaped: Vec<String> = all
        .iter()
        .filter(|u| u.contains('\''))
        .map(|u| u.replace('\'', "%27"))
        .collect();
    let plain: Vec<String> = all
        .iter()
        .filter(|u| u.contains("%27"))
        .map(|u| u.replace("%27", "'"))
        .collect();
    all.extend(escaped);
    all.extend(plain);
    all
}

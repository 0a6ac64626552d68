//! The canonical request whose digest a token carries as `qsh`: `METHOD&path&query`.
//!
//! Source: atlassian-jwt-js, `createCanonicalRequest`. The body is not part of it.

use crate::http::{form_decode, percent_encode};
use crate::manifest::webhook::Locator;
use crate::webhook::Rejection;
use crate::webhook::digest::sha256_hex;
use crate::webhook::view::View;
use std::collections::BTreeMap;

/// The digest of this delivery's canonical request: the registered URL's path below the setting `base_url`, and the
/// query of the request.
pub fn of(view: &View<'_>) -> Result<String, Rejection> {
    let url = view.keys.registered_url.as_deref();
    let url = url.ok_or_else(|| Rejection::MissingSetting("webhook_url".to_owned()))?;
    let base = view.find(&Locator::Setting("base_url".to_owned())).unwrap_or_default();
    let path = path_of(url).split('?').next().unwrap_or_default();
    let registered_query = url.split_once('?').map_or("", |(_, q)| q);
    let query = if view.query.is_empty() {
        registered_query
    } else {
        view.query
    };
    Ok(hash(&canonical(view.method.as_str(), path, query, &base)))
}

/// Hex SHA-256 of a canonical request.
pub fn hash(canonical: &str) -> String {
    sha256_hex(canonical.as_bytes())
}

/// The canonical request. `base` is the app's base URL or its path; `query` may also be a form body joined to it.
pub fn canonical(method: &str, path: &str, query: &str, base: &str) -> String {
    let base = path_of(base).trim_end_matches('/');
    let path = path
        .strip_prefix(base)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = if path.is_empty() { "/" } else { path };
    format!(
        "{}&{}&{}",
        method.to_ascii_uppercase(),
        path.replace('&', "%26"),
        canonical_query(query)
    )
}

/// Names and values in RFC 3986 escapes, names sorted, the sorted values of a repeated name joined by commas.
fn canonical_query(query: &str) -> String {
    let mut sorted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = form_decode(name);
        if name != "jwt" {
            sorted
                .entry(percent_encode(&name))
                .or_default()
                .push(percent_encode(&form_decode(value)));
        }
    }
    let pairs: Vec<String> = sorted
        .into_iter()
        .map(|(name, mut values)| {
            values.sort();
            format!("{name}={}", values.join(","))
        })
        .collect();
    pairs.join("&")
}

/// The path of a URL, or the text itself if it is a path already.
fn path_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else {
        return url;
    };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("")
}

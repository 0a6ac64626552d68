//! HMACs and keyed digests: the families that most services use.

use super::digest::Sink;
use super::public_key::rsa_hash;
use super::signature::{Candidate, candidates};
use super::verify::Outside;
use super::view::{View, Words};
use super::{Rejection, key, window};
use crate::manifest::webhook::{Locator, Mac, Part, Signature, Text};
use crate::ports::Crypto;
use crate::secret::{Secret, same};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// From so many bytes on the platform's HMAC is worth the way to it: its digest is several times as fast as one in
/// wasm, and asking for it costs about as much as 4 KiB here.
const WORTH_ASKING: usize = 4 * 1024;

/// Which of both an algorithm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HMAC.
    Hmac,
    /// A digest over a text that holds the secret.
    Digest,
}

/// Verifies a delivery.
pub async fn verify(kind: Kind, spec: &Mac, view: &View<'_>, outside: Outside<'_>) -> Result<(), Rejection> {
    demand(&spec.require, view)?;
    let view = &with_pairs(&spec.signature, view);
    let sent = candidates(&spec.signature, view)?;
    let timestamp = spec.timestamp.as_ref().map(|w| window::text(w, view));
    // A time that the signed text does not hold (one inside the body) is looked at after the signature.
    let signs_time = spec.signed.locators().any(|l| *l == Locator::Timestamp);
    let text = match &timestamp {
        Some(Err(missing)) if signs_time => return Err(missing.clone()),
        Some(Ok(text)) => Some(text.as_ref()),
        Some(Err(_)) | None => None,
    };
    let words = Words {
        timestamp: text,
        ..view.words
    };
    any_fits(kind, spec, &View { words, ..*view }, &sent, outside.crypto).await?;
    match (&spec.timestamp, timestamp) {
        (Some(window), Some(text)) => window::check(window, &text?, view.keys, outside.now),
        _ => Ok(()),
    }
}

/// Whether one of the secrets fits one of the candidates. All are tried, so that the time does not say which one fits.
async fn any_fits(
    kind: Kind,
    spec: &Mac,
    view: &View<'_>,
    sent: &[Candidate],
    crypto: &dyn Crypto,
) -> Result<(), Rejection> {
    let mut fits = false;
    let mut tried = false;
    let mut unusable = Rejection::NoSecret;
    for (place, secret) in view.keys.secrets.iter().enumerate() {
        if secret.is_empty() {
            continue;
        }
        let expected = match sign(kind, spec, view, secret, crypto).await {
            Ok(bytes) => bytes,
            Err(problem @ (Rejection::UnusableSecret(_) | Rejection::NoSecret)) => {
                unusable = problem;
                continue;
            }
            Err(other) => return Err(other),
        };
        tried = true;
        for candidate in sent {
            let place_fits = !spec.signature.pairwise || candidate.place == place;
            fits |= place_fits & same(&candidate.bytes, &expected);
        }
    }
    match (fits, tried) {
        (true, _) => Ok(()),
        (false, true) => Err(Rejection::WrongSignature),
        (false, false) => Err(unusable),
    }
}

/// The signature that this secret makes.
async fn sign(
    kind: Kind,
    spec: &Mac,
    view: &View<'_>,
    secret: &Secret,
    crypto: &dyn Crypto,
) -> Result<Vec<u8>, Rejection> {
    let key = key::decode(secret, spec.key)?;
    let words = Words {
        secret: Some(secret.expose()),
        ..view.words
    };
    let view = View { words, ..*view };
    let pieces = pieces(&spec.signed, &view)?;
    if kind == Kind::Hmac && pieces.iter().map(|p| p.len()).sum::<usize>() >= WORTH_ASKING {
        let parts: Vec<&[u8]> = pieces.iter().map(AsRef::as_ref).collect();
        if let Some(mac) = crypto.hmac(rsa_hash(spec.hash), &key, &parts).await {
            return Ok(mac);
        }
    }
    let mut sink = match kind {
        Kind::Hmac => Sink::hmac(spec.hash, &key).ok_or(Rejection::UnusableSecret("a usable key"))?,
        Kind::Digest => Sink::digest(spec.hash),
    };
    pieces.iter().for_each(|piece| sink.put(piece));
    Ok(sink.finish())
}

/// Feeds the signed text.
pub fn feed(signed: &Text, view: &View<'_>, sink: &mut Sink) -> Result<(), Rejection> {
    pieces(signed, view)?.iter().for_each(|piece| sink.put(piece));
    Ok(())
}

/// The signed text. The body is one piece by reference, whatever its bytes; a slot that finds nothing is an error: a
/// missing part is never an empty one.
fn pieces<'a>(signed: &'a Text, view: &View<'a>) -> Result<Vec<Cow<'a, [u8]>>, Rejection> {
    let mut pieces = Vec::with_capacity(signed.parts.len());
    for part in &signed.parts {
        pieces.push(match part {
            Part::Literal(text) => Cow::Borrowed(text.as_bytes()),
            Part::Slot(alternatives) if alternatives.first() == Some(&Locator::RawBody) => Cow::Borrowed(view.body),
            Part::Slot(alternatives) => {
                let found = alternatives.iter().find_map(|l| view.find(l).map(|text| (l, text)));
                let Some((locator, text)) = found else {
                    return Err(missing(alternatives));
                };
                super::signature::once(locator, view.headers)?;
                match text {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                }
            }
        });
    }
    Ok(pieces)
}

/// What to say about a slot of the signed text that finds nothing.
fn missing(alternatives: &[Locator]) -> Rejection {
    match alternatives.first() {
        Some(Locator::Url | Locator::UrlUnescaped) => Rejection::MissingSetting("webhook_url".to_owned()),
        Some(Locator::Setting(name)) => Rejection::MissingSetting(name.clone()),
        Some(Locator::Timestamp) | None => Rejection::MissingTimestamp,
        Some(other) => Rejection::Missing(other.to_string()),
    }
}

/// Places that must hold an exact text.
pub fn demand(require: &BTreeMap<Locator, String>, view: &View<'_>) -> Result<(), Rejection> {
    for (locator, wanted) in require {
        match view.find(locator) {
            None => return Err(Rejection::Missing(locator.to_string())),
            Some(text) if text != wanted.as_str() => return Err(Rejection::Unexpected(locator.to_string())),
            Some(_) => super::signature::once(locator, view.headers)?,
        }
    }
    Ok(())
}

/// The view with the pairs of the signature header in sight.
pub fn with_pairs<'a>(spec: &Signature, view: &View<'a>) -> View<'a> {
    let header = match spec.from.as_slice().first() {
        Some(Locator::Header(name)) => view.headers.get(name),
        _ => None,
    };
    let words = Words {
        pairs: header.zip(spec.separator),
        ..view.words
    };
    View { words, ..*view }
}

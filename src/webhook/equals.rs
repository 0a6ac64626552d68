//! Schemes that send the secret itself along: they say who sent it, and nothing about the body.

use super::view::{View, every, scalar};
use super::{Rejection, signature};
use crate::manifest::webhook::{Equals, Locator};
use crate::secret::same;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The secret stands at a place, or at each of several.
pub fn verify(spec: &Equals, view: &View<'_>) -> Result<(), Rejection> {
    let missing = || Rejection::Missing(spec.from.to_string());
    if let Locator::Body(at) = &spec.from
        && at.is_many()
    {
        let document = view.document().ok_or(Rejection::UnreadableBody)?;
        let all = every(document, &at.0)
            .filter(|all| !all.is_empty())
            .ok_or_else(missing)?;
        return all
            .into_iter()
            .try_for_each(|value| one(&scalar(value).ok_or_else(missing)?, view));
    }
    let text = view.find(&spec.from).ok_or_else(missing)?;
    signature::once(&spec.from, view.headers)?;
    let text = text
        .strip_prefix(spec.prefix.as_str())
        .ok_or_else(|| Rejection::Unexpected(spec.from.to_string()))?;
    one(text, view)
}

/// HTTP Basic (RFC 7617); the secret is `user:password`, and the password may hold colons.
pub fn basic(view: &View<'_>) -> Result<(), Rejection> {
    let place = Locator::Header("authorization".to_owned());
    let text = view.find(&place).ok_or_else(|| Rejection::Missing(place.to_string()))?;
    signature::once(&place, view.headers)?;
    let (scheme, credential) = text.split_once(' ').unwrap_or((&text, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Rejection::Unexpected(place.to_string()));
    }
    if credential.len() > signature::MAX_CREDENTIAL {
        return Err(Rejection::Malformed("it is longer than any credential"));
    }
    let sent = STANDARD
        .decode(credential)
        .map_err(|_| Rejection::Malformed("it is not base64"))?;
    compare(&sent, view)
}

fn one(text: &str, view: &View<'_>) -> Result<(), Rejection> {
    if text.len() > signature::MAX_CREDENTIAL {
        return Err(Rejection::Malformed("it is longer than any credential"));
    }
    compare(text.as_bytes(), view)
}

/// Compares with every secret, so that the time does not say which one fits.
fn compare(sent: &[u8], view: &View<'_>) -> Result<(), Rejection> {
    let mut usable = view.keys.secrets.iter().filter(|s| !s.is_empty()).peekable();
    if usable.peek().is_none() {
        return Err(Rejection::NoSecret);
    }
    let fits = usable.fold(false, |fits, secret| fits | same(sent, secret.expose().as_bytes()));
    if fits { Ok(()) } else { Err(Rejection::WrongCredential) }
}

//! The way from an [`IncomingHook`] to a [`VerifiedHook`].

use super::signature::once;
use super::view::{View, Words};
use super::{IncomingHook, KeyMaterial, Rejection, VerifiedHook, equals, mac, named, public_key, select, token};
use crate::http::Head;
use crate::manifest::webhook::{JwtKeys, Locator, Mac, PublicKey, Scheme, Signature, Text, Webhook, Window};
use crate::ports::{Crypto, KeySource};
use crate::time::Timestamp;
use serde_json::Value;
use std::cell::OnceCell;

/// What verifiers ask of the outside.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The time of receipt.
    pub now: Timestamp,
    /// RSA and P-256.
    pub crypto: &'a dyn Crypto,
    /// Keys that the service publishes.
    pub keys: &'a dyn KeySource,
}

/// What can be refused before the body is read: no secret, a missing or doubled field. A request that may be an
/// unsigned handshake passes, because its body decides.
pub fn precheck(spec: &Webhook, head: &Head, keys: &KeyMaterial) -> Result<(), Rejection> {
    let document = OnceCell::from(None);
    let view = view_of_head(head, keys, &document);
    if super::handshake::may_be_unsigned(spec, &view) {
        return Ok(());
    }
    let scheme = select::scheme(&spec.verification, &view)?;
    if needs_secret(scheme) && keys.secrets.iter().all(crate::secret::Secret::is_empty) {
        return Err(Rejection::NoSecret);
    }
    fields(scheme, &view)?;
    spec.event
        .delivery_id
        .as_slice()
        .iter()
        .flat_map(Text::locators)
        .try_for_each(|l| single_id(l, &view))
}

/// Verifies a delivery. Only this and [`verify_or_return`] make a [`VerifiedHook`].
pub async fn verify(
    spec: &Webhook,
    keys: &KeyMaterial,
    hook: IncomingHook,
    now: Timestamp,
    crypto: &dyn Crypto,
    key_source: &dyn KeySource,
) -> Result<VerifiedHook, Rejection> {
    let verified = verify_or_return(spec, keys, hook, now, crypto, key_source).await;
    verified.map_err(|(why, _)| why)
}

/// Verifies a delivery, and hands it back if it is refused: its caller has a use for it that is no belief in it.
pub async fn verify_or_return(
    spec: &Webhook,
    keys: &KeyMaterial,
    hook: IncomingHook,
    now: Timestamp,
    crypto: &dyn Crypto,
    key_source: &dyn KeySource,
) -> Result<VerifiedHook, (Rejection, IncomingHook)> {
    let document = OnceCell::new();
    match prove(
        spec,
        keys,
        &hook,
        &document,
        Outside {
            now,
            crypto,
            keys: key_source,
        },
    )
    .await
    {
        Ok(claims) => Ok(VerifiedHook {
            hook,
            document,
            form_field: spec.event.form_field.clone(),
            claims,
        }),
        Err(why) => Err((why, hook)),
    }
}

/// Finds the scheme and runs it.
async fn prove(
    spec: &Webhook,
    keys: &KeyMaterial,
    hook: &IncomingHook,
    document: &OnceCell<Option<Value>>,
    outside: Outside<'_>,
) -> Result<Option<Value>, Rejection> {
    let view = View {
        method: hook.method,
        query: &hook.query,
        headers: &hook.headers,
        body: &hook.body,
        document,
        brief: None,
        form_field: spec.event.form_field.as_deref(),
        keys,
        claims: None,
        item: None,
        words: Words::default(),
    };
    let scheme = select::scheme(&spec.verification, &view)?;
    if needs_secret(scheme) && keys.secrets.iter().all(crate::secret::Secret::is_empty) {
        return Err(Rejection::NoSecret);
    }
    // Where a stranger's challenge is MACed with the key of deliveries, a text that could be one is no delivery.
    if super::handshake::could_be_challenge(spec, &hook.body) {
        return Err(Rejection::Unexpected("body".to_owned()));
    }
    spec.event
        .delivery_id
        .as_slice()
        .iter()
        .flat_map(Text::locators)
        .try_for_each(|l| single_id(l, &view))?;
    check(scheme, &view, outside).await
}

/// Runs the scheme. The claims are those of a token, for schemes that have one.
async fn check(scheme: &Scheme, view: &View<'_>, outside: Outside<'_>) -> Result<Option<Value>, Rejection> {
    match scheme {
        Scheme::Hmac(spec) => mac::verify(mac::Kind::Hmac, spec, view, outside).await?,
        Scheme::Digest(spec) => mac::verify(mac::Kind::Digest, spec, view, outside).await?,
        Scheme::Equals(spec) => equals::verify(spec, view)?,
        Scheme::Basic => equals::basic(view)?,
        Scheme::Ed25519(spec) => public_key::verify(public_key::Kind::Ed25519, spec, view, outside).await?,
        Scheme::EcdsaP256(spec) => public_key::verify(public_key::Kind::EcdsaP256, spec, view, outside).await?,
        Scheme::Rsa(spec) => public_key::verify(public_key::Kind::Rsa, spec, view, outside).await?,
        Scheme::Jwt(spec) => return token::verify(spec, view, outside).await.map(Some),
        Scheme::Named(spec) => named::verify(spec, view, outside).await?,
    }
    Ok(None)
}

/// Whether the scheme needs a secret (or a public key) of the connection's.
fn needs_secret(scheme: &Scheme) -> bool {
    match scheme {
        Scheme::Jwt(spec) => matches!(spec.keys, JwtKeys::Secret),
        Scheme::Named(spec) => named::needs_secret(spec),
        Scheme::Hmac(_)
        | Scheme::Digest(_)
        | Scheme::Equals(_)
        | Scheme::Basic
        | Scheme::Ed25519(_)
        | Scheme::EcdsaP256(_)
        | Scheme::Rsa(_) => true,
    }
}

/// The fields of the head that the scheme needs are there, once each.
fn fields(scheme: &Scheme, view: &View<'_>) -> Result<(), Rejection> {
    match scheme {
        Scheme::Hmac(Mac {
            signature,
            signed,
            timestamp,
            ..
        })
        | Scheme::Digest(Mac {
            signature,
            signed,
            timestamp,
            ..
        })
        | Scheme::Ed25519(PublicKey {
            signature,
            signed,
            timestamp,
            ..
        })
        | Scheme::EcdsaP256(PublicKey {
            signature,
            signed,
            timestamp,
            ..
        })
        | Scheme::Rsa(PublicKey {
            signature,
            signed,
            timestamp,
            ..
        }) => signed_fields(signature, signed, timestamp.as_ref(), view),
        Scheme::Jwt(spec) => any_present(spec.from.as_slice(), view),
        Scheme::Equals(spec) => any_present(std::slice::from_ref(&spec.from), view),
        Scheme::Basic => any_present(&[Locator::Header("authorization".to_owned())], view),
        Scheme::Named(spec) => named::headers(spec)
            .iter()
            .try_for_each(|name| any_present(&[Locator::Header((*name).to_owned())], view)),
    }
}

fn signed_fields(
    signature: &Signature,
    signed: &Text,
    timestamp: Option<&Window>,
    view: &View<'_>,
) -> Result<(), Rejection> {
    any_present(signature.from.as_slice(), view)?;
    if let Some(window) = timestamp.map(|w| w.from.as_slice())
        && window.iter().all(|l| matches!(l, Locator::Header(_)))
    {
        any_present(window, view).map_err(|e| match e {
            Rejection::Missing(_) => Rejection::MissingTimestamp,
            other => other,
        })?;
    }
    signed.parts.iter().try_for_each(|part| match part {
        crate::manifest::webhook::Part::Slot(places) => any_present(places, view),
        crate::manifest::webhook::Part::Literal(_) => Ok(()),
    })
}

/// One of these places holds something, and none of the fields is doubled. Places that the head does not show are
/// taken to be there.
fn any_present(places: &[Locator], view: &View<'_>) -> Result<(), Rejection> {
    let mut there = false;
    for place in places {
        once(place, view.headers)?;
        there |= match place {
            Locator::Header(_) | Locator::Query(_) => view.find(place).is_some(),
            _ => true,
        };
    }
    match places.first() {
        Some(first) if !there => Err(Rejection::Missing(first.to_string())),
        _ => Ok(()),
    }
}

/// A header that tells deliveries apart must not come twice, also not joined as a Worker joins repeated fields: a
/// second copy would make a replayed delivery look new.
fn single_id(locator: &Locator, view: &View<'_>) -> Result<(), Rejection> {
    once(locator, view.headers)?;
    match locator {
        Locator::Header(_) if view.find(locator).is_some_and(|id| id.contains(", ")) => {
            Err(Rejection::Doubled(locator.to_string()))
        }
        _ => Ok(()),
    }
}

/// A view of a request whose body was not read.
pub fn view_of_head<'a>(head: &'a Head, keys: &'a KeyMaterial, document: &'a OnceCell<Option<Value>>) -> View<'a> {
    View {
        method: head.method,
        query: &head.query,
        headers: &head.headers,
        body: &[],
        document,
        brief: None,
        form_field: None,
        keys,
        claims: None,
        item: None,
        words: Words::default(),
    }
}

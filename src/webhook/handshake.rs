//! What the protocol answers by itself. Unsigned handshakes are the manifest's closed list and touch no state; signed
//! ones answer only for a [`VerifiedHook`], so that a MAC over a caller's text is never made for a stranger, except
//! where the protocol itself demands it, and then over `[A-Za-z0-9_-]{1,128}` alone.

use super::reply::build;
use super::view::{View, Words};
use super::{KeyMaterial, Rejection, VerifiedHook, digest, key, select};
use crate::http::{Head, Request, Response};
use crate::manifest::webhook::handshake::{Alphabet, ChallengeMac};
use crate::manifest::webhook::{Challenge, Handshake, Locator, Reply, Webhook};
use crate::secret::{Secret, same};
use std::cell::OnceCell;

/// The secret that an unsigned handshake hands over, if this is one that does.
pub fn handed_over(spec: &Webhook, keys: &KeyMaterial, head: &Head, body: &[u8]) -> Option<Secret> {
    let cell = OnceCell::new();
    let view = unsigned_view(spec, keys, head, body, &cell);
    let text = view.find(unsigned_rule(spec, head, &view)?.learn.as_ref()?)?;
    (8..=256).contains(&text.len()).then(|| Secret::new(text))
}

fn unsigned_view<'a>(
    spec: &'a Webhook,
    keys: &'a KeyMaterial,
    head: &'a Head,
    body: &'a [u8],
    cell: &'a OnceCell<Option<serde_json::Value>>,
) -> View<'a> {
    View {
        body,
        form_field: spec.event.form_field.as_deref(),
        ..super::verify::view_of_head(head, keys, cell)
    }
}

fn unsigned_rule<'s>(spec: &'s Webhook, head: &Head, view: &View<'_>) -> Option<&'s Handshake> {
    spec.handshakes
        .iter()
        .find(|h| !h.signed && h.method == head.method && select::holds(&h.when, view))
}

/// The reply to a handshake that the service sends unsigned, if this is one. Call it before [`super::verify`].
pub fn unsigned_handshake(
    spec: &Webhook,
    keys: &KeyMaterial,
    head: &Head,
    body: &[u8],
) -> Option<Result<Response, Rejection>> {
    let cell = OnceCell::new();
    let view = unsigned_view(spec, keys, head, body, &cell);
    unsigned_rule(spec, head, &view).map(|rule| answer(rule, &view))
}

/// The reply to a verified delivery that is a handshake, if this is one. A challenge that is not a text the hub
/// answers makes it an ordinary delivery.
pub fn signed_handshake(spec: &Webhook, keys: &KeyMaterial, hook: &VerifiedHook) -> Option<Response> {
    let view = hook.view(keys);
    signed_rule(spec, &view).and_then(|rule| answer(rule, &view).ok())
}

/// The request that confirms a subscription, if this verified delivery asks for one and its URL is the service's. The
/// hub sends it once, without credentials, follows no redirect and forgets the reply.
pub fn confirmation(spec: &Webhook, keys: &KeyMaterial, hook: &VerifiedHook) -> Option<Request> {
    let view = hook.view(keys);
    let confirm = signed_rule(spec, &view)?.confirm.as_ref()?;
    let url = view.find(&confirm.url)?;
    let host = super::named::https_host(&url)?;
    confirm
        .hosts
        .iter()
        .any(|pattern| super::named::host_matches(host, pattern))
        .then(|| Request {
            method: crate::http::Method::Get,
            url: url.into_owned(),
            headers: crate::http::Headers::default(),
            body: Vec::new(),
        })
}

fn signed_rule<'s>(spec: &'s Webhook, view: &View<'_>) -> Option<&'s Handshake> {
    spec.handshakes
        .iter()
        .find(|h| h.signed && h.method == view.method && select::holds(&h.when, view))
}

/// Whether this body is a text that an unsigned handshake of the service would have been given a MAC for.
pub fn could_be_challenge(spec: &Webhook, body: &[u8]) -> bool {
    let signs = |h: &Handshake| !h.signed && h.challenge.as_ref().is_some_and(|c| c.mac.is_some());
    spec.handshakes.iter().any(signs) && std::str::from_utf8(body).is_ok_and(|text| allowed(text, Alphabet::Token))
}

/// Whether the head of a request leaves it open that it is an unsigned handshake.
pub fn may_be_unsigned(spec: &Webhook, view: &View<'_>) -> bool {
    let visible = |l: &Locator| matches!(l, Locator::Header(_) | Locator::Query(_) | Locator::Setting(_));
    spec.handshakes.iter().any(|h| {
        !h.signed
            && h.method == view.method
            && h.when
                .present
                .iter()
                .filter(|l| visible(l))
                .all(|l| view.find(l).is_some())
            && h.when
                .absent
                .iter()
                .filter(|l| visible(l))
                .all(|l| view.find(l).is_none())
            && h.when
                .equals
                .iter()
                .filter(|(l, _)| visible(l))
                .all(|(l, wanted)| view.find(l).is_some_and(|text| text == wanted.as_str()))
    })
}

/// The reply that a rule gives.
fn answer(rule: &Handshake, view: &View<'_>) -> Result<Response, Rejection> {
    for (place, wanted) in &rule.require {
        let Some(wanted) = view.fill(wanted).filter(|w| !w.is_empty()) else {
            let setting = wanted.locators().next().map_or_else(String::new, ToString::to_string);
            return Err(Rejection::MissingSetting(setting));
        };
        let sent = view.find(place).unwrap_or_default();
        if !same(sent.as_bytes(), wanted.as_bytes()) {
            return Ok(rule
                .refuse
                .as_ref()
                .map_or_else(|| Response::empty(403), |r| build(r, view, 403)));
        }
    }
    let Some(spec) = &rule.challenge else {
        return Ok(build(&rule.reply, view, 200));
    };
    challenged(spec, &rule.reply, view)
}

/// The reply to a challenge.
fn challenged(spec: &Challenge, reply: &Reply, view: &View<'_>) -> Result<Response, Rejection> {
    let text = view.find(&spec.from).ok_or(Rejection::BadChallenge)?;
    let alphabet = if spec.mac.is_some() {
        Alphabet::Token
    } else {
        spec.allow
    };
    if !allowed(&text, alphabet) {
        return Err(Rejection::BadChallenge);
    }
    let mac = spec
        .mac
        .as_ref()
        .map(|m| challenge_mac(m, &text, view.keys))
        .transpose()?;
    let words = Words {
        challenge: Some(&text),
        mac: mac.as_deref(),
        ..view.words
    };
    let mut response = build(reply, &View { words, ..*view }, 200);
    // The text is a stranger's: no browser may take it for anything else than what it is.
    response.headers.set("x-content-type-options", "nosniff");
    Ok(response)
}

fn allowed(text: &str, alphabet: Alphabet) -> bool {
    match alphabet {
        Alphabet::Token => {
            (1..=128).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        }
        Alphabet::Text => (1..=1024).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b)),
    }
}

fn challenge_mac(spec: &ChallengeMac, text: &str, keys: &KeyMaterial) -> Result<String, Rejection> {
    let secret = keys.secrets.iter().find(|s| !s.is_empty()).ok_or(Rejection::NoSecret)?;
    let mac = digest::hmac(spec.hash, Secret::expose(secret).as_bytes(), text.as_bytes());
    let mac = mac.ok_or(Rejection::UnusableSecret("a usable key"))?;
    Ok(key::encode(&mac, spec.encoding))
}

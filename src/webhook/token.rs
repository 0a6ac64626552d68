//! JSON Web Tokens (RFC 7519): the algorithm from the manifest, the key from the secret or the service, claims by rule.

use super::digest::sha256_hex;
use super::signature::{MAX_CREDENTIAL, once};
use super::verify::Outside;
use super::view::{View, Words, scalar};
use super::{Rejection, der, digest, named, public_key};
use crate::manifest::webhook::{BodyHash, Hash, Jwt, JwtKeys, KeyEncoding, KeyRequest, Locator, Presence, Text};
use crate::ports::KeyError;
use crate::ports::RsaHash;
use crate::secret::same;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Seconds by which the sender's clock may run ahead of ours: `nbf` is often the moment of sending.
const CLOCK_SKEW_S: i64 = 30;

/// A token in its parts. Reading one says nothing about who made it.
#[derive(Debug)]
pub struct Token<'a> {
    /// What is signed: the first two parts with their dot.
    pub signed: &'a str,
    /// The header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Value,
    /// The signature.
    pub signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Reads the compact form (RFC 7515, 3.1).
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_CREDENTIAL {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let claims: Value = serde_json::from_slice(&decode(claims)?).ok()?;
        Some(Self {
            signed,
            header: serde_json::from_slice(&decode(header)?).ok()?,
            claims: claims.is_object().then_some(claims)?,
            signature: decode(signature)?,
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }
}

/// Verifies the delivery's token; the claims are the result.
pub async fn verify(spec: &Jwt, view: &View<'_>, outside: Outside<'_>) -> Result<Value, Rejection> {
    let text = find(spec, view)?;
    let token = Token::parse(&text).ok_or(Rejection::BadToken("it is no signed JWT"))?;
    // RFC 7515, 4.1.11: an extension that must be understood, and is not.
    if token.header.contains_key("crit") {
        return Err(Rejection::BadToken("it has critical extensions"));
    }
    let algorithm = spec.algorithms.iter().find(|a| token.header("alg") == Some(a.as_str()));
    let algorithm = algorithm.ok_or(Rejection::BadToken("its algorithm is not the one of this scheme"))?;
    signature(algorithm, spec, &token, view, outside).await?;
    times(spec, &token.claims, view, outside.now.seconds())?;
    for (name, wanted) in &spec.claims {
        claim(name, wanted.as_slice(), &token.claims, view)?;
    }
    hashes(spec, &token.claims, view)?;
    Ok(token.claims)
}

/// The token's text.
fn find(spec: &Jwt, view: &View<'_>) -> Result<String, Rejection> {
    for place in spec.from.as_slice() {
        let Some(text) = view.find(place) else { continue };
        once(place, view.headers)?;
        let prefix = if matches!(place, Locator::Header(_)) {
            spec.prefix.as_str()
        } else {
            ""
        };
        let rest = text
            .strip_prefix(prefix)
            .ok_or_else(|| Rejection::Unexpected(place.to_string()))?;
        return Ok(rest.to_owned());
    }
    let first = spec
        .from
        .as_slice()
        .first()
        .map_or_else(String::new, ToString::to_string);
    Err(Rejection::Missing(first))
}

async fn signature(
    algorithm: &str,
    spec: &Jwt,
    token: &Token<'_>,
    view: &View<'_>,
    outside: Outside<'_>,
) -> Result<(), Rejection> {
    let fits = match algorithm {
        "HS256" => hmac(Hash::Sha256, token, view)?,
        "HS384" => hmac(Hash::Sha384, token, view)?,
        "HS512" => hmac(Hash::Sha512, token, view)?,
        "RS256" => rsa(RsaHash::Sha256, algorithm, spec, token, view, outside).await?,
        "RS384" => rsa(RsaHash::Sha384, algorithm, spec, token, view, outside).await?,
        "RS512" => rsa(RsaHash::Sha512, algorithm, spec, token, view, outside).await?,
        "ES256" => {
            let spki = public(algorithm, spec, token, view, outside).await?;
            let fits = token.signature.len() == 64;
            fits && public_key::p256(&spki, &token.signature, token.signed.as_bytes(), outside).await?
        }
        other => return Err(Rejection::BadManifest(format!("there is no algorithm `{other}`"))),
    };
    if fits { Ok(()) } else { Err(Rejection::WrongSignature) }
}

fn hmac(hash: Hash, token: &Token<'_>, view: &View<'_>) -> Result<bool, Rejection> {
    let mut tried = false;
    let mut fits = false;
    for secret in view.keys.secrets.iter().filter(|s| !s.is_empty()) {
        let mac = digest::hmac(hash, secret.expose().as_bytes(), token.signed.as_bytes());
        fits |= mac.is_some_and(|mac| same(&mac, &token.signature));
        tried = true;
    }
    if tried { Ok(fits) } else { Err(Rejection::NoSecret) }
}

async fn rsa(
    hash: RsaHash,
    algorithm: &str,
    spec: &Jwt,
    token: &Token<'_>,
    view: &View<'_>,
    outside: Outside<'_>,
) -> Result<bool, Rejection> {
    let spki = public(algorithm, spec, token, view, outside).await?;
    public_key::rsa(hash, &spki, &token.signature, token.signed.as_bytes(), outside).await
}

/// The public key, as SPKI.
async fn public(
    algorithm: &str,
    spec: &Jwt,
    token: &Token<'_>,
    view: &View<'_>,
    outside: Outside<'_>,
) -> Result<Vec<u8>, Rejection> {
    let kid = token.header("kid").filter(|kid| kid.len() <= 200);
    match &spec.keys {
        JwtKeys::Secret => {
            let secret = view
                .keys
                .secrets
                .iter()
                .find(|s| !s.is_empty())
                .ok_or(Rejection::NoSecret)?;
            public_key::spki(secret, KeyEncoding::Base64)
        }
        JwtKeys::Jwks(url) => {
            let kid = kid.ok_or(Rejection::BadToken("it names no key"))?;
            if let Some(key) = in_set(&fetch(url, None, false, outside).await?, kid, algorithm) {
                return key;
            }
            // An unknown key id may be a new key: one look past the cache, which the source bounds.
            in_set(&fetch(url, None, true, outside).await?, kid, algorithm).ok_or(Rejection::UnknownKey)?
        }
        JwtKeys::ByKeyId(request) => {
            let kid = kid.ok_or(Rejection::BadToken("it names no key"))?;
            by_id(request, kid, algorithm, view, outside).await
        }
    }
}

async fn fetch(url: &str, json: Option<&Value>, fresh: bool, outside: Outside<'_>) -> Result<Vec<u8>, Rejection> {
    outside.keys.document(url, json, fresh).await.map_err(|e| match e {
        KeyError::NotFound => Rejection::UnknownKey,
        KeyError::Unavailable(text) => Rejection::KeyUnavailable(text),
    })
}

/// The key of this id in a JWK set (RFC 7517), if it is there.
fn in_set(document: &[u8], kid: &str, algorithm: &str) -> Option<Result<Vec<u8>, Rejection>> {
    let set: Value = serde_json::from_slice(document).ok()?;
    let keys = set.get("keys").unwrap_or(&set).as_array()?;
    let key = keys
        .iter()
        .find(|key| key.get("kid").and_then(Value::as_str) == Some(kid))?;
    Some(jwk(key, algorithm))
}

/// One key that the service answers for a key id.
async fn by_id(
    request: &KeyRequest,
    kid: &str,
    algorithm: &str,
    view: &View<'_>,
    outside: Outside<'_>,
) -> Result<Vec<u8>, Rejection> {
    // It becomes part of a URL or a request: a key id with other characters is none of theirs.
    if kid.is_empty() || !kid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(Rejection::UnknownKey);
    }
    let secret = view.keys.secrets.iter().find(|s| !s.is_empty());
    let words = Words {
        kid: Some(kid),
        secret: secret.map(crate::secret::Secret::expose),
        ..view.words
    };
    let view = View { words, ..*view };
    let url = view.fill(&request.url).unwrap_or_default();
    let json = request.json.as_ref().map(|members| {
        let fill = |(name, text): (&String, &Text)| -> Result<(String, Value), Rejection> {
            missing_setting(text, &view)?;
            Ok((name.clone(), view.fill(text).unwrap_or_default().into()))
        };
        let members: Result<Map<_, _>, Rejection> = members.iter().map(fill).collect();
        members.map(Value::Object)
    });
    let json = json.transpose()?;
    let document = fetch(&url, json.as_ref(), false, outside).await?;
    let Some(pointer) = &request.pointer else {
        let text = String::from_utf8_lossy(&document);
        return public_key::pem(&text, "PUBLIC KEY")
            .into_iter()
            .next()
            .ok_or(Rejection::UnknownKey);
    };
    let answer: Value = serde_json::from_slice(&document).map_err(|_| Rejection::UnknownKey)?;
    jwk(answer.pointer(pointer).ok_or(Rejection::UnknownKey)?, algorithm)
}

/// A setting that the key request needs and the connection lacks is a fault of the set-up: the service would refuse the
/// request as if the key did not exist.
fn missing_setting(text: &Text, view: &View<'_>) -> Result<(), Rejection> {
    let lacks = |l: &Locator| matches!(l, Locator::Setting(_)) && view.find(l).is_none_or(|found| found.is_empty());
    let missing = text.locators().find(|l| lacks(l));
    missing.map_or(Ok(()), |l| Err(Rejection::MissingSetting(l.to_string())))
}

/// The SPKI of a JWK that is meant for this algorithm and still in use.
fn jwk(key: &Value, algorithm: &str) -> Result<Vec<u8>, Rejection> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(|t| URL_SAFE_NO_PAD.decode(t).ok());
    if text("use").is_some_and(|u| u != "sig") || text("alg").is_some_and(|a| a != algorithm) {
        return Err(Rejection::BadToken("its key is meant for something else"));
    }
    if key.get("expired_at").is_some_and(|at| !at.is_null()) {
        return Err(Rejection::BadToken("its key has expired"));
    }
    let spki = match (text("kty"), algorithm) {
        (Some("RSA"), "RS256" | "RS384" | "RS512") => {
            // A modulus longer than 8,192 bits is no key but a way to spend our time.
            let n = bytes("n").filter(|n| n.len() <= 1024);
            n.zip(bytes("e")).map(|(n, e)| der::rsa_spki(&n, &e))
        }
        (Some("EC"), "ES256") if text("crv") == Some("P-256") => {
            bytes("x").zip(bytes("y")).and_then(|(x, y)| der::p256_spki(&x, &y))
        }
        _ => None,
    };
    spki.ok_or(Rejection::BadToken("its key does not fit its algorithm"))
}

/// The time claims.
fn times(spec: &Jwt, claims: &Value, view: &View<'_>, now_s: i64) -> Result<(), Rejection> {
    let time = |name: &str| -> Result<Option<i64>, Rejection> {
        let Some(value) = claims.get(name).filter(|v| !v.is_null()) else {
            return Ok(None);
        };
        // RFC 7519, 2: a NumericDate may have a fraction.
        #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        let seconds = value.as_i64().or_else(|| value.as_f64().map(|f| f.floor() as i64));
        seconds.map(Some).ok_or_else(|| Rejection::WrongClaim(name.to_owned()))
    };
    for name in &spec.required {
        if claims.get(name).is_none_or(Value::is_null) {
            return Err(Rejection::WrongClaim(name.clone()));
        }
    }
    if let Some(exp) = time("exp")?
        && now_s >= exp
    {
        return Err(Rejection::Stale {
            age_s: now_s.saturating_sub(exp),
        });
    }
    if let Some(nbf) = time("nbf")?
        && nbf > now_s.saturating_add(CLOCK_SKEW_S)
    {
        return Err(Rejection::Future {
            ahead_s: nbf.saturating_sub(now_s),
        });
    }
    let Some(limit) = spec.max_age_s else { return Ok(()) };
    let limit = i64::from(view.keys.tolerance_s.unwrap_or(limit));
    let iat = time("iat")?.ok_or_else(|| Rejection::WrongClaim("iat".to_owned()))?;
    let age_s = now_s.saturating_sub(iat);
    if age_s > limit {
        return Err(Rejection::Stale { age_s });
    }
    if age_s < -limit {
        return Err(Rejection::Future {
            ahead_s: age_s.saturating_neg(),
        });
    }
    Ok(())
}

/// One claim is one of the texts that find something.
fn claim(name: &str, wanted: &[Text], claims: &Value, view: &View<'_>) -> Result<(), Rejection> {
    let wanted: Vec<String> = wanted
        .iter()
        .filter_map(|text| view.fill(text))
        .filter(|t| !t.is_empty())
        .collect();
    if wanted.is_empty() {
        return Err(Rejection::MissingSetting(name.to_owned()));
    }
    let one = |value: &Value| {
        let text = scalar(value);
        text.is_some_and(|text| {
            wanted
                .iter()
                .fold(false, |hit, w| hit | same(text.as_bytes(), w.as_bytes()))
        })
    };
    let fits = match claims.get(name) {
        Some(Value::Array(values)) => values.iter().any(one),
        Some(value) => one(value),
        None => false,
    };
    if fits {
        Ok(())
    } else {
        Err(Rejection::WrongClaim(name.to_owned()))
    }
}

/// The claims that bind the request.
fn hashes(spec: &Jwt, claims: &Value, view: &View<'_>) -> Result<(), Rejection> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if let Some(BodyHash { claim, presence }) = &spec.body_hash {
        let wrong = || Rejection::WrongClaim(claim.clone());
        match (text(claim), presence) {
            (None, Presence::Optional) if claims.get(claim).is_none() => {}
            (None, Presence::WithBody) if claims.get(claim).is_none() && view.body.is_empty() => {}
            (Some(_), Presence::WithBody) if view.body.is_empty() => return Err(wrong()),
            (Some(hash), _) if same(hash.as_bytes(), sha256_hex(view.body).as_bytes()) => {}
            _ => return Err(wrong()),
        }
    }
    if let Some(claim) = &spec.url_hash {
        let url = view
            .url()
            .ok_or_else(|| Rejection::MissingSetting("webhook_url".to_owned()))?;
        equal(claim, text(claim), &sha256_hex(url.as_bytes()))?;
    }
    if let Some(claim) = &spec.query_hash {
        equal(claim, text(claim), &named::qsh::of(view)?)?;
    }
    Ok(())
}

fn equal(claim: &str, sent: Option<&str>, wanted: &str) -> Result<(), Rejection> {
    if sent.is_some_and(|sent| same(sent.as_bytes(), wanted.as_bytes())) {
        return Ok(());
    }
    Err(Rejection::WrongClaim(claim.to_owned()))
}

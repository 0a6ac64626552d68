//! How a service proves that a delivery is its own: schemes as data.

use super::OneOrMany;
use super::event::Unit;
use super::handshake::Condition;
use super::locator::{Locator, Text};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// One scheme, or several of which the request's form or the connection's setting `variant` chooses exactly one before
/// anything is checked: a failed check never falls back to another variant.
#[derive(Debug, Clone)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(untagged))]
pub enum Verification {
    /// The first whose condition holds; the last one if none does.
    Variants(Vec<Variant>),
    /// The only one.
    One(Box<Scheme>),
}

// By hand, because serde's `untagged` forgets why neither form fits, and a person wrote this.
impl<'de> Deserialize<'de> for Verification {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let read = match value {
            serde_json::Value::Array(_) => serde_json::from_value(value).map(Self::Variants),
            one => serde_json::from_value(one).map(Self::One),
        };
        read.map_err(Error::custom)
    }
}

/// A scheme under a name and a condition.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Variant {
    /// What the setting `variant` calls it.
    pub name: String,
    /// When it is chosen without that setting. Only `header:`, `query:` and `option:` are seen here.
    #[serde(default)]
    pub when: Condition,
    /// Chosen by the setting alone.
    #[serde(default)]
    pub only_by_setting: bool,
    /// The scheme.
    pub scheme: Scheme,
}

/// The families of schemes.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Scheme {
    /// HMAC over a text of the delivery.
    Hmac(Mac),
    /// A plain digest over a text that holds the secret.
    Digest(Mac),
    /// Ed25519 with the service's public key.
    Ed25519(PublicKey),
    /// ECDSA over P-256 with SHA-256.
    EcdsaP256(PublicKey),
    /// RSASSA-PKCS1-v1_5.
    Rsa(PublicKey),
    /// A JSON Web Token.
    Jwt(Box<Jwt>),
    /// The secret itself, sent along.
    Equals(Equals),
    /// HTTP Basic; the secret is `user:password`.
    Basic,
    /// Code under `src/webhook/named`, for what data cannot say.
    Named(Named),
}

/// An HMAC or a digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Mac {
    /// The digest.
    pub hash: Hash,
    /// How the secret's text becomes the key.
    #[serde(default)]
    pub key: KeyEncoding,
    /// Where the signature stands.
    pub signature: Signature,
    /// The bytes that are signed.
    pub signed: Text,
    /// The signed time, and how old it may be.
    pub timestamp: Option<Window>,
    /// Places and the exact text that must stand there, e.g. a version header.
    #[serde(default)]
    pub require: BTreeMap<Locator, String>,
}

/// A signature checked with a public key, which the connection keeps in place of a secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct PublicKey {
    /// How the key is written: 32 bytes for Ed25519, SPKI DER (or PEM) for the others.
    pub key: KeyEncoding,
    /// Where the signature stands.
    pub signature: Signature,
    /// The form of an ECDSA signature.
    #[serde(default)]
    pub form: Form,
    /// The digest of an RSA signature; SHA-256 if not said.
    pub hash: Option<Hash>,
    /// The bytes that are signed.
    pub signed: Text,
    /// The signed time, and how old it may be.
    pub timestamp: Option<Window>,
}

/// Where a signature stands and how it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Signature {
    /// The place, or several: each that is there is a candidate, and one must be.
    pub from: OneOrMany<Locator>,
    /// What stands between the entries of a list; none means the whole text is one entry.
    pub separator: Option<char>,
    /// How an entry begins; others are skipped in a list and refused without one.
    #[serde(default)]
    pub prefix: String,
    /// How the bytes are written.
    pub encoding: Encoding,
    /// Whether the n-th place is checked with the n-th secret alone.
    #[serde(default)]
    pub pairwise: bool,
}

/// A time that must be near.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Window {
    /// Where the time stands; the first that is there.
    pub from: OneOrMany<Locator>,
    /// Its unit.
    #[serde(default)]
    pub unit: Unit,
    /// Most seconds that it may lie in the past; none means any, unless the connection sets a tolerance.
    pub past_s: Option<u32>,
    /// Most seconds that it may lie in the future; none means any.
    pub future_s: Option<u32>,
}

/// The digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "each variant is the digest it is named after")]
pub enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// How a secret's text becomes key bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum KeyEncoding {
    /// The UTF-8 bytes as they are.
    #[default]
    Text,
    /// The same after HTML entities are decoded.
    HtmlText,
    /// Hexadecimal.
    Hex,
    /// Base64 with or without padding.
    Base64,
    /// Base64 after an optional `v1,` and an optional `whsec_` or `whpk_` (Standard Webhooks).
    Whsec,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Encoding {
    /// Hexadecimal in lower case.
    Hex,
    /// Hexadecimal in any case.
    HexAnyCase,
    /// Base64 with padding (RFC 4648, section 4).
    Base64,
    /// Base64url without padding (RFC 4648, section 5).
    Base64url,
}

/// The form of an ECDSA signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Form {
    /// `r‖s`, 64 bytes.
    #[default]
    Raw,
    /// ASN.1 DER.
    Der,
}

/// The secret itself, sent along.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Equals {
    /// Where it stands. With a `*`, every element must hold it, and there must be one.
    pub from: Locator,
    /// What stands before it.
    #[serde(default)]
    pub prefix: String,
}

/// A token's rules.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Jwt {
    /// Where it stands; the first that is there.
    pub from: OneOrMany<Locator>,
    /// What stands before it in a header, e.g. `Bearer `.
    #[serde(default)]
    pub prefix: String,
    /// The algorithms allowed: `HS256/384/512`, `RS256/384/512`, `ES256`. All of one family.
    pub algorithms: Vec<String>,
    /// Where the key comes from; the secret as text if not said.
    #[serde(default)]
    pub keys: JwtKeys,
    /// Claims and what each must be: one of these texts. Texts that find nothing (a setting that is not made) do not
    /// count; a claim of which none counts is a missing setting.
    #[serde(default)]
    pub claims: BTreeMap<String, OneOrMany<Text>>,
    /// Time claims that must be there; `exp` and `nbf` are always obeyed where they are.
    #[serde(default)]
    pub required: Vec<String>,
    /// Most seconds since `iat`.
    pub max_age_s: Option<u32>,
    /// A claim that holds the SHA-256 of the body, in hex.
    pub body_hash: Option<BodyHash>,
    /// A claim that holds the SHA-256 of the registered URL, in hex.
    pub url_hash: Option<String>,
    /// A claim that holds the hash of the canonical request (`webhook::named::qsh`).
    pub query_hash: Option<String>,
}

/// Where a token's key comes from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum JwtKeys {
    /// The secret as text.
    #[default]
    Secret,
    /// A JWK set at this URL.
    Jwks(String),
    /// One key per request, by the token's `kid`.
    ByKeyId(KeyRequest),
}

/// A request that answers one key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct KeyRequest {
    /// The URL; may hold `{kid}`, nothing else of the caller's.
    pub url: Text,
    /// The JSON body of a POST; none makes it a GET.
    pub json: Option<BTreeMap<String, Text>>,
    /// Where in a JSON reply the JWK stands. None: the reply is a PEM public key.
    pub pointer: Option<String>,
}

/// A claim that binds the body.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct BodyHash {
    /// Its name.
    pub claim: String,
    /// When it must be there.
    pub presence: Presence,
}

/// When a claim must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Presence {
    /// Always.
    Required,
    /// If, and only if, the body is not empty.
    WithBody,
    /// It may be missing.
    Optional,
}

/// A verifier in code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Named {
    /// The scheme's name, one of `src/webhook/named`.
    pub name: String,
    /// Its own settings, checked by the verifier.
    #[serde(default)]
    pub with: BTreeMap<String, Text>,
}

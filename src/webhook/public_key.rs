//! Signatures that are checked with the service's public key: Ed25519 here, P-256 and RSA by the platform.

use super::digest::Sink;
use super::signature::candidates;
use super::verify::Outside;
use super::view::{View, Words};
use super::{Rejection, der, key, mac, window};
use crate::manifest::webhook::{Form, Hash, KeyEncoding, PublicKey};
use crate::ports::RsaHash;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

/// Which algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over P-256 with SHA-256.
    EcdsaP256,
    /// RSASSA-PKCS1-v1_5.
    Rsa,
}

/// Verifies a delivery with each configured key.
pub async fn verify(kind: Kind, spec: &PublicKey, view: &View<'_>, outside: Outside<'_>) -> Result<(), Rejection> {
    let view = &mac::with_pairs(&spec.signature, view);
    let sent = candidates(&spec.signature, view)?;
    let timestamp = spec.timestamp.as_ref().map(|w| window::text(w, view)).transpose()?;
    let words = Words {
        timestamp: timestamp.as_deref(),
        ..view.words
    };
    let mut message = Sink::Bytes(Vec::new());
    mac::feed(&spec.signed, &View { words, ..*view }, &mut message)?;
    let message = message.finish();
    let mut fits = false;
    let mut unfit = None;
    for secret in view.keys.secrets.iter().filter(|s| !s.is_empty()) {
        for candidate in &sent {
            match one(kind, spec, secret, &candidate.bytes, &message, outside).await {
                Ok(fit) => {
                    fits |= fit;
                    unfit = Some(Rejection::WrongSignature);
                }
                // Another key, or another signature of the list, may be the right one.
                Err(problem @ (Rejection::UnusableSecret(_) | Rejection::NoSecret | Rejection::Malformed(_))) => {
                    unfit.get_or_insert(problem);
                }
                Err(other) => return Err(other),
            }
        }
    }
    if !fits {
        return Err(unfit.unwrap_or(Rejection::NoSecret));
    }
    match (&spec.timestamp, timestamp) {
        (Some(window), Some(text)) => window::check(window, &text, view.keys, outside.now),
        _ => Ok(()),
    }
}

async fn one(
    kind: Kind,
    spec: &PublicKey,
    secret: &Secret,
    signature: &[u8],
    message: &[u8],
    outside: Outside<'_>,
) -> Result<bool, Rejection> {
    match kind {
        Kind::Ed25519 => ed25519(&key::decode(secret, spec.key)?, signature, message),
        Kind::EcdsaP256 => {
            let raw = match spec.form {
                Form::Der => der::p256_raw(signature),
                Form::Raw => (signature.len() == 64).then(|| signature.to_vec()),
            };
            let raw = raw.ok_or(Rejection::Malformed("it is no P-256 signature"))?;
            p256(&spki(secret, spec.key)?, &raw, message, outside).await
        }
        Kind::Rsa => {
            let hash = rsa_hash(spec.hash.unwrap_or(Hash::Sha256));
            rsa(hash, &spki(secret, spec.key)?, signature, message, outside).await
        }
    }
}

/// Ed25519 (RFC 8032), refusing keys of small order.
fn ed25519(key: &[u8], signature: &[u8], message: &[u8]) -> Result<bool, Rejection> {
    const NO_KEY: Rejection = Rejection::UnusableSecret("an Ed25519 public key of 32 bytes");
    let key: &[u8; 32] = key.try_into().map_err(|_| NO_KEY)?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| NO_KEY)?;
    let signature = Signature::from_slice(signature).map_err(|_| Rejection::Malformed("it is not 64 bytes long"))?;
    Ok(key.verify_strict(message, &signature).is_ok())
}

/// P-256 by the platform. The key is the service's or the connection's, never the caller's: one that cannot be used is
/// a fault of the set-up.
pub async fn p256(spki: &[u8], raw: &[u8], message: &[u8], outside: Outside<'_>) -> Result<bool, Rejection> {
    let result = outside.crypto.verify_p256(spki, raw, message).await;
    result.map_err(|_| Rejection::UnusableSecret("a P-256 public key"))
}

/// RSA by the platform.
pub async fn rsa(
    hash: RsaHash,
    spki: &[u8],
    signature: &[u8],
    message: &[u8],
    outside: Outside<'_>,
) -> Result<bool, Rejection> {
    let result = outside.crypto.verify_rsa(hash, spki, signature, message).await;
    result.map_err(|_| Rejection::UnusableSecret("an RSA public key"))
}

/// The SPKI DER of a configured public key: PEM, or as the scheme writes it.
pub fn spki(secret: &Secret, encoding: KeyEncoding) -> Result<Vec<u8>, Rejection> {
    if secret.expose().contains("-----BEGIN") {
        return pem(secret.expose(), "PUBLIC KEY")
            .into_iter()
            .next()
            .ok_or(Rejection::UnusableSecret("a PEM public key"));
    }
    key::decode(secret, encoding).map(|bytes| bytes.to_vec())
}

/// The DER of every PEM block of this label (RFC 7468), in order.
pub fn pem(text: &str, label: &str) -> Vec<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((block, after)) = rest.split_once(&begin).and_then(|(_, from)| from.split_once(&end)) {
        let compact: String = block.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        blocks.extend(STANDARD.decode(compact));
        rest = after;
    }
    blocks
}

/// The same digest, in the port's words.
pub fn rsa_hash(hash: Hash) -> RsaHash {
    match hash {
        Hash::Sha1 => RsaHash::Sha1,
        Hash::Sha256 => RsaHash::Sha256,
        Hash::Sha384 => RsaHash::Sha384,
        Hash::Sha512 => RsaHash::Sha512,
    }
}

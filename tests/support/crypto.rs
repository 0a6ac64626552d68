//! The `Crypto` port natively, by RustCrypto; in production the platform does it.

#![expect(clippy::expect_used, reason = "test support may fail loudly")]

use async_trait::async_trait;
use p256::ecdsa::signature::Verifier;
use p256::pkcs8::DecodePublicKey as _;
use patchbay::ports::{Crypto, CryptoError, RsaHash};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// RSA and P-256 in Rust.
pub struct NativeCrypto;

/// The digest of `data`, and the padding that names it (RFC 8017, 9.2).
fn padding(hash: RsaHash, data: &[u8]) -> (Vec<u8>, Pkcs1v15Sign) {
    let (digest, prefix) = match hash {
        RsaHash::Sha1 => (Sha1::digest(data).to_vec(), "3021300906052b0e03021a05000414"),
        RsaHash::Sha256 => (Sha256::digest(data).to_vec(), "3031300d060960864801650304020105000420"),
        RsaHash::Sha384 => (Sha384::digest(data).to_vec(), "3041300d060960864801650304020205000430"),
        RsaHash::Sha512 => (Sha512::digest(data).to_vec(), "3051300d060960864801650304020305000440"),
    };
    let scheme = Pkcs1v15Sign {
        hash_len: Some(digest.len()),
        prefix: hex::decode(prefix).expect("the prefix is hex").into(),
    };
    (digest, scheme)
}

#[async_trait(?Send)]
impl Crypto for NativeCrypto {
    async fn sign_rs256(&self, pkcs8_der: &[u8], data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let key = RsaPrivateKey::from_pkcs8_der(pkcs8_der).map_err(|e| CryptoError(e.to_string()))?;
        let (digest, scheme) = padding(RsaHash::Sha256, data);
        key.sign(scheme, &digest).map_err(|e| CryptoError(e.to_string()))
    }

    async fn verify_rsa(&self, hash: RsaHash, spki: &[u8], signature: &[u8], data: &[u8]) -> Result<bool, CryptoError> {
        let key = RsaPublicKey::from_public_key_der(spki).map_err(|e| CryptoError(e.to_string()))?;
        let (digest, scheme) = padding(hash, data);
        Ok(key.verify(scheme, &digest, signature).is_ok())
    }

    async fn verify_p256(&self, spki: &[u8], signature: &[u8], data: &[u8]) -> Result<bool, CryptoError> {
        let key = p256::ecdsa::VerifyingKey::from_public_key_der(spki).map_err(|e| CryptoError(e.to_string()))?;
        let Ok(signature) = p256::ecdsa::Signature::from_slice(signature) else {
            return Ok(false);
        };
        Ok(key.verify(data, &signature).is_ok())
    }
}

//! RSA, P-256 and the HMACs of large texts by WebCrypto. What it throws is not passed on: keys stay out of every
//! message.

use super::js;
use crate::ports::{Crypto, CryptoError, RsaHash};
use async_trait::async_trait;
use js_sys::{Array, Object, Uint8Array};
use std::cell::RefCell;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, SubtleCrypto, WorkerGlobalScope};
use zeroize::Zeroizing;

/// Most HMAC keys that an isolate keeps ready.
const READY_KEYS: usize = 64;

thread_local! {
    /// Making a key costs as much as a HMAC of some kilobytes, and most deliveries come with the same few.
    static READY: RefCell<Vec<ReadyKey>> = RefCell::default();
}

struct ReadyKey {
    hash: RsaHash,
    bytes: Zeroizing<Vec<u8>>,
    key: CryptoKey,
}

/// The runtime's `crypto.subtle`.
pub struct WebCrypto;

#[async_trait(?Send)]
impl Crypto for WebCrypto {
    async fn hmac(&self, hash: RsaHash, key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
        let key = hmac_key(hash, key).await.ok()?;
        let data = match parts {
            [whole] => Uint8Array::from(*whole),
            several => Uint8Array::from(several.concat().as_slice()),
        };
        let mac = subtle()
            .ok()?
            .sign_with_str_and_buffer_source("HMAC", &key, &data)
            .ok()?;
        js::bytes(&JsFuture::from(mac).await.ok()?)
    }

    async fn sign_rs256(&self, pkcs8_der: &[u8], data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let key = import("pkcs8", pkcs8_der, &rsa(RsaHash::Sha256), "sign")
            .await
            .map_err(|_| CryptoError("it is not an RSA private key in PKCS#8".to_owned()))?;
        sign(&key, data)
            .await
            .map_err(|_| CryptoError("signing with it failed".to_owned()))
    }

    async fn verify_rsa(
        &self,
        hash: RsaHash,
        spki_der: &[u8],
        signature: &[u8],
        data: &[u8],
    ) -> Result<bool, CryptoError> {
        let algorithm = rsa(hash);
        let key = import("spki", spki_der, &algorithm, "verify")
            .await
            .map_err(|_| CryptoError("it is not an RSA public key in SPKI".to_owned()))?;
        Ok(verify(&algorithm, &key, signature, data).await)
    }

    async fn verify_p256(&self, spki_der: &[u8], signature: &[u8], data: &[u8]) -> Result<bool, CryptoError> {
        // One object for both calls: each takes the members that it knows.
        let algorithm = js::object([
            ("name", "ECDSA".into()),
            ("namedCurve", "P-256".into()),
            ("hash", "SHA-256".into()),
        ]);
        let key = import("spki", spki_der, &algorithm, "verify")
            .await
            .map_err(|_| CryptoError("it is not a P-256 public key in SPKI".to_owned()))?;
        Ok(verify(&algorithm, &key, signature, data).await)
    }
}

fn rsa(hash: RsaHash) -> Object {
    js::object([("name", "RSASSA-PKCS1-v1_5".into()), ("hash", name(hash).into())])
}

fn name(hash: RsaHash) -> &'static str {
    match hash {
        RsaHash::Sha1 => "SHA-1",
        RsaHash::Sha256 => "SHA-256",
        RsaHash::Sha384 => "SHA-384",
        RsaHash::Sha512 => "SHA-512",
    }
}

async fn hmac_key(hash: RsaHash, bytes: &[u8]) -> Result<CryptoKey, JsValue> {
    let is_it = |ready: &&ReadyKey| ready.hash == hash && ready.bytes.as_slice() == bytes;
    let ready = READY.with_borrow(|keys| keys.iter().find(is_it).map(|ready| ready.key.clone()));
    if let Some(key) = ready {
        return Ok(key);
    }
    let algorithm = js::object([("name", "HMAC".into()), ("hash", name(hash).into())]);
    let key = import("raw", bytes, &algorithm, "sign").await?;
    READY.with_borrow_mut(|keys| {
        if keys.len() >= READY_KEYS {
            keys.remove(0);
        }
        keys.push(ReadyKey {
            hash,
            bytes: Zeroizing::new(bytes.to_vec()),
            key: key.clone(),
        });
    });
    Ok(key)
}

fn subtle() -> Result<SubtleCrypto, JsValue> {
    Ok(js_sys::global()
        .unchecked_into::<WorkerGlobalScope>()
        .crypto()?
        .subtle())
}

async fn import(format: &str, der: &[u8], algorithm: &Object, usage: &str) -> Result<CryptoKey, JsValue> {
    let usages = Array::of1(&usage.into());
    let key = subtle()?.import_key_with_object(format, &Uint8Array::from(der), algorithm, false, &usages)?;
    Ok(JsFuture::from(key).await?.unchecked_into())
}

async fn sign(key: &CryptoKey, data: &[u8]) -> Result<Vec<u8>, JsValue> {
    let data = Uint8Array::from(data);
    let signature = subtle()?.sign_with_str_and_buffer_source("RSASSA-PKCS1-v1_5", key, &data)?;
    let signature = JsFuture::from(signature).await?;
    js::bytes(&signature).ok_or(JsValue::UNDEFINED)
}

/// A signature that the runtime cannot even look at (a wrong length, say) does not fit.
async fn verify(algorithm: &Object, key: &CryptoKey, signature: &[u8], data: &[u8]) -> bool {
    let (signature, data) = (Uint8Array::from(signature), Uint8Array::from(data));
    let Ok(verdict) = subtle()
        .and_then(|s| s.verify_with_object_and_buffer_source_and_buffer_source(algorithm, key, &signature, &data))
    else {
        return false;
    };
    JsFuture::from(verdict).await.is_ok_and(|v| v.is_truthy())
}

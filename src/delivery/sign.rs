//! Signatures on outgoing messages, as the Standard Webhooks specification (1.0) describes them.

use crate::error::{Error, Result};
use crate::http::Headers;
use crate::ports::Host;
use crate::secret::Secret;
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A new signing secret: `whsec_` and 32 random bytes in base64.
pub fn new_secret(host: &dyn Host) -> Secret {
    let mut bytes = [0u8; 32];
    host.random(&mut bytes);
    Secret::new(format!("whsec_{}", STANDARD.encode(bytes)))
}

/// The three headers for a body. The signed text is `id.timestamp.body`, the timestamp in whole seconds.
pub fn headers(secret: &Secret, id: &str, now: Timestamp, body: &[u8]) -> Result<Headers> {
    let key = secret
        .expose()
        .strip_prefix("whsec_")
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or_else(|| Error::Internal("a stored signing secret is malformed".into()))?;
    let timestamp = now.seconds().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| Error::Internal("HMAC refused its key".into()))?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    Ok(Headers::from_pairs([
        ("webhook-id", id),
        ("webhook-timestamp", &timestamp),
        ("webhook-signature", &signature),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answer of the specification's own libraries (`standardwebhooks`, test of `sign`).
    #[test]
    fn the_signature_is_the_published_one() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;

        let headers = headers(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp(1_614_265_330_000),
            body,
        )
        .unwrap();

        assert_eq!(headers.get("webhook-timestamp"), Some("1614265330"));
        assert_eq!(
            headers.get("webhook-signature"),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
    }
}

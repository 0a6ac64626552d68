//! RSA over the transmission's id and time, the id of the webhook and a CRC-32 of the body; a header names the
//! certificate.
//!
//! Source: github.com/paypal/PayPal-Java-SDK, `SSLUtil`, and developer.paypal.com on webhooks. A CRC does not bind a body
//! strongly: whoever has one signed delivery can make another body with the same CRC. For events that move money, fetch
//! the resource again before acting.

use super::{https_host, single};
use crate::manifest::webhook::{Encoding, Locator};
use crate::ports::RsaHash;
use crate::webhook::verify::Outside;
use crate::webhook::view::View;
use crate::webhook::{Rejection, cert, key, public_key};

/// The fields it needs.
pub const HEADERS: [&str; 5] = [
    "paypal-transmission-id",
    "paypal-transmission-time",
    "paypal-transmission-sig",
    "paypal-cert-url",
    "paypal-auth-algo",
];
/// Where certificates may come from.
const HOSTS: [&str; 2] = ["api.paypal.com", "api.sandbox.paypal.com"];

/// Verifies the transmission.
pub async fn verify(view: &View<'_>, outside: Outside<'_>) -> Result<(), Rejection> {
    let [id, time, signature, url, algorithm] = HEADERS.map(|name| single(name, view));
    let (id, time, url) = (id?, time?, url?);
    let sent = key::decode_signature(signature?, Encoding::Base64).ok_or(Rejection::Malformed("it is not base64"))?;
    if algorithm? != "SHA256withRSA" {
        return Err(Rejection::Unexpected("header `paypal-auth-algo`".to_owned()));
    }
    let known = https_host(url).is_some_and(|host| HOSTS.contains(&host));
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    if !known || !path.starts_with("v1/notifications/") || url.contains("..") || url.contains('%') {
        return Err(Rejection::UntrustedAddress);
    }
    let webhook = view.find(&Locator::Setting("webhook_id".to_owned()));
    let webhook = webhook.filter(|w| !w.is_empty());
    let webhook = webhook.ok_or_else(|| Rejection::MissingSetting("webhook_id".to_owned()))?;
    let signed = format!("{id}|{time}|{webhook}|{}", crc32(view.body));
    let spki = cert::spki(url, outside, is_name).await?;
    if public_key::rsa(RsaHash::Sha256, &spki, &sent, signed.as_bytes(), outside).await? {
        return Ok(());
    }
    Err(Rejection::WrongSignature)
}

fn is_name(name: &str) -> bool {
    name.strip_suffix(".paypal.com").is_some_and(|rest| !rest.is_empty())
}

/// CRC-32 (ISO 3309), as zlib computes it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_crc_is_that_of_the_standard() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}

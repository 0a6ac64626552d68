//! From a secret's text to key bytes. Each scheme says how: text that merely looks like base64 stays text.

use super::Rejection;
use crate::manifest::webhook::{Encoding, KeyEncoding};
use crate::secret::Secret;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// Secrets are pasted by people: padding may be missing, and the last character may carry stray bits.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The key bytes of a secret. An empty key is refused: anybody can sign with it.
pub fn decode(secret: &Secret, encoding: KeyEncoding) -> Result<Zeroizing<Vec<u8>>, Rejection> {
    let text = secret.expose();
    let bytes = match encoding {
        KeyEncoding::Text => text.as_bytes().to_vec(),
        KeyEncoding::HtmlText => unescape_html(text).into_owned().into_bytes(),
        KeyEncoding::Hex => hex::decode(text.trim()).map_err(|_| Rejection::UnusableSecret("hexadecimal"))?,
        KeyEncoding::Base64 => base64(text)?,
        KeyEncoding::Whsec => {
            let rest = text.trim();
            let rest = rest
                .strip_prefix("v1,")
                .or_else(|| rest.strip_prefix("v1a,"))
                .unwrap_or(rest);
            let rest = ["whsec_", "whpk_"]
                .iter()
                .find_map(|p| rest.strip_prefix(p))
                .unwrap_or(rest);
            base64(rest)?
        }
    };
    if bytes.is_empty() {
        return Err(Rejection::NoSecret);
    }
    Ok(Zeroizing::new(bytes))
}

fn base64(text: &str) -> Result<Vec<u8>, Rejection> {
    FORGIVING
        .decode(text.trim())
        .map_err(|_| Rejection::UnusableSecret("base64"))
}

/// The bytes of a signature, strictly in its encoding: nothing is trimmed, no other alphabet is tried.
pub fn decode_signature(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex if text.bytes().any(|b| b.is_ascii_uppercase()) => None,
        Encoding::Hex | Encoding::HexAnyCase => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
        Encoding::Base64url => URL_SAFE_NO_PAD.decode(text).ok(),
    }
}

/// Bytes as a reply spells them.
pub fn encode(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex | Encoding::HexAnyCase => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
        Encoding::Base64url => URL_SAFE_NO_PAD.encode(bytes),
    }
}

/// Decodes the entities that a content management system may have put into a stored secret.
fn unescape_html(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#039;", "'"),
        ("&#39;", "'"),
        // The last one, so that what it makes is not decoded again.
        ("&amp;", "&"),
    ];
    Cow::Owned(
        named
            .iter()
            .fold(text.to_owned(), |t, (entity, c)| t.replace(entity, c)),
    )
}

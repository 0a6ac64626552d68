//! JSON Web Tokens (RFC 7519) that the hub signs, and the private keys for it.

use crate::error::{Error, Result};
use crate::manifest::auth::{Jwt, JwtAlgorithm};
use crate::ports::Crypto;
use crate::secret::Secret;
use crate::template::Scope;
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Makes and signs the token that a manifest describes.
pub async fn sign(spec: &Jwt, key_pem: &Secret, scope: &Scope, now: Timestamp, crypto: &dyn Crypto) -> Result<Secret> {
    let key = private_key_der(key_pem.expose()).ok_or_else(|| {
        Error::validation(format!(
            "`{}` is not a private key in PEM; paste the whole file, BEGIN and END lines included",
            spec.key_field
        ))
    })?;
    let input = signing_input(spec, scope, now)?;
    let signature = match spec.algorithm {
        JwtAlgorithm::Rs256 => crypto.sign_rs256(&key, input.as_bytes()).await,
    }
    .map_err(|e| Error::validation(format!("`{}`: {e}", spec.key_field)))?;
    Ok(Secret::new(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// Header and claims, encoded, with the dot between them.
fn signing_input(spec: &Jwt, scope: &Scope, now: Timestamp) -> Result<String> {
    let Value::Object(mut claims) = spec.claims.value(scope)? else {
        return Err(Error::Internal("the claims of a JWT are not an object".into()));
    };
    let issued = now.seconds() - spec.backdate_s;
    claims.insert("iat".into(), json!(issued));
    claims.insert("exp".into(), json!(issued + spec.lifetime_s));
    let header = match spec.algorithm {
        JwtAlgorithm::Rs256 => r#"{"alg":"RS256","typ":"JWT"}"#,
    };
    Ok(format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string())
    ))
}

/// The PKCS#8 DER inside a PEM text (RFC 7468). PKCS#1 (`BEGIN RSA PRIVATE KEY`) is wrapped, since WebCrypto takes
/// PKCS#8 alone. Line ends written as the two characters `\n`, as they come out of one-line settings, count as such.
fn private_key_der(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = Zeroizing::new(pem.replace("\\n", "\n"));
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let compact: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    let der = Zeroizing::new(STANDARD.decode(compact.as_bytes()).ok()?);
    match label {
        "PRIVATE KEY" => Some(der),
        "RSA PRIVATE KEY" => Some(Zeroizing::new(pkcs8_from_pkcs1(&der))),
        _ => None,
    }
}

/// RFC 5208: SEQUENCE { version 0, rsaEncryption with NULL, OCTET STRING { the PKCS#1 key } }.
fn pkcs8_from_pkcs1(pkcs1: &[u8]) -> Vec<u8> {
    const VERSION_AND_ALGORITHM: &[u8] = &[
        0x02, 0x01, 0x00, // INTEGER 0
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, // 1.2.840.113549.1.1.1
        0x05, 0x00, // NULL
    ];
    let key = der_element(0x04, pkcs1);
    der_element(0x30, &[VERSION_AND_ALGORITHM, &key].concat())
}

/// Tag, length in DER's shortest form, content.
fn der_element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.iter().copied().skip_while(|b| *b == 0).collect();
    let mut element = vec![tag];
    match (content.len(), significant.len()) {
        (0..=0x7f, _) => element.push(significant.first().copied().unwrap_or(0)),
        #[expect(clippy::cast_possible_truncation, reason = "a usize has at most 8 bytes")]
        (_, count) => {
            element.push(0x80 | count as u8);
            element.extend(significant);
        }
    }
    element.extend_from_slice(content);
    element
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn der_lengths_are_the_shortest() {
        assert_eq!(der_element(4, &[]), [4, 0]);
        assert_eq!(der_element(4, &[7; 127])[..2], [4, 127]);
        assert_eq!(der_element(4, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(der_element(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn keys_come_in_two_wrappings() {
        let body = STANDARD.encode([1, 2, 3]);

        let pkcs8 = private_key_der(&format!(
            "-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"
        ))
        .unwrap();
        let one_line = format!("-----BEGIN RSA PRIVATE KEY-----\\n{body}\\n-----END RSA PRIVATE KEY-----\\n");
        let pkcs1 = private_key_der(&one_line).unwrap();

        assert_eq!(*pkcs8, [1, 2, 3]);
        assert_eq!(pkcs1[..2], [0x30, 23]);
        assert!(pkcs1.ends_with(&[4, 3, 1, 2, 3]));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(-----BEGIN (RSA )?PRIVATE KEY-----)?.{0,80}(-----END .{0,10})?") {
            let _ = private_key_der(&text);
        }
    }
}

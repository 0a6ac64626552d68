//! Whatever a stranger sends, to whichever service: the engine answers, and does not accept it.

#![expect(clippy::expect_used, clippy::panic, reason = "tests may fail loudly")]

#[path = "support/vectors.rs"]
#[expect(dead_code, reason = "only the reading of manifests and the executor are used here")]
mod vectors;

use async_trait::async_trait;
use patchbay::http::{Headers, Method, form_pairs};
use patchbay::manifest::webhook::Webhook;
use patchbay::ports::{Crypto, CryptoError, RsaHash};
use patchbay::secret::Secret;
use patchbay::time::Timestamp;
use patchbay::webhook::{IncomingHook, KeyMaterial, NoKeys, drafts, signed_handshake, verify};
use proptest::prelude::*;
use std::path::Path;

/// Says that nothing fits.
struct NothingFits;

#[async_trait(?Send)]
impl Crypto for NothingFits {
    async fn sign_rs256(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(CryptoError("not here".into()))
    }
    async fn verify_rsa(&self, _: RsaHash, _: &[u8], _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Ok(false)
    }
    async fn verify_p256(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Ok(false)
    }
}

/// Every service's webhook part, and the header fields that it names.
fn services() -> Vec<(String, Webhook, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("integrations");
    let folders = std::fs::read_dir(root).expect("the folder is there");
    let names = folders.filter_map(|f| f.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("integrations")
                .join(&name)
                .join("manifest.json");
            let text = std::fs::read_to_string(path)
                .ok()
                .filter(|text| text.contains("\"webhook\""))?;
            let fields = text.split("header:").skip(1);
            let fields = fields.map(|f| {
                f.chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                    .collect()
            });
            let mut fields: Vec<String> = fields.collect();
            fields.extend(["authorization".into(), "content-type".into()]);
            let spec = vectors::manifest(&name).unwrap_or_else(|e| panic!("{e}"));
            Some((name, spec, fields))
        })
        .collect()
}

/// Texts that look like something.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,80}",
        "[A-Za-z0-9_=.,;: -]{0,200}",
        "(v[01]a?[=,]|sha256=|sha1=|t=[0-9]{0,20},v1=|ts=[0-9]{1,20};h1=|Bearer |JWT |HMAC |Basic )[A-Za-z0-9+/=_.-]{0,90}",
        "eyJ[A-Za-z0-9_-]{0,60}\\.eyJ[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}",
        "-?[0-9]{0,25}",
        Just("application/x-www-form-urlencoded".to_owned()),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[{\"a-zA-Z:,0-9/*}\\]&=%+ -]{0,200}".prop_map(String::into_bytes),
        r#"\{"(signature|Type|notificationItems|value|events|passcode)":(\{\}|\[\{\}\]|\[null\]|"x"|7)\}"#
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_guesses_a_signature(values in proptest::collection::vec(value(), 16), body in body(), query in value(), now in any::<i64>()) {
        for (name, spec, fields) in services() {
            let pairs = fields.iter().map(String::as_str).zip(values.iter().cycle().map(String::as_str));
            let hook = IncomingHook {
                method: Method::Post,
                query: query.clone(),
                headers: Headers::from_pairs(pairs),
                body: body.clone(),
            };
            let keys = KeyMaterial {
                secrets: vec![Secret::new("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA==")],
                registered_url: Some("https://hooks.example/in".into()),
                ..KeyMaterial::default()
            };

            let verdict = vectors::block_on(verify(&spec, &keys, hook, Timestamp(now), &NothingFits, &NoKeys));

            prop_assert!(verdict.is_err(), "{name}");
        }
    }

    #[test]
    fn whatever_is_verified_can_be_read(body in body(), kind in value(), now in any::<i64>()) {
        for (_, spec, fields) in services() {
            let open: Webhook = Webhook {
                verification: serde_json::from_value(serde_json::json!({"kind": "equals", "from": "query:k"})).expect("a scheme"),
                ..spec
            };
            let pairs = fields.iter().map(|name| (name.as_str(), kind.as_str()));
            let hook = IncomingHook {
                method: Method::Post,
                query: "k=s".into(),
                headers: Headers::from_pairs(pairs),
                body: body.clone(),
            };
            let keys = KeyMaterial { secrets: vec![Secret::new("s")], ..KeyMaterial::default() };
            let Ok(hook) = vectors::block_on(verify(&open, &keys, hook, Timestamp(now), &NothingFits, &NoKeys)) else {
                continue;
            };

            signed_handshake(&open, &keys, &hook);
            for draft in drafts(&open, &hook, Timestamp(now)) {
                prop_assert!(!draft.delivery_id.is_empty() && draft.delivery_id.chars().count() <= 200);
            }
        }
    }

    #[test]
    fn forms_are_read_whatever_they_are(text in ".{0,300}") {
        prop_assert!(form_pairs(&text).len() <= text.split('&').count());
    }
}

//! The engine through its public functions, with one manifest that uses most of the syntax.

use super::*;
use crate::http::{Head, Response};
use crate::manifest::webhook::Webhook;
use crate::ports::{Crypto, CryptoError, RsaHash};
use crate::time::Timestamp;
use async_trait::async_trait;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Runs a future that never waits.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

/// Crypto that nothing here may ask.
pub struct NoCrypto;

#[async_trait(?Send)]
impl Crypto for NoCrypto {
    async fn sign_rs256(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Err(CryptoError("none".into()))
    }
    async fn verify_rsa(&self, _: RsaHash, _: &[u8], _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Err(CryptoError("none".into()))
    }
    async fn verify_p256(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Err(CryptoError("none".into()))
    }
}

fn spec() -> Webhook {
    serde_json::from_value(serde_json::json!({
        "verification": {
            "kind": "hmac", "hash": "sha256",
            "signature": {"from": "header:X-Sig", "prefix": "sha256=", "encoding": "hex"},
            "signed": "{body}"
        },
        "handshakes": [
            {"signed": false, "method": "GET", "when": {"present": ["query:crc"]},
             "challenge": {"from": "query:crc", "mac": {"hash": "sha256", "encoding": "base64"}},
             "reply": {"json": {"token": "sha256={mac}"}}},
            {"when": {"equals": {"body:/type": "hello"}}, "challenge": {"from": "body:/challenge"},
             "reply": {"text": "{challenge}"}}
        ],
        "event": {
            "form_field": "payload",
            "delivery_id": "header:X-Id",
            "type": "{header:X-Event}.{body:/action}",
            "subject": "{body:/repo}#{body:/issue/number|body:/pull/number}"
        }
    }))
    .unwrap()
}

fn keys() -> KeyMaterial {
    KeyMaterial {
        secrets: vec![Secret::new("new"), Secret::new("old")],
        ..KeyMaterial::default()
    }
}

fn signature(secret: &str, body: &[u8]) -> String {
    let mac = digest::hmac(crate::manifest::webhook::Hash::Sha256, secret.as_bytes(), body).unwrap();
    format!("sha256={}", hex::encode(mac))
}

fn hook(body: &[u8], headers: &[(&str, &str)]) -> IncomingHook {
    IncomingHook {
        method: Method::Post,
        query: String::new(),
        headers: Headers::from_pairs(headers.iter().copied()),
        body: body.to_vec(),
    }
}

fn check(hook: IncomingHook, keys: &KeyMaterial) -> Result<VerifiedHook, Rejection> {
    now(verify(&spec(), keys, hook, Timestamp(0), &NoCrypto, &NoKeys))
}

fn verified(body: &[u8], headers: &[(&str, &str)]) -> VerifiedHook {
    let signature = signature("new", body);
    let mut hook = hook(body, headers);
    hook.headers.append("x-sig", &signature);
    check(hook, &keys()).unwrap()
}

#[test]
fn both_secrets_of_a_rotation_are_good_and_others_are_not() {
    for (secret, good) in [("new", true), ("old", true), ("older", false)] {
        let signature = signature(secret, b"{}");
        let result = check(hook(b"{}", &[("X-Sig", &signature)]), &keys());
        assert_eq!(result.is_ok(), good, "{secret}");
    }
}

#[test]
fn what_is_malformed_is_refused_with_its_cause() {
    let good = signature("new", b"{}");
    let long = format!("sha256={}", "a".repeat(1 << 20));
    let cases = [
        (vec![], "missing_signature"),
        (vec![("x-sig", "")], "malformed_signature"),
        (vec![("x-sig", "sha256=")], "malformed_signature"),
        (vec![("x-sig", &good[7..])], "malformed_signature"),
        (vec![("x-sig", &good[..60])], "malformed_signature"),
        (vec![("x-sig", &good[..63])], "wrong_signature"),
        (vec![("x-sig", long.as_str())], "malformed_signature"),
        (
            vec![("x-sig", good.as_str()), ("x-sig", good.as_str())],
            "doubled_header",
        ),
        (
            vec![("x-sig", good.as_str()), ("x-id", "1"), ("x-id", "2")],
            "doubled_header",
        ),
        (vec![("x-sig", good.as_str()), ("x-id", "1, 2")], "doubled_header"),
    ];
    for (headers, cause) in cases {
        let rejection = check(hook(b"{}", &headers), &keys()).unwrap_err();
        assert_eq!(rejection.cause(), cause, "{headers:?}");
    }
}

#[test]
fn no_secret_is_a_fault_of_the_set_up() {
    for secrets in [vec![], vec![Secret::new("")]] {
        let keys = KeyMaterial {
            secrets,
            ..KeyMaterial::default()
        };
        let rejection = check(hook(b"{}", &[("x-sig", &signature("", b"{}"))]), &keys).unwrap_err();
        assert_eq!(rejection, Rejection::NoSecret);
        assert_eq!(crate::Error::from(rejection).status(), 503);
    }
}

#[test]
fn the_head_alone_is_enough_to_refuse() {
    let head = |headers: &[(&str, &str)]| Head {
        method: Method::Post,
        path: "/".into(),
        query: String::new(),
        headers: Headers::from_pairs(headers.iter().copied()),
    };

    assert!(precheck(&spec(), &head(&[("x-sig", "sha256=00")]), &keys()).is_ok());
    assert_eq!(
        precheck(&spec(), &head(&[]), &keys()).unwrap_err().cause(),
        "missing_signature"
    );
    let no_secret = precheck(&spec(), &head(&[("x-sig", "x")]), &KeyMaterial::default());
    assert_eq!(no_secret, Err(Rejection::NoSecret));
}

#[test]
fn events_are_named_by_the_texts_of_the_manifest() {
    let body = br#"{"action":"opened","repo":"o/r","issue":{"number":7}}"#;
    let cases: [(&[u8], &str, Option<&str>); 3] = [
        (body, "issues.opened", Some("o/r#7")),
        (b"{}", "issues", None),
        (b"\xff", "unparsable", None),
    ];
    for (body, kind, subject) in cases {
        let draft = drafts(
            &spec(),
            &verified(body, &[("x-event", "issues"), ("x-id", "d1")]),
            Timestamp(0),
        )
        .remove(0);
        assert_eq!((draft.kind.as_str(), draft.subject.as_deref()), (kind, subject));
        assert_eq!(draft.delivery_id, "d1");
    }
}

#[test]
fn a_form_is_read_through_its_json_field() {
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-event", "ping"),
    ];
    let hook = verified(b"payload=%7B%22action%22%3A%22go%22%7D", &form);

    assert_eq!(drafts(&spec(), &hook, Timestamp(0))[0].kind, "ping.go");
}

#[test]
fn a_delivery_without_an_id_is_itself_for_a_while() {
    let id = |body: &[u8], at: i64| {
        drafts(&spec(), &verified(body, &[]), Timestamp(at))[0]
            .delivery_id
            .clone()
    };

    assert_eq!(id(b"{}", 1), id(b"{}", 299_999));
    assert_ne!(id(b"{}", 1), id(b"{}", 300_000));
    assert_ne!(id(b"{}", 1), id(b"[]", 1));
    let long = "x".repeat(201);
    let hook = verified(b"{}", &[("x-id", &long)]);
    assert!(
        drafts(&spec(), &hook, Timestamp(0))[0]
            .delivery_id
            .starts_with("sha256:")
    );
}

#[test]
fn an_unsigned_challenge_is_maced_only_if_it_is_a_token() {
    let ask = |crc: &str| -> Option<Result<Response, Rejection>> {
        let head = Head {
            method: Method::Get,
            path: "/".into(),
            query: format!("crc={crc}"),
            headers: Headers::default(),
        };
        unsigned_handshake(&spec(), &keys(), &head, b"")
    };

    assert_eq!(ask("abc").unwrap().unwrap().status, 200);
    for bad in ["", "%7B%7D", "a.b", &"x".repeat(129)] {
        assert_eq!(ask(bad).unwrap(), Err(Rejection::BadChallenge), "{bad}");
    }
}

#[test]
fn a_signed_handshake_answers_a_verified_delivery_only() {
    let reply = signed_handshake(
        &spec(),
        &keys(),
        &verified(br#"{"type":"hello","challenge":"abc"}"#, &[]),
    )
    .unwrap();

    assert_eq!(reply.body, b"abc");
    assert!(signed_handshake(&spec(), &keys(), &verified(b"{}", &[])).is_none());
}

#[test]
fn the_likely_cause_is_found_by_changing_one_thing() {
    let json = br#"{"a":1,"b":[2,3]}"#.as_slice();
    let signed = signature("new", json);
    let cases: [(&[u8], &str, &str); 6] = [
        (b"{\"a\":1,\"b\":[2,3]}\n", "new", "trailing_newline"),
        (b"{\"a\": 1, \"b\": [2, 3]}", "new", "reserialised"),
        (json, " new\n", "secret_whitespace"),
        (json, "other", "wrong_secret"),
        (b"{\"a\":1,\"b\":[2,4]}", "new", "wrong_secret"),
        (
            b"payload=%7B%22a%22%3A1%2C%22b%22%3A%5B2%2C3%5D%7D",
            "new",
            "form_or_json",
        ),
    ];
    for (body, secret, code) in cases {
        let keys = KeyMaterial {
            secrets: vec![Secret::new(secret)],
            ..KeyMaterial::default()
        };
        let hook = hook(body, &[("x-sig", &signed)]);

        let found = now(explain(&spec(), &keys, &hook, Timestamp(0), &NoCrypto, &NoKeys));

        assert_eq!(found.likely.first().map(|h| h.code), Some(code), "{secret}: {found:?}");
        assert!(
            !serde_json::to_string(&found).unwrap().contains(&signed[7..]),
            "{found:?}"
        );
    }
}

#[test]
fn a_missing_header_points_at_the_one_that_is_there() {
    let hook = hook(b"{}", &[("x-other-signature", "1")]);

    let found = now(explain(&spec(), &keys(), &hook, Timestamp(0), &NoCrypto, &NoKeys));

    assert_eq!(found.cause, Some("missing_signature"));
    assert!(found.likely[0].text.contains("x-other-signature"), "{found:?}");
}

/// A network that counts, and answers the same.
struct Counted(std::cell::Cell<u32>, u16);

#[async_trait(?Send)]
impl crate::ports::Fetch for Counted {
    async fn send(
        &self,
        _: crate::http::Request,
        _: crate::ports::Limits,
    ) -> Result<Response, crate::ports::FetchError> {
        self.0.set(self.0.get() + 1);
        Ok(Response::text(self.1, "keys"))
    }
}

#[test]
fn keys_are_fetched_seldom_however_often_they_are_asked_for() {
    use crate::time::{HOUR, MINUTE};
    for (status, times) in [(200, [1, 1, 1, 2, 3]), (404, [1, 1, 2, 3, 4]), (302, [1, 1, 2, 3, 4])] {
        let (network, cache) = (Counted(std::cell::Cell::new(0), status), KeyCache::new());
        let ask = |at: i64, fresh: bool| {
            let keys = FetchedKeys {
                fetch: &network,
                cache: &cache,
                now: Timestamp(at),
            };
            let answer = now(keys.document("https://keys.example/set", None, fresh));
            assert_eq!(answer.is_ok(), status == 200);
            network.0.get()
        };

        let seen = [
            ask(0, false),
            ask(1, true),
            ask(2 * MINUTE, false),
            ask(5 * MINUTE, true),
            ask(2 * HOUR, false),
        ];

        assert_eq!(seen, times, "{status}");
    }
}

#[test]
fn keys_come_by_plain_https_alone() {
    let (network, cache) = (Counted(std::cell::Cell::new(0), 200), KeyCache::new());
    let keys = FetchedKeys {
        fetch: &network,
        cache: &cache,
        now: Timestamp(0),
    };

    for url in [
        "http://keys.example/",
        "https://keys.example@evil.example/",
        "https://keys.example:8443/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://localhost/keys",
        "https://metadata.google.internal/",
        "file:///x",
    ] {
        assert!(now(keys.document(url, None, false)).is_err(), "{url}");
    }
    assert_eq!(network.0.get(), 0);
}

#[test]
fn a_manifest_that_cannot_be_meant_says_where() {
    let scheme = |from: &str, kind: &str| {
        serde_json::json!({"verification": {
            "kind": kind, "hash": "sha256", "signed": "{body}", "signature": {"from": from, "encoding": "hex"}
        }})
    };
    for (manifest, says) in [
        (scheme("heder:X", "hmac"), "`heder:X` is no locator"),
        (scheme("header:X", "hmc"), "unknown variant `hmc`"),
        (
            serde_json::json!({"verification": {"kind": "basic"}, "evnt": {}}),
            "unknown field `evnt`",
        ),
        (
            serde_json::json!({"verification": []  , "handshakes": [{"sgned": true}]}),
            "unknown field `sgned`",
        ),
    ] {
        let error = serde_json::from_value::<Webhook>(manifest).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_body_is_not_copied_to_be_signed() {
    let body = vec![b'x'; 12 * 1024];
    let signature = signature("new", &body);
    let hook = hook(&body, &[("x-sig", &signature)]);
    let at = hook.body.as_ptr();

    let body = check(hook, &keys()).unwrap().into_body();

    assert_eq!(body.as_ptr(), at);
}

#[test]
fn invented_addresses_cause_few_fetches() {
    let (network, cache) = (Counted(std::cell::Cell::new(0), 404), KeyCache::new());
    let ask = |at: i64, path: u32| {
        let keys = FetchedKeys {
            fetch: &network,
            cache: &cache,
            now: Timestamp(at),
        };
        now(keys.document(&format!("https://keys.example/{path}"), None, false))
    };

    for path in 0..500 {
        assert!(ask(0, path).is_err());
    }
    assert_eq!(network.0.get(), 30);
    assert_eq!(ask(crate::time::MINUTE, 501), Err(KeyError::NotFound));
}

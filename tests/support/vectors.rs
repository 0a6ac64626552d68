//! Runs signature vectors (a JSON list; docs/integrations.md has the form) through the engine, each with its own clock
//! and its own stubs for published keys.

#![expect(
    clippy::indexing_slicing,
    reason = "test support may fail loudly; JSON indexing gives null"
)]

#[path = "crypto.rs"]
mod crypto;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto::NativeCrypto;
use patchbay::http::{Head, Headers, Method, Response};
use patchbay::manifest::webhook::{Verification, Webhook};
use patchbay::secret::Secret;
use patchbay::time::Timestamp;
use patchbay::webhook::{self, IncomingHook, KeyError, KeyMaterial, KeySource, Rejection, named::qsh};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The outcome of one entry: nothing, or how it disagrees.
pub type Outcome = Result<(), String>;

/// What the hub would do with a request.
pub enum Verdict {
    /// Answered by the protocol.
    Answered(Response, Option<String>),
    /// Stored as events.
    Accepted,
    /// Refused.
    Refused(Rejection, Response),
}

/// The `webhook` part of a service's manifest.
pub fn manifest(service: &str) -> Result<Webhook, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("integrations").join(service).join("manifest.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("no manifest for `{service}`: {e}"))?;
    let mut manifest: Value = serde_json::from_str(&text).map_err(|e| format!("{service}: {e}"))?;
    serde_json::from_value(manifest["webhook"].take()).map_err(|e| format!("{service}: {e}"))
}

/// Runs one entry.
pub fn run(entry: &Value) -> Outcome {
    match entry["kind"].as_str() {
        Some("qsh") => run_qsh(entry),
        Some("primitive") => run_primitive(entry),
        Some("handshake") => run_handshake(entry),
        _ => run_request(entry, false),
    }
}

/// Runs a request entry; `joined` puts repeated fields together as a Worker sees them.
pub fn run_request(entry: &Value, joined: bool) -> Outcome {
    let verdict = receive(entry, joined)?;
    let valid = entry["valid"].as_bool().unwrap_or_default();
    match verdict {
        Verdict::Accepted if valid => Ok(()),
        Verdict::Refused(rejection, _) if !valid && !rejection_is_noise(&rejection) => Ok(()),
        Verdict::Accepted => Err("accepted, should be refused".into()),
        Verdict::Refused(rejection, _) => Err(format!("refused ({}: {rejection})", rejection.cause())),
        Verdict::Answered(reply, _) => Err(format!("answered as a handshake with {}", reply.status)),
    }
}

/// A manifest that cannot be used must not pass for a refusal.
fn rejection_is_noise(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::BadManifest(_) | Rejection::KeyUnavailable(_))
}

/// What the hub would do with an entry's request.
pub fn receive(entry: &Value, joined: bool) -> Result<Verdict, String> {
    let spec = manifest(entry["service"].as_str().unwrap_or_default())?;
    let keys = keys(entry, &spec);
    let head = head(entry, joined)?;
    let body = body(entry)?;
    let now = now(entry);
    if let Some(answer) = webhook::unsigned_handshake(&spec, &keys, &head, &body) {
        return Ok(answer.map_or_else(|r| refused(&spec, r), |reply| Verdict::Answered(reply, None)));
    }
    let hook = IncomingHook {
        method: head.method,
        query: head.query.clone(),
        headers: head.headers.clone(),
        body,
    };
    let verified = block_on(webhook::verify(&spec, &keys, hook, now, &NativeCrypto, &Stub(entry)));
    if let Err(early) = webhook::precheck(&spec, &head, &keys)
        && verified.is_ok()
    {
        return Err(format!("precheck refuses what verify accepts: {early}"));
    }
    let hook = match verified {
        Ok(hook) => hook,
        Err(rejection) => return Ok(refused(&spec, rejection)),
    };
    if let Some(reply) = webhook::signed_handshake(&spec, &keys, &hook) {
        let confirm = webhook::confirmation(&spec, &keys, &hook).map(|request| request.url);
        return Ok(Verdict::Answered(reply, confirm));
    }
    for draft in webhook::drafts(&spec, &hook, now) {
        assert!(!draft.delivery_id.is_empty() && !draft.kind.is_empty(), "{draft:?}");
    }
    Ok(Verdict::Accepted)
}

fn refused(spec: &Webhook, rejection: Rejection) -> Verdict {
    let reply = webhook::refusal(spec, "", &rejection)
        .unwrap_or_else(|| patchbay::problem::respond(&rejection.clone().into(), "trace"));
    Verdict::Refused(rejection, reply)
}

fn run_handshake(entry: &Value) -> Outcome {
    let expect = &entry["expect"];
    let (reply, confirm) = match receive(entry, false)? {
        Verdict::Answered(reply, confirm) => (reply, confirm),
        Verdict::Refused(_, reply) => (reply, None),
        Verdict::Accepted => (Response::empty(202), None),
    };
    if expect["status"].as_u64() != Some(u64::from(reply.status)) {
        return Err(format!("replied {}, should be {}", reply.status, expect["status"]));
    }
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    if let Some(wanted) = expect["body"].as_str()
        && !same_text(wanted, &text)
    {
        return Err(format!("replied `{text}`, should be `{wanted}`"));
    }
    let kind = reply.headers.get("content-type").unwrap_or_default();
    if expect["content_type"]
        .as_str()
        .is_some_and(|wanted| !kind.starts_with(wanted))
    {
        return Err(format!(
            "replied with content-type `{kind}`, should be {}",
            expect["content_type"]
        ));
    }
    for (name, wanted) in expect["headers"].as_object().into_iter().flatten() {
        if reply.headers.get(name) != wanted.as_str() {
            return Err(format!(
                "replied with {name} {:?}, should be {wanted}",
                reply.headers.get(name)
            ));
        }
    }
    let wanted = expect["action"]["GET"].as_str();
    if wanted != confirm.as_deref() {
        return Err(format!("would fetch {confirm:?}, should fetch {wanted:?}"));
    }
    Ok(())
}

/// Equal as texts, or as JSON.
fn same_text(a: &str, b: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    a == b || (json(a).is_some() && json(a) == json(b))
}

fn run_qsh(entry: &Value) -> Outcome {
    let options = &entry["options"];
    let url = entry["url"].as_str().unwrap_or_default();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let query = match options["form"].as_str() {
        Some(form) if query.is_empty() => form.to_owned(),
        Some(form) => format!("{query}&{form}"),
        None => query.to_owned(),
    };
    let base = options["base_url"].as_str().unwrap_or_default();
    let canonical = qsh::canonical(entry["method"].as_str().unwrap_or_default(), path, &query, base);
    for (made, wanted) in [
        (qsh::hash(&canonical), &options["qsh"]),
        (canonical.clone(), &options["canonical"]),
    ] {
        if wanted.as_str().is_some_and(|wanted| wanted != made) {
            return Err(format!("made `{made}` of `{canonical}`, should be {wanted}"));
        }
    }
    Ok(())
}

/// A known answer of an HMAC, through a scheme that signs the body alone.
fn run_primitive(entry: &Value) -> Outcome {
    let spec: Webhook = serde_json::from_value(serde_json::json!({"verification": {
        "kind": "hmac", "hash": entry["options"]["alg"], "signed": "{body}",
        "signature": {"from": "header:x-mac", "encoding": "hex"},
    }}))
    .map_err(|e| e.to_string())?;
    let mut headers = Headers::default();
    headers.append("x-mac", entry["options"]["expected_hex"].as_str().unwrap_or_default());
    let hook = IncomingHook {
        method: Method::Post,
        query: String::new(),
        headers,
        body: body(entry)?,
    };
    let keys = KeyMaterial {
        secrets: secrets(entry),
        ..KeyMaterial::default()
    };
    let result = block_on(webhook::verify(
        &spec,
        &keys,
        hook,
        now(entry),
        &NativeCrypto,
        &Stub(entry),
    ));
    match result {
        Ok(_) if entry["valid"] == true => Ok(()),
        Err(_) if entry["valid"] == false => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn keys(entry: &Value, spec: &Webhook) -> KeyMaterial {
    let mut options = entry["options"].as_object().cloned().unwrap_or_default();
    let tolerance_s = options
        .remove("tolerance_s")
        .and_then(|t| t.as_u64())
        .and_then(|t| u32::try_from(t).ok());
    // An entry for a scheme that is off unless chosen is an entry for a connection that chose it.
    let scheme = entry["scheme"].as_str().unwrap_or_default().replace('_', "-");
    if let Verification::Variants(variants) = &spec.verification
        && let Some(chosen) = variants.iter().find(|v| v.only_by_setting && scheme.ends_with(&v.name))
    {
        options.insert("variant".into(), chosen.name.clone().into());
    }
    // Entries bring the keys along, so they do not name the client that would ask for them.
    if entry["service"] == "plaid" {
        options.entry("client_id").or_insert_with(|| "client".into());
    }
    KeyMaterial {
        secrets: secrets(entry),
        registered_url: entry["url"].as_str().map(str::to_owned),
        tolerance_s,
        options,
    }
}

fn secrets(entry: &Value) -> Vec<Secret> {
    let text = |value: &Value| Secret::new(value.as_str().unwrap_or_default());
    let configured = [
        &entry["options"]["signing_token"],
        &entry["public_key"],
        &entry["secret"],
    ];
    match configured.into_iter().find(|value| !value.is_null()) {
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(Value::Object(named)) => named.values().map(text).collect(),
        Some(one) => vec![text(one)],
        None => Vec::new(),
    }
}

fn head(entry: &Value, joined: bool) -> Result<Head, String> {
    let url = entry["url"].as_str().unwrap_or_default();
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let mut headers = Headers::default();
    for pair in entry["headers"].as_array().into_iter().flatten() {
        let (name, value) = (
            pair[0].as_str().unwrap_or_default(),
            pair[1].as_str().unwrap_or_default(),
        );
        match headers.get(name).map(|first| format!("{first}, {value}")) {
            Some(both) if joined => headers.set(name, &both),
            _ => headers.append(name, value),
        }
    }
    Ok(Head {
        method: Method::parse(entry["method"].as_str().unwrap_or_default()).ok_or("unknown method")?,
        path: before
            .splitn(4, '/')
            .nth(3)
            .map_or_else(|| "/".to_owned(), |rest| format!("/{rest}")),
        query: query.to_owned(),
        headers,
    })
}

fn body(entry: &Value) -> Result<Vec<u8>, String> {
    match entry["body_base64"].as_str() {
        Some(text) => STANDARD.decode(text).map_err(|e| e.to_string()),
        None => Ok(entry["body"].as_str().unwrap_or_default().as_bytes().to_vec()),
    }
}

fn now(entry: &Value) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    Timestamp((entry["now_unix"].as_f64().unwrap_or_default() * 1000.0) as i64)
}

/// The keys that an entry brings along.
struct Stub<'a>(&'a Value);

#[async_trait(?Send)]
impl KeySource for Stub<'_> {
    async fn document(&self, url: &str, json: Option<&Value>, _: bool) -> Result<Vec<u8>, KeyError> {
        if let Some(pem) = self.0["certs"][url].as_str() {
            return Ok(pem.as_bytes().to_vec());
        }
        let Some(keys) = self.0["jwks"].as_array() else {
            return Err(KeyError::NotFound);
        };
        let answer = match json {
            Some(request) => {
                let key = keys
                    .iter()
                    .find(|k| k["kid"] == request["key_id"])
                    .ok_or(KeyError::NotFound)?;
                BTreeMap::from([("key", key.clone())])
            }
            None => BTreeMap::from([("keys", keys.clone().into())]),
        };
        serde_json::to_vec(&answer).map_err(|e| KeyError::Unavailable(e.to_string()))
    }
}

/// Runs a future that never waits: nothing here does I/O.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

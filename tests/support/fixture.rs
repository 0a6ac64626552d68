//! Fixtures of integrations: one captured request each, with what the hub makes of it. Reading them, and running them
//! the way that `Hub::receive` runs a request.

#[path = "crypto.rs"]
mod crypto;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto::NativeCrypto;
use patchbay::event::EventDraft;
use patchbay::http::{Head, Headers, Method, Response};
use patchbay::manifest::webhook::Webhook;
use patchbay::secret::Secret;
use patchbay::time::Timestamp;
use patchbay::webhook::{self, IncomingHook, KeyError, KeyMaterial, KeySource, Rejection};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// An integration's folder.
pub struct Folder {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The manifest's `webhook` part as it is written.
    pub raw: Value,
    /// The same as it is read.
    pub spec: Webhook,
    /// Whether it has actions too.
    pub acts: bool,
    /// Its fixtures by name, sorted.
    pub fixtures: Vec<(String, Fixture)>,
}

/// One captured request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// What happens, for a person.
    pub description: String,
    /// The configured secrets, current first.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Further settings of the connection.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// The registered URL, for schemes that sign it.
    pub webhook_url: Option<String>,
    /// Key documents by URL.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// When it is received.
    pub now: String,
    /// The request.
    pub request: Sent,
    /// Whether every byte of the body is protected by the signature.
    #[serde(default = "yes")]
    pub covers_body: bool,
    /// Changes of the body that must be refused also where not every byte is protected.
    #[serde(default)]
    pub refused_if: Vec<Change>,
    /// What the hub makes of it.
    pub expect: Expect,
}

fn yes() -> bool {
    true
}

/// A request as it was sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    method: String,
    #[serde(default = "anywhere")]
    path: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_base64: Option<String>,
}

fn anywhere() -> String {
    "/api/integration/service/events/con_1".to_owned()
}

/// A change of the body's text.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub replace: String,
    pub with: String,
}

/// What the hub makes of a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub events: Option<Vec<ExpectedEvent>>,
    pub reply: Option<ExpectedReply>,
    /// The URL that is fetched to confirm a subscription.
    pub confirm: Option<String>,
    /// The cause of a refusal.
    pub refused: Option<String>,
}

/// What is not said is not compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEvent {
    pub delivery_id: Option<String>,
    pub r#type: String,
    #[serde(default, deserialize_with = "said")]
    pub subject: Option<Option<String>>,
    #[serde(default, deserialize_with = "said")]
    pub account: Option<Option<String>>,
    #[serde(default, deserialize_with = "said")]
    pub occurred_at: Option<Option<String>>,
}

/// `null` is something that is said.
fn said<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A reply; what is not said is not compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedReply {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// A request that can be changed and run again.
#[derive(Clone)]
pub struct Attempt {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub secrets: Vec<String>,
    pub options: Map<String, Value>,
    pub webhook_url: Option<String>,
    pub keys: BTreeMap<String, String>,
    pub now: Timestamp,
}

/// What the hub makes of an attempt.
#[derive(Debug)]
pub enum Verdict {
    /// Answered by the protocol before verification.
    Answered(Response),
    /// Answered by the protocol after verification; the URL that is fetched.
    Handshake(Response, Option<String>),
    /// Stored; the reply in place of the hub's own.
    Events(Vec<EventDraft>, Option<Response>),
    /// Refused.
    Refused(Rejection),
    /// The method is not one of the service's, or the body is too large.
    Unfit(&'static str),
}

impl Fixture {
    /// The request as it was captured.
    pub fn attempt(&self) -> Result<Attempt, String> {
        let sent = &self.request;
        let body = match (&sent.body, &sent.body_base64) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(text)) => STANDARD.decode(text).map_err(|e| e.to_string())?,
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => return Err("it has two bodies".to_owned()),
        };
        Ok(Attempt {
            method: sent.method.clone(),
            path: sent.path.clone(),
            query: sent.query.clone(),
            headers: sent.headers.clone(),
            body,
            secrets: self.secrets.clone(),
            options: self.options.clone(),
            webhook_url: self.webhook_url.clone(),
            keys: self.keys.clone(),
            now: Timestamp::parse_rfc3339(&self.now).ok_or("`now` is no time")?,
        })
    }
}

impl Attempt {
    /// Runs it; a panic is an error.
    pub fn run(&self, spec: &Webhook) -> Result<Verdict, String> {
        catch_unwind(AssertUnwindSafe(|| self.receive(spec))).unwrap_or_else(|_| Err("a panic".to_owned()))
    }

    fn receive(&self, spec: &Webhook) -> Result<Verdict, String> {
        let method = Method::parse(&self.method).ok_or("an unknown method")?;
        if !spec.methods.contains(&method) && !spec.handshakes.iter().any(|h| h.method == method) {
            return Ok(Verdict::Unfit("method"));
        }
        let keys = self.key_material();
        let head = Head {
            method,
            path: self.path.clone(),
            query: self.query.clone(),
            headers: Headers::from_pairs(self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()))),
        };
        if let Err(rejection) = webhook::precheck(spec, &head, &keys) {
            return Ok(Verdict::Refused(rejection));
        }
        if spec.max_body_bytes.is_some_and(|max| self.body.len() > max) {
            return Ok(Verdict::Unfit("size"));
        }
        if let Some(answer) = webhook::unsigned_handshake(spec, &keys, &head, &self.body) {
            return Ok(answer.map_or_else(Verdict::Refused, Verdict::Answered));
        }
        let hook = IncomingHook {
            method,
            query: head.query.clone(),
            headers: head.headers.clone(),
            body: self.body.clone(),
        };
        let documents = Documents(&self.keys);
        let verified = webhook::verify(spec, &keys, hook, self.now, &NativeCrypto, &documents);
        let hook = match block_on(verified) {
            Ok(hook) => hook,
            Err(rejection) => return Ok(Verdict::Refused(rejection)),
        };
        if let Some(reply) = webhook::signed_handshake(spec, &keys, &hook) {
            let confirm = webhook::confirmation(spec, &keys, &hook).map(|request| request.url);
            return Ok(Verdict::Handshake(reply, confirm));
        }
        let drafts = webhook::drafts(spec, &hook, self.now);
        Ok(Verdict::Events(drafts, webhook::reply(spec, &self.path, &keys, &hook)))
    }

    fn key_material(&self) -> KeyMaterial {
        let tolerance = self.options.get("webhook_tolerance_s").and_then(Value::as_u64);
        KeyMaterial {
            secrets: self.secrets.iter().map(Secret::new).collect(),
            registered_url: self.webhook_url.clone(),
            tolerance_s: tolerance.and_then(|s| u32::try_from(s).ok()),
            options: self.options.clone(),
        }
    }
}

/// The key documents that a fixture brings along.
struct Documents<'a>(&'a BTreeMap<String, String>);

#[async_trait(?Send)]
impl KeySource for Documents<'_> {
    async fn document(&self, url: &str, _: Option<&Value>, _: bool) -> Result<Vec<u8>, KeyError> {
        let text = self.0.get(url).ok_or(KeyError::NotFound)?;
        Ok(text.as_bytes().to_vec())
    }
}

/// Runs a future that never waits: nothing here does I/O.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

/// Every folder of a service with webhooks; what cannot be read is a problem.
pub fn folders(problems: &mut Vec<String>) -> Vec<Folder> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("integrations");
    let mut paths: Vec<PathBuf> = list(&root).into_iter().filter(|path| path.is_dir()).collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match folder(&path, &name, problems) {
            Ok(Some(folder)) => all.push(folder),
            Ok(None) => {}
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    all
}

fn folder(path: &Path, name: &str, problems: &mut Vec<String>) -> Result<Option<Folder>, String> {
    let text = std::fs::read_to_string(path.join("manifest.json")).map_err(|e| format!("no manifest: {e}"))?;
    patchbay::manifest::Manifest::parse(&text).map_err(|e| format!("manifest: {e}"))?;
    let mut manifest: Value = serde_json::from_str(&text).map_err(|e| format!("manifest: {e}"))?;
    let Some(raw) = manifest.get_mut("webhook").map(Value::take) else {
        return Ok(None);
    };
    let acts = manifest.get("actions").is_some();
    let mut fixtures = Vec::new();
    for file in list(&path.join("fixtures")) {
        let file_name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match serde_json::from_str(&text) {
            Ok(fixture) => fixtures.push((file_name, fixture)),
            Err(e) => problems.push(format!("{name}/fixtures/{file_name}: {e}")),
        }
    }
    fixtures.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Some(Folder {
        name: name.to_owned(),
        path: path.to_owned(),
        spec: serde_json::from_value(raw.clone()).map_err(|e| format!("manifest: {e}"))?,
        raw,
        acts,
        fixtures,
    }))
}

fn list(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

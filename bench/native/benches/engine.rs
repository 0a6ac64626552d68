//! The engine's parts natively: time, and how often each allocates. `cargo bench -p native-bench`.

use async_trait::async_trait;
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use patchbay::http::{Headers, Method};
use patchbay::manifest::Manifest;
use patchbay::ports::{Crypto, CryptoError, RsaHash};
use patchbay::registry::{self, Entry};
use patchbay::secret::Secret;
use patchbay::template::{Scope, Template};
use patchbay::time::Timestamp;
use patchbay::webhook::{self, IncomingHook, KeyMaterial, NoKeys};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const KIB: usize = 1024;
const SIZES: [usize; 4] = [KIB, 12 * KIB, 256 * KIB, 1024 * KIB];

fn main() {
    divan::main();
}

/// Runs a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

/// A platform without cryptography: the HMAC is the engine's own.
struct None_;

#[async_trait(?Send)]
impl Crypto for None_ {
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

fn github() -> &'static Entry {
    registry::get("github").unwrap()
}

fn keys() -> KeyMaterial {
    KeyMaterial {
        secrets: vec![Secret::new("a secret of the benchmark's own")],
        ..KeyMaterial::default()
    }
}

/// A comment of about this size: issues beside it, as in a delivery, make up for what is missing.
fn body(bytes: usize) -> Vec<u8> {
    let issue = json!({
        "url": "https://api.github.com/repos/o/r/issues/7", "id": 42, "number": 7, "title": "It fails on start",
        "user": {"login": "alice", "id": 1, "type": "User", "site_admin": false}, "labels": [], "locked": false,
        "body": "It fails.\nSometimes it says \"no\".".repeat(8),
    });
    let mut made = json!({
        "action": "created", "issue": issue, "comment": {"id": 5, "body": "ok"},
        "repository": {"full_name": "o/r"}, "installation": {"id": 9}, "related": [],
    });
    let missing = bytes.saturating_sub(made.to_string().len());
    let count = missing / (issue.to_string().len() + 1);
    made["related"] = Value::Array(vec![issue; count]);
    made.to_string().into_bytes()
}

fn hook(body: Vec<u8>, signature: &str) -> IncomingHook {
    IncomingHook {
        method: Method::Post,
        query: String::new(),
        headers: Headers::from_pairs([
            ("content-type", "application/json"),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            ("x-github-event", "issue_comment"),
            ("x-hub-signature-256", signature),
        ]),
        body,
    }
}

fn wrong() -> String {
    format!("sha256={}", "0".repeat(64))
}

/// The whole way of a wrong signature through the verifier.
#[divan::bench(args = SIZES)]
fn verify_wrong_signature(bencher: Bencher, bytes: usize) {
    let (spec, keys, hook) = (
        github().manifest().unwrap().webhook.as_ref().unwrap(),
        keys(),
        hook(body(bytes), &wrong()),
    );
    bencher
        .counter(BytesCount::new(bytes))
        .with_inputs(|| hook.clone())
        .bench_values(|hook| now(webhook::verify(spec, &keys, hook, Timestamp(0), &None_, &NoKeys)).is_err());
}

/// What a full parse of a body costs: what the reading of events does not do.
#[divan::bench(args = SIZES)]
fn parse_whole(bencher: Bencher, bytes: usize) {
    let body = body(bytes);
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| serde_json::from_slice::<Value>(black_box(&body)).unwrap());
}

#[divan::bench]
fn load_manifest() -> Manifest {
    Manifest::parse(black_box(github().text)).unwrap()
}

#[divan::bench]
fn render_template(bencher: Bencher) {
    let template = Template::new("/repos/{{ inputs.repo }}/issues/{{ inputs.issue }}/comments");
    let inputs = json!({"repo": "o/r", "issue": 7});
    bencher.bench_local(|| template.text(&Scope::new([("inputs", black_box(&inputs))])).unwrap());
}

#[divan::bench]
fn check_inputs(bencher: Bencher) {
    let entry = github();
    let action = entry.manifest().unwrap().actions.keys().next().unwrap();
    let inputs = json!({"repo": "o/r", "issue": 7, "body": "Done."});
    bencher.bench_local(|| entry.check_inputs(action, black_box(&inputs)).is_ok());
}

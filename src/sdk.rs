//! What a `handler.rs` in an integration's folder may use, and what it must be.
//!
//! Most services need none: a manifest says how to ask them. A handler is for what data cannot say. It has no I/O but
//! its context's, which adds the credential, keeps it to the allowed hosts and counts tries. `pub static INTEGRATION`
//! in the file is picked up by the build.

use crate::secret::Secret as Hidden;
use std::collections::BTreeMap;

pub use crate::error::{Error, Result};
pub use crate::http::{Headers, Method, Request, Response, validators_of};
pub use crate::secret::Secret;
pub use crate::time::{Timestamp, retry_after};
pub use async_trait::async_trait;
pub use serde_json::{Value, json};

/// What a folder's handler does itself; for all else the manifest speaks.
pub trait Integration: Sync {
    /// The handler of an action that the manifest describes without `request`, `steps` or `event`.
    fn action(&self, name: &str) -> Option<&dyn ActionHandler> {
        let _ = name;
        None
    }

    /// The handler of a polling trigger that the manifest describes without `request`.
    fn polling_trigger(&self, name: &str) -> Option<&dyn PollingTriggerHandler> {
        let _ = name;
        None
    }
}

/// One action.
#[async_trait(?Send)]
pub trait ActionHandler: Sync {
    /// Does it. The inputs fit `input_schema`; the result is checked against `output_schema`. An error that passes by
    /// itself (see [`Error::retryable`]) leads to another try where that is safe.
    async fn execute(&self, inputs: &Value, context: &ExecutionContext<'_>) -> Result<Value>;
}

/// One polling trigger.
#[async_trait(?Send)]
pub trait PollingTriggerHandler: Sync {
    /// Asks what is new. What it returns is stored together with its cursor, or not at all.
    async fn poll(&self, inputs: &Value, last: &LastPoll, context: &ExecutionContext<'_>) -> Result<Polled>;
}

/// Where the poll before this one ended.
#[derive(Debug, Clone, Default)]
pub struct LastPoll {
    /// When it ran; none at the first.
    pub at: Option<Timestamp>,
    /// What it returned as cursor; null at the first.
    pub cursor: Value,
}

/// What a poll found.
#[derive(Debug, Clone, Default)]
pub struct Polled {
    /// What is listed now, in the service's order. What was seen before may be among it: the hub tells it apart by id.
    pub items: Vec<Item>,
    /// Where the next poll begins.
    pub cursor: Value,
    /// Whether there is more at once: the handler is then asked again with the new cursor.
    pub more: bool,
    /// The part of the poll that was asked, where it has several (one of many feeds): ids are remembered by part, and
    /// the first look at a part is its baseline. Empty where nothing was looked at.
    pub group: String,
    /// What went wrong with this part alone; the poll goes on with the others.
    pub trouble: Option<Error>,
    /// Whether that is for good, and of the whole poll: no later try helps.
    pub gone: bool,
    /// Seconds to wait until the next poll that the service asks for.
    pub wait_s: Option<u32>,
}

/// One thing that a poll found.
#[derive(Debug, Clone)]
pub struct Item {
    /// The same thing has the same id, whenever it is found: what was seen is not reported again.
    pub id: String,
    /// As the trigger's `output_schema` says.
    pub data: Value,
    /// What it is about, for people and search.
    pub subject: Option<String>,
    /// When it happened, as the service says.
    pub occurred_at: Option<Timestamp>,
}

/// Sends a handler's requests. The hub's side of [`ExecutionContext`].
#[async_trait(?Send)]
pub trait Wire {
    /// Sends one request with the connection's credential. Whatever the service answers is a reply, also a refusal.
    async fn send(&self, request: Request) -> Result<Response>;

    /// The same, without following a redirect: it is the reply.
    async fn send_once(&self, request: Request) -> Result<Response>;

    /// Bytes as text, by the name of their character encoding (<https://encoding.spec.whatwg.org/#names-and-labels>);
    /// none where the name is unknown. What does not fit becomes U+FFFD.
    fn decode(&self, label: &str, bytes: &[u8]) -> Option<String>;

    /// The time now.
    fn now(&self) -> Timestamp;
}

/// What a handler works with: the connection's settings and credential, and a way out.
pub struct ExecutionContext<'a> {
    /// The connection's settings that are not secret.
    pub config: &'a Value,
    secrets: &'a BTreeMap<String, Hidden>,
    wire: &'a dyn Wire,
}

impl<'a> ExecutionContext<'a> {
    /// A context of these settings.
    pub fn new(config: &'a Value, secrets: &'a BTreeMap<String, Hidden>, wire: &'a dyn Wire) -> Self {
        Self { config, secrets, wire }
    }

    /// A secret field of the connection.
    pub fn auth(&self, field: &str) -> Result<&Secret> {
        self.secrets
            .get(field)
            .ok_or_else(|| Error::ReauthRequired(format!("the connection has no `{field}`")))
    }

    /// Sends a request. What the manifest's `auth.apply` says is added to it; it reaches the manifest's hosts and the
    /// connection's alone. A reply is of at most 10 MiB, and comes within 15 s or not at all.
    pub async fn fetch(&self, request: Request) -> Result<Response> {
        self.wire.send(request).await
    }

    /// Sends a request whose redirects the handler looks at itself.
    pub async fn fetch_once(&self, request: Request) -> Result<Response> {
        self.wire.send_once(request).await
    }

    /// Bytes as text, by the name of their character encoding.
    pub fn decode(&self, label: &str, bytes: &[u8]) -> Option<String> {
        self.wire.decode(label, bytes)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.wire.now()
    }

    /// GETs a URL.
    pub async fn get(&self, url: &str) -> Result<Response> {
        let (method, headers, body) = (Method::Get, Headers::default(), Vec::new());
        let url = url.to_owned();
        self.fetch(Request {
            method,
            url,
            headers,
            body,
        })
        .await
    }
}

//! Webhooks in: from raw bytes to a [`VerifiedHook`], and from there to event drafts.
//!
//! Nothing is parsed before its signature was checked (except where the scheme itself stands in the body), and only
//! [`verify`] can make a [`VerifiedHook`]. A scheme is data of the manifest; the algorithm never comes from the request.

mod cert;
mod der;
mod digest;
pub mod document;
mod draft;
mod equals;
mod explain;
mod handshake;
mod key;
pub mod key_source;
mod mac;
pub mod named;
mod public_key;
mod reject;
mod reply;
mod select;
mod signature;
mod skim;
mod sound;
mod token;
mod verify;
mod view;
mod window;

use crate::http::{Headers, Method};
use crate::secret::Secret;
use serde_json::Value;
use std::cell::OnceCell;

pub use crate::ports::{KeyError, KeySource};
pub use draft::drafts;
pub use explain::{Explanation, Hint, explain};
pub use handshake::{confirmation, handed_over, signed_handshake, unsigned_handshake};
pub use key_source::{FetchedKeys, KeyCache, NoKeys};
pub use reject::Rejection;
pub use reply::{refusal, reply};
pub use sound::check;
pub use verify::{precheck, verify, verify_or_return};

/// A delivery as it came, not yet believed.
#[derive(Debug, Clone)]
pub struct IncomingHook {
    /// The method.
    pub method: Method,
    /// The query without its `?`, not decoded.
    pub query: String,
    /// The header fields.
    pub headers: Headers,
    /// The exact bytes.
    pub body: Vec<u8>,
}

/// What a delivery is checked against.
#[derive(Clone, Default)]
pub struct KeyMaterial {
    /// The current secret (or public key) first, then the one before it during a rotation.
    pub secrets: Vec<Secret>,
    /// The URL as registered with the sender; schemes that sign it use this, never what the request says.
    pub registered_url: Option<String>,
    /// Seconds that replace the scheme's own window to each side.
    pub tolerance_s: Option<u32>,
    /// Further settings of the connection that a scheme needs, e.g. a webhook id or a topic.
    pub options: serde_json::Map<String, serde_json::Value>,
}

impl std::fmt::Debug for KeyMaterial {
    /// Without the settings' values: some of them are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let options: Vec<&String> = self.options.keys().collect();
        write!(f, "KeyMaterial({} secrets, settings {options:?})", self.secrets.len())
    }
}

/// A delivery that was verified. Only [`verify`] makes one, and [`VerifiedHook::vouched_for`].
#[derive(Debug)]
pub struct VerifiedHook {
    hook: IncomingHook,
    document: OnceCell<Option<Value>>,
    form_field: Option<String>,
    claims: Option<Value>,
}

impl VerifiedHook {
    /// A delivery that the service itself showed, asked by its API with the account's credential: no signature says more.
    pub fn vouched_for(hook: IncomingHook) -> Self {
        Self {
            hook,
            document: OnceCell::new(),
            form_field: None,
            claims: None,
        }
    }

    /// The exact bytes.
    pub fn body(&self) -> &[u8] {
        &self.hook.body
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.hook.headers
    }

    /// The query without its `?`, not decoded.
    pub fn query(&self) -> &str {
        &self.hook.query
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.hook.method
    }

    /// The claims of the token that came along, for schemes that have one.
    pub fn claims(&self) -> Option<&Value> {
        self.claims.as_ref()
    }

    /// The exact bytes, without a copy.
    pub fn into_body(self) -> Vec<u8> {
        self.hook.body
    }

    fn view<'a>(&'a self, keys: &'a KeyMaterial) -> view::View<'a> {
        view::View {
            method: self.hook.method,
            query: &self.hook.query,
            headers: &self.hook.headers,
            body: &self.hook.body,
            document: &self.document,
            brief: None,
            form_field: self.form_field.as_deref(),
            keys,
            claims: self.claims.as_ref(),
            item: None,
            words: view::Words::default(),
        }
    }
}

#[cfg(test)]
mod tests;

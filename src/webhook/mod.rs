//! Webhooks in: from raw bytes to a [`VerifiedHook`], and from there to event drafts.
//!
//! Nothing is parsed before its signature was checked, and only [`verify`] can make a [`VerifiedHook`].

use crate::http::{Headers, Method};
use crate::secret::Secret;

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
#[derive(Debug, Clone, Default)]
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

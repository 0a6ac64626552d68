//! The `webhook` part of a manifest: how a service signs, shakes hands, and names its events.

use serde::Deserialize;

/// How a service's deliveries are verified and read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Webhook {
    /// Most bytes that the service sends; the setting `PATCHBAY_MAX_BODY_BYTES` can only lower it.
    pub max_body_bytes: Option<usize>,
}

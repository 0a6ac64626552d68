//! The `webhook` part of a manifest: how a service signs, shakes hands, and names its events.
//!
//! docs/integrations.md is the reference for people; the types here are what is enforced.

pub mod event;
pub mod handshake;
pub mod locator;
pub mod scheme;

use crate::http::Method;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

pub use event::{Event, Time, Unit};
pub use handshake::{Case, Challenge, Condition, Handshake, Replies, Reply};
pub use locator::{Locator, Part, Pointer, Text};
pub use scheme::{
    BodyHash, Encoding, Equals, Form, Hash, Jwt, JwtKeys, KeyEncoding, KeyRequest, Mac, Named, Presence, PublicKey,
    Scheme, Signature, Variant, Verification, Window,
};

/// How a service's deliveries are verified and read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Webhook {
    /// Whether one secret of the whole app (from the environment) serves the route without a connection; yes if not
    /// said. Not for services that need further settings, or whose secret comes with each subscription.
    #[serde(default = "yes")]
    pub app_secret: bool,
    /// Most bytes that the service sends; the setting `PATCHBAY_MAX_BODY_BYTES` can only lower it.
    pub max_body_bytes: Option<usize>,
    /// The field of `auth` that holds a connection's webhook secret, where it is not `webhook_secret`.
    #[serde(default)]
    pub secret_field: Option<String>,
    /// Settings of a connection that the scheme or a handshake needs, besides the secret and the URL.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// The methods that deliveries come with; handshakes name their own.
    #[serde(default = "only_post")]
    pub methods: Vec<Method>,
    /// How a delivery is verified.
    pub verification: Verification,
    /// What is answered by the protocol itself, in order; the first that fits answers.
    #[serde(default)]
    pub handshakes: Vec<Handshake>,
    /// How events are read from a verified delivery.
    #[serde(default)]
    pub event: Event,
    /// What is replied instead of the hub's own 202 and 401.
    #[serde(default)]
    pub replies: Replies,
    /// The same for single paths, e.g. `/webhooks/name` without the closing slash.
    #[serde(default)]
    pub paths: BTreeMap<String, Replies>,
}

/// A setting of a connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Setting {
    /// What it is, and where the service shows it.
    pub description: String,
    /// Whether it is stored encrypted and never shown.
    #[serde(default)]
    pub secret: bool,
    /// Whether a connection cannot receive without it.
    #[serde(default)]
    pub required: bool,
}

fn yes() -> bool {
    true
}

fn only_post() -> Vec<Method> {
    vec![Method::Post]
}

/// One value or a list of them.
#[derive(Debug, Clone)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(untagged))]
pub enum OneOrMany<T> {
    /// Exactly one.
    One(T),
    /// Any number, in order.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them, in order.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

// By hand, because serde's `untagged` forgets why neither form fits, and a person wrote this.
impl<'de, T: DeserializeOwned> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let read = match value {
            serde_json::Value::Array(_) => serde_json::from_value(value).map(Self::Many),
            one => serde_json::from_value(one).map(Self::One),
        };
        read.map_err(Error::custom)
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

//! What the protocol itself answers: handshakes, and replies other than the hub's own.

use super::locator::{Locator, Text};
use super::scheme::{Encoding, Hash};
use crate::http::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A request that is answered by rule, and becomes no event.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Handshake {
    /// Whether it is answered after verification only. `false` puts it on the closed list of those that the service
    /// sends unsigned by design: they touch no state.
    #[serde(default = "yes")]
    pub signed: bool,
    /// The method it comes with; POST if not said.
    #[serde(default = "post")]
    pub method: Method,
    /// What the request must look like to be this handshake.
    #[serde(default)]
    pub when: Condition,
    /// Text of the caller's that the reply uses.
    pub challenge: Option<Challenge>,
    /// What must be right besides, compared in constant time, e.g. a verify token; otherwise `refuse` is replied.
    #[serde(default)]
    pub require: BTreeMap<Locator, Text>,
    /// The reply.
    #[serde(default)]
    pub reply: Reply,
    /// The reply where `require` is not met; 403 if not said.
    pub refuse: Option<Reply>,
    /// Where the service hands over the secret that it will sign with. It comes unsigned: a connection believes the
    /// first one, within an hour of being made, and none that comes later.
    pub learn: Option<Locator>,
    /// A URL of the verified body that the hub must GET to confirm a subscription.
    pub confirm: Option<Confirm>,
}

fn yes() -> bool {
    true
}

fn post() -> Method {
    Method::Post
}

/// A URL that is fetched once, after verification.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Confirm {
    /// Where the URL stands.
    pub url: Locator,
    /// The hosts it may have; `*` stands for one label.
    pub hosts: Vec<String>,
}

/// What a request must look like.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Condition {
    /// Places where something must stand.
    pub present: Vec<Locator>,
    /// Places where nothing may stand.
    pub absent: Vec<Locator>,
    /// Places and the exact text that must stand there.
    pub equals: BTreeMap<Locator, String>,
    /// How the configured secret must begin; for schemes whose keys name their own algorithm.
    pub key_prefix: Option<String>,
}

/// Text of the caller's that a handshake's reply uses. Anything else than `allow` is refused: the hub is no signing
/// service and no mirror for markup.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Challenge {
    /// Where it stands.
    pub from: Locator,
    /// What it may consist of.
    #[serde(default)]
    pub allow: Alphabet,
    /// The MAC over it that the reply calls `{mac}`, keyed with the current secret.
    pub mac: Option<ChallengeMac>,
}

/// Which texts a challenge may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Alphabet {
    /// `[A-Za-z0-9_-]{1,128}`.
    #[default]
    Token,
    /// Up to 1,024 printable ASCII characters; never with `mac`.
    Text,
}

/// How a challenge is MACed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct ChallengeMac {
    /// The digest of the HMAC.
    pub hash: Hash,
    /// How the reply spells it.
    pub encoding: Encoding,
}

/// A reply. Of `text` and `json` one at most; both may hold slots.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Reply {
    /// The status; 200 if not said.
    pub status: Option<u16>,
    /// A plain-text body.
    pub text: Option<Text>,
    /// A JSON body; every string in it is a text with slots.
    pub json: Option<serde_json::Value>,
    /// Further header fields.
    pub headers: BTreeMap<String, Text>,
}

/// A reply to deliveries of one kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Case {
    /// What the verified delivery must look like.
    pub when: Condition,
    /// The reply.
    pub reply: Reply,
}

/// Replies in place of the hub's own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Replies {
    /// In place of 202 for a stored delivery.
    pub accepted: Option<Reply>,
    /// The same for deliveries of a kind of their own; the first that fits comes before `accepted`.
    pub cases: Vec<Case>,
    /// In place of the problem document for a refused one; `{reason}` says why.
    pub refused: Option<Reply>,
}

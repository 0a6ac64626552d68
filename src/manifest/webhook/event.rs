//! How events are read from a verified delivery.

use super::OneOrMany;
use super::locator::{Locator, Text};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What an event is called, what it is about, and what tells two deliveries of it apart. Each list is tried in order;
/// the first text that finds something is it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Event {
    /// Where a body that holds many events has them: a `body:` locator with a `*` for the list.
    pub items: Option<Locator>,
    /// The service's own delivery or object id. Nothing found: SHA-256 of the body within `window_s`.
    pub delivery_id: OneOrMany<Text>,
    /// Seconds for which an equal body without an id counts as the same delivery; 300 if not said.
    pub window_s: Option<u32>,
    /// The kind, e.g. `issues.opened`; `event` if nothing is found.
    pub r#type: OneOrMany<Text>,
    /// Other names for kinds that the service only numbers.
    pub rename: BTreeMap<String, String>,
    /// What it is about, e.g. `octo/repo#7`.
    pub subject: OneOrMany<Text>,
    /// The account at the service (installation, workspace, tenant).
    pub account: OneOrMany<Text>,
    /// When it happened.
    pub occurred_at: Option<Time>,
    /// The field of a form body that holds the JSON; without it a form body is an object of its fields.
    pub form_field: Option<String>,
}

/// Where a time stands and in which unit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Time {
    /// Where it stands; the first that is there.
    pub from: OneOrMany<Locator>,
    /// Its unit; seconds if not said.
    #[serde(default)]
    pub unit: Unit,
}

/// The spelling of a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Unit {
    /// Whole seconds since 1970.
    #[default]
    #[serde(rename = "s")]
    Seconds,
    /// Whole milliseconds since 1970.
    #[serde(rename = "ms")]
    Millis,
    /// RFC 3339 / ISO 8601.
    #[serde(rename = "iso")]
    Iso,
}

//! The manifest: what a service is, as data. One `integrations/<service>/manifest.json` per service.
//!
//! A superset of source 002's `config.json`. Unknown keys are errors, so that a misspelt one cannot be overlooked.

pub mod action;
pub mod auth;
pub mod conversation;
pub mod import;
pub mod limit;
pub mod oauth2;
pub mod request;
pub mod response;
pub mod webhook;

use crate::error::{Error, Result};
use crate::schema;
use action::Action;
use auth::Auth;
use conversation::Conversation;
use limit::RateLimit;
use response::Replies;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use webhook::Webhook;

/// Everything that the hub knows of a service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Manifest {
    /// The schema that editors complete from; not read.
    #[serde(default, rename = "$schema")]
    pub schema: Option<String>,
    /// The service's name in URLs and event types: lower-case letters, digits and `-`.
    pub name: String,
    /// The manifest's own version (semver).
    pub version: String,
    /// One sentence on what it connects.
    pub description: String,
    /// The vendor's page that this manifest follows.
    #[serde(default)]
    pub docs: Option<String>,
    /// Where requests of actions go, without a trailing slash; a connection's `base_url` and the setting
    /// `<SERVICE>_API_BASE_URL` replace it.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Hosts that may receive this service's credentials, besides the one of the base URL.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What a connection needs, and how requests are authorised with it.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// How deliveries are verified and read.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// How an event becomes a conversation with an agent, and how the answer finds its way back.
    #[serde(default)]
    pub conversation: Option<Conversation>,
    /// How often the service may be asked, and how it says that it was too often.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// How replies to actions are read, unless an action says otherwise.
    #[serde(default)]
    pub replies: Replies,
    /// What is asked for regularly.
    #[serde(default)]
    pub polling_triggers: BTreeMap<String, PollingTrigger>,
    /// What can be asked of the service.
    #[serde(default)]
    pub actions: BTreeMap<String, Action>,
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| Error::validation(format!("the manifest is not valid: {e}")))
    }

    /// Reads a manifest that somebody posted. An error names the place by JSON pointer.
    pub fn read(document: &Value) -> Result<Self> {
        serde_path_to_error::deserialize(document).map_err(|e| Error::misread("the manifest", &e))
    }

    /// Compiles every expression and checks what types cannot say. For tests of built-in manifests and for
    /// definitions that users post; a request does not pay for it.
    pub fn check(&self) -> Result<()> {
        let well_named = !self.name.is_empty()
            && self
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !well_named {
            return Err(Error::invalid("/name", "must be lower-case letters, digits and `-`"));
        }
        if let Some(auth) = &self.auth {
            auth.check()?;
        }
        if let Some(conversation) = &self.conversation {
            conversation.check(self)?;
        }
        self.replies.check("/replies")?;
        self.check_schemas()?;
        self.actions
            .iter()
            .try_for_each(|(name, action)| action.check(&format!("/actions/{name}")))
    }

    /// Every schema must be one, and hold no keyword that would not be checked.
    fn check_schemas(&self) -> Result<()> {
        let sound = |at: String, schema: &Schema| schema::check(schema).map_err(|e| Error::invalid(at, e));
        if let Some(auth) = self.auth.as_ref().filter(|auth| !auth.fields.is_null()) {
            sound("/auth/fields".into(), &auth.fields)?;
        }
        for (name, action) in &self.actions {
            sound(format!("/actions/{name}/input_schema"), &action.input_schema)?;
            sound(format!("/actions/{name}/output_schema"), &action.output_schema)?;
        }
        Ok(())
    }

    /// The action of this name.
    pub fn action(&self, name: &str) -> Result<&Action> {
        self.actions
            .get(name)
            .ok_or_else(|| Error::MethodNotFound(name.to_owned()))
    }

    /// The name of a setting of this service: `<SERVICE>_<WHAT>`, `-` as `_`.
    pub fn setting(&self, what: &str) -> String {
        format!("{}_{what}", self.name.replace('-', "_").to_ascii_uppercase())
    }
}

/// Something that is asked for regularly, as source 002 describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct PollingTrigger {
    /// What it finds, for people.
    pub description: String,
    /// How often, as `5m`.
    pub polling_interval: String,
    /// JSON Schema of the inputs.
    pub input_schema: Schema,
    /// JSON Schema of what it finds.
    pub output_schema: Schema,
}

/// A JSON Schema inside a manifest.
pub type Schema = Value;

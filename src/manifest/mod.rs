//! The manifest: what a service is, as data. One `integrations/<service>/manifest.json` per service.
//!
//! A superset of source 002's `config.json`. Unknown keys are errors, so that a misspelt one cannot be overlooked.

pub mod action;
pub mod auth;
pub mod conversation;
pub mod import;
pub mod limit;
pub mod oauth2;
pub mod poll;
pub mod request;
pub mod response;
pub mod subscription;
pub mod webhook;

use crate::error::{Error, Result};
use crate::schema;
use action::Action;
use auth::Auth;
use conversation::Conversation;
use limit::RateLimit;
use poll::{PollingTrigger, Recovery};
use response::Replies;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use subscription::Subscription;
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
    /// What can be asked of the service.
    #[serde(default)]
    pub actions: BTreeMap<String, Action>,
    /// Lists of the service that are asked from time to time; what is new in them becomes events.
    #[serde(default)]
    pub polling_triggers: BTreeMap<String, PollingTrigger>,
    /// What the service must be asked for, again and again, before it sends webhooks.
    #[serde(default)]
    pub subscriptions: BTreeMap<String, Subscription>,
}

impl Manifest {
    /// Reads a manifest. An error names the place by JSON pointer.
    pub fn parse(text: &str) -> Result<Self> {
        // One way for all manifests: these types are a fifth of the program for each way of reading them.
        let mut reader = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut reader).map_err(|e| Error::misread("the manifest", &e))
    }

    /// Reads a manifest that somebody posted.
    pub fn read(document: &Value) -> Result<Self> {
        Self::parse(&document.to_string())
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
        for (name, trigger) in &self.polling_triggers {
            trigger.check(&format!("/polling_triggers/{name}"))?;
            if let Some(recovers) = &trigger.recovers {
                self.check_recovery(recovers, format!("/polling_triggers/{name}/recovers"))?;
            }
        }
        for (name, subscription) in &self.subscriptions {
            subscription.check(&format!("/subscriptions/{name}"))?;
        }
        self.actions
            .iter()
            .try_for_each(|(name, action)| action.check(&format!("/actions/{name}")))
    }

    /// What recovers deliveries needs to know how one is read, and who asks.
    fn check_recovery(&self, recovers: &Recovery, at: String) -> Result<()> {
        let asserts = self.auth.as_ref().is_some_and(|auth| auth.token.is_some());
        match recovers {
            _ if self.webhook.is_none() => Err(Error::invalid(at, "needs a `webhook`, whose deliveries these are")),
            Recovery { app: true, .. } if !asserts => Err(Error::invalid(at, "needs `auth.token` to ask as the app")),
            _ => Ok(()),
        }
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
        for (name, trigger) in &self.polling_triggers {
            sound(format!("/polling_triggers/{name}/input_schema"), &trigger.input_schema)?;
            sound(
                format!("/polling_triggers/{name}/output_schema"),
                &trigger.output_schema,
            )?;
        }
        for (name, subscription) in &self.subscriptions {
            sound(
                format!("/subscriptions/{name}/input_schema"),
                &subscription.input_schema,
            )?;
        }
        Ok(())
    }

    /// The action of this name.
    pub fn action(&self, name: &str) -> Result<&Action> {
        self.actions
            .get(name)
            .ok_or_else(|| Error::MethodNotFound(name.to_owned()))
    }

    /// The polling trigger of this name.
    pub fn trigger(&self, name: &str) -> Result<&PollingTrigger> {
        self.polling_triggers
            .get(name)
            .ok_or_else(|| Error::NotFound(format!("polling trigger `{name}` in the integration `{}`", self.name)))
    }

    /// The subscription of this name.
    pub fn subscription(&self, name: &str) -> Result<&Subscription> {
        self.subscriptions
            .get(name)
            .ok_or_else(|| Error::NotFound(format!("subscription `{name}` in the integration `{}`", self.name)))
    }

    /// The name of a setting of this service: `<SERVICE>_<WHAT>`, `-` as `_`.
    pub fn setting(&self, what: &str) -> String {
        format!("{}_{what}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// The setting that names the server which a part of URLs stands for, for the app of the other settings.
    pub fn address_setting(&self, part: &str) -> String {
        match part {
            "base_url" => self.setting("API_BASE_URL"),
            part => self.setting(&part.to_ascii_uppercase()),
        }
    }

    /// Whether a host is one of the service itself.
    pub fn owns_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| match own.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.to_ascii_lowercase().ends_with(&end.to_ascii_lowercase()),
            None => own.eq_ignore_ascii_case(host),
        })
    }

    /// Whether a connection's setting decides where requests with its credential go.
    pub fn leads_by(&self, field: &str) -> bool {
        let named = format!("{{{field}}}");
        self.base_url.as_ref().is_some_and(|url| url.contains(&named))
            || self.auth.as_ref().is_some_and(|auth| {
                auth.host_fields().any(|name| name == field)
                    || (auth.parts().contains_key(field) && auth.oauth2.as_ref().is_some_and(|o| o.leads_by(field)))
            })
    }
}

/// A JSON Schema inside a manifest.
pub type Schema = Value;

//! The settings that a connection is made of: each checked, and the secret ones told from the others.

use super::Hub;
use super::connect::REDIRECTED_TO;
use super::sign_in;
use crate::action::{defaults, egress};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::manifest::auth::Auth;
use crate::manifest::webhook::Webhook;
use crate::oauth::part;
use crate::registry::Integration;
use crate::secret::Secret;
use crate::settings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Settings of every connection whose service sends webhooks, besides the service's own fields. True: a secret.
const WEBHOOK_FIELDS: [(&str, bool); 5] = [
    ("webhook_secret", true),
    ("webhook_secret_previous", true),
    ("webhook_url", false),
    ("webhook_tolerance_s", false),
    ("variant", false),
];

/// Settings that are not secret, and those that are.
pub(super) type Checked = (Value, BTreeMap<String, Secret>);

impl Hub<'_> {
    /// Splits the settings of a connection that lives on tokens into those that are secret and those that are not, each
    /// checked: the app at the provider, and the parts of its URLs.
    pub(super) fn checked_oauth(&self, integration: &Integration, config: Map<String, Value>) -> Result<Checked> {
        let manifest = integration.manifest()?;
        let auth = manifest
            .auth
            .as_ref()
            .ok_or_else(|| Error::Internal("OAuth without auth".into()))?;
        let mut fields = config;
        let mut secrets = BTreeMap::new();
        let mut config = Map::new();
        let receives = fields.keys().any(|name| is_webhook_field(manifest, name));
        // One that only acts needs no setting of a webhook.
        if let Some(webhook) = manifest.webhook.as_ref().filter(|_| receives) {
            take_webhook_fields(&mut fields, &mut config, &mut secrets)?;
            take_settings(webhook, &mut fields, &mut config, &mut secrets)?;
        }
        // Source 003 spells them the second way.
        for (name, other) in [
            ("client_id", "clientId"),
            ("client_secret", "clientSecret"),
            ("redirect_uri", "redirectUri"),
        ] {
            let given = fields.remove(name).or_else(|| fields.remove(other));
            let at = format!("/config/{name}");
            match given {
                None => {}
                Some(Value::String(text)) if !text.is_empty() && name == "client_secret" => {
                    secrets.insert(name.to_owned(), Secret::new(text));
                }
                Some(Value::String(text)) if !text.is_empty() => {
                    if name == "redirect_uri" {
                        sign_in::sound_redirect_uri(&at, &text)?;
                    }
                    config.insert(name.to_owned(), json!(text));
                }
                Some(_) => return Err(Error::invalid(at, "must be a text that is not empty")),
            }
        }
        for (name, value) in fields {
            let at = format!("/config/{name}");
            let text = value
                .as_str()
                .ok_or_else(|| Error::invalid(at.as_str(), "must be a text"))?;
            match auth.parts().get(&name) {
                Some(part) if part.from.is_none() => part::fits(&name, part, text)?,
                None if name == "scope" && text.len() <= 4_000 => {}
                _ => return Err(Error::invalid(at, "is not a setting of this integration's sign-in")),
            }
            config.insert(name, value);
        }
        if secrets.contains_key("client_secret") && !config.contains_key("client_id") {
            return Err(Error::invalid(
                "/config/client_id",
                "is missing: a secret alone is of no use",
            ));
        }
        let config = Value::Object(config);
        // Whatever a URL still lacks is better known now than when somebody signs in.
        for (name, part) in auth.parts() {
            if part.from.is_none() && !part.optional {
                part::fill(&format!("{{{name}}}"), auth.parts(), &config)?;
            }
        }
        Ok((config, secrets))
    }

    /// The same for a connection that lives on settings alone.
    pub(super) fn checked(&self, integration: &Integration, config: Map<String, Value>) -> Result<Checked> {
        let manifest = integration.manifest()?;
        let mut fields = config;
        let mut secrets = BTreeMap::new();
        let mut config = Map::new();
        let acts = manifest.auth.as_ref().is_some_and(Auth::has_fields) && !fields.is_empty();
        let for_webhooks = fields.keys().any(|name| is_webhook_field(manifest, name));
        let receives = !acts || for_webhooks;
        // One that only acts needs no setting of a webhook.
        if let Some(webhook) = manifest.webhook.as_ref().filter(|_| receives) {
            take_webhook_fields(&mut fields, &mut config, &mut secrets)?;
            take_settings(webhook, &mut fields, &mut config, &mut secrets)?;
        }
        match &manifest.auth {
            Some(auth) if auth.has_fields() => {
                // A connection that only receives needs none of the fields that acting does.
                if !fields.is_empty() || !for_webhooks {
                    let mut whole = Value::Object(std::mem::take(&mut fields));
                    defaults::apply(&auth.fields, &mut whole);
                    if let Value::Object(members) = whole {
                        fields = members;
                    }
                    integration.check_config(&Value::Object(fields.clone()))?;
                }
                for name in auth.secret_fields() {
                    if let Some(Value::String(text)) = fields.remove(name) {
                        secrets.insert(name.to_owned(), Secret::new(text));
                    }
                }
                for (name, part) in auth.parts() {
                    if let Some(text) = fields.get(name).and_then(Value::as_str) {
                        part::fits(name, part, text)?;
                    }
                }
                for name in auth.host_fields() {
                    if let Some(host) = fields.get(name).and_then(Value::as_str) {
                        let url = if host.contains("://") {
                            host.to_owned()
                        } else {
                            format!("https://{host}")
                        };
                        egress::check_public(&url, settings::allow_private_network(self.ports.host))?;
                    }
                }
                // The secret that deliveries are verified with, by the name that the hub looks for.
                let alias = manifest.webhook.as_ref().and_then(|w| w.secret_field.as_ref());
                if let Some(secret) = alias.and_then(|field| secrets.get(field).cloned()) {
                    secrets.insert("webhook_secret".to_owned(), secret);
                }
            }
            _ if !fields.is_empty() => {
                let name = fields.keys().next().cloned().unwrap_or_default();
                return Err(Error::invalid(
                    format!("/config/{name}"),
                    "is not a setting of this integration",
                ));
            }
            _ => {}
        }
        config.extend(fields);
        Ok((Value::Object(config), secrets))
    }
}

pub(super) fn is_webhook_field(manifest: &Manifest, name: &str) -> bool {
    WEBHOOK_FIELDS.iter().any(|(field, _)| *field == name)
        || manifest.webhook.as_ref().is_some_and(|w| w.settings.contains_key(name))
}

/// Settings that the hub itself read when the account was connected, taken out of those that a person can change.
pub(super) fn take_captured(integration: &Integration, fields: &mut Map<String, Value>) -> Result<Map<String, Value>> {
    let mut taken = Map::new();
    let auth = integration.manifest()?.auth.as_ref();
    let captured = auth
        .into_iter()
        .flat_map(|a| a.parts())
        .filter(|(_, part)| part.from.is_some());
    for name in captured.map(|(name, _)| name.as_str()).chain([REDIRECTED_TO]) {
        if let Some(value) = fields.remove(name) {
            taken.insert(name.to_owned(), value);
        }
    }
    Ok(taken)
}

fn take_webhook_fields(
    fields: &mut Map<String, Value>,
    config: &mut Map<String, Value>,
    secrets: &mut BTreeMap<String, Secret>,
) -> Result<()> {
    for (name, is_secret) in WEBHOOK_FIELDS {
        let at = format!("/config/{name}");
        match fields.remove(name) {
            None => {}
            Some(Value::String(text)) if is_secret && !text.is_empty() => {
                secrets.insert(name.to_owned(), Secret::new(text));
            }
            Some(_) if is_secret => return Err(Error::invalid(at, "must be a text that is not empty")),
            Some(value) if name == "webhook_url" => {
                let url = value
                    .as_str()
                    .ok_or_else(|| Error::invalid(at.as_str(), "must be a URL"))?;
                // Only ever compared and signed, never asked: it may hold what a request may not, such as a password.
                let absolute = url.starts_with("https://") || url.starts_with("http://");
                if !absolute || url.bytes().any(|b| b <= b' ' || b == 0x7f) {
                    return Err(Error::invalid(at, "must be an absolute http(s) URL"));
                }
                config.insert(name.to_owned(), value);
            }
            Some(value) if name == "variant" => {
                value
                    .as_str()
                    .ok_or_else(|| Error::invalid(at, "must name a variant of the manifest"))?;
                config.insert(name.to_owned(), value);
            }
            Some(value) => {
                let seconds = value.as_u64().filter(|s| u32::try_from(*s).is_ok());
                seconds.ok_or_else(|| Error::invalid(at, "must be a whole number of seconds"))?;
                config.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// The settings that the manifest's schemes and handshakes name.
fn take_settings(
    webhook: &Webhook,
    fields: &mut Map<String, Value>,
    config: &mut Map<String, Value>,
    secrets: &mut BTreeMap<String, Secret>,
) -> Result<()> {
    for (name, setting) in &webhook.settings {
        let at = format!("/config/{name}");
        match fields.remove(name) {
            None if setting.required => {
                return Err(Error::invalid(at, format!("is missing: {}", setting.description)));
            }
            None => {}
            Some(Value::String(text)) if setting.secret && !text.is_empty() => {
                secrets.insert(name.clone(), Secret::new(text));
            }
            Some(_) if setting.secret => return Err(Error::invalid(at, "must be a text that is not empty")),
            Some(value) => {
                config.insert(name.clone(), value);
            }
        }
    }
    Ok(())
}

//! Connections: made from checked settings, their secrets sealed before they are stored.

use super::Hub;
use crate::action::egress;
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::manifest::webhook::Webhook;
use crate::secret::Secret;
use crate::settings;
use crate::store::connection::{self, Connection};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Settings of every connection whose service sends webhooks, besides the service's own fields. True: a secret.
const WEBHOOK_FIELDS: [(&str, bool); 5] = [
    ("webhook_secret", true),
    ("webhook_secret_previous", true),
    ("webhook_url", false),
    ("webhook_tolerance_s", false),
    ("variant", false),
];

/// What a connection is made from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewConnection {
    /// The integration's name.
    pub integration: String,
    /// For people; the integration's name where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// The inside user or team that it belongs to.
    #[serde(default)]
    pub owner: Option<String>,
    /// The fields of the manifest's `auth`, and those of webhooks.
    #[serde(default)]
    pub config: Map<String, Value>,
}

impl Hub<'_> {
    /// Checks, seals and stores a connection.
    pub async fn connect(&self, new: NewConnection) -> Result<Connection> {
        let integration = self.integration(&new.integration).await?;
        let manifest = integration.manifest()?;
        let mut fields = new.config;
        let mut secrets = BTreeMap::new();
        let mut config = Map::new();
        if let Some(webhook) = &manifest.webhook {
            take_webhook_fields(&mut fields, &mut config, &mut secrets)?;
            take_settings(webhook, &mut fields, &mut config, &mut secrets)?;
        }
        match &manifest.auth {
            Some(auth) => {
                // A connection that only receives needs none of the fields that acting does.
                if !fields.is_empty() || secrets.is_empty() {
                    integration.check_config(&Value::Object(fields.clone()))?;
                }
                for name in auth.secret_fields() {
                    if let Some(Value::String(text)) = fields.remove(name) {
                        secrets.insert(name.to_owned(), Secret::new(text));
                    }
                }
                if let Some(base_url) = fields.get("base_url").and_then(Value::as_str) {
                    egress::check_public(base_url, settings::allow_private_network(self.ports.host))?;
                }
            }
            None if !fields.is_empty() => {
                let name = fields.keys().next().cloned().unwrap_or_default();
                return Err(Error::invalid(
                    format!("/config/{name}"),
                    "is not a setting of this integration",
                ));
            }
            None => {}
        }
        config.extend(fields);
        let connection = Connection::new(
            &self.ports,
            id::new(Kind::Connection, self.ports.host),
            &manifest.name,
            new.name.unwrap_or_else(|| manifest.name.clone()),
            new.owner,
            Value::Object(config),
            &secrets,
        )?;
        connection::insert(&self.ports, &connection).await?;
        Ok(connection)
    }
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
                egress::origin(url).map_err(|_| Error::invalid(at.as_str(), "must be an absolute http(s) URL"))?;
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

//! Connections: made from checked settings, their secrets sealed before they are stored.

use super::Hub;
use crate::action::egress;
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::manifest::webhook::Webhook;
use crate::registry::Integration;
use crate::secret::Secret;
use crate::settings;
use crate::store::connection::{self, Connection};
use crate::time::{HOUR, Timestamp};
use serde::Deserialize;
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

/// When a service handed over the connection's webhook secret; kept among the settings, made by the hub alone.
const LEARNED_AT: &str = "webhook_secret_learned_at";

/// Settings that are not secret, and those that are.
type Checked = (Value, BTreeMap<String, Secret>);

/// What is changed of a connection; what is not there stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionChange {
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// Settings to put in place of those of the same name; null takes one away.
    #[serde(default)]
    pub config: Map<String, Value>,
}

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
    pub async fn connect(&self, new: NewConnection, actor: &str) -> Result<Connection> {
        let integration = self.integration(&new.integration).await?;
        let (config, secrets) = self.checked(&integration, new.config)?;
        let manifest = integration.manifest()?;
        let connection = Connection::new(
            &self.ports,
            id::new(Kind::Connection, self.ports.host),
            &manifest.name,
            new.name.unwrap_or_else(|| manifest.name.clone()),
            new.owner,
            config,
            &secrets,
        )?;
        connection::insert(&self.ports, &connection, actor).await?;
        Ok(connection)
    }

    /// Changes a connection: `config` is merged into what there is (RFC 7396: null takes a field away), and checked as
    /// a whole. Deliveries may be checked with the former settings for up to a minute.
    pub async fn change(&self, id: &str, change: ConnectionChange, actor: &str) -> Result<Option<Connection>> {
        let Some(found) = connection::find(&self.ports, id).await? else {
            return Ok(None);
        };
        let integration = self.integration(&found.integration).await?;
        let mut fields = found.config.as_object().cloned().unwrap_or_default();
        // A secret that a person sets is not one that was learned, and is never shown.
        let learned_at = fields
            .remove(LEARNED_AT)
            .filter(|_| !change.config.contains_key("webhook_secret"));
        for (name, secret) in found.open(&self.ports)? {
            fields.insert(name, json!(secret.expose()));
        }
        for (name, value) in change.config {
            match value {
                Value::Null => fields.remove(&name),
                value => fields.insert(name, value),
            };
        }
        let (mut config, secrets) = self.checked(&integration, fields)?;
        if let (Value::Object(members), Some(at)) = (&mut config, learned_at) {
            members.insert(LEARNED_AT.to_owned(), at);
        }
        let name = change.name.unwrap_or_else(|| found.name.clone());
        connection::change(&self.ports, &found, name, config, &secrets, actor)
            .await
            .map(Some)
    }

    /// A webhook secret that the service handed over within the last hour: some services want their user to paste it
    /// back to them, and nobody but the hub has seen it.
    pub fn learned_secret(&self, connection: &Connection) -> Result<Option<Secret>> {
        let learned_at = connection.config.get(LEARNED_AT).and_then(Value::as_str);
        let recent = learned_at
            .and_then(Timestamp::parse_rfc3339)
            .is_some_and(|at| self.ports.host.now() < at + HOUR);
        if !recent {
            return Ok(None);
        }
        Ok(connection.open(&self.ports)?.remove("webhook_secret"))
    }

    /// Splits settings into those that are secret and those that are not, each checked.
    fn checked(&self, integration: &Integration, config: Map<String, Value>) -> Result<Checked> {
        let manifest = integration.manifest()?;
        let mut fields = config;
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
        Ok((Value::Object(config), secrets))
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

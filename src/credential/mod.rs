//! Whose account acts: the settings of a connection, or of the app itself, and the requests authorised with them.

pub mod jwt;
pub mod token;
pub mod vault;

use crate::error::{Error, Result};
use crate::http::Request;
use crate::manifest::Manifest;
use crate::manifest::auth::Auth;
use crate::ports::Host;
use crate::secret::Secret;
use crate::template::Scope;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What an action acts with.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Names the account in caches and logs: the connection's id or `app:{service}`.
    pub source: String,
    /// The fields that are not secret.
    pub config: Value,
    /// The fields that are.
    pub secrets: BTreeMap<String, Secret>,
    /// The installation, workspace or tenant that the event named.
    pub account: Option<String>,
    /// Where requests go, without a trailing slash.
    pub base_url: String,
}

impl Credential {
    /// From the stored fields of a connection.
    pub fn of_connection(
        manifest: &Manifest,
        id: &str,
        config: Value,
        secrets: BTreeMap<String, Secret>,
        account: Option<String>,
        host: &dyn Host,
    ) -> Result<Self> {
        Ok(Self {
            source: id.to_owned(),
            base_url: base_url(manifest, &config, host)?,
            config,
            secrets,
            account,
        })
    }

    /// From the Worker's own settings: what deliveries on the app-level route are answered with.
    pub fn of_app(manifest: &Manifest, account: Option<String>, host: &dyn Host) -> Result<Self> {
        let auth = auth(manifest)?;
        let secret_fields: Vec<&str> = auth.secret_fields().collect();
        let mut config = Map::new();
        let mut secrets = BTreeMap::new();
        for (field, env) in auth.env_fields() {
            let Some(value) = host.secret(&manifest.setting(env)) else {
                continue;
            };
            if secret_fields.contains(&field) {
                secrets.insert(field.to_owned(), value);
            } else {
                config.insert(field.to_owned(), json!(value.expose()));
            }
        }
        let required = auth.fields.get("required").and_then(Value::as_array);
        for field in required.into_iter().flatten().filter_map(Value::as_str) {
            if !config.contains_key(field) && !secrets.contains_key(field) {
                let env = auth
                    .env_fields()
                    .find(|(f, _)| *f == field)
                    .map_or(field, |(_, env)| env);
                return Err(Error::missing_setting(&manifest.setting(env)));
            }
        }
        let config = Value::Object(config);
        Ok(Self {
            source: format!("app:{}", manifest.name),
            base_url: base_url(manifest, &config, host)?,
            config,
            secrets,
            account,
        })
    }

    /// The names that templates of requests see. No secret is among them.
    pub fn scope(&self, more: &[(&str, &Value)]) -> Scope {
        let account = json!(self.account);
        let own = [("config", &self.config), ("account", &account)];
        Scope::new(own.into_iter().chain(more.iter().copied()))
    }

    /// Adds what the manifest says to a request.
    pub fn authorise(&self, auth: &Auth, token: Option<&Secret>, request: &mut Request) -> Result<()> {
        for (name, pattern) in &auth.apply.headers {
            let mut value = pattern.clone();
            if let Some(token) = token {
                value = value.replace("{token}", token.expose());
            }
            for (field, secret) in &self.secrets {
                value = value.replace(&format!("{{secret.{field}}}"), secret.expose());
            }
            if value.contains('{') {
                return Err(Error::ReauthRequired(format!(
                    "the connection lacks what the header `{name}` needs"
                )));
            }
            request.headers.set(name, &value);
        }
        Ok(())
    }
}

/// The manifest's `auth`, or a clear error.
pub fn auth(manifest: &Manifest) -> Result<&Auth> {
    manifest.auth.as_ref().ok_or_else(|| {
        Error::validation(format!(
            "the integration `{}` has no `auth`: it needs no connection",
            manifest.name
        ))
    })
}

fn base_url(manifest: &Manifest, config: &Value, host: &dyn Host) -> Result<String> {
    let own = config.get("base_url").and_then(Value::as_str).map(str::to_owned);
    own.or_else(|| host.var(&manifest.setting("API_BASE_URL")).filter(|v| !v.is_empty()))
        .or_else(|| manifest.base_url.clone())
        .map(|url| url.trim_end_matches('/').to_owned())
        .ok_or_else(|| Error::validation(format!("the integration `{}` has no base URL", manifest.name)))
}

//! Connections: made from checked settings, their secrets sealed before they are stored.

use super::Hub;
use super::fields::{is_webhook_field, take_captured};
use crate::credential::grant::Provider;
use crate::credential::{reference, refresh};
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::manifest::Manifest;
use crate::manifest::auth::Auth;
use crate::registry::Integration;
use crate::secret::Secret;
use crate::store::connection::{self, Connection, Method, Status};
use crate::store::token::{self, Sealed};
use crate::time::{HOUR, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where the provider sent the person's code; kept among the settings, made by the hub alone.
pub(super) const REDIRECTED_TO: &str = "connected_redirect_uri";

/// When a service handed over the connection's webhook secret; kept among the settings, made by the hub alone.
const LEARNED_AT: &str = "webhook_secret_learned_at";

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
    /// How it authorises, where the integration has several ways.
    #[serde(default)]
    pub auth: Option<Method>,
    /// The fields of the manifest's `auth`, and those of webhooks.
    #[serde(default)]
    pub config: Map<String, Value>,
}

impl Hub<'_> {
    /// Checks, seals and stores a connection. One that needs a person's consent waits for it; one that lives on tokens of
    /// the app's own gets its first here, so that wrong settings show at once.
    pub async fn connect(&self, new: NewConnection, actor: &str) -> Result<Connection> {
        let connection = self.prepare_connection(new, actor).await?;
        let mut statements = vec![
            connection::insert_statement(&connection),
            self.audit(
                actor,
                "connection.created",
                &connection,
                &json!({"integration": connection.integration}),
            ),
        ];
        if connection.method == Method::ClientCredentials {
            statements.push(token::store(&self.first_tokens(&connection).await?));
        }
        self.ports.sql.batch(statements).await?;
        let found = connection::find(&self.ports, &connection.id).await?;
        found.ok_or_else(|| Error::Internal("a connection is gone as soon as it was made".into()))
    }

    async fn first_tokens(&self, c: &Connection) -> Result<Sealed> {
        let integration = self.integration(&c.integration).await?;
        let secrets = c.open(&self.ports)?;
        let provider = Provider::of(integration.manifest()?, &c.config, &secrets)?;
        let grant = refresh::client_grant(&provider, c)?;
        let tokens = provider.ask(&self.ports, &grant).await;
        let tokens = tokens.map_err(|f| f.into_error(&c.integration))?;
        refresh::sealed(&self.ports, &provider, c, None, &tokens)
    }

    /// A connection that is checked and sealed, and not stored yet.
    pub(super) async fn prepare_connection(&self, new: NewConnection, _actor: &str) -> Result<Connection> {
        let integration = self.integration(&new.integration).await?;
        let method = method_of(&integration, &new)?;
        let (config, secrets) = match method {
            Method::Fields => self.checked(&integration, new.config)?,
            Method::OAuth2 | Method::ClientCredentials => self.checked_oauth(&integration, new.config)?,
        };
        let manifest = integration.manifest()?;
        self.check_home(manifest, method, &config, &secrets)?;
        self.check_references(manifest, new.owner.as_deref(), &secrets)?;
        let mut connection = Connection::new(
            &self.ports,
            id::new(Kind::Connection, self.ports.host),
            &manifest.name,
            new.name.unwrap_or_else(|| manifest.name.clone()),
            new.owner,
            config,
            &secrets,
        )?;
        connection.method = method;
        if method != Method::Fields {
            connection.status = Status::PendingAuthentication;
        }
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
        let made_by_hub = take_captured(&integration, &mut fields)?;
        let held = found.open(&self.ports)?;
        let anew: Vec<String> = change
            .config
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(n, _)| n.clone())
            .collect();
        for (name, secret) in &held {
            fields.insert(name.clone(), json!(secret.expose()));
        }
        for (name, value) in change.config {
            match value {
                Value::Null => fields.remove(&name),
                value => fields.insert(name, value),
            };
        }
        let (mut config, secrets) = match found.method {
            Method::Fields => self.checked(&integration, fields)?,
            Method::OAuth2 | Method::ClientCredentials => self.checked_oauth(&integration, fields)?,
        };
        if let Value::Object(members) = &mut config {
            members.extend(made_by_hub);
        }
        let manifest = integration.manifest()?;
        let kept = held.keys().filter(|name| !anew.contains(name));
        check_stays(manifest, &found, &config, kept)?;
        self.check_home(manifest, found.method, &config, &secrets)?;
        self.check_references(manifest, found.owner.as_deref(), &secrets)?;
        if let (Value::Object(members), Some(at)) = (&mut config, learned_at) {
            members.insert(LEARNED_AT.to_owned(), at);
        }
        let name = change.name.unwrap_or_else(|| found.name.clone());
        connection::change(&self.ports, &found, name, config, &secrets, actor)
            .await
            .map(Some)
    }

    fn check_home(
        &self,
        manifest: &Manifest,
        method: Method,
        config: &Value,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<()> {
        match method {
            Method::Fields => Ok(()),
            Method::OAuth2 | Method::ClientCredentials => {
                Provider::of(manifest, config, secrets)?.check_home(self.ports.host)
            }
        }
    }

    /// Checks secrets that are references. They are for connections that nobody owns: whoever may change where requests
    /// of a connection go could else read any of them.
    fn check_references(
        &self,
        manifest: &Manifest,
        owner: Option<&str>,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<()> {
        let auth = manifest.auth.as_ref();
        let own: Vec<&str> = auth.into_iter().flat_map(Auth::secret_fields).collect();
        for (name, secret) in secrets.iter().filter(|(_, secret)| reference::is(secret)) {
            let at = format!("/config/{name}");
            if owner.is_some() {
                return Err(Error::invalid(
                    at,
                    "is a reference, which a connection with an owner cannot hold",
                ));
            }
            if name != "client_secret" && !own.contains(&name.as_str()) {
                return Err(Error::invalid(
                    at,
                    "cannot be a reference: deliveries are verified with it",
                ));
            }
            reference::resolve(self.ports.host, secret).map_err(|e| Error::invalid(at, e.public_detail()))?;
        }
        Ok(())
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
}

/// Refuses to take what a connection holds to another server: a secret that may be used is not one that may be read. `kept`
/// are the secrets that were not given anew.
fn check_stays<'n>(
    manifest: &Manifest,
    found: &Connection,
    config: &Value,
    mut kept: impl Iterator<Item = &'n String>,
) -> Result<()> {
    let moved = |name: &&String| manifest.leads_by(name) && found.config.get(*name) != config.get(*name);
    let names = [&found.config, config].into_iter().filter_map(Value::as_object);
    let Some(name) = names.flat_map(Map::keys).find(moved) else {
        return Ok(());
    };
    let at = format!("/config/{name}");
    if found.tokens.is_some() {
        let message =
            "is fixed: the tokens of this account are for the server that it was connected at; make another connection";
        return Err(Error::invalid(at, message));
    }
    let webhook = manifest.webhook.as_ref();
    let is_sent = |secret: &&String| {
        !is_webhook_field(manifest, secret) && webhook.is_none_or(|w| !w.settings.contains_key(*secret))
    };
    match kept.find(is_sent) {
        Some(secret) => Err(Error::invalid(
            at,
            format!("is where `{secret}` is sent: give `{secret}` anew with it"),
        )),
        None => Ok(()),
    }
}

/// How a new connection authorises: as it says, or in the first way that the integration has.
fn method_of(integration: &Integration, new: &NewConnection) -> Result<Method> {
    let manifest = integration.manifest()?;
    let auth = manifest.auth.as_ref();
    let oauth2 = auth.and_then(|a| a.oauth2.as_ref());
    let no = |what: &str| Error::invalid("/auth", format!("the integration `{}` has no {what}", manifest.name));
    match new.auth {
        Some(Method::OAuth2) => match oauth2 {
            Some(spec) if spec.authorize_url.is_some() || spec.device_url.is_some() => Ok(Method::OAuth2),
            _ => Err(no("sign-in by OAuth")),
        },
        Some(Method::ClientCredentials) => match oauth2.and_then(|o| o.client_credentials.as_ref()) {
            Some(_) => Ok(Method::ClientCredentials),
            None => Err(no("client credentials")),
        },
        Some(Method::Fields) => Ok(Method::Fields),
        None => {
            // Settings come first, where there are any; an account of none of them can only be one to sign in to.
            let signs_in = oauth2.is_some_and(|spec| spec.authorize_url.is_some());
            let by_settings = auth.is_none_or(|a| match signs_in {
                true => a.has_field_among(new.config.keys()),
                false => a.has_fields(),
            });
            // One that only receives needs nobody's consent.
            let receives = !new.config.is_empty() && new.config.keys().all(|name| is_webhook_field(manifest, name));
            Ok(match oauth2 {
                Some(spec) if !by_settings && !receives => match spec.authorize_url.is_some() {
                    true => Method::OAuth2,
                    false => Method::ClientCredentials,
                },
                _ => Method::Fields,
            })
        }
    }
}

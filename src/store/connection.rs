//! The table `connection`: accounts at services, their secrets sealed.

use super::{account_link, audit, json_text, poll};
use crate::credential::vault::{KeyRing, Place};
use crate::error::{Error, Result};
use crate::ports::{Ports, Stmt, read_row};
use crate::secret::Secret;
use crate::time::{MINUTE, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Whether a connection can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Nobody has signed in for it yet.
    PendingAuthentication,
    /// It can.
    Connected,
    /// Its tokens ended: a person must sign in again.
    ReauthRequired,
}

impl Status {
    /// The name in the database and in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PendingAuthentication => "PENDING_AUTHENTICATION",
            Self::Connected => "CONNECTED",
            Self::ReauthRequired => "REAUTH_REQUIRED",
        }
    }
}

/// How a connection authorises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// With its settings: a key, a password, a private key.
    #[serde(rename = "fields")]
    Fields,
    /// With tokens that a person consented to.
    #[serde(rename = "oauth2")]
    OAuth2,
    /// With tokens of the app's own.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
}

impl Method {
    /// The name in the database and in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fields => "fields",
            Self::OAuth2 => "oauth2",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

/// An account at a service.
#[derive(Debug, Clone, Deserialize)]
pub struct Connection {
    /// `con_…`
    pub id: String,
    /// The integration's name.
    pub integration: String,
    /// For people.
    pub name: String,
    /// The inside user or team that it belongs to.
    pub owner: Option<String>,
    /// Whether it can be used.
    pub status: Status,
    /// The fields that are not secret.
    #[serde(deserialize_with = "json_text")]
    pub config: Value,
    /// The fields that are, sealed.
    secrets: String,
    version: i64,
    /// How it authorises.
    pub method: Method,
    /// Access and refresh token, sealed; see `store::token`.
    #[serde(default)]
    pub(crate) tokens: Option<String>,
    /// Counts the writes of the tokens.
    pub token_version: i64,
    /// When the access token ends; none if nobody knows.
    #[serde(default)]
    pub token_expires_at: Option<Timestamp>,
    /// When the tokens were given.
    #[serde(default)]
    pub token_given_at: Option<Timestamp>,
    /// When the refresh token ends if it is not used.
    #[serde(default)]
    pub refresh_ends_at: Option<Timestamp>,
    /// Granted scopes, separated by blanks.
    #[serde(default)]
    pub scopes: Option<String>,
    /// The user's id at the service.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The user's name there.
    #[serde(default)]
    pub user_name: Option<String>,
    /// When the person consented.
    #[serde(default)]
    pub connected_at: Option<Timestamp>,
    /// When a refresh was begun whose answer was never stored.
    #[serde(default)]
    pub lost_at: Option<Timestamp>,
    /// Refreshes that failed since the last that did not.
    pub refresh_failures: i64,
    /// When the next refresh makes sense.
    #[serde(default)]
    pub refresh_retry_at: Option<Timestamp>,
    /// `{code, detail, at}` of the last failure.
    #[serde(default, deserialize_with = "super::optional_json_text")]
    pub last_error: Option<Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Connection {
    /// A new connection with its secrets sealed.
    pub fn new(
        ports: &Ports<'_>,
        id: String,
        integration: &str,
        name: String,
        owner: Option<String>,
        config: Value,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Self> {
        let version = 1;
        let sealed = seal(ports, &id, integration, owner.as_deref(), version, secrets)?;
        let now = ports.host.now();
        Ok(Self {
            id,
            integration: integration.to_owned(),
            name,
            owner,
            status: Status::Connected,
            method: Method::Fields,
            tokens: None,
            token_version: 0,
            token_expires_at: None,
            token_given_at: None,
            refresh_ends_at: None,
            scopes: None,
            user_id: None,
            user_name: None,
            connected_at: None,
            lost_at: None,
            refresh_failures: 0,
            refresh_retry_at: None,
            last_error: None,
            config,
            secrets: sealed,
            version,
            created_at: now,
            updated_at: now,
        })
    }

    /// The secret fields.
    pub fn open(&self, ports: &Ports<'_>) -> Result<BTreeMap<String, Secret>> {
        let ring = KeyRing::from_settings(ports.host)?;
        let column = secrets_column(&self.integration, self.owner.as_deref());
        let opened = ring.open(&self.secrets, place(&self.id, &column, self.version));
        // Rows written before integration and owner were bound into the seal; their next change binds them.
        let text = opened.or_else(|_| ring.open(&self.secrets, place(&self.id, "secrets", self.version)))?;
        serde_json::from_str(text.expose())
            .map_err(|_| Error::Internal(format!("the secrets of {} are not JSON", self.id)))
    }
}

/// What the seal binds besides the row: a row that is given another integration or owner does not open.
pub fn secrets_column(integration: &str, owner: Option<&str>) -> String {
    format!("secrets|{integration}|{}", owner.unwrap_or_default())
}

fn seal(
    ports: &Ports<'_>,
    id: &str,
    integration: &str,
    owner: Option<&str>,
    version: i64,
    secrets: &BTreeMap<String, Secret>,
) -> Result<String> {
    let exposed: BTreeMap<&str, &str> = secrets.iter().map(|(k, v)| (k.as_str(), v.expose())).collect();
    let text = serde_json::to_string(&exposed).map(Secret::new);
    let text = text.map_err(|e| Error::Internal(format!("secrets do not serialise: {e}")))?;
    let column = secrets_column(integration, owner);
    KeyRing::from_settings(ports.host)?.seal(&text, place(id, &column, version), ports.host)
}

fn place<'a>(id: &'a str, column: &'a str, version: i64) -> Place<'a> {
    Place {
        table: "connection",
        id,
        column,
        version,
    }
}

/// The statement that stores a new connection.
pub fn insert_statement(c: &Connection) -> Stmt {
    let sql = "-- connection::insert
INSERT INTO connection (id, integration, name, owner, status, config, secrets, version, created_at, updated_at, method)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let params = [
        c.id.as_str().into(),
        c.integration.as_str().into(),
        c.name.as_str().into(),
        c.owner.as_deref().into(),
        c.status.as_str().into(),
        c.config.to_string().into(),
        c.secrets.as_str().into(),
        c.version.into(),
        c.created_at.into(),
        c.updated_at.into(),
        c.method.as_str().into(),
    ];
    Stmt::new(sql, params)
}

/// The audit entry of what the statement before it did to a connection.
fn record(ports: &Ports<'_>, c: &Connection, actor: &str, act: &str) -> Stmt {
    let detail = json!({"integration": c.integration, "name": c.name});
    let done = audit::Entry {
        actor,
        act,
        subject: &c.id,
        owner: c.owner.as_deref(),
        detail: &detail,
    };
    audit::append_if_changed(ports.host, done)
}

/// How long an isolate believes what it read of a connection, in milliseconds.
const WARM: i64 = MINUTE;

fn cache_key(id: &str) -> String {
    format!("connection|{id}")
}

/// Forgets what this isolate remembers of a connection.
pub fn forget_warm(ports: &Ports<'_>, id: &str) {
    ports.cache.remove(&cache_key(id));
}

/// One connection, from the isolate's memory for up to a minute: deliveries then cost no look-up. Its secrets stay
/// sealed there.
pub async fn find_warm(ports: &Ports<'_>, id: &str) -> Result<Option<Connection>> {
    let now = ports.host.now();
    if let Some(row) = ports.cache.get(&cache_key(id), now) {
        let row: Value = serde_json::from_str(row.expose()).unwrap_or_default();
        return read_row(row).map(Some);
    }
    let Some(row) = ports.sql.first::<Value>(find_statement(id)).await? else {
        return Ok(None);
    };
    ports
        .cache
        .put(&cache_key(id), Secret::new(row.to_string()), now + WARM);
    read_row(row).map(Some)
}

/// Adds the webhook secret that the service handed over to a connection that has none. One that came meanwhile stays.
pub async fn learn(ports: &Ports<'_>, c: &Connection, secret: Secret) -> Result<()> {
    let mut secrets = c.open(ports)?;
    secrets.insert("webhook_secret".to_owned(), secret);
    let version = c.version + 1;
    let sealed = seal(ports, &c.id, &c.integration, c.owner.as_deref(), version, &secrets)?;
    let sql = "-- connection::learn
UPDATE connection SET secrets = ?2, version = ?3, updated_at = ?4,
  config = json_set(config, '$.webhook_secret_learned_at', ?5)
WHERE id = ?1 AND version = ?3 - 1 RETURNING id";
    let now = ports.host.now();
    let params = [
        c.id.as_str().into(),
        sealed.into(),
        version.into(),
        now.into(),
        now.rfc3339().into(),
    ];
    ports.sql.first::<Value>(Stmt::new(sql, params)).await?;
    ports.cache.remove(&cache_key(&c.id));
    Ok(())
}

/// Stores changed settings, and notes who changed them, unless somebody else did so meanwhile.
pub async fn change(
    ports: &Ports<'_>,
    c: &Connection,
    name: String,
    config: Value,
    secrets: &BTreeMap<String, Secret>,
    actor: &str,
) -> Result<Connection> {
    let changed = Connection {
        name,
        config,
        secrets: seal(ports, &c.id, &c.integration, c.owner.as_deref(), c.version + 1, secrets)?,
        version: c.version + 1,
        updated_at: ports.host.now(),
        ..c.clone()
    };
    let sql = "-- connection::change
UPDATE connection SET name = ?2, config = ?3, secrets = ?4, version = ?5, updated_at = ?6
WHERE id = ?1 AND version = ?5 - 1 RETURNING id";
    let params = [
        changed.id.as_str().into(),
        changed.name.as_str().into(),
        changed.config.to_string().into(),
        changed.secrets.as_str().into(),
        changed.version.into(),
        changed.updated_at.into(),
    ];
    let done = record(ports, &changed, actor, "connection.changed");
    let stored = ports.sql.batch(vec![Stmt::new(sql, params), done]).await?;
    ports.cache.remove(&cache_key(&c.id));
    stored
        .first()
        .filter(|rows| !rows.is_empty())
        .map(|_| changed)
        .ok_or_else(|| Error::Conflict("the connection was changed at the same moment; read it and try again".into()))
}

fn find_statement(id: &str) -> Stmt {
    Stmt::new(
        "-- connection::find\nSELECT * FROM connection WHERE id = ?1",
        [id.into()],
    )
}

/// One connection.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Connection>> {
    ports.sql.first(find_statement(id)).await
}

/// Whether a connection other than `except` holds tokens of this user; of any, where the user is not known.
pub async fn holds_another(ports: &Ports<'_>, integration: &str, user_id: Option<&str>, except: &str) -> Result<bool> {
    let sql = "-- connection::holds_another
SELECT id FROM connection
WHERE integration = ?1 AND (?2 IS NULL OR user_id IS NULL OR user_id = ?2) AND id <> ?3 AND tokens IS NOT NULL LIMIT 1";
    let params = [integration.into(), user_id.into(), except.into()];
    Ok(ports.sql.first::<Value>(Stmt::new(sql, params)).await?.is_some())
}

/// A page, newest first; of one owner, or of all.
pub async fn list(ports: &Ports<'_>, owner: Option<&str>, before: Option<&str>, limit: i64) -> Result<Vec<Connection>> {
    let sql = "-- connection::list
SELECT * FROM connection WHERE (?1 IS NULL OR id < ?1) AND (?3 IS NULL OR owner = ?3) ORDER BY id DESC LIMIT ?2";
    let params = [before.into(), limit.into(), owner.into()];
    ports.sql.rows(Stmt::new(sql, params)).await
}

/// Forgets one with its secrets and the sign-ins under way for it, and notes who did it.
pub async fn delete(ports: &Ports<'_>, c: &Connection, actor: &str, detail: &Value) -> Result<()> {
    let sql = "-- connection::delete\nDELETE FROM connection WHERE id = ?1";
    ports.cache.remove(&cache_key(&c.id));
    let done = audit::Entry {
        actor,
        act: "connection.deleted",
        subject: &c.id,
        owner: c.owner.as_deref(),
        detail,
    };
    let sign_ins = "-- connection::delete_sign_ins\nDELETE FROM oauth_state WHERE connection_id = ?1";
    let invitations = "-- connection::delete_links\nDELETE FROM connect_link WHERE connection_id = ?1";
    let statements = vec![
        Stmt::new(sql, [c.id.as_str().into()]),
        Stmt::new(sign_ins, [c.id.as_str().into()]),
        Stmt::new(invitations, [c.id.as_str().into()]),
        account_link::forget_connection(&c.id),
        poll::forget_connection(&c.id),
        audit::append(ports.host, done),
    ];
    ports.sql.batch(statements).await?;
    Ok(())
}

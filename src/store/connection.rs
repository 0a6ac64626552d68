//! The table `connection`: accounts at services, their secrets sealed.

use super::{audit, json_text};
use crate::credential::vault::{KeyRing, Place};
use crate::error::{Error, Result};
use crate::ports::{Ports, Stmt, read_row};
use crate::secret::Secret;
use crate::time::{MINUTE, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
    /// `CONNECTED`
    pub status: String,
    /// The fields that are not secret.
    #[serde(deserialize_with = "json_text")]
    pub config: Value,
    /// The fields that are, sealed.
    secrets: String,
    version: i64,
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
        let sealed = seal(ports, &id, version, secrets)?;
        let now = ports.host.now();
        Ok(Self {
            id,
            integration: integration.to_owned(),
            name,
            owner,
            status: "CONNECTED".to_owned(),
            config,
            secrets: sealed,
            version,
            created_at: now,
            updated_at: now,
        })
    }

    /// The secret fields.
    pub fn open(&self, ports: &Ports<'_>) -> Result<BTreeMap<String, Secret>> {
        let text = KeyRing::from_settings(ports.host)?.open(&self.secrets, place(&self.id, self.version))?;
        serde_json::from_str(text.expose())
            .map_err(|_| Error::Internal(format!("the secrets of {} are not JSON", self.id)))
    }
}

fn seal(ports: &Ports<'_>, id: &str, version: i64, secrets: &BTreeMap<String, Secret>) -> Result<String> {
    let exposed: BTreeMap<&str, &str> = secrets.iter().map(|(k, v)| (k.as_str(), v.expose())).collect();
    let text = serde_json::to_string(&exposed).map(Secret::new);
    let text = text.map_err(|e| Error::Internal(format!("secrets do not serialise: {e}")))?;
    KeyRing::from_settings(ports.host)?.seal(&text, place(id, version), ports.host)
}

fn place(id: &str, version: i64) -> Place<'_> {
    Place {
        table: "connection",
        id,
        column: "secrets",
        version,
    }
}

/// Stores a new connection, and notes who made it.
pub async fn insert(ports: &Ports<'_>, c: &Connection, actor: &str) -> Result<()> {
    let sql = "-- connection::insert
INSERT INTO connection (id, integration, name, owner, status, config, secrets, version, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
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
    ];
    let done = record(ports, c, actor, "connection.created");
    ports.sql.batch(vec![Stmt::new(sql, params), done]).await?;
    Ok(())
}

/// The audit entry of what was done to a connection.
fn record(ports: &Ports<'_>, c: &Connection, actor: &str, act: &str) -> Stmt {
    let detail = json!({"integration": c.integration, "name": c.name});
    let done = audit::Entry {
        actor,
        act,
        subject: &c.id,
        owner: c.owner.as_deref(),
        detail: &detail,
    };
    audit::append(ports.host, done)
}

/// How long an isolate believes what it read of a connection, in milliseconds.
const WARM: i64 = MINUTE;

fn cache_key(id: &str) -> String {
    format!("connection|{id}")
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
    let sealed = seal(ports, &c.id, version, &secrets)?;
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
        secrets: seal(ports, &c.id, c.version + 1, secrets)?,
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

/// A page, newest first; of one owner, or of all.
pub async fn list(ports: &Ports<'_>, owner: Option<&str>, before: Option<&str>, limit: i64) -> Result<Vec<Connection>> {
    let sql = "-- connection::list
SELECT * FROM connection WHERE (?1 IS NULL OR id < ?1) AND (?3 IS NULL OR owner = ?3) ORDER BY id DESC LIMIT ?2";
    let params = [before.into(), limit.into(), owner.into()];
    ports.sql.rows(Stmt::new(sql, params)).await
}

/// Forgets one with its secrets, and notes who did it.
pub async fn delete(ports: &Ports<'_>, c: &Connection, actor: &str) -> Result<()> {
    let sql = "-- connection::delete\nDELETE FROM connection WHERE id = ?1";
    ports.cache.remove(&cache_key(&c.id));
    let done = record(ports, c, actor, "connection.deleted");
    let statements = vec![Stmt::new(sql, [c.id.as_str().into()]), done];
    ports.sql.batch(statements).await?;
    Ok(())
}

//! The table `connection`: accounts at services, their secrets sealed.

use super::json_text;
use crate::credential::vault::{KeyRing, Place};
use crate::error::{Error, Result};
use crate::ports::{Ports, Stmt};
use crate::secret::Secret;
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
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
        let exposed: BTreeMap<&str, &str> = secrets.iter().map(|(k, v)| (k.as_str(), v.expose())).collect();
        let text = serde_json::to_string(&exposed).map(Secret::new);
        let text = text.map_err(|e| Error::Internal(format!("secrets do not serialise: {e}")))?;
        let version = 1;
        let sealed = KeyRing::from_settings(ports.host)?.seal(&text, place(&id, version), ports.host)?;
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

fn place(id: &str, version: i64) -> Place<'_> {
    Place {
        table: "connection",
        id,
        column: "secrets",
        version,
    }
}

/// Stores a new connection.
pub async fn insert(ports: &Ports<'_>, c: &Connection) -> Result<()> {
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
    ports.sql.batch(vec![Stmt::new(sql, params)]).await?;
    Ok(())
}

/// One connection.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Connection>> {
    let sql = "-- connection::find\nSELECT * FROM connection WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

/// A page, newest first.
pub async fn list(ports: &Ports<'_>, before: Option<&str>, limit: i64) -> Result<Vec<Connection>> {
    let sql = "-- connection::list\nSELECT * FROM connection WHERE (?1 IS NULL OR id < ?1) ORDER BY id DESC LIMIT ?2";
    ports.sql.rows(Stmt::new(sql, [before.into(), limit.into()])).await
}

/// Forgets one with its secrets; whether it was there.
pub async fn delete(ports: &Ports<'_>, id: &str) -> Result<bool> {
    let sql = "-- connection::delete\nDELETE FROM connection WHERE id = ?1 RETURNING id";
    Ok(ports.sql.first::<Value>(Stmt::new(sql, [id.into()])).await?.is_some())
}

//! The table `api_key`: bearer tokens of the management API, by their hash.

use super::{audit, json_text};
use crate::error::Result;
use crate::ports::{Param, Ports, Stmt, read_row};
use crate::secret::{Secret, same};
use crate::time::{HOUR, MINUTE, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What a key is good for. The admin token is good for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Events, deliveries and destinations are read.
    #[serde(rename = "events:read")]
    EventsRead,
    /// Destinations are made and changed, deliveries repeated.
    #[serde(rename = "events:write")]
    EventsWrite,
    /// Connections and integrations are read.
    #[serde(rename = "connections:read")]
    ConnectionsRead,
    /// Connections are made and changed.
    #[serde(rename = "connections:write")]
    ConnectionsWrite,
    /// Actions and their runs.
    #[serde(rename = "actions:execute")]
    ActionsExecute,
    /// What runs code, names hosts for credentials or concerns everyone. Holds all the others.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// The name in keys and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventsRead => "events:read",
            Self::EventsWrite => "events:write",
            Self::ConnectionsRead => "connections:read",
            Self::ConnectionsWrite => "connections:write",
            Self::ActionsExecute => "actions:execute",
            Self::Admin => "admin",
        }
    }
}

/// A key, without its token.
#[derive(Debug, Clone, Deserialize)]
pub struct Key {
    /// `key_…`
    pub id: String,
    /// For people.
    pub name: String,
    /// What it is good for.
    #[serde(deserialize_with = "json_text")]
    pub scopes: Vec<Scope>,
    /// Whose rows it sees and makes; none means everyone's.
    pub owner: Option<String>,
    hash: String,
    previous_hash: Option<String>,
    /// Until when the token before the last roll is good.
    pub previous_until: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Key {
    /// A new key for this token.
    pub fn new(id: String, name: String, scopes: Vec<Scope>, token: &Secret, now: Timestamp) -> Self {
        Self {
            id,
            name,
            scopes,
            owner: None,
            hash: hash(token),
            previous_hash: None,
            previous_until: None,
            expires_at: None,
            last_used_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// Whether this is its token, or the one before while that is still good.
    pub fn is_token(&self, token: &Secret, now: Timestamp) -> bool {
        let given = hash(token);
        let is = |hash: &str| same(hash.as_bytes(), given.as_bytes());
        let current = is(&self.hash);
        let previous = self.previous_hash.as_deref().is_some_and(is);
        current || (previous && self.previous_until.is_some_and(|until| now < until))
    }

    /// Whether its time is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether it is good for what this scope is for.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Gives it a new token; the one it has stays good until `until`.
    pub fn roll(&mut self, token: &Secret, until: Timestamp) {
        self.previous_hash = Some(std::mem::replace(&mut self.hash, hash(token)));
        self.previous_until = Some(until);
    }
}

fn hash(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose()))
}

const INSERT: &str = "-- api_key::insert
INSERT INTO api_key (id, name, scopes, owner, hash, expires_at, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Stores a new key, and notes who made it.
pub async fn insert(ports: &Ports<'_>, key: &Key, actor: &str) -> Result<()> {
    let params: [Param; 8] = [
        key.id.as_str().into(),
        key.name.as_str().into(),
        json!(key.scopes).to_string().into(),
        key.owner.as_deref().into(),
        key.hash.as_str().into(),
        key.expires_at.into(),
        key.created_at.into(),
        key.updated_at.into(),
    ];
    done(
        ports,
        key,
        actor,
        "key.created",
        &detail(key),
        Stmt::new(INSERT, params),
    )
    .await?;
    Ok(())
}

const CHANGE: &str = "-- api_key::change
UPDATE api_key SET name = ?2, scopes = ?3, hash = ?4, previous_hash = ?5, previous_until = ?6, expires_at = ?7,
  updated_at = ?8
WHERE id = ?1 AND updated_at = ?9 RETURNING id";

/// Stores a changed key, and notes who did it; `act` is the audit log's word for it. False, and nothing is stored, if it
/// is no longer as it was `before`, by its `updated_at`: somebody changed or deleted it meanwhile.
pub async fn change(ports: &Ports<'_>, key: &Key, before: Timestamp, actor: &str, act: &str) -> Result<bool> {
    let params: [Param; 9] = [
        key.id.as_str().into(),
        key.name.as_str().into(),
        json!(key.scopes).to_string().into(),
        key.hash.as_str().into(),
        key.previous_hash.as_deref().into(),
        key.previous_until.into(),
        key.expires_at.into(),
        key.updated_at.into(),
        before.into(),
    ];
    done(ports, key, actor, act, &detail(key), Stmt::new(CHANGE, params)).await
}

fn detail(key: &Key) -> Value {
    json!({"name": key.name, "scopes": key.scopes, "expires_at": key.expires_at.map(Timestamp::rfc3339)})
}

/// Forgets a key, and notes who did it.
pub async fn delete(ports: &Ports<'_>, key: &Key, actor: &str) -> Result<()> {
    let sql = "-- api_key::delete\nDELETE FROM api_key WHERE id = ?1";
    let detail = json!({"name": key.name});
    let statement = Stmt::new(sql, [key.id.as_str().into()]);
    done(ports, key, actor, "key.deleted", &detail, statement).await?;
    Ok(())
}

/// Runs the statement and notes it, if it changed something; whether it gave a row.
async fn done(ports: &Ports<'_>, key: &Key, actor: &str, act: &str, detail: &Value, statement: Stmt) -> Result<bool> {
    let entry = audit::Entry {
        actor,
        act,
        subject: &key.id,
        owner: key.owner.as_deref(),
        detail,
    };
    let noted = audit::append_if_changed(ports.host, entry);
    let results = ports.sql.batch(vec![statement, noted]).await?;
    ports.cache.remove(&cache_key(&key.id));
    Ok(results.first().is_some_and(|rows| !rows.is_empty()))
}

/// How long an isolate believes what it read of a key, in milliseconds: as long may one that was deleted, rolled or
/// narrowed elsewhere still work there.
const WARM: i64 = MINUTE;

fn cache_key(id: &str) -> String {
    format!("api_key|{id}")
}

/// One key, from the isolate's memory for up to a minute.
pub async fn find_warm(ports: &Ports<'_>, id: &str) -> Result<Option<Key>> {
    let now = ports.host.now();
    if let Some(row) = ports.cache.get(&cache_key(id), now) {
        let row: Value = serde_json::from_str(row.expose()).unwrap_or_default();
        return read_row(row).map(Some);
    }
    let Some(row) = ports.sql.first::<Value>(find_statement(id)).await? else {
        return Ok(None);
    };
    let text = Secret::new(row.to_string());
    ports.cache.put(&cache_key(id), text, now + WARM);
    read_row(row).map(Some)
}

fn find_statement(id: &str) -> Stmt {
    Stmt::new("-- api_key::find\nSELECT * FROM api_key WHERE id = ?1", [id.into()])
}

/// One key.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Key>> {
    ports.sql.first(find_statement(id)).await
}

/// Writes down that the key is in use, unless that was done within the hour. A failure is no reason to turn the caller
/// away.
pub async fn used(ports: &Ports<'_>, key: &Key) {
    let now = ports.host.now();
    if key.last_used_at.is_some_and(|at| now < at + HOUR) {
        return;
    }
    let sql = "-- api_key::used
UPDATE api_key SET last_used_at = ?2 WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at <= ?3)";
    let params = [key.id.as_str().into(), now.into(), Timestamp(now.0 - HOUR).into()];
    if ports.sql.batch(vec![Stmt::new(sql, params)]).await.is_ok() {
        ports.cache.remove(&cache_key(&key.id));
    }
}

/// A page, newest first.
pub async fn list(ports: &Ports<'_>, before: Option<&str>, limit: i64) -> Result<Vec<Key>> {
    let sql = "-- api_key::list\nSELECT * FROM api_key WHERE (?1 IS NULL OR id < ?1) ORDER BY id DESC LIMIT ?2";
    ports.sql.rows(Stmt::new(sql, [before.into(), limit.into()])).await
}

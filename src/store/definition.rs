//! The table `definition`: integrations that are posted at run time.

use super::audit;
use crate::error::Result;
use crate::ports::{Ports, Stmt};
use crate::secret::Secret;
use crate::time::{MINUTE, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How long an isolate believes what it read, in milliseconds.
const WARM: i64 = MINUTE;

/// An integration described by its user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Definition {
    /// `int_def_…`
    pub id: String,
    /// As in its manifest.
    pub name: String,
    /// The manifest, JSON.
    pub text: String,
    /// When it was posted.
    pub created_at: Timestamp,
}

/// Stores a new definition. A name that is taken is a unique violation.
pub async fn insert(ports: &Ports<'_>, d: &Definition, actor: &str) -> Result<bool> {
    let sql = "-- definition::insert
INSERT INTO definition (id, name, text, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING RETURNING id";
    let params = [
        d.id.as_str().into(),
        d.name.as_str().into(),
        d.text.as_str().into(),
        d.created_at.into(),
    ];
    let done = record(ports, &d.id, &d.name, actor, "definition.created");
    let stored = ports.sql.batch(vec![Stmt::new(sql, params), done]).await?;
    Ok(stored.first().is_some_and(|rows| !rows.is_empty()))
}

/// The audit entry of what was done to a definition, or tried: the name may have been taken.
fn record(ports: &Ports<'_>, id: &str, name: &str, actor: &str, act: &str) -> Stmt {
    let detail = json!({"name": name});
    let done = audit::Entry {
        actor,
        act,
        subject: id,
        owner: None,
        detail: &detail,
    };
    audit::append(ports.host, done)
}

/// The definition of this name or id.
pub async fn find(ports: &Ports<'_>, name: &str) -> Result<Option<Definition>> {
    let sql = "-- definition::find\nSELECT * FROM definition WHERE name = ?1 OR id = ?1";
    ports.sql.first(Stmt::new(sql, [name.into()])).await
}

/// The same, from the isolate's memory for up to a minute.
pub async fn find_warm(ports: &Ports<'_>, name: &str) -> Result<Option<Definition>> {
    let key = format!("definition|{name}");
    let now = ports.host.now();
    if let Some(text) = ports.cache.get(&key, now) {
        return Ok(serde_json::from_str(text.expose()).ok());
    }
    let found = find(ports, name).await?;
    if let Some(text) = found.as_ref().and_then(|d| serde_json::to_string(d).ok()) {
        ports.cache.put(&key, Secret::new(text), now + WARM);
    }
    Ok(found)
}

/// A page, newest first.
pub async fn list(ports: &Ports<'_>, before: Option<&str>, limit: i64) -> Result<Vec<Definition>> {
    let sql = "-- definition::list\nSELECT * FROM definition WHERE (?1 IS NULL OR id < ?1) ORDER BY id DESC LIMIT ?2";
    ports.sql.rows(Stmt::new(sql, [before.into(), limit.into()])).await
}

/// Removes one, and notes who did it; whether it was there.
pub async fn delete(ports: &Ports<'_>, id: &str, actor: &str) -> Result<bool> {
    let sql = "-- definition::delete\nDELETE FROM definition WHERE id = ?1 RETURNING name";
    let Some(known) = find(ports, id).await? else {
        return Ok(false);
    };
    let done = record(ports, id, &known.name, actor, "definition.deleted");
    let found = ports.sql.batch(vec![Stmt::new(sql, [id.into()]), done]).await?;
    let row = found.into_iter().next().and_then(|rows| rows.into_iter().next());
    let name = row.as_ref().and_then(|r| r.get("name")).and_then(Value::as_str);
    for key in [Some(id), name].into_iter().flatten() {
        ports.cache.remove(&format!("definition|{key}"));
    }
    Ok(row.is_some())
}

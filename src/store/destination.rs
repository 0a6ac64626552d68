//! The table `destination`.

use super::{json_text, truth};
use crate::error::Result;
use crate::ports::{Param, Ports, Stmt};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a destination is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Gets the events that match.
    Subscriber,
    /// Gets the conversations that matching events open, and answers them.
    Agent,
}

/// A program of the user's that receives events.
#[derive(Debug, Clone, Deserialize)]
pub struct Destination {
    /// `dst_…`
    pub id: String,
    /// For people.
    pub name: String,
    /// Where messages are posted.
    pub url: String,
    /// Globs on the event's type.
    #[serde(deserialize_with = "json_text")]
    pub event_types: Vec<String>,
    /// What it is for.
    pub role: Role,
    /// Actions that an agent may ask for.
    #[serde(deserialize_with = "json_text")]
    pub allowed_actions: Vec<String>,
    /// Gets only this owner's events.
    pub owner: Option<String>,
    /// Whether it gets anything.
    #[serde(deserialize_with = "truth")]
    pub enabled: bool,
    /// Why the hub switched it off.
    pub disabled_reason: Option<String>,
    /// The signing secret, sealed.
    pub secret: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Destination {
    /// Whether it wants events of this type and owner.
    pub fn wants(&self, kind: &str, owner: Option<&str>) -> bool {
        let owned = self.owner.is_none() || self.owner.as_deref() == owner;
        self.enabled && owned && self.event_types.iter().any(|glob| glob_matches(glob, kind))
    }
}

/// Whether `text` fits `glob`, in which `*` stands for any characters.
fn glob_matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let middle: Vec<&str> = parts.collect();
    let Some((last, middle)) = middle.split_last() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The statement that reads every enabled destination. They are few; which of them fit is decided in code.
pub fn enabled() -> Stmt {
    Stmt::new(
        "-- destination::enabled\nSELECT * FROM destination WHERE enabled = 1 ORDER BY id",
        [],
    )
}

/// One destination.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Destination>> {
    let sql = "-- destination::find\nSELECT * FROM destination WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

/// A page, newest first; of one owner, or of all.
pub async fn list(
    ports: &Ports<'_>,
    owner: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Destination>> {
    let sql = "-- destination::list
SELECT * FROM destination WHERE (?1 IS NULL OR id < ?1) AND (?3 IS NULL OR owner = ?3) ORDER BY id DESC LIMIT ?2";
    let params = [before.into(), limit.into(), owner.into()];
    ports.sql.rows(Stmt::new(sql, params)).await
}

const SAVE: &str = "-- destination::save
INSERT INTO destination (id, name, url, event_types, role, allowed_actions, owner, enabled, disabled_reason, secret,
  created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT (id) DO UPDATE SET name = ?2, url = ?3, event_types = ?4, role = ?5, allowed_actions = ?6, owner = ?7,
  enabled = ?8, disabled_reason = ?9, updated_at = ?12";

/// Stores a new or changed destination; its secret stays as it was first stored.
pub async fn save(ports: &Ports<'_>, d: &Destination) -> Result<()> {
    let role = match d.role {
        Role::Subscriber => "subscriber",
        Role::Agent => "agent",
    };
    let params: [Param; 12] = [
        d.id.as_str().into(),
        d.name.as_str().into(),
        d.url.as_str().into(),
        json!(d.event_types).to_string().into(),
        role.into(),
        json!(d.allowed_actions).to_string().into(),
        d.owner.as_deref().into(),
        d.enabled.into(),
        d.disabled_reason.as_deref().into(),
        d.secret.as_str().into(),
        d.created_at.into(),
        d.updated_at.into(),
    ];
    ports.sql.batch(vec![Stmt::new(SAVE, params)]).await?;
    Ok(())
}

/// The statement that switches a destination off, and says why.
pub fn disable(id: &str, reason: &str, now: Timestamp) -> Stmt {
    let sql = "-- destination::disable
UPDATE destination SET enabled = 0, disabled_reason = ?2, updated_at = ?3 WHERE id = ?1";
    Stmt::new(sql, [id.into(), reason.into(), now.into()])
}

/// Removes one; whether it was there.
pub async fn delete(ports: &Ports<'_>, id: &str) -> Result<bool> {
    let sql = "-- destination::delete\nDELETE FROM destination WHERE id = ?1 RETURNING id";
    Ok(ports
        .sql
        .first::<serde_json::Value>(Stmt::new(sql, [id.into()]))
        .await?
        .is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_types() {
        let cases = [
            ("*", "a.b.c", true),
            ("a.*", "a.b.c", true),
            ("a.*", "ab.c", false),
            ("a.b.c", "a.b.c", true),
            ("a.b", "a.b.c", false),
            ("*.created", "x.issue.created", true),
            ("*.created", "x.issue.created.y", false),
            ("a.*.created", "a.b.created", true),
            ("a.*.created", "a.created", false),
            ("a**c", "abc", true),
            ("*a*a*", "aa", true),
            ("*a*a*", "a", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (glob, text, expected) in cases {
            assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
        }
    }
}

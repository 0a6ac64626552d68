//! The table `destination`.

use super::event::{Event, OWN_SERVICE};
use super::{json_text, truth};
use crate::error::Result;
use crate::ports::{Param, Ports, Stmt};
use crate::time::{DAY, HOUR, SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How often it is written down that a destination fails still, in milliseconds.
pub const NOTED: i64 = HOUR;

/// What a destination is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Gets the events that match.
    Subscriber,
    /// Gets the conversations that matching events open, and answers them.
    Agent,
}

impl Role {
    /// The name in the database and in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscriber => "subscriber",
            Self::Agent => "agent",
        }
    }
}

/// What a destination is, where it is not a program of the user's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// An action of a connection.
    Action {
        /// Whose credential acts.
        connection_id: String,
        /// The action's name in that connection's integration.
        action: String,
        /// Its inputs; each text in them may hold expressions over `event`, `body` and `headers`.
        #[serde(default)]
        inputs: Value,
    },
}

/// When a destination that fails is tried again, and when it is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Seconds between the tries, in order; none means the usual schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_s: Option<Vec<u32>>,
    /// Days of failing throughout after which it is switched off.
    #[serde(default = "five")]
    pub disable_after_days: u16,
}

fn five() -> u16 {
    5
}

/// What a destination may ask for besides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What it is, where it is no URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Only events that fit: see `delivery::filter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// What it gets in place of the payload: JSON with expressions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// An expression; events for which it gives the same text arrive in the order in which they were accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering: Option<String>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

impl Settings {
    /// The waits between tries in milliseconds, where they are not the usual ones.
    pub fn waits(&self) -> Option<Vec<i64>> {
        let waits = self.retry.as_ref()?.waits_s.as_ref()?;
        Some(waits.iter().map(|s| i64::from(*s) * SECOND).collect())
    }

    /// How long it may fail throughout before it is switched off, in milliseconds.
    pub fn patience(&self) -> i64 {
        i64::from(self.retry.as_ref().map_or_else(five, |r| r.disable_after_days)) * DAY
    }
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
    /// The signing secret, sealed; empty where nothing is posted.
    pub secret: String,
    /// What it asks for besides.
    #[serde(deserialize_with = "json_text")]
    pub settings: Settings,
    /// When the first of the tries failed since when none has succeeded.
    pub failing_since: Option<Timestamp>,
    /// When the last of them failed, to the hour; none: not known.
    pub failed_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Destination {
    /// Whether it wants events of this type and owner. What the hub tells of a destination is for the others.
    pub fn wants(&self, event: &Event) -> bool {
        let owned = self.owner.is_none() || self.owner == event.owner;
        let of_itself = event.service == OWN_SERVICE && event.subject.as_ref() == Some(&self.id);
        let kind = &event.r#type;
        self.enabled && owned && !of_itself && self.event_types.iter().any(|glob| glob_matches(glob, kind))
    }
}

/// Whether `text` fits `glob`, in which `*` stands for any characters.
pub fn glob_matches(glob: &str, text: &str) -> bool {
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

const INSERT: &str = "-- destination::insert
INSERT INTO destination (id, name, url, event_types, role, allowed_actions, owner, enabled, disabled_reason, secret,
  created_at, updated_at, settings)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// Stores a new destination, with `done`, the audit entry of that.
pub async fn insert(ports: &Ports<'_>, d: &Destination, done: Stmt) -> Result<()> {
    let params: [Param; 13] = [
        d.id.as_str().into(),
        d.name.as_str().into(),
        d.url.as_str().into(),
        json!(d.event_types).to_string().into(),
        d.role.as_str().into(),
        json!(d.allowed_actions).to_string().into(),
        d.owner.as_deref().into(),
        d.enabled.into(),
        d.disabled_reason.as_deref().into(),
        d.secret.as_str().into(),
        d.created_at.into(),
        d.updated_at.into(),
        json!(d.settings).to_string().into(),
    ];
    ports.sql.batch(vec![Stmt::new(INSERT, params), done]).await?;
    Ok(())
}

// Tries write `failing_since` and `failed_at` at any time: a change leaves them alone, unless all begins anew.
const CHANGE: &str = "-- destination::change
UPDATE destination SET name = ?2, url = ?3, event_types = ?4, role = ?5, allowed_actions = ?6, enabled = ?7,
  disabled_reason = ?8, secret = ?9, updated_at = ?10, settings = ?11,
  failing_since = CASE WHEN ?12 THEN NULL ELSE failing_since END, failed_at = CASE WHEN ?12 THEN NULL ELSE failed_at END
WHERE id = ?1 AND updated_at = ?13 RETURNING id";

/// Stores a changed destination, with `done`, the audit entry of that; `anew` forgets that it failed. False, and nothing
/// is stored, if it is no longer as it was `before`, by its `updated_at`: somebody changed or removed it meanwhile.
pub async fn change(ports: &Ports<'_>, d: &Destination, before: Timestamp, anew: bool, done: Stmt) -> Result<bool> {
    let params: [Param; 13] = [
        d.id.as_str().into(),
        d.name.as_str().into(),
        d.url.as_str().into(),
        json!(d.event_types).to_string().into(),
        d.role.as_str().into(),
        json!(d.allowed_actions).to_string().into(),
        d.enabled.into(),
        d.disabled_reason.as_deref().into(),
        d.secret.as_str().into(),
        d.updated_at.into(),
        json!(d.settings).to_string().into(),
        anew.into(),
        before.into(),
    ];
    let changed = ports.sql.batch(vec![Stmt::new(CHANGE, params), done]).await?;
    Ok(changed.first().is_some_and(|rows| !rows.is_empty()))
}

/// The statement that notes that a destination failed at `now`, and throughout since `since`; none where that stands
/// there already. It changes nothing if another try has noted something else meanwhile.
pub fn failed(d: &Destination, since: Timestamp, now: Timestamp) -> Option<Stmt> {
    if d.failing_since == Some(since) && d.failed_at.is_some_and(|at| now < at + NOTED) {
        return None;
    }
    let sql = "-- destination::failed
UPDATE destination SET failing_since = ?2, failed_at = ?3 WHERE id = ?1 AND failing_since IS ?4";
    let params = [d.id.as_str().into(), since.into(), now.into(), d.failing_since.into()];
    Some(Stmt::new(sql, params))
}

/// The statement that notes that a destination works again.
pub fn recovered(id: &str) -> Stmt {
    let sql = "-- destination::recovered
UPDATE destination SET failing_since = NULL, failed_at = NULL WHERE id = ?1 AND failing_since IS NOT NULL";
    Stmt::new(sql, [id.into()])
}

/// The statement that switches a destination off, and says why, unless somebody changed it since it was read: what an old
/// address answered says nothing of a new one.
pub fn disable(d: &Destination, reason: &str, now: Timestamp) -> Stmt {
    let sql = "-- destination::disable
UPDATE destination SET enabled = 0, disabled_reason = ?2, updated_at = max(?3, updated_at + 1)
WHERE id = ?1 AND enabled = 1 AND updated_at = ?4";
    Stmt::new(
        sql,
        [d.id.as_str().into(), reason.into(), now.into(), d.updated_at.into()],
    )
}

/// Removes one, with `done`, the audit entry of that.
pub async fn delete(ports: &Ports<'_>, id: &str, done: Stmt) -> Result<()> {
    let sql = "-- destination::delete\nDELETE FROM destination WHERE id = ?1";
    ports.sql.batch(vec![Stmt::new(sql, [id.into()]), done]).await?;
    Ok(())
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

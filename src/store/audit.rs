//! The table `audit`: who did what, and with whose credential.

use crate::id::{self, Kind};
use crate::ports::{Host, Stmt};
use serde_json::Value;

/// The actor of what the hub does by itself: cron, retries.
pub const HUB: &str = "hub";

/// One thing that was done.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Who: `admin`, a key's id, [`HUB`], or the destination whose agent asked.
    pub actor: &'a str,
    /// `{thing}.{what}`, e.g. `connection.created`.
    pub act: &'a str,
    /// The id of what it was done to.
    pub subject: &'a str,
    /// Its owner, if it has one.
    pub owner: Option<&'a str>,
    /// More, for a person. Never a token or a secret.
    pub detail: &'a Value,
}

/// The statement that appends an entry: it belongs into the batch of what it tells of.
pub fn append(host: &dyn Host, entry: Entry<'_>) -> Stmt {
    let sql = "-- audit::append
INSERT INTO audit (id, at, actor, act, subject, owner, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    Stmt::new(
        sql,
        [
            id::new(Kind::Audit, host).into(),
            host.now().into(),
            entry.actor.into(),
            entry.act.into(),
            entry.subject.into(),
            entry.owner.into(),
            entry.detail.to_string().into(),
        ],
    )
}

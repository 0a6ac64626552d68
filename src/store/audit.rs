//! The table `audit`: who did what, and with whose credential.

use super::json_text;
use crate::error::Result;
use crate::id::{self, Kind};
use crate::ports::{Host, Ports, Stmt};
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

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

/// As [`append`], if the statement before it in the batch changed a row: what did not happen is not told.
pub fn append_if_changed(host: &dyn Host, entry: Entry<'_>) -> Stmt {
    let sql = "-- audit::append_if_changed
INSERT INTO audit (id, at, actor, act, subject, owner, detail) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE changes() > 0";
    Stmt {
        sql,
        ..append(host, entry)
    }
}

/// A row of the log.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    /// `aud_…`
    pub id: String,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub act: String,
    /// What it was done to.
    pub subject: String,
    /// The owner of that.
    pub owner: Option<String>,
    /// More.
    #[serde(deserialize_with = "json_text")]
    pub detail: Value,
    /// The link of the chain; none: not sealed yet.
    pub seal: Option<String>,
}

impl Row {
    /// The seal of this row behind a row with the seal `previous`: SHA-256 in hex over that, a line feed and the row's
    /// members as a JSON list. The first row follows the empty text.
    pub fn seal_behind(&self, previous: &str) -> String {
        let members = json!([
            self.id,
            self.at,
            self.actor,
            self.act,
            self.subject,
            self.owner,
            self.detail
        ]);
        hex::encode(Sha256::digest(format!("{previous}\n{members}")))
    }
}

/// What a list is narrowed to; none means any.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each field is the column it is named after")]
pub struct Filter {
    pub actor: Option<String>,
    pub act: Option<String>,
    pub subject: Option<String>,
}

/// A page, newest first. It looks at 5,000 rows at most: the second part is where the next page goes on, if there is
/// more to look at.
pub async fn list(
    ports: &Ports<'_>,
    filter: &Filter,
    before: Option<&str>,
    limit: i64,
) -> Result<(Vec<Row>, Option<String>)> {
    const LIST: &str = "-- audit::list
SELECT * FROM (SELECT * FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT 5000)
WHERE (?2 IS NULL OR actor = ?2) AND (?3 IS NULL OR act = ?3) AND (?4 IS NULL OR subject = ?4)
ORDER BY id DESC LIMIT ?5";
    const END: &str = "-- audit::list_end
SELECT min(id) AS last, count(*) AS scanned FROM (SELECT id FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT 5000)";
    let before = before.unwrap_or("~");
    let params = [
        before.into(),
        filter.actor.as_deref().into(),
        filter.act.as_deref().into(),
        filter.subject.as_deref().into(),
        (limit + 1).into(),
    ];
    let statements = vec![Stmt::new(LIST, params), Stmt::new(END, [before.into()])];
    let mut results = ports.sql.batch(statements).await?.into_iter();
    let found = results.next().unwrap_or_default();
    let mut rows: Vec<Row> = found.into_iter().map(crate::ports::read_row).collect::<Result<_>>()?;
    let limit = usize::try_from(limit).unwrap_or(1);
    if rows.len() > limit {
        rows.truncate(limit);
        let next = rows.last().map(|row| row.id.clone());
        return Ok((rows, next));
    }
    let end = results
        .next()
        .and_then(|rows| rows.into_iter().next())
        .unwrap_or_default();
    let more = end.get("scanned").and_then(Value::as_i64).unwrap_or(0) >= 5_000;
    let last = end.get("last").and_then(Value::as_str).map(str::to_owned);
    Ok((rows, last.filter(|_| more)))
}

/// The statement that reads the newest sealed row: those that are not sealed are the last ones, and few.
pub fn head() -> Stmt {
    let sql = "-- audit::head\nSELECT * FROM audit WHERE seal IS NOT NULL ORDER BY id DESC LIMIT 1";
    Stmt::new(sql, [])
}

/// The statement that reads the seal of a row; no row if it is not there.
pub fn seal_of(id: &str) -> Stmt {
    Stmt::new(
        "-- audit::seal_of\nSELECT seal AS value FROM audit WHERE id = ?1",
        [id.into()],
    )
}

/// The statement that reads what the chain begins behind: the seal of the last row that was purged.
pub fn anchor() -> Stmt {
    Stmt::new(
        "-- audit::anchor\nSELECT value FROM meta WHERE key = 'audit_anchor'",
        [],
    )
}

/// The statement that reads rows in the order of the chain, behind `after` and before `until`.
pub fn behind(after: &str, until: &str, limit: i64) -> Stmt {
    let sql = "-- audit::behind\nSELECT * FROM audit WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3";
    Stmt::new(sql, [after.into(), until.into(), limit.into()])
}

/// The statement that seals rows, if the row `head` with its seal is still the newest sealed one (empty: none is).
pub fn seal(seals: &[(String, String)], head: Option<(&str, &str)>) -> Stmt {
    let sql = "-- audit::seal
UPDATE audit SET seal = link.value ->> 1 FROM json_each(?1) AS link
WHERE audit.id = link.value ->> 0 AND audit.seal IS NULL
  AND (?2 IS NULL OR EXISTS (SELECT 1 FROM audit AS head WHERE head.id = ?2 AND head.seal = ?3))
  AND NOT EXISTS (SELECT 1 FROM audit AS later WHERE later.id > coalesce(?2, '') AND later.seal IS NOT NULL)
RETURNING audit.id";
    Stmt::new(
        sql,
        [
            json!(seals).to_string().into(),
            head.map(|(id, _)| id).into(),
            head.map(|(_, seal)| seal).into(),
        ],
    )
}

/// The statements that forget, at most 500 at a time, the oldest sealed rows with ids before `before`, and keep the
/// seal that the rest begins behind.
pub fn purge(before: &str) -> [Stmt; 2] {
    let anchor = "-- audit::purge_anchor
INSERT INTO meta (key, value)
SELECT 'audit_anchor', seal FROM (SELECT id, seal FROM audit WHERE id < ?1 AND seal IS NOT NULL ORDER BY id LIMIT 500)
WHERE true ORDER BY id DESC LIMIT 1
ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    let rows = "-- audit::purge
DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ?1 AND seal IS NOT NULL ORDER BY id LIMIT 500)
RETURNING id";
    [Stmt::new(anchor, [before.into()]), Stmt::new(rows, [before.into()])]
}

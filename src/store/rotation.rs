//! Every sealed column, for whoever moves them to another key, and the table `key_rotation` that says how far that is.
//!
//! A new sealed column belongs into [`COLUMNS`]: what is not in this list stays under the old key, and is lost with it.

use super::connection;
use crate::credential::vault::{KeyRing, Place};
use crate::error::Result;
use crate::ports::{Host, Ports, Stmt};
use crate::time::Timestamp;
use serde::Deserialize;

/// One sealed column. `?1` of each statement is what texts under the current key begin with.
pub struct Column {
    /// The table, as the seal binds it.
    pub table: &'static str,
    /// The next rows that are under another key, after the id `?2`; at most `?3`.
    next: &'static str,
    /// Puts a re-wrapped text (`?2`) in place of the one that was read (`?3`).
    swap: &'static str,
    /// How many rows are sealed under the key `?1`.
    count: &'static str,
}

/// A row as [`Column::next`] reads it.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// Its primary key.
    pub id: String,
    /// The text.
    pub sealed: String,
    /// The places that it may be bound to, the usual one first: column and version.
    #[serde(rename = "bound")]
    column: String,
    version: i64,
    /// What older rows are bound to.
    #[serde(default)]
    older: Option<String>,
}

/// All of them.
pub static COLUMNS: [Column; 4] = [
    Column {
        table: "connection",
        next: "-- rotation::next_secrets
SELECT id, secrets AS sealed, 'secrets|' || integration || '|' || COALESCE(owner, '') AS bound, version, 'secrets' AS older
FROM connection WHERE substr(secrets, 1, length(?1)) <> ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        swap: "-- rotation::swap_secrets\nUPDATE connection SET secrets = ?2 WHERE id = ?1 AND secrets = ?3 RETURNING id",
        count: "-- rotation::count_secrets\nSELECT count(*) AS n FROM connection WHERE substr(secrets, 1, length(?1)) = ?1",
    },
    Column {
        table: "connection",
        next: "-- rotation::next_tokens
SELECT id, tokens AS sealed, 'tokens|' || integration || '|' || method || '|' || COALESCE(owner, '') AS bound,
  token_version AS version
FROM connection WHERE substr(tokens, 1, length(?1)) <> ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        swap: "-- rotation::swap_tokens\nUPDATE connection SET tokens = ?2 WHERE id = ?1 AND tokens = ?3 RETURNING id",
        count: "-- rotation::count_tokens\nSELECT count(*) AS n FROM connection WHERE substr(tokens, 1, length(?1)) = ?1",
    },
    Column {
        table: "destination",
        next: "-- rotation::next_destinations
SELECT id, secret AS sealed, 'secret' AS bound, 1 AS version
FROM destination WHERE substr(secret, 1, length(?1)) <> ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        swap: "-- rotation::swap_destination\nUPDATE destination SET secret = ?2 WHERE id = ?1 AND secret = ?3 RETURNING id",
        count: "-- rotation::count_destinations\nSELECT count(*) AS n FROM destination WHERE substr(secret, 1, length(?1)) = ?1",
    },
    Column {
        table: "rejection",
        next: "-- rotation::next_rejections
SELECT id, request AS sealed, 'request' AS bound, 1 AS version
FROM rejection WHERE substr(request, 1, length(?1)) <> ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        swap: "-- rotation::swap_rejection\nUPDATE rejection SET request = ?2 WHERE id = ?1 AND request = ?3 RETURNING id",
        count: "-- rotation::count_rejections\nSELECT count(*) AS n FROM rejection WHERE substr(request, 1, length(?1)) = ?1",
    },
];

impl Column {
    /// The next rows under another key than that of `mark`.
    pub async fn next(&self, ports: &Ports<'_>, mark: &str, after: &str, limit: i64) -> Result<Vec<Row>> {
        let params = [mark.into(), after.into(), limit.into()];
        ports.sql.rows(Stmt::new(self.next, params)).await
    }

    /// The statement that puts a row under the current key, unless somebody else wrote it meanwhile.
    pub fn moved(&self, ring: &KeyRing, row: &Row, host: &dyn Host) -> Result<Stmt> {
        let place = |column| Place {
            table: self.table,
            id: &row.id,
            column,
            version: row.version,
        };
        let usual = ring.rewrap(&row.sealed, place(&row.column), host);
        let text = match (&usual, &row.older) {
            (Err(_), Some(older)) => ring.rewrap(&row.sealed, place(older), host),
            _ => usual,
        }?;
        let params = [row.id.as_str().into(), text.into(), row.sealed.as_str().into()];
        Ok(Stmt::new(self.swap, params))
    }

    /// The statement that counts the rows under a key.
    pub fn count(&self, kid: &str) -> Stmt {
        Stmt::new(self.count, [mark(kid).into()])
    }
}

/// What texts sealed under a key begin with.
pub fn mark(kid: &str) -> String {
    format!("v1|{kid}|")
}

/// How far the re-wrapping is.
#[derive(Debug, Deserialize)]
pub struct Rotation {
    /// The key that everything is to be under.
    pub kid: String,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When nothing was left to do.
    pub done_at: Option<Timestamp>,
    /// Rows re-wrapped.
    pub moved: i64,
    /// Rows that did not open in the last round.
    pub failed: i64,
}

/// The statement that asks for the re-wrapping under this key.
pub fn begin(kid: &str, now: Timestamp) -> Stmt {
    let sql = "-- rotation::begin
INSERT INTO key_rotation (kid, started_at, moved, failed) VALUES (?1, ?2, 0, 0)
ON CONFLICT (kid) DO UPDATE SET started_at = excluded.started_at, done_at = NULL, failed = 0";
    Stmt::new(sql, [kid.into(), now.into()])
}

/// The statement that reads the rotation to this key, if it was asked for.
pub fn find(kid: &str) -> Stmt {
    Stmt::new(
        "-- rotation::find\nSELECT * FROM key_rotation WHERE kid = ?1",
        [kid.into()],
    )
}

/// The statement that reads the one that is not done, if any.
pub fn open() -> Stmt {
    Stmt::new(
        "-- rotation::open\nSELECT * FROM key_rotation WHERE done_at IS NULL",
        [],
    )
}

/// The statement that notes a round.
pub fn note(kid: &str, moved: i64, failed: i64, done_at: Option<Timestamp>) -> Stmt {
    let sql = "-- rotation::note
UPDATE key_rotation SET moved = moved + ?2, failed = ?3, done_at = ?4 WHERE kid = ?1";
    Stmt::new(sql, [kid.into(), moved.into(), failed.into(), done_at.into()])
}

/// Forgets what this isolate remembers of a row that was moved.
pub fn forget_warm(ports: &Ports<'_>, table: &str, id: &str) {
    if table == "connection" {
        connection::forget_warm(ports, id);
    }
}

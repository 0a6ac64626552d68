//! The table `idempotency`: what POSTs with an `Idempotency-Key` were answered.

use crate::error::Result;
use crate::ports::{Ports, Stmt, read_row};
use crate::time::{DAY, MINUTE, Timestamp};
use serde::Deserialize;

/// How long a reply is kept, in milliseconds.
const KEPT: i64 = DAY;

/// How long a request that has not ended holds its key, in milliseconds: longer than any lives.
const HELD: i64 = 5 * MINUTE;

/// A request that was there before.
#[derive(Debug, Deserialize)]
pub struct First {
    /// SHA-256 of its body, hex.
    pub body_hash: String,
    /// What it was answered, sealed; none while it runs.
    pub reply: Option<String>,
}

const CLAIM: &str = "-- idempotency::claim
INSERT INTO idempotency (id, body_hash, held_by, held_until, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (id) DO UPDATE SET body_hash = ?2, held_by = ?3, held_until = ?4, created_at = ?5, reply = NULL
WHERE created_at <= ?6 OR (reply IS NULL AND held_until <= ?5 AND body_hash = ?2)
RETURNING id";

const FIND: &str = "-- idempotency::find\nSELECT body_hash, reply FROM idempotency WHERE id = ?1";

/// Takes the key for `holder`; gives the request that had it before, if there is one whose time is not over.
pub async fn claim(ports: &Ports<'_>, id: &str, body_hash: &str, holder: &str) -> Result<Option<First>> {
    let now = ports.host.now();
    let params = [
        id.into(),
        body_hash.into(),
        holder.into(),
        (now + HELD).into(),
        now.into(),
        (now + -KEPT).into(),
    ];
    let statements = vec![Stmt::new(CLAIM, params), Stmt::new(FIND, [id.into()])];
    let mut found = ports.sql.batch(statements).await?.into_iter();
    let (claimed, rows) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
    match rows.into_iter().next() {
        Some(row) if claimed.is_empty() => read_row(row).map(Some),
        _ => Ok(None),
    }
}

/// Keeps the reply, if `holder` still has the key.
pub async fn keep(ports: &Ports<'_>, id: &str, holder: &str, reply: &str) -> Result<()> {
    let sql = "-- idempotency::keep\nUPDATE idempotency SET reply = ?3 WHERE id = ?1 AND held_by = ?2";
    let params = [id.into(), holder.into(), reply.into()];
    ports.sql.batch(vec![Stmt::new(sql, params)]).await?;
    Ok(())
}

/// Lets go of the key: the request came to nothing that is to be kept.
pub async fn release(ports: &Ports<'_>, id: &str, holder: &str) -> Result<()> {
    let sql = "-- idempotency::release\nDELETE FROM idempotency WHERE id = ?1 AND held_by = ?2";
    ports
        .sql
        .batch(vec![Stmt::new(sql, [id.into(), holder.into()])])
        .await?;
    Ok(())
}

/// The statement that forgets, at most 500 at a time, what is kept no longer.
pub fn purge(now: Timestamp) -> Stmt {
    let sql = "-- idempotency::purge
DELETE FROM idempotency WHERE id IN (SELECT id FROM idempotency WHERE created_at <= ?1 ORDER BY created_at LIMIT 500)
RETURNING id";
    Stmt::new(sql, [(now + -KEPT).into()])
}

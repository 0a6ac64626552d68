//! The table `rejection`: samples of what was refused at the edge.

use crate::error::Result;
use crate::ports::{Ports, Stmt};
use crate::time::Timestamp;
use serde::Deserialize;

/// A delivery that was refused.
#[derive(Debug, Clone, Deserialize)]
pub struct Rejection {
    /// `rej_…`
    pub id: String,
    /// The integration's name.
    pub service: String,
    /// The connection that it was for.
    pub connection_id: Option<String>,
    /// The failed check, by its stable name.
    pub cause: String,
    /// The failed check, for a person.
    pub detail: String,
    /// Bytes of the body; none if it was not read.
    pub size: Option<i64>,
    /// SHA-256 of the body, hex.
    pub body_hash: Option<String>,
    /// Trace id of the request.
    pub trace_id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The whole request, sealed, while it is kept.
    pub request: Option<String>,
    /// What it became when it was released.
    pub event_id: Option<String>,
}

/// Stores a sample.
pub async fn insert(ports: &Ports<'_>, r: &Rejection) -> Result<()> {
    let sql = "-- rejection::insert
INSERT INTO rejection (id, service, connection_id, cause, detail, size, body_hash, trace_id, received_at, request)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let params = [
        r.id.as_str().into(),
        r.service.as_str().into(),
        r.connection_id.as_deref().into(),
        r.cause.as_str().into(),
        r.detail.as_str().into(),
        r.size.into(),
        r.body_hash.as_deref().into(),
        r.trace_id.as_str().into(),
        r.received_at.into(),
        r.request.as_deref().into(),
    ];
    ports.sql.batch(vec![Stmt::new(sql, params)]).await?;
    Ok(())
}

/// One sample.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Rejection>> {
    let sql = "-- rejection::find\nSELECT * FROM rejection WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

/// Writes down what a released sample became, with `done`, the audit entry of that; its request is no longer needed.
pub async fn released(ports: &Ports<'_>, id: &str, event_id: Option<&str>, done: Stmt) -> Result<()> {
    let sql = "-- rejection::released\nUPDATE rejection SET event_id = ?2, request = NULL WHERE id = ?1";
    ports
        .sql
        .batch(vec![Stmt::new(sql, [id.into(), event_id.into()]), done])
        .await?;
    Ok(())
}

/// A page, newest first, narrowed to a service and a cause where given.
pub async fn list(
    ports: &Ports<'_>,
    service: Option<&str>,
    cause: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Rejection>> {
    let sql = "-- rejection::list
SELECT * FROM rejection WHERE (?1 IS NULL OR service = ?1) AND (?2 IS NULL OR cause = ?2) AND (?3 IS NULL OR id < ?3)
ORDER BY id DESC LIMIT ?4";
    ports
        .sql
        .rows(Stmt::new(
            sql,
            [service.into(), cause.into(), before.into(), limit.into()],
        ))
        .await
}

/// The statement that forgets, at most 100 at a time, samples with ids before `before`.
pub fn purge(before: &str) -> Stmt {
    let sql = "-- rejection::purge
DELETE FROM rejection WHERE id IN (SELECT id FROM rejection WHERE id < ?1 ORDER BY id LIMIT 100)";
    Stmt::new(sql, [before.into()])
}

/// The statement that forgets, at most 100 at a time, the requests of samples with ids between the two.
pub fn forget_requests(after: &str, before: &str) -> Stmt {
    let sql = "-- rejection::forget_requests
UPDATE rejection SET request = NULL
WHERE id IN (SELECT id FROM rejection WHERE id >= ?1 AND id < ?2 AND request IS NOT NULL ORDER BY id LIMIT 100)";
    Stmt::new(sql, [after.into(), before.into()])
}

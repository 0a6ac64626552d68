//! The table `replay`: replays of many events, worked off in batches.

use super::json_text;
use super::search::Filter;
use crate::error::Result;
use crate::ports::{Ports, Stmt};
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::json;

/// A replay of all events that fit a filter.
#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    /// `rpl_…`
    pub id: String,
    /// Which events.
    #[serde(deserialize_with = "json_text")]
    pub filter: Filter,
    /// Only this owner's events.
    pub owner: Option<String>,
    /// Who asked for it.
    pub actor: String,
    /// `running`, `done` or `cancelled`.
    pub state: String,
    /// Events with larger ids are still to be looked at …
    pub cursor: String,
    /// … and of these only those with smaller ids than this one.
    pub last: String,
    /// Events looked at so far.
    pub scanned: i64,
    /// Events made due again so far.
    pub replayed: i64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last went on.
    pub updated_at: Timestamp,
}

/// The statement that stores a new job.
pub fn insert(job: &Job) -> Stmt {
    let sql = "-- replay::insert
INSERT INTO replay (id, filter, owner, actor, state, cursor, last, scanned, replayed, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, 'running', ?5, ?6, 0, 0, ?7, ?7)";
    Stmt::new(
        sql,
        [
            job.id.as_str().into(),
            json!(job.filter).to_string().into(),
            job.owner.as_deref().into(),
            job.actor.as_str().into(),
            job.cursor.as_str().into(),
            job.last.as_str().into(),
            job.created_at.into(),
        ],
    )
}

/// One job.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Job>> {
    let sql = "-- replay::find\nSELECT * FROM replay WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

/// A page of jobs, newest first; of one owner's if named.
pub async fn list(ports: &Ports<'_>, owner: Option<&str>, before: Option<&str>, limit: i64) -> Result<Vec<Job>> {
    let sql = "-- replay::list
SELECT * FROM replay WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3";
    ports
        .sql
        .rows(Stmt::new(sql, [owner.into(), before.into(), limit.into()]))
        .await
}

/// The statement that moves a job on from `cursor` to `to`, or to its end. It changes nothing if another worker was
/// there first, or the job was cancelled.
pub fn advance(id: &str, cursor: &str, to: Option<&str>, scanned: i64, replayed: i64, now: Timestamp) -> Stmt {
    let sql = "-- replay::advance
UPDATE replay SET cursor = coalesce(?3, cursor), state = CASE WHEN ?3 IS NULL THEN 'done' ELSE state END,
  scanned = scanned + ?4, replayed = replayed + ?5, updated_at = ?6
WHERE id = ?1 AND state = 'running' AND cursor = ?2 RETURNING state";
    Stmt::new(
        sql,
        [
            id.into(),
            cursor.into(),
            to.into(),
            scanned.into(),
            replayed.into(),
            now.into(),
        ],
    )
}

/// The statement that ends a running job. What it made due before goes out.
pub fn cancel(id: &str, now: Timestamp) -> Stmt {
    let sql = "-- replay::cancel
UPDATE replay SET state = 'cancelled', updated_at = ?2 WHERE id = ?1 AND state = 'running' RETURNING id";
    Stmt::new(sql, [id.into(), now.into()])
}

/// Ids of running jobs that have not moved since `before`.
pub fn left_behind(before: Timestamp, limit: i64) -> Stmt {
    let sql = "-- replay::left_behind
SELECT id FROM replay WHERE state = 'running' AND updated_at < ?1 ORDER BY id LIMIT ?2";
    Stmt::new(sql, [before.into(), limit.into()])
}

/// The statement that forgets, at most 500 at a time, ended jobs with ids before `before`.
pub fn purge(before: &str) -> Stmt {
    let sql = "-- replay::purge
DELETE FROM replay WHERE id IN (SELECT id FROM replay WHERE id < ?1 AND state <> 'running' ORDER BY id LIMIT 500)
RETURNING id";
    Stmt::new(sql, [before.into()])
}

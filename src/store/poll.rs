//! The table `poll`: what is asked from time to time, and how far it has come.

use super::{json_text, optional_json_text};
use crate::error::Result;
use crate::poll::progress::Progress;
use crate::poll::schedule;
use crate::poll::seen::Seen;
use crate::ports::{Ports, Stmt};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A polling trigger: what it finds becomes events.
    Trigger,
    /// A subscription at the service, renewed before it ends.
    Subscription,
}

impl Kind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Subscription => "subscription",
        }
    }

    /// What it is called in the audit log.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Trigger => "poll",
            Self::Subscription => "subscription",
        }
    }
}

/// Where a poll stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs when it is due.
    Active,
    /// Somebody stopped it.
    Paused,
    /// It failed many times in a row, or for good.
    NeedsAttention,
}

impl State {
    /// The name in the database and in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::NeedsAttention => "needs_attention",
        }
    }
}

/// One poll.
#[derive(Debug, Clone, Deserialize)]
pub struct Poll {
    /// `poll_…` or `sub_…`
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// For people.
    pub name: String,
    /// The integration's name.
    pub integration: String,
    /// The trigger or subscription of its manifest.
    pub part: String,
    /// Whose credential asks.
    pub connection_id: Option<String>,
    /// The connection's owner.
    pub owner: Option<String>,
    /// What it asks for.
    #[serde(deserialize_with = "json_text")]
    pub inputs: Value,
    /// Milliseconds between two runs.
    #[serde(rename = "interval_ms")]
    pub interval: i64,
    /// Items of the first run that become events.
    pub backfill: i64,
    /// Where it stands.
    pub state: State,
    /// The next run.
    pub due_at: Option<Timestamp>,
    /// Until when somebody runs it.
    pub lease_until: Option<Timestamp>,
    /// Claims begun since the last that ended.
    pub deaths: i64,
    /// Failed runs in a row.
    pub failures: i64,
    /// When the first of them was.
    pub failing_since: Option<Timestamp>,
    /// When the last walk that saw everything began.
    pub last_poll_ts: Option<Timestamp>,
    /// When the last run ended.
    pub last_run_at: Option<Timestamp>,
    /// `{code, detail, at}` of the last run, if it had one.
    #[serde(deserialize_with = "optional_json_text")]
    pub last_error: Option<Value>,
    /// Items that became events.
    pub items_seen: i64,
    /// How far it has come.
    #[serde(deserialize_with = "json_text")]
    pub progress: Progress,
    /// Ids that are known.
    #[serde(deserialize_with = "json_text")]
    pub seen: Seen,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody last changed it.
    pub updated_at: Timestamp,
}

impl Poll {
    /// A row with nothing in it, made at `now`.
    pub fn blank(now: Timestamp) -> Self {
        Self {
            id: String::new(),
            kind: Kind::Trigger,
            name: String::new(),
            integration: String::new(),
            part: String::new(),
            connection_id: None,
            owner: None,
            inputs: Value::Null,
            interval: 0,
            backfill: 0,
            state: State::Active,
            due_at: None,
            lease_until: None,
            deaths: 0,
            failures: 0,
            failing_since: None,
            last_poll_ts: None,
            last_run_at: None,
            last_error: None,
            items_seen: 0,
            progress: Progress::default(),
            seen: Seen::default(),
            created_at: now,
            updated_at: now,
        }
    }
}

const INSERT: &str = "-- poll::insert
INSERT INTO poll (id, kind, name, integration, part, connection_id, owner, inputs, interval_ms, backfill, state, due_at,
  deaths, failures, items_seen, progress, seen, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, 0, 0, ?13, ?14, ?15, ?15)";

/// The statement that stores a new poll.
pub fn insert(poll: &Poll) -> Stmt {
    Stmt::new(
        INSERT,
        [
            poll.id.as_str().into(),
            poll.kind.as_str().into(),
            poll.name.as_str().into(),
            poll.integration.as_str().into(),
            poll.part.as_str().into(),
            poll.connection_id.as_deref().into(),
            poll.owner.as_deref().into(),
            poll.inputs.to_string().into(),
            poll.interval.into(),
            poll.backfill.into(),
            poll.state.as_str().into(),
            poll.due_at.into(),
            json!(poll.progress).to_string().into(),
            json!(poll.seen).to_string().into(),
            poll.created_at.into(),
        ],
    )
}

// The longer a row's worker has died over it, the longer its claim: the power of two is `schedule::claim`'s.
const LEASE_DUE: &str = "-- poll::lease_due
UPDATE poll SET lease_by = ?1, lease_until = ?2 + (?3 << min(deaths, 7)), deaths = deaths + 1
WHERE id IN (SELECT id FROM poll WHERE due_at <= ?2 AND (lease_until IS NULL OR lease_until < ?2)
  ORDER BY due_at LIMIT ?4)
RETURNING *";

/// Claims what is due and free for `holder`, the longest due first.
pub async fn lease_due(ports: &Ports<'_>, holder: &str, now: Timestamp, limit: usize) -> Result<Vec<Poll>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let params = [holder.into(), now.into(), schedule::claim(0).into(), limit.into()];
    ports.sql.rows(Stmt::new(LEASE_DUE, params)).await
}

const LEASE: &str = "-- poll::lease
UPDATE poll SET lease_by = ?1, lease_until = ?2 + (?3 << min(deaths, 7)), deaths = deaths + 1
WHERE id = ?4 AND (lease_until IS NULL OR lease_until < ?2) RETURNING *";

/// Claims one, due or not; none if somebody runs it.
pub async fn lease(ports: &Ports<'_>, id: &str, holder: &str, now: Timestamp) -> Result<Option<Poll>> {
    let params = [holder.into(), now.into(), schedule::claim(0).into(), id.into()];
    ports.sql.first(Stmt::new(LEASE, params)).await
}

const RELEASE: &str = "-- poll::release
UPDATE poll SET lease_by = NULL, lease_until = NULL, deaths = deaths - 1
WHERE id IN (SELECT value FROM json_each(?2)) AND lease_by = ?1";

/// The statement that gives up claims whose runs were not begun.
pub fn release(holder: &str, ids: &[&str]) -> Stmt {
    Stmt::new(RELEASE, [holder.into(), json!(ids).to_string().into()])
}

const FINISH: &str = "-- poll::finish
UPDATE poll SET state = ?3, due_at = ?4, failures = ?5, failing_since = ?6, last_poll_ts = ?7, last_run_at = ?8,
  last_error = ?9, items_seen = ?10, progress = ?11, seen = ?12, deaths = 0, lease_by = NULL, lease_until = NULL
WHERE id = ?1 AND lease_by = ?2 RETURNING id";

/// The statement that stores what a run came to and ends its claim, if `holder` still has it.
pub fn finish(poll: &Poll, holder: &str) -> Stmt {
    Stmt::new(
        FINISH,
        [
            poll.id.as_str().into(),
            holder.into(),
            poll.state.as_str().into(),
            poll.due_at.into(),
            poll.failures.into(),
            poll.failing_since.into(),
            poll.last_poll_ts.into(),
            poll.last_run_at.into(),
            poll.last_error.as_ref().map(Value::to_string).into(),
            poll.items_seen.into(),
            json!(poll.progress).to_string().into(),
            json!(poll.seen).to_string().into(),
        ],
    )
}

const CHANGE: &str = "-- poll::change
UPDATE poll SET name = ?2, interval_ms = ?3, state = CASE WHEN ?8 THEN ?4 ELSE state END,
  due_at = CASE WHEN ?8 THEN ?5 ELSE due_at END, updated_at = ?6, lease_by = NULL, lease_until = NULL, deaths = 0
WHERE id = ?1 AND updated_at = ?7 RETURNING *";

/// The statement that stores what a person changed of the poll that was read at `read`; no row where another change came
/// between. `timed`: its state and due time are among it; else they stay what a run made them meanwhile. A run that is on its
/// way loses its claim, and so stores nothing.
pub fn change(poll: &Poll, read: Timestamp, timed: bool) -> Stmt {
    Stmt::new(
        CHANGE,
        [
            poll.id.as_str().into(),
            poll.name.as_str().into(),
            poll.interval.into(),
            poll.state.as_str().into(),
            poll.due_at.into(),
            poll.updated_at.into(),
            read.into(),
            timed.into(),
        ],
    )
}

/// The statement that forgets one. A run that is on its way then stores nothing.
pub fn delete(id: &str) -> Stmt {
    Stmt::new("-- poll::delete\nDELETE FROM poll WHERE id = ?1", [id.into()])
}

/// The statement that forgets what asks with a connection. It reads the whole table, which is bounded by what people made.
pub fn forget_connection(id: &str) -> Stmt {
    let sql = "-- poll::forget_connection\nDELETE FROM poll WHERE connection_id = ?1";
    Stmt::new(sql, [id.into()])
}

/// One poll.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Poll>> {
    let sql = "-- poll::find\nSELECT * FROM poll WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

const LIST: &str = "-- poll::list
SELECT * FROM poll WHERE kind = ?1 AND (?2 IS NULL OR owner = ?2) AND (?3 IS NULL OR connection_id = ?3)
  AND (?4 IS NULL OR state = ?4) AND (?5 IS NULL OR id < ?5) ORDER BY id DESC LIMIT ?6";

/// What a list is narrowed to; none means any.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// One owner's.
    pub owner: Option<&'a str>,
    /// One connection's.
    pub connection_id: Option<&'a str>,
    /// Those that stand so.
    pub state: Option<&'a str>,
    /// Those before this id.
    pub before: Option<&'a str>,
}

/// A page, newest first.
pub async fn list(ports: &Ports<'_>, kind: Kind, filter: &Filter<'_>, limit: i64) -> Result<Vec<Poll>> {
    let params = [
        kind.as_str().into(),
        filter.owner.into(),
        filter.connection_id.into(),
        filter.state.into(),
        filter.before.into(),
        limit.into(),
    ];
    ports.sql.rows(Stmt::new(LIST, params)).await
}

/// A poll that should have run long ago.
#[derive(Debug, Clone, Deserialize)]
pub struct Overdue {
    /// Its id.
    pub id: String,
    /// Its owner.
    pub owner: Option<String>,
    /// For people.
    pub name: String,
    /// When it was due.
    pub due_at: Timestamp,
}

// Of the longest due alone, so that a hub that is far behind does not read its whole table each minute. `min` and `max`
// as in `schedule::overdue_after`, whose bounds come as parameters. What was told is not told again.
const OVERDUE: &str = "-- poll::overdue
SELECT id, owner, name, due_at
FROM (SELECT id, owner, name, due_at, interval_ms FROM poll WHERE due_at <= ?1 - ?2 ORDER BY due_at LIMIT ?5) AS late
WHERE due_at <= ?1 - min(max(2 * interval_ms, ?2), ?3)
  AND NOT EXISTS (SELECT 1 FROM event WHERE source = ?4 AND delivery_id = 'poll.overdue:' || late.id || ':' || late.due_at)";

/// The statement that finds a few polls that are overdue and of which that was not told yet. `told_by` is the source
/// of the hub's own events.
pub fn overdue(now: Timestamp, told_by: &str, limit: i64) -> Stmt {
    let (least, most) = (schedule::overdue_after(0), schedule::overdue_after(i64::MAX / 4));
    Stmt::new(
        OVERDUE,
        [now.into(), least.into(), most.into(), told_by.into(), limit.into()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_of_sql_is_that_of_the_schedule() {
        for deaths in 0..10 {
            assert_eq!(schedule::claim(0) << deaths.min(7), schedule::claim(deaths));
        }
    }
}

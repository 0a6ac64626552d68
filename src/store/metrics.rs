//! Numbers for `/metrics`: from partial indexes, and from bounded parts of what came last.

use crate::poll::schedule;
use crate::ports::Stmt;
use crate::time::Timestamp;

/// Most rows that one number is counted from.
pub const CAP: i64 = 1_000;

/// Bounds of the histogram, in milliseconds.
pub const BUCKETS: [i64; 7] = [100, 500, 1_000, 5_000, 60_000, 600_000, 3_600_000];

/// What waits: how many, up to a cap, and since when the oldest one is due. From the partial indexes.
pub fn waiting() -> [Stmt; 3] {
    let events = "-- metrics::events_waiting
SELECT count(*) AS waiting, min(due_at) AS since FROM (SELECT due_at FROM event WHERE state = 'pending' ORDER BY due_at
  LIMIT 1000)";
    let deliveries = "-- metrics::deliveries_waiting
SELECT count(*) AS waiting, min(due_at) AS since FROM (SELECT due_at FROM delivery WHERE state = 'pending'
  ORDER BY due_at LIMIT 1000)";
    let runs = "-- metrics::runs_waiting
SELECT count(*) AS waiting, min(due_at) AS since FROM (SELECT due_at FROM run WHERE status IN ('pending', 'running')
  ORDER BY due_at LIMIT 1000)";
    [events, deliveries, runs].map(|sql| Stmt::new(sql, []))
}

// `min` and `max` as in `schedule::overdue_after`, whose bounds come as parameters.
const POLLS: &str = "-- metrics::polls
SELECT count(*) AS waiting, min(due_at) AS since,
  coalesce(sum(due_at <= ?1 - min(max(2 * interval_ms, ?2), ?3)), 0) AS overdue
FROM (SELECT due_at, interval_ms FROM poll WHERE due_at <= ?1 ORDER BY due_at LIMIT ?4)";

/// Polls that are due, the longest due first and at most [`CAP`], and how many of them are overdue.
pub fn polls(now: Timestamp) -> Stmt {
    let (least, most) = (schedule::overdue_after(0), schedule::overdue_after(i64::MAX / 4));
    Stmt::new(POLLS, [now.into(), least.into(), most.into(), CAP.into()])
}

/// How many of the last events came by each service, of those with ids from `from` on and at most [`CAP`].
pub fn accepted(from: &str) -> Stmt {
    let sql = "-- metrics::accepted
SELECT service, count(*) AS events FROM (SELECT service FROM event WHERE id >= ?1 ORDER BY id DESC LIMIT ?2)
GROUP BY service ORDER BY service";
    Stmt::new(sql, [from.into(), CAP.into()])
}

/// How many of the last deliveries stand how, by the same bounds.
pub fn deliveries(from: &str) -> Stmt {
    let sql = "-- metrics::deliveries
SELECT state, count(*) AS deliveries FROM (SELECT state FROM delivery WHERE id >= ?1 ORDER BY id DESC LIMIT ?2)
GROUP BY state ORDER BY state";
    Stmt::new(sql, [from.into(), CAP.into()])
}

/// Milliseconds from acceptance to arrival of the last deliveries, by the same bounds.
pub fn latencies(from: &str) -> Stmt {
    let sql = "-- metrics::latencies
SELECT d.updated_at - event.received_at AS ms
FROM (SELECT event_id, updated_at, state, replay FROM delivery WHERE id >= ?1 ORDER BY id DESC LIMIT ?2) AS d
JOIN event ON event.id = d.event_id WHERE d.state = 'delivered' AND d.replay = 0";
    Stmt::new(sql, [from.into(), CAP.into()])
}

/// Destinations that are switched off by the hub, and those that fail.
pub fn destinations() -> Stmt {
    let sql = "-- metrics::destinations
SELECT coalesce(sum(failing_since IS NOT NULL AND enabled = 1), 0) AS failing,
  coalesce(sum(enabled = 0 AND disabled_reason IS NOT NULL), 0) AS disabled FROM destination";
    Stmt::new(sql, [])
}

/// What was spent of the day's allowance.
pub fn budget(now: Timestamp) -> Stmt {
    let sql = "-- metrics::budget\nSELECT rows, kv_writes FROM budget WHERE day = ?1";
    Stmt::new(sql, [now.0.div_euclid(crate::time::DAY).into()])
}

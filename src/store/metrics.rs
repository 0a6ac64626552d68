//! Numbers for `/metrics`: from partial indexes, and from bounded parts of what came last.

use crate::poll::schedule;
use crate::ports::{Param, Stmt};
use crate::time::{MINUTE, Timestamp};

/// Most rows that one number is counted from.
pub const CAP: i64 = 1_000;

/// Bounds of the histogram, in milliseconds.
pub const BUCKETS: [i64; 8] = [100, 500, 1_000, 5_000, 60_000, 600_000, 3_600_000, 86_400_000];

/// From how long after they were made deliveries are in the index `delivery_ended_late`, in milliseconds.
pub const LATE: i64 = MINUTE;

/// What waits, of each kind: how many, up to a cap, and since when the oldest one is due. From the partial indexes.
pub fn waiting() -> [Stmt; 3] {
    let events = "-- metrics::events_waiting
SELECT count(*) AS waiting, min(due_at) AS since FROM (SELECT due_at FROM event WHERE state = 'pending' ORDER BY due_at
  LIMIT 1000)";
    // Those that wait for their turn have no due time: they come first in the index, and must not hide the others.
    let deliveries = "-- metrics::deliveries_waiting
SELECT (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE state = 'pending' ORDER BY due_at LIMIT 1000)) AS waiting,
  (SELECT min(due_at) FROM delivery WHERE state = 'pending' AND due_at IS NOT NULL) AS since";
    let runs = "-- metrics::runs_waiting
SELECT count(*) AS waiting, min(due_at) AS since FROM (SELECT due_at FROM run WHERE status IN ('pending', 'running')
  ORDER BY due_at LIMIT 1000)";
    [events, deliveries, runs].map(|sql| Stmt::new(sql, []))
}

/// Since when the oldest event waits that was never dispatched, and the oldest delivery that has not arrived: whenever
/// its next try is. Of the thousand events that are due first, and of the deliveries whose next try is farthest off.
pub fn undelivered() -> [Stmt; 2] {
    let events = "-- metrics::events_undelivered
SELECT min(received_at) AS since
FROM (SELECT received_at, replay FROM event WHERE state = 'pending' ORDER BY due_at LIMIT 1000) WHERE replay IS NULL";
    let deliveries = "-- metrics::deliveries_undelivered
SELECT created_at AS since FROM delivery
WHERE id = (SELECT min(id) FROM (SELECT id FROM delivery WHERE state = 'pending' ORDER BY due_at DESC LIMIT 5000))";
    [events, deliveries].map(|sql| Stmt::new(sql, []))
}

// `min` and `max` as in `schedule::overdue_after`, whose bounds come as parameters.
const POLLS: &str = "-- metrics::polls
SELECT integration AS service, count(*) AS waiting, min(due_at) AS since,
  coalesce(sum(due_at <= ?1 - min(max(2 * interval_ms, ?2), ?3)), 0) AS overdue
FROM (SELECT integration, due_at, interval_ms FROM poll WHERE due_at <= ?1 ORDER BY due_at LIMIT ?4)
GROUP BY integration ORDER BY integration";

/// Polls that are due, by service, the longest due first and at most [`CAP`], and how many of them are overdue.
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

// Those that were made lately, by their ids; and of the others those that the index has, the last ended first: the `+`
// keeps to that index.
const ENDED: &str = "-- metrics::ended
WITH ended AS (
  SELECT * FROM (SELECT event_id, state, replay, updated_at FROM delivery WHERE id >= ?1 ORDER BY id DESC LIMIT ?3)
  WHERE state <> 'pending' AND updated_at >= ?2
  UNION ALL
  SELECT * FROM (SELECT event_id, state, replay, updated_at FROM delivery
    WHERE (state = 'failed' OR (state = 'delivered' AND updated_at - created_at > 60000)) AND updated_at >= ?2 AND +id < ?1
    ORDER BY updated_at DESC LIMIT ?3)
), timed AS (
  SELECT event.service, ended.state,
    CASE WHEN ended.state = 'delivered' AND ended.replay = 0 THEN max(ended.updated_at - event.received_at, 0) END AS ms
  FROM ended JOIN event ON event.id = ended.event_id
)
SELECT service, state, count(*) AS deliveries, count(ms) AS timed, coalesce(sum(ms), 0) AS ms,
  json_array(sum(ms <= ?4), sum(ms <= ?5), sum(ms <= ?6), sum(ms <= ?7), sum(ms <= ?8), sum(ms <= ?9), sum(ms <= ?10),
    sum(ms <= ?11)) AS within
FROM timed GROUP BY service, state ORDER BY service, state";

/// The deliveries that ended since `since`, by service and end, with how long those took that arrived and are no
/// replays: of those with ids from `from` on, which is [`LATE`] before `since`, and of older ones, [`CAP`] each at most.
pub fn ended(from: &str, since: Timestamp) -> Stmt {
    let mut params = vec![from.into(), since.into(), CAP.into()];
    params.extend(BUCKETS.map(Param::from));
    Stmt::new(ENDED, params)
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

//! Reading many events or deliveries without reading them all: in windows of the primary key, which is the order of
//! time. A filter costs no index, which each accepted event would pay for; what it costs instead is bounded: a page
//! looks at so many rows and says where the next one goes on.

use super::delivery::Delivery;
use super::event::{Event, Replay};
use super::run::Run;
use crate::error::Result;
use crate::id::{self, Kind};
use crate::ports::{Param, Ports, Rows, Stmt, read_row};
use crate::time::{MINUTE, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Rows that one statement looks at where a filter may pass over them: some 35 ms where each holds a few kilobytes.
pub const WINDOW: i64 = 2_000;

/// How far an id may be older than the row's own time: a large payload is stored in between.
const EARLIER: i64 = 2 * MINUTE;

/// Sorts behind every id.
const END: &str = "~";

/// What a page holds, and the id behind which the next one begins.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// What events are narrowed to; none means any.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the parameter of HTTP-API it is named after")]
pub struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// A whole type, or its beginning with a `*` behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// An id, a delivery id, or the beginning of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// Only events with a delivery to this destination; a replay goes to it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_id: Option<String>,
    /// Only events with a delivery in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_status: Option<String>,
}

impl Filter {
    fn narrows(&self) -> bool {
        let Self { since, until, .. } = self;
        let mut plain = Self::default();
        plain.since.clone_from(since);
        plain.until.clone_from(until);
        *self != plain
    }

    /// The ids between which the events lie, exclusive, from times and an id in `q`.
    pub fn bounds(&self) -> (String, String) {
        if let Some(id) = self.q.as_ref().filter(|q| id::is(Kind::Event, q)) {
            // The largest text before the id, as far as ids go, and the smallest behind it.
            let before = id.get(..id.len() - 1).unwrap_or_default().to_owned();
            return (before, format!("{id}!"));
        }
        let time = |text: &Option<String>| text.as_deref().and_then(Timestamp::parse_rfc3339);
        let from = time(&self.since).map_or_else(String::new, |t| id::first_at(Kind::Event, t + -EARLIER));
        let to = time(&self.until).map_or_else(|| END.to_owned(), |t| id::first_at(Kind::Event, t));
        (from, to)
    }

    fn params(&self, owner: Option<&str>) -> [Param; 10] {
        let text = |value: &Option<String>| Param::from(value.as_deref());
        let time = |text: &Option<String>| Param::from(text.as_deref().and_then(Timestamp::parse_rfc3339));
        [
            text(&self.service),
            text(&self.r#type),
            text(&self.connection_id),
            text(&self.status),
            time(&self.since),
            time(&self.until),
            text(&self.q),
            owner.into(),
            text(&self.destination_id),
            text(&self.delivery_status),
        ]
    }
}

const LIST: &str = "-- search::events
SELECT * FROM (SELECT id, source, delivery_id, service, connection_id, owner, type, subject, account, occurred_at,
    received_at, trace_id, content_type, state, tries, decision, context, size, hold
  FROM event WHERE id > ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3) AS e
WHERE (?5 IS NULL OR service = ?5)
  AND (?6 IS NULL OR type = ?6 OR (substr(?6, -1) = '*' AND substr(type, 1, length(?6) - 1) = substr(?6, 1, length(?6) - 1)))
  AND (?7 IS NULL OR connection_id = ?7) AND (?8 IS NULL OR state = ?8)
  AND (?9 IS NULL OR received_at >= ?9) AND (?10 IS NULL OR received_at < ?10)
  AND (?11 IS NULL OR id = ?11 OR delivery_id = ?11 OR substr(subject, 1, length(?11)) = ?11)
  AND (?12 IS NULL OR owner = ?12)
  AND ((?13 IS NULL AND ?14 IS NULL) OR EXISTS (SELECT 1 FROM delivery WHERE event_id = e.id
    AND (?13 IS NULL OR destination_id = ?13) AND (?14 IS NULL OR state = ?14)))
ORDER BY id DESC LIMIT ?4";

const LIST_END: &str = "-- search::events_end
SELECT min(id) AS last, count(*) AS scanned
FROM (SELECT id FROM event WHERE id > ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3)";

/// A page of events, newest first, behind `before`. It may be short, even empty, and yet not the last one.
pub async fn events(
    ports: &Ports<'_>,
    filter: &Filter,
    owner: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Page<Event>> {
    let (from, to) = filter.bounds();
    let start = before.filter(|b| *b < to.as_str()).map_or(to, str::to_owned);
    let window = if filter.narrows() || owner.is_some() {
        WINDOW
    } else {
        limit + 1
    };
    let mut params: Vec<Param> = vec![from.into(), start.into(), window.into(), (limit + 1).into()];
    let end = params.iter().take(3).cloned().collect::<Vec<_>>();
    params.extend(filter.params(owner));
    let statements = [Stmt::new(LIST, params), Stmt::new(LIST_END, end)];
    page(ports, window, limit, statements, |e: &Event| &e.id).await
}

// The window is read without the attempts, which may be long; those of the page alone come with them.
const DELIVERIES: &str = "-- search::deliveries
SELECT delivery.* FROM (SELECT id FROM (SELECT id, destination_id, state FROM delivery WHERE id < ?1 ORDER BY id DESC
    LIMIT ?2)
  WHERE (?4 IS NULL OR destination_id = ?4) AND (?5 IS NULL OR state = ?5)
    AND (?6 IS NULL OR destination_id IN (SELECT id FROM destination WHERE owner = ?6))
  ORDER BY id DESC LIMIT ?3) AS found
CROSS JOIN delivery ON delivery.id = found.id ORDER BY found.id DESC";

const DELIVERIES_END: &str = "-- search::deliveries_end
SELECT min(id) AS last, count(*) AS scanned FROM (SELECT id FROM delivery WHERE id < ?1 ORDER BY id DESC LIMIT ?2)";

/// A page of deliveries, newest first, behind `before`; of one destination or in one state, if named.
pub async fn deliveries(
    ports: &Ports<'_>,
    destination_id: Option<&str>,
    status: Option<&str>,
    owner: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Page<Delivery>> {
    let narrows = destination_id.is_some() || status.is_some() || owner.is_some();
    let window = if narrows { WINDOW } else { limit + 1 };
    let before = before.unwrap_or(END);
    let rows = [
        before.into(),
        window.into(),
        (limit + 1).into(),
        destination_id.into(),
        status.into(),
        owner.into(),
    ];
    let end = [before.into(), window.into()];
    let statements = [Stmt::new(DELIVERIES, rows), Stmt::new(DELIVERIES_END, end)];
    page(ports, window, limit, statements, |d: &Delivery| &d.id).await
}

#[derive(Deserialize)]
struct End {
    last: Option<String>,
    scanned: i64,
}

impl End {
    /// Where to go on, if so many rows were looked at that there may be more.
    fn of_window(self, window: i64) -> Option<String> {
        self.last.filter(|_| self.scanned >= window)
    }
}

fn end_of(rows: Option<Rows>) -> Result<End> {
    let row = rows.and_then(|rows| rows.into_iter().next()).unwrap_or(Value::Null);
    read_row(row)
}

/// Reads one window: the page is what it holds, as far as it is asked for.
async fn page<T: serde::de::DeserializeOwned>(
    ports: &Ports<'_>,
    window: i64,
    limit: i64,
    statements: [Stmt; 2],
    id: impl Fn(&T) -> &String,
) -> Result<Page<T>> {
    let limit = usize::try_from(limit).unwrap_or(1);
    let mut results = ports.sql.batch(statements.to_vec()).await?.into_iter();
    let found = results.next().unwrap_or_default();
    let mut rows: Vec<T> = found.into_iter().map(read_row).collect::<Result<_>>()?;
    let end = end_of(results.next())?;
    // One more than asked for shows that there is a next page.
    let next = if rows.len() > limit {
        rows.truncate(limit);
        rows.last().map(|row| id(row).clone())
    } else {
        end.of_window(window)
    };
    Ok(Page { rows, next })
}

/// What one step of a replay looked at.
#[derive(Debug)]
pub struct Ahead {
    /// The events that fit, oldest first.
    pub ids: Vec<String>,
    /// Up to which id everything was looked at; none if there was nothing left.
    pub cursor: Option<String>,
    /// How many events were looked at; not exact where the step ended early because it had enough.
    pub scanned: i64,
}

const AHEAD: &str = "-- search::ahead
SELECT id FROM (SELECT id, delivery_id, service, connection_id, owner, type, subject, received_at, state
  FROM event WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3) AS e
WHERE state IN ('dispatched', 'failed') AND (?5 IS NULL OR service = ?5)
  AND (?6 IS NULL OR type = ?6 OR (substr(?6, -1) = '*' AND substr(type, 1, length(?6) - 1) = substr(?6, 1, length(?6) - 1)))
  AND (?7 IS NULL OR connection_id = ?7) AND (?8 IS NULL OR state = ?8)
  AND (?9 IS NULL OR received_at >= ?9) AND (?10 IS NULL OR received_at < ?10)
  AND (?11 IS NULL OR id = ?11 OR delivery_id = ?11 OR substr(subject, 1, length(?11)) = ?11)
  AND (?12 IS NULL OR owner = ?12)
  AND ((?13 IS NULL AND ?14 IS NULL) OR EXISTS (SELECT 1 FROM delivery WHERE event_id = e.id
    AND (?13 IS NULL OR destination_id = ?13) AND (?14 IS NULL OR state = ?14)))
ORDER BY id LIMIT ?4";

const AHEAD_END: &str = "-- search::ahead_end
SELECT max(id) AS last, count(*) AS scanned
FROM (SELECT id FROM event WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3)";

/// The next events that fit, oldest first: at most `limit`, between two ids, exclusive.
pub async fn ahead(
    ports: &Ports<'_>,
    filter: &Filter,
    owner: Option<&str>,
    (after, before): (&str, &str),
    limit: i64,
) -> Result<Ahead> {
    let mut params: Vec<Param> = vec![after.into(), before.into(), WINDOW.into(), limit.into()];
    let end = params.iter().take(3).cloned().collect::<Vec<_>>();
    params.extend(filter.params(owner));
    let statements = vec![Stmt::new(AHEAD, params), Stmt::new(AHEAD_END, end)];
    let mut results = ports.sql.batch(statements).await?.into_iter();
    let found = results.next().unwrap_or_default();
    let ids: Vec<String> = found
        .iter()
        .filter_map(|row| row.get("id")?.as_str().map(str::to_owned))
        .collect();
    let end = end_of(results.next())?;
    let scanned = end.scanned;
    let full = i64::try_from(ids.len()).unwrap_or(limit) >= limit;
    let cursor = match ids.last() {
        // There may be more of them in the same window.
        Some(last) if full => Some(last.clone()),
        _ => end.of_window(WINDOW),
    };
    Ok(Ahead {
        scanned: if full { limit } else { scanned },
        ids,
        cursor,
    })
}

/// What a reader who follows has not seen.
#[derive(Debug)]
pub struct Behind {
    /// Full rows, oldest first.
    pub rows: Vec<super::event::Full>,
    /// The id up to which all was looked at.
    pub reached: String,
    /// Whether there may be more before the time that was asked for.
    pub more: bool,
}

const BEHIND: &str = "-- search::behind
SELECT * FROM event WHERE id IN (SELECT id FROM (SELECT id, owner FROM event WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?5)
  WHERE ?3 IS NULL OR owner = ?3 ORDER BY id LIMIT ?4) ORDER BY id";

/// Events behind `after` that were accepted before `until`: at most `limit`, in one window.
pub async fn behind(
    ports: &Ports<'_>,
    owner: Option<&str>,
    after: &str,
    until: Timestamp,
    limit: i64,
) -> Result<Behind> {
    let before = id::first_at(Kind::Event, until);
    let window = if owner.is_some() { WINDOW } else { limit };
    let bounds: [Param; 2] = [after.into(), before.as_str().into()];
    let [from, to] = bounds.clone();
    let mut statements = vec![Stmt::new(BEHIND, [from, to, owner.into(), limit.into(), window.into()])];
    if owner.is_some() {
        let [from, to] = bounds;
        statements.push(Stmt::new(AHEAD_END, [from, to, window.into()]));
    }
    let mut results = ports.sql.batch(statements).await?.into_iter();
    let found = results.next().unwrap_or_default();
    let rows: Vec<super::event::Full> = found.into_iter().map(read_row).collect::<Result<_>>()?;
    let last = rows.last().map(|full| full.event.id.clone());
    let end = match results.next() {
        Some(rows) => end_of(Some(rows))?.of_window(window),
        None => None,
    };
    let full = i64::try_from(rows.len()).unwrap_or(limit) >= limit;
    let reached = if full { last } else { end };
    Ok(Behind {
        rows,
        more: reached.is_some(),
        // Whoever begins later than that stays there.
        reached: reached.unwrap_or_else(|| before.max(after.to_owned())),
    })
}

const RUNS: &str = "-- search::runs
SELECT * FROM run WHERE id IN (SELECT id FROM (SELECT id, owner FROM run WHERE id < ?1 ORDER BY id DESC LIMIT ?2)
  WHERE ?4 IS NULL OR owner = ?4 ORDER BY id DESC LIMIT ?3) ORDER BY id DESC";

const RUNS_END: &str = "-- search::runs_end
SELECT min(id) AS last, count(*) AS scanned FROM (SELECT id FROM run WHERE id < ?1 ORDER BY id DESC LIMIT ?2)";

/// A page of runs, newest first, behind `before`; of one owner, if named.
pub async fn runs(ports: &Ports<'_>, owner: Option<&str>, before: Option<&str>, limit: i64) -> Result<Page<Run>> {
    let window = if owner.is_some() { WINDOW } else { limit + 1 };
    let before = before.unwrap_or(END);
    let rows = [before.into(), window.into(), (limit + 1).into(), owner.into()];
    let statements = [
        Stmt::new(RUNS, rows),
        Stmt::new(RUNS_END, [before.into(), window.into()]),
    ];
    page(ports, window, limit, statements, |r: &Run| &r.id).await
}

/// What a replay by this filter is for.
pub fn replay_of(filter: &Filter, job: &str) -> Replay {
    Replay {
        job: Some(job.to_owned()),
        destination_id: filter.destination_id.clone(),
        first: false,
    }
}

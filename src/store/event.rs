//! The table `event`: what was accepted, and the outbox of what is to be dispatched.

use super::payload::{self, Kept};
use super::poll::Poll;
use super::{optional_json_text, truth};
use crate::error::{Error, Result};
use crate::event::EventDraft;
use crate::http::Headers;
use crate::id::{self, Kind};
use crate::ports::{Host, Param, Ports, Stmt};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Where a delivery came in.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// The integration's name.
    pub service: &'a str,
    /// The connection's id, or `app:{service}`: what delivery ids are unique within.
    pub source: &'a str,
    /// The connection's id, if there is one.
    pub connection_id: Option<&'a str>,
    /// The connection's owner.
    pub owner: Option<&'a str>,
    /// W3C trace id of the request.
    pub trace_id: &'a str,
    /// The request's headers.
    pub headers: &'a Headers,
    /// Media type of the payload, as the request names it or, for a query that is the payload, a form's.
    pub content_type: Option<&'a str>,
}

/// A row of `event` without its payload.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Event {
    /// `evt_…`
    pub id: String,
    /// What the delivery id is unique within.
    pub source: String,
    /// The service's id of the delivery.
    pub delivery_id: String,
    /// The integration's name.
    pub service: String,
    /// The connection that it came in on.
    pub connection_id: Option<String>,
    /// That connection's owner.
    pub owner: Option<String>,
    /// `{service}.{event}.{action}`
    pub r#type: String,
    /// What it is about.
    pub subject: Option<String>,
    /// Installation, workspace or tenant at the service.
    pub account: Option<String>,
    /// When it happened.
    pub occurred_at: Option<Timestamp>,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// Trace id of the request that brought it.
    pub trace_id: String,
    /// Media type of the payload.
    pub content_type: Option<String>,
    /// `pending`, `dispatched` or `failed`.
    pub state: String,
    /// Dispatches begun.
    pub tries: i64,
    /// Why it did or did not reach the agent.
    pub decision: Option<String>,
    /// What the mapping read from it.
    #[serde(deserialize_with = "optional_json_text")]
    pub context: Option<Value>,
    /// Bytes of the payload.
    pub size: i64,
    /// Whether it is kept from being purged.
    #[serde(deserialize_with = "truth")]
    pub hold: bool,
}

/// What a repeated dispatch is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The job that asked for it; none where a person named the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The only destination that gets it; none means all that want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_id: Option<String>,
    /// Whether it is the first dispatch after all, of an event that could not be dispatched: it bears no mark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

/// A row with all that a dispatch needs.
#[derive(Debug, Deserialize)]
pub struct Full {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// JSON text of the request's headers.
    pub headers: String,
    /// What this dispatch repeats; none for the first.
    #[serde(deserialize_with = "optional_json_text")]
    pub replay: Option<Replay>,
    #[serde(flatten)]
    payload: Kept,
}

impl Full {
    /// The exact bytes of the payload, from the row or from where it was put.
    pub async fn payload(&self, ports: &Ports<'_>) -> Result<Vec<u8>> {
        self.payload.read(ports, self.event.size).await
    }
}

/// What storing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The event's id: the new one, or that of the first delivery.
    pub id: String,
    /// Whether it had been stored before.
    pub duplicate: bool,
}

const INSERT: &str = "-- event::insert
INSERT INTO event (id, source, delivery_id, service, connection_id, owner, type, subject, account, occurred_at,
  received_at, trace_id, content_type, headers, state, due_at, tries, size, payload_key, payload, payload_encoding)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 'pending', ?11, 0, ?15, ?16, ?17, ?18)
ON CONFLICT (source, delivery_id) DO NOTHING RETURNING id, delivery_id";

/// Most bytes of items that one statement stores.
const MAX_CHUNK: usize = 500_000;

/// Stores what a delivery holds, unless it is there already: one event in one statement, or the items of a batch in
/// one statement for each half megabyte. The result is in the order of the drafts.
pub async fn insert_all(
    ports: &Ports<'_>,
    arrival: &Arrival<'_>,
    drafts: &[EventDraft],
    body: Vec<u8>,
) -> Result<Vec<Stored>> {
    if let [EventDraft { item: None, .. }] = drafts {
        return insert(ports, arrival, drafts, body, None)
            .await
            .map(|stored| vec![stored]);
    }
    let mut all = Vec::with_capacity(drafts.len());
    let mut ids = in_order(ports.host, drafts.len()).into_iter();
    let mut rest = drafts;
    while let Some(first) = rest.first() {
        let size = |d: &EventDraft| d.item.as_ref().map_or(0, String::len);
        if size(first) > MAX_CHUNK {
            let payload = first.item.clone().unwrap_or_default().into_bytes();
            all.push(insert(ports, arrival, std::slice::from_ref(first), payload, ids.next()).await?);
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let mut total = 0;
        let fits = rest.iter().take_while(|d| {
            total += size(d);
            total <= MAX_CHUNK
        });
        let (chunk, after) = rest.split_at(fits.count().max(1));
        all.extend(insert_items(ports, arrival, chunk, &mut ids).await?);
        rest = after;
    }
    Ok(all)
}

#[derive(Deserialize)]
struct Known {
    id: String,
    delivery_id: String,
}

/// Ids for what has an order: those of one moment have none by themselves, and lists of events are sorted by them.
fn in_order(host: &dyn Host, count: usize) -> Vec<String> {
    let mut ids: Vec<String> = (0..count).map(|_| id::new(Kind::Event, host)).collect();
    ids.sort();
    ids
}

async fn insert(
    ports: &Ports<'_>,
    arrival: &Arrival<'_>,
    drafts: &[EventDraft],
    body: Vec<u8>,
    id: Option<String>,
) -> Result<Stored> {
    let draft = drafts
        .first()
        .ok_or_else(|| Error::Internal("an insert without an event".into()))?;
    let size = i64::try_from(body.len()).unwrap_or(i64::MAX);
    let placed = payload::place(ports, body).await?;
    // Made last: readers that follow by id rely on rows that come in about the order of their ids.
    let id = id.unwrap_or_else(|| id::new(Kind::Event, ports.host));
    let blob = placed.key.clone();
    let params = [
        id.clone().into(),
        arrival.source.into(),
        draft.delivery_id.as_str().into(),
        arrival.service.into(),
        arrival.connection_id.into(),
        arrival.owner.into(),
        format!("{}.{}", arrival.service, draft.kind).into(),
        draft.subject.as_deref().into(),
        draft.account.as_deref().into(),
        draft.occurred_at.into(),
        ports.host.now().into(),
        arrival.trace_id.into(),
        arrival.content_type.into(),
        masked(arrival.headers).into(),
        size.into(),
        placed.key.into(),
        placed.payload,
        placed.encoding.into(),
    ];
    if !ports.sql.share(Stmt::new(INSERT, params)).await?.is_empty() {
        return Ok(Stored { id, duplicate: false });
    }
    let known = find_known(ports, arrival.source, std::slice::from_ref(draft)).await?;
    let first = known.into_iter().next();
    if first.as_ref().is_some_and(|row| row.id == id) {
        // Stored at once, but the database's reply was lost, and the statement met its own row when it was repeated.
        return Ok(Stored { id, duplicate: false });
    }
    if let Some(key) = blob {
        ports.blobs.delete(&key).await?;
    }
    let row = first.ok_or_else(|| Error::temporary("the first delivery of this id is being removed; try again"))?;
    Ok(Stored {
        id: row.id,
        duplicate: true,
    })
}

const INSERT_ITEMS: &str = "-- event::insert_items
INSERT INTO event (id, source, delivery_id, service, connection_id, owner, type, subject, account, occurred_at,
  received_at, trace_id, content_type, headers, state, due_at, tries, size, payload_key, payload, payload_encoding)
SELECT value ->> 'id', ?1, value ->> 'delivery_id', ?2, ?3, ?4, value ->> 'type', value ->> 'subject',
  value ->> 'account', value ->> 'occurred_at', ?5, ?6, 'application/json', ?7, 'pending', ?5, 0, value ->> 'size',
  value ->> 'payload_key', value ->> 'payload', value ->> 'payload_encoding'
FROM json_each(?8) WHERE true
ON CONFLICT (source, delivery_id) DO NOTHING RETURNING id, delivery_id";

/// One of many events as the statements read it that store them together.
async fn item(ports: &Ports<'_>, service: &str, draft: &EventDraft, id: &str) -> Result<Value> {
    let item = draft.item.clone().unwrap_or_default();
    let size = item.len();
    let placed = payload::place(ports, item.into_bytes()).await?;
    let payload = match placed.payload {
        Param::Text(text) => Value::String(text),
        _ => Value::Null,
    };
    Ok(json!({
        "id": id,
        "delivery_id": draft.delivery_id,
        "type": format!("{service}.{}", draft.kind),
        "subject": draft.subject,
        "account": draft.account,
        "occurred_at": draft.occurred_at,
        "size": size,
        "payload_key": placed.key,
        "payload_encoding": placed.encoding,
        "payload": payload,
    }))
}

async fn insert_items(
    ports: &Ports<'_>,
    arrival: &Arrival<'_>,
    drafts: &[EventDraft],
    ids: &mut impl Iterator<Item = String>,
) -> Result<Vec<Stored>> {
    let mut items = Vec::with_capacity(drafts.len());
    for (draft, id) in drafts.iter().zip(ids) {
        items.push(item(ports, arrival.service, draft, &id).await?);
    }
    let params = [
        arrival.source.into(),
        arrival.service.into(),
        arrival.connection_id.into(),
        arrival.owner.into(),
        ports.host.now().into(),
        arrival.trace_id.into(),
        masked(arrival.headers).into(),
        Value::Array(items).to_string().into(),
    ];
    let new: Vec<Known> = ports.sql.rows(Stmt::new(INSERT_ITEMS, params)).await?;
    let known = if new.len() < drafts.len() {
        find_known(ports, arrival.source, drafts).await?
    } else {
        Vec::new()
    };
    let mut stored = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let is_it = |k: &&Known| k.delivery_id == draft.delivery_id;
        let (found, duplicate) = match new.iter().find(is_it) {
            Some(row) => (Some(row), false),
            None => (known.iter().find(is_it), true),
        };
        stored.extend(found.map(|row| Stored {
            id: row.id.clone(),
            duplicate,
        }));
    }
    Ok(stored)
}

const INSERT_POLLED: &str = "-- event::of_poll
INSERT INTO event (id, source, delivery_id, service, connection_id, owner, type, subject, account, occurred_at,
  received_at, trace_id, content_type, headers, state, due_at, tries, size, payload_key, payload, payload_encoding)
SELECT value ->> 'id', ?1, value ->> 'delivery_id', ?2, ?3, ?4, value ->> 'type', value ->> 'subject',
  value ->> 'account', value ->> 'occurred_at', ?5, ?6, 'application/json', '{}', 'pending', ?5, 0, value ->> 'size',
  value ->> 'payload_key', value ->> 'payload', value ->> 'payload_encoding'
FROM json_each(?7) WHERE EXISTS (SELECT 1 FROM poll WHERE id = ?1 AND lease_by = ?8)
ON CONFLICT (source, delivery_id) DO NOTHING RETURNING id";

/// The statements that store what a poll found, as long as `holder` has the claim on it: they belong into the batch
/// that moves the poll's cursor. What is too large for a row goes beside it before that.
pub async fn of_poll(
    ports: &Ports<'_>,
    poll: &Poll,
    holder: &str,
    trace_id: &str,
    drafts: &[EventDraft],
) -> Result<Vec<Stmt>> {
    let mut chunks: Vec<Vec<Value>> = Vec::new();
    let mut room = 0;
    for (draft, id) in drafts.iter().zip(in_order(ports.host, drafts.len())) {
        let size = draft.item.as_ref().map_or(0, String::len);
        let item = item(ports, &poll.integration, draft, &id).await?;
        if room < size || chunks.is_empty() {
            chunks.push(Vec::new());
            room = MAX_CHUNK;
        }
        room = room.saturating_sub(size);
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(item);
        }
    }
    let now = ports.host.now();
    let statements = chunks.into_iter().map(|chunk| {
        let params = [
            poll.id.as_str().into(),
            poll.integration.as_str().into(),
            poll.connection_id.as_deref().into(),
            poll.owner.as_deref().into(),
            now.into(),
            trace_id.into(),
            Value::Array(chunk).to_string().into(),
            holder.into(),
        ];
        Stmt::new(INSERT_POLLED, params)
    });
    Ok(statements.collect())
}

/// The events that the same deliveries became before.
async fn find_known(ports: &Ports<'_>, source: &str, drafts: &[EventDraft]) -> Result<Vec<Known>> {
    let ids: Vec<&str> = drafts.iter().map(|d| d.delivery_id.as_str()).collect();
    let sql = "-- event::find_known
SELECT id, delivery_id FROM event WHERE source = ?1 AND delivery_id IN (SELECT value FROM json_each(?2))";
    ports
        .sql
        .rows(Stmt::new(sql, [source.into(), json!(ids).to_string().into()]))
        .await
}

/// Those of the delivery ids that one of two sources has brought.
pub async fn arrived(ports: &Ports<'_>, sources: [&str; 2], ids: &[&str]) -> Result<HashSet<String>> {
    let sql = "-- event::arrived
SELECT id, delivery_id FROM event WHERE source IN (?1, ?2) AND delivery_id IN (SELECT value FROM json_each(?3))";
    let [one, other] = sources;
    let params = [one.into(), other.into(), json!(ids).to_string().into()];
    let known: Vec<Known> = ports.sql.rows(Stmt::new(sql, params)).await?;
    Ok(known.into_iter().map(|row| row.delivery_id).collect())
}

/// Headers as a JSON object for people and filters. What may be, or lead to, a secret is masked.
fn masked(headers: &Headers) -> String {
    const SECRET: [&str; 11] = [
        "authorization",
        "cookie",
        "token",
        "secret",
        "signature",
        "hmac",
        "passcode",
        "password",
        "credential",
        "api-key",
        "apikey",
    ];
    let mut object = Map::new();
    for (name, value) in headers.iter() {
        if name.starts_with("cf-") || name.starts_with("x-real-ip") || name.starts_with("x-forwarded") {
            continue;
        }
        let secret = SECRET.iter().any(|s| name.contains(s));
        object.insert(name.to_owned(), json!(if secret { "[masked]" } else { value }));
    }
    Value::Object(object).to_string()
}

/// The service of events that the hub itself makes.
pub const OWN_SERVICE: &str = "hub";

/// Something that the hub tells its destinations.
#[derive(Debug, Clone, Copy)]
pub struct Announcement<'a> {
    /// The type after `hub.`, e.g. `connection.expired`.
    pub kind: &'a str,
    /// The id of what it is about.
    pub subject: &'a str,
    /// The owner of the subject: destinations of other owners do not get it.
    pub owner: Option<&'a str>,
    /// What two announcements of the same thing have in common: the second is not stored.
    pub once: &'a str,
    /// The payload, a JSON object.
    pub data: &'a Value,
}

/// The statement that stores an announcement as an event: it belongs into the batch of what it tells of. The sweep
/// dispatches it within a minute.
pub fn announce(host: &dyn Host, announcement: &Announcement<'_>) -> Stmt {
    let sql = "-- event::announce
INSERT INTO event (id, source, delivery_id, service, owner, type, subject, received_at, trace_id, content_type,
  headers, state, due_at, tries, size, payload)
VALUES (?1, 'app:' || ?2, ?3, ?2, ?4, ?2 || '.' || ?5, ?6, ?7, ?8, 'application/json', '{}', 'pending', ?7, 0, ?9, ?10)
ON CONFLICT (source, delivery_id) DO NOTHING RETURNING id";
    let payload = announcement.data.to_string();
    let mut trace = [0u8; 16];
    host.random(&mut trace);
    Stmt::new(
        sql,
        [
            id::new(Kind::Event, host).into(),
            OWN_SERVICE.into(),
            announcement.once.into(),
            announcement.owner.into(),
            announcement.kind.into(),
            announcement.subject.into(),
            host.now().into(),
            hex::encode(trace).into(),
            i64::try_from(payload.len()).unwrap_or(i64::MAX).into(),
            payload.into(),
        ],
    )
}

/// As [`announce`], if the statement before it in the batch changed a row.
pub fn announce_if_changed(host: &dyn Host, announcement: &Announcement<'_>) -> Stmt {
    let sql = "-- event::announce_if_changed
INSERT INTO event (id, source, delivery_id, service, owner, type, subject, received_at, trace_id, content_type,
  headers, state, due_at, tries, size, payload)
SELECT ?1, 'app:' || ?2, ?3, ?2, ?4, ?2 || '.' || ?5, ?6, ?7, ?8, 'application/json', '{}', 'pending', ?7, 0, ?9, ?10
WHERE changes() > 0 ON CONFLICT (source, delivery_id) DO NOTHING RETURNING id";
    Stmt {
        sql,
        ..announce(host, announcement)
    }
}

const LEASE: &str = "-- event::lease
UPDATE event SET lease_by = ?2, lease_until = ?3, tries = tries + 1
WHERE id = ?1 AND state = 'pending' AND (lease_until IS NULL OR lease_until < ?4)
RETURNING *";

/// The statement that claims a pending event for `holder` until `until`; no row if it is not to be had.
pub fn lease(id: &str, holder: &str, until: Timestamp, now: Timestamp) -> Stmt {
    Stmt::new(LEASE, [id.into(), holder.into(), until.into(), now.into()])
}

const FINISH: &str = "-- event::finish
UPDATE event SET state = 'dispatched', decision = ?3, context = ?4, lease_by = NULL, lease_until = NULL
WHERE id = ?1 AND lease_by = ?2 AND state = 'pending' RETURNING id";

/// The statement that ends a dispatch, if `holder` still has the claim.
pub fn finish(id: &str, holder: &str, decision: Option<&str>, context: Option<&Value>) -> Stmt {
    let context = context.map(Value::to_string);
    Stmt::new(FINISH, [id.into(), holder.into(), decision.into(), context.into()])
}

/// Adds the agent's part to an event's story after its dispatch.
pub fn set_decision(id: &str, decision: &str) -> Stmt {
    let sql = "-- event::set_decision\nUPDATE event SET decision = ?2 WHERE id = ?1";
    Stmt::new(sql, [id.into(), decision.into()])
}

/// Puts a pending event off: its dispatch failed.
pub fn put_off(id: &str, holder: &str, due_at: Timestamp) -> Stmt {
    let sql = "-- event::put_off
UPDATE event SET due_at = ?3, lease_by = NULL, lease_until = NULL WHERE id = ?1 AND lease_by = ?2 AND state = 'pending'";
    Stmt::new(sql, [id.into(), holder.into(), due_at.into()])
}

/// Ends an event that cannot be dispatched.
pub fn fail(id: &str, holder: &str, why: &str) -> Stmt {
    let sql = "-- event::fail
UPDATE event SET state = 'failed', decision = ?3, lease_by = NULL, lease_until = NULL
WHERE id = ?1 AND lease_by = ?2 AND state = 'pending'";
    Stmt::new(sql, [id.into(), holder.into(), why.into()])
}

/// Ids of events that are due and that nobody holds, oldest first.
pub fn due(now: Timestamp, limit: i64) -> Stmt {
    let sql = "-- event::due
SELECT id FROM event WHERE state = 'pending' AND due_at <= ?1 AND (lease_until IS NULL OR lease_until < ?1)
ORDER BY due_at LIMIT ?2";
    Stmt::new(sql, [now.into(), limit.into()])
}

/// One event with its payload.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Full>> {
    let sql = "-- event::find\nSELECT * FROM event WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

const REVIVE: &str = "-- event::revive
UPDATE event SET state = 'pending', due_at = ?3, tries = 0, lease_by = NULL, lease_until = NULL,
  replay = CASE WHEN state = 'dispatched' OR (replay IS NOT NULL AND replay ->> '$.first' IS NULL) THEN ?2
    WHEN ?2 ->> '$.destination_id' IS NOT NULL THEN json_set(?2, '$.first', json('true')) END
WHERE id IN (SELECT value FROM json_each(?1)) AND state IN ('dispatched', 'failed')
  AND (?4 IS NULL OR EXISTS (SELECT 1 FROM replay WHERE id = ?4 AND cursor = ?5 AND state = 'running'))
RETURNING id";

/// The statement that makes events due again that were dispatched, or could not be; those are not marked as replays,
/// for nobody has seen them. With the id and cursor of a `job` only while that job stands there.
pub fn revive(ids: &[String], replay: &Replay, job: Option<(&str, &str)>, now: Timestamp) -> Stmt {
    Stmt::new(
        REVIVE,
        [
            json!(ids).to_string().into(),
            json!(replay).to_string().into(),
            now.into(),
            job.map(|(id, _)| id).into(),
            job.map(|(_, cursor)| cursor).into(),
        ],
    )
}

/// The statement that keeps an event from being purged, or lets it be purged again.
pub fn hold(id: &str, hold: bool) -> Stmt {
    let sql = "-- event::hold\nUPDATE event SET hold = ?2 WHERE id = ?1 AND state <> 'purged' RETURNING id";
    Stmt::new(sql, [id.into(), hold.into()])
}

// Nothing that is in flight, held, or part of an open conversation is purged. At most 1,000 rows are looked at.
const EXPIRED: &str = "-- event::expired
SELECT id FROM (SELECT id, hold, state FROM event WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT 1000) AS e
WHERE hold = 0 AND state <> 'pending'
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE event_id = e.id AND (state = 'pending' OR conversation_id IN
    (SELECT id FROM conversation WHERE id = delivery.conversation_id AND state = 'open' AND token_expires_at > ?3)))
ORDER BY id LIMIT 500";

const EXPIRED_END: &str = "-- event::expired_end
SELECT max(id) AS last, count(*) AS scanned
FROM (SELECT id FROM event WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT 1000)";

/// The statements that find events to purge between two ids, and how far they looked.
pub fn expired(after: &str, before: &str, now: Timestamp) -> [Stmt; 2] {
    [
        Stmt::new(EXPIRED, [after.into(), before.into(), now.into()]),
        Stmt::new(EXPIRED_END, [after.into(), before.into()]),
    ]
}

/// The statements that take out of use those of the events whose payload lies beside the row, and give its key, and
/// that forget the deliveries of them all. An event with a delivery that somebody made due meanwhile stays.
pub fn retire(ids: &[&str]) -> [Stmt; 2] {
    let list = json!(ids).to_string();
    let retire = "-- event::retire
UPDATE event SET state = 'purged' WHERE id IN (SELECT value FROM json_each(?1)) AND hold = 0
  AND state IN ('dispatched', 'failed', 'purged') AND payload_key IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE event_id = event.id AND state = 'pending') RETURNING payload_key";
    let deliveries = "-- event::retire_deliveries
DELETE FROM delivery WHERE event_id IN (SELECT value FROM json_each(?1)) AND state <> 'pending'
  AND EXISTS (SELECT 1 FROM event WHERE id = delivery.event_id AND hold = 0 AND state <> 'pending')
  AND NOT EXISTS (SELECT 1 FROM delivery AS other WHERE other.event_id = delivery.event_id AND other.state = 'pending')";
    [
        Stmt::new(retire, [list.as_str().into()]),
        Stmt::new(deliveries, [list.into()]),
    ]
}

/// The statement that forgets events whose payload lies in the row, or was deleted from beside it.
pub fn purge(ids: &[&str]) -> Stmt {
    let sql = "-- event::purge
DELETE FROM event WHERE id IN (SELECT value FROM json_each(?1)) AND hold = 0
  AND (state = 'purged' OR (state IN ('dispatched', 'failed') AND payload_key IS NULL
    AND NOT EXISTS (SELECT 1 FROM delivery WHERE event_id = event.id AND state = 'pending'))) RETURNING id";
    Stmt::new(sql, [json!(ids).to_string().into()])
}

/// The event that this delivery of this source became.
pub async fn find_by_delivery(ports: &Ports<'_>, source: &str, delivery_id: &str) -> Result<Option<Full>> {
    let sql = "-- event::find_by_delivery\nSELECT * FROM event WHERE source = ?1 AND delivery_id = ?2";
    ports
        .sql
        .first(Stmt::new(sql, [source.into(), delivery_id.into()]))
        .await
}

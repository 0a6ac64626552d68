//! The table `delivery`: messages to destinations, and what became of them.

use super::{json_text, truth};
use crate::error::Result;
use crate::ports::{Ports, Stmt};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The event itself.
    #[serde(rename = "event")]
    Event,
    /// A conversation that the event opens.
    #[serde(rename = "conversation.started")]
    Started,
    /// A message in a conversation that was open.
    #[serde(rename = "conversation.message")]
    Followed,
}

impl Message {
    /// The name in the database and in the message itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Started => "conversation.started",
            Self::Followed => "conversation.message",
        }
    }
}

/// One try to deliver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// Milliseconds that it took.
    pub ms: i64,
    /// The status of the reply, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning of the reply, if it had a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// One message to one destination.
#[derive(Debug, Clone, Deserialize)]
pub struct Delivery {
    /// `dlv_…`
    pub id: String,
    /// What is delivered.
    pub event_id: String,
    /// To whom.
    pub destination_id: String,
    /// The conversation, for messages to an agent.
    pub conversation_id: Option<String>,
    /// In which form.
    pub message: Message,
    /// `pending`, `delivered`, `failed` or `skipped`.
    pub state: String,
    /// Every try so far.
    #[serde(deserialize_with = "json_text")]
    pub attempts: Vec<Attempt>,
    /// Why it was skipped or given up.
    pub note: Option<String>,
    /// The next try, while pending.
    pub due_at: Option<Timestamp>,
    /// Whether a person asked for the event to be sent again.
    #[serde(deserialize_with = "truth")]
    pub replay: bool,
    /// What orders it among the destination's deliveries.
    pub order_key: Option<String>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const INSERT: &str = "-- delivery::insert
INSERT INTO delivery (id, event_id, destination_id, conversation_id, message, state, attempts, note, due_at,
  created_at, updated_at, replay, order_key)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
  CASE WHEN ?14 IS NOT NULL AND EXISTS (SELECT 1 FROM delivery WHERE destination_id = ?3 AND order_key = ?14
    AND order_key IS NOT NULL AND state = 'pending' AND event_id < ?2) THEN NULL ELSE ?9 END,
  ?10, ?11, ?13, ?14
WHERE ?12 IS NULL OR EXISTS (SELECT 1 FROM event WHERE id = ?2 AND lease_by = ?12 AND state = 'pending')";

/// The statement that stores a delivery; with `holder`, only while that one still has the event's claim, so that a
/// dispatcher that was too slow leaves no second row. One that is to keep an order has no due time while an earlier one
/// of its key waits.
pub fn insert(d: &Delivery, holder: Option<&str>) -> Stmt {
    Stmt::new(
        INSERT,
        [
            d.id.as_str().into(),
            d.event_id.as_str().into(),
            d.destination_id.as_str().into(),
            d.conversation_id.as_deref().into(),
            d.message.as_str().into(),
            d.state.as_str().into(),
            json!(d.attempts).to_string().into(),
            d.note.as_deref().into(),
            d.due_at.into(),
            d.created_at.into(),
            d.updated_at.into(),
            holder.into(),
            d.replay.into(),
            d.order_key.as_deref().into(),
        ],
    )
}

// An ordered delivery must not be tried before the earlier ones of its key, nor while an earlier event of its source
// is still to be dispatched; the `+` keeps to the index of these, which are few. An event whose own dispatch keeps failing is waited for five tries long, some minutes.
const LEASE: &str = "-- delivery::lease
UPDATE delivery SET lease_by = ?2, lease_until = ?3
WHERE id = ?1 AND state = 'pending' AND due_at <= ?4 AND (lease_until IS NULL OR lease_until < ?4)
  AND (order_key IS NULL OR (
    NOT EXISTS (SELECT 1 FROM delivery AS earlier WHERE earlier.destination_id = delivery.destination_id
      AND earlier.order_key = delivery.order_key AND earlier.order_key IS NOT NULL AND earlier.state = 'pending'
      AND earlier.event_id < delivery.event_id)
    AND NOT EXISTS (SELECT 1 FROM event AS earlier WHERE earlier.state = 'pending' AND earlier.tries < 5
      AND +earlier.id < delivery.event_id
      AND earlier.source = (SELECT source FROM event WHERE id = delivery.event_id))))
RETURNING *";

/// The statement that claims a due delivery, if it is its turn.
pub fn lease(id: &str, holder: &str, until: Timestamp, now: Timestamp) -> Stmt {
    Stmt::new(LEASE, [id.into(), holder.into(), until.into(), now.into()])
}

const FINISH: &str = "-- delivery::finish
UPDATE delivery SET state = ?3, attempts = ?4, note = ?5, due_at = ?6, updated_at = ?7, conversation_id = ?8,
  message = ?9, lease_by = NULL, lease_until = NULL
WHERE id = ?1 AND lease_by = ?2 AND state = 'pending'";

/// The statement that stores what a try came to, if `holder` still has the claim.
pub fn finish(d: &Delivery, holder: &str) -> Stmt {
    Stmt::new(
        FINISH,
        [
            d.id.as_str().into(),
            holder.into(),
            d.state.as_str().into(),
            json!(d.attempts).to_string().into(),
            d.note.as_deref().into(),
            d.due_at.into(),
            d.updated_at.into(),
            d.conversation_id.as_deref().into(),
            d.message.as_str().into(),
        ],
    )
}

/// The statement that makes the first of those that wait for an order due, and gives its id. It belongs behind the
/// [`finish`] of the one before it.
pub fn release_next(destination_id: &str, order_key: &str, now: Timestamp) -> Stmt {
    let sql = "-- delivery::release_next
UPDATE delivery SET due_at = ?3 WHERE id = (SELECT id FROM delivery WHERE destination_id = ?1 AND order_key = ?2
    AND order_key IS NOT NULL AND state = 'pending' ORDER BY event_id LIMIT 1)
  AND (due_at IS NULL OR due_at <= ?3) AND (lease_until IS NULL OR lease_until < ?3) RETURNING id";
    Stmt::new(sql, [destination_id.into(), order_key.into(), now.into()])
}

/// Makes a delivery that did not arrive due now, with `done`, the audit entry of that if it changes something; whether there was one to make
/// due.
pub async fn retry(ports: &Ports<'_>, id: &str, now: Timestamp, done: Stmt) -> Result<bool> {
    let sql = "-- delivery::retry
UPDATE delivery SET state = 'pending', due_at = ?2, note = NULL, updated_at = ?2, lease_by = NULL, lease_until = NULL
WHERE id = ?1 AND state <> 'delivered' AND (lease_until IS NULL OR lease_until < ?2) RETURNING id";
    let statements = vec![Stmt::new(sql, [id.into(), now.into()]), done];
    let changed = ports.sql.batch(statements).await?;
    Ok(changed.first().is_some_and(|rows| !rows.is_empty()))
}

/// Ids of deliveries that are due and that nobody holds, oldest first.
pub fn due(now: Timestamp, limit: i64) -> Stmt {
    let sql = "-- delivery::due
SELECT id FROM delivery WHERE state = 'pending' AND due_at <= ?1 AND (lease_until IS NULL OR lease_until < ?1)
ORDER BY due_at LIMIT ?2";
    Stmt::new(sql, [now.into(), limit.into()])
}

/// One delivery.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Delivery>> {
    let sql = "-- delivery::find\nSELECT * FROM delivery WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

/// The deliveries of one event, oldest first; to one owner's destinations, or all.
pub async fn of_event(ports: &Ports<'_>, event_id: &str, owner: Option<&str>) -> Result<Vec<Delivery>> {
    let sql = "-- delivery::of_event
SELECT * FROM delivery WHERE event_id = ?1
  AND (?2 IS NULL OR destination_id IN (SELECT id FROM destination WHERE owner = ?2)) ORDER BY id";
    ports.sql.rows(Stmt::new(sql, [event_id.into(), owner.into()])).await
}

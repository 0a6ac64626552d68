//! The table `conversation`: threads at services that an agent works on.

use super::json_text;
use crate::error::{Error, Result};
use crate::ports::{Ports, Stmt};
use crate::time::{DAY, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// How long a callback token is good after the last message either way, in milliseconds.
pub const TOKEN_LIFE: i64 = 7 * DAY;

/// A thread at a service that an agent works on.
#[derive(Debug, Clone, Deserialize)]
pub struct Conversation {
    /// `cnv_…`
    pub id: String,
    /// Where its events come in.
    pub source: String,
    /// The integration's name.
    pub integration: String,
    /// Whose credential answers; none means the app's own.
    pub connection_id: Option<String>,
    /// Installation, workspace or tenant at the service.
    pub account: Option<String>,
    /// The connection's owner.
    pub owner: Option<String>,
    /// The agent.
    pub destination_id: String,
    /// `open`, `completed` or `failed`.
    pub state: String,
    /// How often it was opened.
    pub turn: i64,
    /// When the callback token ends.
    pub token_expires_at: Timestamp,
    /// What opened this turn.
    pub first_event_id: String,
    /// The outside user whose message opened this turn, where the service names one.
    pub opened_by: Option<String>,
    /// The outside user's id at the service, while one user alone has spoken in this turn.
    pub only_user_id: Option<String>,
    /// Where an answer goes: the context of the latest message.
    #[serde(deserialize_with = "json_text")]
    pub context: Value,
}

/// A message from a service that opens or joins a conversation.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the table")]
pub struct Incoming<'a> {
    pub new_id: &'a str,
    pub source: &'a str,
    pub thread: &'a str,
    pub integration: &'a str,
    pub connection_id: Option<&'a str>,
    pub account: Option<&'a str>,
    pub owner: Option<&'a str>,
    pub destination_id: &'a str,
    pub event_id: &'a str,
    pub user: Option<&'a str>,
    pub user_id: Option<&'a str>,
    pub context: &'a Value,
}

// Event ids sort by time: a message that is delivered again, or late, neither reopens a conversation nor turns the
// answer back to an older place.
const OPEN: &str = "-- conversation::open
INSERT INTO conversation (id, source, thread, integration, connection_id, account, owner, destination_id, state, turn,
  token_expires_at, first_event_id, last_event_id, context, opened_by, only_user_id, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'open', 1, ?9, ?10, ?10, ?11, ?13, ?14, ?12, ?12)
ON CONFLICT (source, thread) DO UPDATE SET
  turn = turn + (state <> 'open' AND ?10 > last_event_id),
  first_event_id = CASE WHEN state <> 'open' AND ?10 > last_event_id THEN ?10 ELSE first_event_id END,
  opened_by = CASE WHEN state <> 'open' AND ?10 > last_event_id THEN ?13 ELSE opened_by END,
  only_user_id = CASE WHEN state <> 'open' AND ?10 > last_event_id THEN ?14
    WHEN only_user_id = ?14 THEN only_user_id ELSE NULL END,
  destination_id = CASE WHEN ?10 > last_event_id THEN ?8 ELSE destination_id END,
  state = CASE WHEN ?10 > last_event_id THEN 'open' ELSE state END,
  account = CASE WHEN ?10 > last_event_id THEN ?6 ELSE account END,
  context = CASE WHEN ?10 > last_event_id THEN ?11 ELSE context END,
  last_event_id = max(last_event_id, ?10), token_expires_at = ?9, updated_at = ?12
RETURNING *";

/// Opens a conversation, or joins the one of the same thread; two messages at once make one.
pub async fn open(ports: &Ports<'_>, m: &Incoming<'_>) -> Result<Conversation> {
    let now = ports.host.now();
    let params = [
        m.new_id.into(),
        m.source.into(),
        m.thread.into(),
        m.integration.into(),
        m.connection_id.into(),
        m.account.into(),
        m.owner.into(),
        m.destination_id.into(),
        (now + TOKEN_LIFE).into(),
        m.event_id.into(),
        m.context.to_string().into(),
        now.into(),
        m.user.into(),
        m.user_id.into(),
    ];
    let row = ports.sql.first(Stmt::new(OPEN, params)).await?;
    row.ok_or_else(|| Error::Internal("an upsert returned no row".into()))
}

/// The conversation of a thread.
pub async fn of_thread(ports: &Ports<'_>, source: &str, thread: &str) -> Result<Option<Conversation>> {
    let sql = "-- conversation::of_thread\nSELECT * FROM conversation WHERE source = ?1 AND thread = ?2";
    ports.sql.first(Stmt::new(sql, [source.into(), thread.into()])).await
}

/// One conversation.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Conversation>> {
    let sql = "-- conversation::find\nSELECT * FROM conversation WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

/// The statement that stores how the agent left it. A turn that was over stays over; an answer that only repeats, or
/// contradicts, an earlier one of the same fingerprint (its first run is not there) changes nothing.
pub fn answered(id: &str, turn: i64, state: &str, fingerprint: &str, first_run: &str, now: Timestamp) -> Stmt {
    let sql = "-- conversation::answered
UPDATE conversation SET state = CASE WHEN state = 'open' THEN ?3 ELSE state END, token_expires_at = ?4, updated_at = ?5
WHERE id = ?1 AND turn = ?2 AND (EXISTS (SELECT 1 FROM run WHERE id = ?6)
  OR ?6 = '' AND NOT EXISTS (SELECT 1 FROM run WHERE conversation_id = ?1 AND fingerprint = ?7))";
    Stmt::new(
        sql,
        [
            id.into(),
            turn.into(),
            state.into(),
            (now + TOKEN_LIFE).into(),
            now.into(),
            first_run.into(),
            fingerprint.into(),
        ],
    )
}

/// The statement that forgets, at most 500 at a time, conversations that nobody has used since `before` and that no
/// token is good for any more; `first` is the smallest id of that time.
pub fn purge(first: &str, before: Timestamp, now: Timestamp) -> Stmt {
    let sql = "-- conversation::purge
DELETE FROM conversation WHERE id IN (SELECT id FROM
    (SELECT id, updated_at, token_expires_at FROM conversation WHERE id < ?1 ORDER BY id LIMIT 1000)
  WHERE updated_at < ?2 AND token_expires_at < ?3 LIMIT 500) RETURNING id";
    Stmt::new(sql, [first.into(), before.into(), now.into()])
}

/// The statement that ends a turn whose latest message did not reach the agent.
pub fn abandoned(id: &str, event_id: &str, now: Timestamp) -> Stmt {
    let sql = "-- conversation::abandoned
UPDATE conversation SET state = 'failed', updated_at = ?3 WHERE id = ?1 AND last_event_id = ?2 AND state = 'open'";
    Stmt::new(sql, [id.into(), event_id.into(), now.into()])
}

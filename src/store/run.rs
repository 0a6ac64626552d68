//! The table `run`: calls of actions, each begun in the database before it is begun at the service.

use super::{audit, json_text, optional_json_text, truth};
use crate::error::Result;
use crate::ports::{Ports, Stmt};
use crate::time::{DAY, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To be tried, at once or later.
    Pending,
    /// Being tried.
    Running,
    /// Done, with a result.
    Succeeded,
    /// Refused for good, or given up.
    Failed,
    /// It may have taken effect; the service's answer was lost and cannot be looked up.
    Ambiguous,
}

impl Status {
    /// The name in the database and in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// One try of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// Milliseconds that it took.
    pub ms: i64,
    /// The status of the reply, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it did not end the run, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One call of an action.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    /// `run_…`
    pub id: String,
    /// The conversation that asked for it.
    pub conversation_id: Option<String>,
    /// The integration's name.
    pub integration: String,
    /// Whose credential acts; none means the app's own.
    pub connection_id: Option<String>,
    /// Installation, workspace or tenant at the service.
    pub account: Option<String>,
    /// The connection's owner.
    pub owner: Option<String>,
    /// Who waits for it: `admin` or a key's id; none for an agent's answer.
    #[serde(default)]
    pub principal: Option<String>,
    /// What two equal calls have in common.
    #[serde(default)]
    pub fingerprint: String,
    /// The action's name.
    pub action: String,
    /// Its inputs.
    #[serde(deserialize_with = "json_text")]
    pub inputs: Value,
    /// Where it stands.
    pub status: Status,
    /// Whether an earlier try may have taken effect.
    #[serde(deserialize_with = "truth")]
    pub unsettled: bool,
    /// Every try so far.
    #[serde(deserialize_with = "json_text")]
    pub attempts: Vec<Attempt>,
    /// What the service answered.
    #[serde(deserialize_with = "optional_json_text")]
    pub result: Option<Value>,
    /// `{code, detail}` of what ended it.
    #[serde(deserialize_with = "optional_json_text")]
    pub error: Option<Value>,
    /// What it has in common with the earlier message that it changes, if there is one; none: it changes none.
    pub place: Option<String>,
    /// The next try.
    pub due_at: Option<Timestamp>,
    /// Whose credential acted: a connection's id, or `app:{integration}`. None: none has yet.
    #[serde(default)]
    pub acted_as: Option<String>,
    /// The outside user on whose behalf a conversation's action runs, where one alone has spoken in the turn.
    #[serde(default)]
    pub external_user_id: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Most bytes of a result that are kept with its run: D1's rows hold 2,000,000 bytes altogether.
const MAX_RESULT: usize = 1_000_000;

/// The member of a stored result that says that there was one which is not kept.
const NOT_KEPT: &str = "result_not_kept_bytes";

/// A result as it is stored.
fn kept(result: &Value) -> String {
    let text = result.to_string();
    match text.len() > MAX_RESULT {
        true => json!({NOT_KEPT: text.len()}).to_string(),
        false => text,
    }
}

impl Run {
    /// The size in bytes of a result that was too large to be kept.
    pub fn result_not_kept(&self) -> Option<u64> {
        let members = self.result.as_ref()?.as_object().filter(|members| members.len() == 1)?;
        members.get(NOT_KEPT)?.as_u64()
    }

    /// A run of this action with these inputs that nothing has happened to, due now; of nobody and nothing yet.
    pub fn new(id: String, action: &str, inputs: Value, now: Timestamp) -> Self {
        Self {
            id,
            conversation_id: None,
            integration: String::new(),
            connection_id: None,
            account: None,
            owner: None,
            principal: None,
            fingerprint: String::new(),
            action: action.to_owned(),
            inputs,
            status: Status::Pending,
            unsettled: false,
            attempts: Vec::new(),
            result: None,
            error: None,
            place: None,
            due_at: Some(now),
            acted_as: None,
            external_user_id: None,
            created_at: now,
            updated_at: now,
        }
    }
}

const INSERT: &str = "-- run::insert
INSERT INTO run (id, conversation_id, fingerprint, ordinal, integration, connection_id, account, owner, action, inputs,
  status, unsettled, attempts, place, seq, due_at, created_at, updated_at, external_user_id)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending', 0, '[]', ?13,
  CASE WHEN ?14 THEN (SELECT coalesce(max(seq), 0) + 1 FROM run WHERE conversation_id = ?2) END, ?11, ?11, ?11, ?15
WHERE ?1 = ?12 OR EXISTS (SELECT 1 FROM run WHERE id = ?12)
ON CONFLICT (conversation_id, fingerprint, ordinal) WHERE conversation_id IS NOT NULL DO NOTHING";

/// What a run of a conversation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All runs of the conversation that were asked for before it.
    InTurn,
    /// Nothing.
    Beside,
}

/// The statement that stores a new run of a callback, unless the same callback was there before: `first` is the id of
/// its first run, whose row decides for all.
pub fn insert(run: &Run, first: &str, fingerprint: &str, ordinal: usize, order: Order) -> Stmt {
    Stmt::new(
        INSERT,
        [
            run.id.as_str().into(),
            run.conversation_id.as_deref().into(),
            fingerprint.into(),
            i64::try_from(ordinal).unwrap_or(i64::MAX).into(),
            run.integration.as_str().into(),
            run.connection_id.as_deref().into(),
            run.account.as_deref().into(),
            run.owner.as_deref().into(),
            run.action.as_str().into(),
            run.inputs.to_string().into(),
            run.created_at.into(),
            first.into(),
            run.place.as_deref().into(),
            (order == Order::InTurn).into(),
            run.external_user_id.as_deref().into(),
        ],
    )
}

/// How long a caller's `Idempotency-Key` stands for its run, in milliseconds.
pub const KEY_LIFE: i64 = DAY;

const FORGET_KEY: &str = "-- run::forget_key
UPDATE run SET idempotency_key = NULL WHERE principal = ?1 AND idempotency_key = ?2 AND created_at < ?3";

const BEGIN: &str = "-- run::begin
INSERT INTO run (id, fingerprint, ordinal, integration, connection_id, owner, principal, idempotency_key, action, inputs,
  status, unsettled, attempts, result, error, due_at, lease_by, lease_until, created_at, updated_at)
VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
ON CONFLICT (principal, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING id";

/// Stores a run whose caller waits, begun by `holder` until `until` or, without one, as it ended. False: the caller's
/// key stands for an earlier run.
pub async fn begin(ports: &Ports<'_>, run: &Run, key: Option<&str>, holder: Option<(&str, Timestamp)>) -> Result<bool> {
    let mut statements = Vec::new();
    if let Some(key) = key {
        let params = [
            run.principal.as_deref().into(),
            key.into(),
            (run.created_at + -KEY_LIFE).into(),
        ];
        statements.push(Stmt::new(FORGET_KEY, params));
    }
    let params = [
        run.id.as_str().into(),
        run.fingerprint.as_str().into(),
        run.integration.as_str().into(),
        run.connection_id.as_deref().into(),
        run.owner.as_deref().into(),
        run.principal.as_deref().into(),
        key.into(),
        run.action.as_str().into(),
        run.inputs.to_string().into(),
        run.status.as_str().into(),
        json!(run.attempts).to_string().into(),
        run.result.as_ref().map(kept).into(),
        run.error.as_ref().map(Value::to_string).into(),
        run.due_at.into(),
        holder.map(|(holder, _)| holder).into(),
        holder.map(|(_, until)| until).into(),
        run.created_at.into(),
        run.updated_at.into(),
    ];
    // One that is over already, of an account: nothing else will say that its credential was used.
    if let (Some(_), Some(account)) = (&run.connection_id, account_used(run)) {
        statements.push(used(ports, run, &account));
    }
    statements.push(Stmt::new(BEGIN, params));
    let rows = ports.sql.batch(statements).await?.pop().unwrap_or_default();
    Ok(!rows.is_empty())
}

const AGAIN: &str = "-- run::begin_again
UPDATE run SET status = 'running', error = NULL, lease_by = ?2, lease_until = ?3, due_at = ?4, updated_at = ?4
WHERE id = ?1 AND status = 'failed' RETURNING *";

/// Claims a run that failed in a way that passes, for another call with its key.
pub async fn begin_again(
    ports: &Ports<'_>,
    id: &str,
    holder: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Option<Run>> {
    let params = [id.into(), holder.into(), until.into(), now.into()];
    ports.sql.first(Stmt::new(AGAIN, params)).await
}

/// The run that a caller's key stands for.
pub async fn find_by_key(ports: &Ports<'_>, principal: &str, key: &str) -> Result<Option<Run>> {
    let sql = "-- run::find_by_key\nSELECT * FROM run WHERE principal = ?1 AND idempotency_key = ?2";
    ports.sql.first(Stmt::new(sql, [principal.into(), key.into()])).await
}

/// The statement that reads the runs of one callback, in order.
pub fn of_callback(conversation_id: &str, fingerprint: &str) -> Stmt {
    let sql = "-- run::of_callback
SELECT * FROM run WHERE conversation_id = ?1 AND fingerprint = ?2 ORDER BY ordinal";
    Stmt::new(sql, [conversation_id.into(), fingerprint.into()])
}

// A claim that ran out while `running` means that a worker died between asking the service and writing down its
// answer: whether that try took effect is open.
const LEASE: &str = "-- run::lease
UPDATE run SET unsettled = CASE WHEN status = 'running' THEN 1 ELSE unsettled END, status = 'running', lease_by = ?2,
  lease_until = ?3, updated_at = ?4
WHERE id = ?1 AND status IN ('pending', 'running') AND due_at <= ?4 AND (lease_until IS NULL OR lease_until < ?4)
  AND NOT EXISTS (SELECT 1 FROM run AS earlier WHERE earlier.conversation_id = run.conversation_id
    AND earlier.seq < run.seq AND earlier.status IN ('pending', 'running'))
RETURNING *";

/// Claims a due run for `holder` until `until`, unless it waits for another of its conversation.
pub async fn lease(ports: &Ports<'_>, id: &str, holder: &str, until: Timestamp, now: Timestamp) -> Result<Option<Run>> {
    let params = [id.into(), holder.into(), until.into(), now.into()];
    ports.sql.first(Stmt::new(LEASE, params)).await
}

/// Whose credential the last try of a run used: known of a request that was answered, and to be taken for granted of one that
/// may have taken effect.
fn account_used(run: &Run) -> Option<String> {
    let answered = run.attempts.last().is_some_and(|a| a.status.is_some());
    let used = answered || run.unsettled || run.status == Status::Ambiguous;
    let whose = || {
        run.connection_id
            .clone()
            .unwrap_or_else(|| format!("app:{}", run.integration))
    };
    used.then(|| run.acted_as.clone().unwrap_or_else(whose))
}

/// The statement that notes who used it.
fn used(ports: &Ports<'_>, run: &Run, account: &str) -> Stmt {
    let entry = audit::Entry {
        actor: run.principal.as_deref().unwrap_or(audit::HUB),
        act: "credential.used",
        subject: account,
        owner: run.owner.as_deref(),
        detail: &json!({"run_id": run.id, "integration": run.integration, "action": run.action}),
    };
    audit::append(ports.host, entry)
}

const FINISH: &str = "-- run::finish
UPDATE run SET status = ?3, unsettled = ?4, attempts = ?5, result = ?6, error = ?7, due_at = ?8, updated_at = ?9,
  place = ?10, acted_as = COALESCE(?11, acted_as), lease_by = NULL, lease_until = NULL
WHERE id = ?1 AND lease_by = ?2";

const NEXT: &str = "-- run::next
SELECT later.id FROM run JOIN run AS later ON later.conversation_id = run.conversation_id AND later.seq > run.seq
WHERE run.id = ?1 AND run.status NOT IN ('pending', 'running') AND later.status = 'pending'
ORDER BY later.seq LIMIT 1";

/// Stores what a try came to, if `holder` still has the claim. Gives the id of the run that waited for this one, if it
/// is over. Where a request went out, the use of its credential is noted.
pub async fn finish(ports: &Ports<'_>, run: &Run, holder: &str) -> Result<Option<String>> {
    let account = account_used(run);
    let params = [
        run.id.as_str().into(),
        holder.into(),
        run.status.as_str().into(),
        run.unsettled.into(),
        json!(run.attempts).to_string().into(),
        run.result.as_ref().map(kept).into(),
        run.error.as_ref().map(Value::to_string).into(),
        run.due_at.into(),
        run.updated_at.into(),
        run.place.as_deref().into(),
        account.as_deref().into(),
    ];
    let mut statements = vec![Stmt::new(FINISH, params)];
    if let Some(account) = &account {
        statements.push(used(ports, run, account));
    }
    statements.push(Stmt::new(NEXT, [run.id.as_str().into()]));
    let rows = ports.sql.batch(statements).await?.pop().unwrap_or_default();
    let id = rows.first().and_then(|row| row.get("id")?.as_str());
    Ok(id.map(str::to_owned))
}

/// Before the place of a message that is written anew, because the earlier one cannot be changed.
pub const ANEW: char = '!';

/// The result of the message of the same place that was written before `run`, if one was.
pub async fn message_before(ports: &Ports<'_>, run: &Run) -> Result<Option<Value>> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(deserialize_with = "optional_json_text")]
        result: Option<Value>,
    }
    let sql = "-- run::message_before
SELECT earlier.result FROM run JOIN run AS earlier ON earlier.conversation_id = run.conversation_id
  AND ltrim(earlier.place, '!') = run.place AND earlier.seq < run.seq
WHERE run.id = ?1 AND earlier.status = 'succeeded' ORDER BY earlier.seq DESC LIMIT 1";
    let row: Option<Row> = ports.sql.first(Stmt::new(sql, [run.id.as_str().into()])).await?;
    Ok(row.and_then(|row| row.result))
}

/// Whether a conversation has runs whose fingerprint begins so, besides those of `own`.
pub async fn has_other(ports: &Ports<'_>, conversation_id: &str, beginning: &str, own: &str) -> Result<bool> {
    let sql = "-- run::has_other
SELECT id FROM run WHERE conversation_id = ?1 AND fingerprint >= ?2 AND fingerprint < ?2 || '~' AND fingerprint <> ?3
LIMIT 1";
    let params = [conversation_id.into(), beginning.into(), own.into()];
    let found: Option<Value> = ports.sql.first(Stmt::new(sql, params)).await?;
    Ok(found.is_some())
}

/// Ids of runs that are due, that nobody holds and that wait for no other, oldest first.
pub fn due(now: Timestamp, limit: i64) -> Stmt {
    let sql = "-- run::due
SELECT id FROM run WHERE status IN ('pending', 'running') AND due_at <= ?1
  AND (lease_until IS NULL OR lease_until < ?1)
  AND NOT EXISTS (SELECT 1 FROM run AS earlier WHERE earlier.conversation_id = run.conversation_id
    AND earlier.seq < run.seq AND earlier.status IN ('pending', 'running')) ORDER BY due_at LIMIT ?2";
    Stmt::new(sql, [now.into(), limit.into()])
}

/// One run.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<Run>> {
    let sql = "-- run::find\nSELECT * FROM run WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

/// A page of a conversation's runs, newest first; of one owner where named.
pub async fn of_conversation(
    ports: &Ports<'_>,
    conversation: &str,
    owner: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Run>> {
    let sql = "-- run::of_conversation
SELECT * FROM run WHERE conversation_id = ?1 AND (?2 IS NULL OR id < ?2) AND (?4 IS NULL OR owner = ?4)
ORDER BY id DESC LIMIT ?3";
    let params = [conversation.into(), before.into(), limit.into(), owner.into()];
    ports.sql.rows(Stmt::new(sql, params)).await
}

/// The statement that forgets, at most 500 at a time, ended runs with ids before `before`.
pub fn purge(before: &str) -> Stmt {
    let sql = "-- run::purge
DELETE FROM run WHERE id IN (SELECT id FROM (SELECT id, status FROM run WHERE id < ?1 ORDER BY id LIMIT 1000)
  WHERE status NOT IN ('pending', 'running') LIMIT 500) RETURNING id";
    Stmt::new(sql, [before.into()])
}

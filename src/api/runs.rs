//! `/api/v1/runs`: calls of actions, and what became of them.

use super::Call;
use super::input::{Query, missing, ok, path_id, time};
use crate::error::Result;
use crate::http::Response;
use crate::id::Kind;
use crate::store::run::{self, Attempt, Run};
use crate::store::search;
use serde_json::{Value, json};

/// A page, newest first. Of an owner's runs it may be short, even empty, and yet not the last one: see `next_cursor`.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["conversation_id"])?;
    let limit = query.limit()?;
    let conversation = query.text("conversation_id");
    let after = query.after(Kind::Run)?;
    let (ports, owner, after) = (&call.hub.ports, call.owner(), after.as_deref());
    if let Some(conversation) = conversation {
        let rows = run::of_conversation(ports, &conversation, owner, after, limit + 1).await?;
        return Ok(query.page(rows, limit, |r| &r.id, show_run));
    }
    let page = search::runs(ports, owner, after, limit).await?;
    Ok(query.listed(page.rows.iter().map(show_run).collect(), page.next.as_deref()))
}

/// One run.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    let id = path_id(call, Kind::Run, "run")?;
    let run = run::find(&call.hub.ports, id)
        .await?
        .filter(|run| call.sees(run.owner.as_deref()))
        .ok_or_else(|| missing("run"))?;
    Ok(ok(&show_run(&run)))
}

fn show_run(run: &Run) -> Value {
    let attempts: Vec<Value> = run.attempts.iter().map(show_attempt).collect();
    json!({
        "id": run.id,
        "conversation_id": run.conversation_id,
        "integration": run.integration,
        "connection_id": run.connection_id,
        "acted_as": run.acted_as,
        "external_user_id": run.external_user_id,
        "action": run.action,
        "inputs": run.inputs,
        "status": run.status,
        "attempts": attempts,
        "result": run.result,
        "error": run.error,
        "next_attempt_at": run.due_at.map(time),
        "created_at": time(run.created_at),
        "updated_at": time(run.updated_at),
    })
}

fn show_attempt(attempt: &Attempt) -> Value {
    json!({"at": time(attempt.at), "ms": attempt.ms, "status": attempt.status, "reason": attempt.reason})
}

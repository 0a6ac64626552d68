//! `/api/v1/audit`: who did what, and the proof that nobody changed it since.

use super::Call;
use super::input::{Query, ok, time};
use crate::error::Result;
use crate::http::Response;
use crate::id::Kind;
use crate::store::audit::{self, Filter, Row};
use serde_json::{Value, json};

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["actor", "act", "subject"])?;
    let filter = Filter {
        actor: query.text("actor"),
        act: query.text("act"),
        subject: query.text("subject"),
    };
    let after = query.after(Kind::Audit)?;
    let (rows, next) = audit::list(&call.hub.ports, &filter, after.as_deref(), query.limit()?).await?;
    Ok(query.listed(rows.iter().map(show).collect(), next.as_deref()))
}

/// Proves the chain of seals, a part of it at a time where it is long.
pub async fn verify(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &[])?;
    let after = query.after(Kind::Audit)?;
    let verdict = call.hub.verify_audit(after.as_deref()).await?;
    let cursor = verdict.next.as_deref().map(|id| query.cursor(id));
    Ok(ok(&json!({
        "valid": verdict.broken.is_none(),
        "verified": verdict.verified,
        "broken": verdict.broken,
        "head": verdict.head.map(|(id, seal)| json!({"id": id, "seal": seal})),
        "unsealed": {"count": verdict.unsealed.len(), "first": verdict.unsealed.first(), "last": verdict.unsealed.last()},
        "next_cursor": cursor,
    })))
}

fn show(row: &Row) -> Value {
    json!({
        "id": row.id,
        "at": time(row.at),
        "actor": row.actor,
        "act": row.act,
        "subject": row.subject,
        "owner": row.owner,
        "detail": row.detail,
        "seal": row.seal,
    })
}

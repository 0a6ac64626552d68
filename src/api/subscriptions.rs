//! `/api/v1/subscriptions`: what services must be asked for, again and again, before they send webhooks.

use super::Call;
use super::input::{Query, check_text, json_body, missing, ok, path_id, time};
use crate::error::Result;
use crate::http::Response;
use crate::hub::NewSubscription;
use crate::id::Kind;
use crate::poll::keeper::Kept;
use crate::store::poll::{self, Filter, Poll};
use serde_json::{Value, json};

/// Subscribes; the reply says whether that went well already.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let new: NewSubscription = json_body(call).await?;
    new.name.iter().try_for_each(|name| check_text("/name", name))?;
    let may_use = |owner: Option<&str>| call.sees(owner);
    let made = call.hub.create_subscription(new, &may_use, call.actor()).await?;
    Ok(Response::json(201, &show_subscription(&made)))
}

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["connection_id", "state"])?;
    let limit = query.limit()?;
    let after = query.after(Kind::Subscription)?;
    let connection_id = query.text("connection_id");
    let state = query.one_of("state", &["active", "needs_attention"])?;
    let filter = Filter {
        owner: call.owner(),
        connection_id: connection_id.as_deref(),
        state: state.as_deref(),
        before: after.as_deref(),
    };
    let rows = poll::list(&call.hub.ports, poll::Kind::Subscription, &filter, limit + 1).await?;
    Ok(query.page(rows, limit, |s| &s.id, show_subscription))
}

/// One subscription and its health.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    Ok(ok(&show_subscription(&seen(call).await?)))
}

/// Ends it at the service, and forgets it.
pub async fn delete(call: &Call<'_>) -> Result<Response> {
    call.hub.delete_subscription(&seen(call).await?, call.actor()).await?;
    Ok(Response::empty(204))
}

/// Renews it now.
pub async fn renew(call: &Call<'_>) -> Result<Response> {
    let found = seen(call).await?;
    let renewed = call
        .hub
        .run_poll(&found.id)
        .await?
        .ok_or_else(|| missing("subscription"))?;
    Ok(ok(&show_subscription(&renewed)))
}

/// The subscription that the path names, if the caller may see it.
async fn seen(call: &Call<'_>) -> Result<Poll> {
    let id = path_id(call, Kind::Subscription, "subscription")?;
    let found = poll::find(&call.hub.ports, id).await?;
    found
        .filter(|s| call.sees(s.owner.as_deref()))
        .ok_or_else(|| missing("subscription"))
}

fn show_subscription(row: &Poll) -> Value {
    let kept = Kept::of(row).unwrap_or_default();
    json!({
        "id": row.id,
        "name": row.name,
        "integration": row.integration,
        "subscription": row.part,
        "connection_id": row.connection_id,
        "owner": row.owner,
        "inputs": row.inputs,
        "state": row.state,
        "service_id": kept.id,
        "expires_at": kept.expires_at.map(time),
        "renewed_at": row.last_poll_ts.map(time),
        "next_renewal_at": row.due_at.map(time),
        "last_error": row.last_error,
        "failures": row.failures,
        "failing_since": row.failing_since.map(time),
        "created_at": time(row.created_at),
    })
}

//! `/api/v1/polls`: what is asked from time to time, and how it fares.

use super::Call;
use super::input::{Query, check_text, json_body, missing, ok, path_id, time};
use crate::error::Result;
use crate::http::Response;
use crate::hub::{NewPoll, PollChange};
use crate::id::Kind;
use crate::interval;
use crate::store::poll::{self, Filter, Poll};
use serde_json::{Value, json};

/// Makes a poll; its first run is at the next tick.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let mut new: NewPoll = json_body(call).await?;
    new.name.iter().try_for_each(|name| check_text("/name", name))?;
    if new.connection_id.is_none() {
        new.owner = call.owner_of_new(new.owner)?;
    }
    let may_use = |owner: Option<&str>| call.sees(owner);
    let made = call.hub.create_poll(new, &may_use, call.actor()).await?;
    Ok(Response::json(201, &show_poll(call, &made)))
}

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["connection_id", "state"])?;
    let limit = query.limit()?;
    let after = query.after(Kind::Poll)?;
    let connection_id = query.text("connection_id");
    let state = query.one_of("state", &["active", "paused", "needs_attention"])?;
    let filter = Filter {
        owner: call.owner(),
        connection_id: connection_id.as_deref(),
        state: state.as_deref(),
        before: after.as_deref(),
    };
    let rows = poll::list(&call.hub.ports, poll::Kind::Trigger, &filter, limit + 1).await?;
    Ok(query.page(rows, limit, |p| &p.id, |p| show_poll(call, p)))
}

/// One poll and its health.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    Ok(ok(&show_poll(call, &seen(call).await?)))
}

/// Changes the name or the interval, or lets it rest.
pub async fn change(call: &Call<'_>) -> Result<Response> {
    let found = seen(call).await?;
    let change: PollChange = json_body(call).await?;
    change.name.iter().try_for_each(|name| check_text("/name", name))?;
    let changed = call.hub.change_poll(found, change, call.actor()).await?;
    Ok(ok(&show_poll(call, &changed)))
}

/// Forgets a poll; its events stay.
pub async fn delete(call: &Call<'_>) -> Result<Response> {
    call.hub.delete_poll(&seen(call).await?, call.actor()).await?;
    Ok(Response::empty(204))
}

/// Runs a poll now, and shows how it fared.
pub async fn run(call: &Call<'_>) -> Result<Response> {
    let found = seen(call).await?;
    let ran = call.hub.run_poll(&found.id).await?.ok_or_else(|| missing("poll"))?;
    let new = ran.items_seen - found.items_seen;
    let mut shown = show_poll(call, &ran);
    if let Value::Object(members) = &mut shown {
        members.insert("new_items".to_owned(), json!(new));
    }
    Ok(ok(&shown))
}

/// The poll that the path names, if the caller may see it.
async fn seen(call: &Call<'_>) -> Result<Poll> {
    let id = path_id(call, Kind::Poll, "poll")?;
    let found = poll::find(&call.hub.ports, id).await?;
    found
        .filter(|p| call.sees(p.owner.as_deref()))
        .ok_or_else(|| missing("poll"))
}

fn show_poll(call: &Call<'_>, poll: &Poll) -> Value {
    let now = call.hub.ports.host.now();
    json!({
        "id": poll.id,
        "name": poll.name,
        "integration": poll.integration,
        "trigger": poll.part,
        "connection_id": poll.connection_id,
        "owner": poll.owner,
        "inputs": poll.inputs,
        "interval": interval::text(poll.interval),
        "backfill": poll.backfill,
        "state": poll.state,
        "running": poll.lease_until.is_some_and(|until| until > now),
        "next_due_at": poll.due_at.map(time),
        "lag_s": poll.due_at.map(|due| ((now.0 - due.0) / 1_000).max(0)),
        "last_poll_ts": poll.last_poll_ts.map(time),
        "last_run_at": poll.last_run_at.map(time),
        "last_error": poll.last_error,
        "failures": poll.failures,
        "failing_since": poll.failing_since.map(time),
        "items_seen": poll.items_seen,
        "ids_known": poll.seen.len(),
        "catching_up": poll.progress.walk.as_ref().is_some_and(|walk| walk.listed > 0),
        "created_at": time(poll.created_at),
        "updated_at": time(poll.updated_at),
    })
}

//! `/api/v1/events/{id}/replay`, `/api/v1/events/replay` and `/api/v1/replays`: events once more.

use super::Call;
use super::input::{Query, json_body, missing, ok, optional_json_body, path_id, time};
use crate::error::{Error, Result};
use crate::http::Response;
use crate::id::{self, Kind};
use crate::store::destination::{self, Destination};
use crate::store::event;
use crate::store::replay::{self, Job};
use crate::store::search::Filter;
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct One {
    #[serde(default)]
    destination_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    #[serde(deserialize_with = "super::strict::object")]
    filter: Filter,
    #[serde(default)]
    dry_run: bool,
}

/// Sends one event again: to one destination, or to all that want it.
pub async fn one(call: &Call<'_>) -> Result<Response> {
    let id = path_id(call, Kind::Event, "event")?;
    let asked: One = optional_json_body(call).await?;
    let found = event::find(&call.hub.ports, id).await?;
    let found = found.filter(|f| call.sees(f.event.owner.as_deref()));
    let full = found.ok_or_else(|| missing("event"))?;
    if let Some(id) = &asked.destination_id {
        let destination = receiver(call, id, "/destination_id").await?;
        if !destination.wants(&full.event) {
            let message = "gets no such events: its owner is another, or none of its `event_types` fits";
            return Err(Error::invalid("/destination_id", message));
        }
    }
    let owner = full.event.owner.as_deref();
    call.hub.replay(id, owner, asked.destination_id, call.actor()).await?;
    Ok(Response::json(202, &json!({"id": id, "status": "pending"})))
}

/// Counts what a replay would send, or begins it.
pub async fn many(call: &Call<'_>) -> Result<Response> {
    let Many { filter, dry_run } = json_body(call).await?;
    check(&filter)?;
    if let Some(id) = &filter.destination_id {
        receiver(call, id, "/filter/destination_id").await?;
    }
    if dry_run {
        let plan = call.hub.plan_replay(&filter, call.owner()).await?;
        return Ok(ok(&json!({
            "dry_run": true, "events": plan.events, "scanned": plan.scanned, "complete": plan.complete,
        })));
    }
    let job = call.hub.start_replay(filter, call.owner(), call.actor()).await?;
    Ok(Response::json(202, &show_job(&job)))
}

/// A page of replays, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &[])?;
    let limit = query.limit()?;
    let after = query.after(Kind::Replay)?;
    let rows = replay::list(&call.hub.ports, call.owner(), after.as_deref(), limit + 1).await?;
    Ok(query.page(rows, limit, |job| &job.id, show_job))
}

/// How far a replay is.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    Ok(ok(&show_job(&find(call).await?)))
}

/// Ends a replay. What it sent before stays sent.
pub async fn cancel(call: &Call<'_>) -> Result<Response> {
    let job = find(call).await?;
    if !call.hub.cancel_replay(&job, call.actor()).await? {
        return Err(Error::Conflict(format!("the replay is {}", job.state)));
    }
    Ok(ok(&show_job(&find(call).await?)))
}

async fn find(call: &Call<'_>) -> Result<Job> {
    let id = path_id(call, Kind::Replay, "replay")?;
    let found = replay::find(&call.hub.ports, id).await?;
    found
        .filter(|job| call.sees(job.owner.as_deref()))
        .ok_or_else(|| missing("replay"))
}

fn check(filter: &Filter) -> Result<()> {
    for (name, text) in [("since", &filter.since), ("until", &filter.until)] {
        if text.as_deref().is_some_and(|t| Timestamp::parse_rfc3339(t).is_none()) {
            let message = "must be a time like 2026-01-31T12:00:00Z";
            return Err(Error::invalid(format!("/filter/{name}"), message));
        }
    }
    let known = |text: &Option<String>, states: &[&str]| text.as_deref().is_none_or(|t| states.contains(&t));
    if !known(&filter.status, &["dispatched", "failed"]) {
        return Err(Error::invalid("/filter/status", "must be `dispatched` or `failed`"));
    }
    if !known(&filter.delivery_status, &["pending", "delivered", "failed", "skipped"]) {
        return Err(Error::invalid(
            "/filter/delivery_status",
            "must be `pending`, `delivered`, `failed` or `skipped`",
        ));
    }
    Ok(())
}

/// The destination that a replay is for: one that is there and on, for else nothing would be sent.
async fn receiver(call: &Call<'_>, id: &str, at: &str) -> Result<Destination> {
    let found = match id::is(Kind::Destination, id) {
        true => destination::find(&call.hub.ports, id).await?,
        false => None,
    };
    let destination = found
        .filter(|d| call.sees(d.owner.as_deref()))
        .ok_or_else(|| Error::invalid(at, "must be the id of a destination"))?;
    if !destination.enabled {
        let message = "the destination is switched off; switch it on, then replay";
        return Err(Error::Conflict(message.into()));
    }
    Ok(destination)
}

fn show_job(job: &Job) -> Value {
    json!({
        "id": job.id,
        "filter": job.filter,
        "status": job.state,
        "scanned": job.scanned,
        "replayed": job.replayed,
        "actor": job.actor,
        "created_at": time(job.created_at),
        "updated_at": time(job.updated_at),
    })
}

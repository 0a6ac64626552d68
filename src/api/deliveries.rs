//! `/api/v1/deliveries`: messages to destinations.

use super::Call;
use super::input::{Query, missing, path_id, time};
use crate::error::Result;
use crate::http::Response;
use crate::id::Kind;
use crate::store::delivery::{self, Attempt, Delivery};
use crate::store::{audit, destination, search};
use serde_json::{Value, json};

/// A page, newest first. Those of one event come on one page, oldest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["event_id", "destination_id", "status"])?;
    let limit = query.limit()?;
    let destination = query.text("destination_id");
    let status = query.one_of("status", &["pending", "delivered", "failed", "skipped"])?;
    let ports = &call.hub.ports;
    if let Some(event_id) = query.text("event_id") {
        let fits = |d: &Delivery| {
            destination.as_ref().is_none_or(|id| d.destination_id == *id)
                && status.as_ref().is_none_or(|s| d.state == *s)
        };
        let all = delivery::of_event(ports, &event_id, call.owner()).await?;
        let data = all.iter().filter(|d| fits(d)).map(show_delivery).collect();
        return Ok(query.listed(data, None));
    }
    let before = query.after(Kind::Delivery)?;
    let (destination, status) = (destination.as_deref(), status.as_deref());
    let page = search::deliveries(ports, destination, status, call.owner(), before.as_deref(), limit).await?;
    Ok(query.listed(page.rows.iter().map(show_delivery).collect(), page.next.as_deref()))
}

/// Tries a delivery again, now.
pub async fn retry(call: &Call<'_>) -> Result<Response> {
    let id = path_id(call, Kind::Delivery, "delivery")?;
    let ports = &call.hub.ports;
    // An owner's deliveries are those to its own destinations.
    let found = delivery::find(ports, id).await?.ok_or_else(|| missing("delivery"))?;
    if call.owner().is_some() {
        let destination = destination::find(ports, &found.destination_id).await?;
        let own = destination.is_some_and(|d| call.sees(d.owner.as_deref()));
        if !own {
            return Err(missing("delivery"));
        }
    }
    if found
        .note
        .as_deref()
        .is_some_and(|note| note.starts_with(Kind::Run.prefix()))
    {
        return Err(crate::Error::Conflict(
            "its action was carried out as the run that `note` names; replay the event for another one".into(),
        ));
    }
    let done = audit::Entry {
        actor: call.actor(),
        act: "delivery.retried",
        subject: id,
        owner: call.owner(),
        detail: &json!({"event_id": found.event_id, "destination_id": found.destination_id}),
    };
    let done = audit::append_if_changed(ports.host, done);
    if !delivery::retry(ports, id, ports.host.now(), done).await? {
        return Err(crate::Error::Conflict(match found.state.as_str() {
            "delivered" => "it was delivered".into(),
            _ => "the delivery is being tried at this moment".into(),
        }));
    }
    call.hub.call(id).await;
    let found = delivery::find(ports, id).await?.ok_or_else(|| missing("delivery"))?;
    Ok(Response::json(202, &show_delivery(&found)))
}

/// A delivery for people and programs.
pub fn show_delivery(delivery: &Delivery) -> Value {
    let attempts: Vec<Value> = delivery.attempts.iter().map(show_attempt).collect();
    json!({
        "id": delivery.id,
        "event_id": delivery.event_id,
        "destination_id": delivery.destination_id,
        "conversation_id": delivery.conversation_id,
        "message": delivery.message,
        "status": delivery.state,
        "note": delivery.note,
        "replay": delivery.replay,
        "order_key": delivery.order_key,
        "attempts": attempts,
        "next_attempt_at": delivery.due_at.map(time),
        "created_at": time(delivery.created_at),
        "updated_at": time(delivery.updated_at),
    })
}

fn show_attempt(attempt: &Attempt) -> Value {
    json!({
        "at": time(attempt.at),
        "ms": attempt.ms,
        "status": attempt.status,
        "error": attempt.error,
        "reply": attempt.reply,
    })
}

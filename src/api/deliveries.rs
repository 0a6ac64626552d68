//! `/api/v1/deliveries`: messages to destinations.

use super::Call;
use super::input::{Query, missing, path_id, time};
use crate::error::Result;
use crate::http::Response;
use crate::id::Kind;
use crate::store::delivery::{self, Attempt, Delivery, Filter};
use crate::store::destination;
use serde_json::{Value, json};

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["event_id", "destination_id", "status"])?;
    let limit = query.limit()?;
    let filter = Filter {
        event_id: query.text("event_id"),
        destination_id: query.text("destination_id"),
        status: query.text("status"),
        owner: call.owner().map(str::to_owned),
        before: query.after(Kind::Delivery)?,
        limit: limit + 1,
    };
    let rows = delivery::list(&call.hub.ports, &filter).await?;
    Ok(query.page(rows, limit, |d| &d.id, show_delivery))
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
    if !delivery::retry(ports, id, ports.host.now()).await? {
        return Err(match delivery::find(ports, id).await? {
            Some(d) if d.state == "delivered" => crate::Error::Conflict("it was delivered".into()),
            Some(_) => crate::Error::Conflict("the delivery is being tried at this moment".into()),
            None => missing("delivery"),
        });
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

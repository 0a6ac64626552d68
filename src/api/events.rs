//! `/api/v1/events`: what came in, and what became of it.

use super::Call;
use super::deliveries;
use super::input::{Query, missing, ok, path_id, time};
use crate::error::Result;
use crate::event::envelope;
use crate::http::{Headers, Response};
use crate::id::Kind;
use crate::store::delivery;
use crate::store::event::{self, Event, Filter, Full};
use serde_json::{Map, Value, json};

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(
        call,
        &["service", "type", "connection_id", "status", "since", "until", "q"],
    )?;
    let limit = query.limit()?;
    let filter = Filter {
        service: query.text("service"),
        r#type: query.text("type"),
        connection_id: query.text("connection_id"),
        status: query.text("status"),
        since: query.time("since")?,
        until: query.time("until")?,
        q: query.text("q"),
        owner: call.owner().map(str::to_owned),
        before: query.after(Kind::Event)?,
        limit: limit + 1,
    };
    let rows = event::list(&call.hub.ports, &filter).await?;
    Ok(query.page(rows, limit, |e| &e.id, |e| Value::Object(show_event(e))))
}

/// One event with its payload and its story.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    let full = find(call).await?;
    let deliveries = delivery::of_event(&call.hub.ports, &full.event.id, call.owner()).await?;
    let mut shown = show_event(&full.event);
    match call.hub.document(&full).await {
        Ok((body, payload)) => shown.extend(envelope::data(&full.event, &body, &payload)),
        // The story of an event whose payload cannot be read is the one that is wanted most.
        Err(error) => {
            shown.insert("payload_error".into(), json!(error.public_detail()));
        }
    }
    let headers: Value = serde_json::from_str(&full.headers).unwrap_or_default();
    shown.insert("headers".into(), headers);
    let deliveries: Vec<Value> = deliveries.iter().map(deliveries::show_delivery).collect();
    shown.insert("deliveries".into(), json!(deliveries));
    Ok(ok(&shown))
}

/// The exact bytes that came.
pub async fn payload(call: &Call<'_>) -> Result<Response> {
    let full = find(call).await?;
    let body = full.payload(&call.hub.ports).await?;
    // Served as bytes to save: what a stranger sent must not be shown by a browser under this origin.
    let headers = Headers::from_pairs([
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment; filename=\"payload\""),
        (
            "x-payload-content-type",
            full.event.content_type.as_deref().unwrap_or_default(),
        ),
    ]);
    Ok(Response {
        status: 200,
        headers,
        body,
    })
}

async fn find(call: &Call<'_>) -> Result<Full> {
    let id = path_id(call, Kind::Event, "event")?;
    event::find(&call.hub.ports, id)
        .await?
        .filter(|full| call.sees(full.event.owner.as_deref()))
        .ok_or_else(|| missing("event"))
}

fn show_event(event: &Event) -> Map<String, Value> {
    let mut shown = envelope::envelope(event);
    shown.insert("service".into(), json!(event.service));
    shown.insert("status".into(), json!(event.state));
    shown.insert("received_at".into(), time(event.received_at));
    shown.insert("owner".into(), json!(event.owner));
    shown.insert("context".into(), json!(event.context));
    shown.insert("decision".into(), json!(event.decision));
    shown.insert("dispatch_tries".into(), json!(event.tries));
    shown.insert("size".into(), json!(event.size));
    shown
}

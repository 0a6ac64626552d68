//! `/api/v1/events`: what came in, and what became of it.

use super::Call;
use super::deliveries;
use super::input::{Query, json_body, missing, ok, path_id, time};
use crate::error::{Error, Result};
use crate::event::envelope;
use crate::http::{Headers, Response};
use crate::id::Kind;
use crate::store::event::{self, Event, Full};
use crate::store::search::{self, Filter};
use crate::store::{audit, delivery};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A page, newest first. With a filter it may be short, even empty, and yet not the last one: see `next_cursor`.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(
        call,
        &["service", "type", "connection_id", "status", "since", "until", "q"],
    )?;
    query.time("since")?;
    query.time("until")?;
    let filter = Filter {
        service: query.text("service"),
        r#type: query.text("type"),
        connection_id: query.text("connection_id"),
        status: query.one_of("status", &["pending", "dispatched", "failed"])?,
        since: query.text("since"),
        until: query.text("until"),
        q: query.text("q"),
        destination_id: None,
        delivery_status: None,
    };
    let before = query.after(Kind::Event)?;
    let page = search::events(
        &call.hub.ports,
        &filter,
        call.owner(),
        before.as_deref(),
        query.limit()?,
    )
    .await?;
    let data = page.rows.iter().map(|e| Value::Object(show_event(e))).collect();
    Ok(query.listed(data, page.next.as_deref()))
}

/// Events as they come. A reply ends with what it found, or after 25 s; its last id is where the next one begins.
pub async fn stream(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["after"])?;
    // What a client resumes with is newer than what its URL says.
    let last = call.head.headers.get("last-event-id").map(str::to_owned);
    let after = last.filter(|id| !id.is_empty()).or(query.text("after"));
    let text = call.hub.follow(call.owner(), after.as_deref()).await?;
    Ok(Response {
        status: 200,
        headers: Headers::from_pairs([("content-type", "text/event-stream; charset=utf-8")]),
        body: text.into_bytes(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    hold: bool,
}

/// Keeps an event from being purged, or lets it be purged again.
pub async fn change(call: &Call<'_>) -> Result<Response> {
    let Change { hold } = json_body(call).await?;
    let full = find(call).await?;
    let ports = &call.hub.ports;
    let done = audit::Entry {
        actor: call.actor(),
        act: if hold { "event.held" } else { "event.let_go" },
        subject: &full.event.id,
        owner: full.event.owner.as_deref(),
        detail: &json!({}),
    };
    let statements = vec![
        event::hold(&full.event.id, hold),
        audit::append_if_changed(ports.host, done),
    ];
    let changed = ports.sql.batch(statements).await?;
    if changed.first().is_none_or(Vec::is_empty) {
        return Err(Error::Conflict("the event is being purged".into()));
    }
    Ok(ok(&show_event(&find(call).await?.event)))
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
    let found = event::find(&call.hub.ports, id).await?;
    found
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
    shown.insert("hold".into(), json!(event.hold));
    shown
}

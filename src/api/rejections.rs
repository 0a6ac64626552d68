//! `/api/v1/rejections` and `/api/v1/webhooks/explain`: why a delivery was refused.

use super::Call;
use super::input::{Query, json_body, missing, ok, path_id, time};
use crate::error::{Error, Result};
use crate::http::Response;
use crate::hub::Captured;
use crate::id::{self, Kind};
use crate::store::connection;
use crate::store::rejection::{self, Rejection};
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    connection_id: Option<String>,
    request: Captured,
    #[serde(default)]
    received_at: Option<String>,
}

/// A page of samples, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["service", "cause"])?;
    let limit = query.limit()?;
    let (service, cause) = (query.text("service"), query.text("cause"));
    let after = query.after(Kind::Rejection)?;
    let ports = &call.hub.ports;
    let rows = rejection::list(ports, service.as_deref(), cause.as_deref(), after.as_deref(), limit + 1).await?;
    Ok(query.page(rows, limit, |r| &r.id, show))
}

/// Takes a refused delivery that was kept, after its cause is mended.
pub async fn release(call: &Call<'_>) -> Result<Response> {
    let id = path_id(call, Kind::Rejection, "rejection")?;
    let sample = rejection::find(&call.hub.ports, id)
        .await?
        .ok_or_else(|| missing("rejection"))?;
    call.hub.release(&sample, call.actor(), call.trace_id).await
}

/// Says which check a captured request fails, and the likely cause.
pub async fn explain(call: &Call<'_>) -> Result<Response> {
    let question: Question = json_body(call).await?;
    let received_at = match &question.received_at {
        Some(text) => Some(
            Timestamp::parse_rfc3339(text)
                .ok_or_else(|| Error::invalid("/received_at", "must be a time like 2026-01-31T12:00:00Z"))?,
        ),
        None => None,
    };
    let service = match (&question.service, &question.connection_id) {
        (Some(service), _) => service.clone(),
        (None, Some(id)) => service_of(call, id).await?,
        (None, None) => return Err(Error::invalid("/service", "or `connection_id` is needed")),
    };
    let connection = question.connection_id.as_deref();
    let explanation = call
        .hub
        .explain(&service, connection, &question.request, received_at)
        .await?;
    Ok(ok(&explanation))
}

async fn service_of(call: &Call<'_>, connection_id: &str) -> Result<String> {
    if !id::is(Kind::Connection, connection_id) {
        return Err(missing("connection"));
    }
    let found = connection::find(&call.hub.ports, connection_id).await?;
    Ok(found.ok_or_else(|| missing("connection"))?.integration)
}

fn show(rejection: &Rejection) -> Value {
    json!({
        "id": rejection.id,
        "service": rejection.service,
        "connection_id": rejection.connection_id,
        "cause": rejection.cause,
        "detail": rejection.detail,
        "size": rejection.size,
        "body_sha256": rejection.body_hash,
        "trace_id": rejection.trace_id,
        "received_at": time(rejection.received_at),
        "releasable": rejection.request.is_some(),
        "event_id": rejection.event_id,
    })
}

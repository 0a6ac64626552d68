//! Whether the hub is alive, and fit to serve.

use super::Call;
use super::input::ok;
use crate::error::Result;
use crate::http::{Headers, Response};
use serde_json::json;

/// `GET /healthz`: the Worker runs.
pub fn health() -> Response {
    ok(&json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /readyz`: the database answers and has the tables that this code was written for.
pub async fn ready(call: &Call<'_>) -> Result<Response> {
    let schema_version = call.hub.ready().await?;
    Ok(ok(&json!({"status": "ok", "schema_version": schema_version})))
}

/// `GET /metrics`: the hub's state for Prometheus.
pub async fn metrics(call: &Call<'_>) -> Result<Response> {
    let text = call.hub.metrics().await?;
    Ok(Response {
        status: 200,
        headers: Headers::from_pairs([("content-type", "text/plain; version=0.0.4; charset=utf-8")]),
        body: text.into_bytes(),
    })
}

//! `/api/v1/integrations`: what can be connected.

use super::Call;
use super::input::ok;
use crate::error::{Error, Result};
use crate::http::Response;
use crate::manifest::Manifest;
use crate::registry;
use crate::store::definition;
use serde_json::{Value, json};

/// Most posted integrations that the list shows.
const MAX_POSTED: i64 = 200;

/// Every integration by name and description: the built-in ones, then those that were posted.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let mut data = Vec::new();
    for entry in registry::all() {
        data.push(summary(entry.manifest()?));
    }
    for posted in definition::list(&call.hub.ports, None, MAX_POSTED).await? {
        data.push(summary(&Manifest::parse(&posted.text)?));
    }
    Ok(ok(&json!({ "data": data, "next_cursor": null })))
}

fn summary(manifest: &Manifest) -> Value {
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "docs": manifest.docs,
        "webhook": manifest.webhook.is_some(),
        "actions": manifest.actions.keys().collect::<Vec<_>>(),
    })
}

/// One manifest, with its schemas.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    let name = call.param("name");
    let text = match registry::get(name) {
        Ok(entry) => entry.text.to_owned(),
        Err(missing) => definition::find(&call.hub.ports, name).await?.ok_or(missing)?.text,
    };
    let manifest: Value =
        serde_json::from_str(&text).map_err(|e| Error::Internal(format!("the manifest of `{name}`: {e}")))?;
    Ok(ok(&manifest))
}

//! `/api/v1/integrations`: what can be connected.

use super::Call;
use super::input::ok;
use crate::error::{Error, Result};
use crate::http::Response;
use crate::registry;
use serde_json::{Value, json};

/// Every integration by name and description.
pub fn list() -> Result<Response> {
    let mut data = Vec::new();
    for entry in registry::all() {
        let manifest = entry.manifest()?;
        data.push(json!({
            "name": manifest.name,
            "version": manifest.version,
            "description": manifest.description,
            "docs": manifest.docs,
            "webhook": manifest.webhook.is_some(),
            "actions": manifest.actions.keys().collect::<Vec<_>>(),
        }));
    }
    Ok(ok(&json!({ "data": data, "next_cursor": null })))
}

/// One manifest, with its schemas.
pub fn show(call: &Call<'_>) -> Result<Response> {
    let entry = registry::get(call.param("name"))?;
    let manifest: Value =
        serde_json::from_str(entry.text).map_err(|e| Error::Internal(format!("integrations/{}: {e}", entry.name)))?;
    Ok(ok(&manifest))
}

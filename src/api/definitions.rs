//! `/api/v1/integration-definitions`: integrations posted at run time.

use super::Call;
use super::input::{Query, json_body, missing};
use crate::error::Result;
use crate::http::Response;
use crate::id::{self, Kind};
use crate::store::definition::{self, Definition};
use serde_json::{Value, json};

/// Takes a manifest, a definition of source 003 or a `config.json` of source 002.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let manifest: Value = json_body(call).await?;
    let (definition, warnings) = call.hub.define(&manifest, call.actor()).await?;
    let mut shown = show(&definition);
    if let (false, Some(members)) = (warnings.is_empty(), shown.as_object_mut()) {
        members.insert("warnings".into(), json!(warnings));
    }
    Ok(Response::json(201, &shown))
}

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &[])?;
    let limit = query.limit()?;
    let after = query.after(Kind::Definition)?;
    let rows = definition::list(&call.hub.ports, after.as_deref(), limit + 1).await?;
    Ok(query.page(rows, limit, |d| &d.id, show))
}

/// Removes a definition. Events that came by it stay; deliveries to it are answered with 404 from then on.
pub async fn delete(call: &Call<'_>) -> Result<Response> {
    let id = call.param("id");
    if id::is(Kind::Definition, id) && definition::delete(&call.hub.ports, id, call.actor()).await? {
        return Ok(Response::empty(204));
    }
    Err(missing("definition"))
}

fn show(definition: &Definition) -> Value {
    json!({
        "id": definition.id,
        "name": definition.name,
        "status": "PUBLISHED",
        // The member's spelling is source 003's.
        "createdAt": definition.created_at.rfc3339(),
    })
}

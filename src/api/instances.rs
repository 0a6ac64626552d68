//! `/api/v1/integration-instances`: connections in source 003's words.

use super::Call;
use super::connections::{instance_id, seen};
use super::input::{Query, check_text, json_body, ok};
use crate::error::{Error, Result};
use crate::http::Response;
use crate::hub::{ConnectionChange, NewConnection};
use crate::id::{self, Kind};
use crate::store::connection::{self, Connection};
use crate::store::definition;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct New {
    integration_definition_id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    config: Map<String, Value>,
}

/// Makes an instance.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let new: New = json_body(call).await?;
    for (pointer, text) in [("/name", &new.name), ("/owner", &new.owner)] {
        text.as_deref().map_or(Ok(()), |text| check_text(pointer, text))?;
    }
    call.check_may_refer(&new.config)?;
    let wanted = NewConnection {
        integration: named(call, &new.integration_definition_id).await?,
        name: new.name,
        owner: call.owner_of_new(new.owner)?,
        auth: None,
        config: new.config,
    };
    let connection = call.hub.connect(wanted, call.actor()).await?;
    Ok(Response::json(201, &shown(call, &connection).await?))
}

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &[])?;
    let limit = query.limit()?;
    let after = query.after(Kind::Connection)?;
    let rows = connection::list(&call.hub.ports, call.owner(), after.as_deref(), limit + 1).await?;
    Ok(query.page(rows, limit, |c| &c.id, |c| show(c, &c.integration)))
}

/// One instance.
pub async fn show_one(call: &Call<'_>) -> Result<Response> {
    let connection = seen(call).await?;
    Ok(ok(&shown(call, &connection).await?))
}

/// Changes the settings that are there.
pub async fn change(call: &Call<'_>) -> Result<Response> {
    let change: ConnectionChange = json_body(call).await?;
    change
        .name
        .as_deref()
        .map_or(Ok(()), |name| check_text("/name", name))?;
    call.check_may_refer(&change.config)?;
    let found = seen(call).await?;
    let changed = call.hub.change(&found.id, change, call.actor()).await?;
    let connection = changed.ok_or_else(|| super::input::missing("instance"))?;
    Ok(ok(&shown(call, &connection).await?))
}

/// A posted definition may be named by its id; connections keep its name.
async fn named(call: &Call<'_>, wanted: &str) -> Result<String> {
    if !id::is(Kind::Definition, wanted) {
        return Ok(wanted.to_owned());
    }
    let found = definition::find(&call.hub.ports, wanted).await?;
    found
        .map(|d| d.name)
        .ok_or_else(|| Error::IntegrationNotFound(wanted.to_owned()))
}

async fn shown(call: &Call<'_>, c: &Connection) -> Result<Value> {
    let posted = match crate::registry::get(&c.integration) {
        Ok(_) => None,
        Err(_) => definition::find(&call.hub.ports, &c.integration).await?,
    };
    Ok(show(c, posted.as_ref().map_or(&c.integration, |d| &d.id)))
}

fn show(c: &Connection, definition_id: &str) -> Value {
    json!({
        "id": instance_id(&c.id),
        "integrationDefinitionId": definition_id,
        "name": c.name,
        "owner": c.owner,
        "status": c.status,
        "config": c.config,
        "createdAt": c.created_at.rfc3339(),
        "updatedAt": c.updated_at.rfc3339(),
    })
}

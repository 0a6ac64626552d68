//! `/api/v1/connections`: accounts at services.

use super::Call;
use super::input::{Query, check_text, json_body, missing, ok, time};
use crate::error::Result;
use crate::http::Response;
use crate::hub::{ConnectionChange, NewConnection, webhook_path};
use crate::id::{self, Kind};
use crate::store::connection::{self, Connection};
use serde_json::{Value, json};

/// Makes a connection from its settings.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let mut new: NewConnection = json_body(call).await?;
    new.owner = call.owner_of_new(new.owner)?;
    for (pointer, text) in [("/name", &new.name), ("/owner", &new.owner)] {
        text.as_deref().map_or(Ok(()), |text| check_text(pointer, text))?;
    }
    call.check_may_refer(&new.config)?;
    let connection = call.hub.connect(new, call.actor()).await?;
    Ok(Response::json(201, &show_connection(call, &connection)))
}

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &[])?;
    let limit = query.limit()?;
    let after = query.after(Kind::Connection)?;
    let rows = connection::list(&call.hub.ports, call.owner(), after.as_deref(), limit + 1).await?;
    Ok(query.page(rows, limit, |c| &c.id, |c| show_connection(call, c)))
}

/// One connection, without its secrets.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    let connection = seen(call).await?;
    let mut shown = show_connection(call, &connection);
    if let (Value::Object(members), Some(secret)) = (&mut shown, call.hub.learned_secret(&connection)?) {
        members.insert("learned_webhook_secret".into(), json!(secret.expose()));
    }
    Ok(ok(&shown))
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
    let connection = changed.ok_or_else(|| missing("connection"))?;
    Ok(ok(&show_connection(call, &connection)))
}

/// Ends its tokens at the service, then forgets a connection and its secrets.
pub async fn delete(call: &Call<'_>) -> Result<Response> {
    let connection = seen(call).await?;
    call.hub.disconnect(&connection, call.actor()).await?;
    Ok(Response::empty(204))
}

/// What ids of connections begin with in source 003's words.
const INSTANCE: &str = "int_inst_";

/// A connection's id in source 003's words.
pub fn instance_id(id: &str) -> String {
    format!("{INSTANCE}{}", id.trim_start_matches(Kind::Connection.prefix()))
}

/// The connection that the path names, if the caller may see it.
pub async fn seen(call: &Call<'_>) -> Result<Connection> {
    let given = call.param("id");
    // Source 003's name of the same row.
    let id = match given.strip_prefix(INSTANCE) {
        Some(rest) => format!("{}{rest}", Kind::Connection.prefix()),
        None => given.to_owned(),
    };
    if !id::is(Kind::Connection, &id) {
        return Err(missing("connection"));
    }
    let found = connection::find(&call.hub.ports, &id).await?;
    found
        .filter(|c| call.sees(c.owner.as_deref()))
        .ok_or_else(|| missing("connection"))
}

fn show_connection(call: &Call<'_>, connection: &Connection) -> Value {
    json!({
        "id": connection.id,
        "integration": connection.integration,
        "name": connection.name,
        "owner": connection.owner,
        "status": connection.status,
        "auth": connection.method,
        "user_id": connection.user_id,
        "user_name": connection.user_name,
        "config": connection.config,
        "webhook_path": webhook_path(&connection.integration, &connection.id),
        "webhook_url": call.hub.webhook_url(&connection.integration, &connection.id).ok(),
        "created_at": time(connection.created_at),
        "updated_at": time(connection.updated_at),
    })
}

//! `/api/v1/account-links`: which outside user is which inside one.

use super::Call;
use super::input::{Query, check_text, json_body, missing, path_id, time};
use crate::credential;
use crate::error::{Error, Result};
use crate::http::Response;
use crate::id::{self, Kind};
use crate::store::account_link::{self, AccountLink};
use crate::store::audit;
use crate::store::connection;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    owner: String,
    integration: String,
    external_user_id: String,
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    connection_id: Option<String>,
}

/// Says that an outside user is an inside one.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let new: New = json_body(call).await?;
    check_text("/owner", &new.owner)?;
    check_text("/external_user_id", &new.external_user_id)?;
    let integration = call.hub.integration(&new.integration).await?;
    let ports = &call.hub.ports;
    let mut config = Value::Null;
    if let Some(id) = &new.connection_id {
        let found = connection::find(ports, id).await?;
        let fits = |c: &connection::Connection| {
            c.owner.as_deref() == Some(new.owner.as_str()) && c.integration == new.integration
        };
        if !found.as_ref().is_some_and(fits) {
            let message = "is no connection of this owner to this integration";
            return Err(Error::invalid("/connection_id", message));
        }
        config = found.map_or(Value::Null, |c| c.config);
    }
    let server = match new.server {
        None => credential::server(integration.manifest()?, &config, ports.host)?,
        Some(_) if !config.is_null() => {
            return Err(Error::invalid("/server", "is that of the connection: leave it out"));
        }
        Some(url) => credential::server(integration.manifest()?, &json!({"base_url": url}), ports.host)
            .map_err(|e| Error::invalid("/server", e.public_detail()))?,
    };
    let link = AccountLink {
        id: id::new(Kind::AccountLink, ports.host),
        integration: new.integration,
        server,
        external_user_id: new.external_user_id,
        external_name: None,
        owner: new.owner,
        connection_id: new.connection_id,
        created_at: ports.host.now(),
    };
    let made = ports.sql.first::<AccountLink>(account_link::put(&link)).await?;
    let made = made.ok_or_else(|| {
        Error::Conflict("this outside user is linked to another owner; remove that link first".into())
    })?;
    note(call, "account_link.created", &made).await?;
    Ok(Response::json(201, &show(&made)))
}

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &["owner", "integration"])?;
    let limit = query.limit()?;
    let after = query.after(Kind::AccountLink)?;
    let (owner, integration) = (query.text("owner"), query.text("integration"));
    let rows = account_link::list(
        &call.hub.ports,
        owner.as_deref(),
        integration.as_deref(),
        after.as_deref(),
        limit + 1,
    )
    .await?;
    Ok(query.page(rows, limit, |l| &l.id, show))
}

/// Removes a link; the connection stays.
pub async fn delete(call: &Call<'_>) -> Result<Response> {
    let id = path_id(call, Kind::AccountLink, "account link")?;
    let ports = &call.hub.ports;
    let found = account_link::find(ports, id)
        .await?
        .ok_or_else(|| missing("account link"))?;
    ports
        .sql
        .batch(vec![
            account_link::delete(id),
            entry(call, "account_link.deleted", &found),
        ])
        .await?;
    Ok(Response::empty(204))
}

async fn note(call: &Call<'_>, act: &str, link: &AccountLink) -> Result<()> {
    call.hub.ports.sql.batch(vec![entry(call, act, link)]).await?;
    Ok(())
}

fn entry(call: &Call<'_>, act: &str, link: &AccountLink) -> crate::ports::Stmt {
    let detail = json!({"integration": link.integration, "external_user_id": link.external_user_id});
    let entry = audit::Entry {
        actor: call.actor(),
        act,
        subject: &link.id,
        owner: Some(&link.owner),
        detail: &detail,
    };
    audit::append(call.hub.ports.host, entry)
}

fn show(link: &AccountLink) -> Value {
    json!({
        "id": link.id,
        "owner": link.owner,
        "integration": link.integration,
        "server": Some(&link.server).filter(|server| !server.is_empty()),
        "external_user_id": link.external_user_id,
        "external_name": link.external_name,
        "connection_id": link.connection_id,
        "created_at": time(link.created_at),
    })
}

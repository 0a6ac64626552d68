//! `/api/v1/destinations`: the user's programs.

use super::Call;
use super::input::{Query, check_text, json_body, missing, ok, path_id, time};
use crate::action::egress;
use crate::delivery::{attempt, sign};
use crate::error::{Error, Result};
use crate::http::Response;
use crate::id::{self, Kind};
use crate::settings;
use crate::store::destination::{self, Destination, Role};
use serde::Deserialize;
use serde_json::{Value, json};

/// Most globs of one destination, and characters of one.
const MAX_GLOBS: (usize, usize) = (100, 200);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    url: String,
    event_types: Vec<String>,
    #[serde(default = "subscriber")]
    role: Role,
    #[serde(default)]
    allowed_actions: Vec<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default = "yes")]
    enabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: Option<String>,
    url: Option<String>,
    event_types: Option<Vec<String>>,
    role: Option<Role>,
    allowed_actions: Option<Vec<String>>,
    enabled: Option<bool>,
}

fn subscriber() -> Role {
    Role::Subscriber
}

fn yes() -> bool {
    true
}

/// Makes a destination; its signing secret is shown this once.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let new: New = json_body(call).await?;
    let ports = &call.hub.ports;
    let id = id::new(Kind::Destination, ports.host);
    let secret = sign::new_secret(ports.host);
    let now = ports.host.now();
    let destination = Destination {
        secret: attempt::seal_secret(ports, &id, &secret)?,
        id,
        name: new.name,
        url: new.url,
        event_types: new.event_types,
        role: new.role,
        allowed_actions: new.allowed_actions,
        owner: call.owner_of_new(new.owner)?,
        enabled: new.enabled,
        disabled_reason: None,
        created_at: now,
        updated_at: now,
    };
    check(call, &destination)?;
    destination::save(ports, &destination).await?;
    let mut shown = show_destination(&destination);
    if let Value::Object(members) = &mut shown {
        members.insert("secret".into(), json!(secret.expose()));
    }
    Ok(Response::json(201, &shown))
}

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &[])?;
    let limit = query.limit()?;
    let after = query.after(Kind::Destination)?;
    let rows = destination::list(&call.hub.ports, call.owner(), after.as_deref(), limit + 1).await?;
    Ok(query.page(rows, limit, |d| &d.id, show_destination))
}

/// One destination.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    Ok(ok(&show_destination(&find(call).await?)))
}

/// Changes the members that are there. Switching one on again forgets why it was off.
pub async fn change(call: &Call<'_>) -> Result<Response> {
    let change: Change = json_body(call).await?;
    let mut destination = find(call).await?;
    destination.name = change.name.unwrap_or(destination.name);
    destination.url = change.url.unwrap_or(destination.url);
    destination.event_types = change.event_types.unwrap_or(destination.event_types);
    destination.role = change.role.unwrap_or(destination.role);
    destination.allowed_actions = change.allowed_actions.unwrap_or(destination.allowed_actions);
    if let Some(enabled) = change.enabled {
        destination.enabled = enabled;
        destination.disabled_reason = None;
    }
    destination.updated_at = call.hub.ports.host.now();
    check(call, &destination)?;
    destination::save(&call.hub.ports, &destination).await?;
    Ok(ok(&show_destination(&destination)))
}

/// Removes a destination; its open deliveries end at their next try.
pub async fn delete(call: &Call<'_>) -> Result<Response> {
    let found = find(call).await?;
    if destination::delete(&call.hub.ports, &found.id).await? {
        return Ok(Response::empty(204));
    }
    Err(missing("destination"))
}

async fn find(call: &Call<'_>) -> Result<Destination> {
    let id = path_id(call, Kind::Destination, "destination")?;
    destination::find(&call.hub.ports, id)
        .await?
        .filter(|d| call.sees(d.owner.as_deref()))
        .ok_or_else(|| missing("destination"))
}

fn check(call: &Call<'_>, destination: &Destination) -> Result<()> {
    check_text("/name", &destination.name)?;
    if let Some(owner) = &destination.owner {
        check_text("/owner", owner)?;
    }
    let (globs, length) = MAX_GLOBS;
    let sound = |glob: &String| !glob.is_empty() && glob.len() <= length;
    let count = destination.event_types.len();
    if count == 0 || count > globs || !destination.event_types.iter().all(sound) {
        return Err(Error::invalid(
            "/event_types",
            "must hold 1 to 100 globs such as `service.issue.*`",
        ));
    }
    egress::origin(&destination.url).map_err(|e| Error::invalid("/url", e.to_string()))?;
    egress::check_public(&destination.url, settings::allow_private_network(call.hub.ports.host)).map(|_| ())
}

fn show_destination(destination: &Destination) -> Value {
    json!({
        "id": destination.id,
        "name": destination.name,
        "url": destination.url,
        "event_types": destination.event_types,
        "role": destination.role,
        "allowed_actions": destination.allowed_actions,
        "owner": destination.owner,
        "enabled": destination.enabled,
        "disabled_reason": destination.disabled_reason,
        "created_at": time(destination.created_at),
        "updated_at": time(destination.updated_at),
    })
}

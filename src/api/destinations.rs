//! `/api/v1/destinations`: the user's programs.

use super::Call;
use super::input::{Query, check_text, json_body, missing, ok, path_id, some, time};
use crate::action::egress;
use crate::delivery::{attempt, sign, view};
use crate::error::{Error, Result};
use crate::http::Response;
use crate::id::{self, Kind};
use crate::ports::Stmt;
use crate::secret::Secret;
use crate::settings;
use crate::store::destination::{self, Destination, Retry, Role, Settings, Target};
use crate::store::{audit, connection};
use serde::Deserialize;
use serde_json::{Value, json};

/// Most globs of one destination, and characters of one.
const MAX_GLOBS: (usize, usize) = (100, 200);

/// Most waits of a schedule, and the longest one, in seconds.
const MAX_WAITS: (usize, u32) = (30, 7 * 24 * 3_600);

/// Most bytes of a destination's settings.
const MAX_SETTINGS: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    #[serde(default)]
    url: Option<String>,
    event_types: Vec<String>,
    #[serde(default = "subscriber")]
    role: Role,
    #[serde(default)]
    allowed_actions: Vec<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    filter: Option<Value>,
    #[serde(default)]
    payload: Option<Value>,
    #[serde(default)]
    ordering: Option<String>,
    #[serde(default)]
    retry: Option<Retry>,
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
    target: Option<Target>,
    #[serde(default, deserialize_with = "some")]
    filter: Option<Option<Value>>,
    #[serde(default, deserialize_with = "some")]
    payload: Option<Option<Value>>,
    #[serde(default, deserialize_with = "some")]
    ordering: Option<Option<String>>,
    #[serde(default, deserialize_with = "some")]
    retry: Option<Option<Retry>>,
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
    let now = ports.host.now();
    let mut destination = Destination {
        secret: String::new(),
        id,
        name: new.name,
        url: new.url.unwrap_or_default(),
        event_types: new.event_types,
        role: new.role,
        allowed_actions: new.allowed_actions,
        owner: call.owner_of_new(new.owner)?,
        enabled: new.enabled,
        disabled_reason: None,
        settings: Settings {
            target: new.target,
            filter: new.filter,
            payload: new.payload,
            ordering: new.ordering,
            retry: new.retry,
        },
        failing_since: None,
        failed_at: None,
        created_at: now,
        updated_at: now,
    };
    check(call, &destination, true).await?;
    let secret = give_secret(call, &mut destination)?;
    let done = record(call, &destination, "destination.created");
    destination::insert(ports, &destination, done).await?;
    let mut shown = show_destination(&destination);
    if let (Value::Object(members), Some(secret)) = (&mut shown, secret) {
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
    let before = destination.updated_at;
    let was_on = destination.enabled;
    let new_target = change.target.is_some();
    let anew = change.enabled.is_some();
    destination.name = change.name.unwrap_or(destination.name);
    destination.event_types = change.event_types.unwrap_or(destination.event_types);
    destination.role = change.role.unwrap_or(destination.role);
    destination.allowed_actions = change.allowed_actions.unwrap_or(destination.allowed_actions);
    if let Some(enabled) = change.enabled {
        destination.enabled = enabled;
        destination.disabled_reason = None;
        destination.failing_since = None;
    }
    let settings = &mut destination.settings;
    if let Some(url) = change.url {
        destination.url = url;
        settings.target = None;
    }
    if let Some(target) = change.target {
        destination.url.clear();
        settings.target = Some(target);
    }
    settings.filter = change.filter.unwrap_or(settings.filter.take());
    settings.payload = change.payload.unwrap_or(settings.payload.take());
    settings.ordering = change.ordering.unwrap_or(settings.ordering.take());
    settings.retry = change.retry.unwrap_or(settings.retry.take());
    let ports = &call.hub.ports;
    destination.updated_at = ports.host.now().max(before + 1);
    check(call, &destination, new_target || (destination.enabled && !was_on)).await?;
    let secret = give_secret(call, &mut destination)?;
    let done = record(call, &destination, "destination.changed");
    if !destination::change(ports, &destination, before, anew, done).await? {
        let message = "the destination was changed or removed at the same moment; read it and try again";
        return Err(Error::Conflict(message.into()));
    }
    let mut shown = show_destination(&destination);
    if let (Value::Object(members), Some(secret)) = (&mut shown, secret) {
        members.insert("secret".into(), json!(secret.expose()));
    }
    Ok(ok(&shown))
}

/// Removes a destination; its open deliveries end at their next try.
pub async fn delete(call: &Call<'_>) -> Result<Response> {
    let destination = find(call).await?;
    let done = record(call, &destination, "destination.deleted");
    destination::delete(&call.hub.ports, &destination.id, done).await?;
    Ok(Response::empty(204))
}

async fn find(call: &Call<'_>) -> Result<Destination> {
    let id = path_id(call, Kind::Destination, "destination")?;
    destination::find(&call.hub.ports, id)
        .await?
        .filter(|d| call.sees(d.owner.as_deref()))
        .ok_or_else(|| missing("destination"))
}

/// What is posted to a URL is signed with a key of its own, made when it is first needed and shown then.
fn give_secret(call: &Call<'_>, destination: &mut Destination) -> Result<Option<Secret>> {
    if destination.settings.target.is_some() || !destination.secret.is_empty() {
        return Ok(None);
    }
    let ports = &call.hub.ports;
    let secret = sign::new_secret(ports.host);
    destination.secret = attempt::seal_secret(ports, &destination.id, &secret)?;
    Ok(Some(secret))
}

fn record(call: &Call<'_>, destination: &Destination, act: &str) -> Stmt {
    let detail = json!({"name": destination.name, "enabled": destination.enabled});
    let done = audit::Entry {
        actor: call.actor(),
        act,
        subject: &destination.id,
        owner: destination.owner.as_deref(),
        detail: &detail,
    };
    audit::append_if_changed(call.hub.ports.host, done)
}

/// Checks what a destination is to be. Its target is looked up where it `begins`: what was sound when it was made may be
/// gone by now, and must not keep anybody from switching the destination off.
async fn check(call: &Call<'_>, destination: &Destination, begins: bool) -> Result<()> {
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
    check_settings(destination)?;
    match &destination.settings.target {
        Some(target) => {
            check_alone(call, destination, target, begins)?;
            match begins {
                true => check_action(call, destination, target).await,
                false => Ok(()),
            }
        }
        None => {
            egress::origin(&destination.url).map_err(|e| Error::invalid("/url", e.to_string()))?;
            egress::check_public(&destination.url, settings::allow_private_network(call.hub.ports.host)).map(|_| ())
        }
    }
}

fn check_settings(destination: &Destination) -> Result<()> {
    let settings = &destination.settings;
    if json!(settings).to_string().len() > MAX_SETTINGS {
        return Err(Error::validation(format!(
            "filter, payload and target are larger than {MAX_SETTINGS} bytes together"
        )));
    }
    if let Some(retry) = &settings.retry {
        let (count, longest) = MAX_WAITS;
        let sound = |waits: &Vec<u32>| waits.len() <= count && waits.iter().all(|s| (1..=longest).contains(s));
        if !retry.waits_s.as_ref().is_none_or(sound) {
            return Err(Error::invalid(
                "/retry/waits_s",
                "must be up to 30 waits of 1 to 604800 seconds",
            ));
        }
        if !(1..=365).contains(&retry.disable_after_days) {
            return Err(Error::invalid("/retry/disable_after_days", "must be 1 to 365"));
        }
    }
    view::check(destination)
}

/// What acts needs a caller who may, where it begins and as long as it is on; and nothing stands beside an action.
fn check_alone(call: &Call<'_>, destination: &Destination, target: &Target, begins: bool) -> Result<()> {
    let Target::Action { inputs, .. } = target;
    if (begins || destination.enabled) && !call.principal.acts {
        return Err(Error::Forbidden(
            "an action as a destination needs a key with the scope `actions:execute` too".into(),
        ));
    }
    if destination.role == Role::Agent || !destination.url.is_empty() || destination.settings.payload.is_some() {
        return Err(Error::invalid(
            "/target",
            "stands alone: an action is no agent, has no URL, and maps its inputs instead of a payload",
        ));
    }
    if !inputs.is_object() && !inputs.is_null() {
        return Err(Error::invalid("/target/inputs", "must be an object"));
    }
    Ok(())
}

/// An action must be one that this caller's connection has.
async fn check_action(call: &Call<'_>, destination: &Destination, target: &Target) -> Result<()> {
    let Target::Action {
        connection_id, action, ..
    } = target;
    let connection = match id::is(Kind::Connection, connection_id) {
        true => connection::find(&call.hub.ports, connection_id).await?,
        false => None,
    };
    let same_owner = |owner: Option<&str>| destination.owner.is_none() || destination.owner.as_deref() == owner;
    let connection = connection
        .filter(|c| call.sees(c.owner.as_deref()) && same_owner(c.owner.as_deref()))
        .ok_or_else(|| Error::invalid("/target/connection_id", "is no connection of this owner"))?;
    let integration = call.hub.integration(&connection.integration).await?;
    integration
        .manifest()?
        .action(action)
        .map_err(|e| Error::invalid("/target/action", e.to_string()))?;
    Ok(())
}

fn show_destination(destination: &Destination) -> Value {
    let settings = &destination.settings;
    json!({
        "id": destination.id,
        "name": destination.name,
        "url": Some(&destination.url).filter(|url| !url.is_empty()),
        "target": settings.target,
        "event_types": destination.event_types,
        "filter": settings.filter,
        "payload": settings.payload,
        "ordering": settings.ordering,
        "retry": settings.retry,
        "role": destination.role,
        "allowed_actions": destination.allowed_actions,
        "owner": destination.owner,
        "enabled": destination.enabled,
        "disabled_reason": destination.disabled_reason,
        "failing_since": destination.failing_since.map(time),
        "created_at": time(destination.created_at),
        "updated_at": time(destination.updated_at),
    })
}

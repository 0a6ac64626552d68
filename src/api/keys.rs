//! `/api/v1/keys`: bearer tokens with scopes.

use super::Call;
use super::input::{Query, json_body, missing, ok, path_id, some, time};
use super::principal::new_token;
use super::route::Scope;
use crate::error::{Error, Result};
use crate::http::Response;
use crate::id::{self, Kind};
use crate::secret::Secret;
use crate::store::key::{self, Key};
use crate::time::{DAY, SECOND, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

/// How long the old token stays good after a roll, in seconds: unless said otherwise, and at most.
const OVERLAP_S: (i64, i64) = (DAY / SECOND, 30 * DAY / SECOND);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    scopes: Vec<Scope>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    expires_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: Option<String>,
    scopes: Option<Vec<Scope>>,
    // Null takes the end away; absent leaves it.
    #[serde(default, deserialize_with = "some")]
    expires_at: Option<Option<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Roll {
    #[serde(default)]
    overlap_s: Option<i64>,
}

/// Makes a key; its token is shown this once.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let new: New = json_body(call).await?;
    let ports = &call.hub.ports;
    let id = id::new(Kind::Key, ports.host);
    let token = new_token(ports, &id);
    let mut made = Key::new(id, new.name, new.scopes, &token, ports.host.now());
    made.owner = new.owner;
    made.expires_at = end(call, new.expires_at.as_deref())?;
    check(&made)?;
    key::insert(ports, &made, call.actor()).await?;
    Ok(Response::json(201, &with_token(&made, &token)))
}

/// A page, newest first.
pub async fn list(call: &Call<'_>) -> Result<Response> {
    let query = Query::of(call, &[])?;
    let limit = query.limit()?;
    let after = query.after(Kind::Key)?;
    let rows = key::list(&call.hub.ports, after.as_deref(), limit + 1).await?;
    Ok(query.page(rows, limit, |k| &k.id, show_key))
}

/// One key, without its token.
pub async fn show(call: &Call<'_>) -> Result<Response> {
    Ok(ok(&show_key(&find(call).await?)))
}

/// Changes the members that are there. Whose rows a key sees never changes: that is another key.
pub async fn change(call: &Call<'_>) -> Result<Response> {
    let change: Change = json_body(call).await?;
    let mut key = find(call).await?;
    key.name = change.name.unwrap_or(key.name);
    key.scopes = change.scopes.unwrap_or(key.scopes);
    if let Some(expires_at) = change.expires_at {
        key.expires_at = end(call, expires_at.as_deref())?;
    }
    check(&key)?;
    save(call, key, "key.changed").await.map(|key| ok(&show_key(&key)))
}

/// Gives a key a new token; the old one stays good for a while beside it.
pub async fn roll(call: &Call<'_>) -> Result<Response> {
    let roll: Roll = super::input::optional_json_body(call).await?;
    let overlap = roll.overlap_s.unwrap_or(OVERLAP_S.0);
    if !(0..=OVERLAP_S.1).contains(&overlap) {
        let message = format!("must be a whole number of seconds from 0 to {}", OVERLAP_S.1);
        return Err(Error::invalid("/overlap_s", message));
    }
    let mut key = find(call).await?;
    let ports = &call.hub.ports;
    let token = new_token(ports, &key.id);
    key.roll(&token, ports.host.now() + overlap * SECOND);
    let key = save(call, key, "key.rolled").await?;
    Ok(ok(&with_token(&key, &token)))
}

/// Ends a key at once; isolates that just used it forget it within a minute.
pub async fn delete(call: &Call<'_>) -> Result<Response> {
    let key = find(call).await?;
    key::delete(&call.hub.ports, &key, call.actor()).await?;
    Ok(Response::empty(204))
}

async fn save(call: &Call<'_>, mut key: Key, act: &str) -> Result<Key> {
    let ports = &call.hub.ports;
    let before = key.updated_at;
    key.updated_at = ports.host.now().max(before + 1);
    if !key::change(ports, &key, before, call.actor(), act).await? {
        let message = "the key was changed or deleted at the same moment; read it and try again";
        return Err(Error::Conflict(message.into()));
    }
    Ok(key)
}

async fn find(call: &Call<'_>) -> Result<Key> {
    let id = path_id(call, Kind::Key, "key")?;
    key::find(&call.hub.ports, id).await?.ok_or_else(|| missing("key"))
}

fn end(call: &Call<'_>, text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let future = Timestamp::parse_rfc3339(text).filter(|end| *end > call.hub.ports.host.now());
    let message = "must be a time to come, like 2030-01-31T12:00:00Z";
    future.map(Some).ok_or_else(|| Error::invalid("/expires_at", message))
}

fn check(key: &Key) -> Result<()> {
    super::input::check_text("/name", &key.name)?;
    if let Some(owner) = &key.owner {
        super::input::check_text("/owner", owner)?;
    }
    let repeated = |(at, scope): (usize, &Scope)| key.scopes.iter().skip(at + 1).any(|other| other == scope);
    if key.scopes.is_empty() || key.scopes.iter().enumerate().any(repeated) {
        return Err(Error::invalid("/scopes", "must hold at least one scope, and each once"));
    }
    if key.owner.is_some() && key.scopes.contains(&Scope::Admin) {
        let message = "cannot hold `admin` for a key with an owner: what needs it concerns everyone";
        return Err(Error::invalid("/scopes", message));
    }
    Ok(())
}

fn with_token(key: &Key, token: &Secret) -> Value {
    let mut shown = show_key(key);
    if let Value::Object(members) = &mut shown {
        members.insert("token".into(), json!(token.expose()));
    }
    shown
}

fn show_key(key: &Key) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "owner": key.owner,
        "expires_at": key.expires_at.map(time),
        "previous_token_until": key.previous_until.map(time),
        "last_used_at": key.last_used_at.map(time),
        "created_at": time(key.created_at),
        "updated_at": time(key.updated_at),
    })
}

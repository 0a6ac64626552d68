//! Who calls: the admin token of the settings, or a key.

use super::route::Scope;
use crate::error::{Error, Result};
use crate::http::Head;
use crate::id::{self, Kind};
use crate::ports::Ports;
use crate::secret::{Secret, same};
use crate::settings;
use crate::store::key::{self, Key};

/// What a key's token begins with; its id's own 26 characters and 43 random ones follow.
const TOKEN_PREFIX: &str = "pbk_";

/// Who calls.
pub struct Principal {
    /// For the audit log: `admin`, or a key's id; empty on routes that are open.
    pub name: String,
    /// Whose rows it sees and makes; none means everyone's.
    pub owner: Option<String>,
    /// Whether it may call actions, and so let the hub call them.
    pub acts: bool,
    /// Whether it may do what concerns everyone.
    pub admin: bool,
}

impl Principal {
    /// The caller of a route that is open.
    pub const NOBODY: Self = Self {
        name: String::new(),
        owner: None,
        acts: false,
        admin: false,
    };
}

/// Whoever calls a management route, if it may. With no admin token set they answer 503 rather than stand open.
pub async fn authenticate(ports: &Ports<'_>, head: &Head, scope: Scope) -> Result<Principal> {
    let admin = settings::admin_token(ports.host)?;
    let given = bearer(head)?;
    if same(admin.expose().as_bytes(), given.expose().as_bytes()) {
        return Ok(Principal {
            name: "admin".to_owned(),
            owner: None,
            acts: true,
            admin: true,
        });
    }
    let key = key_of(ports, &given).await?.ok_or_else(|| {
        Error::Authentication(format!(
            "the bearer token is not valid; it must be a key, or the setting `{}`",
            settings::ADMIN_TOKEN
        ))
    })?;
    if key.has_expired(ports.host.now()) {
        return Err(Error::Authentication("the key has expired; ask for another one".into()));
    }
    if !key.has(scope) {
        return Err(Error::Forbidden(format!(
            "this needs a key with the scope `{}`; yours has {}",
            scope.as_str(),
            listed(&key)
        )));
    }
    key::used(ports, &key).await;
    Ok(Principal {
        acts: key.has(Scope::ActionsExecute),
        admin: key.has(Scope::Admin),
        name: key.id,
        owner: key.owner,
    })
}

/// A new token for the key of this id.
pub fn new_token(ports: &Ports<'_>, key_id: &str) -> Secret {
    let name = key_id.trim_start_matches(Kind::Key.prefix());
    Secret::new(format!("{TOKEN_PREFIX}{name}_{}", id::token(ports.host)))
}

/// The key whose token this is. The token names its key, so that one look-up by primary key finds it.
async fn key_of(ports: &Ports<'_>, token: &Secret) -> Result<Option<Key>> {
    let name = token
        .expose()
        .strip_prefix(TOKEN_PREFIX)
        .and_then(|rest| rest.get(..26));
    let Some(id) = name.map(|name| format!("{}{name}", Kind::Key.prefix())) else {
        return Ok(None);
    };
    if !id::is(Kind::Key, &id) {
        return Ok(None);
    }
    let found = key::find_warm(ports, &id).await?;
    Ok(found.filter(|key| key.is_token(token, ports.host.now())))
}

fn listed(key: &Key) -> String {
    let names: Vec<String> = key.scopes.iter().map(|s| format!("`{}`", s.as_str())).collect();
    names.join(", ")
}

/// The token of `Authorization: Bearer …`; the scheme's name has no case (RFC 9110, 11.1).
pub fn bearer(head: &Head) -> Result<Secret> {
    let missing = || Error::Authentication("send the header `Authorization: Bearer <token>`".to_owned());
    let (scheme, token) = head
        .headers
        .get("authorization")
        .and_then(|value| value.split_once(' '))
        .ok_or_else(missing)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(missing());
    }
    Ok(Secret::new(token))
}

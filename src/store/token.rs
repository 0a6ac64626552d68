//! The tokens of the table `connection`: stored sealed, refreshed under a claim.
//!
//! Two things keep a refresh single. A claim (`token_lease_by`) lets one worker ask the provider; the version lets one
//! answer be stored. The version decides: a worker that outlived its claim changes nothing if another was faster.

use super::connection::{Connection, Method, Status};
use crate::credential::vault::{KeyRing, Place};
use crate::error::{Error, Result};
use crate::ports::{Ports, Stmt};
use crate::secret::Secret;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How long a claim holds, in milliseconds: longer than a token request can take, and its answer to be stored.
pub const LEASE: i64 = 30_000;

/// What a connected account holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// For requests.
    pub access: Secret,
    /// For the next access token.
    pub refresh: Option<Secret>,
}

/// Tokens ready to be stored. It can wait in a queue: the tokens in it are sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sealed {
    /// The connection.
    pub id: String,
    /// The version that they become.
    pub version: i64,
    /// The tokens.
    pub tokens: String,
    /// When they were given.
    pub given_at: Timestamp,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// When the refresh token ends if unused.
    pub refresh_ends_at: Option<Timestamp>,
    /// When cron is to use it before that.
    pub keep_alive_at: Option<Timestamp>,
    /// Granted scopes, separated by blanks.
    pub scopes: Option<String>,
}

/// Where the tokens of a connection belong: to this account of this owner at this integration, obtained this way.
fn column(connection: &Connection) -> String {
    let owner = connection.owner.as_deref().unwrap_or_default();
    format!(
        "tokens|{}|{}|{owner}",
        connection.integration,
        connection.method.as_str()
    )
}

/// Where sealed tokens belong, for whoever moves them to another key.
pub fn with_place<T>(connection: &Connection, version: i64, act: impl FnOnce(Place<'_>) -> T) -> T {
    act(Place {
        table: "connection",
        id: &connection.id,
        column: &column(connection),
        version,
    })
}

impl Connection {
    /// The tokens, if the account was ever connected.
    pub fn tokens(&self, ports: &Ports<'_>) -> Result<Option<Held>> {
        let Some(sealed) = &self.tokens else {
            return Ok(None);
        };
        let ring = KeyRing::from_settings(ports.host)?;
        let text = with_place(self, self.token_version, |place| ring.open(sealed, place))?;
        let fault = |_| Error::Internal(format!("the tokens of {} are not JSON", self.id));
        let kept: Kept = serde_json::from_str(text.expose()).map_err(fault)?;
        Ok(Some(Held {
            access: kept.access,
            refresh: kept.refresh,
        }))
    }

    /// Seals new tokens as the next version of this connection's.
    pub fn seal_tokens(&self, ports: &Ports<'_>, held: &Held) -> Result<String> {
        let text = json!({"access": held.access.expose(), "refresh": held.refresh.as_ref().map(Secret::expose)});
        let ring = KeyRing::from_settings(ports.host)?;
        with_place(self, self.token_version + 1, |place| {
            ring.seal(&Secret::new(text.to_string()), place, ports.host)
        })
    }
}

#[derive(Deserialize)]
struct Kept {
    access: Secret,
    refresh: Option<Secret>,
}

// An attempt that is still open when the next claim is taken ended without a stored answer.
const TAKE: &str = "-- token::lease
UPDATE connection SET token_lease_by = ?2, token_lease_until = ?3, lost_at = COALESCE(attempt_at, lost_at), attempt_at = ?4
WHERE id = ?1 AND token_version = ?5 AND status = 'CONNECTED'
  AND (token_lease_until IS NULL OR token_lease_until < ?4)
RETURNING *";

/// Claims the refresh of this very version for `holder`; none if another holds it, or the tokens are newer already.
pub async fn lease(ports: &Ports<'_>, c: &Connection, holder: &str, now: Timestamp) -> Result<Option<Connection>> {
    let params = [
        c.id.as_str().into(),
        holder.into(),
        (now + LEASE).into(),
        now.into(),
        c.token_version.into(),
    ];
    ports.sql.first(Stmt::new(TAKE, params)).await
}

const STORE: &str = "-- token::store
UPDATE connection SET tokens = ?2, token_version = ?3, token_given_at = ?4, token_expires_at = ?5, refresh_ends_at = ?6,
  keep_alive_at = ?7, scopes = COALESCE(?8, scopes), status = 'CONNECTED', refresh_failures = 0, refresh_retry_at = NULL,
  last_error = NULL, attempt_at = NULL, lost_at = NULL, token_lease_by = NULL, token_lease_until = NULL
WHERE id = ?1 AND token_version = ?3 - 1 RETURNING id";

/// The statement that stores tokens, unless newer ones are there.
pub fn store(sealed: &Sealed) -> Stmt {
    Stmt::new(
        STORE,
        [
            sealed.id.as_str().into(),
            sealed.tokens.as_str().into(),
            sealed.version.into(),
            sealed.given_at.into(),
            sealed.expires_at.into(),
            sealed.refresh_ends_at.into(),
            sealed.keep_alive_at.into(),
            sealed.scopes.as_deref().into(),
        ],
    )
}

const ONLY_IF_STORED: &str = "-- token::only_if_stored
SELECT json(CASE WHEN EXISTS (SELECT 1 FROM connection WHERE id = ?1 AND tokens = ?2) THEN '1' ELSE 'no' END) AS stored";

/// The statement behind [`store`] that undoes the whole batch unless these very tokens were stored: what else is in it is
/// true of their account alone. SQL has nothing that fails on a condition, but a text that is not JSON does;
/// [`crate::ports::SqlError::is_undone`] tells it.
pub fn only_if_stored(sealed: &Sealed) -> Stmt {
    Stmt::new(
        ONLY_IF_STORED,
        [sealed.id.as_str().into(), sealed.tokens.as_str().into()],
    )
}

/// What a connect adds to [`store`]: whose account it is, and what was read of it.
pub fn identify(id: &str, version: i64, config: &Value, user: Option<(&str, Option<&str>)>, now: Timestamp) -> Stmt {
    let sql = "-- token::identify
UPDATE connection SET config = ?3, user_id = ?4, user_name = ?5, connected_at = ?6, updated_at = ?6
WHERE id = ?1 AND token_version = ?2";
    let params = [
        id.into(),
        version.into(),
        config.to_string().into(),
        user.map(|(id, _)| id).into(),
        user.and_then(|(_, name)| name).into(),
        now.into(),
    ];
    Stmt::new(sql, params)
}

const RELEASE: &str = "-- token::release
UPDATE connection SET token_lease_by = NULL, token_lease_until = NULL, refresh_failures = refresh_failures + 1,
  refresh_retry_at = ?3, last_error = ?4, attempt_at = CASE WHEN ?5 THEN attempt_at END,
  keep_alive_at = CASE WHEN keep_alive_at IS NULL THEN NULL ELSE ?3 END
WHERE id = ?1 AND token_lease_by = ?2";

/// The statement that ends a claim whose refresh failed. `open` is true where nobody knows whether it took effect.
pub fn release(id: &str, holder: &str, retry_at: Timestamp, error: &Value, open: bool) -> Stmt {
    let params = [
        id.into(),
        holder.into(),
        retry_at.into(),
        error.to_string().into(),
        open.into(),
    ];
    Stmt::new(RELEASE, params)
}

/// The statement that says that a person must connect the account again, unless newer tokens are there.
pub fn end(id: &str, version: i64, error: &Value, now: Timestamp) -> Stmt {
    let sql = "-- token::end
UPDATE connection SET status = 'REAUTH_REQUIRED', last_error = ?3, keep_alive_at = NULL, attempt_at = NULL,
  token_lease_by = NULL, token_lease_until = NULL, updated_at = ?4
WHERE id = ?1 AND token_version = ?2 AND status = 'CONNECTED' RETURNING id";
    Stmt::new(sql, [id.into(), version.into(), error.to_string().into(), now.into()])
}

/// Ids of connections whose refresh token is to be used before it ends of idleness.
pub fn due(now: Timestamp, limit: i64) -> Stmt {
    let sql = "-- token::due\nSELECT id FROM connection WHERE keep_alive_at <= ?1 ORDER BY keep_alive_at LIMIT ?2";
    Stmt::new(sql, [now.into(), limit.into()])
}

/// Whether a connection of this kind holds tokens at all.
pub fn is_held(c: &Connection) -> bool {
    c.method != Method::Fields && c.status == Status::Connected
}

//! The table `account_link`: which outside user is which inside one.

use crate::error::Result;
use crate::ports::{Ports, Stmt};
use crate::time::Timestamp;
use serde::Deserialize;

/// One outside user who is known.
#[derive(Debug, Clone, Deserialize)]
pub struct AccountLink {
    /// `lnk_…`
    pub id: String,
    /// The integration's name.
    pub integration: String,
    /// The origin of the self-managed server that the user is of; empty: the service's own.
    pub server: String,
    /// The user's id there.
    pub external_user_id: String,
    /// The user's name there, for people.
    pub external_name: Option<String>,
    /// The inside user.
    pub owner: String,
    /// Whose token acts for that user.
    pub connection_id: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

// An outside user belongs to one inside user; who wants to change that removes the link first. A new consent of the
// same inside user brings its new connection along.
const PUT: &str = "-- account_link::put
INSERT INTO account_link (id, integration, external_user_id, external_name, owner, connection_id, created_at, server)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (integration, server, external_user_id) DO UPDATE SET
  connection_id = COALESCE(excluded.connection_id, connection_id), external_name = COALESCE(excluded.external_name, external_name)
WHERE owner = excluded.owner
RETURNING *";

/// The statement that stores a link; no row where the outside user is another inside user's.
pub fn put(link: &AccountLink) -> Stmt {
    let params = [
        link.id.as_str().into(),
        link.integration.as_str().into(),
        link.external_user_id.as_str().into(),
        link.external_name.as_deref().into(),
        link.owner.as_str().into(),
        link.connection_id.as_deref().into(),
        link.created_at.into(),
        link.server.as_str().into(),
    ];
    Stmt::new(PUT, params)
}

/// The link of an outside user of this server.
pub async fn of_user(
    ports: &Ports<'_>,
    integration: &str,
    server: &str,
    external_user_id: &str,
) -> Result<Option<AccountLink>> {
    let sql = "-- account_link::of_user
SELECT * FROM account_link WHERE integration = ?1 AND server = ?2 AND external_user_id = ?3";
    let params = [integration.into(), server.into(), external_user_id.into()];
    ports.sql.first(Stmt::new(sql, params)).await
}

/// A page, newest first; of one owner or integration if named.
pub async fn list(
    ports: &Ports<'_>,
    owner: Option<&str>,
    integration: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<AccountLink>> {
    let sql = "-- account_link::list
SELECT * FROM account_link WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR integration = ?2)
  AND (?3 IS NULL OR id < ?3) ORDER BY id DESC LIMIT ?4";
    let params = [owner.into(), integration.into(), before.into(), limit.into()];
    ports.sql.rows(Stmt::new(sql, params)).await
}

/// One link.
pub async fn find(ports: &Ports<'_>, id: &str) -> Result<Option<AccountLink>> {
    let sql = "-- account_link::find\nSELECT * FROM account_link WHERE id = ?1";
    ports.sql.first(Stmt::new(sql, [id.into()])).await
}

/// The statement that removes a link.
pub fn delete(id: &str) -> Stmt {
    Stmt::new(
        "-- account_link::delete\nDELETE FROM account_link WHERE id = ?1",
        [id.into()],
    )
}

/// The statement that takes a removed connection out of the links; who the user is stays known.
pub fn forget_connection(connection_id: &str) -> Stmt {
    let sql = "-- account_link::forget_connection
UPDATE account_link SET connection_id = NULL WHERE connection_id = ?1";
    Stmt::new(sql, [connection_id.into()])
}

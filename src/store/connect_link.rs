//! The table `connect_link`: invitations to connect an account in a browser.

use crate::error::Result;
use crate::ports::{Ports, Stmt};
use crate::time::Timestamp;
use serde::Deserialize;

/// An invitation. Its token is not stored, only the hash.
#[derive(Debug, Clone, Deserialize)]
pub struct ConnectLink {
    /// SHA-256 of the token, hex.
    pub hash: String,
    /// The connection that it is for.
    pub connection_id: String,
    /// Whether the connection was made for it.
    #[serde(deserialize_with = "super::truth")]
    pub made_connection: bool,
    /// Whose account it will be inside.
    pub owner: String,
    /// The only outside user that it is for.
    pub external_user_id: Option<String>,
    /// Where the browser goes in the end.
    pub return_to: Option<String>,
    /// Who made it, for the audit log.
    pub created_by: String,
    /// When it is over.
    pub expires_at: Timestamp,
}

/// The statement that stores an invitation.
pub fn insert(link: &ConnectLink) -> Stmt {
    let sql = "-- connect_link::insert
INSERT INTO connect_link (hash, connection_id, made_connection, owner, external_user_id, return_to, created_by, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let params = [
        link.hash.as_str().into(),
        link.connection_id.as_str().into(),
        link.made_connection.into(),
        link.owner.as_str().into(),
        link.external_user_id.as_deref().into(),
        link.return_to.as_deref().into(),
        link.created_by.as_str().into(),
        link.expires_at.into(),
    ];
    Stmt::new(sql, params)
}

/// An invitation that is still good.
pub async fn find(ports: &Ports<'_>, hash: &str, now: Timestamp) -> Result<Option<ConnectLink>> {
    let sql = "-- connect_link::find\nSELECT * FROM connect_link WHERE hash = ?1 AND expires_at > ?2";
    ports.sql.first(Stmt::new(sql, [hash.into(), now.into()])).await
}

/// The statement that ends an invitation.
pub fn delete(hash: &str) -> Stmt {
    Stmt::new(
        "-- connect_link::delete\nDELETE FROM connect_link WHERE hash = ?1",
        [hash.into()],
    )
}

/// The statements that forget invitations that are over, with the connections that were made for them and never used.
pub fn purge(now: Timestamp) -> [Stmt; 2] {
    let unused = "-- connect_link::purge_connections
DELETE FROM connection WHERE status = 'PENDING_AUTHENTICATION' AND id IN
  (SELECT connection_id FROM connect_link WHERE expires_at <= ?1 AND made_connection = 1)";
    let over = "-- connect_link::purge\nDELETE FROM connect_link WHERE expires_at <= ?1";
    [Stmt::new(unused, [now.into()]), Stmt::new(over, [now.into()])]
}

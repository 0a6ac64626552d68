//! The table `oauth_state`: sign-ins under way, each good for one use within ten minutes.

use super::connection::Connection;
use crate::credential::vault::{KeyRing, Place};
use crate::error::{Error, Result};
use crate::ports::{Ports, Stmt};
use crate::secret::Secret;
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

/// A sign-in under way.
#[derive(Debug, Clone, Deserialize)]
pub struct SignIn {
    /// SHA-256 of the state, hex.
    pub hash: String,
    /// The connection that it is for.
    pub connection_id: String,
    /// Who began it by the API; empty: a browser did.
    pub starter: String,
    /// SHA-256 of the browser's cookie, hex.
    pub browser: Option<String>,
    /// The connect link that it follows.
    pub link: Option<String>,
    /// As in the authorize URL.
    pub redirect_uri: String,
    /// What was asked for, separated by blanks.
    pub scopes: String,
    sealed: String,
    /// Of a device: when it may be asked again.
    pub poll_at: Option<Timestamp>,
    /// Of a device: milliseconds between two questions.
    pub interval_ms: Option<i64>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it is over.
    pub expires_at: Timestamp,
}

/// What only the hub knows of a sign-in.
#[derive(Debug, Default, Deserialize)]
pub struct Hidden {
    /// The verifier of its code challenge.
    pub verifier: Option<Secret>,
    /// The device code.
    pub device_code: Option<Secret>,
}

/// SHA-256 in hex: what is stored of a text that proves something.
pub fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn place(hash: &str) -> Place<'_> {
    Place {
        table: "oauth_state",
        id: hash,
        column: "sealed",
        version: 1,
    }
}

impl SignIn {
    /// A sign-in of `state` for a connection, with its secrets sealed; the caller fills in the rest.
    pub fn new(ports: &Ports<'_>, state: &str, connection: &Connection, hidden: &Hidden, lasts: i64) -> Result<Self> {
        let hash = hash(state);
        let text = json!({
            "verifier": hidden.verifier.as_ref().map(Secret::expose),
            "device_code": hidden.device_code.as_ref().map(Secret::expose),
        });
        let ring = KeyRing::from_settings(ports.host)?;
        let sealed = ring.seal(&Secret::new(text.to_string()), place(&hash), ports.host)?;
        let now = ports.host.now();
        Ok(Self {
            hash,
            connection_id: connection.id.clone(),
            starter: String::new(),
            browser: None,
            link: None,
            redirect_uri: String::new(),
            scopes: String::new(),
            sealed,
            poll_at: None,
            interval_ms: None,
            created_at: now,
            expires_at: now + lasts,
        })
    }

    /// What only the hub knows of it.
    pub fn open(&self, ports: &Ports<'_>) -> Result<Hidden> {
        let text = KeyRing::from_settings(ports.host)?.open(&self.sealed, place(&self.hash))?;
        serde_json::from_str(text.expose()).map_err(|_| Error::Internal("a sign-in's secrets are not JSON".into()))
    }
}

/// The statement that stores a sign-in.
pub fn insert(s: &SignIn) -> Stmt {
    let sql = "-- oauth_state::insert
INSERT INTO oauth_state (hash, connection_id, starter, browser, link, redirect_uri, scopes, sealed, poll_at, interval_ms,
  created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let params = [
        s.hash.as_str().into(),
        s.connection_id.as_str().into(),
        s.starter.as_str().into(),
        s.browser.as_deref().into(),
        s.link.as_deref().into(),
        s.redirect_uri.as_str().into(),
        s.scopes.as_str().into(),
        s.sealed.as_str().into(),
        s.poll_at.into(),
        s.interval_ms.into(),
        s.created_at.into(),
        s.expires_at.into(),
    ];
    Stmt::new(sql, params)
}

/// One sign-in, without using it up.
pub async fn find(ports: &Ports<'_>, hash: &str) -> Result<Option<SignIn>> {
    let sql = "-- oauth_state::find\nSELECT * FROM oauth_state WHERE hash = ?1";
    ports.sql.first(Stmt::new(sql, [hash.into()])).await
}

/// Uses a sign-in up: of two who try, one gets it.
pub async fn take(ports: &Ports<'_>, hash: &str, now: Timestamp) -> Result<Option<SignIn>> {
    let sql = "-- oauth_state::take\nDELETE FROM oauth_state WHERE hash = ?1 AND expires_at > ?2 RETURNING *";
    ports.sql.first(Stmt::new(sql, [hash.into(), now.into()])).await
}

/// Claims the next question about a device: none if it is too early.
pub async fn poll(ports: &Ports<'_>, hash: &str, now: Timestamp) -> Result<Option<SignIn>> {
    let sql = "-- oauth_state::poll
UPDATE oauth_state SET poll_at = ?2 + interval_ms WHERE hash = ?1 AND poll_at <= ?2 AND expires_at > ?2 RETURNING *";
    ports.sql.first(Stmt::new(sql, [hash.into(), now.into()])).await
}

/// The statement that makes the pauses between two questions five seconds longer (RFC 8628, 3.5).
pub fn slow_down(hash: &str) -> Stmt {
    let sql = "-- oauth_state::slow_down
UPDATE oauth_state SET interval_ms = interval_ms + 5000, poll_at = poll_at + 5000 WHERE hash = ?1";
    Stmt::new(sql, [hash.into()])
}

/// The statement that ends a sign-in.
pub fn delete(hash: &str) -> Stmt {
    Stmt::new(
        "-- oauth_state::delete\nDELETE FROM oauth_state WHERE hash = ?1",
        [hash.into()],
    )
}

/// The statement that forgets those that are over.
pub fn purge(now: Timestamp) -> Stmt {
    Stmt::new(
        "-- oauth_state::purge\nDELETE FROM oauth_state WHERE expires_at <= ?1",
        [now.into()],
    )
}

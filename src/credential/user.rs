//! Whose token acts for an outside user: that user's own where one is linked and connected.

use super::{Credential, reference};
use crate::error::Result;
use crate::manifest::Manifest;
use crate::ports::Ports;
use crate::store::connection::{self, Connection, Method, Status};
use crate::store::{account_link, account_link::AccountLink};
use serde_json::Value;

/// The account link of an outside user of the server that `config`, the settings of a connection or of the app, leads to; with
/// the connection that acts for them if it can be used now.
pub async fn linked(
    ports: &Ports<'_>,
    manifest: &Manifest,
    config: &Value,
    external_user_id: &str,
) -> Result<Option<(AccountLink, Option<Connection>)>> {
    let integration = manifest.name.as_str();
    let server = super::server(manifest, config, ports.host)?;
    let Some(link) = account_link::of_user(ports, integration, &server, external_user_id).await? else {
        return Ok(None);
    };
    let found = match &link.connection_id {
        Some(id) => connection::find(ports, id).await?,
        None => None,
    };
    // A link made by hand may name a connection that has changed since, or was connected again as somebody else.
    let usable = |c: &Connection| {
        c.integration == integration
            && c.owner.as_deref() == Some(link.owner.as_str())
            && c.status == Status::Connected
            && c.user_id.as_deref().is_none_or(|id| id == external_user_id)
    };
    let connection = found.filter(usable);
    Ok(Some((link, connection)))
}

impl Credential {
    /// From a connection's row.
    pub fn of_row(ports: &Ports<'_>, manifest: &Manifest, c: Connection, account: Option<String>) -> Result<Self> {
        let mut secrets = c.open(ports)?;
        for secret in secrets.values_mut() {
            *secret = reference::resolve(ports.host, secret)?;
        }
        let mut credential = Self::of_connection(manifest, &c.id, c.config.clone(), secrets, account, ports.host)?;
        credential.grant = (c.method != Method::Fields).then(|| Box::new(c));
        Ok(credential)
    }
}

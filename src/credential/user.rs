//! Whose token acts for an outside user: that user's own where one is linked and connected.

use super::{Credential, reference};
use crate::error::Result;
use crate::manifest::Manifest;
use crate::ports::Ports;
use crate::store::connection::{self, Connection, Method, Status};
use crate::store::{account_link, account_link::AccountLink};

/// The account link of an outside user, with the connection that acts for them if it can be used now.
pub async fn linked(
    ports: &Ports<'_>,
    integration: &str,
    external_user_id: &str,
) -> Result<Option<(AccountLink, Option<Connection>)>> {
    let Some(link) = account_link::of_user(ports, integration, external_user_id).await? else {
        return Ok(None);
    };
    let found = match &link.connection_id {
        Some(id) => connection::find(ports, id).await?,
        None => None,
    };
    // A link made by hand may name a connection that has changed since.
    let usable = |c: &Connection| {
        c.integration == integration && c.owner.as_deref() == Some(link.owner.as_str()) && c.status == Status::Connected
    };
    let connection = found.filter(usable);
    Ok(Some((link, connection)))
}

/// The credential of an outside user; none where no token of theirs can act. `Credential::source` says whose it is.
pub async fn credential_of(
    ports: &Ports<'_>,
    manifest: &Manifest,
    external_user_id: &str,
    account: Option<String>,
) -> Result<Option<Credential>> {
    match linked(ports, &manifest.name, external_user_id).await? {
        Some((_, Some(connection))) => Credential::of_row(ports, manifest, connection, account).map(Some),
        _ => Ok(None),
    }
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

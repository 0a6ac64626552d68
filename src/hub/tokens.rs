//! Tokens that are looked after without anybody asking.

use super::Hub;
use crate::credential::grant::Provider;
use crate::credential::refresh;
use crate::error::{Error, Result};
use crate::store::connection;
use crate::store::token::{self, Sealed};
use serde::Deserialize;

/// A message that brings tokens which the database did not take.
#[derive(Deserialize)]
struct Waiting {
    keep: Sealed,
}

impl Hub<'_> {
    /// Uses a refresh token before it ends of idleness.
    pub(super) async fn keep_alive(&self, id: &str) -> Result<()> {
        let Some(c) = connection::find(&self.ports, id).await?.filter(token::is_held) else {
            return Ok(());
        };
        let integration = self.integration(&c.integration).await?;
        let secrets = c.open(&self.ports)?;
        let provider = Provider::of(integration.manifest()?, &c.config, &secrets)?;
        match refresh::keep_alive(&self.ports, &provider, &c).await {
            // The row says when the next try is due, or that a person must come.
            Ok(()) | Err(Error::ReauthRequired(_) | Error::Upstream(_) | Error::Temporary { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stores tokens that waited in the queue.
    pub(super) async fn rescue(&self, message: &str) -> Result<()> {
        let Ok(waiting) = serde_json::from_str::<Waiting>(message) else {
            return Ok(());
        };
        refresh::rescue(&self.ports, &waiting.keep).await
    }
}

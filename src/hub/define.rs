//! Integrations posted at run time.

use super::Hub;
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::manifest::Manifest;
use crate::registry::{self, Integration};
use crate::store::definition::{self, Definition};
use crate::webhook;
use serde_json::Value;
use std::rc::Rc;

/// Most bytes of a posted manifest.
const MAX_TEXT: usize = 256 * 1024;

impl Hub<'_> {
    /// The integration of this name (or, for posted ones, id): built in, or posted.
    pub async fn integration(&self, name: &str) -> Result<Integration> {
        let built_in = registry::get(name);
        let missing = match built_in {
            Ok(entry) => return Ok(Integration::BuiltIn(entry)),
            Err(missing) => missing,
        };
        // What cannot be a name is not worth a question to the database.
        if !well_formed(name) {
            return Err(missing);
        }
        let found = definition::find_warm(&self.ports, name).await?.ok_or(missing)?;
        let manifest = Manifest::parse(&found.text)
            .map_err(|e| Error::Internal(format!("the stored definition {} does not parse: {e}", found.id)))?;
        Ok(Integration::Posted(Rc::new(manifest)))
    }

    /// Checks and stores a manifest.
    pub async fn define(&self, manifest: &Value, actor: &str) -> Result<Definition> {
        let text = manifest.to_string();
        if text.len() > MAX_TEXT {
            return Err(Error::PayloadTooLarge { limit: MAX_TEXT });
        }
        let parsed = Manifest::read(manifest)?;
        check_scope(&parsed)?;
        parsed.check()?;
        webhook::check(super::receive::webhook_of(&parsed)?)?;
        let taken = || Error::Conflict(format!("there is an integration `{}` already", parsed.name));
        if registry::get(&parsed.name).is_ok() {
            return Err(taken());
        }
        let definition = Definition {
            id: id::new(Kind::Definition, self.ports.host),
            name: parsed.name.clone(),
            text,
            created_at: self.ports.host.now(),
        };
        if definition::insert(&self.ports, &definition, actor).await? {
            return Ok(definition);
        }
        Err(taken())
    }
}

/// A posted manifest describes webhooks; the rest needs schemas that are compiled with the program.
fn check_scope(manifest: &Manifest) -> Result<()> {
    let refuse = |member: &str| {
        let message = "is for integrations in the source tree; a posted definition describes `webhook` alone";
        Err(Error::invalid(format!("/{member}"), message))
    };
    match manifest {
        m if m.auth.is_some() => refuse("auth"),
        m if m.conversation.is_some() => refuse("conversation"),
        m if !m.actions.is_empty() => refuse("actions"),
        m if m.webhook.is_none() => Err(Error::invalid("/webhook", "is missing")),
        m if m.name.len() > 64 => Err(Error::invalid("/name", "must have at most 64 characters")),
        _ => Ok(()),
    }
}

fn well_formed(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (name.len() <= 64 && name.bytes().all(plain)) || id::is(Kind::Definition, name)
}

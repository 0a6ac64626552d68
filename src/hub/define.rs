//! Integrations posted at run time.

use super::Hub;
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::manifest::Manifest;
use crate::manifest::action::Action;
use crate::manifest::import::import;
use crate::ports::ScriptError;
use crate::registry::{self, Integration};
use crate::store::definition::{self, Definition};
use crate::webhook;
use serde_json::Value;

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
        registry::posted(&found.text)
            .map(Integration::Posted)
            .map_err(|e| Error::Internal(format!("the stored definition {} does not parse: {e}", found.id)))
    }

    /// Checks and stores a definition: a manifest, source 003's definition or source 002's `config.json`. Gives it with
    /// what its author should know.
    pub async fn define(&self, document: &Value, actor: &str) -> Result<(Definition, Vec<String>)> {
        let base = |name: &str| -> Result<Value> {
            let text = registry::get(name)?.text;
            serde_json::from_str(text).map_err(|e| Error::Internal(format!("a built-in manifest: {e}")))
        };
        let imported = import(document, &base)?;
        let mut warnings = imported.warnings;
        let text = imported.manifest.to_string();
        if text.len() > MAX_TEXT {
            return Err(Error::PayloadTooLarge { limit: MAX_TEXT });
        }
        let parsed = Manifest::read(&imported.manifest)?;
        check_scope(&parsed)?;
        parsed.check()?;
        if let Some(webhook) = &parsed.webhook {
            webhook::check(webhook)?;
        }
        let scripted = |a: &Action| a.request_transform.is_some() || a.response_transform.is_some();
        if parsed.actions.values().any(scripted) && !self.ports.scripts.is_on() {
            warnings.push(ScriptError::Off.to_string());
        }
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
            return Ok((definition, warnings));
        }
        Err(taken())
    }
}

/// What a posted manifest may describe. Conversations are answered with what is compiled into the program.
fn check_scope(manifest: &Manifest) -> Result<()> {
    let refuse = |member: &str| {
        let message = "is for integrations in the source tree";
        Err(Error::invalid(format!("/{member}"), message))
    };
    match manifest {
        m if m.conversation.is_some() => refuse("conversation"),
        m if m.webhook.is_none() && m.actions.is_empty() && m.polling_triggers.is_empty() => Err(Error::validation(
            "the definition describes nothing: give it `webhook` or `actions`",
        )),
        m if m.name.len() > 64 => Err(Error::invalid("/name", "must have at most 64 characters")),
        _ => Ok(()),
    }
}

fn well_formed(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (name.len() <= 64 && name.bytes().all(plain)) || id::is(Kind::Definition, name)
}

//! The built-in integrations: one entry per folder in `integrations/`, written by `build.rs`.
//!
//! Nothing is parsed at start-up; an entry parses its manifest when it is first asked for, once per isolate.

use crate::error::{Error, FieldError, Origin, Result};
use crate::manifest::Manifest;
use serde_json::Value;
use std::rc::Rc;
use std::sync::OnceLock;

include!(concat!(env!("OUT_DIR"), "/registry.rs"));

/// A validator compiled at build time: what is wrong with a value.
type Check = fn(&Value) -> Vec<FieldError>;

/// One built-in integration.
pub struct Entry {
    /// The service's name.
    pub name: &'static str,
    /// Its manifest as written.
    pub text: &'static str,
    manifest: OnceLock<Result<Manifest>>,
    /// Validators compiled at build time, by what they check: `config`, `input:<action>`, `output:<action>`.
    checks: &'static [(&'static str, Check)],
}

impl Entry {
    /// The manifest, parsed on first use.
    pub fn manifest(&self) -> Result<&Manifest> {
        self.manifest
            .get_or_init(|| Manifest::parse(self.text))
            .as_ref()
            .map_err(|e| Error::Internal(format!("integrations/{}: {e}", self.name)))
    }

    /// Checks the settings of a connection against `auth.fields`.
    pub fn check_config(&self, config: &Value) -> Result<()> {
        self.check("config", config, Origin::Config)
    }

    /// Checks the inputs of an action against its schema.
    pub fn check_inputs(&self, action: &str, inputs: &Value) -> Result<()> {
        self.check(&format!("input:{action}"), inputs, Origin::Input)
    }

    /// Checks the result of an action against its schema.
    pub fn check_output(&self, action: &str, output: &Value) -> Result<()> {
        self.check(&format!("output:{action}"), output, Origin::Output)
    }

    fn check(&self, key: &str, value: &Value, source: Origin) -> Result<()> {
        let Some((_, check)) = self.checks.iter().find(|(k, _)| *k == key) else {
            return Ok(());
        };
        let mut errors = check(value);
        if errors.is_empty() {
            return Ok(());
        }
        for error in &mut errors {
            error.source = source;
        }
        let detail = match source {
            Origin::Input => "the inputs do not fit the action's schema",
            Origin::Output => "the service's answer does not fit the action's schema",
            Origin::Config => "the configuration does not fit the integration's schema",
        };
        Err(Error::Validation {
            detail: detail.to_owned(),
            errors,
        })
    }
}

/// An integration, wherever it is described.
#[derive(Clone)]
pub enum Integration {
    /// Part of the program.
    BuiltIn(&'static Entry),
    /// Posted by a user: webhooks alone.
    Posted(Rc<Manifest>),
}

impl Integration {
    /// Its manifest.
    pub fn manifest(&self) -> Result<&Manifest> {
        match self {
            Self::BuiltIn(entry) => entry.manifest(),
            Self::Posted(manifest) => Ok(manifest),
        }
    }

    /// Checks the settings of a connection against `auth.fields`. Posted ones have none.
    pub fn check_config(&self, config: &Value) -> Result<()> {
        match self {
            Self::BuiltIn(entry) => entry.check_config(config),
            Self::Posted(_) => Ok(()),
        }
    }

    /// The built-in entry, for what posted ones cannot do.
    pub fn built_in(&self) -> Option<&'static Entry> {
        match self {
            Self::BuiltIn(entry) => Some(entry),
            Self::Posted(_) => None,
        }
    }
}

/// The integration of this name.
pub fn get(name: &str) -> Result<&'static Entry> {
    ENTRIES
        .binary_search_by(|entry| entry.name.cmp(name))
        .ok()
        .and_then(|at| ENTRIES.get(at))
        .ok_or_else(|| Error::IntegrationNotFound(name.to_owned()))
}

/// Every built-in integration, sorted by name.
pub fn all() -> &'static [Entry] {
    &ENTRIES
}

/// What a validator found, without the offending values: they may be secrets.
fn field_errors(errors: jsonschema::ErrorIterator<'_>) -> Vec<FieldError> {
    errors
        .map(|e| FieldError {
            pointer: e.instance_path().to_string(),
            message: e.masked().to_string(),
            source: Origin::Input,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_manifest_is_sound() {
        for entry in all() {
            let manifest = entry.manifest().unwrap();
            manifest.check().unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            assert_eq!(manifest.name, entry.name);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_of_its_own() {
        assert!(matches!(get("no-such-thing"), Err(Error::IntegrationNotFound(_))));
    }
}

//! The built-in integrations: one entry per folder in `integrations/`, written by `build.rs`.
//!
//! Nothing is parsed at start-up; an entry parses its manifest when it is first asked for, once per isolate.

use crate::error::{Error, FieldError, Origin, Result};
use crate::manifest::Manifest;
use crate::schema;
use crate::sdk;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
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
    /// The folder's `handler.rs`, where it has one.
    pub handler: Option<&'static dyn sdk::Integration>,
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
        let errors = check(value);
        if errors.is_empty() {
            return Ok(());
        }
        Err(unfit(errors, source))
    }
}

/// The error for a document that does not fit its schema. An answer that does not is the service's fault.
fn unfit(mut errors: Vec<FieldError>, source: Origin) -> Error {
    for error in &mut errors {
        error.source = source;
    }
    match source {
        Origin::Input => Error::Validation {
            detail: "the inputs do not fit the action's schema".into(),
            errors,
        },
        Origin::Config => Error::Validation {
            detail: "the configuration does not fit the integration's schema".into(),
            errors,
        },
        Origin::Output => Error::Unfit { errors },
    }
}

/// An integration, wherever it is described.
#[derive(Clone)]
pub enum Integration {
    /// Part of the program.
    BuiltIn(&'static Entry),
    /// Posted by a user.
    Posted(Rc<Posted>),
}

/// An integration that a user posted.
pub struct Posted {
    /// Its manifest.
    pub manifest: Manifest,
}

/// Most posted integrations that an isolate keeps.
const MAX_POSTED: usize = 64;

thread_local! {
    static POSTED: RefCell<HashMap<String, Rc<Posted>>> = RefCell::default();
}

/// The posted integration of this text, parsed once per isolate.
pub fn posted(text: &str) -> Result<Rc<Posted>> {
    let hash = hex::encode(Sha256::digest(text));
    if let Some(known) = POSTED.with_borrow(|all| all.get(&hash).cloned()) {
        return Ok(known);
    }
    let fresh = Rc::new(Posted::new(Manifest::parse(text)?));
    POSTED.with_borrow_mut(|all| {
        if all.len() >= MAX_POSTED {
            all.clear();
        }
        all.insert(hash, fresh.clone());
    });
    Ok(fresh)
}

impl Posted {
    /// From its manifest.
    pub fn new(manifest: Manifest) -> Self {
        Self { manifest }
    }

    /// Looks every schema through, for the errors of one that is none or that cannot be checked whole.
    pub fn check_schemas(&self) -> Result<()> {
        if let Some(auth) = &self.manifest.auth {
            schema::check(&auth.fields).map_err(|e| Error::invalid("/auth/fields", e))?;
        }
        for (name, action) in &self.manifest.actions {
            let at = format!("/actions/{name}");
            schema::check(&action.input_schema).map_err(|e| Error::invalid(format!("{at}/input_schema"), e))?;
            schema::check(&action.output_schema).map_err(|e| Error::invalid(format!("{at}/output_schema"), e))?;
        }
        Ok(())
    }
}

fn checked(schema: &Value, value: &Value, source: Origin) -> Result<()> {
    let violations = schema::violations(schema, value).into_iter();
    let errors: Vec<FieldError> = violations
        .map(|v| FieldError {
            pointer: v.pointer,
            message: v.message,
            source,
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(unfit(errors, source))
    }
}

impl Integration {
    /// Its manifest.
    pub fn manifest(&self) -> Result<&Manifest> {
        match self {
            Self::BuiltIn(entry) => entry.manifest(),
            Self::Posted(posted) => Ok(&posted.manifest),
        }
    }

    /// Checks the settings of a connection against `auth.fields`.
    pub fn check_config(&self, config: &Value) -> Result<()> {
        match self {
            Self::BuiltIn(entry) => entry.check_config(config),
            Self::Posted(posted) => match &posted.manifest.auth {
                Some(auth) => checked(&auth.fields, config, Origin::Config),
                None => Ok(()),
            },
        }
    }

    /// Checks the inputs of an action against its schema.
    pub fn check_inputs(&self, action: &str, inputs: &Value) -> Result<()> {
        match self {
            Self::BuiltIn(entry) => entry.check_inputs(action, inputs),
            Self::Posted(posted) => {
                let schema = &posted.manifest.action(action)?.input_schema;
                checked(schema, inputs, Origin::Input)
            }
        }
    }

    /// Checks the result of an action against its schema.
    pub fn check_output(&self, action: &str, output: &Value) -> Result<()> {
        match self {
            Self::BuiltIn(entry) => entry.check_output(action, output),
            Self::Posted(posted) => {
                let schema = &posted.manifest.action(action)?.output_schema;
                checked(schema, output, Origin::Output)
            }
        }
    }

    /// The folder's handler, where it has one.
    pub fn handler(&self) -> Option<&'static dyn sdk::Integration> {
        self.built_in()?.handler
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

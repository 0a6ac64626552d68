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

/// One built-in integration.
pub struct Entry {
    /// The service's name.
    pub name: &'static str,
    /// Its manifest as written.
    pub text: &'static str,
    manifest: OnceLock<Result<Manifest>>,
    /// The folder's `handler.rs`, where it has one.
    pub handler: Option<&'static dyn sdk::Integration>,
}

impl Entry {
    /// The manifest, parsed on first use.
    pub fn manifest(&self) -> Result<&Manifest> {
        self.manifest
            .get_or_init(|| Manifest::parse(self.text))
            .as_ref()
            .map_err(|e| Error::Internal(format!("integrations/{}: {e}", self.name)))
    }

    /// Checks the inputs of an action against its schema.
    pub fn check_inputs(&self, action: &str, inputs: &Value) -> Result<()> {
        checked(&self.manifest()?.action(action)?.input_schema, inputs, Origin::Input)
    }
}

/// The error for a document that does not fit its schema. An answer that does not is the service's fault.
fn unfit(errors: Vec<FieldError>, source: Origin) -> Error {
    match source {
        Origin::Input => Error::Validation {
            detail: "the inputs do not fit the schema".into(),
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
}

/// Whether a value fits its schema.
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
        match &self.manifest()?.auth {
            Some(auth) if !auth.fields.is_null() => checked(&auth.fields, config, Origin::Config),
            _ => Ok(()),
        }
    }

    /// Checks the inputs of an action against its schema.
    pub fn check_inputs(&self, action: &str, inputs: &Value) -> Result<()> {
        checked(&self.manifest()?.action(action)?.input_schema, inputs, Origin::Input)
    }

    /// Checks the result of an action against its schema.
    pub fn check_output(&self, action: &str, output: &Value) -> Result<()> {
        checked(&self.manifest()?.action(action)?.output_schema, output, Origin::Output)
    }

    /// Checks the inputs of a polling trigger against its schema.
    pub fn check_poll_inputs(&self, trigger: &str, inputs: &Value) -> Result<()> {
        checked(&self.manifest()?.trigger(trigger)?.input_schema, inputs, Origin::Input)
    }

    /// Checks the inputs of a subscription against its schema.
    pub fn check_subscription_inputs(&self, name: &str, inputs: &Value) -> Result<()> {
        checked(
            &self.manifest()?.subscription(name)?.input_schema,
            inputs,
            Origin::Input,
        )
    }

    /// Checks an item of a polling trigger against its schema.
    pub fn check_poll_output(&self, trigger: &str, data: &Value) -> Result<()> {
        checked(&self.manifest()?.trigger(trigger)?.output_schema, data, Origin::Output)
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
    fn a_manifest_that_cannot_mean_what_it_says_is_refused() {
        let spoilt: [(&str, &str, &str, &str); 6] = [
            ("jira", "/conversation/acknowledge", "[]", "`once` needs `acknowledge`"),
            (
                "jira",
                "/conversation/acknowledge/0/action",
                r#""create_comment""#,
                "or `say` alone",
            ),
            (
                "gitlab",
                "/conversation/acknowledge/0/inputs",
                "null",
                "needs `action` and `inputs`",
            ),
            (
                "jira",
                "/auth/apply_with",
                r#"{"no_field": {}}"#,
                "`no_field` is no field",
            ),
            (
                "slack",
                "/auth/oauth2/authorize_parts",
                r#"{"x": "nothing"}"#,
                "names the part `nothing`",
            ),
            (
                "slack",
                "/conversation/link/0/config",
                r#"{"nothing": "x"}"#,
                "`nothing` is no part",
            ),
        ];
        for (service, pointer, value, why) in spoilt {
            let mut text: serde_json::Value = serde_json::from_str(get(service).unwrap().text).unwrap();
            let (at, name) = pointer.rsplit_once('/').unwrap();
            text.pointer_mut(at).unwrap()[name] = serde_json::from_str(value).unwrap();
            let manifest: Manifest = serde_json::from_value(text).unwrap();

            let refused = manifest.check().unwrap_err().to_string();
            assert!(refused.contains(why), "{service}{pointer}: {refused}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_of_its_own() {
        assert!(matches!(get("no-such-thing"), Err(Error::IntegrationNotFound(_))));
    }
}

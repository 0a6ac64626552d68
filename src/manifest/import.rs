//! Definitions in other formats as manifests: source 003's, and source 002's `config.json`.
//!
//! Both become manifest documents; what they cannot say is left out and named in a warning, never guessed.

mod definition;

use crate::error::Result;
use serde_json::{Value, json};

/// A document as a manifest, with what its author should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The manifest.
    pub manifest: Value,
    /// What was left out or is missing.
    pub warnings: Vec<String>,
}

/// Finds the manifest that `extends` names.
pub type Base<'f> = dyn Fn(&str) -> Result<Value> + 'f;

/// What a name of a secret holds, in lower case without separators.
const SECRET_WORDS: [&str; 6] = ["secret", "password", "token", "apikey", "privatekey", "accesskey"];

/// Members of source 002's format that say how its own platform shows or bills; they mean nothing here.
const IGNORED: [&str; 8] = [
    "entry_point",
    "display_name",
    "supports_connected_account",
    "supports_billing",
    "icon",
    "category",
    "author",
    "homepage",
];

/// Reads a document in any of the formats.
pub fn import(document: &Value, base: &Base<'_>) -> Result<Imported> {
    if document.get("methods").is_some() || document.get("configSchema").is_some() {
        return definition::read(document, base);
    }
    let mut imported = of_config(document);
    if let Some(name) = imported
        .manifest
        .get("extends")
        .and_then(Value::as_str)
        .map(str::to_owned)
    {
        extend(&mut imported.manifest, &base(&name)?);
    }
    Ok(imported)
}

/// Source 002's `config.json`: a manifest but for a few members.
fn of_config(document: &Value) -> Imported {
    let mut manifest = document.clone();
    let mut warnings = Vec::new();
    let Some(members) = manifest.as_object_mut() else {
        return Imported { manifest, warnings };
    };
    for name in IGNORED {
        if members.remove(name).is_some() {
            warnings.push(match name {
                "entry_point" => {
                    "`entry_point` is ignored: no Python runs here; give each action a `request`".to_owned()
                }
                _ => format!("`{name}` is ignored"),
            });
        }
    }
    let foreign = warnings.iter().any(|w| w.contains("entry_point"));
    if !foreign {
        return Imported { manifest, warnings };
    }
    if let Some(name) = members.get("name").and_then(Value::as_str).map(slug) {
        members.insert("name".into(), json!(name));
    }
    if let Some(auth) = members.get_mut("auth").and_then(Value::as_object_mut) {
        let known = ["identifier", "type", "fields", "apply"];
        let others: Vec<String> = auth.keys().filter(|k| !known.contains(&k.as_str())).cloned().collect();
        for name in others {
            auth.remove(&name);
            warnings.push(format!(
                "`/auth/{name}` is ignored: it names a way to authorise of another platform"
            ));
        }
        let fields = auth
            .entry("fields")
            .or_insert_with(|| json!({"type": "object", "properties": {}}));
        hide_secrets(fields);
    }
    let actions = members.get("actions").and_then(Value::as_object);
    for (name, action) in actions.into_iter().flatten() {
        if action.get("request").is_none() && action.get("steps").is_none() {
            warnings.push(format!(
                "the action `{name}` has no `request`: it answers METHOD_NOT_FOUND"
            ));
        }
    }
    Imported { manifest, warnings }
}

/// Sets a member of an object.
fn put(object: &mut Value, name: &str, value: Value) {
    if object.is_null() {
        *object = json!({});
    }
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// What a manifest takes from the one that it extends: all that it does not say itself, action by action.
fn extend(manifest: &mut Value, base: &Value) {
    let Some(own) = manifest.as_object_mut() else { return };
    own.remove("extends");
    for name in ["base_url", "hosts", "rate_limit", "replies", "webhook", "auth"] {
        if let (false, Some(value)) = (own.contains_key(name), base.get(name)) {
            own.insert(name.to_owned(), value.clone());
        }
    }
    let actions = own.get_mut("actions").and_then(Value::as_object_mut);
    for (name, action) in actions.into_iter().flatten() {
        let theirs = base.get("actions").and_then(|a| a.get(name)).and_then(Value::as_object);
        let Some(action) = action.as_object_mut() else { continue };
        if action.contains_key("request") || action.contains_key("steps") {
            continue;
        }
        for (key, value) in theirs.into_iter().flatten() {
            if !action.contains_key(key) {
                action.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Marks fields whose names say that they are secret, so that they are stored encrypted and never shown.
fn hide_secrets(schema: &mut Value) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if is_secret(name)
            && let Some(property) = property.as_object_mut()
        {
            property.insert("format".into(), json!("password"));
        }
    }
}

/// Whether a field of this name is to be kept secret.
fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| plain.contains(word))
}

/// A name for URLs: lower-case letters, digits and `-`.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(64);
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::manifest::Manifest;

    fn base(name: &str) -> Result<Value> {
        match name {
            "custom" => Ok(json!({"webhook": {
                "verification": {"kind": "hmac", "hash": "sha256", "signed": "{body}",
                    "signature": {"from": "header:X-Signature", "encoding": "hex"}},
                "paths": {"/x": {}}
            }})),
            "calendar" => Ok(json!({
                "base_url": "https://calendar.example.com",
                "actions": {"listEvents": {"request": {"method": "GET", "path": "/events"}, "idempotent": true}}
            })),
            other => Err(Error::IntegrationNotFound(other.to_owned())),
        }
    }

    #[test]
    fn a_definition_without_urls_is_taken_with_a_warning() {
        let definition = json!({
            "name": "Google Calendar Integration", "type": "http", "authType": "none",
            "methods": [{"name": "listEvents", "paramSchema": {"type": "object"}}]
        });

        let bare = import(&definition, &base).unwrap();
        let mut extended = definition.clone();
        extended["extends"] = json!("calendar");
        let extended = import(&extended, &base).unwrap();

        assert_eq!(bare.manifest["name"], "google-calendar-integration");
        assert_eq!(bare.warnings.len(), 1);
        assert_eq!(extended.warnings, Vec::<String>::new());
        assert_eq!(extended.manifest["actions"]["listEvents"]["request"]["path"], "/events");
        for imported in [bare, extended] {
            Manifest::read(&imported.manifest).unwrap().check().unwrap();
        }
    }

    #[test]
    fn a_base_url_and_a_key_make_a_request() {
        let definition = json!({
            "name": "CRM", "authType": "api_key", "methods": [{"name": "createContact"}],
            "configSchema": {"type": "object", "properties": {"baseUrl": {"type": "string"}, "apiKey": {"type": "string"}}}
        });

        let manifest = import(&definition, &base).unwrap().manifest;

        let fields = &manifest["auth"]["fields"]["properties"];
        assert_eq!(
            (&fields["baseUrl"]["format"], &fields["apiKey"]["format"]),
            (&json!("host"), &json!("password"))
        );
        assert_eq!(
            manifest["auth"]["apply"]["headers"]["authorization"],
            "Bearer {secret.apiKey}"
        );
        assert_eq!(
            manifest["actions"]["createContact"]["request"]["path"],
            "/createContact"
        );
        Manifest::read(&manifest).unwrap().check().unwrap();
    }

    #[test]
    fn what_a_sign_in_knows_is_no_field_and_the_rest_are_parts() {
        let property = |default: &str| json!({"type": "string", "default": default});
        let definition = json!({
            "name": "Calendar", "authType": "oauth2", "methods": [{"name": "listEvents"}],
            "configSchema": {"type": "object", "required": ["clientId", "baseUrl"], "properties": {
                "clientId": {"type": "string"}, "clientSecret": {"type": "string"}, "scope": property("read write"),
                "baseUrl": {"type": "string"}, "region": property("eu"), "note": {"type": "string"},
                "apiToken": {"type": "string"}, "size": {"type": "integer"}
            }},
            "oauth2Config": {"authorizationUrl": "https://a.example.com/auth", "tokenUrl": "https://a.example.com/token"}
        });

        let imported = import(&definition, &base).unwrap();

        let manifest = &imported.manifest;
        assert!(manifest["auth"].get("fields").is_none());
        assert_eq!(manifest["auth"]["oauth2"]["scopes"], json!(["read", "write"]));
        let parts = &manifest["auth"]["parts"];
        let names: Vec<&String> = parts.as_object().unwrap().keys().collect();
        assert_eq!(names, ["baseUrl", "note", "region"]);
        assert_eq!(
            (
                &parts["baseUrl"]["optional"],
                &parts["note"]["optional"],
                &parts["region"]["default"]
            ),
            (&json!(false), &json!(true), &json!("eu"))
        );
        assert_eq!(
            (&manifest["base_url"], imported.warnings.len()),
            (&json!("{baseUrl}"), 2)
        );
        Manifest::read(manifest).unwrap().check().unwrap();
    }

    #[test]
    fn a_webhook_definition_is_verified_by_default() {
        let definition = json!({
            "name": "Hook", "type": "webhook", "authType": "hmac", "methods": [{"name": "process"}],
            "configSchema": {"type": "object", "properties": {"webhookSecret": {"type": "string"}}}
        });

        let manifest = import(&definition, &base).unwrap().manifest;

        assert_eq!(
            manifest["webhook"]["verification"]["signature"]["from"],
            "header:X-Signature"
        );
        assert_eq!(manifest["webhook"]["secret_field"], "webhookSecret");
        assert!(manifest["webhook"].get("paths").is_none());
        Manifest::read(&manifest).unwrap().check().unwrap();
    }

    #[test]
    fn what_is_not_known_is_named() {
        let cases = [
            (json!({"name": "x", "methods": [], "whatever": 1}), "/whatever"),
            (
                json!({"name": "x", "methods": [{"name": "m", "url": "/x"}]}),
                "/methods/0/url",
            ),
            (
                json!({"name": "x", "methods": [{"name": "m"}, {"name": "m"}], "baseUrl": "https://x"}),
                "/methods/1/name",
            ),
            (json!({"name": "x", "methods": [], "type": "soap"}), "/type"),
            (json!({"name": "x", "methods": [], "authType": "magic"}), "/authType"),
            (json!({"methods": []}), "/name"),
        ];
        for (definition, pointer) in cases {
            let error = import(&definition, &base).unwrap_err().to_string();
            assert!(error.contains(pointer), "{error}");
        }
    }
}

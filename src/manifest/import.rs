//! Definitions in other formats as manifests: source 003's, and source 002's `config.json`.
//!
//! Both become manifest documents; what they cannot say is left out and named in a warning, never guessed.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

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
        return of_definition(document, base);
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

/// Source 003's definition.
fn of_definition(document: &Value, base: &Base<'_>) -> Result<Imported> {
    let known = [
        "name",
        "description",
        "version",
        "type",
        "authType",
        "methods",
        "configSchema",
        "oauth2Config",
        "extends",
        "verification",
        "baseUrl",
        "hosts",
        "apiKeyHeader",
    ];
    let members = document
        .as_object()
        .ok_or_else(|| Error::invalid("", "must be an object"))?;
    if let Some(unknown) = members.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(Error::invalid(format!("/{unknown}"), "is not part of a definition"));
    }
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let required = |name: &str| text(name).ok_or_else(|| Error::invalid(format!("/{name}"), "is missing"));
    let kind = text("type").unwrap_or("http");
    if !matches!(kind, "http" | "webhook") {
        return Err(Error::invalid("/type", "must be `http` or `webhook`"));
    }
    let mut reader = Definition {
        document,
        base: text("extends").map(base).transpose()?,
        webhook: kind == "webhook",
        warnings: Vec::new(),
    };
    let mut manifest = json!({
        "name": slug(required("name")?),
        "version": text("version").unwrap_or("1.0.0"),
        "description": text("description").or(text("name")).unwrap_or_default(),
    });
    if reader.webhook {
        put(&mut manifest, "webhook", reader.webhook(base)?);
    }
    if let Some(url) = text("baseUrl") {
        put(&mut manifest, "base_url", json!(url));
    }
    if let Some(hosts) = document.get("hosts") {
        put(&mut manifest, "hosts", hosts.clone());
    }
    if let Some(base) = &reader.base {
        for name in ["base_url", "hosts", "rate_limit", "replies"] {
            if let (Some(value), true) = (base.get(name), manifest.get(name).is_none()) {
                put(&mut manifest, name, value.clone());
            }
        }
    }
    if let Some(auth) = reader.auth()? {
        put(&mut manifest, "auth", auth);
    }
    let actions = reader.actions(&manifest)?;
    put(&mut manifest, "actions", actions);
    Ok(Imported {
        manifest,
        warnings: reader.warnings,
    })
}

struct Definition<'a> {
    document: &'a Value,
    base: Option<Value>,
    webhook: bool,
    warnings: Vec<String>,
}

impl Definition<'_> {
    /// How deliveries are verified: as the definition says, as what it extends does, or by the plain signature of
    /// source 004.
    fn webhook(&self, base: &Base<'_>) -> Result<Value> {
        let own = self.base.as_ref().and_then(|b| b.get("webhook")).cloned();
        let mut webhook = match own {
            Some(webhook) => webhook,
            None => base("custom")?.get("webhook").cloned().unwrap_or_default(),
        };
        if let Some(verification) = self.document.get("verification") {
            put(&mut webhook, "verification", verification.clone());
        }
        if let Some(members) = webhook.as_object_mut() {
            // Replies on paths of its own are the built-in's.
            members.remove("paths");
        }
        put(&mut webhook, "app_secret", json!(false));
        if let Some(field) = self.secret_field() {
            put(&mut webhook, "secret_field", json!(field));
        }
        Ok(webhook)
    }

    fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.document
            .pointer("/configSchema/properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }

    fn secret_field(&self) -> Option<&str> {
        ["webhookSecret", "webhook_secret", "secret"]
            .into_iter()
            .find(|name| self.properties().any(|(n, _)| n == name))
    }

    fn auth(&mut self) -> Result<Option<Value>> {
        let kind = self.document.get("authType").and_then(Value::as_str).unwrap_or("none");
        let mut fields = self
            .document
            .get("configSchema")
            .cloned()
            .unwrap_or_else(|| json!({"type": "object"}));
        hide_secrets(&mut fields);
        mark_hosts(&mut fields);
        let declared: Vec<String> = self.properties().map(|(name, _)| name.clone()).collect();
        let first = |names: &[&'static str]| names.iter().find(|n| declared.iter().any(|d| d == *n)).copied();
        let mut auth = json!({"identifier": kind, "type": "Custom", "fields": fields});
        match kind {
            "none" if self.properties().next().is_none() => return Ok(None),
            "none" | "hmac" => {}
            "api_key" => {
                let field = first(&["apiKey", "api_key", "token", "accessToken"]).ok_or_else(|| {
                    Error::invalid(
                        "/configSchema/properties",
                        "needs `apiKey` where `authType` is `api_key`",
                    )
                })?;
                let header = self.document.get("apiKeyHeader").and_then(Value::as_str);
                let (name, value) = match header {
                    Some(name) => (name, format!("{{secret.{field}}}")),
                    None => ("authorization", format!("Bearer {{secret.{field}}}")),
                };
                put(&mut auth, "apply", json!({"headers": {name: value}}));
            }
            "basic" => {
                let user = first(&["username", "user", "email"]).unwrap_or("username");
                let password = first(&["password", "apiToken", "apiKey", "token"]).unwrap_or("password");
                put(
                    &mut auth,
                    "apply",
                    json!({
                        "basic": {"user": format!("{{config.{user}}}"), "password": format!("{{secret.{password}}}")}
                    }),
                );
            }
            "oauth2" => {
                put(&mut auth, "oauth2", self.oauth2()?);
                put(
                    &mut auth,
                    "apply",
                    json!({"headers": {"authorization": "Bearer {token}"}}),
                );
            }
            _ => {
                return Err(Error::invalid(
                    "/authType",
                    "must be oauth2, api_key, basic, hmac or none",
                ));
            }
        }
        Ok(Some(auth))
    }

    /// `oauth2Config` in the manifest's words.
    fn oauth2(&mut self) -> Result<Value> {
        let inherited = self.base.as_ref().and_then(|b| b.pointer("/auth/oauth2")).cloned();
        let Some(config) = self.document.get("oauth2Config").and_then(Value::as_object) else {
            return inherited.ok_or_else(|| Error::invalid("/oauth2Config", "is missing"));
        };
        let mut oauth2 = inherited.unwrap_or_else(|| json!({}));
        let names = [
            ("authorizationUrl", "authorize_url"),
            ("tokenUrl", "token_url"),
            ("refreshUrl", "refresh_url"),
            ("scopeDelimiter", "scope_separator"),
            ("additionalParameters", "authorize_params"),
        ];
        for (theirs, ours) in names {
            if let Some(value) = config.get(theirs) {
                put(&mut oauth2, ours, value.clone());
            }
        }
        match config.get("authStyle").and_then(Value::as_str) {
            Some("header") => put(&mut oauth2, "client_auth", json!("basic")),
            Some("body" | "params") => put(&mut oauth2, "client_auth", json!("body")),
            Some(_) => return Err(Error::invalid("/oauth2Config/authStyle", "must be `header` or `body`")),
            None => {}
        }
        let known = |name: &str| name == "authStyle" || names.iter().any(|(theirs, _)| *theirs == name);
        for name in config.keys().filter(|name| !known(name)) {
            self.warnings.push(format!("`/oauth2Config/{name}` is ignored"));
        }
        Ok(oauth2)
    }

    fn actions(&mut self, manifest: &Value) -> Result<Value> {
        let has_url = manifest.get("base_url").is_some()
            || self
                .properties()
                .any(|(name, _)| matches!(name.as_str(), "baseUrl" | "base_url"));
        let mut actions = Map::new();
        let methods = self.document.get("methods").and_then(Value::as_array);
        for (index, method) in methods.into_iter().flatten().enumerate() {
            let at = format!("/methods/{index}");
            let name = method
                .get("name")
                .and_then(Value::as_str)
                .filter(|n| !n.is_empty() && n.len() <= 64)
                .ok_or_else(|| Error::invalid(format!("{at}/name"), "must be a name"))?;
            let action = self.action(name, method, &at, has_url)?;
            if actions.insert(name.to_owned(), action).is_some() {
                return Err(Error::invalid(format!("{at}/name"), "is there twice"));
            }
        }
        Ok(Value::Object(actions))
    }

    fn action(&mut self, name: &str, method: &Value, at: &str, has_url: bool) -> Result<Value> {
        const OWN: [&str; 6] = ["request", "steps", "response", "pagination", "idempotent", "cache"];
        const INHERITED: [&str; 8] = [
            "request",
            "steps",
            "response",
            "pagination",
            "idempotent",
            "reconcile",
            "rate_limit",
            "docs",
        ];
        let theirs = [
            "name",
            "description",
            "paramSchema",
            "resultSchema",
            "requestTransform",
            "responseTransform",
        ];
        let members = method.as_object().into_iter().flatten();
        for (key, _) in members {
            if !theirs.contains(&key.as_str()) && !OWN.contains(&key.as_str()) {
                return Err(Error::invalid(format!("{at}/{key}"), "is not part of a method"));
            }
        }
        let any = || json!({"type": "object"});
        let mut action = json!({
            "description": method.get("description").and_then(Value::as_str).unwrap_or(name),
            "input_schema": method.get("paramSchema").cloned().unwrap_or_else(any),
            "output_schema": method.get("resultSchema").cloned().unwrap_or(json!(true)),
        });
        for (theirs, ours) in [
            ("requestTransform", "request_transform"),
            ("responseTransform", "response_transform"),
        ] {
            if let Some(script) = method.get(theirs) {
                put(&mut action, ours, script.clone());
            }
        }
        let sends = ["request", "steps"].iter().any(|key| method.get(*key).is_some());
        let base = self.base.as_ref().and_then(|b| b.get("actions")?.get(name)).cloned();
        if let Some(base) = base.filter(|_| !sends) {
            for key in INHERITED {
                if let Some(value) = base.get(key) {
                    put(&mut action, key, value.clone());
                }
            }
        }
        for key in OWN {
            if let Some(value) = method.get(key) {
                put(&mut action, key, value.clone());
            }
        }
        if action.get("request").is_some() || action.get("steps").is_some() {
            return Ok(action);
        }
        if self.webhook {
            // What a caller says of a delivery is no proof: only one that was verified when it came in counts.
            put(
                &mut action,
                "event",
                json!({"delivery_id": "{{ inputs.event.id or inputs.eventId or inputs.id }}"}),
            );
            put(
                &mut action,
                "response",
                json!({"data": {
                    "processed": "{{ not config.eventTypes or event.type in config.eventTypes }}",
                    "eventId": "{{ event.delivery_id }}"
                }}),
            );
        } else if has_url {
            put(
                &mut action,
                "request",
                json!({"method": "POST", "path": format!("/{name}"), "json": "{{ inputs }}"}),
            );
        } else {
            self.warnings.push(format!(
                "the method `{name}` has no `request`, and there is neither a `baseUrl` nor an `extends` that gives one: \
                 it answers METHOD_NOT_FOUND"
            ));
        }
        Ok(action)
    }
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
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_ascii_lowercase();
        if SECRET_WORDS.iter().any(|word| plain.contains(word))
            && let Some(property) = property.as_object_mut()
        {
            property.insert("format".into(), json!("password"));
        }
    }
}

/// Marks the field that names the service's server: a credential may go there.
fn mark_hosts(schema: &mut Value) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if matches!(name.as_str(), "baseUrl" | "base_url")
            && let Some(property) = property.as_object_mut()
        {
            property.insert("format".into(), json!("host"));
        }
    }
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

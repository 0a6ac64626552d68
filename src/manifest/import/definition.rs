//! Source 003's definition as a manifest.

use super::{Base, Imported, hide_secrets, is_secret, put, slug};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// Settings that every sign-in has, in both spellings.
const SIGN_IN: [&str; 7] = [
    "clientId",
    "client_id",
    "clientSecret",
    "client_secret",
    "redirectUri",
    "redirect_uri",
    "scope",
];

/// Reads one.
pub(super) fn read(document: &Value, base: &Base<'_>) -> Result<Imported> {
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
        let named = auth.get("parts").and_then(Value::as_object);
        let part = named.and_then(|parts| parts.keys().find(|name| is_base_url(name)));
        if let (Some(part), true) = (part, text("baseUrl").is_none()) {
            put(&mut manifest, "base_url", json!(format!("{{{part}}}")));
        }
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
                // A sign-in takes no fields: what the hub itself asks with it knows, the rest are parts.
                let oauth2 = self.oauth2()?;
                auth = json!({"identifier": kind, "type": "Custom", "oauth2": oauth2, "parts": self.parts()});
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
        // Nobody says whether refresh tokens rotate: one that is refused after an answer that was lost did, most likely.
        let mut oauth2 = inherited.unwrap_or_else(|| json!({"refresh": {"rotates": true}}));
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
        if let Some(scope) = self.document.pointer("/configSchema/properties/scope/default") {
            let all = scope.as_str().unwrap_or_default().split([' ', ',']);
            let scopes: Vec<&str> = all.filter(|s| !s.is_empty()).collect();
            put(&mut oauth2, "scopes", json!(scopes));
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

    /// The settings of a sign-in besides those that every one has: texts that a connection gives, or their defaults.
    fn parts(&mut self) -> Value {
        let mut parts = self
            .base
            .as_ref()
            .and_then(|b| b.pointer("/auth/parts")?.as_object().cloned())
            .unwrap_or_default();
        let required = self
            .document
            .pointer("/configSchema/required")
            .and_then(Value::as_array);
        let mut left_out = Vec::new();
        for (name, property) in self.properties().filter(|(name, _)| !SIGN_IN.contains(&name.as_str())) {
            if property.get("type").is_some_and(|t| t != "string") || is_secret(name) {
                left_out.push(format!(
                    "`/configSchema/properties/{name}` is ignored: a sign-in takes plain texts alone"
                ));
                continue;
            }
            let needed = required.into_iter().flatten().any(|r| r.as_str() == Some(name));
            let kind = if is_base_url(name) { "origin" } else { "text" };
            let words = property.get("description").and_then(Value::as_str).unwrap_or(name);
            let mut part = json!({"description": words, "kind": kind, "optional": !needed});
            if let Some(default) = property
                .get("default")
                .and_then(Value::as_str)
                .filter(|d| !d.is_empty())
            {
                put(&mut part, "default", json!(default));
            }
            parts.insert(name.clone(), part);
        }
        self.warnings.extend(left_out);
        Value::Object(parts)
    }

    fn actions(&mut self, manifest: &Value) -> Result<Value> {
        let has_url = manifest.get("base_url").is_some() || self.properties().any(|(name, _)| is_base_url(name));
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

/// Marks the field that names the service's server: a credential may go there.
fn mark_hosts(schema: &mut Value) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if is_base_url(name)
            && let Some(property) = property.as_object_mut()
        {
            property.insert("format".into(), json!("host"));
        }
    }
}

/// Whether a setting of this name is the address that requests go to.
fn is_base_url(name: &str) -> bool {
    matches!(name, "baseUrl" | "base_url")
}

//! Webhooks in: capped, verified, read, stored, acknowledged, in this order.

use super::Hub;
use crate::error::{Error, Result};
use crate::http::{Head, Method, Response};
use crate::id::{self, Kind};
use crate::manifest::Manifest;
use crate::manifest::webhook::Webhook;
use crate::ports::Body;
use crate::registry;
use crate::secret::Secret;
use crate::settings;
use crate::store::connection;
use crate::store::event::{self, Arrival, Stored};
use crate::webhook::{self, IncomingHook, KeyMaterial, NoKeys, Rejection};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Whose secret a delivery is checked with, and whose event it becomes.
struct Recipient {
    source: String,
    connection_id: Option<String>,
    owner: Option<String>,
    keys: KeyMaterial,
    /// Name of the setting to name when there is no secret.
    setting: String,
}

impl Hub<'_> {
    /// Takes a delivery for `service`, on the app's own route or on that of a connection.
    pub async fn receive(
        &self,
        service: &str,
        connection_id: Option<&str>,
        head: &Head,
        body: &dyn Body,
        trace_id: &str,
    ) -> Result<Response> {
        let manifest = registry::get(service)?.manifest()?;
        let spec = manifest
            .webhook
            .as_ref()
            .ok_or_else(|| Error::NotFound(format!("webhook of the integration `{service}`")))?;
        check_method(spec, head.method)?;
        let recipient = self.recipient(manifest, spec, connection_id).await?;
        match self.accept(manifest, spec, &recipient, head, body, trace_id).await? {
            Ok(response) => Ok(response),
            Err(rejection) => self.refuse(spec, head, &recipient, &rejection, service, trace_id),
        }
    }

    async fn accept(
        &self,
        manifest: &Manifest,
        spec: &Webhook,
        recipient: &Recipient,
        head: &Head,
        body: &dyn Body,
        trace_id: &str,
    ) -> Result<std::result::Result<Response, Rejection>> {
        let keys = &recipient.keys;
        if let Err(rejection) = webhook::precheck(spec, head, keys) {
            return Ok(Err(rejection));
        }
        let cap = settings::max_body_bytes(self.ports.host);
        let bytes = body.read(spec.max_body_bytes.map_or(cap, |own| own.min(cap))).await?;
        if let Some(answer) = webhook::unsigned_handshake(spec, keys, head, &bytes) {
            return Ok(answer);
        }
        let hook = IncomingHook {
            method: head.method,
            query: head.query.clone(),
            headers: head.headers.clone(),
            body: bytes,
        };
        let now = self.ports.host.now();
        let hook = match webhook::verify(spec, keys, hook, now, self.ports.crypto, &NoKeys).await {
            Ok(hook) => hook,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if let Some(answer) = webhook::signed_handshake(spec, keys, &hook) {
            return Ok(Ok(answer));
        }
        let drafts = webhook::drafts(spec, &hook, now);
        let arrival = Arrival {
            service: &manifest.name,
            source: &recipient.source,
            connection_id: recipient.connection_id.as_deref(),
            owner: recipient.owner.as_deref(),
            trace_id,
            headers: &head.headers,
        };
        let whole = drafts.iter().all(|d| d.item.is_none());
        let mut raw = if whole { hook.into_body() } else { Vec::new() };
        let mut first: Option<Stored> = None;
        for draft in &drafts {
            let payload = match &draft.item {
                Some(item) => item.clone().into_bytes(),
                None => std::mem::take(&mut raw),
            };
            let stored = event::insert(&self.ports, &arrival, draft, payload).await?;
            if !stored.duplicate {
                self.call(&stored.id).await;
            }
            first.get_or_insert(stored);
        }
        Ok(Ok(
            webhook::reply(spec, &head.path).unwrap_or_else(|| accepted(first.as_ref(), trace_id))
        ))
    }

    /// Answers a refused delivery. Nothing of its payload is kept.
    fn refuse(
        &self,
        spec: &Webhook,
        head: &Head,
        recipient: &Recipient,
        rejection: &Rejection,
        service: &str,
        trace_id: &str,
    ) -> Result<Response> {
        self.ports.host.log(&json!({
            "level": "warn",
            "job": "reject",
            "trace_id": trace_id,
            "service": service,
            "connection_id": recipient.connection_id,
            "cause": rejection.cause(),
        }));
        if matches!(rejection, Rejection::NoSecret) {
            return Err(Error::missing_setting(&recipient.setting));
        }
        webhook::refusal(spec, &head.path, rejection).map_or_else(|| Err(rejection.clone().into()), Ok)
    }

    async fn recipient(&self, manifest: &Manifest, spec: &Webhook, connection_id: Option<&str>) -> Result<Recipient> {
        match connection_id {
            Some(id) => self.connected(manifest, id).await,
            None if spec.app_secret => Ok(self.app(manifest)),
            None => Err(Error::NotFound(format!(
                "app-level webhook of `{}`: its secrets belong to connections, post to \
                 /api/integration/{}/events/{{connection_id}}",
                manifest.name, manifest.name
            ))),
        }
    }

    fn app(&self, manifest: &Manifest) -> Recipient {
        let setting = manifest.setting("WEBHOOK_SECRET");
        let previous = manifest.setting("WEBHOOK_SECRET_PREVIOUS");
        let url = format!("/api/integration/{}/events", manifest.name);
        Recipient {
            source: format!("app:{}", manifest.name),
            connection_id: None,
            owner: None,
            keys: KeyMaterial {
                secrets: [&setting, &previous]
                    .into_iter()
                    .filter_map(|name| self.ports.host.secret(name))
                    .collect(),
                registered_url: settings::public_url(self.ports.host).ok().map(|origin| origin + &url),
                tolerance_s: None,
                options: Map::new(),
            },
            setting,
        }
    }

    async fn connected(&self, manifest: &Manifest, id: &str) -> Result<Recipient> {
        let missing = || Error::NotFound(format!("connection `{}`", id.chars().take(64).collect::<String>()));
        if !id::is(Kind::Connection, id) {
            return Err(missing());
        }
        let connection = connection::find(&self.ports, id).await?.ok_or_else(missing)?;
        if connection.integration != manifest.name {
            return Err(missing());
        }
        let secrets = connection.open(&self.ports)?;
        let keys = key_material(&connection.config, &secrets, || {
            self.webhook_url(&manifest.name, id).ok()
        });
        Ok(Recipient {
            source: connection.id.clone(),
            connection_id: Some(connection.id),
            owner: connection.owner,
            keys,
            setting: format!("webhook_secret of the connection {id}"),
        })
    }

    /// The URL at which a connection's deliveries arrive.
    pub fn webhook_url(&self, service: &str, connection_id: &str) -> Result<String> {
        let origin = settings::public_url(self.ports.host)?;
        Ok(format!("{origin}{}", webhook_path(service, connection_id)))
    }
}

/// The path at which a connection's deliveries arrive.
pub fn webhook_path(service: &str, connection_id: &str) -> String {
    format!("/api/integration/{service}/events/{connection_id}")
}

fn check_method(spec: &Webhook, method: Method) -> Result<()> {
    let mut allowed: Vec<&str> = spec.methods.iter().map(|m| m.as_str()).collect();
    allowed.extend(spec.handshakes.iter().map(|h| h.method.as_str()));
    allowed.dedup();
    if allowed.contains(&method.as_str()) {
        return Ok(());
    }
    Err(Error::MethodNotAllowed {
        allow: allowed.join(", "),
    })
}

fn key_material(
    config: &Value,
    secrets: &BTreeMap<String, Secret>,
    own_url: impl FnOnce() -> Option<String>,
) -> KeyMaterial {
    let registered = config.get("webhook_url").and_then(Value::as_str).map(str::to_owned);
    KeyMaterial {
        secrets: ["webhook_secret", "webhook_secret_previous"]
            .into_iter()
            .filter_map(|field| secrets.get(field).cloned())
            .collect(),
        registered_url: registered.or_else(own_url),
        tolerance_s: config
            .get("webhook_tolerance_s")
            .and_then(Value::as_u64)
            .and_then(|s| u32::try_from(s).ok()),
        options: config.as_object().cloned().unwrap_or_default(),
    }
}

fn accepted(stored: Option<&Stored>, trace_id: &str) -> Response {
    let duplicate = stored.is_some_and(|s| s.duplicate);
    let body = json!({ "id": stored.map(|s| &s.id), "trace_id": trace_id, "duplicate": duplicate });
    Response::json(202, &body)
}

//! Webhooks in: capped, verified, read, stored, acknowledged, in this order.

use super::Hub;
use crate::action::{dns, egress};
use crate::error::{Error, Result};
use crate::http::{Head, Method, Request, Response};
use crate::id::{self, Kind};
use crate::manifest::Manifest;
use crate::manifest::webhook::Webhook;
use crate::ports::{Body, Limits, Ports};
use crate::secret::Secret;
use crate::settings;
use crate::store::connection::{self, Connection};
use crate::store::event::{self, Arrival, Stored};
use crate::time::{HOUR, Timestamp};
use crate::webhook::{self, IncomingHook, KeyMaterial, Rejection};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How long after it was made a connection believes a secret that a service hands over, in milliseconds.
const LEARNS_FOR: i64 = HOUR;

/// How far the confirmation of a subscription may go.
const CONFIRMATION: Limits = Limits {
    timeout_ms: 5_000,
    max_bytes: 256 * 1024,
};

/// The media type of a query that is a payload.
const FORM: &str = "application/x-www-form-urlencoded";

/// Whose secret a delivery is checked with, and whose event it becomes.
pub(super) struct Recipient {
    source: String,
    pub(super) connection_id: Option<String>,
    owner: Option<String>,
    pub(super) keys: KeyMaterial,
    /// Name of the setting to name when there is no secret.
    setting: String,
    /// The connection, where it may still learn its secret.
    learning: Option<Connection>,
}

/// What a verified delivery came to.
pub(super) struct Taken {
    /// The first event of it, if it holds any.
    pub(super) first: Option<Stored>,
    /// What the protocol answers instead of the hub's own 202.
    reply: Option<Response>,
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
        let integration = self.integration(service).await?;
        let manifest = integration.manifest()?;
        let spec = webhook_of(manifest)?;
        check_method(spec, head.method)?;
        self.throttle(service, connection_id).await?;
        let recipient = self.recipient(manifest, spec, connection_id).await?;
        let keys = &recipient.keys;
        if let Err(why) = webhook::precheck(spec, head, keys) {
            return self
                .refuse(spec, head, None, &recipient, &why, manifest, trace_id)
                .await;
        }
        let cap = settings::max_body_bytes(self.ports.host);
        let bytes = body.read(spec.max_body_bytes.map_or(cap, |own| own.min(cap))).await?;
        if let Some(answer) = webhook::unsigned_handshake(spec, keys, head, &bytes) {
            return match answer {
                Ok(reply) => self.learn(spec, recipient, head, &bytes).await.map(|()| reply),
                Err(why) => {
                    self.refuse(spec, head, Some(&bytes), &recipient, &why, manifest, trace_id)
                        .await
                }
            };
        }
        let now = self.ports.host.now();
        match self
            .take(manifest, spec, &recipient, head, bytes, now, trace_id)
            .await?
        {
            Ok(taken) => Ok(taken.reply.unwrap_or_else(|| accepted(taken.first.as_ref(), trace_id))),
            Err((why, hook)) => {
                self.refuse(spec, head, Some(&hook.body), &recipient, &why, manifest, trace_id)
                    .await
            }
        }
    }

    /// Verifies, reads and stores a delivery that came at `at`.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of one delivery; a struct would only rename them"
    )]
    pub(super) async fn take(
        &self,
        manifest: &Manifest,
        spec: &Webhook,
        recipient: &Recipient,
        head: &Head,
        body: Vec<u8>,
        at: Timestamp,
        trace_id: &str,
    ) -> Result<std::result::Result<Taken, (Rejection, IncomingHook)>> {
        let keys = &recipient.keys;
        let hook = IncomingHook {
            method: head.method,
            query: head.query.clone(),
            headers: head.headers.clone(),
            body,
        };
        let Ports {
            crypto,
            keys: published,
            ..
        } = self.ports;
        let hook = match webhook::verify_or_return(spec, keys, hook, at, crypto, published).await {
            Ok(hook) => hook,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(reply) = webhook::signed_handshake(spec, keys, &hook) {
            if let Some(request) = webhook::confirmation(spec, keys, &hook) {
                self.confirm(request).await;
            }
            return Ok(Ok(Taken {
                first: None,
                reply: Some(reply),
            }));
        }
        let drafts = webhook::drafts(spec, &hook, at);
        // A delivery by GET says everything in its query: that is then its payload.
        let in_query = head.method == Method::Get && hook.body().is_empty();
        let arrival = Arrival {
            service: &manifest.name,
            source: &recipient.source,
            connection_id: recipient.connection_id.as_deref(),
            owner: recipient.owner.as_deref(),
            trace_id,
            headers: &head.headers,
            content_type: if in_query {
                Some(FORM)
            } else {
                head.headers.get("content-type")
            },
        };
        let reply = webhook::reply(spec, &head.path, keys, &hook);
        let payload = if in_query {
            head.query.clone().into_bytes()
        } else {
            hook.into_body()
        };
        self.admit(&recipient.source, drafts.len(), payload.len()).await?;
        let stored = event::insert_all(&self.ports, &arrival, &drafts, payload).await?;
        for new in stored.iter().filter(|s| !s.duplicate) {
            self.call(&new.id).await;
        }
        Ok(Ok(Taken {
            first: stored.into_iter().next(),
            reply,
        }))
    }

    /// Asks the service once to begin sending. A failure is for the log: the service will ask again.
    async fn confirm(&self, request: Request) {
        let allowed = match egress::check_public(&request.url, settings::allow_private_network(self.ports.host)) {
            Ok(_) => dns::check(&self.ports, &request.url).await,
            Err(refused) => Err(refused),
        };
        let outcome = match allowed {
            Ok(_) => self
                .ports
                .fetch
                .send(request, CONFIRMATION)
                .await
                .map_err(|e| e.to_string()),
            Err(refused) => Err(refused.to_string()),
        };
        self.ports.host.log(&json!({
            "job": "confirm",
            "status": outcome.as_ref().ok().map(|r| r.status),
            "message": outcome.as_ref().err(),
        }));
    }

    /// Keeps a secret that the service hands over, if the connection has none and is new.
    async fn learn(&self, spec: &Webhook, recipient: Recipient, head: &Head, body: &[u8]) -> Result<()> {
        let Some(connection) = recipient.learning else {
            return Ok(());
        };
        match webhook::handed_over(spec, &recipient.keys, head, body) {
            Some(secret) => connection::learn(&self.ports, &connection, secret).await,
            None => Ok(()),
        }
    }

    /// Answers a refused delivery. Nothing of its payload is kept, unless a setting asks for it.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of one delivery; a struct would only rename them"
    )]
    async fn refuse(
        &self,
        spec: &Webhook,
        head: &Head,
        body: Option<&[u8]>,
        recipient: &Recipient,
        why: &Rejection,
        manifest: &Manifest,
        trace_id: &str,
    ) -> Result<Response> {
        self.note_refusal(&manifest.name, recipient, head, body, why, trace_id)
            .await;
        if matches!(why, Rejection::NoSecret) {
            return Err(Error::missing_setting(&recipient.setting));
        }
        webhook::refusal(spec, &head.path, why).map_or_else(|| Err(why.clone().into()), Ok)
    }

    /// Whose secret and settings a delivery is checked with.
    pub(super) async fn recipient(
        &self,
        manifest: &Manifest,
        spec: &Webhook,
        connection_id: Option<&str>,
    ) -> Result<Recipient> {
        match connection_id {
            Some(id) => self.connected(manifest, spec, id).await,
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
            learning: None,
        }
    }

    async fn connected(&self, manifest: &Manifest, spec: &Webhook, id: &str) -> Result<Recipient> {
        let missing = || Error::NotFound(format!("connection `{}`", id.chars().take(64).collect::<String>()));
        if !id::is(Kind::Connection, id) {
            return Err(missing());
        }
        let connection = connection::find_warm(&self.ports, id).await?.ok_or_else(missing)?;
        if connection.integration != manifest.name {
            return Err(missing());
        }
        let secrets = connection.open(&self.ports)?;
        let own_url = || self.webhook_url(&manifest.name, id).ok();
        let young = self.ports.host.now() < connection.created_at + LEARNS_FOR;
        let teaches = spec.handshakes.iter().any(|h| h.learn.is_some());
        Ok(Recipient {
            source: connection.id.clone(),
            connection_id: Some(connection.id.clone()),
            owner: connection.owner.clone(),
            keys: key_material(spec, &connection.config, &secrets, own_url),
            setting: format!("webhook_secret of the connection {id}"),
            learning: (teaches && young && !secrets.contains_key("webhook_secret")).then_some(connection),
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

/// The manifest's part on webhooks, or a 404.
pub(super) fn webhook_of(manifest: &Manifest) -> Result<&Webhook> {
    let missing = || Error::NotFound(format!("webhook of the integration `{}`", manifest.name));
    manifest.webhook.as_ref().ok_or_else(missing)
}

fn check_method(spec: &Webhook, method: Method) -> Result<()> {
    let mut allowed: Vec<&str> = Vec::new();
    for known in spec.methods.iter().chain(spec.handshakes.iter().map(|h| &h.method)) {
        if !allowed.contains(&known.as_str()) {
            allowed.push(known.as_str());
        }
    }
    if allowed.contains(&method.as_str()) {
        return Ok(());
    }
    Err(Error::MethodNotAllowed {
        allow: allowed.join(", "),
    })
}

fn key_material(
    spec: &Webhook,
    config: &Value,
    secrets: &BTreeMap<String, Secret>,
    own_url: impl FnOnce() -> Option<String>,
) -> KeyMaterial {
    let registered = config.get("webhook_url").and_then(Value::as_str).map(str::to_owned);
    let mut options = config.as_object().cloned().unwrap_or_default();
    for (name, _) in spec.settings.iter().filter(|(_, setting)| setting.secret) {
        if let Some(secret) = secrets.get(name) {
            options.insert(name.clone(), json!(secret.expose()));
        }
    }
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
        options,
    }
}

/// The hub's own reply to a stored delivery.
pub(super) fn accepted(stored: Option<&Stored>, trace_id: &str) -> Response {
    let duplicate = stored.is_some_and(|s| s.duplicate);
    let body = json!({ "id": stored.map(|s| &s.id), "trace_id": trace_id, "duplicate": duplicate });
    Response::json(202, &body)
}

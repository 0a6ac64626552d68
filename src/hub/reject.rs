//! What was refused: sampled, listed, explained, and released once its cause is mended.

use super::Hub;
use super::receive::Recipient;
use crate::credential::vault::{KeyRing, Place};
use crate::error::{Error, Result};
use crate::http::{Head, Headers, Method};
use crate::id::{self, Kind};
use crate::secret::Secret;
use crate::settings;
use crate::store::audit;
use crate::store::rejection::{self, Rejection as Sample};
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::webhook::{self, Explanation, IncomingHook, Rejection};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Most samples per service, cause and minute, in one isolate.
const SAMPLES: u32 = 5;

/// Largest body that is kept for a release.
const MAX_KEPT: usize = 512 * 1024;

/// How long samples are listed, in milliseconds.
const LISTED: i64 = 7 * DAY;

/// A request as it came, for keeping and for explaining.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captured {
    /// The method.
    #[serde(default = "post")]
    pub method: Method,
    /// The query without its `?`, not decoded.
    #[serde(default)]
    pub query: String,
    /// Names and values, repeats allowed.
    pub headers: Vec<(String, String)>,
    /// The exact body, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The exact body in base64, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

fn post() -> Method {
    Method::Post
}

impl Captured {
    fn of(head: &Head, body: &[u8]) -> Self {
        Self {
            method: head.method,
            query: head.query.clone(),
            headers: head.headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            body: None,
            body_base64: Some(STANDARD.encode(body)),
        }
    }

    fn head(&self) -> Head {
        Head {
            method: self.method,
            path: String::new(),
            query: self.query.clone(),
            headers: Headers::from_pairs(self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()))),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(encoded)) => STANDARD
                .decode(encoded)
                .map_err(|_| Error::invalid("/request/body_base64", "is not base64")),
            (None, None) => Ok(Vec::new()),
            (Some(_), Some(_)) => Err(Error::invalid("/request/body_base64", "must not stand beside `body`")),
        }
    }
}

impl Hub<'_> {
    /// Logs a refused delivery and keeps a sample of it, if there are not enough of its kind.
    pub(super) async fn note_refusal(
        &self,
        service: &str,
        recipient: &Recipient,
        head: &Head,
        body: Option<&[u8]>,
        why: &Rejection,
        trace_id: &str,
    ) {
        self.ports
            .tally
            .add("rejected", &format!("{}|{service}", why.cause()), 1);
        let sampled = !why.is_our_fault() && self.wants_sample(service, why);
        self.ports.host.log(&json!({
            "level": "warn", "job": "reject", "trace_id": trace_id, "service": service,
            "connection_id": recipient.connection_id, "cause": why.cause(), "sampled": sampled,
        }));
        if !sampled {
            return;
        }
        let id = id::new(Kind::Rejection, self.ports.host);
        let sample = Sample {
            request: self.sealed(&id, head, body),
            id,
            service: service.to_owned(),
            connection_id: recipient.connection_id.clone(),
            cause: why.cause().to_owned(),
            detail: why.to_string(),
            size: body.and_then(|b| i64::try_from(b.len()).ok()),
            body_hash: body.map(|b| hex::encode(Sha256::digest(b))),
            trace_id: trace_id.to_owned(),
            received_at: self.ports.host.now(),
            event_id: None,
        };
        // The refusal stands whether or not its sample can be kept.
        if let Err(error) = rejection::insert(&self.ports, &sample).await {
            self.ports
                .host
                .log(&json!({"level": "warn", "job": "reject", "message": error.to_string()}));
        }
    }

    fn wants_sample(&self, service: &str, why: &Rejection) -> bool {
        let now = self.ports.host.now();
        let key = format!("rejected|{service}|{}|{}", why.cause(), now.0.div_euclid(MINUTE));
        let seen: u32 = self
            .ports
            .cache
            .get(&key, now)
            .and_then(|n| n.expose().parse().ok())
            .unwrap_or(0);
        if seen < SAMPLES {
            self.ports
                .cache
                .put(&key, Secret::new((seen + 1).to_string()), now + MINUTE);
        }
        seen < SAMPLES
    }

    /// The request, sealed, if the setting asks for it to be kept.
    fn sealed(&self, id: &str, head: &Head, body: Option<&[u8]>) -> Option<String> {
        let body = body.filter(|b| b.len() <= MAX_KEPT)?;
        if settings::keep_rejected_hours(self.ports.host) == 0 {
            return None;
        }
        let text = serde_json::to_string(&Captured::of(head, body)).ok()?;
        let ring = KeyRing::from_settings(self.ports.host).ok()?;
        ring.seal(&Secret::new(text), place(id), self.ports.host).ok()
    }

    /// Says which check a captured request fails, and the likely cause.
    pub async fn explain(
        &self,
        service: &str,
        connection_id: Option<&str>,
        request: &Captured,
        received_at: Option<Timestamp>,
    ) -> Result<Explanation> {
        let integration = self.integration(service).await?;
        let manifest = integration.manifest()?;
        let spec = super::receive::webhook_of(manifest)?;
        let recipient = self.recipient(manifest, spec, connection_id).await?;
        let head = request.head();
        let hook = IncomingHook {
            method: head.method,
            query: head.query,
            headers: head.headers,
            body: request.bytes()?,
        };
        let now = received_at.unwrap_or_else(|| self.ports.host.now());
        Ok(webhook::explain(spec, &recipient.keys, &hook, now, self.ports.crypto, self.ports.keys).await)
    }

    /// Takes a refused delivery that was kept, as if it came now; its signed time counts as of when it came.
    pub async fn release(&self, sample: &Sample, actor: &str, trace_id: &str) -> Result<crate::http::Response> {
        let sealed = sample.request.as_ref().ok_or_else(|| {
            Error::Conflict(format!(
                "the request is not kept (any more); set `{}` to keep those to come",
                settings::KEEP_REJECTED_HOURS
            ))
        })?;
        let text = KeyRing::from_settings(self.ports.host)?.open(sealed, place(&sample.id))?;
        let captured: Captured = serde_json::from_str(text.expose())
            .map_err(|e| Error::Internal(format!("a kept request does not parse: {e}")))?;
        let integration = self.integration(&sample.service).await?;
        let manifest = integration.manifest()?;
        let spec = super::receive::webhook_of(manifest)?;
        let recipient = self.recipient(manifest, spec, sample.connection_id.as_deref()).await?;
        let (head, body) = (captured.head(), captured.bytes()?);
        match self
            .take(manifest, spec, &recipient, &head, body, sample.received_at, trace_id)
            .await?
        {
            Ok(taken) => {
                let event_id = taken.first.as_ref().map(|s| s.id.as_str());
                let done = audit::Entry {
                    actor,
                    act: "rejection.released",
                    subject: &sample.id,
                    owner: None,
                    detail: &json!({"service": sample.service, "event_id": event_id}),
                };
                let done = audit::append(self.ports.host, done);
                rejection::released(&self.ports, &sample.id, event_id, done).await?;
                Ok(super::receive::accepted(taken.first.as_ref(), trace_id))
            }
            Err((why, _)) => Err(Error::Conflict(format!("it is still refused: {why}"))),
        }
    }

    /// The statements that forget samples whose time is over.
    pub(super) fn purge_rejections(&self) -> [crate::ports::Stmt; 2] {
        let now = self.ports.host.now();
        let listed_from = id::first_at(Kind::Rejection, now + -LISTED);
        let kept = i64::from(settings::keep_rejected_hours(self.ports.host)) * HOUR;
        let kept_from = id::first_at(Kind::Rejection, now + -kept);
        [
            rejection::purge(&listed_from),
            rejection::forget_requests(&listed_from, &kept_from),
        ]
    }
}

fn place(id: &str) -> Place<'_> {
    Place {
        table: "rejection",
        id,
        column: "request",
        version: 1,
    }
}

//! `Idempotency-Key`: a POST that is safe to repeat.
//!
//! The key is claimed in the database before anything is done, so that of two equal requests at the same moment one
//! acts and the other is told to wait. What succeeded is kept for a day and given again; what failed changed nothing,
//! is not kept, and may be repeated with the same key. A request that has no such header costs nothing here.

use super::Call;
use super::input::MAX_BODY;
use crate::credential::vault::{KeyRing, Place};
use crate::error::{Error, Result};
use crate::http::{Head, Headers, Response};
use crate::id;
use crate::ports::Body;
use crate::secret::Secret;
use crate::store::idempotency::{self, First};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The header, in lower case.
const HEADER: &str = "idempotency-key";
/// Says that a reply is an earlier one.
const REPLAYED: &str = "idempotency-replayed";

/// Longest text that is kept, in bytes: a row of D1 holds two million, and sealing adds a third.
const MAX_KEPT: usize = 1_000_000;

/// A body that has been read.
pub struct Read(Vec<u8>);

#[async_trait(?Send)]
impl Body for Read {
    async fn read(&self, limit: usize) -> Result<Vec<u8>> {
        if self.0.len() > limit {
            return Err(Error::PayloadTooLarge { limit });
        }
        Ok(self.0.clone())
    }
}

/// What is kept of a reply; sealed, since some show a secret.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Headers,
    body: String,
}

/// A request that holds its key.
pub struct Claim {
    id: String,
    holder: String,
    ring: KeyRing,
    /// Its body, which had to be read to compare it.
    pub body: Read,
}

/// What became of the key.
pub enum Asked {
    /// It is this request's.
    Claimed(Claim),
    /// An equal request had it before; this is what that was answered.
    Replayed(Response),
}

/// The key of a request, if it has one.
pub fn key(head: &Head) -> Result<Option<&str>> {
    let Some(key) = head.headers.get(HEADER) else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > 255 || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::validation(
            "`Idempotency-Key` must have 1 to 255 visible ASCII characters, such as a UUID",
        ));
    }
    Ok(Some(key))
}

/// Claims the key for this caller, method and path, or finds what it was answered.
pub async fn ask(call: &Call<'_>, key: &str) -> Result<Asked> {
    let ports = &call.hub.ports;
    // First, so that nothing is done whose reply could not be kept.
    let ring = KeyRing::from_settings(ports.host)?;
    let body = call.body.read(MAX_BODY).await?;
    let (method, path) = (call.head.method.as_str(), &call.head.path);
    // The key comes last: it is the one part that could hold the separator.
    let what = format!("{} {method} {path}?{} {key}", call.actor(), call.head.query);
    let id = hex::encode(Sha256::digest(what));
    let body_hash = hex::encode(Sha256::digest(&body));
    let holder = id::token(ports.host);
    match idempotency::claim(ports, &id, &body_hash, &holder).await? {
        None => Ok(Asked::Claimed(Claim {
            id,
            holder,
            ring,
            body: Read(body),
        })),
        Some(first) => replay(&ring, &id, &body_hash, &first).map(Asked::Replayed),
    }
}

fn replay(ring: &KeyRing, id: &str, body_hash: &str, first: &First) -> Result<Response> {
    if first.body_hash != body_hash {
        return Err(Error::Conflict(
            "this Idempotency-Key was used with another body; use a new key for a new request".into(),
        ));
    }
    let sealed = first.reply.as_ref().ok_or(Error::IdempotencyInProgress)?;
    let text = ring.open(sealed, place(id))?;
    let kept: Kept = serde_json::from_str(text.expose())
        .map_err(|e| Error::Internal(format!("a kept reply does not parse: {e}")))?;
    let mut response = Response {
        status: kept.status,
        headers: kept.headers,
        body: kept.body.into_bytes(),
    };
    response.headers.set(REPLAYED, "true");
    Ok(response)
}

impl Claim {
    /// Keeps what was answered, or lets go of the key where that is not to be repeated. A failure is logged: the reply
    /// is the caller's all the same.
    pub async fn end(&self, call: &Call<'_>, outcome: &Result<Response>) {
        let ports = &call.hub.ports;
        let sealed = outcome.as_ref().ok().and_then(|response| self.sealed(call, response));
        let ended = match sealed {
            Some(reply) => idempotency::keep(ports, &self.id, &self.holder, &reply).await,
            None => idempotency::release(ports, &self.id, &self.holder).await,
        };
        if let Err(error) = ended {
            let line = json!({"level": "error", "trace_id": call.trace_id, "job": "idempotency", "message": error.to_string()});
            ports.host.log(&line);
        }
    }

    fn sealed(&self, call: &Call<'_>, response: &Response) -> Option<String> {
        let body = String::from_utf8(response.body.clone()).ok()?;
        let kept = Kept {
            status: response.status,
            headers: response.headers.clone(),
            body,
        };
        let text = serde_json::to_string(&kept)
            .ok()
            .filter(|t| response.is_success() && t.len() <= MAX_KEPT)?;
        self.ring
            .seal(&Secret::new(text), place(&self.id), call.hub.ports.host)
            .ok()
    }
}

fn place(id: &str) -> Place<'_> {
    Place {
        table: "idempotency",
        id,
        column: "reply",
        version: 1,
    }
}

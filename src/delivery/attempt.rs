//! One try to hand a message to a destination.

use super::schedule::{self, Next};
use super::sign;
use crate::action::jitter;
use crate::action::{dns, egress};
use crate::credential::vault::{KeyRing, Place};
use crate::error::{Error, Result};
use crate::http::{Method, Request, Response};
use crate::ports::{FetchError, Limits, Ports};
use crate::secret::Secret;
use crate::settings;
use crate::store::delivery::{Attempt, Delivery};
use crate::store::destination::Destination;
use crate::time::Timestamp;

/// A destination has 15 s to answer, as Standard Webhooks recommends. Its status is what counts: of the body no more is
/// read than is kept.
const LIMITS: Limits = Limits {
    timeout_ms: 15_000,
    max_bytes: 4 * KEPT_REPLY,
};

/// Most characters of a reply that are kept for people to read.
const KEPT_REPLY: usize = 4_096;

/// What a try says of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing: it was not asked, or refused this one message alone.
    Unknown,
    /// It took the message.
    Works,
    /// It did not.
    Fails,
    /// It is to be switched off; the text says why.
    Disable(&'static str),
}

/// Sends `body` and writes into `delivery` what came of it.
pub async fn send(
    ports: &Ports<'_>,
    delivery: &mut Delivery,
    destination: &Destination,
    body: Vec<u8>,
) -> Result<Health> {
    let started = ports.host.now();
    let result = post(ports, delivery, destination, body, started).await?;
    let now = ports.host.now();
    delivery.attempts.push(Attempt {
        at: started,
        ms: (now.0 - started.0).max(0),
        status: result.as_ref().ok().map(|r| r.status),
        error: result.as_ref().err().map(ToString::to_string),
        reply: result.as_ref().ok().map(beginning).filter(|text| !text.is_empty()),
    });
    let own = destination.settings.waits();
    let waits = own.as_deref().unwrap_or(&schedule::WAITS);
    let next = schedule::next(&result, &delivery.attempts, now, jitter(ports), waits);
    let health = match &next {
        Next::Delivered => Health::Works,
        Next::Disable(why) => Health::Disable(why),
        Next::GiveUp(schedule::REFUSED) => Health::Unknown,
        Next::Again(_) | Next::GiveUp(_) => Health::Fails,
    };
    settle(delivery, next, now);
    Ok(health)
}

/// Puts a consequence into the row.
pub fn settle(delivery: &mut Delivery, next: Next, now: Timestamp) {
    delivery.updated_at = now;
    delivery.due_at = None;
    let (state, note) = match next {
        Next::Delivered => ("delivered", None),
        Next::Again(wait) => {
            delivery.due_at = Some(now + wait);
            ("pending", None)
        }
        Next::GiveUp(why) | Next::Disable(why) => ("failed", Some(why.to_owned())),
    };
    delivery.state = state.to_owned();
    delivery.note = note;
}

async fn post(
    ports: &Ports<'_>,
    delivery: &Delivery,
    destination: &Destination,
    body: Vec<u8>,
    now: Timestamp,
) -> Result<std::result::Result<Response, FetchError>> {
    let allow_private = settings::allow_private_network(ports.host);
    if let Err(Error::SsrfBlocked(why)) = egress::check_public(&destination.url, allow_private) {
        return Ok(Err(FetchError::Network(why)));
    }
    if let Err(refused) = dns::check(ports, &destination.url).await {
        return Ok(Err(FetchError::Network(refused.public_detail())));
    }
    let secret = open_secret(ports, destination)?;
    // The event's id, the same for every try: what a receiver recognises a repeated message by.
    let mut headers = sign::headers(&secret, &delivery.event_id, now, &body)?;
    headers.set("content-type", "application/json");
    if delivery.replay {
        headers.set("webhook-replay", "true");
    }
    let request = Request {
        method: Method::Post,
        url: destination.url.clone(),
        headers,
        body,
    };
    Ok(ports.fetch.send_for_status(request, LIMITS).await)
}

fn beginning(reply: &Response) -> String {
    String::from_utf8_lossy(&reply.body).chars().take(KEPT_REPLY).collect()
}

/// Where a destination's signing secret belongs. It never changes with the row, so its version stays 1.
fn place(id: &str) -> Place<'_> {
    Place {
        table: "destination",
        id,
        column: "secret",
        version: 1,
    }
}

/// Seals a new destination's signing secret.
pub fn seal_secret(ports: &Ports<'_>, id: &str, secret: &Secret) -> Result<String> {
    KeyRing::from_settings(ports.host)?.seal(secret, place(id), ports.host)
}

fn open_secret(ports: &Ports<'_>, destination: &Destination) -> Result<Secret> {
    KeyRing::from_settings(ports.host)?.open(&destination.secret, place(&destination.id))
}

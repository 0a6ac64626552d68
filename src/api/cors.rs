//! CORS: off, unless the setting names the page's origin.
//!
//! Pages send a bearer token themselves, so that no cookie is allowed with it, and every origin is named by itself.

use crate::http::{Head, Headers, Method, Response};
use crate::ports::Host;
use crate::settings;

/// What a page may send, and read of a reply, besides what the Fetch standard always lets it.
const MAY_SEND: &str = "authorization, content-type, idempotency-key, last-event-id, traceparent";
const MAY_READ: &str = "idempotency-replayed, link, location, ratelimit-limit, ratelimit-remaining, ratelimit-reset, \
                        retry-after, x-payload-content-type, x-trace-id";
/// Seconds for which a browser may believe the answer to its question.
const MAX_AGE_S: &str = "600";

/// Lets the page read the reply, if its origin is one of those in the setting. `allow` is the reply's own `Allow`.
pub fn apply(host: &dyn Host, head: &Head, response: &mut Response) {
    let Some(origin) = head.headers.get("origin") else {
        return;
    };
    let allowed = settings::cors_origins(host);
    if allowed.is_empty() {
        return;
    }
    let headers = &mut response.headers;
    // Also where it is refused: a cache must not give one origin's reply to another.
    headers.append("vary", "origin");
    if !allowed.iter().any(|known| known == origin) {
        return;
    }
    headers.set("access-control-allow-origin", origin);
    if head.method == Method::Options && head.headers.get("access-control-request-method").is_some() {
        let methods = headers.get("allow").unwrap_or_default().to_owned();
        preflight(headers, &methods);
    } else {
        headers.set("access-control-expose-headers", MAY_READ);
    }
}

fn preflight(headers: &mut Headers, methods: &str) {
    headers.set("access-control-allow-methods", methods);
    headers.set("access-control-allow-headers", MAY_SEND);
    headers.set("access-control-max-age", MAX_AGE_S);
}

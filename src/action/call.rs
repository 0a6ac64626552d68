//! One request to a service: built from a template, checked, authorised, sent.

use super::egress;
use crate::credential::{Credential, token};
use crate::error::{Error, Result};
use crate::http::{Headers, Request, Response, percent_encode};
use crate::manifest::Manifest;
use crate::manifest::action::RequestTemplate;
use crate::ports::{FetchError, Limits, Ports};
use crate::settings;
use crate::template::Scope;

/// Milliseconds for one request, and most bytes of its reply.
const LIMITS: Limits = Limits {
    // Claims on events and runs last longer than all the requests of one try together.
    timeout_ms: 15_000,
    max_bytes: 10 * 1024 * 1024,
};

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The service answered.
    Reply(Response),
    /// It may have acted, but its answer did not arrive.
    Lost(String),
}

/// The request that a template describes.
pub fn build(template: &RequestTemplate, base_url: &str, scope: &Scope) -> Result<Request> {
    let mut url = format!("{base_url}{}", template.path.url_part(scope)?);
    let mut separator = '?';
    for (name, value) in &template.query {
        let value = value.text(scope)?;
        if !value.is_empty() {
            url.push(separator);
            url.push_str(&format!("{}={}", percent_encode(name), percent_encode(&value)));
            separator = '&';
        }
    }
    let mut headers = Headers::default();
    for (name, value) in &template.headers {
        let value = value.text(scope)?;
        if value.bytes().any(|b| b < b' ' || b == 0x7f) {
            return Err(Error::validation(format!(
                "the header `{name}` would hold control characters"
            )));
        }
        headers.set(name, &value);
    }
    let body = match &template.json {
        Some(json) => {
            headers.set("content-type", "application/json");
            json.value(scope)?.to_string().into_bytes()
        }
        None => Vec::new(),
    };
    Ok(Request {
        method: template.method,
        url,
        headers,
        body,
    })
}

/// Sends a request to the service, if it may go there. Redirects are replies.
pub async fn send(
    ports: &Ports<'_>,
    manifest: &Manifest,
    credential: &Credential,
    request: Request,
) -> Result<Outcome> {
    let allow_private = settings::allow_private_network(ports.host);
    egress::check_credentialed(&request.url, &manifest.hosts, &credential.base_url, allow_private)?;
    Ok(match ports.fetch.send(request, LIMITS).await {
        Ok(reply) => Outcome::Reply(reply),
        Err(error @ (FetchError::Timeout | FetchError::Network(_) | FetchError::TooLarge(_))) => {
            Outcome::Lost(error.to_string())
        }
    })
}

/// Sends a request with the account's credential. A 401 means that nothing was done: the token is obtained anew and
/// the request sent once more.
pub async fn send_authorised(
    ports: &Ports<'_>,
    manifest: &Manifest,
    credential: &Credential,
    request: &Request,
) -> Result<Outcome> {
    let Some(auth) = &manifest.auth else {
        return send(ports, manifest, credential, request.clone()).await;
    };
    let mut outcome = Outcome::Lost("not sent".into());
    let mut refused = None;
    for last in [false, true] {
        let access = token::fresh(ports, manifest, auth, credential, refused.as_ref()).await?;
        let mut authorised = request.clone();
        credential.authorise(
            credential.apply(auth),
            access.as_ref(),
            &mut authorised,
            ports.host.now(),
        )?;
        outcome = send(ports, manifest, credential, authorised).await?;
        let refuses = matches!(&outcome, Outcome::Reply(reply) if reply.status == 401);
        if !refuses || last || access.is_none() {
            break;
        }
        refused = access;
    }
    Ok(outcome)
}

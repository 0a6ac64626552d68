//! One request to a service: checked, authorised, sent, its redirects followed by hand.

use super::dns;
use super::egress::{self, Origin};
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::http::{Headers, Method, Request, Response};
use crate::manifest::Manifest;
use crate::ports::{FetchError, Limits, Ports};
use crate::secret::Secret;
use crate::settings;

pub use super::build::build;

/// Milliseconds for one request, and most bytes of its reply.
const LIMITS: Limits = Limits {
    // Claims on events and runs last longer than all the requests of one try together.
    timeout_ms: 15_000,
    max_bytes: 10 * 1024 * 1024,
};

/// Most redirects that are followed.
const MAX_HOPS: usize = 5;

/// Headers that go along to another origin; any other could be a credential.
const HARMLESS: [&str; 4] = ["accept", "accept-language", "content-type", "user-agent"];

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The service answered.
    Reply(Response),
    /// It may have acted, but its answer did not arrive.
    Lost(FetchError),
}

/// Sends a request that carries a credential in its body or headers already, such as one for a token: to the
/// credential's hosts alone, without following redirects.
pub async fn send(
    ports: &Ports<'_>,
    manifest: &Manifest,
    credential: &Credential,
    request: Request,
) -> Result<Outcome> {
    check_credentialed(ports, manifest, credential, &request.url)?;
    dns::check(ports, &request.url).await?;
    Ok(fetch(ports, request, LIMITS.timeout_ms).await)
}

/// Sends a request with the account's credential (`access`: its access token, where it has one). Redirects are
/// followed as far as that is safe: the target is checked like the first, a request that may change something is only
/// repeated where the service says that it has not been done (307, 308), and across origins the credential stays
/// behind. `timeout_ms` is for all of it.
pub async fn send_authorised(
    ports: &Ports<'_>,
    manifest: &Manifest,
    credential: &Credential,
    access: Option<&Secret>,
    request: &Request,
    timeout_ms: u32,
) -> Result<Outcome> {
    let started = ports.host.now();
    let mut request = request.clone();
    let mut trusted = manifest.auth.is_some();
    for hop in 0..MAX_HOPS {
        let mut outgoing = request.clone();
        if trusted {
            authorise(ports, manifest, credential, access, &mut outgoing)?;
        } else {
            egress::check_public(&outgoing.url, settings::allow_private_network(ports.host))?;
        }
        dns::check(ports, &outgoing.url).await?;
        let passed = u32::try_from(ports.host.now().0 - started.0).unwrap_or(u32::MAX);
        let left = timeout_ms.min(LIMITS.timeout_ms).saturating_sub(passed);
        if left == 0 && hop == 0 {
            return Err(too_late());
        }
        if left == 0 {
            return Ok(Outcome::Lost(FetchError::Timeout));
        }
        let outcome = fetch(ports, outgoing, left).await;
        let next = match &outcome {
            Outcome::Reply(reply) => redirected(&request, reply),
            Outcome::Lost(_) => None,
        };
        let Some(next) = next else { return Ok(outcome) };
        if egress::origin(&next)? != egress::origin(&request.url)? {
            if !matches!(request.method, Method::Get | Method::Head) {
                return Ok(outcome);
            }
            trusted = false;
            request.headers = harmless(&request.headers);
        }
        request.url = next;
    }
    Err(Error::Upstream(format!(
        "{} redirected more than {MAX_HOPS} times",
        manifest.name
    )))
}

/// The error of a request for which no time was left: unlike one that was not answered, it did nothing.
pub fn too_late() -> Error {
    Error::temporary("no time was left to send the request; nothing was sent")
}

/// Adds the credential to a request, and checks that it may go where it goes.
pub fn authorise(
    ports: &Ports<'_>,
    manifest: &Manifest,
    credential: &Credential,
    access: Option<&Secret>,
    request: &mut Request,
) -> Result<()> {
    let Some(auth) = &manifest.auth else {
        let allow_private = settings::allow_private_network(ports.host);
        return egress::check_public(&request.url, allow_private).map(|_| ());
    };
    credential.authorise(credential.apply(auth), access, request, ports.host.now())?;
    check_credentialed(ports, manifest, credential, &request.url)
}

/// Sends a request with the account's credential, if it may go there. A redirect is the reply.
pub async fn send_once(
    ports: &Ports<'_>,
    manifest: &Manifest,
    credential: &Credential,
    access: Option<&Secret>,
    request: &Request,
) -> Result<Outcome> {
    let mut outgoing = request.clone();
    authorise(ports, manifest, credential, access, &mut outgoing)?;
    dns::check(ports, &outgoing.url).await?;
    Ok(fetch(ports, outgoing, LIMITS.timeout_ms).await)
}

async fn fetch(ports: &Ports<'_>, request: Request, timeout_ms: u32) -> Outcome {
    let limits = Limits { timeout_ms, ..LIMITS };
    match ports.fetch.send(request, limits).await {
        Ok(reply) => Outcome::Reply(reply),
        Err(error) => Outcome::Lost(error),
    }
}

/// Where a reply sends the request, if it can be followed.
fn redirected(request: &Request, reply: &Response) -> Option<String> {
    let reads = matches!(request.method, Method::Get | Method::Head);
    let follow = match reply.status {
        301..=303 => reads,
        307 | 308 => true,
        _ => false,
    };
    let location = reply.headers.get("location").filter(|_| follow)?;
    egress::resolve(&request.url, location)
}

fn harmless(headers: &Headers) -> Headers {
    Headers::from_pairs(headers.iter().filter(|(name, _)| HARMLESS.contains(name)))
}

fn check_credentialed(ports: &Ports<'_>, manifest: &Manifest, credential: &Credential, url: &str) -> Result<()> {
    let allow_private = settings::allow_private_network(ports.host);
    let own = origins(manifest, credential);
    egress::check_credentialed(url, &manifest.hosts, &own, allow_private)
}

/// The origins that the connection itself names: its base URL, and its settings that are marked as hosts.
fn origins(manifest: &Manifest, credential: &Credential) -> Vec<Origin> {
    let fields = manifest.auth.iter().flat_map(|auth| auth.host_fields());
    let named = fields.filter_map(|field| credential.config.get(field)?.as_str());
    let base = Some(credential.base_url.as_str()).filter(|url| !url.is_empty());
    base.into_iter()
        .chain(named)
        .filter_map(|host| egress::origin_of_host(host).ok())
        .collect()
}

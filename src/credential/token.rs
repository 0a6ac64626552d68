//! Access tokens that are obtained with a signed assertion, kept for as long as they are good.

use super::grant::Provider;
use super::{Credential, jwt, refresh};
use crate::action::call::{self, Outcome};
use crate::action::retry::{self, Again, Verdict};
use crate::error::{Error, Result};
use crate::http::Response;
use crate::manifest::Manifest;
use crate::manifest::auth::{Auth, TokenExchange};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};
use serde_json::{Value, json};

/// How long before its end a token counts as ended, so that it does not end on its way.
const EARLY: i64 = 5 * MINUTE;

/// The access token for this credential, from the isolate's memory or freshly obtained; none where the manifest's
/// fields are themselves the credential. `refused`: the one that the service has just refused.
pub async fn fresh(
    ports: &Ports<'_>,
    manifest: &Manifest,
    auth: &Auth,
    credential: &Credential,
    refused: Option<&Secret>,
) -> Result<Option<Secret>> {
    if let Some(row) = &credential.grant {
        let provider = Provider::of(manifest, &credential.config, &credential.secrets)?;
        return refresh::access(ports, &provider, row, refused).await.map(Some);
    }
    let Some(exchange) = &auth.token else {
        return Ok(None);
    };
    if credential.asserts {
        return assertion(ports, exchange, credential).await.map(Some);
    }
    if let Some(token) = given(auth, credential) {
        return Ok(Some(token.clone()));
    }
    let key = cache_key(credential);
    if refused.is_some() {
        ports.cache.remove(&key);
    }
    if let Some(token) = ports.cache.get(&key, ports.host.now()) {
        return Ok(Some(token));
    }
    let (token, expires_at) = obtain(ports, manifest, exchange, credential).await?;
    ports.cache.put(&key, token.clone(), expires_at + -EARLY);
    Ok(Some(token))
}

/// The access token that a person gave in place of what one is obtained with.
pub fn given<'c>(auth: &Auth, credential: &'c Credential) -> Option<&'c Secret> {
    let field = auth.token.as_ref()?.given_field.as_ref()?;
    credential.secrets.get(field)
}

fn cache_key(credential: &Credential) -> String {
    let account = credential.account.as_deref().unwrap_or_default();
    format!("token|{}|{account}|{}", credential.source, credential.base_url)
}

/// What the app signs to say that it is itself.
async fn assertion(ports: &Ports<'_>, exchange: &TokenExchange, credential: &Credential) -> Result<Secret> {
    let field = &exchange.jwt.key_field;
    let key = credential
        .secrets
        .get(field)
        .ok_or_else(|| Error::ReauthRequired(format!("the connection has no `{field}`")))?;
    let now = ports.host.now();
    jwt::sign(&exchange.jwt, key, &credential.scope(&[]), now, ports.crypto).await
}

async fn obtain(
    ports: &Ports<'_>,
    manifest: &Manifest,
    exchange: &TokenExchange,
    credential: &Credential,
) -> Result<(Secret, Timestamp)> {
    let now = ports.host.now();
    let assertion = assertion(ports, exchange, credential).await?;
    // The one secret that a template sees: the assertion, within the manifest's own token request.
    let scope_jwt = json!(assertion.expose());
    let scope = credential.scope(&[("jwt", &scope_jwt)]);
    let request = call::build(&exchange.request, &credential.base_url, &scope)?;
    let reply = match call::send(ports, manifest, credential, request).await? {
        Outcome::Reply(reply) => reply,
        Outcome::Lost(reason) => return Err(Error::temporary(format!("no access token: {reason}"))),
    };
    if !reply.is_success() {
        return Err(refused(manifest, &reply, now));
    }
    let body: Value = serde_json::from_slice(&reply.body)
        .map_err(|_| Error::Upstream("the answer to the token request is not JSON".into()))?;
    let scope = credential.scope(&[("body", &body)]);
    let token = exchange.access_token.text(&scope)?;
    if token.is_empty() {
        return Err(Error::Upstream("the answer to the token request holds no token".into()));
    }
    let expires_at = match &exchange.expires_at {
        Some(template) => Timestamp::parse_rfc3339(&template.text(&scope)?),
        // As RFC 6749 has it, which assertions are exchanged by (RFC 7523).
        None => body
            .get("expires_in")
            .and_then(Value::as_i64)
            .map(|s| now + s.clamp(0, DAY / SECOND) * SECOND),
    };
    Ok((Secret::new(token), expires_at.unwrap_or(now + HOUR)))
}

/// Refusals that a later try can overcome are told apart from those that a person must.
fn refused(manifest: &Manifest, reply: &Response, now: Timestamp) -> Error {
    let (service, status) = (&manifest.name, reply.status);
    let outcome = Outcome::Reply(reply.clone());
    if let Verdict::Again(Again { wait, .. }) = retry::judge(&outcome, &[], manifest.rate_limit.as_ref(), now) {
        return Error::Temporary {
            detail: format!("{service} answered the token request with status {status}"),
            retry_after_s: wait.map_or(10, |ms| u32::try_from(ms / 1_000 + 1).unwrap_or(u32::MAX)),
        };
    }
    Error::ReauthRequired(format!(
        "{service} refused an access token with status {status}: check the app's id, its private key and that it is still \
         installed"
    ))
}

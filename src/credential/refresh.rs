//! Access tokens that are always good: refreshed early, by one worker at a time, stored before they are used.
//!
//! The database is the only truth. A claim on the row lets one worker ask the provider, and the others look at the row
//! until it has a newer version; there is no lock in memory, since a request that is cut off would hold it for ever.

use super::grant::{Failure, Provider};
use super::timing::{Age, age, backoff, keep_alive_time, refresh_end};
use crate::error::{Error, Result};
use crate::oauth::authorize::scopes;
use crate::oauth::reply::{Refused, Tokens};
use crate::oauth::request::Grant;
use crate::ports::{Ports, Stmt};
use crate::secret::Secret;
use crate::store::connection::{self, Connection, Method, Status};
use crate::store::token::{self, Held, Sealed};
use crate::store::{audit, event};
use crate::time::{HOUR, SECOND, Timestamp};
use serde_json::{Value, json};

/// Longest that a request waits for another's refresh, in milliseconds: longer than a token request can take.
const PATIENCE: i64 = 20 * SECOND;

/// Pauses between looks at a row that another worker refreshes, in milliseconds; the last one repeats.
const PAUSES: [u32; 4] = [80, 150, 250, 400];

/// Tries to store what a provider gave, which exists nowhere else.
const STORE_TRIES: u32 = 6;

/// What a refresh came to.
enum Attempt {
    /// A new token, and it is stored.
    Done(Secret),
    /// Another worker is at it, or has just done it.
    Busy,
}

/// The access token of a connected account. `refused`: the one that the service has just refused.
pub async fn access(
    ports: &Ports<'_>,
    provider: &Provider<'_>,
    row: &Connection,
    refused: Option<&Secret>,
) -> Result<Secret> {
    let until = ports.host.now() + PATIENCE;
    let mut row = match refused {
        // What was read at the beginning of the request may be older than the refusal.
        Some(_) => again(ports, &row.id).await?,
        None => row.clone(),
    };
    for round in 0.. {
        let held = held(ports, &row)?;
        let was_refused = refused.is_some_and(|r| r.expose() == held.access.expose());
        let age = age(&row, ports.host.now(), super::jitter(ports.host));
        if age == Age::Fresh && !was_refused {
            return Ok(held.access);
        }
        let usable = age != Age::Over && !was_refused;
        let now = ports.host.now();
        if let Some(retry_at) = row.refresh_retry_at.filter(|at| *at > now) {
            return if usable {
                Ok(held.access)
            } else {
                Err(cooling(&row, retry_at, now))
            };
        }
        match attempt(ports, provider, &row, &held).await {
            Ok(Attempt::Done(token)) => return Ok(token),
            Ok(Attempt::Busy) if usable => return Ok(held.access),
            Ok(Attempt::Busy) => {}
            // Whatever is wrong with the app or the way there: the token that is held is good until its end.
            Err(error) if usable && !matches!(error, Error::ReauthRequired(_)) => return Ok(held.access),
            Err(error) => return Err(error),
        }
        if ports.host.now() > until {
            break;
        }
        let pause = PAUSES.get(round).or(PAUSES.last()).copied().unwrap_or(400);
        let spread = 0.75 + super::jitter(ports.host) / 2.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most half a second"
        )]
        ports.timer.sleep((f64::from(pause) * spread) as u32).await;
        row = again(ports, &row.id).await?;
    }
    Err(Error::Temporary {
        detail: "another request refreshes this account's token; try again in a moment".into(),
        retry_after_s: 5,
    })
}

/// Uses the refresh token of a connection before it ends of idleness.
pub async fn keep_alive(ports: &Ports<'_>, provider: &Provider<'_>, row: &Connection) -> Result<()> {
    let held = held(ports, row)?;
    attempt(ports, provider, row, &held).await.map(drop)
}

async fn again(ports: &Ports<'_>, id: &str) -> Result<Connection> {
    let found = connection::find(ports, id).await?;
    found.ok_or_else(|| Error::ReauthRequired(format!("the connection `{id}` was removed")))
}

/// The tokens of a connected account, or what a person must do.
fn held(ports: &Ports<'_>, row: &Connection) -> Result<Held> {
    match row.status {
        Status::Connected => row
            .tokens(ports)?
            .ok_or_else(|| Error::Internal("connected without tokens".into())),
        Status::PendingAuthentication => Err(Error::ReauthRequired(format!(
            "the connection `{}` is not authenticated yet: start its sign-in",
            row.id
        ))),
        Status::ReauthRequired => {
            let why = row
                .last_error
                .as_ref()
                .and_then(|e| e.get("detail"))
                .and_then(Value::as_str);
            Err(Error::ReauthRequired(format!(
                "the account must be connected again: {}",
                why.unwrap_or("its tokens ended")
            )))
        }
    }
}

fn cooling(row: &Connection, retry_at: Timestamp, now: Timestamp) -> Error {
    let why = row
        .last_error
        .as_ref()
        .and_then(|e| e.get("detail"))
        .and_then(Value::as_str);
    Error::Temporary {
        detail: format!("the last refresh of the token failed: {}", why.unwrap_or("no answer")),
        retry_after_s: u32::try_from((retry_at.0 - now.0) / SECOND + 1).unwrap_or(30),
    }
}

async fn attempt(ports: &Ports<'_>, provider: &Provider<'_>, row: &Connection, held: &Held) -> Result<Attempt> {
    let grant = match (&held.refresh, row.method) {
        (_, Method::ClientCredentials) => client_grant(provider, row)?,
        (Some(token), _) => refresh_grant(provider, row, token),
        (None, _) => {
            let why = "the token ended, and the service gave none to refresh it with";
            return Err(end(ports, row, "needs_reauth", why).await?);
        }
    };
    let holder = crate::id::token(ports.host);
    let Some(claimed) = token::lease(ports, row, &holder, ports.host.now()).await? else {
        return Ok(Attempt::Busy);
    };
    let answer = provider.ask(ports, &grant).await;
    let counter = if answer.is_ok() { "refreshed" } else { "refresh_failed" };
    ports.tally.add(counter, &provider.manifest.name, 1);
    match answer {
        Ok(tokens) => keep(ports, provider, &claimed, held, tokens).await.map(Attempt::Done),
        Err(failure) => failed(ports, provider, &claimed, &holder, failure).await,
    }
}

fn refresh_grant<'a>(provider: &Provider<'a>, row: &'a Connection, token: &'a Secret) -> Grant<'a> {
    let refresh = &provider.spec.refresh;
    let redirect_uri = row.config.get("connected_redirect_uri").and_then(Value::as_str);
    let granted = scopes(row.scopes.as_deref().unwrap_or_default());
    Grant::Refresh {
        token,
        redirect_uri: redirect_uri.filter(|_| refresh.with_redirect_uri),
        scope: (refresh.with_scope && !granted.is_empty()).then(|| granted.join(&provider.spec.scope_separator)),
    }
}

/// The grant of a program's own token.
pub fn client_grant<'a>(provider: &Provider<'a>, row: &Connection) -> Result<Grant<'a>> {
    let spec = provider.spec.client_credentials.as_ref().ok_or_else(|| {
        Error::validation(format!(
            "the integration `{}` has no client credentials",
            provider.manifest.name
        ))
    })?;
    let mut params = Vec::new();
    for (name, value) in &spec.params {
        params.push((
            name.clone(),
            crate::oauth::part::fill(value, provider.parts, provider.config)?,
        ));
    }
    let wanted = super::wanted_scopes(provider, row);
    Ok(Grant::Client {
        grant_type: &spec.grant_type,
        scope: wanted.join(&provider.spec.scope_separator),
        params,
    })
}

/// Stores what the provider gave, then gives it out. It exists nowhere else: where the database is out of reach it is
/// tried again and again, and in the end left to the queue, sealed.
async fn keep(
    ports: &Ports<'_>,
    provider: &Provider<'_>,
    row: &Connection,
    old: &Held,
    tokens: Tokens,
) -> Result<Secret> {
    let sealed = sealed(ports, provider, row, Some(old), &tokens)?;
    for at in 0..STORE_TRIES {
        match ports.sql.first::<Value>(token::store(&sealed)).await {
            Ok(Some(_)) => {
                log(ports, row, "refreshed");
                return Ok(tokens.access);
            }
            // Somebody stored newer ones: connected again by a person, most likely. Theirs count.
            Ok(None) => return Ok(held(ports, &again(ports, &row.id).await?)?.access),
            Err(_) => ports.timer.sleep(100 << at).await,
        }
    }
    let text = json!({ "keep": sealed }).to_string();
    let message = match ports.queue.wake(&text, 1).await {
        Ok(()) => "a refreshed token waits in the queue, the database is out of reach".to_owned(),
        Err(error) => format!("a refreshed token is lost, database and queue are out of reach: {error}"),
    };
    let line = json!({"level": "error", "job": "refresh", "connection_id": row.id, "message": message});
    ports.host.log(&line);
    Err(Error::temporary(
        "the database is out of reach; the refreshed token is not in use yet",
    ))
}

/// Stores tokens that waited in the queue. Newer ones that came meanwhile stay.
pub async fn rescue(ports: &Ports<'_>, sealed: &Sealed) -> Result<()> {
    ports.sql.first::<Value>(token::store(sealed)).await.map(drop)
}

/// Tokens of a reply as the next version of a connection's.
pub fn sealed(
    ports: &Ports<'_>,
    provider: &Provider<'_>,
    row: &Connection,
    old: Option<&Held>,
    tokens: &Tokens,
) -> Result<Sealed> {
    let held = Held {
        access: tokens.access.clone(),
        // A refresh that brings no new refresh token leaves the old one good (RFC 6749, 6).
        refresh: tokens.refresh.clone().or_else(|| old.and_then(|o| o.refresh.clone())),
    };
    let now = ports.host.now();
    let refresh_ends_at = held
        .refresh
        .as_ref()
        .and_then(|_| refresh_end(provider, row, old.is_none(), tokens, now));
    Ok(Sealed {
        id: row.id.clone(),
        version: row.token_version + 1,
        tokens: row.seal_tokens(ports, &held)?,
        given_at: now,
        expires_at: tokens.expires_at,
        refresh_ends_at,
        keep_alive_at: refresh_ends_at.map(|ends| keep_alive_time(now, ends, super::jitter(ports.host))),
        scopes: tokens.scopes.as_ref().map(|s| s.join(" ")),
    })
}

/// What becomes of a claim whose request brought no token.
async fn failed(
    ports: &Ports<'_>,
    provider: &Provider<'_>,
    row: &Connection,
    holder: &str,
    failure: Failure,
) -> Result<Attempt> {
    if let Failure::Refused(Refused::Ended(why)) = &failure {
        // Another worker may have been faster after all: then its tokens count.
        let now_there = again(ports, &row.id).await?;
        if now_there.token_version > row.token_version {
            return Ok(Attempt::Busy);
        }
        let error = match row.lost_at {
            Some(at) if provider.spec.refresh.rotates => {
                let detail = format!(
                    "the service refused the refresh token ({why}). A refresh begun at {} never stored its answer: the \
                     token that it brought is lost",
                    at.rfc3339()
                );
                end(ports, row, "lost_rotation", &detail).await?
            }
            _ => {
                end(
                    ports,
                    row,
                    "needs_reauth",
                    &format!("the service refused the refresh token ({why})"),
                )
                .await?
            }
        };
        return Err(error);
    }
    let open = matches!(
        failure,
        Failure::Lost(_) | Failure::Refused(Refused::Malformed(_) | Refused::Failed(..))
    );
    let wait = match &failure {
        Failure::Refused(Refused::Later(_, Some(wait)) | Refused::Failed(_, Some(wait))) => (*wait).min(HOUR),
        _ => backoff(row.refresh_failures),
    };
    let error = failure.into_error(&provider.manifest.name);
    // The refresh token is as good as before: what failed is the app or the way there.
    let error = match error {
        Error::ReauthRequired(detail) => Error::Upstream(detail),
        other => other,
    };
    let now = ports.host.now();
    let note = json!({"code": error.code(), "detail": error.public_detail(), "at": now.rfc3339()});
    let statement = token::release(&row.id, holder, now + wait, &note, open);
    ports.sql.batch(vec![statement]).await?;
    log(ports, row, error.code());
    Err(error)
}

/// Says, in one batch, that a person must connect the account again: in the row, to the destinations, in the audit log.
pub async fn end(ports: &Ports<'_>, row: &Connection, reason: &str, detail: &str) -> Result<Error> {
    let now = ports.host.now();
    let note = json!({"code": "REAUTH_REQUIRED", "reason": reason, "detail": detail, "at": now.rfc3339()});
    let statements = vec![
        token::end(&row.id, row.token_version, &note, now),
        // Of several who find out at once the first tells; the event's own key keeps it single.
        audit::append_if_changed(
            ports.host,
            audit::Entry {
                actor: audit::HUB,
                act: "connection.expired",
                subject: &row.id,
                owner: row.owner.as_deref(),
                detail: &json!({"integration": row.integration, "reason": reason}),
            },
        ),
        announce(ports, row, "connection.expired", row.token_version, Some(reason)),
    ];
    ports.sql.batch(statements).await?;
    connection::forget_warm(ports, &row.id);
    log(ports, row, reason);
    Ok(Error::ReauthRequired(format!(
        "the account must be connected again: {detail}"
    )))
}

/// What destinations hear of a connection.
pub fn announce(ports: &Ports<'_>, row: &Connection, kind: &str, version: i64, reason: Option<&str>) -> Stmt {
    let data = json!({
        "connection_id": row.id, "integration": row.integration, "name": row.name, "owner": row.owner, "reason": reason,
    });
    let once = format!("{kind}:{}:{version}", row.id);
    event::announce(
        ports.host,
        &event::Announcement {
            kind,
            subject: &row.id,
            owner: row.owner.as_deref(),
            once: &once,
            data: &data,
        },
    )
}

fn log(ports: &Ports<'_>, row: &Connection, outcome: &str) {
    ports.host.log(&json!({
        "job": "refresh", "service": row.integration, "connection_id": row.id, "outcome": outcome,
    }));
}

//! Signing in: a person consents at the provider, and the code that comes back becomes tokens.
//!
//! Two ways lead through it. By the API a program sends its user to the provider and hands over the code; the state is
//! then bound to that program. By a connect link the browser itself comes back; the state is then bound to its cookie.

use super::Hub;
use crate::action::egress;
use crate::credential::grant::{Failure, Provider};
use crate::credential::{self, refresh, wanted_scopes};
use crate::error::{Error, Result};
use crate::http::{Headers, Method, Request, percent_encode};
use crate::id::{self, Kind};
use crate::manifest::oauth2::{Source, UserInfo};
use crate::oauth::authorize::{self, Question};
use crate::oauth::part;
use crate::oauth::reply::{Tokens, plain};
use crate::oauth::request::{self, Grant};
use crate::secret::{Secret, same};
use crate::settings;
use crate::store::account_link::{self, AccountLink};
use crate::store::connect_link::{self, ConnectLink};
use crate::store::connection::{self, Connection, Method as Way, Status};
use crate::store::oauth_state::{self, Hidden, SignIn, hash};
use crate::store::{audit, token};
use crate::template::Scope;
use crate::time::{MINUTE, SECOND};
use serde_json::{Value, json};

/// How long a person has at the provider, in milliseconds.
pub(super) const LASTS: i64 = 10 * MINUTE;

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Started {
    /// Where the person consents.
    pub authorization_url: String,
    /// What comes back with the answer.
    pub state: String,
}

/// What comes back from the provider.
#[derive(Debug, Default)]
pub struct Callback {
    /// The state of [`Started`].
    pub state: String,
    /// The code, if the person consented.
    pub code: Option<Secret>,
    /// The provider's issuer (RFC 9207).
    pub iss: Option<String>,
    /// An error code instead of a code.
    pub error: Option<String>,
    /// The provider's words about it.
    pub error_description: Option<String>,
    /// Every parameter, for what a manifest reads from them.
    pub params: Vec<(String, String)>,
}

/// A device that waits for its user's consent.
#[derive(Debug)]
pub struct Device {
    /// What names the sign-in to the hub.
    pub state: String,
    /// What the user types in.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// Seconds that it is good for.
    pub expires_in: i64,
    /// Seconds between two questions.
    pub interval: i64,
}

/// An account that has been connected.
#[derive(Debug)]
pub struct Connected {
    /// The connection as it is now.
    pub connection: Connection,
    /// Whether its outside user is now known to be its owner.
    pub linked: bool,
}

impl Hub<'_> {
    /// Begins a sign-in for a program that hands the code over itself.
    pub async fn start_sign_in(&self, c: &Connection, redirect_uri: &str, actor: &str) -> Result<Started> {
        check_redirect_uri(self, c, redirect_uri)?;
        let (started, mut sign_in) = self.question(c, redirect_uri).await?;
        sign_in.starter = actor.to_owned();
        self.ports.sql.batch(vec![oauth_state::insert(&sign_in)]).await?;
        Ok(started)
    }

    /// The URL and the row of a new sign-in.
    pub(super) async fn question(&self, c: &Connection, redirect_uri: &str) -> Result<(Started, SignIn)> {
        if c.method != Way::OAuth2 {
            return Err(Error::validation(
                "this connection is made of settings; nobody needs to sign in for it",
            ));
        }
        let host = self.ports.host;
        let integration = self.integration(&c.integration).await?;
        let secrets = c.open(&self.ports)?;
        let provider = Provider::of(integration.manifest()?, &c.config, &secrets)?;
        let endpoint = provider.spec.authorize_url.as_deref().ok_or_else(|| {
            Error::validation(format!(
                "the integration `{}` has no sign-in in a browser",
                c.integration
            ))
        })?;
        let endpoint = provider.url(endpoint, host)?;
        let client = provider.client(host)?;
        let state = id::token(host);
        let verifier = provider.spec.pkce.then(|| Secret::new(id::token(host)));
        let scopes = wanted_scopes(&provider, c);
        let question = Question {
            client_id: &client.id,
            redirect_uri,
            scopes: &scopes,
            state: &state,
            verifier: verifier.as_ref().map(Secret::expose),
            config: &c.config,
        };
        let authorization_url = authorize::url(provider.spec, &endpoint, &question);
        let hidden = Hidden {
            verifier,
            device_code: None,
        };
        let mut sign_in = SignIn::new(&self.ports, &state, c, &hidden, LASTS)?;
        redirect_uri.clone_into(&mut sign_in.redirect_uri);
        sign_in.scopes = scopes.join(" ");
        let started = Started {
            authorization_url,
            state,
        };
        Ok((started, sign_in))
    }

    /// Completes a sign-in that a program began, with the code that it was given.
    pub async fn finish_sign_in(&self, c: &Connection, callback: &Callback, actor: &str) -> Result<Connected> {
        let now = self.ports.host.now();
        let key = hash(&callback.state);
        let known = oauth_state::find(&self.ports, &key).await?.ok_or_else(no_such_state)?;
        if known.connection_id != c.id || known.starter != actor || known.starter.is_empty() {
            let why = "this `state` was started by somebody else, or for another connection";
            return Err(Error::Forbidden(why.into()));
        }
        if known.expires_at <= now {
            return Err(Error::invalid("/state", "has expired; start the sign-in again"));
        }
        // Of two requests with the same state one gets it.
        let sign_in = oauth_state::take(&self.ports, &key, now)
            .await?
            .ok_or_else(no_such_state)?;
        self.complete(c, &sign_in, callback, actor, None).await
    }

    /// The code becomes tokens, and everything about them is stored in one batch.
    pub(super) async fn complete(
        &self,
        c: &Connection,
        sign_in: &SignIn,
        callback: &Callback,
        actor: &str,
        link: Option<&ConnectLink>,
    ) -> Result<Connected> {
        let integration = self.integration(&c.integration).await?;
        let secrets = c.open(&self.ports)?;
        let provider = Provider::of(integration.manifest()?, &c.config, &secrets)?;
        if let Some(iss) = &callback.iss {
            check_issuer(self, &provider, iss)?;
        }
        if let Some(error) = &callback.error {
            let said = callback.error_description.as_deref().unwrap_or_default();
            let text = format!("{} {}", plain(error, 80), plain(said, 200));
            return Err(Error::Forbidden(format!("consent was not given: {}", text.trim())));
        }
        let code = callback
            .code
            .as_ref()
            .ok_or_else(|| Error::invalid("/code", "is missing"))?;
        let hidden = sign_in.open(&self.ports)?;
        let grant = Grant::Code {
            code,
            redirect_uri: &sign_in.redirect_uri,
            verifier: hidden.verifier.as_ref(),
        };
        let tokens = provider
            .ask(&self.ports, &grant)
            .await
            .map_err(|f| refused_code(f, &c.integration))?;
        self.accept(c, &provider, &tokens, callback, sign_in, actor, link).await
    }

    /// Stores tokens that a person's consent brought; where that cannot be, they are given back.
    #[expect(clippy::too_many_arguments, reason = "what a consent consists of")]
    async fn accept(
        &self,
        c: &Connection,
        provider: &Provider<'_>,
        tokens: &Tokens,
        callback: &Callback,
        sign_in: &SignIn,
        actor: &str,
        link: Option<&ConnectLink>,
    ) -> Result<Connected> {
        let user = self.user_of(provider, tokens).await;
        let user_id = user.as_ref().ok().and_then(|user| Some(user.as_ref()?.0.clone()));
        let stored = match user {
            Ok(user) => {
                self.store_consent(c, provider, tokens, callback, sign_in, actor, link, user)
                    .await
            }
            Err(error) => Err(error),
        };
        if stored.is_err() {
            // Nobody will ever use them: better that they end.
            self.revoke_tokens(
                provider,
                (&tokens.access, tokens.refresh.as_ref()),
                user_id.as_deref(),
                None,
            )
            .await;
        }
        stored
    }

    #[expect(clippy::too_many_arguments, reason = "what a consent consists of")]
    async fn store_consent(
        &self,
        c: &Connection,
        provider: &Provider<'_>,
        tokens: &Tokens,
        callback: &Callback,
        sign_in: &SignIn,
        actor: &str,
        link: Option<&ConnectLink>,
        user: Option<(String, Option<String>)>,
    ) -> Result<Connected> {
        let ports = &self.ports;
        if let Some(wanted) = link.and_then(|l| l.external_user_id.as_deref())
            && user.as_ref().map(|(id, _)| id.as_str()) != Some(wanted)
        {
            let why = "this link is for another account at the service: sign in there with that one, and open it again";
            return Err(Error::Forbidden(why.into()));
        }
        let mut config = self.captured(c, provider, tokens, callback).await?;
        if let Value::Object(members) = &mut config {
            members.insert("connected_redirect_uri".into(), json!(sign_in.redirect_uri));
        }
        let now = ports.host.now();
        let mut sealed = refresh::sealed(ports, provider, c, None, tokens)?;
        sealed.scopes = sealed.scopes.or_else(|| Some(sign_in.scopes.clone()));
        let named = user.as_ref().map(|(id, name)| (id.as_str(), name.as_deref()));
        let mut statements = vec![
            token::store(&sealed),
            token::only_if_stored(&sealed),
            token::identify(&c.id, sealed.version, &config, named, now),
            self.audit(
                actor,
                "connection.authenticated",
                c,
                &json!({"scopes": sealed.scopes, "user_id": named.map(|u| u.0)}),
            ),
        ];
        if c.status == Status::ReauthRequired {
            statements.push(refresh::announce(
                ports,
                c,
                "connection.reauthorized",
                sealed.version,
                None,
            ));
        }
        let linking = link.zip(user.as_ref());
        if let Some(link) = link {
            statements.push(connect_link::delete(&link.hash));
        }
        if let Some((link, (user_id, name))) = linking {
            statements.push(account_link::put(&AccountLink {
                id: id::new(Kind::AccountLink, ports.host),
                integration: c.integration.clone(),
                server: credential::server(provider.manifest, &config, ports.host)?,
                external_user_id: user_id.clone(),
                external_name: name.clone(),
                owner: link.owner.clone(),
                connection_id: Some(c.id.clone()),
                created_at: now,
            }));
        }
        let rows = ports.sql.batch(statements).await.map_err(|error| match error.is_undone() {
            true => Error::Conflict(
                "the account was connected or its token refreshed at the same moment; look at the connection, and sign in again \
                 if it is not as you want it"
                    .into(),
            ),
            false => error.into(),
        })?;
        connection::forget_warm(ports, &c.id);
        let linked = linking.is_some() && rows.last().is_some_and(|r| !r.is_empty());
        let found = connection::find(ports, &c.id).await?;
        let connection = found.ok_or_else(|| Error::NotFound("connection of this id".into()))?;
        Ok(Connected { connection, linked })
    }

    /// Id and name of the user, where the manifest says how to learn them.
    async fn user_of(&self, provider: &Provider<'_>, tokens: &Tokens) -> Result<Option<(String, Option<String>)>> {
        let Some(info) = &provider.spec.userinfo else {
            return Ok(None);
        };
        let body = match &info.url {
            Some(url) => self.look_up(provider, url, info, &tokens.access).await?,
            None => tokens.body.clone(),
        };
        let scope = Scope::new([("body", &body)]);
        let id = info.id.text(&scope)?;
        if id.is_empty() || id.len() > 300 {
            let why = format!("{} does not say whose account it is", provider.manifest.name);
            return Err(Error::Upstream(why));
        }
        let name = info.name.as_ref().map(|t| t.text(&scope)).transpose()?;
        Ok(Some((id, name.map(|n| plain(&n, 200)).filter(|n| !n.is_empty()))))
    }

    async fn look_up(&self, provider: &Provider<'_>, url: &str, info: &UserInfo, access: &Secret) -> Result<Value> {
        let url = provider.url(url, self.ports.host)?;
        let body = info.query.as_ref().map(|q| json!({ "query": q }));
        self.ask_with(provider, url, body.as_ref(), access).await
    }

    /// One JSON document from the provider, with the new token.
    async fn ask_with(
        &self,
        provider: &Provider<'_>,
        url: String,
        body: Option<&Value>,
        access: &Secret,
    ) -> Result<Value> {
        let service = &provider.manifest.name;
        let mut headers = Headers::from_pairs([("accept", "application/json")]);
        headers.set("authorization", &format!("Bearer {}", access.expose()));
        for (name, value) in &provider.spec.token_headers {
            headers.set(name, value);
        }
        if body.is_some() {
            headers.set("content-type", "application/json");
        }
        let request = Request {
            method: if body.is_some() { Method::Post } else { Method::Get },
            url,
            headers,
            body: body.map(|b| b.to_string().into_bytes()).unwrap_or_default(),
        };
        let reply = provider
            .send(&self.ports, request)
            .await
            .map_err(|f| f.into_error(service))?;
        if !reply.is_success() {
            let why = format!(
                "{service} answered the question whose account it is with status {}",
                reply.status
            );
            return Err(Error::Upstream(why));
        }
        serde_json::from_slice(&reply.body).map_err(|_| {
            Error::Upstream(format!(
                "{service} answered the question whose account it is without JSON"
            ))
        })
    }

    /// The connection's settings with what this consent tells.
    async fn captured(
        &self,
        c: &Connection,
        provider: &Provider<'_>,
        tokens: &Tokens,
        callback: &Callback,
    ) -> Result<Value> {
        let mut config = c.config.as_object().cloned().unwrap_or_default();
        for (name, part) in provider.parts {
            let value = match &part.from {
                None => continue,
                Some(Source::Token(template)) => template.text(&Scope::new([("body", &tokens.body)]))?,
                Some(Source::Callback(param)) => {
                    let mut all = callback.params.iter();
                    all.find(|(n, _)| n == param)
                        .map(|(_, v)| v.clone())
                        .unwrap_or_default()
                }
                Some(Source::Lookup(lookup)) => {
                    let url = provider.url(&lookup.url, self.ports.host)?;
                    let body = self.ask_with(provider, url, None, &tokens.access).await?;
                    lookup.value.text(&Scope::new([("body", &body)]))?
                }
            };
            if value.is_empty() {
                continue;
            }
            part::fits(name, part, &value).map_err(|e| {
                Error::Upstream(format!(
                    "{} sent a `{name}` that it cannot mean: {e}",
                    provider.manifest.name
                ))
            })?;
            config.insert(name.clone(), json!(value));
        }
        Ok(Value::Object(config))
    }

    /// Begins a sign-in on another device (RFC 8628).
    pub async fn start_device(&self, c: &Connection, actor: &str) -> Result<Device> {
        let host = self.ports.host;
        let integration = self.integration(&c.integration).await?;
        let secrets = c.open(&self.ports)?;
        let provider = Provider::of(integration.manifest()?, &c.config, &secrets)?;
        let url = provider
            .spec
            .device_url
            .as_deref()
            .filter(|_| c.method == Way::OAuth2)
            .ok_or_else(|| {
                Error::validation(format!(
                    "the integration `{}` has no sign-in by device code",
                    c.integration
                ))
            })?;
        let scopes = wanted_scopes(&provider, c);
        let client = provider.client(host)?;
        let request = request::device(provider.spec, provider.url(url, host)?, &client, &scopes);
        let reply = provider
            .send(&self.ports, request)
            .await
            .map_err(|f| f.into_error(&c.integration))?;
        let malformed = || {
            Error::Upstream(format!(
                "{} gave no device code (status {})",
                c.integration, reply.status
            ))
        };
        let body: Value = serde_json::from_slice(&reply.body).map_err(|_| malformed())?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(|t| plain(t, 500));
        let code = body.get("device_code").and_then(Value::as_str).ok_or_else(malformed)?;
        let number = |name: &str, other: i64| body.get(name).and_then(Value::as_i64).unwrap_or(other);
        let (expires_in, interval) = (
            number("expires_in", 600).clamp(30, 3_600),
            number("interval", 5).clamp(1, 120),
        );
        let state = id::token(host);
        let hidden = Hidden {
            verifier: None,
            device_code: Some(Secret::new(code)),
        };
        let mut sign_in = SignIn::new(&self.ports, &state, c, &hidden, expires_in * SECOND)?;
        actor.clone_into(&mut sign_in.starter);
        sign_in.scopes = scopes.join(" ");
        sign_in.interval_ms = Some(interval * SECOND);
        sign_in.poll_at = Some(sign_in.created_at);
        self.ports.sql.batch(vec![oauth_state::insert(&sign_in)]).await?;
        Ok(Device {
            state,
            user_code: text("user_code").ok_or_else(malformed)?,
            verification_uri: text("verification_uri")
                .or_else(|| text("verification_url"))
                .ok_or_else(malformed)?,
            verification_uri_complete: text("verification_uri_complete"),
            expires_in,
            interval,
        })
    }

    /// Asks once whether the person has consented on the other device. None: not yet.
    pub async fn finish_device(&self, c: &Connection, state: &str, actor: &str) -> Result<Option<Connected>> {
        let now = self.ports.host.now();
        let key = hash(state);
        let known = oauth_state::find(&self.ports, &key).await?.ok_or_else(no_such_state)?;
        if known.connection_id != c.id || known.starter != actor {
            let why = "this `state` was started by somebody else, or for another connection";
            return Err(Error::Forbidden(why.into()));
        }
        if known.expires_at <= now {
            return Err(Error::invalid("/state", "has expired; start the sign-in again"));
        }
        let Some(sign_in) = oauth_state::poll(&self.ports, &key, now).await? else {
            return Ok(None);
        };
        let integration = self.integration(&c.integration).await?;
        let secrets = c.open(&self.ports)?;
        let provider = Provider::of(integration.manifest()?, &c.config, &secrets)?;
        let code = sign_in.open(&self.ports)?.device_code.ok_or_else(no_such_state)?;
        match provider.ask(&self.ports, &Grant::Device { code: &code }).await {
            Ok(tokens) => {
                oauth_state::take(&self.ports, &key, now)
                    .await?
                    .ok_or_else(no_such_state)?;
                let nothing = Callback::default();
                let connected = self
                    .accept(c, &provider, &tokens, &nothing, &sign_in, actor, None)
                    .await?;
                Ok(Some(connected))
            }
            Err(Failure::Refused(crate::oauth::reply::Refused::Pending(slower))) => {
                if slower {
                    self.ports.sql.batch(vec![oauth_state::slow_down(&key)]).await?;
                }
                Ok(None)
            }
            Err(failure @ Failure::Refused(crate::oauth::reply::Refused::Ended(_))) => {
                self.ports.sql.batch(vec![oauth_state::delete(&key)]).await?;
                Err(refused_code(failure, &c.integration))
            }
            Err(failure) => Err(failure.into_error(&c.integration)),
        }
    }

    /// An audit entry about a connection.
    pub(super) fn audit(&self, actor: &str, act: &str, c: &Connection, detail: &Value) -> crate::ports::Stmt {
        let entry = audit::Entry {
            actor,
            act,
            subject: &c.id,
            owner: c.owner.as_deref(),
            detail,
        };
        audit::append(self.ports.host, entry)
    }
}

/// Whether the browser that comes back is the one that left.
pub(super) fn is_same_browser(sign_in: &SignIn, cookie: Option<&str>) -> bool {
    match (&sign_in.browser, cookie) {
        (Some(expected), Some(cookie)) => same(expected.as_bytes(), hash(cookie).as_bytes()),
        _ => false,
    }
}

pub(super) fn no_such_state() -> Error {
    Error::invalid("/state", "is unknown, or was used already; start the sign-in again")
}

/// A code that is refused says nothing of the account: it was used, or it is old.
fn refused_code(failure: Failure, service: &str) -> Error {
    match failure.into_error(service) {
        Error::ReauthRequired(why) => Error::Forbidden(format!("{why}. Start the sign-in again")),
        other => other,
    }
}

/// RFC 9207: another issuer than the one that was asked means that two providers were mixed up.
fn check_issuer(hub: &Hub<'_>, provider: &Provider<'_>, iss: &str) -> Result<()> {
    let host = hub.ports.host;
    let fits = match &provider.spec.issuer {
        Some(issuer) => {
            let expected = part::fill(issuer, provider.parts, provider.config)?;
            expected.trim_end_matches('/') == iss.trim_end_matches('/')
        }
        None => {
            let asked = provider
                .spec
                .authorize_url
                .as_deref()
                .unwrap_or(&provider.spec.token_url);
            egress::origin(&provider.url(asked, host)?).ok() == egress::origin(iss).ok()
        }
    };
    if fits {
        return Ok(());
    }
    Err(Error::Forbidden(
        "the answer comes from another issuer than the one that was asked".into(),
    ))
}

/// Whether a provider may send a person's code to this URI: it must be one that was set up, letter for letter.
fn check_redirect_uri(hub: &Hub<'_>, c: &Connection, uri: &str) -> Result<()> {
    sound_redirect_uri("/redirectUri", uri)?;
    let own = c.config.get("redirect_uri").and_then(Value::as_str);
    let hub_own = settings::public_url(hub.ports.host).map(|url| format!("{url}{CALLBACK_PATH}"));
    let listed = settings::redirect_uris(hub.ports.host);
    if own == Some(uri) || hub_own.as_deref() == Ok(uri) || listed.iter().any(|u| u == uri) {
        return Ok(());
    }
    let message = "is not the connection's own `redirectUri`, and not in the setting `PATCHBAY_REDIRECT_URIS`";
    Err(Error::invalid("/redirectUri", message))
}

/// Where providers send browsers back to.
pub const CALLBACK_PATH: &str = "/oauth/callback";

/// Whether this can be a redirect URI at all: https, or http on this machine (RFC 8252), without user information or
/// fragment.
pub(super) fn sound_redirect_uri(at: &str, uri: &str) -> Result<()> {
    let origin = egress::origin(uri).map_err(|e| Error::invalid(at, e.to_string()))?;
    if uri.contains('#') || uri.len() > 2_000 {
        return Err(Error::invalid(at, "must have no fragment and at most 2,000 characters"));
    }
    if !origin.secure && !egress::is_loopback_url(uri) {
        return Err(Error::invalid(at, "must begin with https://"));
    }
    Ok(())
}

/// A URI with a parameter added.
pub(super) fn with_param(uri: &str, name: &str, value: &str) -> String {
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}{name}={}", percent_encode(value))
}

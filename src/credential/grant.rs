//! Token requests as they are sent: with the app's own credentials, to a host that the manifest vouches for.

use super::reference;
use crate::action::dns;
use crate::error::{Error, Result};
use crate::http::{Request, Response};
use crate::manifest::Manifest;
use crate::manifest::auth::Auth;
use crate::manifest::oauth2::{OAuth2, Part};
use crate::oauth::reply::{self, Refused, Tokens};
use crate::oauth::request::{self, Grant};
use crate::oauth::{Client, part};
use crate::ports::{FetchError, Host, Limits, Ports};
use crate::secret::Secret;
use crate::settings;
use serde_json::Value;
use std::collections::BTreeMap;

/// A token request ends within this, in milliseconds: well before the claim on a refresh does.
const LIMITS: Limits = Limits {
    timeout_ms: 15_000,
    max_bytes: 512 * 1024,
};

/// One provider as one connection sees it.
#[derive(Debug, Clone, Copy)]
pub struct Provider<'a> {
    /// The integration.
    pub manifest: &'a Manifest,
    /// Its OAuth.
    pub spec: &'a OAuth2,
    /// What its URLs are made of.
    pub parts: &'a BTreeMap<String, Part>,
    /// The connection's settings that are not secret.
    pub config: &'a Value,
    /// Those that are.
    pub secrets: &'a BTreeMap<String, Secret>,
}

/// Why a token request brought no token.
#[derive(Debug)]
pub enum Failure {
    /// The provider's answer.
    Refused(Refused),
    /// No answer: whether the provider acted is not known.
    Lost(String),
    /// It was not sent.
    NotSent(Error),
}

impl<'a> Provider<'a> {
    /// The provider of an integration, or a clear error where it has none.
    pub fn of(manifest: &'a Manifest, config: &'a Value, secrets: &'a BTreeMap<String, Secret>) -> Result<Self> {
        let auth: Option<&Auth> = manifest.auth.as_ref();
        let spec = auth.and_then(|a| a.oauth2.as_ref()).ok_or_else(|| {
            Error::validation(format!(
                "the integration `{}` has no OAuth; give its settings instead",
                manifest.name
            ))
        })?;
        let parts = auth
            .map(Auth::parts)
            .ok_or_else(|| Error::Internal("auth without auth".into()))?;
        Ok(Self {
            manifest,
            spec,
            parts,
            config,
            secrets,
        })
    }

    /// The app at the provider: the connection's own, or that of the Worker's settings.
    pub fn client(&self, host: &dyn Host) -> Result<Client> {
        let setting = |what: &str| self.manifest.setting(what);
        match self.own_client_id() {
            Some(id) => Ok(Client {
                id: id.to_owned(),
                secret: match self.secrets.get("client_secret") {
                    Some(secret) => Some(reference::resolve(host, secret)?),
                    None => None,
                },
            }),
            None => {
                self.check_home(host)?;
                Ok(Client {
                    id: host
                        .secret(&setting("CLIENT_ID"))
                        .ok_or_else(|| Error::missing_setting(&setting("CLIENT_ID")))?
                        .expose()
                        .to_owned(),
                    secret: host.secret(&setting("CLIENT_SECRET")),
                })
            }
        }
    }

    /// Refuses the app of the Worker's settings at a server that the connection alone names: an app belongs to one server,
    /// and whoever may make a connection could else have its secret sent wherever they please.
    pub fn check_home(&self, host: &dyn Host) -> Result<()> {
        if self.own_client_id().is_some() {
            return Ok(());
        }
        let anybodys = self
            .parts
            .iter()
            .filter(|(name, part)| part.is_anybodys() && self.spec.leads_by(name));
        for (name, part) in anybodys {
            let Some(own) = self.config.get(name).and_then(Value::as_str).filter(|v| !v.is_empty()) else {
                continue;
            };
            let setting = self.manifest.address_setting(name);
            let home = host
                .var(&setting)
                .filter(|v| !v.is_empty())
                .or_else(|| part.default.clone());
            if home.as_deref().map(|h| h.trim_end_matches('/')) != Some(own.trim_end_matches('/')) {
                return Err(Error::invalid(
                    "/config/client_id",
                    format!(
                        "is missing: the app of `{}` belongs to {}, not to the server that `{name}` names; give the `client_id` and \
                         `client_secret` of an app there, or have the setting `{setting}` name that server",
                        self.manifest.setting("CLIENT_ID"),
                        home.as_deref().unwrap_or("no server yet"),
                    ),
                ));
            }
        }
        Ok(())
    }

    fn own_client_id(&self) -> Option<&str> {
        self.config
            .get("client_id")
            .and_then(Value::as_str)
            .filter(|v| !v.is_empty())
    }

    /// A URL of the manifest, filled and guarded.
    pub fn url(&self, template: &str, host: &dyn Host) -> Result<String> {
        part::url(template, self.parts, self.config, settings::allow_private_network(host))
    }

    /// Exchanges a grant for tokens.
    pub async fn ask(&self, ports: &Ports<'_>, grant: &Grant<'_>) -> std::result::Result<Tokens, Failure> {
        let endpoint = match (grant, &self.spec.refresh_url) {
            (Grant::Refresh { .. }, Some(url)) => url,
            _ => &self.spec.token_url,
        };
        let url = self.url(endpoint, ports.host).map_err(Failure::NotSent)?;
        let client = self.client(ports.host).map_err(Failure::NotSent)?;
        let reply = self.send(ports, request::token(self.spec, url, &client, grant)).await?;
        reply::read(self.spec, &reply, ports.host.now()).map_err(Failure::Refused)
    }

    /// Sends one request to the provider. Redirects are replies: a secret is never sent on.
    pub async fn send(&self, ports: &Ports<'_>, request: Request) -> std::result::Result<Response, Failure> {
        dns::check(ports, &request.url).await.map_err(Failure::NotSent)?;
        ports.fetch.send(request, LIMITS).await.map_err(|error| match error {
            FetchError::Timeout | FetchError::Network(_) | FetchError::TooLarge(_) => Failure::Lost(error.to_string()),
        })
    }
}

impl Failure {
    /// The error for whoever waits for the token.
    pub fn into_error(self, service: &str) -> Error {
        match self {
            Self::NotSent(error) => error,
            Self::Lost(why) => Error::temporary(format!("{service} did not answer the token request: {why}")),
            Self::Refused(Refused::Ended(why)) => Error::ReauthRequired(format!("{service} refused: {why}")),
            Self::Refused(Refused::App(why)) => Error::Upstream(format!(
                "{service} refused the app itself ({why}): check its client id, its secret and its redirect URIs"
            )),
            Self::Refused(Refused::Later(why, wait) | Refused::Failed(why, wait)) => Error::Temporary {
                detail: format!("{service} cannot give tokens now ({why})"),
                retry_after_s: wait.map_or(30, |ms| u32::try_from(ms / 1_000 + 1).unwrap_or(u32::MAX)),
            },
            Self::Refused(Refused::Malformed(why)) => Error::Upstream(format!(
                "{service} answered the token request with something else: {why}"
            )),
            Self::Refused(Refused::Pending(_)) => {
                Error::Conflict("the person has not consented on the other device yet; ask again in a moment".into())
            }
        }
    }
}

//! Connect links: a browser is sent to the provider and comes back, without any program in between.

use super::sign_in::{CALLBACK_PATH, Callback, Connected, LASTS, is_same_browser, no_such_state, with_param};
use super::{Hub, NewConnection};
use crate::error::{Error, Result};
use crate::id;
use crate::secret::Secret;
use crate::settings;
use crate::store::connect_link::{self, ConnectLink};
use crate::store::connection::{self, Connection, Method, Status};
use crate::store::oauth_state::{self, hash};
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a connect link is made from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// The inside user whose account it will be.
    pub owner: String,
    /// The integration, for a new connection.
    #[serde(default)]
    pub integration: Option<String>,
    /// The connection that is to be connected, or connected again.
    #[serde(default)]
    pub connection_id: Option<String>,
    /// Settings of a new connection.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// The only outside user that the link is for.
    #[serde(default)]
    pub external_user_id: Option<String>,
    /// Where the browser goes in the end: one of `PATCHBAY_REDIRECT_URIS`.
    #[serde(default)]
    pub return_to: Option<String>,
}

/// A connect link.
#[derive(Debug)]
pub struct Link {
    /// Where the user's browser is to go.
    pub url: String,
    /// The connection that it connects.
    pub connection: Connection,
    /// When it is over.
    pub expires_at: Timestamp,
}

/// Where a browser is to go next.
#[derive(Debug)]
pub struct Departure {
    /// The provider's URL.
    pub url: String,
    /// What the browser must bring back, in a cookie.
    pub cookie: Secret,
}

/// A browser that came back.
#[derive(Debug)]
pub struct Arrival {
    /// What came of it.
    pub outcome: Result<Connected>,
    /// Where the browser is to go, with the outcome in its query; none: it is told here.
    pub return_to: Option<String>,
}

impl Hub<'_> {
    /// Makes a link that connects one account.
    pub async fn invite(&self, new: NewLink, actor: &str) -> Result<Link> {
        if new.owner.trim().is_empty() || new.owner.len() > 200 {
            return Err(Error::invalid("/owner", "must have 1 to 200 characters"));
        }
        if let Some(uri) = &new.return_to
            && !settings::redirect_uris(self.ports.host).contains(uri)
        {
            return Err(Error::invalid(
                "/return_to",
                "is not in the setting `PATCHBAY_REDIRECT_URIS`",
            ));
        }
        let callback = self.own_callback()?;
        let (connection, made) = self.invited(&new, actor).await?;
        if new.external_user_id.is_some() {
            self.check_tells_user(&connection).await?;
        }
        // Whatever the provider will refuse is better known now.
        self.question(&connection, &callback).await?;
        let token = id::token(self.ports.host);
        let link = ConnectLink {
            hash: hash(&token),
            connection_id: connection.id.clone(),
            made_connection: made,
            owner: new.owner,
            external_user_id: new.external_user_id,
            return_to: new.return_to,
            created_by: actor.to_owned(),
            expires_at: self.ports.host.now() + LASTS,
        };
        let mut statements = vec![connect_link::insert(&link)];
        if made {
            statements.insert(0, connection::insert_statement(&connection));
        }
        statements.push(self.audit(
            actor,
            "connect_link.created",
            &connection,
            &json!({"owner": link.owner}),
        ));
        self.ports.sql.batch(statements).await?;
        Ok(Link {
            url: format!("{}/oauth/connect/{token}", settings::public_url(self.ports.host)?),
            connection,
            expires_at: link.expires_at,
        })
    }

    /// The connection that a link is for: one that is there, or a new one, which is not stored yet.
    async fn invited(&self, new: &NewLink, actor: &str) -> Result<(Connection, bool)> {
        match (&new.connection_id, &new.integration) {
            (Some(id), None) => {
                let found = connection::find(&self.ports, id).await?;
                let found = found.filter(|c| c.owner.as_deref() == Some(new.owner.as_str()));
                let found = found.ok_or_else(|| Error::invalid("/connection_id", "is no connection of this owner"))?;
                Ok((found, false))
            }
            (None, Some(integration)) => {
                let wanted = NewConnection {
                    integration: integration.clone(),
                    name: None,
                    owner: Some(new.owner.clone()),
                    auth: Some(Method::OAuth2),
                    config: new.config.clone(),
                };
                Ok((self.prepare_connection(wanted, actor).await?, true))
            }
            _ => Err(Error::invalid(
                "/integration",
                "or `connection_id` is needed, and not both",
            )),
        }
    }

    async fn check_tells_user(&self, c: &Connection) -> Result<()> {
        let integration = self.integration(&c.integration).await?;
        let auth = integration.manifest()?.auth.as_ref();
        match auth.and_then(|a| a.oauth2.as_ref()).and_then(|o| o.userinfo.as_ref()) {
            Some(_) => Ok(()),
            None => Err(Error::invalid(
                "/external_user_id",
                "cannot be checked: the service does not say whose account it is",
            )),
        }
    }

    fn own_callback(&self) -> Result<String> {
        Ok(format!("{}{CALLBACK_PATH}", settings::public_url(self.ports.host)?))
    }

    /// Sends a browser that follows a link to the provider. The link stays good until an account is connected: programs
    /// that preview links open them too.
    pub async fn depart(&self, token: &str, cookie: Option<&str>) -> Result<Departure> {
        let now = self.ports.host.now();
        let link = connect_link::find(&self.ports, &hash(token), now).await?;
        let link =
            link.ok_or_else(|| Error::NotFound("link of this kind any more: it was used, or it is too old".into()))?;
        let found = connection::find(&self.ports, &link.connection_id).await?;
        let connection = found.ok_or_else(|| Error::NotFound("connection of this link any more".into()))?;
        let (started, mut sign_in) = self.question(&connection, &self.own_callback()?).await?;
        // A browser with several sign-ins at once keeps the one cookie.
        let cookie = match cookie.filter(|c| c.len() == 43) {
            Some(there) => there.to_owned(),
            None => id::token(self.ports.host),
        };
        sign_in.browser = Some(hash(&cookie));
        sign_in.link = Some(link.hash);
        self.ports.sql.batch(vec![oauth_state::insert(&sign_in)]).await?;
        Ok(Departure {
            url: started.authorization_url,
            cookie: Secret::new(cookie),
        })
    }

    /// Takes a browser back from the provider.
    pub async fn arrive(&self, callback: &Callback, cookie: Option<&str>) -> Arrival {
        let mut arrival = Arrival {
            outcome: Err(no_such_state()),
            return_to: None,
        };
        arrival.outcome = self.take_back(callback, cookie, &mut arrival.return_to).await;
        if let Some(uri) = arrival.return_to.take() {
            let back = match &arrival.outcome {
                Ok(connected) => {
                    let back = with_param(&uri, "status", "connected");
                    with_param(&back, "connection_id", &connected.connection.id)
                }
                Err(error) => with_param(&with_param(&uri, "status", "failed"), "code", error.code()),
            };
            arrival.return_to = Some(back);
        }
        arrival
    }

    async fn take_back(
        &self,
        callback: &Callback,
        cookie: Option<&str>,
        return_to: &mut Option<String>,
    ) -> Result<Connected> {
        let now = self.ports.host.now();
        let key = hash(&callback.state);
        let known = oauth_state::find(&self.ports, &key).await?.ok_or_else(no_such_state)?;
        if !is_same_browser(&known, cookie) {
            let why =
                "this sign-in was begun in another browser, or by a program; finish it there, or open the link again";
            return Err(Error::Forbidden(why.into()));
        }
        let sign_in = oauth_state::take(&self.ports, &key, now)
            .await?
            .ok_or_else(no_such_state)?;
        let link = match &sign_in.link {
            Some(link) => connect_link::find(&self.ports, link, now + -LASTS).await?,
            None => None,
        };
        let link = link.ok_or_else(|| Error::NotFound("link of this kind any more: it was used already".into()))?;
        return_to.clone_from(&link.return_to);
        let found = connection::find(&self.ports, &sign_in.connection_id).await?;
        let c = found.ok_or_else(|| Error::NotFound("connection of this link any more".into()))?;
        self.complete(&c, &sign_in, callback, &link.created_by, Some(&link))
            .await
    }

    /// What is known of an account without its tokens.
    pub fn account_health(&self, c: &Connection) -> Value {
        let time = |t: Option<Timestamp>| t.map(Timestamp::rfc3339);
        let ended = c.status == Status::ReauthRequired;
        json!({
            "status": c.status,
            "auth": c.method,
            "scopes": c.scopes.as_deref().map(|s| s.split_whitespace().collect::<Vec<_>>()),
            "user_id": c.user_id,
            "user_name": c.user_name,
            "expires_at": time(c.token_expires_at.filter(|_| !ended)),
            "last_refresh_at": time(c.token_given_at),
            "refresh_token_ends_at": time(c.refresh_ends_at.filter(|_| !ended)),
            "connected_at": time(c.connected_at),
            "failures": c.refresh_failures,
            "next_refresh_at": time(c.refresh_retry_at),
            "last_error": c.last_error,
        })
    }
}

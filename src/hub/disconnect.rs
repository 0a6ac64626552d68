//! Removing a connection: its tokens end at the provider first, then they are erased here.

use super::Hub;
use crate::credential::grant::Provider;
use crate::error::Result;
use crate::http::percent_encode;
use crate::manifest::oauth2::RevokeStyle;
use crate::oauth::request;
use crate::secret::Secret;
use crate::store::connection::{self, Connection, Method};
use serde_json::{Value, json};

impl Hub<'_> {
    /// Revokes and erases. What the provider answers is noted in the audit log; erasing does not depend on it.
    pub async fn disconnect(&self, c: &Connection, actor: &str) -> Result<()> {
        let revoked = self.revoke(c).await;
        let detail = json!({"integration": c.integration, "revoked": revoked});
        connection::delete(&self.ports, c, actor, &detail).await
    }

    /// `"yes"`, or why not.
    async fn revoke(&self, c: &Connection) -> Value {
        if c.method == Method::Fields || c.tokens.is_none() {
            return json!("nothing to revoke");
        }
        let Ok(integration) = self.integration(&c.integration).await else {
            return json!("the integration is gone");
        };
        let (Ok(manifest), Ok(secrets), Ok(Some(held))) =
            (integration.manifest(), c.open(&self.ports), c.tokens(&self.ports))
        else {
            return json!("the tokens do not open");
        };
        match Provider::of(manifest, &c.config, &secrets) {
            Ok(provider) => {
                let tokens = (&held.access, held.refresh.as_ref());
                self.revoke_tokens(&provider, tokens, c.user_id.as_deref(), Some(&c.id))
                    .await
            }
            Err(_) => json!("the integration has no OAuth any more"),
        }
    }

    /// Ends an access and a refresh token at the provider. The refresh token first: with it the access tokens of its grant end
    /// (RFC 7009, 2.1). `user_id` is whose they are, if that is known, and `of` the connection that is about to be removed.
    pub(super) async fn revoke_tokens(
        &self,
        provider: &Provider<'_>,
        (access, refresh): (&Secret, Option<&Secret>),
        user_id: Option<&str>,
        of: Option<&str>,
    ) -> Value {
        let Some(revoke) = &provider.spec.revoke else {
            return json!("the service has no way to revoke");
        };
        if revoke.ends_grant {
            let service = &provider.manifest.name;
            match connection::holds_another(&self.ports, service, user_id, of.unwrap_or_default()).await {
                Ok(false) => {}
                Ok(true) => return json!("another connection lives on the same consent"),
                Err(_) => return json!("whether another connection lives on the same consent is not known"),
            }
        }
        let host = self.ports.host;
        let Ok(client) = provider.client(host) else {
            return json!("the app's settings are missing");
        };
        let template = revoke.url.replace("{client_id}", &percent_encode(&client.id));
        let Ok(url) = provider.url(&template, host) else {
            return json!("the service's address is not set");
        };
        let standard = revoke.style == RevokeStyle::Rfc7009;
        let refresh = refresh.filter(|_| standard).map(|token| (token, "refresh_token"));
        let mut outcome = json!("yes");
        for (token, hint) in refresh.into_iter().chain([(access, "access_token")]) {
            let request = request::revoke(provider.spec, url.clone(), revoke.style, &client, token, hint);
            match provider.send(&self.ports, request).await {
                Ok(reply) if reply.is_success() => {}
                Ok(reply) => outcome = json!(format!("status {}", reply.status)),
                Err(_) => outcome = json!("no answer"),
            }
        }
        outcome
    }
}

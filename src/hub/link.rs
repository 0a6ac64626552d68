//! Senders who have connected no account of their own: where a manifest asks for one, they are sent a link to connect it,
//! and reach the agent once they did.

use super::Hub;
use super::converse::AgentPart;
use super::dispatch::Opened;
use super::invite::NewLink;
use crate::credential::user;
use crate::error::Result;
use crate::event::agent;
use crate::id::Kind;
use crate::manifest::Manifest;
use crate::manifest::conversation::LinkWay;
use crate::store::account_link::AccountLink;
use crate::store::connection::{self, Method};
use crate::store::destination::Destination;
use crate::store::run::{self, Order, Run};
use crate::template::Scope;
use serde_json::{Map, Value, json};

impl Hub<'_> {
    /// Why the sender does not reach the agent yet; none: they may.
    pub(super) async fn ask_to_link(
        &self,
        opened: &Opened,
        part: &AgentPart,
        destination: &Destination,
        context: &Value,
    ) -> Result<Option<String>> {
        if part.spec.link.is_empty() {
            return Ok(None);
        }
        let config = self
            .public_config(part.manifest, opened.event.connection_id.as_deref())
            .await?;
        let Some(way) = agent::link_way(part.spec, context, &config)? else {
            return Ok(None);
        };
        let Some(user_id) = agent::user_id(context) else {
            return Ok(Some(
                "the sender cannot connect an account: nobody says who they are".to_owned(),
            ));
        };
        let known = match user::linked(&self.ports, part.manifest, &config, &user_id).await? {
            Some((_, Some(_))) => return Ok(None),
            other => other.map(|(link, _)| link),
        };
        let sent = self
            .send_link(opened, part, destination, (way, context, &config), &user_id, known)
            .await;
        Ok(Some(match sent {
            Ok(()) => "the sender has connected no account; a link to do so was sent".to_owned(),
            Err(error) if error.retryable() => return Err(error),
            Err(error) => format!("the sender has connected no account, and no link can be sent: {error}"),
        }))
    }

    /// Makes the link and stores the run that says it: once for each event, so that a repeated dispatch sends no second.
    async fn send_link(
        &self,
        opened: &Opened,
        part: &AgentPart,
        destination: &Destination,
        (way, context, config): (&LinkWay, &Value, &Value),
        user_id: &str,
        known: Option<AccountLink>,
    ) -> Result<()> {
        let event = &opened.event;
        let run_id = run_of_event(&event.id);
        if run::find(&self.ports, &run_id).await?.is_some() {
            return Ok(());
        }
        let mut new = self.wanted_link(part.manifest, config, known).await?;
        if new.connection_id.is_none() {
            let own = way.config.iter().map(|(name, value)| (name.clone(), json!(value)));
            new.config.extend(own);
        }
        if new.owner.is_empty() {
            new.owner = event
                .owner
                .clone()
                .unwrap_or_else(|| format!("{}:{user_id}", event.service));
        }
        new.external_user_id = Some(user_id.to_owned());
        let link = self.invite(new, &destination.id).await?;
        let url = json!(link.url);
        let inputs = way.inputs.value(&Scope::new([("context", context), ("url", &url)]))?;
        part.entry.check_inputs(&way.action, &inputs)?;
        let now = self.ports.host.now();
        let run = Run {
            integration: event.service.clone(),
            connection_id: event.connection_id.clone(),
            account: event.account.clone(),
            owner: event.owner.clone(),
            external_user_id: Some(user_id.to_owned()),
            ..Run::new(run_id, &way.action, inputs, now)
        };
        let insert = run::insert(&run, &run.id, &event.id, 0, Order::Beside);
        match self.ports.sql.batch(vec![insert]).await {
            // Another holder of the event was faster: there is one, which is all that is wanted.
            Err(error) if error.is_unique_violation() => {}
            other => {
                other?;
                self.call(&run.id).await;
            }
        }
        Ok(())
    }

    /// What the link connects: the user's connection again, if there is one, or else a new one at the same server.
    async fn wanted_link(&self, manifest: &Manifest, config: &Value, known: Option<AccountLink>) -> Result<NewLink> {
        let mut new = NewLink {
            owner: known.as_ref().map(|link| link.owner.clone()).unwrap_or_default(),
            integration: None,
            connection_id: None,
            config: Map::new(),
            external_user_id: None,
            return_to: None,
        };
        if let Some(id) = known.and_then(|link| link.connection_id) {
            let found = connection::find(&self.ports, &id).await?;
            let again = found.filter(|c| c.method == Method::OAuth2 && c.owner.as_deref() == Some(new.owner.as_str()));
            if let Some(connection) = again {
                new.connection_id = Some(connection.id);
                return Ok(new);
            }
        }
        new.integration = Some(manifest.name.clone());
        let oauth2 = manifest.auth.as_ref().and_then(|auth| auth.oauth2.as_ref());
        for name in manifest.auth.iter().flat_map(|auth| auth.parts().keys()) {
            let is_address = oauth2.is_some_and(|o| o.token_url.contains(&format!("{{{name}}}")));
            if let Some(value) = config.get(name).filter(|_| is_address) {
                new.config.insert(name.clone(), value.clone());
            }
        }
        Ok(new)
    }
}

/// The run that belongs to an event itself.
fn run_of_event(event_id: &str) -> String {
    let own = event_id.strip_prefix(Kind::Event.prefix()).unwrap_or(event_id);
    format!("{}{own}", Kind::Run.prefix())
}

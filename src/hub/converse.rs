//! Who talks with the agent about what: the plan of an event's part in a conversation, and the letter to the agent.

use super::Hub;
use super::dispatch::Opened;
use crate::action::run;
use crate::credential::Credential;
use crate::credential::vault::{KeyRing, SETTING};
use crate::delivery::message::Letter;
use crate::error::{Error, Result};
use crate::event::agent::{self, Interest, Names};
use crate::id::{self, Kind};
use crate::manifest::Manifest;
use crate::manifest::conversation::Conversation as Spec;
use crate::registry::Entry;
use crate::secret::Secret;
use crate::settings;
use crate::store::connection;
use crate::store::conversation::{self, Conversation, Incoming};
use crate::store::delivery::{Delivery, Message};
use crate::store::destination::Destination;
use crate::store::event::Event;
use serde_json::Value;

/// What an integration needs to talk with an agent.
struct AgentPart {
    entry: &'static Entry,
    manifest: &'static Manifest,
    spec: &'static Spec,
}

/// What the agent's part of a dispatch comes to.
pub(super) struct Plan {
    /// Why it does or does not reach the agent.
    pub(super) decision: Option<String>,
    pub(super) context: Option<Value>,
    /// The thread, if it does.
    pub(super) thread: Option<String>,
}

impl Plan {
    /// It does not reach the agent.
    pub(super) fn none(decision: Option<String>) -> Self {
        Self {
            decision,
            context: None,
            thread: None,
        }
    }
}

impl Hub<'_> {
    /// What expressions of a mapping may see of the settings: those that are not secret. Where the app is not set up to
    /// answer there are none, which keeps no event from its subscribers.
    async fn public_config(&self, manifest: &Manifest, event: &Event) -> Result<Value> {
        let Some(id) = &event.connection_id else {
            let app = Credential::of_app(manifest, None, self.ports.host);
            return Ok(app.map_or(Value::Null, |c| c.config));
        };
        let connection = connection::find_warm(&self.ports, id).await?;
        Ok(connection.map_or(Value::Null, |c| c.config))
    }

    /// Decides whether an event is the agent's business. A mapping that fails is a reason for a person to read: the
    /// subscribers get the event all the same.
    pub(super) async fn plan(&self, opened: &Opened) -> Result<Plan> {
        match self.consider(opened).await {
            Err(error) if !error.retryable() => Ok(Plan::none(Some(format!("the mapping failed: {error}")))),
            other => other,
        }
    }

    async fn consider(&self, opened: &Opened) -> Result<Plan> {
        let none = |why: &str| Plan::none(Some(why.to_owned()));
        let Some(AgentPart { spec, manifest, .. }) = opened.agent_part()? else {
            return Ok(none("the integration has no conversations"));
        };
        if opened.body.is_null() {
            return Ok(none("the payload cannot be read"));
        }
        let kind = opened.kind();
        let config = self.public_config(manifest, &opened.event).await?;
        let context = agent::context(spec, kind, &opened.body, &config)?;
        let names = Names {
            mention: settings::agent_mention(self.ports.host),
            label: settings::agent_label(self.ports.host),
        };
        let interest = agent::interest(spec, kind, &opened.body, &config, &context, &names)?;
        let (decision, thread) = match interest {
            Interest::None(why) => (why, None),
            Interest::Asks { thread } => ("it asks for the agent".to_owned(), Some(thread)),
            Interest::MayFollow { thread } => {
                if conversation::exists(&self.ports, &opened.event.source, &thread).await? {
                    ("it joins the thread's conversation".to_owned(), Some(thread))
                } else {
                    ("the agent is not mentioned".to_owned(), None)
                }
            }
        };
        Ok(Plan {
            decision: Some(decision),
            context: Some(context),
            thread,
        })
    }

    /// The message to the agent, once the sender's permission is checked and the conversation stands. None: the
    /// sender may not command the agent.
    pub(super) async fn letter(
        &self,
        opened: &Opened,
        destination: &Destination,
        thread: &str,
        context: &Value,
        delivery: &mut Delivery,
    ) -> Result<Option<Vec<u8>>> {
        let part = opened
            .agent_part()?
            .ok_or_else(|| Error::Internal("a conversation without a manifest part for it".into()))?;
        if !self.permitted(opened, &part, context).await? {
            let why = "the sender's permission does not suffice to command the agent";
            self.skip(delivery, Some(why.to_owned()));
            return Ok(None);
        }
        let conversation = self.enter(opened, destination, thread, context).await?;
        delivery.conversation_id = Some(conversation.id.clone());
        delivery.message = if conversation.first_event_id == opened.event.id {
            Message::Started
        } else {
            Message::Followed
        };
        let token = callback_token(&KeyRing::from_settings(self.ports.host)?, &conversation)?;
        let callback_url = format!("{}/api/v1/webhooks", settings::public_url(self.ports.host)?);
        let letter = Letter {
            message: delivery.message,
            conversation: &conversation,
            event: &opened.event,
            body: &opened.body,
            payload: &opened.payload,
            context,
            callback_url: &callback_url,
            token: &token,
            now: self.ports.host.now(),
        };
        Ok(Some(letter.to_bytes()))
    }

    async fn permitted(&self, opened: &Opened, part: &AgentPart, context: &Value) -> Result<bool> {
        let Some(permission) = &part.spec.permission else {
            return Ok(true);
        };
        let scope = crate::template::Scope::new([("context", context)]);
        let inputs = permission.inputs.value(&scope)?;
        let event = &opened.event;
        let connection = event.connection_id.as_deref();
        let credential = run::credential_of(&self.ports, part.manifest, connection, event.account.clone()).await?;
        let result = run::ask(&self.ports, part.entry, &permission.action, &inputs, credential).await?;
        let scope = crate::template::Scope::new([("context", context), ("result", &result)]);
        permission.allow.truth(&scope)
    }

    async fn enter(
        &self,
        opened: &Opened,
        destination: &Destination,
        thread: &str,
        context: &Value,
    ) -> Result<Conversation> {
        let new_id = id::new(Kind::Conversation, self.ports.host);
        let event = &opened.event;
        let incoming = Incoming {
            new_id: &new_id,
            source: &event.source,
            thread,
            integration: &event.service,
            connection_id: event.connection_id.as_deref(),
            account: event.account.as_deref(),
            owner: event.owner.as_deref(),
            destination_id: &destination.id,
            event_id: &event.id,
            context,
        };
        conversation::open(&self.ports, &incoming).await
    }
}

impl Opened {
    /// The event's type without the service.
    fn kind(&self) -> &str {
        let prefix = self.event.service.len() + 1;
        self.event.r#type.get(prefix..).unwrap_or_default()
    }

    /// The integration with its part on conversations, if it has one.
    fn agent_part(&self) -> Result<Option<AgentPart>> {
        let Some(entry) = self.entry else {
            return Ok(None);
        };
        let manifest = entry.manifest()?;
        Ok(manifest
            .conversation
            .as_ref()
            .map(|spec| AgentPart { entry, manifest, spec }))
    }
}

/// What a callback token of a conversation is made from: it is good for one turn.
pub(super) fn token_purpose(conversation: &Conversation) -> String {
    format!("callback|{}|{}", conversation.id, conversation.turn)
}

fn callback_token(ring: &KeyRing, conversation: &Conversation) -> Result<Secret> {
    let token = ring.derive(&token_purpose(conversation)).next();
    token.ok_or_else(|| Error::missing_setting(SETTING))
}

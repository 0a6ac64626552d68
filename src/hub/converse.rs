//! Who talks with the agent about what: the plan of an event's part in a conversation, and the letter to the agent.

use super::Hub;
use super::callback::inserts;
use super::dispatch::Opened;
use crate::action::run;
use crate::credential::Credential;
use crate::credential::vault::{KeyRing, SETTING};
use crate::delivery::message::Letter;
use crate::error::{Error, Result};
use crate::event::agent::{self, Interest, Names, Stage};
use crate::id::{self, Kind};
use crate::manifest::Manifest;
use crate::manifest::conversation::{Conversation as Spec, FollowUpBy};
use crate::ports::Stmt;
use crate::registry::{self, Entry};
use crate::secret::Secret;
use crate::settings;
use crate::store::connection;
use crate::store::conversation::{self, Conversation, Incoming};
use crate::store::delivery::{Delivery, Message};
use crate::store::destination::Destination;
use crate::store::run::{self as table, Order, Run};
use crate::template::Scope;
use serde_json::Value;

/// What is said where the agent could not be given the message.
const UNREACHED: &str = "I could not be reached, so nothing was done. Whoever runs me can see why in the hub.";

/// What an integration needs to talk with an agent.
pub(super) struct AgentPart {
    pub(super) entry: &'static Entry,
    pub(super) manifest: &'static Manifest,
    pub(super) spec: &'static Spec,
}

/// What the agent's part of a dispatch comes to.
pub(super) struct Plan {
    /// Why it does or does not reach the agent.
    pub(super) decision: Option<String>,
    pub(super) context: Option<Value>,
    /// The thread, if it does.
    pub(super) thread: Option<String>,
    /// What names the message within the thread, if it is to ask only once.
    pub(super) once: Option<String>,
}

impl Plan {
    /// It does not reach the agent.
    pub(super) fn none(decision: Option<String>) -> Self {
        Self {
            decision,
            context: None,
            thread: None,
            once: None,
        }
    }
}

impl Hub<'_> {
    /// What expressions of a mapping may see of the settings: those that are not secret. Where the app is not set up to
    /// answer there are none, which keeps no event from its subscribers.
    pub(super) async fn public_config(&self, manifest: &Manifest, connection_id: Option<&str>) -> Result<Value> {
        let Some(id) = connection_id else {
            let app = Credential::of_app(manifest, None, self.ports.host);
            return Ok(app.map_or(Value::Null, |c| c.config));
        };
        let Some(connection) = connection::find_warm(&self.ports, id).await? else {
            return Ok(Value::Null);
        };
        // Whose account it is tells the hub's own messages from others.
        let mut config = connection.config;
        if let (Value::Object(members), Some(user)) = (&mut config, connection.user_id) {
            members.entry("user_id").or_insert(Value::String(user));
        }
        Ok(config)
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
        let config = self
            .public_config(manifest, opened.event.connection_id.as_deref())
            .await?;
        let context = agent::context(spec, kind, &opened.body, &config)?;
        let names = Names {
            mention: settings::agent_mention(self.ports.host),
            label: settings::agent_label(self.ports.host),
        };
        let interest = agent::interest(spec, kind, &opened.body, &config, &context, &names)?;
        let mut name = None;
        let (decision, thread) = match interest {
            Interest::None(why) => (why, None),
            Interest::Asks { thread, once } => {
                name = once;
                match self.was_heard(opened, &thread, name.as_deref()).await? {
                    true => ("the message asked before it was edited".to_owned(), None),
                    false => ("it asks for the agent".to_owned(), Some(thread)),
                }
            }
            Interest::MayFollow { thread } => {
                match conversation::of_thread(&self.ports, &opened.event.source, &thread).await? {
                    None => ("the agent is not mentioned".to_owned(), None),
                    Some(found) if !may_follow(spec, &found, &context) => {
                        let why = "the agent is not mentioned, and somebody else opened the conversation";
                        (why.to_owned(), None)
                    }
                    Some(_) => ("it joins the thread's conversation".to_owned(), Some(thread)),
                }
            }
        };
        Ok(Plan {
            decision: Some(decision),
            context: Some(context),
            thread,
            once: name,
        })
    }

    /// Whether another event of the same message asked already, and was acknowledged. Of two at the same moment both may
    /// reach the agent, in one turn.
    async fn was_heard(&self, opened: &Opened, thread: &str, once: Option<&str>) -> Result<bool> {
        let Some(name) = once else {
            return Ok(false);
        };
        let event = &opened.event;
        let Some(conversation) = conversation::of_thread(&self.ports, &event.source, thread).await? else {
            return Ok(false);
        };
        let own = heard(Some(name), &event.id);
        table::has_other(&self.ports, &conversation.id, &heard(Some(name), ""), &own).await
    }

    /// The message to the agent, once the sender's permission is checked and the conversation stands. None: the
    /// sender may not command the agent.
    pub(super) async fn letter(
        &self,
        opened: &Opened,
        destination: &Destination,
        (thread, once): (&str, Option<&str>),
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
        if let Some(why) = self.ask_to_link(opened, &part, destination, context).await? {
            self.skip(delivery, Some(why));
            return Ok(None);
        }
        let conversation = self.enter(opened, destination, thread, context).await?;
        delivery.conversation_id = Some(conversation.id.clone());
        delivery.message = if conversation.first_event_id == opened.event.id {
            Message::Started
        } else {
            Message::Followed
        };
        let fingerprint = heard(once, &opened.event.id);
        self.acknowledge(part.spec, &conversation, &fingerprint, context)
            .await?;
        let history = match delivery.message {
            Message::Started => self.history(opened, &part, context).await,
            Message::Followed | Message::Event => None,
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
            thread: history.as_ref(),
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
        let inputs = permission.inputs.value(&Scope::new([("context", context)]))?;
        let result = self.ask(opened, part, &permission.action, &inputs).await?;
        permission
            .allow
            .truth(&Scope::new([("context", context), ("result", &result)]))
    }

    /// Asks the service something with the credential that the conversation has.
    async fn ask(&self, opened: &Opened, part: &AgentPart, action: &str, inputs: &Value) -> Result<Value> {
        let event = &opened.event;
        let connection = event.connection_id.as_deref();
        let credential = run::credential_of(&self.ports, part.manifest, connection, event.account.clone()).await?;
        let whose = (event.owner.as_deref(), event.id.as_str());
        run::ask(&self.ports, part.entry, (action, inputs), credential, whose).await
    }

    /// The thread so far. What cannot be read does not keep the message from the agent.
    async fn history(&self, opened: &Opened, part: &AgentPart, context: &Value) -> Option<Value> {
        let read = async {
            let Some((spec, inputs)) = agent::history_of(part.spec, context)? else {
                return Ok(None);
            };
            let result = self.ask(opened, part, &spec.action, &inputs).await?;
            agent::history(spec, context, &result).map(Some)
        };
        read.await.unwrap_or_else(|error| {
            self.log_failure(&opened.event.id, &error);
            None
        })
    }

    /// Shows the sender that the message was heard: a run of its own, once for each message. It stands beside all others,
    /// unless later ones change what it says.
    async fn acknowledge(
        &self,
        spec: &Spec,
        conversation: &Conversation,
        fingerprint: &str,
        context: &Value,
    ) -> Result<()> {
        let found = agent::acknowledgement(spec, context, conversation.turn).unwrap_or_else(|error| {
            self.log_failure(&conversation.id, &error);
            None
        });
        let Some(say) = found else {
            return Ok(());
        };
        let order = match say.place {
            Some(_) => Order::InTurn,
            None => Order::Beside,
        };
        let new = self.new_run(conversation, say);
        let statements = vec![
            table::insert(&new, &new.id, fingerprint, 0, order),
            table::of_callback(&conversation.id, fingerprint),
        ];
        let rows = self.ports.sql.batch(statements).await?.pop().unwrap_or_default();
        let is_new = rows.first().and_then(|row| row.get("id")?.as_str()) == Some(&new.id);
        if is_new {
            self.call(&new.id).await;
        }
        Ok(())
    }

    /// The statements that tell the thread that its message did not reach the agent, and the run to wake for it.
    pub(super) async fn unreached(&self, delivery: &Delivery) -> Result<(Vec<Stmt>, Option<String>)> {
        let nothing = (Vec::new(), None);
        let Some(id) = delivery
            .conversation_id
            .as_deref()
            .filter(|_| delivery.state == "failed")
        else {
            return Ok(nothing);
        };
        let Some(conversation) = conversation::find(&self.ports, id).await? else {
            return Ok(nothing);
        };
        let Some(spec) = registry::get(&conversation.integration)?
            .manifest()?
            .conversation
            .as_ref()
        else {
            return Ok(nothing);
        };
        let says = agent::replies(spec, &conversation.context, UNREACHED, conversation.turn, Stage::Failed)?;
        let runs: Vec<Run> = says.into_iter().map(|say| self.new_run(&conversation, say)).collect();
        let mut statements = inserts(&runs, &format!("unreached|{}", delivery.event_id));
        let now = self.ports.host.now();
        statements.push(conversation::abandoned(id, &delivery.event_id, now));
        Ok((statements, runs.first().map(|run| run.id.clone())))
    }

    async fn enter(
        &self,
        opened: &Opened,
        destination: &Destination,
        thread: &str,
        context: &Value,
    ) -> Result<Conversation> {
        let new_id = id::new(Kind::Conversation, self.ports.host);
        let user_id = agent::user_id(context);
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
            user: context.get("user").and_then(Value::as_str),
            user_id: user_id.as_deref(),
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

/// What the acknowledgement of an event is stored under; of a message that has a name in its thread, under that as well.
fn heard(name: Option<&str>, event_id: &str) -> String {
    match name {
        Some(name) => format!("heard|{name}|{event_id}"),
        None => format!("heard|{event_id}"),
    }
}

/// Whether an event without a mention may join the thread's conversation.
fn may_follow(spec: &Spec, conversation: &Conversation, context: &Value) -> bool {
    let user = context.get("user").and_then(Value::as_str);
    match spec.follow_up_by {
        FollowUpBy::Anyone => true,
        FollowUpBy::Author => user.is_some() && user == conversation.opened_by.as_deref(),
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

//! Answers in: what an agent says goes back to where the conversation is, as runs that survive crashes.

use super::Hub;
use super::converse::token_purpose;
use crate::credential::user;
use crate::credential::vault::KeyRing;
use crate::error::{Error, Result};
pub use crate::event::agent::Stage;
use crate::event::agent::{self, Say};
use crate::id::{self, Kind};
use crate::ports::{Stmt, read_row};
use crate::registry;
use crate::secret::{Secret, same};
use crate::store::connection::Connection;
use crate::store::conversation::{self, Conversation};
use crate::store::destination;
use crate::store::run::{self, Order, Run, Status};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Most actions in one answer.
const MAX_ACTIONS: usize = 20;

/// What is said where an agent gives up without a word.
const GAVE_UP: &str = "I could not do this.";

/// An action that the agent asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its name in the conversation's integration.
    pub action: String,
    /// Its inputs.
    #[serde(default)]
    pub inputs: Value,
}

/// What an agent sends to `POST /api/v1/webhooks`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The conversation.
    pub conversation_id: String,
    /// How far it is.
    pub status: Stage,
    /// What to say where the conversation is, in the service's own markup.
    #[serde(default)]
    pub message: Option<String>,
    /// What else to do there.
    #[serde(default)]
    pub actions: Vec<Asked>,
}

/// What an answer came to.
#[derive(Debug)]
pub struct Answered {
    /// The runs that carry it out, in order.
    pub runs: Vec<Run>,
    /// Whether they are those of an earlier, equal answer.
    pub replayed: bool,
}

impl Hub<'_> {
    /// Takes an answer: checks the token, stores the runs, wakes them. The same answer again gives the same runs.
    pub async fn answer(&self, token: &Secret, answer: &Answer, idempotency_key: Option<&str>) -> Result<Answered> {
        let conversation = self.authenticated(token, &answer.conversation_id).await?;
        if answer.actions.len() > MAX_ACTIONS {
            return Err(Error::invalid(
                "/actions",
                format!("holds more than {MAX_ACTIONS} actions"),
            ));
        }
        let asked = self.wanted(&conversation, answer).await?;
        let fingerprint = fingerprint(&conversation, answer, idempotency_key)?;
        let now = self.ports.host.now();
        let account = self.account_of_user(&conversation, answer).await?;
        let listed = asked.len().saturating_sub(answer.actions.len());
        let mut new: Vec<Run> = asked.into_iter().map(|a| self.new_run(&conversation, a)).collect();
        // What is said comes from the app; what is done, from the user who asked for it.
        for run in new.iter_mut().skip(listed) {
            run.external_user_id.clone_from(&conversation.only_user_id);
            run.connection_id = account.clone().or(run.connection_id.take());
        }
        let first = new.first().map(|run| run.id.clone()).unwrap_or_default();
        let mut statements = inserts(&new, &fingerprint);
        let state = match answer.status {
            Stage::Progress => "open",
            Stage::Completed => "completed",
            Stage::Failed => "failed",
        };
        statements.push(conversation::answered(
            &conversation.id,
            conversation.turn,
            state,
            &fingerprint,
            &first,
            now,
        ));
        statements.push(run::of_callback(&conversation.id, &fingerprint));
        let rows = self.ports.sql.batch(statements).await?.pop().unwrap_or_default();
        let runs: Vec<Run> = rows.into_iter().map(read_row).collect::<Result<_>>()?;
        let same = |(a, b): (&Run, &Run)| a.action == b.action && a.inputs == b.inputs;
        if runs.len() != new.len() || !runs.iter().zip(&new).all(same) {
            return Err(Error::Conflict(
                "this Idempotency-Key was used with another answer; use a new key for a new answer".to_owned(),
            ));
        }
        // They are carried out one after the other: each wakes the next.
        if let Some(run) = runs.iter().find(|r| r.status == Status::Pending) {
            self.call(&run.id).await;
        }
        let replayed = runs.first().is_some_and(|run| run.id != first);
        Ok(Answered { runs, replayed })
    }

    /// The conversation, if the token is its own and still good. Whether it exists is not told apart from that.
    async fn authenticated(&self, token: &Secret, id: &str) -> Result<Conversation> {
        let refused = || {
            Error::Authentication(
                "the callback token is not valid for this conversation: it belongs to another one, to an earlier turn, \
                 or was idle for 7 days"
                    .to_owned(),
            )
        };
        if !id::is(Kind::Conversation, id) {
            return Err(refused());
        }
        let found = conversation::find(&self.ports, id).await?.ok_or_else(refused)?;
        let ring = KeyRing::from_settings(self.ports.host)?;
        let good = ring.derive(&token_purpose(&found)).fold(false, |good, own| {
            good | same(own.expose().as_bytes(), token.expose().as_bytes())
        });
        if !good || found.token_expires_at < self.ports.host.now() {
            return Err(refused());
        }
        Ok(found)
    }

    /// The actions that an answer comes to, each checked: the message first, then what the agent lists.
    async fn wanted(&self, conversation: &Conversation, answer: &Answer) -> Result<Vec<Say>> {
        let entry = registry::get(&conversation.integration)?;
        let manifest = entry.manifest()?;
        let spec = manifest.conversation.as_ref();
        let spec = spec.ok_or_else(|| Error::Internal("a conversation without a manifest part for it".into()))?;
        let said = answer.message.as_deref().filter(|m| !m.trim().is_empty());
        // Who waits is told of a failure even if the agent has no words for it.
        let message = said.or((answer.status == Stage::Failed).then_some(GAVE_UP));
        let mut wanted = match message {
            Some(message) => agent::replies(spec, &conversation.context, message, conversation.turn, answer.status)?,
            None => Vec::new(),
        };
        if !answer.actions.is_empty() {
            let destination = destination::find(&self.ports, &conversation.destination_id).await?;
            let allowed = destination.map(|d| d.allowed_actions).unwrap_or_default();
            for asked in &answer.actions {
                manifest.action(&asked.action)?;
                if !allowed.contains(&asked.action) {
                    return Err(Error::Forbidden(format!(
                        "the destination does not allow the action `{}`; see its `allowed_actions`",
                        asked.action
                    )));
                }
                agent::stays_within(spec, &conversation.context, &asked.action, &asked.inputs)?;
                wanted.push(Say {
                    action: asked.action.clone(),
                    inputs: asked.inputs.clone(),
                    place: None,
                });
            }
        }
        for asked in &wanted {
            entry.check_inputs(&asked.action, &asked.inputs)?;
        }
        Ok(wanted)
    }

    /// The connection of the user who asked: of the only one who spoke in this turn, so that nobody has things done with
    /// the rights of another. None: no account of theirs is linked and connected, and the conversation's own acts.
    async fn account_of_user(&self, conversation: &Conversation, answer: &Answer) -> Result<Option<String>> {
        let Some(user_id) = conversation
            .only_user_id
            .as_deref()
            .filter(|_| !answer.actions.is_empty())
        else {
            return Ok(None);
        };
        let integration = self.integration(&conversation.integration).await?;
        let manifest = integration.manifest()?;
        let config = self
            .public_config(manifest, conversation.connection_id.as_deref())
            .await?;
        let linked = user::linked(&self.ports, manifest, &config, user_id).await?;
        let connection = linked.and_then(|(_, connection)| connection);
        let same = |c: &Connection| conversation.owner.is_none() || c.owner == conversation.owner;
        Ok(connection.filter(same).map(|c| c.id))
    }

    pub(super) fn new_run(&self, conversation: &Conversation, asked: Say) -> Run {
        let now = self.ports.host.now();
        Run {
            conversation_id: Some(conversation.id.clone()),
            integration: conversation.integration.clone(),
            connection_id: conversation.connection_id.clone(),
            account: conversation.account.clone(),
            owner: conversation.owner.clone(),
            place: asked.place,
            ..Run::new(id::new(Kind::Run, self.ports.host), &asked.action, asked.inputs, now)
        }
    }
}

/// The statements that store the runs of one answer, in order, unless an answer of the same fingerprint was there.
pub(super) fn inserts(runs: &[Run], fingerprint: &str) -> Vec<Stmt> {
    let first = runs.first().map(|run| run.id.as_str()).unwrap_or_default();
    let insert = |(at, run)| run::insert(run, first, fingerprint, at, Order::InTurn);
    runs.iter().enumerate().map(insert).collect()
}

/// What two callbacks have in common when the second repeats the first: the turn, and the key that the caller chose
/// or else the whole answer.
fn fingerprint(conversation: &Conversation, answer: &Answer, key: Option<&str>) -> Result<String> {
    let what = match key {
        Some(key) => format!("key|{key}"),
        None => serde_json::to_string(answer).map_err(|e| Error::Internal(format!("an answer is not JSON: {e}")))?,
    };
    let digest = Sha256::digest(format!("{}|{what}", conversation.turn));
    Ok(hex::encode(digest))
}

//! The `conversation` part of a manifest: when an event asks for the agent, and how the answer finds its way back.

use super::Manifest;
use crate::error::{Error, Result};
use crate::template::{JsonTemplate, Template};
use serde::Deserialize;
use std::collections::BTreeMap;

/// When an event asks for the agent, and how the answer finds its way back.
///
/// Expressions see `body` (the payload), `type` (the event type without the service), `config` (the connection's
/// settings that are not secret, and `user_id`, whose account it is), and, where said, `context`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Conversation {
    /// What the agent needs to know: `repo, issue, user, text, url` as far as they apply, and what `reply` needs. The
    /// web addresses in `text` are added as `links`.
    pub context: JsonTemplate,
    /// What names the thread (an issue, a channel's thread) within the source. Sees `context`.
    pub thread: Template,
    /// True for events that the hub or another bot caused: they never reach the agent. Sees `context`.
    pub ignore: Template,
    /// What opens a conversation; the first rule that fits.
    pub start: Vec<StartRule>,
    /// Event types whose later events on an open thread join the conversation without a mention.
    #[serde(default)]
    pub follow_up: Vec<String>,
    /// Whose follow-ups are heard without a mention.
    #[serde(default)]
    pub follow_up_by: FollowUpBy,
    /// The check that the sender may command the agent.
    #[serde(default)]
    pub permission: Option<Permission>,
    /// How a sender who has connected no account of their own is asked to, where that is needed: the first whose `when` is
    /// true; they reach the agent once they did. `when` sees `context` and `config`, `inputs` sees `context` and `url`, which is
    /// good for ten minutes and for that user's account alone.
    #[serde(default)]
    pub link: Vec<LinkWay>,
    /// How people see at once that they are heard: the first whose `when` is true runs for each message that reaches
    /// the agent, once. Its failure changes nothing. Expressions see `context`.
    #[serde(default)]
    pub acknowledge: Vec<Acknowledgement>,
    /// How the messages before the one that opens a turn are read: the first whose `when` is true.
    #[serde(default)]
    pub history: Vec<History>,
    /// Ways to answer; the first whose `when` is true. Expressions see `context`, those of `inputs` also `message` and
    /// `status` (`progress`, `completed`, `failed`).
    pub reply: Vec<Reply>,
    /// Inputs of actions that an agent lists must equal these members of `context`, so that an agent that was
    /// talked into more cannot leave the conversation's own resource. An action without such an input is refused.
    pub resource: Vec<String>,
    /// The same for single actions whose inputs name the resource differently.
    #[serde(default)]
    pub resource_of: BTreeMap<String, Vec<String>>,
}

/// Whose follow-ups are heard without a mention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum FollowUpBy {
    /// Anybody's who may command the agent.
    #[default]
    Anyone,
    /// Only those of the user (`context.user`) whose message opened the turn.
    Author,
}

/// One way in which an event asks for the agent: its type fits, `when` is true, and, where it has any of
/// `mention_in` and `label`, one of them fits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct StartRule {
    /// The event types it is for, e.g. `issue_comment.created`; `*` stands for any characters.
    pub types: Vec<String>,
    /// What else must be true.
    #[serde(default)]
    pub when: Option<Template>,
    /// A text in which the agent is mentioned by name. Markdown code and quotes in it do not count.
    #[serde(default)]
    pub mention_in: Option<Template>,
    /// Other ways to write the agent's name in that text, e.g. by the id that the service gave it.
    #[serde(default)]
    pub mention_as: Vec<Template>,
    /// The text before an edit: a mention that was there already does not ask again.
    #[serde(default)]
    pub mention_before: Option<Template>,
    /// What names the message within its thread, where the service does not say what stood there before an edit: a
    /// message that asked, and was acknowledged, does not ask again.
    #[serde(default)]
    pub once: Option<Template>,
    /// A label that must be the agent's.
    #[serde(default)]
    pub label: Option<Label>,
}

/// The labels that an event sets.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Label {
    /// All that it sets: a name or a list of names or of objects with `id`, `name` or `title`.
    Set(Template),
    /// All that are set now, and those that were set before: what is in the first and not in the second counts.
    Added(AddedLabels),
}

/// Labels as two sets. Both are a name or a list of names, ids or objects with `id`, `name` or `title`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct AddedLabels {
    /// Those that are set now.
    pub now: Template,
    /// Those that were set before; null where the event did not change them.
    pub before: Template,
}

/// The check that the sender may command the agent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Permission {
    /// The action that answers it.
    pub action: String,
    /// Its inputs. Sees `context`.
    pub inputs: JsonTemplate,
    /// Whether its `result` is enough.
    pub allow: Template,
}

/// How a sender is asked to connect an account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct LinkWay {
    /// When it is the right one; always, where absent.
    #[serde(default)]
    pub when: Option<Template>,
    /// The action that sends the link.
    pub action: String,
    /// Its inputs.
    pub inputs: JsonTemplate,
    /// Settings of the connection that it makes, among the `parts` of `auth`: what a user's account needs and the app's does
    /// not.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// How a message that reaches the agent is acknowledged: by an action beside everything else, or in words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Acknowledgement {
    /// When it is the right one; always, where absent.
    #[serde(default)]
    pub when: Option<Template>,
    /// The action.
    #[serde(default)]
    pub action: Option<String>,
    /// Its inputs.
    #[serde(default)]
    pub inputs: Option<JsonTemplate>,
    /// What is said in place of an action, in the way of an answer: the progress that follows changes that message.
    #[serde(default)]
    pub say: Option<Template>,
}

/// How the thread so far is read. The agent gets the latest 20 messages, oldest first, each cut at 4,000 characters;
/// it gets none if they cannot be read now.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct History {
    /// When it is the right one; always, where absent. Sees `context`.
    #[serde(default)]
    pub when: Option<Template>,
    /// The action that lists them.
    pub action: String,
    /// Its inputs. Sees `context`.
    pub inputs: JsonTemplate,
    /// The list in its `result`, oldest first.
    pub items: Template,
    /// Which items are left out, e.g. the message itself. Sees `item` and `context`.
    #[serde(default)]
    pub skip: Option<Template>,
    /// What one `item` becomes: `{user, text, at}`.
    pub message: JsonTemplate,
}

/// One way to answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Reply {
    /// When it is the right one; always, where absent.
    #[serde(default)]
    pub when: Option<Template>,
    /// The action that carries the answer.
    pub action: String,
    /// Its inputs.
    pub inputs: JsonTemplate,
    /// Most characters of the message that the service takes; a longer one is shortened with a note, or split.
    pub max_chars: usize,
    /// Whether a longer message becomes several, in order; the last of ten is shortened with a note.
    #[serde(default)]
    pub split: bool,
    /// How a message that was written before is changed: then the progress of a turn is one message.
    #[serde(default)]
    pub edit: Option<Edit>,
}

/// How a message of the agent's is changed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Edit {
    /// The action that changes it; it should be idempotent.
    pub action: String,
    /// Its inputs. Sees `inputs`, those of a new message with the new text, and `result`, that of the message that
    /// is to be changed.
    pub inputs: JsonTemplate,
    /// Whether the end of a turn changes the message as well. A new one (the default) is what people are told of.
    #[serde(default)]
    pub result: bool,
}

impl Conversation {
    /// Compiles every expression and looks up every action.
    pub fn check(&self, manifest: &Manifest) -> Result<()> {
        self.context.check("/conversation/context")?;
        for (template, name) in [(&self.thread, "thread"), (&self.ignore, "ignore")] {
            named(template, &format!("/conversation/{name}"))?;
        }
        for (i, rule) in self.start.iter().enumerate() {
            rule.check(&format!("/conversation/start/{i}"))?;
        }
        if let Some(permission) = &self.permission {
            permission.inputs.check("/conversation/permission/inputs")?;
            named(&permission.allow, "/conversation/permission/allow")?;
            manifest.action(&permission.action)?;
        }
        for (i, way) in self.link.iter().enumerate() {
            way.inputs.check(&format!("/conversation/link/{i}/inputs"))?;
            optional(way.when.as_ref(), &format!("/conversation/link/{i}/when"))?;
            manifest.action(&way.action)?;
            let parts = manifest.auth.as_ref().map(|auth| auth.parts());
            if let Some(name) = way
                .config
                .keys()
                .find(|name| !parts.is_some_and(|p| p.contains_key(*name)))
            {
                return Err(Error::validation(format!(
                    "/conversation/link/{i}/config: `{name}` is no part of `auth`"
                )));
            }
        }
        for (i, way) in self.acknowledge.iter().enumerate() {
            way.check(&format!("/conversation/acknowledge/{i}"), manifest)?;
        }
        if self.acknowledge.is_empty() && self.start.iter().any(|rule| rule.once.is_some()) {
            return Err(Error::validation(
                "/conversation/start: `once` needs `acknowledge`, by which a message is remembered",
            ));
        }
        for (i, history) in self.history.iter().enumerate() {
            history.check(&format!("/conversation/history/{i}"))?;
            manifest.action(&history.action)?;
        }
        for (i, reply) in self.reply.iter().enumerate() {
            let at = format!("/conversation/reply/{i}");
            reply.inputs.check(&format!("{at}/inputs"))?;
            optional(reply.when.as_ref(), &format!("{at}/when"))?;
            manifest.action(&reply.action)?;
            if let Some(edit) = &reply.edit {
                edit.inputs.check(&format!("{at}/edit/inputs"))?;
                manifest.action(&edit.action)?;
            }
        }
        self.resource_of.keys().try_for_each(|a| manifest.action(a).map(|_| ()))
    }
}

impl StartRule {
    fn check(&self, at: &str) -> Result<()> {
        let texts = [&self.when, &self.mention_in, &self.mention_before, &self.once];
        for template in texts.into_iter().flatten().chain(&self.mention_as) {
            named(template, at)?;
        }
        match &self.label {
            None => Ok(()),
            Some(Label::Set(set)) => named(set, &format!("{at}/label")),
            Some(Label::Added(AddedLabels { now, before })) => {
                named(now, &format!("{at}/label/now"))?;
                named(before, &format!("{at}/label/before"))
            }
        }
    }
}

impl Acknowledgement {
    fn check(&self, at: &str, manifest: &Manifest) -> Result<()> {
        optional(self.when.as_ref(), &format!("{at}/when"))?;
        match (&self.action, &self.inputs, &self.say) {
            (Some(action), Some(inputs), None) => {
                inputs.check(&format!("{at}/inputs"))?;
                manifest.action(action).map(|_| ())
            }
            (None, None, Some(say)) => named(say, &format!("{at}/say")),
            _ => Err(Error::validation(format!(
                "{at}: needs `action` and `inputs`, or `say` alone"
            ))),
        }
    }
}

impl History {
    fn check(&self, at: &str) -> Result<()> {
        optional(self.when.as_ref(), &format!("{at}/when"))?;
        optional(self.skip.as_ref(), &format!("{at}/skip"))?;
        named(&self.items, &format!("{at}/items"))?;
        self.inputs.check(&format!("{at}/inputs"))?;
        self.message.check(&format!("{at}/message"))
    }
}

fn optional(template: Option<&Template>, at: &str) -> Result<()> {
    template.map_or(Ok(()), |t| named(t, at))
}

fn named(template: &Template, at: &str) -> Result<()> {
    template.check().map_err(|e| Error::validation(format!("{at}: {e}")))
}

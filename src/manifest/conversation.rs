//! The `conversation` part of a manifest: when an event asks for the agent, and how the answer finds its way back.

use super::Manifest;
use crate::error::{Error, Result};
use crate::template::{JsonTemplate, Template};
use serde::Deserialize;

/// When an event asks for the agent, and how the answer finds its way back.
///
/// Expressions see `body` (the payload), `type` (the event type without the service), `config` (the connection's
/// settings that are not secret), and, where said, `context`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Conversation {
    /// What the agent needs to know: `repo, issue, user, text, url` as far as they apply, and what `reply` needs.
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
    /// The check that the sender may command the agent.
    #[serde(default)]
    pub permission: Option<Permission>,
    /// Ways to answer; the first whose `when` is true. Expressions see `context` and `message`.
    pub reply: Vec<Reply>,
    /// Inputs of actions that an agent lists must equal these members of `context`, so that an agent that was
    /// talked into more cannot leave the conversation's own resource. An action without such an input is refused.
    pub resource: Vec<String>,
}

/// One way in which an event asks for the agent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct StartRule {
    /// The event types it is for, e.g. `issue_comment.created`.
    pub types: Vec<String>,
    /// A text in which the agent is mentioned by name. Markdown code and quotes in it do not count.
    #[serde(default)]
    pub mention_in: Option<Template>,
    /// A label that must be the agent's.
    #[serde(default)]
    pub label: Option<Template>,
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
    /// Most characters of the message that the service takes; a longer one is shortened with a note.
    pub max_chars: usize,
}

impl Conversation {
    /// Compiles every expression and looks up every action.
    pub fn check(&self, manifest: &Manifest) -> Result<()> {
        self.context.check("/conversation/context")?;
        for (template, name) in [(&self.thread, "thread"), (&self.ignore, "ignore")] {
            named(template, &format!("/conversation/{name}"))?;
        }
        for (i, rule) in self.start.iter().enumerate() {
            for template in rule.mention_in.iter().chain(&rule.label) {
                named(template, &format!("/conversation/start/{i}"))?;
            }
        }
        if let Some(permission) = &self.permission {
            permission.inputs.check("/conversation/permission/inputs")?;
            named(&permission.allow, "/conversation/permission/allow")?;
            manifest.action(&permission.action)?;
        }
        for (i, reply) in self.reply.iter().enumerate() {
            reply.inputs.check(&format!("/conversation/reply/{i}/inputs"))?;
            if let Some(when) = &reply.when {
                named(when, &format!("/conversation/reply/{i}/when"))?;
            }
            manifest.action(&reply.action)?;
        }
        Ok(())
    }
}

fn named(template: &Template, at: &str) -> Result<()> {
    template.check().map_err(|e| Error::validation(format!("{at}: {e}")))
}

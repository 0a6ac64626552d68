//! Whether an event asks for the agent, and where the answer goes: plain functions of the payload and the manifest.

use super::mention::mentions;
use crate::action::run::MARK;
use crate::error::{Error, Result};
use crate::manifest::conversation::{Conversation, Reply, StartRule};
use crate::template::Scope;
use serde_json::{Map, Value, json};

/// What an event means to the agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Interest {
    /// Nothing; the text says why, for a person.
    None(String),
    /// It asks for the agent.
    Asks {
        /// What names the thread within the source.
        thread: String,
    },
    /// It belongs to a thread; if that has a conversation, it joins it.
    MayFollow {
        /// What names the thread within the source.
        thread: String,
    },
}

/// How the agent is called.
#[derive(Debug, Clone)]
pub struct Names {
    /// What a text must hold, e.g. `@patchbay`.
    pub mention: String,
    /// The label.
    pub label: String,
}

/// What the mapping reads from a payload, without the members that are null.
pub fn context(spec: &Conversation, kind: &str, body: &Value, config: &Value) -> Result<Value> {
    let scope = Scope::new([("body", body), ("type", &json!(kind)), ("config", config)]);
    spec.context.value(&scope)
}

/// What an event of type `kind` (without the service) means to the agent.
pub fn interest(
    spec: &Conversation,
    kind: &str,
    body: &Value,
    config: &Value,
    context: &Value,
    names: &Names,
) -> Result<Interest> {
    let kind_value = json!(kind);
    let scope = Scope::new([
        ("body", body),
        ("type", &kind_value),
        ("config", config),
        ("context", context),
    ]);
    let follows = spec.follow_up.iter().any(|t| t == kind);
    if !follows && !spec.start.iter().any(|rule| applies(rule, kind)) {
        return Ok(Interest::None("this type of event does not ask for the agent".into()));
    }
    let text = context.get("text").and_then(Value::as_str).unwrap_or_default();
    if spec.ignore.truth(&scope)? || is_own(text) {
        return Ok(Interest::None("it comes from a bot or from the hub itself".into()));
    }
    let thread = spec.thread.text(&scope)?;
    for rule in spec.start.iter().filter(|rule| applies(rule, kind)) {
        if asks(rule, &scope, names)? {
            return Ok(Interest::Asks { thread });
        }
    }
    if follows {
        return Ok(Interest::MayFollow { thread });
    }
    Ok(Interest::None("the agent is not mentioned".into()))
}

fn applies(rule: &StartRule, kind: &str) -> bool {
    rule.types.iter().any(|t| t == kind)
}

fn asks(rule: &StartRule, scope: &Scope, names: &Names) -> Result<bool> {
    if let Some(text) = &rule.mention_in
        && mentions(&text.text(scope)?, &names.mention)
    {
        return Ok(true);
    }
    match &rule.label {
        Some(label) => Ok(label.text(scope)?.eq_ignore_ascii_case(&names.label)),
        None => Ok(false),
    }
}

/// Whether the hub wrote the text: its mark stands in it outside of quotes.
fn is_own(text: &str) -> bool {
    let unquoted = text.lines().filter(|l| !l.trim_start().starts_with('>'));
    unquoted.into_iter().any(|line| line.contains(&format!("<!-- {MARK}")))
}

/// The action and the inputs that carry `message` back to where the conversation's latest message came from.
pub fn reply<'a>(spec: &'a Conversation, context: &Value, message: &str) -> Result<(&'a str, Value)> {
    for way in &spec.reply {
        let message = json!(shortened(message, way));
        let scope = Scope::new([("context", context), ("message", &message)]);
        let fits = match &way.when {
            Some(when) => when.truth(&scope)?,
            None => true,
        };
        if fits {
            return Ok((&way.action, way.inputs.value(&scope)?));
        }
    }
    Err(Error::validation(
        "the conversation's service has no way to take a message here",
    ))
}

/// The message with an end that says so where it is too long for the service.
fn shortened(message: &str, way: &Reply) -> String {
    const NOTE: &str = "\n\n… (shortened)";
    if message.chars().count() <= way.max_chars {
        return message.to_owned();
    }
    let room = way.max_chars.saturating_sub(NOTE.chars().count());
    message.chars().take(room).chain(NOTE.chars()).collect()
}

/// Whether the inputs of an action stay within the conversation's own resource.
pub fn stays_within(spec: &Conversation, context: &Value, inputs: &Value) -> Result<()> {
    for name in &spec.resource {
        let own = context.get(name).filter(|v| !v.is_null());
        if own.is_none() || inputs.get(name) != own {
            return Err(Error::Forbidden(format!(
                "an action of this conversation must name its own `{name}`"
            )));
        }
    }
    Ok(())
}

/// What a person sees as the payload's context in lists: the members that HTTP-API names.
pub fn public_context(context: &Value, mention: bool) -> Value {
    let mut shown: Map<String, Value> = context.as_object().cloned().unwrap_or_default();
    shown.insert("mention".into(), json!(mention));
    Value::Object(shown)
}

//! Whether an event asks for the agent, and where the answer goes: plain functions of the payload and the manifest.

use super::label;
use super::length::parts;
use super::links::links;
use super::mention::mentions;
use crate::action::run::MARK;
use crate::error::{Error, Result};
use crate::manifest::conversation::{Acknowledgement, Conversation, History, Label, LinkWay, Reply, StartRule};
use crate::store::destination::glob_matches;
use crate::store::run::ANEW;
use crate::template::Scope;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Most messages of the thread so far that an agent gets.
const MAX_HISTORY: usize = 20;

/// Most characters of each.
const MAX_HISTORY_TEXT: usize = 4_000;

/// What an event means to the agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Interest {
    /// Nothing; the text says why, for a person.
    None(String),
    /// It asks for the agent.
    Asks {
        /// What names the thread within the source.
        thread: String,
        /// What names the message within the thread, if one that was heard before is not to ask again.
        once: Option<String>,
    },
    /// It belongs to a thread; if that has a conversation, it joins it.
    MayFollow {
        /// What names the thread within the source.
        thread: String,
    },
}

/// How far the agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Still at work.
    Progress,
    /// Done.
    Completed,
    /// Given up.
    Failed,
}

impl Stage {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// How the agent is called.
#[derive(Debug, Clone)]
pub struct Names {
    /// What a text must hold, e.g. `@patchbay`.
    pub mention: String,
    /// The label.
    pub label: String,
}

/// One run that says something.
#[derive(Debug, Clone, PartialEq)]
pub struct Say {
    /// The action.
    pub action: String,
    /// Its inputs.
    pub inputs: Value,
    /// What it has in common with an earlier message that it changes, if there is one; none: it is always a new one.
    pub place: Option<String>,
}

/// What the mapping reads from a payload, without the members that are null, and with the links in its text.
pub fn context(spec: &Conversation, kind: &str, body: &Value, config: &Value) -> Result<Value> {
    let scope = Scope::new([("body", body), ("type", &json!(kind)), ("config", config)]);
    let mut context = spec.context.value(&scope)?;
    let found = links(text_of(&context));
    if let Some(members) = context.as_object_mut().filter(|_| !found.is_empty()) {
        members.entry("links").or_insert_with(|| json!(found));
    }
    Ok(context)
}

fn text_of(context: &Value) -> &str {
    context.get("text").and_then(Value::as_str).unwrap_or_default()
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
    if spec.ignore.truth(&scope)? || is_own(text_of(context)) {
        return Ok(Interest::None("it comes from a bot or from the hub itself".into()));
    }
    let thread = spec.thread.text(&scope)?;
    for rule in spec.start.iter().filter(|rule| applies(rule, kind)) {
        if asks(rule, &scope, names)? {
            let once = rule.once.as_ref().map(|name| name.text(&scope)).transpose()?;
            let once = once.filter(|name| !name.is_empty());
            return Ok(Interest::Asks { thread, once });
        }
    }
    if follows {
        return Ok(Interest::MayFollow { thread });
    }
    Ok(Interest::None("the agent is not mentioned".into()))
}

fn applies(rule: &StartRule, kind: &str) -> bool {
    rule.types.iter().any(|t| glob_matches(t, kind))
}

fn asks(rule: &StartRule, scope: &Scope, names: &Names) -> Result<bool> {
    if let Some(when) = &rule.when
        && !when.truth(scope)?
    {
        return Ok(false);
    }
    if rule.mention_in.is_none() && rule.label.is_none() {
        return Ok(true);
    }
    Ok(is_mentioned(rule, scope, names)? || is_labelled(rule, scope, names)?)
}

fn is_mentioned(rule: &StartRule, scope: &Scope, names: &Names) -> Result<bool> {
    let Some(text) = &rule.mention_in else {
        return Ok(false);
    };
    let mut all = vec![names.mention.clone()];
    for other in &rule.mention_as {
        all.push(other.text(scope)?);
    }
    if !mentions(&text.text(scope)?, &all) {
        return Ok(false);
    }
    match &rule.mention_before {
        Some(before) => Ok(!mentions(&before.text(scope)?, &all)),
        None => Ok(true),
    }
}

fn is_labelled(rule: &StartRule, scope: &Scope, names: &Names) -> Result<bool> {
    let added = match &rule.label {
        None => return Ok(false),
        Some(Label::Set(set)) => label::names(&set.value(scope)?),
        Some(Label::Added(labels)) => label::added(&labels.now.value(scope)?, &labels.before.value(scope)?),
    };
    // A label's case is the service's matter; that of other scripts is folded as well.
    Ok(added
        .iter()
        .any(|name| name.to_lowercase() == names.label.to_lowercase()))
}

/// Whether the hub wrote the text: its mark stands in it outside of quotes.
fn is_own(text: &str) -> bool {
    let unquoted = text.lines().filter(|l| !l.trim_start().starts_with('>'));
    unquoted.into_iter().any(|line| line.contains(&format!("<!-- {MARK}")))
}

/// The runs that carry `message` back to where the conversation's latest message came from. `turn` is the
/// conversation's.
pub fn replies(spec: &Conversation, context: &Value, message: &str, turn: i64, stage: Stage) -> Result<Vec<Say>> {
    let way = reply_way(spec, context)?;
    let last = stage != Stage::Progress;
    let edits = way.edit.as_ref().is_some_and(|edit| !last || edit.result);
    let place = edits.then(|| place_of(way, context, turn)).transpose()?;
    let mut says = Vec::new();
    for (at, part) in parts(message, way.max_chars, way.split).into_iter().enumerate() {
        says.push(Say {
            action: way.action.clone(),
            inputs: inputs_for(way, context, &part, stage.as_str())?,
            place: place.clone().filter(|_| at == 0),
        });
    }
    Ok(says)
}

fn reply_way<'a>(spec: &'a Conversation, context: &Value) -> Result<&'a Reply> {
    let scope = Scope::new([("context", context)]);
    for way in &spec.reply {
        if way.when.as_ref().map_or(Ok(true), |when| when.truth(&scope))? {
            return Ok(way);
        }
    }
    Err(Error::validation(
        "the conversation's service has no way to take a message here",
    ))
}

fn inputs_for(way: &Reply, context: &Value, message: &str, status: &str) -> Result<Value> {
    way.inputs.value(&Scope::new([
        ("context", context),
        ("message", &json!(message)),
        ("status", &json!(status)),
    ]))
}

/// Where a message of this turn stands, whatever it says.
fn place_of(way: &Reply, context: &Value, turn: i64) -> Result<String> {
    let elsewhere = inputs_for(way, context, "", "")?;
    let digest = Sha256::digest(format!("{turn}|{}|{elsewhere}", way.action));
    Ok(hex::encode(digest))
}

/// How a message that reaches the agent in this turn is acknowledged, if it can be. What is said in words is a new
/// message that the turn's progress changes.
pub fn acknowledgement(spec: &Conversation, context: &Value, turn: i64) -> Result<Option<Say>> {
    let scope = Scope::new([("context", context)]);
    for way in &spec.acknowledge {
        if way.when.as_ref().map_or(Ok(true), |when| when.truth(&scope))? {
            return acknowledged(way, spec, context, turn);
        }
    }
    Ok(None)
}

fn acknowledged(way: &Acknowledgement, spec: &Conversation, context: &Value, turn: i64) -> Result<Option<Say>> {
    let scope = Scope::new([("context", context)]);
    if let Some(say) = &way.say {
        let says = replies(spec, context, &say.text(&scope)?, turn, Stage::Progress)?;
        let mut first = says.into_iter().next();
        if let Some(say) = &mut first {
            say.place = say.place.take().map(|place| format!("{ANEW}{place}"));
        }
        return Ok(first);
    }
    let (Some(action), Some(inputs)) = (&way.action, &way.inputs) else {
        return Ok(None);
    };
    Ok(Some(Say {
        action: action.clone(),
        inputs: inputs.value(&scope)?,
        place: None,
    }))
}

/// How the sender is asked to connect an account of their own, where that is needed.
pub fn link_way<'a>(spec: &'a Conversation, context: &Value, config: &Value) -> Result<Option<&'a LinkWay>> {
    let scope = Scope::new([("context", context), ("config", config)]);
    for way in &spec.link {
        if way.when.as_ref().map_or(Ok(true), |when| when.truth(&scope))? {
            return Ok(Some(way));
        }
    }
    Ok(None)
}

/// The sender's stable id at the service, where the mapping names one.
pub fn user_id(context: &Value) -> Option<String> {
    let id = context.get("user_id").filter(|id| !id.is_null())?;
    Some(id.as_str().map_or_else(|| id.to_string(), str::to_owned))
}

/// How the thread so far is read, if it can be.
pub fn history_of<'a>(spec: &'a Conversation, context: &Value) -> Result<Option<(&'a History, Value)>> {
    let scope = Scope::new([("context", context)]);
    for way in &spec.history {
        if way.when.as_ref().map_or(Ok(true), |when| when.truth(&scope))? {
            return Ok(Some((way, way.inputs.value(&scope)?)));
        }
    }
    Ok(None)
}

/// The latest messages of the thread so far, oldest first, as `{user, text, at}`.
pub fn history(spec: &History, context: &Value, result: &Value) -> Result<Value> {
    let items = spec
        .items
        .value(&Scope::new([("context", context), ("result", result)]))?;
    let mut messages = Vec::new();
    for item in items.as_array().into_iter().flatten() {
        let scope = Scope::new([("context", context), ("item", item)]);
        if spec.skip.as_ref().map_or(Ok(false), |skip| skip.truth(&scope))? {
            continue;
        }
        let mut message = spec.message.value(&scope)?;
        if let Some(text) = message.get_mut("text") {
            let whole = text.as_str().unwrap_or_default();
            *text = json!(parts(whole, MAX_HISTORY_TEXT, false).join(""));
        }
        messages.push(message);
    }
    let from = messages.len().saturating_sub(MAX_HISTORY);
    Ok(Value::Array(messages.split_off(from)))
}

/// Whether the inputs of an action stay within the conversation's own resource.
pub fn stays_within(spec: &Conversation, context: &Value, action: &str, inputs: &Value) -> Result<()> {
    for name in spec.resource_of.get(action).unwrap_or(&spec.resource) {
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

//! Replies that the protocol wants in place of the hub's own.

use super::view::{View, Words};
use super::{IncomingHook, KeyMaterial, Rejection, VerifiedHook, select};
use crate::http::{Headers, Method, Response};
use crate::manifest::webhook::{Replies, Reply, Text, Webhook};
use serde_json::Value;
use std::cell::OnceCell;

/// What is replied to a delivery, once it is stored, in place of 202, if the manifest says so. `path` is the path of the
/// request: some paths have replies of their own.
pub fn reply(spec: &Webhook, path: &str, keys: &KeyMaterial, hook: &VerifiedHook) -> Option<Response> {
    let replies = replies(spec, path);
    let view = hook.view(keys);
    let case = replies.cases.iter().find(|case| select::holds(&case.when, &view));
    let reply = case.map(|case| &case.reply).or(replies.accepted.as_ref())?;
    Some(with_reason(reply, None, 200))
}

/// What is replied to a refused delivery in place of the problem document, if the manifest says so. Faults of the
/// set-up stay what they are: a sender must not take them for a verdict.
pub fn refusal(spec: &Webhook, path: &str, rejection: &Rejection) -> Option<Response> {
    if rejection.is_our_fault() {
        return None;
    }
    let refused = replies(spec, path).refused.as_ref()?;
    Some(with_reason(refused, Some(&rejection.to_string()), 401))
}

fn replies<'s>(spec: &'s Webhook, path: &str) -> &'s Replies {
    spec.paths.get(path).unwrap_or(&spec.replies)
}

/// A reply that sees nothing of the delivery but the reason.
fn with_reason(reply: &Reply, reason: Option<&str>, status: u16) -> Response {
    let hook = IncomingHook {
        method: Method::Post,
        query: String::new(),
        headers: Headers::default(),
        body: Vec::new(),
    };
    let view = View {
        method: hook.method,
        query: &hook.query,
        headers: &hook.headers,
        body: &hook.body,
        document: &OnceCell::from(None),
        brief: None,
        form_field: None,
        keys: &KeyMaterial::default(),
        claims: None,
        item: None,
        words: Words {
            reason,
            ..Words::default()
        },
    };
    build(reply, &view, status)
}

/// A reply with its slots filled.
pub fn build(reply: &Reply, view: &View<'_>, status: u16) -> Response {
    let status = reply.status.unwrap_or(status);
    let mut response = match (&reply.json, &reply.text) {
        (Some(json), _) => Response::json(status, &fill_json(json, view)),
        (None, Some(text)) => Response::text(status, &view.fill(text).unwrap_or_default()),
        (None, None) => Response::empty(status),
    };
    for (name, text) in &reply.headers {
        // A line break in a value would be a header of the sender's own making.
        if let Some(value) = view
            .fill(text)
            .filter(|v| v.bytes().all(|b| (b' '..=b'~').contains(&b)))
        {
            response.headers.set(name, &value);
        }
    }
    response
}

/// JSON with the slots of its strings filled.
fn fill_json(value: &Value, view: &View<'_>) -> Value {
    match value {
        Value::String(text) => Text::try_from(text.clone())
            .ok()
            .and_then(|text| view.fill(&text))
            .map_or_else(|| value.clone(), Value::String),
        Value::Array(items) => Value::Array(items.iter().map(|item| fill_json(item, view)).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, item)| (name.clone(), fill_json(item, view)))
                .collect(),
        ),
        other => other.clone(),
    }
}

//! From a verified delivery to event drafts.

use super::digest::sha256_hex;
use super::view::{Brief, View, every};
use super::{KeyMaterial, VerifiedHook, window};
use crate::event::EventDraft;
use crate::http::Method;
use crate::manifest::webhook::{Event, Locator, Pointer, Text, Time, Webhook};
use crate::time::{SECOND, Timestamp};
use std::cell::OnceCell;

/// Longest delivery id that is kept as it is, in characters.
const MAX_ID: usize = 200;
/// Longest kind and subject, in characters; more is cut.
const MAX_TEXT: usize = 200;
/// Seconds for which an equal body without an id counts as the same delivery.
const DEFAULT_WINDOW_S: u32 = 300;

/// The events of a delivery: one, or one for each item of a batch (none for an empty one). A body that cannot be read
/// gives one of kind `unparsable`: it is kept, and the service has no reason to send it again.
pub fn drafts(spec: &Webhook, hook: &VerifiedHook, now: Timestamp) -> Vec<EventDraft> {
    let keys = KeyMaterial::default();
    let event = &spec.event;
    let (places, found) = (places(event), OnceCell::new());
    let view = View {
        // The items of a batch are kept whole.
        brief: event.items.is_none().then_some(Brief {
            places: &places,
            found: &found,
        }),
        ..hook.view(&keys)
    };
    if !view.is_readable() {
        let mut draft = draft(event, &view, now, hook.body());
        // A GET says everything in its query: that it has no body is nothing that could not be read.
        if hook.hook.method != Method::Get || !hook.body().is_empty() {
            "unparsable".clone_into(&mut draft.kind);
        }
        return vec![draft];
    };
    let items = match &event.items {
        Some(Locator::Body(at)) => view.document().and_then(|document| every(document, &at.0)),
        _ => None,
    };
    let Some(items) = items else {
        return vec![draft(event, &view, now, hook.body())];
    };
    let drafts = items.into_iter().enumerate().map(|(index, item)| {
        let text = item.to_string();
        let view = View {
            item: Some((index, item)),
            ..view
        };
        let mut draft = draft(event, &view, now, text.as_bytes());
        draft.item = Some(text);
        draft
    });
    drafts.collect()
}

/// Every place of the body that an event is made of.
fn places(event: &Event) -> Vec<&Pointer> {
    let texts = [&event.delivery_id, &event.r#type, &event.subject, &event.account];
    let slots = texts.into_iter().flat_map(|t| t.as_slice()).flat_map(Text::locators);
    let times = event.occurred_at.iter().flat_map(|time| time.from.as_slice());
    slots.chain(times).filter_map(pointer).collect()
}

fn pointer(locator: &Locator) -> Option<&Pointer> {
    match locator {
        Locator::Body(at) | Locator::Item(at) => Some(at),
        _ => None,
    }
}

/// One event. `bytes` is what it consists of, for services without an id.
fn draft(event: &Event, view: &View<'_>, now: Timestamp, bytes: &[u8]) -> EventDraft {
    let id = view.first(event.delivery_id.as_slice());
    let kind = view
        .first(event.r#type.as_slice())
        .unwrap_or_else(|| "event".to_owned());
    let kind = event.rename.get(&kind).cloned().unwrap_or(kind);
    EventDraft {
        delivery_id: id.map_or_else(|| hashed_id(event, bytes, now), short_id),
        kind: clean(&kind),
        subject: view.first(event.subject.as_slice()).map(|s| clean(&s)),
        account: view.first(event.account.as_slice()).map(|a| clean(&a)),
        occurred_at: event.occurred_at.as_ref().and_then(|time| occurred_at(time, view)),
        item: None,
    }
}

/// The id of a delivery that has none: its content, for a while.
fn hashed_id(event: &Event, bytes: &[u8], now: Timestamp) -> String {
    let window = i64::from(event.window_s.unwrap_or(DEFAULT_WINDOW_S).max(1)) * SECOND;
    format!("sha256:{}:{}", sha256_hex(bytes), now.0.div_euclid(window))
}

/// An id that fits an index entry.
fn short_id(id: String) -> String {
    if id.chars().count() > MAX_ID {
        return format!("sha256:{}", sha256_hex(id.as_bytes()));
    }
    id
}

/// A text for people and filters: no control characters, not longer than it may be.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

fn occurred_at(time: &Time, view: &View<'_>) -> Option<Timestamp> {
    let text = time.from.as_slice().iter().find_map(|l| view.find(l))?;
    window::read(&text, time.unit)
}

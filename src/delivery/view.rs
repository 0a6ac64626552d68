//! What a destination's own expressions and filters see of an event, and what they make of it.

use super::filter::Filter;
use crate::error::{Error, Result};
use crate::event::envelope;
use crate::store::destination::{Destination, Settings, Target};
use crate::store::event::Event;
use crate::template::{JsonTemplate, Scope, Template};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Longest order key that is kept as it is; a longer one is kept as its hash.
const MAX_KEY: usize = 200;

/// An event as a destination's settings see it: `event` is the envelope without its data.
pub struct View<'a> {
    event: Value,
    body: &'a Value,
    headers: Value,
}

impl<'a> View<'a> {
    /// The view of an event with its payload as JSON and its headers as JSON text.
    pub fn new(event: &Event, body: &'a Value, headers: &str) -> Self {
        Self {
            event: Value::Object(envelope::envelope(event)),
            body,
            headers: serde_json::from_str(headers).unwrap_or_else(|_| Value::Object(Map::new())),
        }
    }

    /// Whether the destination's filter lets it through.
    pub fn passes(&self, settings: &Settings) -> Result<bool> {
        let Some(filter) = &settings.filter else {
            return Ok(true);
        };
        let document = json!({"event": self.event, "body": self.body, "headers": self.headers});
        Ok(Filter::parse(filter, "/filter")?.matches(&document))
    }

    /// What it is ordered by among the destination's deliveries; none where no order is asked for, or the key is empty.
    pub fn order_key(&self, settings: &Settings) -> Result<Option<String>> {
        let Some(ordering) = &settings.ordering else {
            return Ok(None);
        };
        let key = Template::new(ordering).text(&self.scope())?;
        Ok(match key.len() {
            0 => None,
            1..=MAX_KEY => Some(key),
            _ => Some(format!("sha256:{}", hex::encode(Sha256::digest(key)))),
        })
    }

    /// The data that the destination gets instead of the payload, where it asks for another.
    pub fn data(&self, settings: &Settings) -> Result<Option<Value>> {
        let mapped = settings.payload.clone().map(JsonTemplate::from);
        mapped.map(|template| template.value(&self.scope())).transpose()
    }

    /// The inputs of the action that the destination is.
    pub fn inputs(&self, inputs: &Value) -> Result<Value> {
        JsonTemplate::from(inputs.clone()).value(&self.scope())
    }

    fn scope(&self) -> Scope {
        Scope::new([("event", &self.event), ("body", self.body), ("headers", &self.headers)])
    }
}

/// Checks what a destination's settings say for themselves; an error names the place.
pub fn check(destination: &Destination) -> Result<()> {
    let settings = &destination.settings;
    if let Some(filter) = &settings.filter {
        Filter::parse(filter, "/filter")?;
    }
    if let Some(payload) = &settings.payload {
        compiles(payload, "/payload")?;
    }
    if let Some(ordering) = &settings.ordering {
        let template = Template::new(ordering);
        template.check().map_err(|e| Error::invalid("/ordering", plain(&e)))?;
    }
    if let Some(Target::Action { inputs, .. }) = &settings.target {
        compiles(inputs, "/target/inputs")?;
    }
    Ok(())
}

fn compiles(template: &Value, at: &str) -> Result<()> {
    JsonTemplate::from(template.clone())
        .check("")
        .map_err(|e| Error::invalid(at, plain(&e)))
}

fn plain(error: &Error) -> String {
    error.to_string()
}

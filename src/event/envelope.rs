//! Events as CloudEvents 1.0 in JSON: what subscribers and the API's readers see.

use crate::id::{self, Kind};
use crate::store::event::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The envelope without the payload.
pub fn envelope(event: &Event) -> Map<String, Value> {
    let time = event.occurred_at.unwrap_or(event.received_at).rfc3339();
    let mut envelope = Map::new();
    envelope.insert("specversion".into(), json!("1.0"));
    envelope.insert("id".into(), json!(event.id));
    envelope.insert("source".into(), json!(source(event)));
    envelope.insert("type".into(), json!(event.r#type));
    envelope.insert("time".into(), json!(time));
    envelope.insert("deliveryid".into(), json!(event.delivery_id));
    envelope.insert("traceid".into(), json!(event.trace_id));
    // CloudEvents knows no null: what is not there is left out.
    for (name, value) in [("subject", &event.subject), ("connectionid", &event.connection_id)] {
        if let Some(value) = value {
            envelope.insert(name.into(), json!(value));
        }
    }
    envelope
}

/// The envelope with the payload.
pub fn with_data(event: &Event, body: &Value, payload: &[u8]) -> Value {
    let mut envelope = envelope(event);
    envelope.extend(data(event, body, payload));
    Value::Object(envelope)
}

/// The envelope's members for the payload: `body`, or, where that is null because the payload is no JSON, its bytes
/// in `data_base64`.
pub fn data(event: &Event, body: &Value, payload: &[u8]) -> [(String, Value); 2] {
    let media = |media: &str| ("datacontenttype".to_owned(), json!(media));
    if body.is_null() {
        let own = event.content_type.as_deref().unwrap_or("application/octet-stream");
        return [media(own), ("data_base64".to_owned(), json!(STANDARD.encode(payload)))];
    }
    [media("application/json"), ("data".to_owned(), body.clone())]
}

/// A URI reference that names where the event came in.
fn source(event: &Event) -> String {
    if id::is(Kind::Poll, &event.source) {
        return format!("/api/v1/polls/{}", event.source);
    }
    match &event.connection_id {
        Some(connection) => format!("/api/integration/{}/events/{connection}", event.service),
        None => format!("/api/integration/{}/events", event.service),
    }
}

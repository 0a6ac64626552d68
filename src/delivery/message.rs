//! The bodies that destinations receive.

use crate::event::envelope;
use crate::secret::Secret;
use crate::store::conversation::Conversation;
use crate::store::delivery::Message;
use crate::store::event::Event;
use crate::time::Timestamp;
use serde_json::{Value, json};

/// The body for a subscriber: the event as CloudEvents JSON.
pub fn event(event: &Event, payload: &[u8]) -> Vec<u8> {
    envelope::with_data(event, payload).to_string().into_bytes()
}

/// The body for an agent. The token is in it: it goes to the destination and nowhere else.
pub fn conversation(
    message: Message,
    conversation: &Conversation,
    event: &Event,
    payload: &[u8],
    context: &Value,
    callback_url: &str,
    token: &Secret,
    now: Timestamp,
) -> Vec<u8> {
    json!({
        "type": message.as_str(),
        "timestamp": now.rfc3339(),
        "data": {
            "conversation_id": conversation.id,
            "event": envelope::with_data(event, payload),
            "context": context,
            "owner": conversation.owner,
            "callback": { "url": callback_url, "token": token.expose() },
        },
    })
    .to_string()
    .into_bytes()
}

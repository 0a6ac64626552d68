//! The bodies that destinations receive.

use crate::event::envelope;
use crate::secret::Secret;
use crate::store::conversation::Conversation;
use crate::store::delivery::Message;
use crate::store::event::Event;
use crate::time::Timestamp;
use serde_json::{Value, json};

/// The body for a subscriber: the event as CloudEvents JSON, with `mapped` as its data where the destination asks for
/// other data than the payload. A replay says so.
pub fn event(event: &Event, body: &Value, payload: &[u8], mapped: Option<&Value>, replay: bool) -> Vec<u8> {
    let mut message = envelope::envelope(event);
    message.extend(envelope::data(event, mapped.unwrap_or(body), payload));
    if replay {
        message.insert("replay".into(), json!(true));
    }
    Value::Object(message).to_string().into_bytes()
}

/// What an agent is told.
#[expect(missing_docs, reason = "the fields are the message's own, see docs/agents.md")]
pub struct Letter<'a> {
    pub message: Message,
    pub conversation: &'a Conversation,
    pub event: &'a Event,
    pub body: &'a Value,
    pub payload: &'a [u8],
    pub context: &'a Value,
    pub thread: Option<&'a Value>,
    pub callback_url: &'a str,
    pub token: &'a Secret,
    pub now: Timestamp,
}

impl Letter<'_> {
    /// The message's body. The token is in it: it goes to the destination and nowhere else.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut letter = json!({
            "type": self.message.as_str(),
            "timestamp": self.now.rfc3339(),
            "data": {
                "conversation_id": self.conversation.id,
                "event": envelope::with_data(self.event, self.body, self.payload),
                "context": self.context,
                "owner": self.conversation.owner,
                "callback": { "url": self.callback_url, "token": self.token.expose() },
            },
        });
        if let (Some(thread), Some(data)) = (self.thread, letter.get_mut("data").and_then(Value::as_object_mut)) {
            data.insert("thread".into(), thread.clone());
        }
        letter.to_string().into_bytes()
    }
}

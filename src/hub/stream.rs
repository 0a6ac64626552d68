//! Events as they come, for a program that follows: server-sent events (WHATWG HTML, 9.2).

use super::Hub;
use crate::delivery::message;
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::store::search;
use crate::time::{SECOND, Timestamp};

/// How long a reply waits for an event, in milliseconds: a proxy or a client must not lose patience.
const PATIENCE: i64 = 25 * SECOND;

/// Statements of one reply: the free plan has 50. A search for one owner's events takes two.
const STATEMENTS: usize = 40;

/// Events of one reply, and bytes after which it ends.
const EVENTS: i64 = 20;
const BYTES: usize = 2_000_000;

/// How far the end of the stream stays behind: rows come in about, not exactly, the order of their ids. A statement may
/// wait a second for others to share its transaction with.
const LAG: i64 = 5 * SECOND;

impl Hub<'_> {
    /// What came behind the event `after`, or from now on: waits until there is something, and ends with it. The last
    /// id of the reply is where the next one begins.
    pub async fn follow(&self, owner: Option<&str>, after: Option<&str>) -> Result<String> {
        let begun = self.ports.host.now();
        let mut at = match after {
            Some(id) if id::is(Kind::Event, id) => id.to_owned(),
            Some(_) => return Err(Error::validation("`after` must be the id of an event")),
            None => end(begun),
        };
        // Clients come back at once: the waiting is done here.
        let mut text = "retry: 250\n\n".to_owned();
        let searches = if owner.is_some() { STATEMENTS / 2 } else { STATEMENTS };
        for _ in 0..searches {
            let until = self.ports.host.now() + -LAG;
            let found = search::behind(&self.ports, owner, &at, until, EVENTS).await?;
            for full in &found.rows {
                at.clone_from(&full.event.id);
                // One that cannot be read now must not end the stream: it is named without its data.
                let (body, payload) = self.document(full).await.unwrap_or_default();
                let message = message::event(&full.event, &body, &payload, None, false);
                let message = String::from_utf8_lossy(&message);
                text.push_str(&format!(
                    "id: {at}\nevent: {}\ndata: {message}\n\n",
                    line(&full.event.r#type)
                ));
                if text.len() > BYTES {
                    return Ok(text);
                }
            }
            // Only as far as was looked: what came meanwhile is for the next search, however long this one took.
            at = found.reached;
            let now = self.ports.host.now();
            if !found.rows.is_empty() || now.0 - begun.0 >= PATIENCE {
                break;
            }
            if !found.more {
                self.ports.timer.sleep(1_000).await;
            }
        }
        if !text.contains("\ndata: ") {
            // An id without data moves the client on without an event.
            text.push_str(&format!("id: {at}\n\n"));
        }
        Ok(text)
    }
}

/// The id behind which everything is still to come.
fn end(now: Timestamp) -> String {
    id::first_at(Kind::Event, now + -LAG)
}

/// A field's value stays on its line.
fn line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

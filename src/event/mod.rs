//! What a delivery becomes: an event, its envelope, and what it means to the agent.

pub mod agent;
pub mod envelope;
pub mod label;
pub mod length;
pub mod links;
pub mod mention;

use crate::time::Timestamp;

/// One event as the service's mapping read it from a verified delivery, before it has an id of the hub's own.
#[derive(Debug, Clone, PartialEq)]
pub struct EventDraft {
    /// The service's delivery or object id: what a second delivery of the same thing has in common with the first.
    pub delivery_id: String,
    /// `{event}.{action}` without the service's name, e.g. `issue_comment.created`; `unparsable` for a verified body
    /// that cannot be read.
    pub kind: String,
    /// What it is about, for people and search, e.g. `octo/repo#7`.
    pub subject: Option<String>,
    /// The account at the service that it belongs to (installation, workspace, tenant), where the service says so.
    pub account: Option<String>,
    /// When it happened, where the service says so.
    pub occurred_at: Option<Timestamp>,
    /// The item of a body that holds many events, as JSON text; none means the whole body.
    pub item: Option<String>,
}

//! Polling: services without webhooks become events, each item once, nothing missed.
//!
//! A run asks a [`Source`] for pages, lets [`progress::Progress`] decide what is new, and everything that follows from
//! that (events, cursor, what was seen, when it is due again, the claim's end) is written in one batch. A worker that
//! dies before it leaves nothing behind; after it, nothing to do. docs/polling.md has the reasoning.

pub mod budget;
pub mod keeper;
pub mod progress;
pub mod recover;
pub mod run;
pub mod schedule;
pub mod seen;
pub mod source;

use crate::error::Error;
use crate::store::poll::Poll;
use crate::time::Timestamp;
use async_trait::async_trait;
use progress::{Validators, Walk};
use serde_json::Value;

/// One thing that a poll found.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What makes it the same item when it is listed again; unique within the poll.
    pub id: String,
    /// The event's payload, as `output_schema` describes it.
    pub data: Value,
    /// What it is about, for people and search.
    pub subject: Option<String>,
    /// When it happened, as the service says.
    pub occurred_at: Option<Timestamp>,
}

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// What it lists, in the service's order.
    pub items: Vec<Item>,
    /// What asks for the next page; none after the last.
    pub next: Option<Value>,
    /// The new cursor. Of a handler it counts with each page, of a declared source with the last one.
    pub cursor: Option<Value>,
    /// The part of the poll whose items are remembered apart from others': a feed's URL, say.
    pub group: String,
    /// What to send with the next first page, so that the service can answer that nothing changed.
    pub validators: Option<Validators>,
    /// Whether the service said that nothing changed.
    pub unchanged: bool,
    /// Whether this part was not listed at all: it is in trouble, or its turn has not come. It then has no baseline yet.
    pub blank: bool,
    /// Milliseconds to wait until the next run that the service asks for.
    pub wait: Option<i64>,
    /// What went wrong with this page alone. The other pages go on.
    pub trouble: Option<Error>,
}

/// Where a source is asked to read on.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The source's own cursor; null at first.
    pub cursor: &'a Value,
    /// What the page before gave as `next`; null for the first page.
    pub next: &'a Value,
    /// Pages of this walk so far.
    pub number: u32,
    /// When this walk began.
    pub started: Timestamp,
    /// Items from this time on are wanted; none: all.
    pub since: Option<Timestamp>,
    /// What the last complete walk's first page was marked with, if it may be used.
    pub validators: Option<&'a Validators>,
    /// When the last complete walk began; none the first time.
    pub last_poll_ts: Option<Timestamp>,
}

impl<'a> At<'a> {
    /// The next page of a poll's walk.
    pub fn of(poll: &'a Poll, walk: &'a Walk, since: Option<Timestamp>, validators: Option<&'a Validators>) -> Self {
        Self {
            cursor: &poll.progress.cursor,
            next: walk.place(),
            number: walk.pages,
            started: walk.started,
            since,
            validators,
            last_poll_ts: poll.last_poll_ts,
        }
    }
}

/// Why there is no page.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// It may pass: later again.
    Failed {
        /// What went wrong.
        error: Error,
        /// Milliseconds that the service asks to wait.
        wait: Option<i64>,
    },
    /// The service no longer takes the cursor: begin anew, without it.
    Reset {
        /// Whether what happened since the last run cannot be listed any more.
        gap: bool,
    },
    /// The service no longer takes what named the next page: walk again from the first.
    PageLost,
    /// It is gone for good, and no later try helps.
    Gone(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let wait = error.retry_after_s().map(|s| i64::from(s) * 1_000);
        Self::Failed { error, wait }
    }
}

/// Something that lists items page by page.
#[async_trait(?Send)]
pub trait Source {
    /// One page.
    async fn page(&self, at: &At<'_>) -> Result<Page, Trouble>;
    /// How its lists behave.
    fn rules(&self) -> progress::Rules;
}

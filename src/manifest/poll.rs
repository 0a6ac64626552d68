//! The `polling_triggers` part of a manifest: lists that are asked from time to time, and what of them is an event.

use super::Schema;
use super::request::{RequestTemplate, named};
use super::response::{Pagination, ResponseTemplate};
use crate::error::{Error, Result};
use crate::interval;
use crate::template::{JsonTemplate, Template};
use serde::Deserialize;

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Order {
    /// New items come first: a page of nothing but known ones ends the walk.
    NewestFirst,
    /// New items come last, or anywhere: a walk goes to the end.
    #[default]
    Any,
}

/// One list that is polled: by a `request`, or by the `handler.rs` in the integration's folder where there is none.
/// Each new item becomes an event of the type `{service}.{trigger}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct PollingTrigger {
    /// What it finds, for people and agents.
    pub description: String,
    /// The vendor's page of the endpoint.
    #[serde(default)]
    pub docs: Option<String>,
    /// How often where a poll does not say: `30s` to `30d`.
    pub polling_interval: String,
    /// JSON Schema of the inputs.
    pub input_schema: Schema,
    /// JSON Schema of an item's data.
    #[serde(default = "anything")]
    pub output_schema: Schema,
    /// The request. Names: `inputs`, `config`, `account`, `page`, `cursor`, `since` (`rfc3339`, `s`, `ms`,
    /// `minutes_ago`; null where everything is asked for), `last_poll_ts` (RFC 3339, null the first time), and `etag`
    /// and `last_modified` of the last first page, for `if-none-match` and `if-modified-since`.
    #[serde(default)]
    pub request: Option<RequestTemplate>,
    /// How its reply is read.
    #[serde(default)]
    pub response: ResponseTemplate,
    /// How the list comes in pages. Each page is taken in by itself: `max_pages` and `max_items` do not count.
    #[serde(default)]
    pub pagination: Option<Pagination>,
    /// The list in `body`, where it does not come in pages.
    #[serde(default)]
    pub items: Option<Template>,
    /// How an item is read.
    #[serde(default)]
    pub item: ItemTemplate,
    /// The list's order.
    #[serde(default)]
    pub order: Order,
    /// Whether pages stay as they are while a walk over them goes on; a cursor's mostly do, counted ones do not.
    #[serde(default)]
    pub stable_pages: bool,
    /// How much older an item's time may be than those that came before it, as `10m`: so much earlier `since` lies.
    #[serde(default)]
    pub overlap: Option<String>,
    /// For services that hand out a place to go on from.
    #[serde(default)]
    pub cursor: Option<CursorRule>,
    /// A reply's header with the seconds to wait until the next poll.
    #[serde(default)]
    pub wait_header: Option<String>,
    /// For a list of what was sent to the webhook: each item that never arrived becomes the event that it would have been.
    /// `item.id` is then the delivery's id, and `item.time` is when it was sent.
    #[serde(default)]
    pub recovers: Option<Recovery>,
}

/// How a delivery that never arrived is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Recovery {
    /// Whether they are asked for as the app: with the assertion of `auth.token` itself in place of the token that it is
    /// exchanged for. Without a connection the Worker's settings are the app, and its own route's inbox is filled.
    #[serde(default)]
    pub app: bool,
    /// What asks for one delivery, where the list does not hold it whole. Names: `item`, `inputs`, `config`.
    #[serde(default)]
    pub request: Option<RequestTemplate>,
    /// The headers of the delivery, an object. Names: `item`, and `body` of the reply to `request`.
    #[serde(default)]
    pub headers: Option<JsonTemplate>,
    /// Its payload: text as it is, anything else as JSON. Names as for `headers`.
    pub payload: Template,
}

/// How an item is read. Names: `item`, `inputs`, `config`, `account`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct ItemTemplate {
    /// What makes it the same item when it is listed again; `item.id` where absent. For changes of a thing rather than
    /// things, with the change's time in it.
    #[serde(default)]
    pub id: Option<Template>,
    /// When it happened: RFC 3339 text, or a number of seconds or milliseconds since 1970.
    #[serde(default)]
    pub time: Option<Template>,
    /// What it is about.
    #[serde(default)]
    pub subject: Option<Template>,
    /// The event's payload; the whole item where absent.
    #[serde(default)]
    pub data: Option<JsonTemplate>,
}

/// A place to go on from that a service hands out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct CursorRule {
    /// How the first one is got, where that is a request of its own: the first run then lists nothing. Without it the
    /// first run walks over the whole list.
    #[serde(default)]
    pub start: Option<Start>,
    /// The new one in the reply to the last page (`body`, `headers`); null keeps the old one.
    pub next: Template,
    /// Statuses that say that it is no longer taken. Then the poll begins anew without it.
    #[serde(default)]
    pub reset_on: Vec<u16>,
}

/// How a first cursor is got.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Start {
    /// The request. Names as in the trigger's.
    pub request: RequestTemplate,
    /// The cursor in its reply (`body`, `headers`).
    pub value: Template,
}

fn anything() -> Schema {
    Schema::Bool(true)
}

impl PollingTrigger {
    /// Whether a first run can bring the latest items: not where it lists none.
    pub fn can_backfill(&self) -> bool {
        self.cursor.as_ref().is_none_or(|cursor| cursor.start.is_none())
    }

    /// Milliseconds by which `since` lies earlier.
    pub fn overlap_ms(&self) -> Result<Option<i64>> {
        self.overlap
            .as_deref()
            .map(|text| interval::parse(text, "/overlap"))
            .transpose()
    }

    /// Compiles every expression and checks what types cannot say; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        let refuse = |message: &str| Err(Error::validation(format!("{at}{message}")));
        interval::parse(&self.polling_interval, &format!("{at}/polling_interval"))?;
        self.overlap_ms()?;
        let Some(request) = &self.request else {
            return Ok(());
        };
        request.check(&format!("{at}/request"))?;
        self.response.check(&format!("{at}/response"))?;
        match (&self.pagination, &self.items) {
            (Some(pagination), None) => pagination.check(&format!("{at}/pagination"))?,
            (None, Some(items)) => named(Some(items), &format!("{at}/items"))?,
            _ => return refuse(": needs either `pagination` or `items`"),
        }
        self.item.check(&format!("{at}/item"))?;
        if let Some(recovers) = &self.recovers {
            recovers.check(&format!("{at}/recovers"))?;
            if self.item.time.is_none() || self.item.data.is_some() || self.cursor.is_some() {
                return refuse("/recovers: needs `item.time`, and neither `item.data` nor `cursor`");
            }
        }
        let asks_if_changed = request
            .headers
            .keys()
            .any(|name| name.to_ascii_lowercase().starts_with("if-"));
        if asks_if_changed && !self.response.accept.contains(&304) {
            return refuse("/response/accept: must hold 304, which the request's headers ask for");
        }
        if let Some(cursor) = &self.cursor {
            named(Some(&cursor.next), &format!("{at}/cursor/next"))?;
            if let Some(start) = &cursor.start {
                start.request.check(&format!("{at}/cursor/start/request"))?;
                named(Some(&start.value), &format!("{at}/cursor/start/value"))?;
            }
            if cursor
                .reset_on
                .iter()
                .any(|status| !self.response.accept.contains(status))
            {
                return refuse("/response/accept: must hold the statuses of `cursor.reset_on`");
            }
        }
        Ok(())
    }
}

impl Recovery {
    fn check(&self, at: &str) -> Result<()> {
        if let Some(request) = &self.request {
            request.check(&format!("{at}/request"))?;
        }
        if let Some(headers) = &self.headers {
            headers.check(&format!("{at}/headers"))?;
        }
        named(Some(&self.payload), &format!("{at}/payload"))
    }
}

impl ItemTemplate {
    fn check(&self, at: &str) -> Result<()> {
        named(self.id.as_ref(), &format!("{at}/id"))?;
        named(self.time.as_ref(), &format!("{at}/time"))?;
        named(self.subject.as_ref(), &format!("{at}/subject"))?;
        self.data
            .as_ref()
            .map_or(Ok(()), |data| data.check(&format!("{at}/data")))
    }
}

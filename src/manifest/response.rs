//! How a reply is read: what is a success, what is the result, what a refusal means, how there are more pages.

use super::request::named;
use crate::error::{Error, Result};
use crate::template::{JsonTemplate, Template};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How a reply becomes a result. Expressions see `body`, `status`, `headers` (by lower-case name) and the names of the
/// request; `data` also sees `items`, `more` and `page` where there are pages.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct ResponseTemplate {
    /// The result; the whole body where absent, of GraphQL its `data`.
    #[serde(default)]
    pub data: Option<JsonTemplate>,
    /// Statuses besides 2xx that are answers, not failures.
    #[serde(default)]
    pub accept: Vec<u16>,
    /// For services that say in a 200 that it went wrong: whether it went well. Of GraphQL: `not body.errors`.
    #[serde(default)]
    pub success: Option<Template>,
    /// What a refusal means.
    #[serde(default)]
    pub error: Option<ErrorTemplate>,
    /// What the body is read as.
    #[serde(default)]
    pub content: Content,
}

/// What a body is read as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Content {
    /// JSON; null where it is empty. Anything else is an error of the service.
    #[default]
    Json,
    /// JSON where it is that, else text.
    Any,
    /// Text (UTF-8).
    Text,
    /// Bytes, as base64.
    Base64,
}

/// How a refusal is read, of an action or of all actions of a service.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct ErrorTemplate {
    /// The service's own code of it.
    #[serde(default)]
    pub code: Option<Template>,
    /// The service's words.
    #[serde(default)]
    pub message: Option<Template>,
    /// What a code means; `*` is every other one. Without an entry the status decides.
    #[serde(default)]
    pub map: BTreeMap<String, Meaning>,
}

/// What a refusal means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Meaning {
    /// What was asked for is there already: a success.
    Done,
    /// Too many requests; nothing was done, a later try can succeed.
    RateLimited,
    /// Nothing was done, a later try can succeed.
    Temporary,
    /// It may have been done, in whole or in part; a later try can succeed.
    Unsettled,
    /// The account must be connected again.
    Reauth,
    /// The inputs are wrong.
    Invalid,
    /// The account may not do this.
    Forbidden,
    /// Refused for good.
    Refused,
}

/// How all replies of a service are read, unless an action says otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Replies {
    /// As in an action's `response`.
    #[serde(default)]
    pub success: Option<Template>,
    /// As in an action's `response`.
    #[serde(default)]
    pub error: Option<ErrorTemplate>,
}

/// How a list comes in pages. The request names `page.cursor`, `page.number` (from 1) or `page.offset` (items so far)
/// where it wants them: null on the first page, so that its parameter is left out, but for `number` and `offset`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Pagination {
    /// The page's items: a list in `body`.
    pub items: Template,
    /// How the next page is found.
    pub next: Next,
    /// Most pages of one call, 1 to 100. What is over it is left, and `more` is true.
    #[serde(default = "ten")]
    pub max_pages: u32,
    /// Most items of one call, 1 to 10,000.
    #[serde(default = "thousand")]
    pub max_items: usize,
}

/// How the next page is found.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Next {
    /// The `Link` header of this relation (RFC 8288), usually `next`.
    Link(String),
    /// A cursor in `body` or `headers`, as GraphQL's `endCursor`; null, false or empty ends the list.
    Cursor(Template),
    /// The next page's URL in `body`, absolute or a path on the same host; null ends the list.
    Url(Template),
    /// Pages are counted, or items are: a page of fewer items than this is the last.
    FullPage(usize),
}

fn ten() -> u32 {
    10
}

fn thousand() -> usize {
    1_000
}

impl ResponseTemplate {
    /// Compiles every expression; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        if let Some(data) = &self.data {
            data.check(&format!("{at}/data"))?;
        }
        named(self.success.as_ref(), &format!("{at}/success"))?;
        check_error(self.error.as_ref(), at)
    }
}

impl Replies {
    /// Compiles every expression; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        named(self.success.as_ref(), &format!("{at}/success"))?;
        check_error(self.error.as_ref(), at)
    }
}

impl Pagination {
    /// Compiles every expression and checks the bounds; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        named(Some(&self.items), &format!("{at}/items"))?;
        match &self.next {
            Next::Cursor(template) | Next::Url(template) => named(Some(template), &format!("{at}/next"))?,
            Next::Link(_) | Next::FullPage(_) => {}
        }
        if !(1..=100).contains(&self.max_pages) || !(1..=10_000).contains(&self.max_items) {
            return Err(Error::validation(format!(
                "{at}: `max_pages` is 1 to 100, `max_items` 1 to 10000"
            )));
        }
        Ok(())
    }
}

fn check_error(error: Option<&ErrorTemplate>, at: &str) -> Result<()> {
    let Some(error) = error else { return Ok(()) };
    named(error.code.as_ref(), &format!("{at}/error/code"))?;
    named(error.message.as_ref(), &format!("{at}/error/message"))
}

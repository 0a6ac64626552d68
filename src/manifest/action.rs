//! The `actions` part of a manifest: what can be asked of a service, as request and response templates.

use super::Schema;
use super::limit::Rate;
use super::request::named;
use super::response::{Pagination, ResponseTemplate};
use crate::error::{Error, Result};
use crate::http::Method;
use crate::template::Template;
use serde::Deserialize;

pub use super::request::RequestTemplate;

/// Most requests that one `each` makes.
pub const MAX_EACH: usize = 100;

/// One thing that can be asked of a service: by a `request`, by several (`steps`), by looking a delivery up (`event`),
/// or by the `handler.rs` in the integration's folder, where none of these is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Action {
    /// What it does, for people and agents.
    pub description: String,
    /// The vendor's page of the endpoint.
    #[serde(default)]
    pub docs: Option<String>,
    /// JSON Schema of the inputs; its defaults are applied.
    pub input_schema: Schema,
    /// JSON Schema of the result.
    #[serde(default = "anything")]
    pub output_schema: Schema,
    /// The request. Names: `inputs`, `config`, `account`, `run_id`, `run_uuid`, `marker`, `page`.
    #[serde(default)]
    pub request: Option<RequestTemplate>,
    /// Several requests one after the other; `response` then makes the result of `steps`, the results by name.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// A delivery that is looked up among the connection's verified events; no request is sent.
    #[serde(default)]
    pub event: Option<EventLookUp>,
    /// How the reply is read.
    #[serde(default)]
    pub response: ResponseTemplate,
    /// How the list comes in pages.
    #[serde(default)]
    pub pagination: Option<Pagination>,
    /// Whether doing it twice does no more than doing it once: because of what it is, or because the request carries
    /// `run_id` or `run_uuid` where the service takes an idempotency key. A GET always is.
    #[serde(default)]
    pub idempotent: bool,
    /// How to find out whether an earlier try, whose reply was lost, took effect. Without it, and if the action is
    /// not idempotent, a try that may have taken effect is not repeated.
    #[serde(default)]
    pub reconcile: Option<Reconcile>,
    /// Most calls of this action by one connection, as `100/min`.
    #[serde(default)]
    pub rate_limit: Option<Rate>,
    /// How long an equal call by the same connection may be answered with the same result. For reading alone.
    #[serde(default)]
    pub cache: Option<CacheRule>,
    /// Base URLs to try one after the other where the service cannot be reached, or answers with 5xx. For actions that
    /// can be repeated.
    #[serde(default)]
    pub fallback_urls: Vec<String>,
    /// JavaScript that turns the inputs into what is sent, for definitions posted at run time: `function
    /// transform(input)`. Its result replaces `inputs`.
    #[serde(default)]
    pub request_transform: Option<String>,
    /// JavaScript that turns the reply's body into the result.
    #[serde(default)]
    pub response_transform: Option<String>,
}

/// One request of several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Step {
    /// What later steps call its result: `steps.<name>`.
    pub name: String,
    /// Whether it is done at all; sees the steps before it. What is not done is null.
    #[serde(default)]
    pub when: Option<Template>,
    /// A list: the step is done for each element, which its templates see as `item`; its result is the list of results.
    /// At most 100.
    #[serde(default)]
    pub each: Option<Template>,
    /// The request. Names as in an action's, and `steps`.
    pub request: RequestTemplate,
    /// How its reply is read.
    #[serde(default)]
    pub response: ResponseTemplate,
    /// How its list comes in pages.
    #[serde(default)]
    pub pagination: Option<Pagination>,
}

/// A delivery that is looked up among the connection's verified events. `response` sees `event` (`id`, `type` without
/// the service's name, `body`).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct EventLookUp {
    /// The service's own id of the delivery.
    pub delivery_id: Template,
}

/// How long a result may be given again.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct CacheRule {
    /// Seconds, 1 to 86,400.
    pub ttl_s: u32,
}

/// How to look for the effect of an earlier try.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Reconcile {
    /// Whether it can be looked for at all; always, where absent. If not, the run's end is ambiguous. Names as in `request`.
    #[serde(default)]
    pub when: Option<Template>,
    /// The request that lists what may be there. Names as in the action's request, and `since`: when the run was
    /// made, as RFC 3339 text.
    pub request: RequestTemplate,
    /// The entry that the earlier try made, taken from `body`, or null. It then stands for the reply's `body`.
    pub found: Template,
}

fn anything() -> Schema {
    Schema::Bool(true)
}

impl Action {
    /// Whether repeating it does no harm: it says so, or all its requests only read.
    pub fn is_repeatable(&self) -> bool {
        let reads = |request: &RequestTemplate| request.method == Method::Get;
        let only_reads = match &self.request {
            Some(request) => reads(request),
            None => !self.steps.is_empty() && self.steps.iter().all(|s| reads(&s.request)),
        };
        self.idempotent || only_reads || self.event.is_some()
    }

    /// Compiles every expression and checks what types cannot say; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        let kinds = [self.request.is_some(), !self.steps.is_empty(), self.event.is_some()];
        if kinds.iter().filter(|there| **there).count() > 1 {
            let message = "has more than one of `request`, `steps` and `event`";
            return Err(Error::validation(format!("{at}: {message}")));
        }
        if let Some(request) = &self.request {
            request.check(&format!("{at}/request"))?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            step.check(&format!("{at}/steps/{index}"))?;
        }
        named(
            self.event.as_ref().map(|e| &e.delivery_id),
            &format!("{at}/event/delivery_id"),
        )?;
        self.response.check(&format!("{at}/response"))?;
        if let Some(pagination) = &self.pagination {
            pagination.check(&format!("{at}/pagination"))?;
        }
        if let Some(reconcile) = &self.reconcile {
            reconcile.request.check(&format!("{at}/reconcile/request"))?;
            named(reconcile.when.as_ref(), &format!("{at}/reconcile/when"))?;
            named(Some(&reconcile.found), &format!("{at}/reconcile/found"))?;
        }
        self.check_rules(at)
    }

    fn check_rules(&self, at: &str) -> Result<()> {
        let refuse = |message: &str| Err(Error::validation(format!("{at}{message}")));
        if let Some(cache) = &self.cache {
            let reads = self.request.as_ref().is_some_and(|r| r.method == Method::Get);
            if !reads || !(1..=86_400).contains(&cache.ttl_s) {
                return refuse("/cache: is for a GET, with `ttl_s` from 1 to 86400");
            }
        }
        if !self.fallback_urls.is_empty() && !self.is_repeatable() {
            return refuse("/fallback_urls: are for actions that can be repeated");
        }
        if self.fallback_urls.iter().any(|url| !url.starts_with("https://")) {
            return refuse("/fallback_urls: must begin with https://");
        }
        Ok(())
    }
}

impl Step {
    fn check(&self, at: &str) -> Result<()> {
        named(self.when.as_ref(), &format!("{at}/when"))?;
        named(self.each.as_ref(), &format!("{at}/each"))?;
        self.request.check(&format!("{at}/request"))?;
        self.response.check(&format!("{at}/response"))?;
        self.pagination
            .as_ref()
            .map_or(Ok(()), |p| p.check(&format!("{at}/pagination")))
    }
}

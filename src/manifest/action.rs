//! The `actions` part of a manifest: what can be asked of a service, as request and response templates.

use super::Schema;
use crate::error::{Error, Result};
use crate::http::Method;
use crate::template::{JsonTemplate, Template};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One thing that can be asked of a service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Action {
    /// What it does, for people and agents.
    pub description: String,
    /// The vendor's page of the endpoint.
    #[serde(default)]
    pub docs: Option<String>,
    /// JSON Schema of the inputs.
    pub input_schema: Schema,
    /// JSON Schema of the result.
    pub output_schema: Schema,
    /// The request. Names: `inputs`, `config`, `account`, `run_id`, `marker`.
    pub request: RequestTemplate,
    /// How the reply is read. Names: `body`, `status`, and those of the request.
    #[serde(default)]
    pub response: ResponseTemplate,
    /// Whether sending the request twice does no more than sending it once.
    #[serde(default)]
    pub idempotent: bool,
    /// How to find out whether an earlier try, whose reply was lost, took effect. Without it, and if the action is
    /// not idempotent, a try that may have taken effect is not repeated.
    #[serde(default)]
    pub reconcile: Option<Reconcile>,
}

/// A request as templates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct RequestTemplate {
    /// The method.
    pub method: Method,
    /// The path on the base URL; values are percent-encoded, with the filter `path` segment by segment.
    pub path: Template,
    /// Query parameters; null ones are left out.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// A JSON body.
    #[serde(default)]
    pub json: Option<JsonTemplate>,
}

/// How a reply becomes a result.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct ResponseTemplate {
    /// The result; the whole body where absent.
    #[serde(default)]
    pub data: Option<JsonTemplate>,
    /// Statuses besides 2xx that are answers, not failures.
    #[serde(default)]
    pub accept: Vec<u16>,
}

/// How to look for the effect of an earlier try.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Reconcile {
    /// The request that lists what may be there. Names as in the action's request, and `since`: when the run was
    /// made, as RFC 3339 text.
    pub request: RequestTemplate,
    /// The entry that the earlier try made, taken from `body`, or null. It then stands for the reply's `body`.
    pub found: Template,
}

impl Action {
    /// Compiles every expression; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        self.request.check(&format!("{at}/request"))?;
        if let Some(data) = &self.response.data {
            data.check(&format!("{at}/response/data"))?;
        }
        if let Some(reconcile) = &self.reconcile {
            reconcile.request.check(&format!("{at}/reconcile/request"))?;
            named(reconcile.found.check(), &format!("{at}/reconcile/found"))?;
        }
        Ok(())
    }
}

impl RequestTemplate {
    /// Compiles every expression; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        named(self.path.check(), &format!("{at}/path"))?;
        for (name, template) in self.query.iter().chain(&self.headers) {
            named(template.check(), &format!("{at}/{name}"))?;
        }
        self.json
            .as_ref()
            .map_or(Ok(()), |json| json.check(&format!("{at}/json")))
    }
}

fn named(result: Result<()>, at: &str) -> Result<()> {
    result.map_err(|e| Error::validation(format!("{at}: {e}")))
}

//! The `subscriptions` part of a manifest: what a service must be asked for before it sends webhooks, and asked again
//! before that ends.

use super::Schema;
use super::request::{RequestTemplate, named};
use crate::error::Result;
use crate::interval;
use crate::template::Template;
use serde::Deserialize;

/// A subscription that ends by itself and is kept alive: renewed when half its life is over.
///
/// Requests see `inputs`, `config`, `account`, `webhook_url` (where the service is to send), `webhook_secret` (what it is
/// to prove itself with, where the hub chooses that), `until` (RFC 3339: now and `life` more), and `id`, what the service
/// calls the subscription.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Subscription {
    /// What it brings, for people.
    pub description: String,
    /// The vendor's page of it.
    #[serde(default)]
    pub docs: Option<String>,
    /// JSON Schema of the inputs.
    pub input_schema: Schema,
    /// How long it lives where the reply does not say, as `30d`.
    pub life: String,
    /// The request that makes it.
    pub create: Ask,
    /// The question whether it is still there: where the service takes a renewal of what is gone for a good one. It is
    /// asked each day, before the renewal.
    #[serde(default)]
    pub check: Option<Check>,
    /// The request that makes it last; where absent, `create` once more does that.
    #[serde(default)]
    pub renew: Option<Ask>,
    /// The request that ends it.
    #[serde(default)]
    pub end: Option<RequestTemplate>,
}

/// A request, and what its reply (`body`, `headers`) says. A 404 or 410 to `renew` says that the subscription is gone,
/// and a new one is made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Ask {
    /// The request.
    pub request: RequestTemplate,
    /// What the service calls the subscription.
    #[serde(default)]
    pub id: Option<Template>,
    /// When it ends: RFC 3339 text, or a number of seconds or milliseconds since 1970.
    #[serde(default)]
    pub expires_at: Option<Template>,
    /// The webhook secret, where the service chooses it: it becomes the connection's.
    #[serde(default)]
    pub secret: Option<Template>,
}

/// A request, and whether its reply (`body`, `headers`, with `id`) shows the subscription. After a 404, a 410 or a reply
/// that does not, a new one is made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Check {
    /// The request.
    pub request: RequestTemplate,
    /// True where the subscription is still there.
    pub shows: Template,
}

impl Subscription {
    /// Compiles every expression and checks what types cannot say; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        interval::parse(&self.life, &format!("{at}/life"))?;
        self.create.check(&format!("{at}/create"))?;
        if let Some(check) = &self.check {
            check.request.check(&format!("{at}/check/request"))?;
            named(Some(&check.shows), &format!("{at}/check/shows"))?;
        }
        if let Some(renew) = &self.renew {
            renew.check(&format!("{at}/renew"))?;
        }
        self.end.as_ref().map_or(Ok(()), |end| end.check(&format!("{at}/end")))
    }
}

impl Ask {
    fn check(&self, at: &str) -> Result<()> {
        self.request.check(&format!("{at}/request"))?;
        named(self.id.as_ref(), &format!("{at}/id"))?;
        named(self.expires_at.as_ref(), &format!("{at}/expires_at"))?;
        named(self.secret.as_ref(), &format!("{at}/secret"))
    }
}

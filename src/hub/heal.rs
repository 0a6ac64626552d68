//! The self-healing inbox: deliveries that a service sent and that never arrived, read from its own list.

use super::Hub;
use crate::action::caller::{Exchange, Names, Tried};
use crate::error::{Error, Result};
use crate::event::EventDraft;
use crate::http::{Headers, Method};
use crate::manifest::poll::Recovery;
use crate::manifest::response::ResponseTemplate;
use crate::poll::Item;
use crate::poll::recover::{Inbox, Taken};
use crate::poll::source::Listing;
use crate::store::event::{self, Arrival};
use crate::store::poll::Poll;
use crate::trace;
use crate::webhook::{self, IncomingHook, VerifiedHook};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Names the poll that brought an event, among the event's headers.
const RECOVERED_BY: &str = "x-patchbay-recovered-by";

/// Statuses of a delivery that the service has forgotten since it listed it.
const GONE: [u16; 2] = [404, 410];

/// The inbox of a webhook, for what comes late.
pub(super) struct Late<'a> {
    pub(super) hub: &'a Hub<'a>,
    pub(super) listing: &'a Listing<'a>,
    pub(super) rule: &'a Recovery,
    /// The poll that looks.
    pub(super) poll: Poll,
}

impl Late<'_> {
    fn app(&self) -> String {
        format!("app:{}", self.listing.manifest.name)
    }

    /// Whose deliveries these are: the connection's, whose account answers for them, and for nobody else's; or, where the
    /// Worker's own settings ask, the app's.
    fn source(&self) -> String {
        self.poll.connection_id.clone().unwrap_or_else(|| self.app())
    }

    /// One delivery whole, as the service answers for it; null where the list holds it, none where it is gone.
    async fn details(&self, sent: &Item) -> Result<Option<Value>> {
        let Some(request) = &self.rule.request else {
            return Ok(Some(Value::Null));
        };
        let exchange = Exchange {
            name: self.listing.part,
            request,
            response: &ResponseTemplate {
                accept: GONE.to_vec(),
                ..ResponseTemplate::default()
            },
            pagination: None,
            fallback_urls: &[],
        };
        let names: Names<'_> = vec![("inputs", self.listing.inputs), ("item", &sent.data)];
        let caller = self.listing.caller();
        match caller.attempt_page(exchange, &names, None).await? {
            Tried::Done(answer) => Ok(Some(answer.parts)
                .filter(|parts| GONE.iter().all(|gone| parts.status != json!(gone)))
                .map(|parts| parts.body)),
            Tried::Refused(error) => Err(error),
            Tried::Again(again) => Err(caller.error_of(&again)),
        }
    }

    /// One delivery read as the webhook would have read it; none where it is gone.
    async fn read(&self, sent: &Item) -> Result<Option<(VerifiedHook, Headers, Vec<EventDraft>)>> {
        let Some(details) = self.details(sent).await? else {
            return Ok(None);
        };
        let spec = super::receive::webhook_of(self.listing.manifest)?;
        let hook = self.rebuilt(sent, &details)?;
        let headers = hook.headers.clone();
        let hook = VerifiedHook::vouched_for(hook);
        let drafts = webhook::drafts(spec, &hook, self.hub.ports.host.now());
        if drafts.iter().all(|draft| draft.delivery_id != sent.id) {
            let detail = format!("`{}` names other ids than its webhook has", self.listing.part);
            return Err(Error::Internal(detail));
        }
        Ok(Some((hook, headers, drafts)))
    }

    /// The delivery as it would have come.
    fn rebuilt(&self, sent: &Item, details: &Value) -> Result<IncomingHook> {
        let scope =
            self.listing
                .credential
                .scope(&[("inputs", self.listing.inputs), ("item", &sent.data), ("body", details)]);
        let fields = self.rule.headers.as_ref().map(|h| h.value(&scope)).transpose()?;
        let fields = fields.as_ref().and_then(Value::as_object);
        let mut headers: Headers = Headers::from_pairs(
            fields
                .into_iter()
                .flatten()
                .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))),
        );
        headers.set(RECOVERED_BY, &self.poll.id);
        let body = match self.rule.payload.value(&scope)? {
            Value::String(text) => text,
            Value::Null => return Err(Error::Upstream("a delivery of the list has no payload".into())),
            json => json.to_string(),
        };
        Ok(IncomingHook {
            method: Method::Post,
            query: String::new(),
            headers,
            body: body.into_bytes(),
        })
    }
}

/// Where the day's budget is used up, the rest waits as it does for a quota: that is no failure.
fn later(error: Error) -> Error {
    match error {
        Error::Temporary { retry_after_s, .. } => Error::RateLimit { retry_after_s },
        other => other,
    }
}

#[async_trait(?Send)]
impl Inbox for Late<'_> {
    async fn arrived(&self, ids: &[&str]) -> Result<HashSet<String>> {
        // A service that sends to both routes must not be heard twice.
        event::arrived(&self.hub.ports, [&self.source(), &self.app()], ids).await
    }

    async fn take(&self, sent: &Item) -> Result<Taken> {
        let manifest = self.listing.manifest;
        let (hook, headers, drafts) = match self.read(sent).await {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(Taken::Nothing),
            Err(error @ (Error::RateLimit { .. } | Error::ReauthRequired(_))) => return Err(error),
            Err(error) => return Ok(Taken::Failed(error)),
        };
        let source = self.source();
        let trace_id = trace::random(self.hub.ports.host);
        let arrival = Arrival {
            service: &manifest.name,
            source: &source,
            connection_id: self.poll.connection_id.as_deref(),
            owner: self.poll.owner.as_deref(),
            trace_id: &trace_id,
            headers: &headers,
            content_type: Some("application/json"),
        };
        let payload = hook.into_body();
        self.hub
            .admit(&source, drafts.len(), payload.len())
            .await
            .map_err(later)?;
        let stored = event::insert_all(&self.hub.ports, &arrival, &drafts, payload).await?;
        for new in stored.iter().filter(|s| !s.duplicate) {
            self.hub.call(&new.id).await;
        }
        Ok(match stored.iter().any(|s| !s.duplicate) {
            true => Taken::Stored,
            false => Taken::Nothing,
        })
    }
}

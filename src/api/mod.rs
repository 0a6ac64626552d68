//! HTTP in: routes as data, who may call them, and replies. Natively testable; no framework.

mod account_links;
mod actions;
mod audit;
mod callback;
mod connections;
mod cors;
mod definitions;
mod deliveries;
mod destinations;
mod document;
mod encryption_keys;
mod events;
mod input;
mod instances;
mod integrations;
mod invite;
mod keys;
mod limit;
mod operations;
mod polls;
mod principal;
mod problems;
mod rejections;
mod repeat;
mod replays;
pub mod route;
mod runs;
mod sign_in;
mod strict;
mod subscriptions;

use crate::credential::reference;
use crate::error::{Error, Result};
use crate::http::{Head, Method, Response};
use crate::hub::Hub;
use crate::ports::{Body, Ports};
use crate::{problem, trace};
use principal::{Principal, authenticate};
use repeat::Asked;
use route::{Access, Matched, Route};
use serde_json::json;
use std::cell::Cell;

/// Answers a request: the reply is complete, problems included, and one log line is written.
pub async fn handle(ports: &Ports<'_>, head: &Head, body: &dyn Body) -> Response {
    let started = ports.host.now();
    let trace_id = trace::of(&head.headers, ports.host);
    let matched = route::find(head.method, &head.path);
    let name = matched.as_ref().ok().map(|m| m.route.name);
    let pattern = matched.as_ref().map_or("-", |m| m.route.pattern);
    let limited = Cell::new(false);
    let outcome = match &matched {
        Ok(matched) => respond(ports, head, body, matched, &trace_id, &limited).await,
        Err(error) => Err(error.clone()),
    };
    let code = outcome.as_ref().err().map(Error::code);
    if let Err(error @ (Error::Internal(_) | Error::Temporary { .. })) = &outcome {
        ports
            .host
            .log(&json!({"level": "error", "trace_id": trace_id, "code": code, "message": error.to_string()}));
    }
    let mut response = outcome.unwrap_or_else(|error| problem::respond(&error, &trace_id));
    if let Some(matched) = matched.as_ref().ok().filter(|_| limited.get()) {
        limit::describe(matched.route, &mut response);
    }
    finish(&mut response, head, &trace_id);
    if name != Some(Route::Receive) {
        cors::apply(ports.host, head, &mut response);
    }
    ports.host.log(&json!({
        "trace_id": trace_id,
        "method": head.method.as_str(),
        "route": pattern,
        "service": matched.as_ref().map(|m| m.param("service")).ok().filter(|s| !s.is_empty()),
        "connection_id": matched.as_ref().map(|m| m.param("connection_id")).ok().filter(|s| !s.is_empty()),
        "status": response.status,
        "code": code,
        "ms": ports.host.now().0 - started.0,
    }));
    response
}

/// One request of a known route.
struct Call<'a> {
    hub: Hub<'a>,
    head: &'a Head,
    body: &'a dyn Body,
    matched: &'a Matched<'a>,
    trace_id: &'a str,
    principal: Principal,
}

/// `limited` becomes true where it is the hub's own limit that the call met, and not a service's behind it.
async fn respond(
    ports: &Ports<'_>,
    head: &Head,
    body: &dyn Body,
    matched: &Matched<'_>,
    trace_id: &str,
    limited: &Cell<bool>,
) -> Result<Response> {
    if head.method == Method::Options && matched.route.name != Route::Receive {
        return Ok(options(&matched.allow));
    }
    let principal = match matched.route.access {
        Access::Open => Principal::NOBODY,
        Access::Needs(scope) => authenticate(ports, head, scope).await?,
    };
    let checked = limit::check(ports, matched.route, &principal).await;
    checked.inspect_err(|_| limited.set(true))?;
    let call = Call {
        hub: Hub::new(*ports),
        head,
        body,
        matched,
        trace_id,
        principal,
    };
    if matched.route.keeps_replies()
        && let Some(key) = repeat::key(head)?
    {
        let claim = match repeat::ask(&call, key).await? {
            Asked::Replayed(response) => return Ok(response),
            Asked::Claimed(claim) => claim,
        };
        let body = &claim.body;
        let call = Call { body, ..call };
        let outcome = answer(&call).await;
        claim.end(&call, &outcome).await;
        return outcome;
    }
    answer(&call).await
}

async fn answer(call: &Call<'_>) -> Result<Response> {
    match call.matched.route.name {
        Route::Health => Ok(operations::health()),
        Route::Ready => operations::ready(call).await,
        Route::Receive => call.receive().await,
        Route::Callback => callback::create(call).await,
        Route::ListEvents => events::list(call).await,
        Route::ShowEvent => events::show(call).await,
        Route::EventPayload => events::payload(call).await,
        Route::Metrics => operations::metrics(call).await,
        Route::StreamEvents => events::stream(call).await,
        Route::ChangeEvent => events::change(call).await,
        Route::ReplayEvent => replays::one(call).await,
        Route::ReplayEvents => replays::many(call).await,
        Route::ListReplays => replays::list(call).await,
        Route::ShowReplay => replays::show(call).await,
        Route::CancelReplay => replays::cancel(call).await,
        Route::ListAudit => audit::list(call).await,
        Route::VerifyAudit => audit::verify(call).await,
        Route::ListDeliveries => deliveries::list(call).await,
        Route::RetryDelivery => deliveries::retry(call).await,
        Route::CreateDestination => destinations::create(call).await,
        Route::ListDestinations => destinations::list(call).await,
        Route::ShowDestination => destinations::show(call).await,
        Route::ChangeDestination => destinations::change(call).await,
        Route::DeleteDestination => destinations::delete(call).await,
        Route::CreateConnection => connections::create(call).await,
        Route::ListConnections => connections::list(call).await,
        Route::ShowConnection => connections::show(call).await,
        Route::ChangeConnection => connections::change(call).await,
        Route::DeleteConnection => connections::delete(call).await,
        Route::ListIntegrations => integrations::list(call).await,
        Route::ShowIntegration => integrations::show(call).await,
        Route::CreateDefinition => definitions::create(call).await,
        Route::ListDefinitions => definitions::list(call).await,
        Route::DeleteDefinition => definitions::delete(call).await,
        Route::ListRejections => rejections::list(call).await,
        Route::ReleaseRejection => rejections::release(call).await,
        Route::Explain => rejections::explain(call).await,
        Route::ActConnection => actions::of_connection(call).await,
        Route::ActBatch => actions::batch(call).await,
        Route::ActIntegration => actions::of_integration(call).await,
        Route::ExecuteMethod => actions::execute(call).await,
        Route::ListRuns => runs::list(call).await,
        Route::ShowRun => runs::show(call).await,
        Route::CreateKey => keys::create(call).await,
        Route::ListKeys => keys::list(call).await,
        Route::ShowKey => keys::show(call).await,
        Route::ChangeKey => keys::change(call).await,
        Route::RollKey => keys::roll(call).await,
        Route::DeleteKey => keys::delete(call).await,
        Route::OpenApi => Ok(document::show()),
        Route::ShowProblem => problems::show(call),
        Route::StartSignIn => sign_in::start(call).await,
        Route::FinishSignIn => sign_in::finish(call).await,
        Route::StartDevice => sign_in::start_device(call).await,
        Route::FinishDevice => sign_in::finish_device(call).await,
        Route::ConnectionHealth => sign_in::health(call).await,
        Route::CreateInstance => instances::create(call).await,
        Route::ListInstances => instances::list(call).await,
        Route::ShowInstance => instances::show_one(call).await,
        Route::ChangeInstance => instances::change(call).await,
        Route::CreateConnectLink => invite::create(call).await,
        Route::Depart => invite::depart(call).await,
        Route::Arrive => invite::arrive(call).await,
        Route::CreateAccountLink => account_links::create(call).await,
        Route::ListAccountLinks => account_links::list(call).await,
        Route::DeleteAccountLink => account_links::delete(call).await,
        Route::ListEncryptionKeys => encryption_keys::list(call).await,
        Route::RotateEncryptionKeys => encryption_keys::rotate(call).await,
        Route::CreatePoll => polls::create(call).await,
        Route::ListPolls => polls::list(call).await,
        Route::ShowPoll => polls::show(call).await,
        Route::ChangePoll => polls::change(call).await,
        Route::DeletePoll => polls::delete(call).await,
        Route::RunPoll => polls::run(call).await,
        Route::CreateSubscription => subscriptions::create(call).await,
        Route::ListSubscriptions => subscriptions::list(call).await,
        Route::ShowSubscription => subscriptions::show(call).await,
        Route::DeleteSubscription => subscriptions::delete(call).await,
        Route::RenewSubscription => subscriptions::renew(call).await,
    }
}

impl Call<'_> {
    /// The path parameter of this name; empty if the route has none.
    fn param(&self, name: &str) -> &str {
        self.matched.param(name)
    }

    /// Who calls, for the audit log.
    fn actor(&self) -> &str {
        &self.principal.name
    }

    /// Whose rows a list is narrowed to; none means everyone's.
    fn owner(&self) -> Option<&str> {
        self.principal.owner.as_deref()
    }

    /// Whether the caller may see a row of this owner. Another's row is answered like one that is not there.
    fn sees(&self, owner: Option<&str>) -> bool {
        self.owner().is_none_or(|own| owner == Some(own))
    }

    /// The owner of a row that the caller makes: its own where it has one, else the one that it names.
    fn owner_of_new(&self, named: Option<String>) -> Result<Option<String>> {
        match (self.owner(), named) {
            (None, named) => Ok(named),
            (Some(own), Some(named)) if own != named => Err(Error::Forbidden(format!(
                "this key acts for `{own}` alone; leave `owner` out, or name that one"
            ))),
            (Some(own), _) => Ok(Some(own.to_owned())),
        }
    }

    /// Refuses settings that hold a reference to a secret of the Worker's, unless the caller may do what concerns everyone:
    /// who says where a connection's requests go could else read any of them.
    fn check_may_refer(&self, config: &serde_json::Map<String, serde_json::Value>) -> Result<()> {
        let refers = |value: &serde_json::Value| value.as_str().is_some_and(reference::is_text);
        if !self.principal.admin && config.values().any(refers) {
            let why =
                "a `secret://` reference stands for a secret of the Worker's: it needs a key with the scope `admin`";
            return Err(Error::Forbidden(why.into()));
        }
        Ok(())
    }

    async fn receive(&self) -> Result<Response> {
        let connection = Some(self.param("connection_id")).filter(|id| !id.is_empty());
        let service = self.param("service");
        let received = self
            .hub
            .receive(service, connection, self.head, self.body, self.trace_id)
            .await;
        match received {
            // A few protocols shake hands with OPTIONS; for the others it is the usual question.
            Err(Error::MethodNotAllowed { allow }) if self.head.method == Method::Options => Ok(options(&allow)),
            other => other,
        }
    }
}

fn options(allow: &str) -> Response {
    let mut response = Response::empty(204);
    response.headers.set("allow", allow);
    response
}

/// What every reply carries.
fn finish(response: &mut Response, head: &Head, trace_id: &str) {
    let headers = &mut response.headers;
    headers.set("x-trace-id", trace_id);
    headers.set("x-content-type-options", "nosniff");
    headers.set("referrer-policy", "no-referrer");
    if headers.get("content-security-policy").is_none() {
        headers.set("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    }
    headers.set("strict-transport-security", "max-age=31536000");
    if headers.get("cache-control").is_none() {
        headers.set("cache-control", "no-store");
    }
    if head.method == Method::Head {
        response.body.clear();
    }
}

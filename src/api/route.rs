//! The routes, as data.

use crate::error::{Error, Result};
use crate::http::Method;
pub use crate::store::key::Scope;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody; what it takes is proved otherwise (a signature, a callback token) or is no secret.
    Open,
    /// Whoever has the admin token, or a key with this scope.
    Needs(Scope),
}

/// What a route does. `openapi/` describes each; a test sees to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is described in `openapi/`")]
pub enum Route {
    Health,
    Ready,
    Receive,
    Callback,
    ListEvents,
    ShowEvent,
    EventPayload,
    Metrics,
    StreamEvents,
    ChangeEvent,
    ReplayEvent,
    ReplayEvents,
    ListReplays,
    ShowReplay,
    CancelReplay,
    ListAudit,
    VerifyAudit,
    ListDeliveries,
    RetryDelivery,
    CreateDestination,
    ListDestinations,
    ShowDestination,
    ChangeDestination,
    DeleteDestination,
    CreateConnection,
    ListConnections,
    ShowConnection,
    ChangeConnection,
    DeleteConnection,
    StartSignIn,
    FinishSignIn,
    StartDevice,
    FinishDevice,
    ConnectionHealth,
    CreateInstance,
    ListInstances,
    ShowInstance,
    ChangeInstance,
    CreateConnectLink,
    Depart,
    Arrive,
    CreateAccountLink,
    ListAccountLinks,
    DeleteAccountLink,
    ListIntegrations,
    ShowIntegration,
    ActConnection,
    ActBatch,
    ActIntegration,
    ExecuteMethod,
    ListRuns,
    ShowRun,
    CreatePoll,
    ListPolls,
    ShowPoll,
    ChangePoll,
    DeletePoll,
    RunPoll,
    CreateSubscription,
    ListSubscriptions,
    ShowSubscription,
    DeleteSubscription,
    RenewSubscription,
    CreateDefinition,
    ListDefinitions,
    DeleteDefinition,
    ListRejections,
    ReleaseRejection,
    Explain,
    ListEncryptionKeys,
    RotateEncryptionKeys,
    CreateKey,
    ListKeys,
    ShowKey,
    ChangeKey,
    RollKey,
    DeleteKey,
    OpenApi,
    ShowProblem,
}

impl Entry {
    /// Whether an `Idempotency-Key` makes a call safe to repeat by keeping its reply. The callback has a ledger of its
    /// own, which knows what was done.
    pub fn keeps_replies(&self) -> bool {
        // Calls of actions have a ledger of their own, which knows more: whether one whose answer was lost took effect.
        let own = matches!(
            self.name,
            Route::ActConnection | Route::ActIntegration | Route::ExecuteMethod
        );
        self.method == Method::Post && matches!(self.access, Access::Needs(_)) && !own
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Entry {
    /// The method; `GET` stands for `HEAD` too.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub pattern: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does.
    pub name: Route,
}

const fn entry(method: Method, pattern: &'static str, access: Access, name: Route) -> Entry {
    Entry {
        method,
        pattern,
        access,
        name,
    }
}

use Access::{Needs, Open};
use Method::{Delete, Get, Patch, Post};
use Scope::{ActionsExecute, Admin, ConnectionsRead, ConnectionsWrite, EventsRead, EventsWrite};

/// Every route. Deliveries come first: they are most of the traffic.
pub static ROUTES: &[Entry] = &[
    entry(Post, "/api/integration/{service}/events", Open, Route::Receive),
    entry(
        Post,
        "/api/integration/{service}/events/{connection_id}",
        Open,
        Route::Receive,
    ),
    entry(Post, "/webhooks/{service}", Open, Route::Receive),
    entry(Post, "/webhooks/{service}/", Open, Route::Receive),
    entry(Post, "/api/v1/webhooks", Open, Route::Callback),
    entry(Get, "/healthz", Open, Route::Health),
    entry(Get, "/readyz", Open, Route::Ready),
    entry(Get, "/api/v1/events", Needs(EventsRead), Route::ListEvents),
    entry(Get, "/metrics", Needs(Admin), Route::Metrics),
    entry(Get, "/api/v1/events/stream", Needs(EventsRead), Route::StreamEvents),
    entry(Get, "/api/v1/events/{id}", Needs(EventsRead), Route::ShowEvent),
    entry(
        Get,
        "/api/v1/events/{id}/payload",
        Needs(EventsRead),
        Route::EventPayload,
    ),
    entry(Patch, "/api/v1/events/{id}", Needs(EventsWrite), Route::ChangeEvent),
    entry(
        Post,
        "/api/v1/events/{id}/replay",
        Needs(EventsWrite),
        Route::ReplayEvent,
    ),
    entry(Post, "/api/v1/events/replay", Needs(EventsWrite), Route::ReplayEvents),
    entry(Get, "/api/v1/replays", Needs(EventsRead), Route::ListReplays),
    entry(Get, "/api/v1/replays/{id}", Needs(EventsRead), Route::ShowReplay),
    entry(
        Post,
        "/api/v1/replays/{id}/cancel",
        Needs(EventsWrite),
        Route::CancelReplay,
    ),
    entry(Get, "/api/v1/audit", Needs(Admin), Route::ListAudit),
    entry(Get, "/api/v1/audit/verify", Needs(Admin), Route::VerifyAudit),
    entry(Get, "/api/v1/deliveries", Needs(EventsRead), Route::ListDeliveries),
    entry(
        Post,
        "/api/v1/deliveries/{id}/retry",
        Needs(EventsWrite),
        Route::RetryDelivery,
    ),
    entry(
        Post,
        "/api/v1/destinations",
        Needs(EventsWrite),
        Route::CreateDestination,
    ),
    entry(Get, "/api/v1/destinations", Needs(EventsRead), Route::ListDestinations),
    entry(
        Get,
        "/api/v1/destinations/{id}",
        Needs(EventsRead),
        Route::ShowDestination,
    ),
    entry(
        Patch,
        "/api/v1/destinations/{id}",
        Needs(EventsWrite),
        Route::ChangeDestination,
    ),
    entry(
        Delete,
        "/api/v1/destinations/{id}",
        Needs(EventsWrite),
        Route::DeleteDestination,
    ),
    entry(
        Post,
        "/api/v1/connections",
        Needs(ConnectionsWrite),
        Route::CreateConnection,
    ),
    entry(
        Get,
        "/api/v1/connections",
        Needs(ConnectionsRead),
        Route::ListConnections,
    ),
    entry(
        Get,
        "/api/v1/connections/{id}",
        Needs(ConnectionsRead),
        Route::ShowConnection,
    ),
    entry(
        Patch,
        "/api/v1/connections/{id}",
        Needs(ConnectionsWrite),
        Route::ChangeConnection,
    ),
    entry(
        Delete,
        "/api/v1/connections/{id}",
        Needs(ConnectionsWrite),
        Route::DeleteConnection,
    ),
    entry(
        Get,
        "/api/v1/integrations",
        Needs(ConnectionsRead),
        Route::ListIntegrations,
    ),
    entry(
        Get,
        "/api/v1/integrations/{name}",
        Needs(ConnectionsRead),
        Route::ShowIntegration,
    ),
    entry(
        Post,
        "/api/v1/integration-definitions",
        Needs(Admin),
        Route::CreateDefinition,
    ),
    entry(
        Get,
        "/api/v1/integration-definitions",
        Needs(Admin),
        Route::ListDefinitions,
    ),
    entry(
        Delete,
        "/api/v1/integration-definitions/{id}",
        Needs(Admin),
        Route::DeleteDefinition,
    ),
    entry(Get, "/api/v1/rejections", Needs(Admin), Route::ListRejections),
    entry(
        Post,
        "/api/v1/rejections/{id}/release",
        Needs(Admin),
        Route::ReleaseRejection,
    ),
    entry(Post, "/api/v1/webhooks/explain", Needs(Admin), Route::Explain),
    entry(
        Post,
        "/api/v1/connections/{id}/actions/{action}",
        Needs(ActionsExecute),
        Route::ActConnection,
    ),
    entry(
        Post,
        "/api/v1/connections/{id}/actions",
        Needs(ActionsExecute),
        Route::ActBatch,
    ),
    entry(
        Post,
        "/api/v1/integrations/{name}/actions/{action}",
        Needs(ActionsExecute),
        Route::ActIntegration,
    ),
    entry(
        Post,
        "/api/v1/integration-instances/{id}/methods/{method}/execute",
        Needs(ActionsExecute),
        Route::ExecuteMethod,
    ),
    entry(Get, "/api/v1/runs", Needs(ActionsExecute), Route::ListRuns),
    entry(Get, "/api/v1/runs/{id}", Needs(ActionsExecute), Route::ShowRun),
    entry(Post, "/api/v1/keys", Needs(Admin), Route::CreateKey),
    entry(Get, "/api/v1/keys", Needs(Admin), Route::ListKeys),
    entry(Get, "/api/v1/keys/{id}", Needs(Admin), Route::ShowKey),
    entry(Patch, "/api/v1/keys/{id}", Needs(Admin), Route::ChangeKey),
    entry(Post, "/api/v1/keys/{id}/roll", Needs(Admin), Route::RollKey),
    entry(Delete, "/api/v1/keys/{id}", Needs(Admin), Route::DeleteKey),
    entry(Get, "/openapi.json", Open, Route::OpenApi),
    entry(Get, "/problems/{code}", Open, Route::ShowProblem),
    entry(
        Post,
        "/api/v1/connections/{id}/auth/oauth2/start",
        Needs(ConnectionsWrite),
        Route::StartSignIn,
    ),
    entry(
        Post,
        "/api/v1/connections/{id}/auth/oauth2/callback",
        Needs(ConnectionsWrite),
        Route::FinishSignIn,
    ),
    entry(
        Post,
        "/api/v1/connections/{id}/auth/oauth2/device",
        Needs(ConnectionsWrite),
        Route::StartDevice,
    ),
    entry(
        Post,
        "/api/v1/connections/{id}/auth/oauth2/device/poll",
        Needs(ConnectionsWrite),
        Route::FinishDevice,
    ),
    entry(
        Get,
        "/api/v1/connections/{id}/health",
        Needs(ConnectionsRead),
        Route::ConnectionHealth,
    ),
    entry(
        Post,
        "/api/v1/integration-instances/{id}/auth/oauth2/start",
        Needs(ConnectionsWrite),
        Route::StartSignIn,
    ),
    entry(
        Post,
        "/api/v1/integration-instances/{id}/auth/oauth2/callback",
        Needs(ConnectionsWrite),
        Route::FinishSignIn,
    ),
    entry(
        Post,
        "/api/v1/integration-instances/{id}/auth/oauth2/device",
        Needs(ConnectionsWrite),
        Route::StartDevice,
    ),
    entry(
        Post,
        "/api/v1/integration-instances/{id}/auth/oauth2/device/poll",
        Needs(ConnectionsWrite),
        Route::FinishDevice,
    ),
    entry(
        Get,
        "/api/v1/integration-instances/{id}/health",
        Needs(ConnectionsRead),
        Route::ConnectionHealth,
    ),
    entry(
        Post,
        "/api/v1/integration-instances",
        Needs(ConnectionsWrite),
        Route::CreateInstance,
    ),
    entry(
        Get,
        "/api/v1/integration-instances",
        Needs(ConnectionsRead),
        Route::ListInstances,
    ),
    entry(
        Get,
        "/api/v1/integration-instances/{id}",
        Needs(ConnectionsRead),
        Route::ShowInstance,
    ),
    entry(
        Patch,
        "/api/v1/integration-instances/{id}",
        Needs(ConnectionsWrite),
        Route::ChangeInstance,
    ),
    entry(
        Delete,
        "/api/v1/integration-instances/{id}",
        Needs(ConnectionsWrite),
        Route::DeleteConnection,
    ),
    entry(
        Post,
        "/api/v1/connect-links",
        Needs(ConnectionsWrite),
        Route::CreateConnectLink,
    ),
    entry(Get, "/oauth/connect/{token}", Open, Route::Depart),
    entry(Get, "/oauth/callback", Open, Route::Arrive),
    entry(Post, "/api/v1/account-links", Needs(Admin), Route::CreateAccountLink),
    entry(Get, "/api/v1/account-links", Needs(Admin), Route::ListAccountLinks),
    entry(
        Delete,
        "/api/v1/account-links/{id}",
        Needs(Admin),
        Route::DeleteAccountLink,
    ),
    entry(Get, "/api/v1/encryption-keys", Needs(Admin), Route::ListEncryptionKeys),
    entry(
        Post,
        "/api/v1/encryption-keys/rotate",
        Needs(Admin),
        Route::RotateEncryptionKeys,
    ),
    entry(Post, "/api/v1/polls", Needs(ConnectionsWrite), Route::CreatePoll),
    entry(Get, "/api/v1/polls", Needs(ConnectionsRead), Route::ListPolls),
    entry(Get, "/api/v1/polls/{id}", Needs(ConnectionsRead), Route::ShowPoll),
    entry(Patch, "/api/v1/polls/{id}", Needs(ConnectionsWrite), Route::ChangePoll),
    entry(Delete, "/api/v1/polls/{id}", Needs(ConnectionsWrite), Route::DeletePoll),
    entry(Post, "/api/v1/polls/{id}/run", Needs(ConnectionsWrite), Route::RunPoll),
    entry(
        Post,
        "/api/v1/subscriptions",
        Needs(ConnectionsWrite),
        Route::CreateSubscription,
    ),
    entry(
        Get,
        "/api/v1/subscriptions",
        Needs(ConnectionsRead),
        Route::ListSubscriptions,
    ),
    entry(
        Get,
        "/api/v1/subscriptions/{id}",
        Needs(ConnectionsRead),
        Route::ShowSubscription,
    ),
    entry(
        Delete,
        "/api/v1/subscriptions/{id}",
        Needs(ConnectionsWrite),
        Route::DeleteSubscription,
    ),
    entry(
        Post,
        "/api/v1/subscriptions/{id}/renew",
        Needs(ConnectionsWrite),
        Route::RenewSubscription,
    ),
    entry(Get, "/", Open, Route::Health),
];

/// A route that fits a request.
#[derive(Debug)]
pub struct Matched<'a> {
    /// The line of the table.
    pub route: &'static Entry,
    /// The methods of this path, for `Allow`.
    pub allow: String,
    params: Vec<(&'static str, &'a str)>,
}

impl Matched<'_> {
    /// The path parameter of this name; empty if the route has none.
    pub fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, value)| value)
    }
}

/// The route of a request: 404 where no path fits, 405 with `Allow` where only the method does not.
pub fn find(method: Method, path: &str) -> Result<Matched<'_>> {
    let wanted = if method == Method::Head { Method::Get } else { method };
    // Which methods a webhook comes with is for its manifest to say: a few services shake hands with GET or OPTIONS.
    let fits = |entry: &Entry| entry.method == wanted || entry.name == Route::Receive;
    let found = fitting(path)
        .find(|(entry, params)| fits(entry) && (entry.name == Route::Receive || !is_named(path, params.len())));
    if let Some((route, params)) = found {
        let allow = String::new();
        return Ok(Matched { route, allow, params });
    }
    let allow = allowed(path);
    match closest(path).next() {
        Some((route, params)) if method == Method::Options => Ok(Matched { route, allow, params }),
        Some(_) => Err(Error::MethodNotAllowed { allow }),
        None => Err(Error::NotFound("route of this path; the README lists them".into())),
    }
}

fn fitting(path: &str) -> impl Iterator<Item = (&'static Entry, Vec<(&'static str, &str)>)> {
    ROUTES
        .iter()
        .filter_map(move |entry| Some((entry, params(entry.pattern, path)?)))
}

/// Whether a line names this path with fewer parameters: `/events/replay` is no event's id.
fn is_named(path: &str, parameters: usize) -> bool {
    parameters > 0 && fitting(path).any(|(_, params)| params.len() < parameters)
}

/// The lines that fit a path with the fewest parameters.
fn closest(path: &str) -> impl Iterator<Item = (&'static Entry, Vec<(&'static str, &str)>)> {
    fitting(path).filter(move |(_, params)| !is_named(path, params.len()))
}

fn params<'a>(pattern: &'static str, path: &'a str) -> Option<Vec<(&'static str, &'a str)>> {
    let mut found = Vec::new();
    let mut segments = path.split('/');
    for part in pattern.split('/') {
        let segment = segments.next()?;
        match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => found.push((name, segment)),
            None if part == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(found)
}

fn allowed(path: &str) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for (entry, _) in closest(path) {
        methods.push(entry.method.as_str());
        if entry.method == Method::Get {
            methods.push("HEAD");
        }
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_find_their_route() {
        let found = |method, path| find(method, path).map(|m| m.route.name);
        assert_eq!(found(Method::Post, "/api/integration/x/events"), Ok(Route::Receive));
        assert_eq!(found(Method::Head, "/healthz"), Ok(Route::Health));
        assert_eq!(
            find(Method::Get, "/api/v1/events/evt_1/payload").map(|m| m.param("id").to_owned()),
            Ok("evt_1".to_owned())
        );
        for path in [
            "/api/v1/event",
            "/api/v1/events/",
            "/api/v1/events/a/b",
            "//healthz",
            "",
        ] {
            assert!(matches!(found(Method::Get, path), Err(Error::NotFound(_))), "{path}");
        }
        // What is named is not an id.
        let allow = "GET, HEAD, OPTIONS".to_owned();
        assert_eq!(
            found(Method::Patch, "/api/v1/events/stream"),
            Err(Error::MethodNotAllowed { allow })
        );
        let allow = "GET, HEAD, PATCH, DELETE, OPTIONS".to_owned();
        assert_eq!(
            found(Method::Put, "/api/v1/destinations/x"),
            Err(Error::MethodNotAllowed { allow })
        );
    }
}

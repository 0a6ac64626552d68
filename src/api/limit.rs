//! How often a caller may call: by key, and by what a route costs. The platform counts, where limits are bound; its
//! count is kept per place and is not exact.

use super::principal::Principal;
use super::route::{Access, Entry, Scope};
use crate::error::{Error, Result};
use crate::http::{Method, Response};
use crate::ports::Ports;

/// A limit, as `wrangler.toml` binds it.
struct Limit {
    /// The binding.
    name: &'static str,
    /// Calls in a period.
    calls: u32,
    /// Seconds.
    period_s: u32,
}

const READS: Limit = Limit {
    name: "API_READS",
    calls: 1_200,
    period_s: 60,
};
const WRITES: Limit = Limit {
    name: "API_WRITES",
    calls: 300,
    period_s: 60,
};
const ACTIONS: Limit = Limit {
    name: "API_ACTIONS",
    calls: 300,
    period_s: 60,
};

/// What a route counts as; none for those that are open.
fn limit_of(route: &Entry) -> Option<&'static Limit> {
    match (route.access, route.method) {
        (Access::Open, _) => None,
        (_, Method::Get) => Some(&READS),
        (Access::Needs(Scope::ActionsExecute), _) => Some(&ACTIONS),
        _ => Some(&WRITES),
    }
}

/// Counts a call, and refuses it where it is one too many.
pub async fn check(ports: &Ports<'_>, route: &Entry, caller: &Principal) -> Result<()> {
    let Some(limit) = limit_of(route) else {
        return Ok(());
    };
    if ports.limiter.allows(limit.name, &caller.name).await {
        return Ok(());
    }
    let retry_after_s = limit.period_s;
    Err(Error::RateLimit { retry_after_s })
}

/// Says in the reply to such a call which limit it met.
pub fn describe(route: &Entry, response: &mut Response) {
    if let Some(limit) = limit_of(route) {
        let headers = &mut response.headers;
        headers.set("ratelimit-limit", &limit.calls.to_string());
        headers.set("ratelimit-remaining", "0");
        headers.set("ratelimit-reset", &limit.period_s.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bindings_are_those_of_the_configuration() {
        let configuration = include_str!("../../wrangler.toml");
        for limit in [&READS, &WRITES, &ACTIONS] {
            let (name, calls, period_s) = (limit.name, limit.calls, limit.period_s);
            let section = configuration
                .split("[[ratelimits]]")
                .find(|s| s.contains(&format!("name = \"{name}\"")));
            let section = section.unwrap_or_else(|| panic!("wrangler.toml does not bind {name}"));
            let simple = format!("simple = {{ limit = {calls}, period = {period_s} }}");
            assert!(section.contains(&simple), "{name}: {simple}");
        }
    }
}

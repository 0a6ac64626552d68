//! The Worker's settings, typed. The README's table says what each is for.

use crate::action::egress;
use crate::error::{Error, Result};
use crate::ports::Host;
use crate::secret::Secret;
use serde_json::json;

/// Bearer token of the management API.
pub const ADMIN_TOKEN: &str = "PATCHBAY_ADMIN_TOKEN";
/// The origin that services and browsers use.
pub const PUBLIC_URL: &str = "PATCHBAY_PUBLIC_URL";
/// Lets outgoing requests reach private addresses; for local use.
pub const ALLOW_PRIVATE_NETWORK: &str = "PATCHBAY_ALLOW_PRIVATE_NETWORK";
/// The resolver that is asked what a name resolves to before something is sent there.
pub const DNS_URL: &str = "PATCHBAY_DNS_URL";
/// Most bytes of a webhook.
pub const MAX_BODY_BYTES: &str = "PATCHBAY_MAX_BODY_BYTES";
/// What a text must hold to ask for the agent.
pub const AGENT_MENTION: &str = "PATCHBAY_AGENT_MENTION";
/// Where sign-ins may send browsers and codes.
pub const REDIRECT_URIS: &str = "PATCHBAY_REDIRECT_URIS";
/// The label that asks for the agent.
pub const AGENT_LABEL: &str = "PATCHBAY_AGENT_LABEL";

/// Origins of pages that may call the management API.
pub const CORS_ORIGINS: &str = "PATCHBAY_CORS_ORIGINS";

/// How long requests that were refused are kept, encrypted, in hours.
pub const KEEP_REJECTED_HOURS: &str = "PATCHBAY_KEEP_REJECTED_HOURS";

/// Days for which events are kept, with their payloads and deliveries.
pub const EVENT_RETENTION_DAYS: &str = "PATCHBAY_EVENT_RETENTION_DAYS";
/// Days for which runs of actions and ended conversations are kept.
pub const RUN_RETENTION_DAYS: &str = "PATCHBAY_RUN_RETENTION_DAYS";
/// Days for which the audit log is kept.
pub const AUDIT_RETENTION_DAYS: &str = "PATCHBAY_AUDIT_RETENTION_DAYS";

/// Events that one source may bring per minute and isolate.
pub const EVENTS_PER_MINUTE: &str = "PATCHBAY_EVENTS_PER_MINUTE";
/// Rows of D1 that may be written per day (UTC) before deliveries are put off.
pub const DAILY_ROWS: &str = "PATCHBAY_DAILY_ROWS";
/// Values of KV that may be written per day (UTC) before deliveries that need one are put off.
pub const DAILY_KV_WRITES: &str = "PATCHBAY_DAILY_KV_WRITES";
/// Requests to the outside and statements that one tick of cron may make for polls.
pub const SUBREQUESTS: &str = "PATCHBAY_SUBREQUESTS";

/// The free plan's limit. The paid plan's is 1,000 statements and 10,000 requests.
const FREE_SUBREQUESTS: usize = 50;

/// Longest that [`KEEP_REJECTED_HOURS`] can be.
const MAX_KEEP_HOURS: u32 = 72;

/// GitHub's own cap on a delivery, the largest known.
const DEFAULT_MAX_BODY: usize = 25 * 1024 * 1024;

/// The admin token, or the error that every management route then answers.
pub fn admin_token(host: &dyn Host) -> Result<Secret> {
    host.secret(ADMIN_TOKEN)
        .ok_or_else(|| Error::missing_setting(ADMIN_TOKEN))
}

/// The public origin without a trailing slash.
pub fn public_url(host: &dyn Host) -> Result<String> {
    text(host, PUBLIC_URL)
        .map(|url| url.trim_end_matches('/').to_owned())
        .ok_or_else(|| Error::missing_setting(PUBLIC_URL))
}

/// Whether requests may leave for private addresses and plain http. A deployed Worker must not: the setting counts
/// only where the hub itself is reached at a loopback address.
pub fn allow_private_network(host: &dyn Host) -> bool {
    if text(host, ALLOW_PRIVATE_NETWORK).as_deref() != Some("true") {
        return false;
    }
    let local = public_url(host).is_ok_and(|url| egress::is_loopback_url(&url));
    if !local {
        host.log(&json!({
            "level": "error",
            "message": format!("{ALLOW_PRIVATE_NETWORK} is ignored: {PUBLIC_URL} is not a loopback address"),
        }));
    }
    local
}

/// The resolver for DNS over HTTPS, if one is to be asked.
pub fn dns_url(host: &dyn Host) -> Option<String> {
    text(host, DNS_URL)
}

/// Most bytes of a webhook's body; a manifest can only lower it.
pub fn max_body_bytes(host: &dyn Host) -> usize {
    text(host, MAX_BODY_BYTES)
        .and_then(|v| v.parse().ok())
        .unwrap_or(DEFAULT_MAX_BODY)
}

/// What one tick of cron may ask of the outside: the platform's limit of the account's plan.
pub fn subrequests(host: &dyn Host) -> usize {
    let set = text(host, SUBREQUESTS).and_then(|v| v.parse().ok());
    set.filter(|n| (20..=10_000).contains(n)).unwrap_or(FREE_SUBREQUESTS)
}

/// Hours for which refused requests are kept for a release; 0, the default, keeps none.
pub fn keep_rejected_hours(host: &dyn Host) -> u32 {
    let hours = text(host, KEEP_REJECTED_HOURS).and_then(|v| v.parse::<u32>().ok());
    hours.unwrap_or(0).min(MAX_KEEP_HOURS)
}

/// Days for which something is kept, by the name of its setting: 30 for most, 365 for the audit log. None: for ever,
/// which is what 0 asks for.
pub fn retention_days(host: &dyn Host, name: &str) -> Option<u32> {
    let usual = if name == AUDIT_RETENTION_DAYS { 365 } else { 30 };
    let days = text(host, name).and_then(|v| v.parse().ok()).unwrap_or(usual);
    (days > 0).then_some(days)
}

/// A limit, by the name of its setting; none where it is not set, or 0.
pub fn limit(host: &dyn Host, name: &str) -> Option<u64> {
    text(host, name).and_then(|v| v.parse().ok()).filter(|n| *n > 0)
}

/// Origins of pages that may call the management API; none by default.
pub fn cors_origins(host: &dyn Host) -> Vec<String> {
    let all = text(host, CORS_ORIGINS).unwrap_or_default();
    let trimmed = all.split(',').map(|o| o.trim().trim_end_matches('/').to_owned());
    trimmed.filter(|o| !o.is_empty()).collect()
}

/// Where sign-ins may send browsers and codes; compared letter for letter.
pub fn redirect_uris(host: &dyn Host) -> Vec<String> {
    let listed = text(host, REDIRECT_URIS).unwrap_or_default();
    let all = listed.split(|c: char| c == ',' || c.is_whitespace());
    all.filter(|uri| !uri.is_empty()).map(str::to_owned).collect()
}

/// What a text must hold to ask for the agent, with its `@`.
pub fn agent_mention(host: &dyn Host) -> String {
    text(host, AGENT_MENTION).unwrap_or_else(|| "@patchbay".to_owned())
}

/// The label that asks for the agent.
pub fn agent_label(host: &dyn Host) -> String {
    text(host, AGENT_LABEL).unwrap_or_else(|| "patchbay".to_owned())
}

fn text(host: &dyn Host, name: &str) -> Option<String> {
    host.var(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

//! What a name resolves to, where a resolver may be asked (DNS over HTTPS): a public name can point to a private address.

use super::egress;
use crate::error::{Error, Result};
use crate::http::{Headers, Method, Request, Response};
use crate::ports::{Limits, Ports};
use crate::secret::Secret;
use crate::settings;
use crate::time::MINUTE;
use futures_util::future::try_join;
use serde::Deserialize;
use std::net::IpAddr;

/// A resolver answers within this, or nothing is sent.
const LIMITS: Limits = Limits {
    timeout_ms: 3_000,
    max_bytes: 64 * 1024,
};

/// How long a name that was found public is not asked for again, in milliseconds.
const KEPT: i64 = MINUTE;

/// The reply of a resolver in JSON, as the public ones give it.
#[derive(Debug, Deserialize)]
struct Reply {
    /// The response code (RFC 1035, 4.1.1).
    #[serde(rename = "Status")]
    status: u16,
    #[serde(rename = "Answer", default)]
    answer: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    #[serde(rename = "type")]
    kind: u16,
    data: String,
}

/// Refuses a URL whose host resolves to an address that is not public. Does nothing where no resolver is set, or where
/// private addresses are allowed; where the resolver does not answer, nothing may be sent.
pub async fn check(ports: &Ports<'_>, url: &str) -> Result<()> {
    let Some(resolver) = settings::dns_url(ports.host) else {
        return Ok(());
    };
    let host = egress::origin(url)?.host;
    if host.parse::<IpAddr>().is_ok() || settings::allow_private_network(ports.host) {
        return Ok(());
    }
    let key = format!("dns|{host}");
    if ports.cache.get(&key, ports.host.now()).is_some() {
        return Ok(());
    }
    let (v4, v6) = try_join(ask(ports, &resolver, &host, 1), ask(ports, &resolver, &host, 28)).await?;
    let addresses: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
    if addresses.is_empty() {
        return Err(Error::temporary(format!("the name `{host}` has no address")));
    }
    if addresses.iter().any(|address| egress::is_private(*address)) {
        return Err(Error::SsrfBlocked(format!(
            "the URL is refused: `{host}` resolves to a private, local or reserved address"
        )));
    }
    ports.cache.put(&key, Secret::new("public"), ports.host.now() + KEPT);
    Ok(())
}

/// The addresses of one type that a name has.
async fn ask(ports: &Ports<'_>, resolver: &str, host: &str, kind: u16) -> Result<Vec<IpAddr>> {
    let separator = if resolver.contains('?') { '&' } else { '?' };
    let request = Request {
        method: Method::Get,
        // A host that passed the guard holds nothing that a query would need escaped.
        url: format!("{resolver}{separator}name={host}&type={kind}"),
        headers: Headers::from_pairs([("accept", "application/dns-json")]),
        body: Vec::new(),
    };
    let unknown = || {
        Error::temporary(format!(
            "the DNS resolver did not say where `{host}` is; nothing was sent"
        ))
    };
    let reply = ports.fetch.send(request, LIMITS).await.map_err(|_| unknown())?;
    read(&reply, kind).ok_or_else(unknown)
}

/// The addresses of a reply; none where it is no answer. No such name (3) is an answer without addresses.
fn read(reply: &Response, kind: u16) -> Option<Vec<IpAddr>> {
    let read: Reply = serde_json::from_slice(&reply.body)
        .ok()
        .filter(|_| reply.is_success())?;
    if !matches!(read.status, 0 | 3) {
        return None;
    }
    let own = read.answer.iter().filter(|record| record.kind == kind);
    own.map(|record| record.data.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn only_what_is_an_answer_counts() {
        let read = |status, body: Value| read(&Response::json(status, &body), 1);
        let record = |kind: u16, data: &str| json!({"name": "x.example.com", "type": kind, "TTL": 60, "data": data});
        let found = json!({"Status": 0, "Answer": [record(5, "y.example.com."), record(1, "192.0.2.1")]});

        assert_eq!(read(200, found.clone()), Some(vec![IpAddr::from([192, 0, 2, 1])]));
        assert_eq!(read(200, json!({"Status": 3})), Some(vec![]));
        assert_eq!(
            read(200, json!({"Status": 0, "Answer": [record(28, "::1")]})),
            Some(vec![])
        );
        for (status, body) in [
            (500, found),
            (200, json!({"Status": 2})),
            (200, json!({"Status": 0, "Answer": [record(1, "127.1")]})),
            (200, json!("<html>")),
        ] {
            assert_eq!(read(status, body.clone()), None, "{body}");
        }
    }
}

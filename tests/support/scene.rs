//! A hub that is set up, a service that answers as it does, an agent and a subscriber that listen.

#![expect(
    clippy::indexing_slicing,
    reason = "test support may fail loudly; JSON indexing gives null"
)]

use super::{World, json_reply, run};
use hmac::{Hmac, KeyInit, Mac};
use patchbay::http::{Method, Response};
use patchbay::ports::FetchError;
use patchbay::time::MINUTE;
use serde_json::{Value, json};
use sha2::Sha256;

/// HMAC-SHA256 in hex.
pub fn mac(secret: &str, payload: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload);
    hex::encode(mac.finalize().into_bytes())
}

pub const SECRET: &str = "test-webhook-secret";

pub const API: &str = "https://api.github.com";

pub const AGENT: &str = "https://agent.example.com/hook";

pub const SUBSCRIBER: &str = "https://backoffice.example.com/hook";

/// A world in which the app is set up and the service answers as it does.
pub fn world() -> World {
    let world = World::new();
    world.set("GITHUB_WEBHOOK_SECRET", SECRET);
    world.set("GITHUB_APP_ID", "12345");
    world.set(
        "GITHUB_APP_PRIVATE_KEY",
        "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----",
    );
    world.net.on(
        Method::Post,
        &format!("{API}/app/installations/77/access_tokens"),
        |_| {
            json_reply(
                201,
                json!({"token": "t".repeat(520), "expires_at": "2030-01-01T00:00:00Z"}),
            )
        },
    );
    world.net.on(
        Method::Get,
        &format!("{API}/repos/octo/repo/collaborators/mona/permission"),
        |_| json_reply(200, json!({"permission": "write"})),
    );
    world.net.on(
        Method::Post,
        &format!("{API}/repos/octo/repo/issues/7/comments"),
        |_| {
            json_reply(
                201,
                json!({"id": 99, "html_url": "https://github.com/octo/repo/issues/7#issuecomment-99"}),
            )
        },
    );
    world
        .net
        .on(Method::Get, &format!("{API}/repos/octo/repo/issues/7/comments"), |_| {
            json_reply(200, json!([]))
        });
    world.net.on(
        Method::Patch,
        &format!("{API}/repos/octo/repo/issues/comments/99"),
        |_| {
            json_reply(
                200,
                json!({"id": 99, "html_url": "https://github.com/octo/repo/issues/7#issuecomment-99"}),
            )
        },
    );
    for of in ["issues/7", "issues/comments/1"] {
        let url = format!("{API}/repos/octo/repo/{of}/reactions");
        world.net.on(Method::Post, &url, |_| json_reply(201, json!({"id": 5})));
    }
    world.net.on(Method::Post, "https://", |_| Ok(Response::empty(204)));
    world
}

pub fn comment(text: &str) -> Value {
    json!({
        "action": "created",
        "repository": {"full_name": "octo/repo"},
        "issue": {"number": 7, "title": "A bug"},
        "comment": {"id": 1, "body": text, "html_url": "https://github.com/octo/repo/issues/7#issuecomment-1"},
        "sender": {"login": "mona", "type": "User"},
        "installation": {"id": 77},
    })
}

pub fn deliver(world: &World, id: &str, kind: &str, payload: &[u8]) -> (u16, Value) {
    let signature = format!("sha256={}", mac(SECRET, payload));
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", kind),
        ("x-github-delivery", id),
        ("x-hub-signature-256", &signature),
    ];
    let reply = world.request(Method::Post, "/api/integration/github/events", &headers, payload);
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
}

pub fn mention(world: &World, id: &str, text: &str) -> String {
    let (status, body) = deliver(world, id, "issue_comment", comment(text).to_string().as_bytes());
    assert_eq!(status, 202, "{body}");
    body["id"].as_str().unwrap().to_owned()
}

pub fn destination(world: &World, url: &str, role: &str, actions: &[&str]) -> String {
    let body = json!({"name": role, "url": url, "event_types": ["github.*"], "role": role, "allowed_actions": actions});
    let (status, made) = world.api(Method::Post, "/api/v1/destinations", &body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// What the agent was told, in order.
pub fn letters(world: &World) -> Vec<Value> {
    let sent = world.net.to(AGENT);
    sent.iter().map(|r| serde_json::from_slice(&r.body).unwrap()).collect()
}

pub fn answer(world: &World, letter: &Value, body: Value) -> (u16, Value) {
    let token = format!("Bearer {}", letter["data"]["callback"]["token"].as_str().unwrap());
    let mut body = body;
    body["conversation_id"] = letter["data"]["conversation_id"].clone();
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let reply = world.request(Method::Post, "/api/v1/webhooks", &headers, body.to_string().as_bytes());
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
}

pub fn comments(world: &World) -> usize {
    posted(world).len()
}

/// What was written on the issue, in order, as the service got it.
pub fn posted(world: &World) -> Vec<Value> {
    let to = world.net.to(&format!("{API}/repos/octo/repo/issues/7/comments"));
    let posts = to.iter().filter(|r| r.method == Method::Post);
    posts.map(|r| serde_json::from_slice(&r.body).unwrap()).collect()
}

/// What was done at the service besides reading, in order: `POST issues/7/comments Fixed.`
pub fn done(world: &World) -> Vec<String> {
    let sent = world.net.to(&format!("{API}/repos/octo/repo/"));
    let writes = sent.iter().filter(|r| r.method != Method::Get);
    let shown = |r: &patchbay::http::Request| {
        let body: Value = serde_json::from_slice(&r.body).unwrap_or(Value::Null);
        let text = body["body"].as_str().or(body["content"].as_str()).unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        let path = r.url.trim_start_matches(&format!("{API}/repos/octo/repo/")).to_owned();
        format!("{} {path} {first}", r.method.as_str())
    };
    writes.map(shown).collect()
}

/// A service that takes the request, and a worker that dies before it can write down the answer.
pub fn dies_after(world: &World, url: &str, reply: Result<Response, FetchError>) {
    let failing = world.sql.failing.clone();
    world.net.once(url, move |_| {
        failing.set(1_000);
        reply.clone()
    });
}

pub fn comes_back(world: &World) {
    world.sql.failing.set(0);
    world.queue.waiting.borrow_mut().clear();
    world.wait(4 * MINUTE);
    sweep(world);
}

/// What cron does, and what it sets off.
pub fn sweep(world: &World) {
    run(world.hub().tick());
    world.work();
}

/// A connection of `service` with these settings.
pub fn connection(world: &World, service: &str, config: Value) -> String {
    let body = json!({"integration": service, "config": config});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    made["webhook_path"].as_str().unwrap().to_owned()
}

/// A connection whose secret the service handed over; its path in the API.
pub fn learned(world: &World) -> String {
    let new = json!({"integration": "notion", "config": {}});
    let (_, made) = world.api(Method::Post, "/api/v1/connections", &new);
    let path = made["webhook_path"].as_str().unwrap();
    let token = br#"{"verification_token":"secret_test_token_0123456789"}"#;
    let reply = world.request(Method::Post, path, &[("content-type", "application/json")], token);
    assert_eq!(reply.status, 200);
    format!("/api/v1/connections/{}", made["id"].as_str().unwrap())
}

//! A key with an owner never reaches another owner's rows: every route of the table is tried with them.

#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

mod support;

use patchbay::api::route::{Access, Entry, ROUTES, Scope};
use patchbay::http::{Method, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::World;
use support::scene::mac;

const OURS: &str = "team-a";
const THEIRS: &str = "team-b";

/// A world with a row of every kind that belongs to somebody else, by the collection in the path.
fn world_of_theirs() -> (World, BTreeMap<&'static str, String>) {
    let world = World::new();
    world.net.on(Method::Post, "https://theirs.example.com/", |_| {
        Ok(Response::empty(204))
    });
    let made = |path: &str, body: Value| {
        let (status, row) = world.api(Method::Post, path, &body);
        assert_eq!(status, 201, "{row}");
        row
    };
    let connection = made(
        "/api/v1/connections",
        json!({"integration": "github", "owner": THEIRS, "config": {"webhook_secret": "test-secret"}}),
    );
    let destination = made(
        "/api/v1/destinations",
        json!({"name": "theirs", "url": "https://theirs.example.com/", "event_types": ["*"], "owner": THEIRS}),
    );
    let signature = format!("sha256={}", mac("test-secret", b"{}"));
    let headers = [
        ("x-github-event", "ping"),
        ("x-github-delivery", "theirs-1"),
        ("x-hub-signature-256", &signature),
    ];
    let path = connection.get("webhook_path").and_then(Value::as_str).unwrap();
    assert_eq!(world.request(Method::Post, path, &headers, b"{}").status, 202);
    world.work();
    let key = made(
        "/api/v1/keys",
        json!({"name": "theirs", "scopes": ["events:write"], "owner": THEIRS}),
    );
    let bearer = format!("Bearer {}", key.get("token").and_then(Value::as_str).unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let replay = world.request(
        Method::Post,
        "/api/v1/events/replay",
        &headers,
        br#"{"filter": {"service": "github"}}"#,
    );
    assert_eq!(replay.status, 202);
    let replay: Value = serde_json::from_slice(&replay.body).unwrap();
    world.work();
    let run = format!("run_{}", "0".repeat(26));
    world.sql.write(&format!(
        "INSERT INTO run (id, fingerprint, ordinal, integration, owner, action, inputs, status, unsettled, attempts,
           created_at, updated_at)
         VALUES ('{run}', 'f', 0, 'github', '{THEIRS}', 'a', '{{}}', 'succeeded', 0, '[]', 0, 0)"
    ));
    let poll = made(
        "/api/v1/polls",
        json!({"integration": "rss-reader", "trigger": "new_entries", "owner": THEIRS,
               "inputs": {"feeds": ["https://theirs.example.com/feed"]}}),
    );
    let subscription = format!("sub_{}", "0".repeat(26));
    world.sql.write(&format!(
        "INSERT INTO poll (id, kind, name, integration, part, owner, inputs, interval_ms, backfill, state, deaths, failures,
           items_seen, progress, seen, created_at, updated_at)
         VALUES ('{subscription}', 'subscription', 'theirs', 'airtable', 'webhook', '{THEIRS}', '{{}}', 1, 0, 'active', 0, 0, 0,
           '{{}}', '{{}}', 0, 0)"
    ));
    let first = |path: &str| {
        let (_, list) = world.api(Method::Get, path, &Value::Null);
        list.pointer("/data/0/id").and_then(Value::as_str).unwrap().to_owned()
    };
    let id = |row: &Value| row.get("id").and_then(Value::as_str).unwrap().to_owned();
    let rows = BTreeMap::from([
        ("connections", id(&connection)),
        ("integration-instances", id(&connection)),
        ("destinations", id(&destination)),
        ("events", first("/api/v1/events")),
        ("replays", id(&replay)),
        ("deliveries", first("/api/v1/deliveries")),
        ("runs", run),
        ("polls", id(&poll)),
        ("subscriptions", subscription),
    ]);
    (world, rows)
}

/// Everything that there is, as the admin sees it.
fn everything(world: &World) -> String {
    let lists = ["connections", "destinations", "events", "deliveries", "runs", "replays"];
    let shown = lists.map(|list| {
        world
            .api(Method::Get, &format!("/api/v1/{list}"), &Value::Null)
            .1
            .to_string()
    });
    shown.join("\n")
}

fn token_of_ours(world: &World) -> String {
    let scopes = [
        "events:read",
        "events:write",
        "connections:read",
        "connections:write",
        "actions:execute",
    ];
    let body = json!({"name": "ours", "scopes": scopes, "owner": OURS});
    let (_, key) = world.api(Method::Post, "/api/v1/keys", &body);
    key.get("token").and_then(Value::as_str).unwrap().to_owned()
}

/// The body that the published document gives as an example.
fn example(document: &Value, entry: &Entry) -> Value {
    let method = entry.method.as_str().to_ascii_lowercase();
    let operation = document.get("paths").and_then(|p| p.get(entry.pattern)?.get(&method));
    let example = operation.and_then(|o| o.pointer("/requestBody/content/application~1json/example"));
    example.cloned().unwrap_or(Value::Null)
}

#[test]
fn no_route_shows_changes_or_makes_anything_of_another_owner() {
    let (world, theirs) = world_of_theirs();
    let bearer = format!("Bearer {}", token_of_ours(&world));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let document = std::fs::read_to_string("schemas/openapi.json").unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let before = everything(&world);
    let mut tried = 0;

    for entry in ROUTES {
        match entry.access {
            Access::Open | Access::Needs(Scope::Admin) => continue,
            Access::Needs(_) => tried += 1,
        }
        let collection = entry.pattern.split('/').nth(3).unwrap_or_default();
        let mut path = entry.pattern.to_owned();
        if path.contains("{id}") {
            let id = theirs.get(collection).unwrap_or_else(|| {
                panic!("{path}: add a row of another owner to `world_of_theirs`, under `{collection}`")
            });
            path = path.replace("{id}", id);
        }
        let path: Vec<&str> = path
            .split('/')
            .map(|p| if p.starts_with('{') { "x" } else { p })
            .collect();
        let mut body = example(&document, entry);
        let names_owner = entry.method == Method::Post && !entry.pattern.contains("{id}");
        if let Some(members) = body.as_object_mut().filter(|_| names_owner) {
            members.insert("owner".into(), json!(THEIRS));
        }

        let reply = world.request(entry.method, &path.join("/"), &headers, body.to_string().as_bytes());

        let text = String::from_utf8_lossy(&reply.body);
        let place = format!("{} {}", entry.method.as_str(), entry.pattern);
        if entry.pattern.contains("{id}") {
            assert_eq!(reply.status, 404, "{place}: {text}");
        } else if names_owner {
            assert!((400..500).contains(&reply.status), "{place}: {text}");
        }
        for id in theirs.values() {
            let named_in_the_question = path.contains(&id.as_str());
            assert!(
                named_in_the_question || !text.contains(id.as_str()),
                "{place} shows {id}: {text}"
            );
        }
        assert!(!text.contains(THEIRS) || names_owner, "{place}: {text}");
    }

    assert!(tried > 10, "the table has routes that are narrowed");
    assert_eq!(everything(&world), before);
}

#[test]
fn filters_do_not_reach_around_the_owner() {
    let (world, theirs) = world_of_theirs();
    let bearer = format!("Bearer {}", token_of_ours(&world));
    let id = |collection: &str| theirs.get(collection).unwrap();
    let targets = [
        format!("/api/v1/events?connection_id={}", id("connections")),
        format!("/api/v1/events?q={}", id("events")),
        "/api/v1/events?service=github".to_owned(),
        format!("/api/v1/deliveries?event_id={}", id("events")),
        format!("/api/v1/deliveries?destination_id={}", id("destinations")),
    ];
    for target in targets {
        let reply = world.request(Method::Get, &target, &[("authorization", &bearer)], b"");
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((reply.status, body.get("data")), (200, Some(&json!([]))), "{target}");
    }
}

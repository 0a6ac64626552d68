//! The self-healing inbox, through the hub: what a service sent and never arrived comes in late, once.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly; JSON indexing gives null"
)]

mod support;

use patchbay::http::{Method, Request, Response};
use patchbay::ports::FetchError;
use patchbay::time::{HOUR, MINUTE, Timestamp};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use support::scene::{API, SUBSCRIBER, deliver, destination, world};
use support::{World, json_reply, run};

/// One attempt in the service's own log, oldest first in the list of them.
#[derive(Clone)]
struct Sent {
    id: u64,
    guid: String,
    at: Timestamp,
}

/// GitHub's log of what it sent, 30 a page. It checks who asks, and how.
fn log_of(world: &World, path: &'static str, app: bool) -> Rc<RefCell<Vec<Sent>>> {
    let log: Rc<RefCell<Vec<Sent>>> = Rc::default();
    let shown = log.clone();
    world.net.on(Method::Get, &format!("{API}{path}"), move |request| {
        assert_eq!(request.headers.get("accept"), Some("application/vnd.github+json"));
        let authorization = request.headers.get("authorization").unwrap();
        assert_eq!(
            authorization.split('.').count() == 3,
            app,
            "an assertion of the app's own, or a token"
        );
        let (_, rest) = request.url.split_once(path).unwrap();
        let sent = shown.borrow();
        if let Some(id) = rest.strip_prefix('/') {
            let id: u64 = id.parse().unwrap();
            return match sent.iter().find(|s| s.id == id) {
                Some(sent) => json_reply(200, details(sent)),
                None => json_reply(404, json!({"message": "Not Found"})),
            };
        }
        page(request, &sent, &format!("{API}{path}"))
    });
    log
}

fn page(request: &Request, sent: &[Sent], url: &str) -> Result<Response, FetchError> {
    assert!(request.url.contains("per_page=100"), "{}", request.url);
    let cursor = request
        .url
        .split_once("cursor=")
        .map_or(0, |(_, at)| at.parse::<usize>().unwrap());
    let newest_first: Vec<&Sent> = sent.iter().rev().collect();
    let items: Vec<Value> = newest_first
        .iter()
        .skip(cursor)
        .take(30)
        .map(|s| {
            json!({"id": s.id, "guid": s.guid, "delivered_at": s.at.rfc3339(), "redelivery": false, "duration": 0.2,
               "status": "failed to connect", "status_code": 502, "event": "ping", "action": null})
        })
        .collect();
    let mut reply = json_reply(200, Value::Array(items))?;
    if cursor + 30 < sent.len() {
        let next = format!("<{url}?per_page=100&cursor={}>; rel=\"next\"", cursor + 30);
        reply.headers.set("link", &next);
    }
    Ok(reply)
}

fn details(sent: &Sent) -> Value {
    json!({
        "id": sent.id, "guid": sent.guid, "delivered_at": sent.at.rfc3339(), "event": "ping", "action": null,
        "request": {
            "headers": {"Content-Type": "application/json", "X-GitHub-Event": "ping", "X-GitHub-Delivery": sent.guid,
                        "X-Hub-Signature-256": "sha256=0000"},
            "payload": {"zen": format!("of {}", sent.guid), "installation": {"id": 77}},
        },
        "response": {"headers": {}, "payload": ""},
    })
}

fn now(world: &World) -> Timestamp {
    Timestamp(world.machine.now.get())
}

/// Sends to the log, and to the hub unless it is lost.
fn send(world: &World, log: &RefCell<Vec<Sent>>, number: u64, lost: bool) {
    let sent = Sent {
        id: 1_000 + number,
        guid: format!("0b989ba4-242f-11e5-81e1-{number:012}"),
        at: now(world),
    };
    if !lost {
        assert_eq!(deliver(world, &sent.guid, "ping", b"{}").0, 202);
    }
    log.borrow_mut().push(sent);
}

fn make(world: &World, body: Value) -> String {
    let (status, made) = world.api(Method::Post, "/api/v1/polls", &body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn shown(world: &World, id: &str) -> Value {
    world.api(Method::Get, &format!("/api/v1/polls/{id}"), &Value::Null).1
}

fn minutes(world: &World, count: i64) {
    for _ in 0..count {
        world.wait(MINUTE);
        run(world.hub().tick());
        world.work();
    }
}

const APP_LOG: &str = "/app/hook/deliveries";

fn events(world: &World) -> i64 {
    world.sql.count("SELECT count(*) FROM event WHERE service = 'github'")
}

#[test]
fn ten_lost_of_a_hundred_come_in_late_and_once() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    let log = log_of(&world, APP_LOG, true);
    let id = make(
        &world,
        json!({"integration": "github", "trigger": "lost_app_deliveries"}),
    );
    for number in 0..100 {
        send(&world, &log, number, number % 10 == 3);
    }
    world.work();
    assert_eq!(events(&world), 90);

    minutes(&world, 25);

    assert_eq!(events(&world), 100);
    let asked = world.net.to(&format!("{API}{APP_LOG}/"));
    assert_eq!(asked.len(), 10, "only what is missing is asked for");
    let told: BTreeSet<String> = world
        .net
        .to(SUBSCRIBER)
        .iter()
        .filter_map(|r| r.headers.get("webhook-id").map(str::to_owned))
        .collect();
    assert_eq!(told.len(), 100, "each reaches the destination");
    let poll = shown(&world, &id);
    assert_eq!(
        (&poll["items_seen"], &poll["catching_up"], &poll["running"]),
        (&json!(10), &json!(false), &json!(false))
    );
    let query = "/api/v1/events?q=0b989ba4-242f-11e5-81e1-000000000003";
    let (_, list) = world.api(Method::Get, query, &Value::Null);
    let late = list["data"][0]["id"].as_str().unwrap();
    let (_, late) = world.api(Method::Get, &format!("/api/v1/events/{late}"), &Value::Null);
    assert_eq!(late["type"], "github.ping");
    assert_eq!(world.sql.count("SELECT count(*) FROM event WHERE account = '77'"), 10);
    assert_eq!(late["headers"]["x-patchbay-recovered-by"], json!(id));
    assert_eq!(late["headers"]["x-hub-signature-256"], "[masked]");
}

#[test]
fn what_is_on_its_way_old_or_gone_is_left_alone() {
    let world = world();
    let log = log_of(&world, APP_LOG, true);
    send(&world, &log, 1, true);
    world.wait(HOUR);
    make(
        &world,
        json!({"integration": "github", "trigger": "lost_app_deliveries"}),
    );
    world.wait(30 * MINUTE);
    send(&world, &log, 2, true);
    // The look is over, and the delivery older than it.
    world.wait(MINUTE);
    run(world.hub().tick());
    assert_eq!(
        events(&world),
        0,
        "the first was before the poll, the second has just been sent"
    );

    let gone = log.borrow_mut().pop().unwrap();
    log.borrow_mut().push(Sent {
        id: 7,
        guid: "gone".into(),
        ..gone.clone()
    });
    let path = format!("{API}{APP_LOG}/7");
    world
        .net
        .once(&path, |_| json_reply(404, json!({"message": "Not Found"})));
    log.borrow_mut().push(gone);
    minutes(&world, 15);

    assert_eq!(events(&world), 1, "and what the service no longer has is passed over");
}

#[test]
fn a_backfill_brings_what_was_lost_before() {
    let world = world();
    let log = log_of(&world, APP_LOG, true);
    for number in 0..40 {
        send(&world, &log, number, true);
    }
    world.wait(HOUR);
    let id = make(
        &world,
        json!({"integration": "github", "trigger": "lost_app_deliveries", "backfill": 35}),
    );

    minutes(&world, 1);
    assert_eq!(shown(&world, &id)["catching_up"], json!(true));
    minutes(&world, 12);

    assert_eq!(events(&world), 35, "half of each tick is for it");
    assert_eq!(shown(&world, &id)["catching_up"], json!(false));
}

#[test]
fn what_comes_late_counts_towards_the_quota() {
    let world = world();
    world.set("PATCHBAY_EVENTS_PER_MINUTE", "1");
    let log = log_of(&world, APP_LOG, true);
    for number in 0..9 {
        send(&world, &log, number, true);
    }
    world.wait(HOUR);
    let id = make(
        &world,
        json!({"integration": "github", "trigger": "lost_app_deliveries", "backfill": 99}),
    );

    minutes(&world, 1);
    assert_eq!(events(&world), 1);
    minutes(&world, 20);

    assert_eq!(events(&world), 9, "and it goes on until all are there");
    assert_eq!(shown(&world, &id)["failures"], 0, "which is no failure");
}

#[test]
fn one_bad_delivery_keeps_none_of_the_others_and_is_not_lost_silently() {
    let world = world();
    let log = log_of(&world, APP_LOG, true);
    let empty = log.clone();
    let id = make(
        &world,
        json!({"integration": "github", "trigger": "lost_app_deliveries"}),
    );
    for number in 0..6 {
        send(&world, &log, number, true);
    }
    // One is listed and has no payload, time and again; one is answered with an error at first.
    let bad = format!("{API}{APP_LOG}/1002");
    let without_payload = move |_: &Request| {
        let mut details = details(&empty.borrow()[2]);
        details["request"]["payload"] = Value::Null;
        json_reply(200, details)
    };
    for _ in 0..200 {
        world.net.once(&bad, without_payload.clone());
    }
    let down = format!("{API}{APP_LOG}/1004");
    world
        .net
        .once(&down, |_| json_reply(500, json!({"message": "Server Error"})));

    minutes(&world, 15);
    assert_eq!(events(&world), 4);
    minutes(&world, 15);

    assert_eq!(events(&world), 5, "the error has passed");
    let poll = shown(&world, &id);
    let detail = poll["last_error"]["detail"].as_str().unwrap();
    assert!(detail.contains("0b989ba4-242f-11e5-81e1-000000000002"), "{detail}");
    assert_eq!(
        (&poll["state"], &poll["failures"], &poll["catching_up"]),
        (&json!("active"), &json!(0), &json!(false))
    );
    let gaps = || {
        world
            .sql
            .count("SELECT count(*) FROM event WHERE type = 'hub.poll.gap'")
    };
    assert_eq!(gaps(), 0);

    // New ones come in all the same, and the bad one is tried for six hours.
    send(&world, &log, 6, true);
    minutes(&world, 6 * 60);
    assert_eq!(events(&world), 6);
    assert_eq!(gaps(), 1, "it is given up, and that is told");
    let tries = world.net.to(&bad).len();
    minutes(&world, 60);
    assert_eq!(world.net.to(&bad).len(), tries);
    assert_eq!(shown(&world, &id)["last_error"], Value::Null);
}

#[test]
fn a_list_that_is_not_of_the_webhooks_deliveries_is_found_out() {
    let world = World::new();
    let list = "https://log.example.com/sent";
    let mut definition = json!({
        "name": "logged", "version": "1.0.0", "description": "Keeps a log.", "docs": "https://log.example.com/docs",
        "webhook": {
            "verification": {"kind": "equals", "from": "header:X-Token"},
            "event": {"delivery_id": "body:/id", "type": "body:/type"},
        },
        "polling_triggers": {"lost": {
            "description": "What was sent.", "polling_interval": "10m", "input_schema": {"type": "object"},
            "request": {"method": "GET", "url": list}, "items": "{{ body }}",
            "item": {"id": "{{ item.number }}", "time": "{{ item.at }}"},
            "recovers": {"payload": "{{ item }}"},
        }},
    });
    for (path, value, says) in [
        ("/webhook", Value::Null, "needs a `webhook`"),
        ("/polling_triggers/lost/recovers/app", json!(true), "needs `auth.token`"),
        ("/polling_triggers/lost/item/time", Value::Null, "needs `item.time`"),
    ] {
        let mut bad = definition.clone();
        match bad.pointer_mut(path) {
            Some(member) => *member = value,
            None => bad["polling_triggers"]["lost"]["recovers"]["app"] = value,
        }
        let (status, refused) = world.api(Method::Post, "/api/v1/integration-definitions", &bad);
        assert_eq!(status, 400, "{refused}");
        assert!(refused.to_string().contains(says), "{refused}");
    }
    definition["actions"] = json!({});
    let (status, made) = world.api(Method::Post, "/api/v1/integration-definitions", &definition);
    assert_eq!(status, 201, "{made}");
    let at = now(&world).rfc3339();
    world.net.on(Method::Get, list, move |_| {
        json_reply(200, json!([{"number": 7, "id": "d-7", "type": "x", "at": at}]))
    });
    let id = make(
        &world,
        json!({"integration": "logged", "trigger": "lost", "backfill": 1}),
    );

    minutes(&world, 15);

    assert_eq!(
        world.sql.count("SELECT count(*) FROM event WHERE service = 'logged'"),
        0
    );
    assert_eq!(shown(&world, &id)["last_error"]["code"], "INTERNAL");
}

#[test]
fn troubles_at_the_service_and_deaths_here_lose_and_double_nothing() {
    let world = world();
    let log = log_of(&world, APP_LOG, true);
    let id = make(
        &world,
        json!({"integration": "github", "trigger": "lost_app_deliveries", "interval": "1m"}),
    );
    for number in 0..70 {
        send(&world, &log, number, number % 3 == 0);
    }
    world.wait(5 * MINUTE);
    for down in [
        format!("{API}{APP_LOG}/1000"),
        format!("{API}{APP_LOG}/1033"),
        format!("{API}{APP_LOG}?"),
    ] {
        world
            .net
            .once(&down, |_| json_reply(500, json!({"message": "Server Error"})));
    }
    for death in 0..30 {
        world.wait(10 * MINUTE);
        world.sql.fails_after(death % 13);
        run(world.hub().tick());
        world.sql.failing.set(0);
    }
    world.sql.failing.set(0);
    minutes(&world, 90);

    assert_eq!(events(&world), 70);
    assert_eq!(shown(&world, &id)["last_error"], Value::Null);
}

#[test]
fn a_hook_of_a_repository_is_asked_with_the_connections_token_and_heard_once_on_both_routes() {
    let world = world();
    let path = "/repos/octo/repo/hooks/42/deliveries";
    let log = log_of(&world, path, false);
    let config = json!({"app_id": "12345", "installation_id": "77",
        "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"});
    let (_, made) = world.api(
        Method::Post,
        "/api/v1/connections",
        &json!({"integration": "github", "config": config}),
    );
    let inputs = json!({"repo": "octo/repo", "hook_id": 42});
    let body = json!({"connection_id": made["id"], "trigger": "lost_deliveries", "inputs": inputs});
    make(&world, body);
    send(&world, &log, 1, false);
    send(&world, &log, 2, true);

    minutes(&world, 15);

    assert_eq!(events(&world), 2, "the first came on the app's route");
    let own = format!(
        "SELECT count(*) FROM event WHERE source = '{}'",
        made["id"].as_str().unwrap()
    );
    assert_eq!(world.sql.count(&own), 1);
}

#[test]
fn an_app_of_a_connection_fills_that_connections_inbox_and_never_the_apps_own() {
    let world = world();
    let server = "https://github.mallory.example.com/api/v3";
    let config = json!({"app_id": "666", "base_url": server,
        "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"});
    let new = json!({"integration": "github", "owner": "mallory", "config": config});
    let (_, made) = world.api(Method::Post, "/api/v1/connections", &new);
    let at = now(&world);
    let forged = Sent {
        id: 1,
        guid: "forged".into(),
        at,
    };
    world.net.on(
        Method::Get,
        &format!("{server}{APP_LOG}"),
        move |request| match request.url.ends_with("/1") {
            true => json_reply(200, details(&forged)),
            false => page(request, std::slice::from_ref(&forged), server),
        },
    );
    make(
        &world,
        json!({"connection_id": made["id"], "trigger": "lost_app_deliveries", "backfill": 9}),
    );

    minutes(&world, 15);

    let of = |source: &str, owner: &str| {
        world.sql.count(&format!(
            "SELECT count(*) FROM event WHERE source = '{source}' AND owner IS {owner}"
        ))
    };
    assert_eq!(of("app:github", "NULL"), 0);
    assert_eq!(of(made["id"].as_str().unwrap(), "'mallory'"), 1);
}

#[test]
fn the_apps_own_inbox_is_nobodys_in_particular() {
    let world = world();
    let body = json!({"integration": "github", "trigger": "lost_app_deliveries", "owner": "alice"});

    let (status, refused) = world.api(Method::Post, "/api/v1/polls", &body);

    assert_eq!(
        (status, &refused["errors"][0]["pointer"]),
        (400, &json!("/owner")),
        "{refused}"
    );
    let key = json!({"name": "alice's", "scopes": ["connections:write"], "owner": "alice"});
    let (_, key) = world.api(Method::Post, "/api/v1/keys", &key);
    let bearer = format!("Bearer {}", key["token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({"integration": "github", "trigger": "lost_app_deliveries"}).to_string();
    let reply = world.request(Method::Post, "/api/v1/polls", &headers, body.as_bytes());
    assert_eq!(reply.status, 400, "{}", String::from_utf8_lossy(&reply.body));
}

#[test]
fn stripes_undelivered_events_come_in_late() {
    let world = world();
    let config = json!({"secret_key": "sk_test_0123", "webhook_secret": "whsec_test"});
    let (_, made) = world.api(
        Method::Post,
        "/api/v1/connections",
        &json!({"integration": "stripe", "config": config}),
    );
    let body = json!({"connection_id": made["id"], "trigger": "lost_events", "inputs": {"types": ["invoice.paid"]}});
    make(&world, body);
    let created = now(&world).seconds() + 1;
    world
        .net
        .on(Method::Get, "https://api.stripe.com/v1/events", move |request| {
            assert_eq!(request.headers.get("authorization"), Some("Bearer sk_test_0123"));
            assert!(request.url.contains("delivery_success=false"), "{}", request.url);
            let event = json!({"id": "evt_1Stripe", "object": "event", "type": "invoice.paid", "created": created,
            "data": {"object": {"id": "in_1", "object": "invoice"}}, "pending_webhooks": 1});
            json_reply(
                200,
                json!({"object": "list", "data": [event], "has_more": false, "url": "/v1/events"}),
            )
        });

    minutes(&world, 30);

    let sql = "SELECT count(*) FROM event WHERE type = 'stripe.invoice.paid' AND delivery_id = 'evt_1Stripe' AND subject = 'in_1'";
    assert_eq!(world.sql.count(sql), 1);
    assert_eq!(
        world.sql.count("SELECT count(*) FROM event WHERE service = 'stripe'"),
        1
    );
}

#[test]
fn without_the_apps_settings_there_is_nothing_to_ask_with() {
    let world = World::new();
    let body = json!({"integration": "github", "trigger": "lost_app_deliveries"});
    let (status, refused) = world.api(Method::Post, "/api/v1/polls", &body);
    assert_eq!(
        (status, &refused["code"]),
        (503, &json!("TEMPORARY_ERROR")),
        "{refused}"
    );
}

//! `Idempotency-Key`: a POST that is safe to repeat.

mod support;

use patchbay::http::{Method, Response};
use patchbay::time::{DAY, MINUTE};
use serde_json::{Value, json};
use support::{World, run};

const DESTINATIONS: &str = "/api/v1/destinations";

fn destination(name: &str) -> Value {
    json!({"name": name, "url": "https://a.example.com/", "event_types": ["*"]})
}

fn post_as(world: &World, token: &str, target: &str, key: Option<&str>, body: &Value) -> Response {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    world.request(Method::Post, target, &headers, body.to_string().as_bytes())
}

fn post(world: &World, key: &str, body: &Value) -> Response {
    post_as(world, "test-admin-token", DESTINATIONS, Some(key), body)
}

fn code(reply: &Response) -> (u16, String) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = body.get("code").and_then(Value::as_str);
    (reply.status, code.unwrap_or_default().to_owned())
}

fn rows(world: &World, table: &str) -> i64 {
    world.sql.count(&format!("SELECT count(*) FROM {table}"))
}

#[test]
fn the_same_key_and_body_give_the_stored_reply_with_its_secret() {
    let world = World::new();

    let first = post(&world, "k-1", &destination("d"));
    let second = post(&world, "k-1", &destination("d"));

    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body, second.body);
    assert_eq!(first.headers.get("content-type"), second.headers.get("content-type"));
    let replayed = |r: &Response| r.headers.get("idempotency-replayed").map(str::to_owned);
    assert_eq!((replayed(&first), replayed(&second)), (None, Some("true".to_owned())));
    assert_ne!(first.headers.get("x-trace-id"), second.headers.get("x-trace-id"));
    assert_eq!(rows(&world, "destination"), 1);
}

#[test]
fn a_secret_that_is_kept_for_a_repetition_is_sealed() {
    let world = World::new();

    let reply = post(&world, "k-1", &destination("d"));

    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    let secret = body["secret"].as_str().unwrap();
    let kept = "SELECT count(*) FROM idempotency WHERE reply LIKE 'v1|k1|%'";
    assert_eq!(world.sql.count(kept), 1);
    let open = format!("SELECT count(*) FROM idempotency WHERE reply LIKE '%{secret}%' OR reply LIKE '%whsec_%'");
    assert_eq!(world.sql.count(&open), 0);
}

#[test]
fn the_same_key_with_another_body_is_a_conflict() {
    let world = World::new();
    post(&world, "k-1", &destination("d"));

    let other = post(&world, "k-1", &destination("e"));

    assert_eq!(code(&other), (409, "CONFLICT".to_owned()));
    assert_eq!(rows(&world, "destination"), 1);
}

#[test]
fn a_key_is_the_callers_own_and_good_for_one_route() {
    let world = World::new();
    let key = json!({"name": "k", "scopes": ["admin"]});
    let made = post_as(&world, "test-admin-token", "/api/v1/keys", None, &key);
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let token = made["token"].as_str().unwrap();
    post(&world, "k-1", &destination("d"));

    let others = post_as(&world, token, DESTINATIONS, Some("k-1"), &destination("d"));
    let elsewhere = post_as(&world, "test-admin-token", "/api/v1/keys", Some("k-1"), &key);

    assert_eq!((others.status, elsewhere.status), (201, 201));
    assert_eq!(others.headers.get("idempotency-replayed"), None);
    assert_eq!(rows(&world, "destination"), 2);
}

#[test]
fn while_the_first_runs_the_second_is_told_to_wait_and_a_dead_one_frees_its_key() {
    let world = World::new();
    post(&world, "k-1", &destination("d"));
    // As if the first were still at it, or had died.
    world.sql.write("UPDATE idempotency SET reply = NULL");

    let waiting = post(&world, "k-1", &destination("d"));

    assert_eq!(code(&waiting), (409, "IDEMPOTENCY_IN_PROGRESS".to_owned()));
    assert_eq!(waiting.headers.get("retry-after"), Some("1"));
    world.wait(5 * MINUTE);
    assert_eq!(
        code(&post(&world, "k-1", &destination("e"))),
        (409, "CONFLICT".to_owned())
    );
    assert_eq!(post(&world, "k-1", &destination("d")).status, 201);
}

#[test]
fn what_failed_is_not_kept() {
    let world = World::new();
    let wrong = json!({"name": "d"});

    assert_eq!(code(&post(&world, "k-1", &wrong)), (400, "VALIDATION_ERROR".to_owned()));
    assert_eq!(rows(&world, "idempotency"), 0);
    assert_eq!(post(&world, "k-1", &destination("d")).status, 201);
}

#[test]
fn a_kept_reply_ends_after_a_day_and_is_purged() {
    let world = World::new();
    let first = post(&world, "k-1", &destination("d"));
    world.wait(DAY);

    let again = post(&world, "k-1", &destination("d"));
    assert_ne!(first.body, again.body);
    assert_eq!(again.headers.get("idempotency-replayed"), None);

    run(world.hub().tick());
    assert_eq!(rows(&world, "idempotency"), 1);
    world.wait(DAY);
    run(world.hub().tick());
    assert_eq!(rows(&world, "idempotency"), 0);
}

#[test]
fn without_the_header_no_statement_is_spent_on_it() {
    let world = World::new();

    let reply = post_as(&world, "test-admin-token", DESTINATIONS, None, &destination("d"));

    assert_eq!(reply.status, 201);
    let ran = world.sql.ran.borrow();
    assert!(!ran.iter().any(|name| name.starts_with("idempotency")), "{ran:?}");
}

#[test]
fn a_key_that_cannot_be_one_is_refused() {
    let world = World::new();
    for key in ["", " ", "a b", "é", &"x".repeat(256)] {
        let reply = post(&world, key, &destination("d"));
        assert_eq!(code(&reply), (400, "VALIDATION_ERROR".to_owned()), "{key:?}");
    }
    assert_eq!(rows(&world, "destination"), 0);
}

#[test]
fn a_reply_of_the_database_that_is_lost_leaves_no_second_row() {
    let world = World::new();
    world.sql.failing.set(1);
    assert_eq!(post(&world, "k-1", &destination("d")).status, 503);
    assert_eq!(post(&world, "k-1", &destination("d")).status, 201);
    assert_eq!(post(&world, "k-1", &destination("d")).status, 201);
    assert_eq!(rows(&world, "destination"), 1);
}

/// Two connections to a service that answers with the weather.
fn weather(world: &World) -> [String; 2] {
    world
        .net
        .on(Method::Get, "https://api.weatherapi.com/v1/current.json", |_| {
            support::json_reply(200, json!({"location": {"name": "Rome"}, "current": {"temp_c": 20}}))
        });
    let body = json!({"integration": "weather", "config": {"api_key": "test-key-not-a-real-one"}});
    [(); 2].map(|()| {
        let (status, made) = world.api(Method::Post, "/api/v1/connections", &body);
        assert_eq!(status, 201, "{made}");
        made.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
    })
}

#[test]
fn a_key_of_an_action_is_good_for_one_path() {
    let world = World::new();
    let targets = weather(&world).map(|id| format!("/api/v1/connections/{id}/actions/current"));
    let long = "k".repeat(255);
    let run_of = |target: &str| {
        let reply = post_as(
            &world,
            "test-admin-token",
            target,
            Some(&long),
            &json!({"inputs": {"q": "Rome"}}),
        );
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply.status, 200, "{body}");
        body["run_id"].as_str().unwrap().to_owned()
    };

    let runs = [0, 1, 0, 1].map(|i: usize| run_of(&targets[i]));

    assert_eq!(runs[..2], runs[2..]);
    assert_ne!(runs[0], runs[1]);
}

#[test]
fn a_batch_is_repeated_as_a_whole() {
    let world = World::new();
    let [id, _] = weather(&world);
    let target = format!("/api/v1/connections/{id}/actions");
    let batch = |q: &str| json!({"actions": [{"action": "current", "inputs": {"q": q}}]});
    let key = "k".repeat(255);
    let send = |q: &str| post_as(&world, "test-admin-token", &target, Some(&key), &batch(q));

    let (first, second, other) = (send("Rome"), send("Rome"), send("Oslo"));

    let body: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(body["results"][0]["status"], "succeeded", "{body}");
    assert_eq!((first.status, &first.body), (second.status, &second.body));
    assert_eq!(second.headers.get("idempotency-replayed"), Some("true"));
    assert_eq!(code(&other), (409, "CONFLICT".to_owned()));
}

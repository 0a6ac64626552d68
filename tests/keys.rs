//! Keys: who may call what, and whose rows a key reaches.

mod support;

use patchbay::http::{Method, Response};
use patchbay::time::{DAY, HOUR, MINUTE};
use serde_json::{Value, json};
use support::World;

const KEYS: &str = "/api/v1/keys";

/// A key of these scopes and owner: its reply, with the token.
fn made(world: &World, scopes: &[&str], owner: Option<&str>) -> Value {
    let body = json!({"name": "test key", "scopes": scopes, "owner": owner});
    let (status, key) = world.api(Method::Post, KEYS, &body);
    assert_eq!(status, 201, "{key}");
    key
}

fn with(world: &World, token: &str, method: Method, target: &str, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let reply = world.request(method, target, &headers, body.to_string().as_bytes());
    (reply.status, read(&reply))
}

fn get(world: &World, token: &str, target: &str) -> (u16, Value) {
    with(world, token, Method::Get, target, &Value::Null)
}

fn read(reply: &Response) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
}

#[expect(clippy::unwrap_used, reason = "tests fail loudly")]
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[test]
fn a_key_opens_what_its_scopes_say_and_nothing_else() {
    let routes = [
        ("events:read", "/api/v1/events"),
        ("events:read", "/api/v1/deliveries"),
        ("events:read", "/api/v1/destinations"),
        ("connections:read", "/api/v1/connections"),
        ("connections:read", "/api/v1/integrations"),
        ("actions:execute", "/api/v1/runs"),
        ("admin", "/api/v1/rejections"),
        ("admin", "/api/v1/integration-definitions"),
        ("admin", "/api/v1/keys"),
    ];
    let world = World::new();
    for scope in [
        "events:read",
        "events:write",
        "connections:read",
        "connections:write",
        "actions:execute",
        "admin",
    ] {
        let key = made(&world, &[scope], None);
        for (needed, path) in routes {
            let (status, body) = get(&world, text(&key, "token"), path);
            if scope == needed || scope == "admin" {
                assert_eq!(status, 200, "{scope} at {path}: {body}");
            } else {
                assert_eq!((status, &body["code"]), (403, &json!("FORBIDDEN")), "{scope} at {path}");
                assert!(text(&body, "detail").contains(&format!("`{needed}`")), "{body}");
            }
        }
    }
}

#[test]
fn a_token_is_shown_once_and_stored_as_a_hash() {
    let world = World::new();

    let key = made(&world, &["events:read"], None);

    let token = text(&key, "token");
    assert!(token.starts_with("pbk_") && token.len() == 4 + 26 + 1 + 43, "{token}");
    let id = text(&key, "id");
    let (_, shown) = world.api(Method::Get, &format!("{KEYS}/{id}"), &Value::Null);
    let (_, listed) = world.api(Method::Get, KEYS, &Value::Null);
    assert_eq!(shown["token"], Value::Null);
    assert!(!listed.to_string().contains(token));
    let row = "SELECT count(*) FROM api_key WHERE length(hash) = 64 AND id = ";
    assert_eq!(world.sql.count(&format!("{row}'{id}'")), 1);
    for line in world.machine.lines.borrow().iter() {
        assert!(!line.to_string().contains(token), "{line}");
    }
}

#[test]
fn a_token_that_is_not_exactly_right_is_refused() {
    let world = World::new();
    let key = made(&world, &["admin"], None);
    let token = text(&key, "token").to_owned();
    let other = made(&world, &["admin"], None);
    let swapped = format!("{}{}", &token[..31], &text(&other, "token")[31..]);
    let wrong = [
        format!("{token}x"),
        token[..token.len() - 1].to_owned(),
        token.to_uppercase(),
        token.replace("pbk_", "pbk-"),
        format!("pbk_{}", &text(&key, "id")[4..]),
        text(&key, "id").to_owned(),
        swapped,
        "pbk_".to_owned(),
        format!("pbk_{}", "é".repeat(30)),
    ];
    for token in &wrong {
        let (status, body) = get(&world, token, KEYS);
        assert_eq!(
            (status, &body["code"]),
            (401, &json!("AUTHENTICATION_ERROR")),
            "{token}"
        );
    }
    assert_eq!(get(&world, &token, KEYS).0, 200);
}

#[test]
fn without_an_admin_token_keys_open_nothing_either() {
    let world = World::new();
    let key = made(&world, &["admin"], None);
    world.machine.vars.borrow_mut().remove("PATCHBAY_ADMIN_TOKEN");

    let (status, body) = get(&world, text(&key, "token"), KEYS);

    assert_eq!((status, &body["code"]), (503, &json!("TEMPORARY_ERROR")));
}

#[test]
fn after_a_roll_both_tokens_are_good_for_a_while() {
    let world = World::new();
    let key = made(&world, &["events:read"], None);
    let path = format!("{KEYS}/{}/roll", text(&key, "id"));
    let opens = |token: &str| get(&world, token, "/api/v1/events").0;

    let (status, rolled) = world.api(Method::Post, &path, &json!({"overlap_s": 3600}));

    assert_eq!(status, 200, "{rolled}");
    let (old, new) = (text(&key, "token"), text(&rolled, "token"));
    assert_eq!((opens(old), opens(new)), (200, 200));
    world.wait(HOUR);
    assert_eq!((opens(old), opens(new)), (401, 200));

    let (_, again) = world.api(Method::Post, &path, &json!({"overlap_s": 0}));
    assert_eq!((opens(new), opens(text(&again, "token"))), (401, 200));
    let (status, body) = world.api(Method::Post, &path, &json!({"overlap_s": -1}));
    assert_eq!((status, &body["errors"][0]["pointer"]), (400, &json!("/overlap_s")));
    // Without a body the usual time is taken.
    let bare = world.request(
        Method::Post,
        &path,
        &[("authorization", "Bearer test-admin-token")],
        b"",
    );
    assert_eq!(bare.status, 200);
}

#[test]
fn a_key_ends_when_it_expires_and_when_it_is_deleted() {
    let world = World::new();
    let body = json!({"name": "short", "scopes": ["events:read"], "expires_at": "2030-01-01T00:00:00Z"});
    let (_, key) = world.api(Method::Post, KEYS, &body);
    let path = format!("{KEYS}/{}", text(&key, "id"));
    let opens = || get(&world, text(&key, "token"), "/api/v1/events").0;
    assert_eq!(opens(), 200);

    world.wait(10 * 365 * DAY);
    assert_eq!(opens(), 401);
    let (status, changed) = world.api(Method::Patch, &path, &json!({"expires_at": null}));
    assert_eq!((status, &changed["expires_at"]), (200, &Value::Null));
    assert_eq!(opens(), 200);
    assert_eq!(
        world
            .api(Method::Patch, &path, &json!({"scopes": ["connections:read"]}))
            .0,
        200
    );
    assert_eq!(opens(), 403);

    assert_eq!(world.api(Method::Delete, &path, &Value::Null).0, 204);
    assert_eq!(opens(), 401);
    assert_eq!(world.api(Method::Delete, &path, &Value::Null).0, 404);
}

#[test]
fn an_isolate_forgets_a_key_that_was_deleted_elsewhere_within_a_minute() {
    let world = World::new();
    let key = made(&world, &["events:read"], None);
    let opens = || get(&world, text(&key, "token"), "/api/v1/events").0;
    // The first use writes down that it was used, and only then the row stays in memory.
    assert_eq!((opens(), opens()), (200, 200));

    world.sql.write("DELETE FROM api_key");

    assert_eq!(opens(), 200);
    world.wait(MINUTE);
    assert_eq!(opens(), 401);
}

#[test]
fn a_use_is_written_down_once_an_hour() {
    let world = World::new();
    let key = made(&world, &["events:read"], None);
    let id = text(&key, "id").to_owned();
    let writes = || world.sql.ran.borrow().iter().filter(|s| *s == "api_key::used").count();

    for _ in 0..5 {
        get(&world, text(&key, "token"), "/api/v1/events");
    }
    assert_eq!(writes(), 1);
    world.wait(HOUR);
    for _ in 0..5 {
        get(&world, text(&key, "token"), "/api/v1/events");
    }
    assert_eq!(writes(), 2);
    let (_, shown) = world.api(Method::Get, &format!("{KEYS}/{id}"), &Value::Null);
    assert!(shown["last_used_at"].is_string(), "{shown}");
}

#[test]
fn a_key_that_makes_no_sense_is_refused_with_its_place() {
    let good = json!({"name": "k", "scopes": ["events:read"]});
    let cases = [
        (json!({"name": ""}), "/name"),
        (json!({"name": "x".repeat(201)}), "/name"),
        (json!({"scopes": []}), "/scopes"),
        (json!({"scopes": ["events:read", "events:read"]}), "/scopes"),
        (json!({"scopes": ["everything"]}), "/scopes/0"),
        (json!({"scopes": ["admin"], "owner": "team-a"}), "/scopes"),
        (json!({"owner": ""}), "/owner"),
        (json!({"expires_at": "tomorrow"}), "/expires_at"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "/expires_at"),
        (json!({"token": "chosen"}), "/token"),
    ];
    let world = World::new();
    for (change, pointer) in cases {
        let mut body = good.clone();
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let (status, reply) = world.api(Method::Post, KEYS, &body);
        assert_eq!(
            (status, &reply["errors"][0]["pointer"]),
            (400, &json!(pointer)),
            "{body}: {reply}"
        );
    }
    assert_eq!(world.sql.count("SELECT count(*) FROM api_key"), 0);
}

#[test]
fn changes_of_keys_are_in_the_audit_log_under_who_made_them() {
    let world = World::new();
    let boss = made(&world, &["admin"], None);
    let token = text(&boss, "token").to_owned();
    let body = json!({"name": "helper", "scopes": ["events:read"]});
    let (_, key) = with(&world, &token, Method::Post, KEYS, &body);
    let path = format!("{KEYS}/{}", text(&key, "id"));

    with(&world, &token, Method::Patch, &path, &json!({"name": "renamed"}));
    with(&world, &token, Method::Post, &format!("{path}/roll"), &json!({}));
    with(&world, &token, Method::Delete, &path, &Value::Null);

    let (boss, key) = (text(&boss, "id"), text(&key, "id"));
    for act in ["key.created", "key.changed", "key.rolled", "key.deleted"] {
        let sql = format!("SELECT count(*) FROM audit WHERE act = '{act}' AND actor = '{boss}' AND subject = '{key}'");
        assert_eq!(world.sql.count(&sql), 1, "{act}");
    }
}

#[test]
fn what_an_owners_key_makes_belongs_to_that_owner() {
    let world = World::new();
    let key = made(&world, &["events:write", "connections:write"], Some("team-a"));
    let token = text(&key, "token");
    let destination =
        |owner: Value| json!({"name": "d", "url": "https://a.example.com/", "event_types": ["*"], "owner": owner});
    let connection = |owner: Value| json!({"integration": "github", "config": {"webhook_secret": "s"}, "owner": owner});
    for (path, body) in [
        ("/api/v1/destinations", &destination as &dyn Fn(Value) -> Value),
        ("/api/v1/connections", &connection),
    ] {
        for owner in [Value::Null, json!("team-a")] {
            let (status, row) = with(&world, token, Method::Post, path, &body(owner));
            assert_eq!((status, &row["owner"]), (201, &json!("team-a")), "{row}");
        }
        let (status, reply) = with(&world, token, Method::Post, path, &body(json!("team-b")));
        assert_eq!((status, &reply["code"]), (403, &json!("FORBIDDEN")));
    }
}

#[test]
fn a_key_that_is_in_haste_is_told_to_wait_and_others_are_not() {
    let world = World::new();
    let (hasty, calm) = (
        made(&world, &["events:read"], None),
        made(&world, &["events:read"], None),
    );
    world.gate.left.borrow_mut().insert(text(&hasty, "id").to_owned(), 0);
    let bearer = format!("Bearer {}", text(&hasty, "token"));

    let reply = world.request(Method::Get, "/api/v1/events", &[("authorization", &bearer)], b"");

    assert_eq!(
        (reply.status, &read(&reply)["code"]),
        (429, &json!("RATE_LIMIT_EXCEEDED"))
    );
    let header = |name| reply.headers.get(name).unwrap_or_default();
    assert_eq!((header("retry-after"), header("ratelimit-remaining")), ("60", "0"));
    assert_eq!((header("ratelimit-limit"), header("ratelimit-reset")), ("1200", "60"));
    assert_eq!(get(&world, text(&calm, "token"), "/api/v1/events").0, 200);
    // Reading, changing and acting are counted apart; what is open is not counted.
    world.gate.asked.borrow_mut().clear();
    world.request(Method::Get, "/healthz", &[], b"");
    world.api(Method::Patch, "/api/v1/keys/key_1", &json!({}));
    world.api(Method::Get, "/api/v1/keys", &Value::Null);
    let asked = world.gate.asked.borrow();
    let names: Vec<&str> = asked.iter().map(|(limit, _)| *limit).collect();
    assert_eq!(names, ["API_WRITES", "API_READS"]);
}

#[test]
fn a_reference_to_a_secret_of_the_settings_needs_a_key_for_everything() {
    let world = World::new();
    world.set("PATCHBAY_SECRET_MY_API_KEY", "test-value");
    let writer = made(&world, &["connections:write", "connections:read"], None);
    let admin = made(&world, &["connections:write", "admin"], None);
    let config = json!({"host": "public.example.com", "api_key": "secret://my-api-key"});
    let body = json!({"integration": "api-fetch-key", "config": config});
    let instance = json!({"integrationDefinitionId": "api-fetch-key", "config": config});
    let writes = |path: &str, body: &Value| with(&world, text(&writer, "token"), Method::Post, path, body);

    for (path, body) in [
        ("/api/v1/connections", &body),
        ("/api/v1/integration-instances", &instance),
    ] {
        let (status, problem) = writes(path, body);
        assert_eq!(
            (status, &problem["code"]),
            (403, &json!("FORBIDDEN")),
            "{path}: {problem}"
        );
        let (status, made) = with(&world, text(&admin, "token"), Method::Post, path, body);
        assert_eq!(status, 201, "{path}: {made}");
    }

    let own = json!({"integration": "api-fetch-key", "config": {"host": "public.example.com", "api_key": "test-key"}});
    let (_, connection) = writes("/api/v1/connections", &own);
    let path = format!("/api/v1/connections/{}", text(&connection, "id"));
    let change = json!({"config": {"api_key": "secret://my-api-key"}});
    let (status, problem) = with(&world, text(&writer, "token"), Method::Patch, &path, &change);
    assert_eq!((status, &problem["code"]), (403, &json!("FORBIDDEN")), "{problem}");
}

#[test]
fn a_key_that_is_rolled_or_deleted_meanwhile_stays_so() {
    let rolled = "UPDATE api_key SET previous_hash = hash, hash = 'new', updated_at = updated_at + 1";
    let cases = [
        ("DELETE FROM api_key", "SELECT count(*) = 0 FROM api_key"),
        (rolled, "SELECT hash = 'new' AND name = 'test key' FROM api_key"),
    ];
    for (faster, expected) in cases {
        for (method, roll) in [(Method::Patch, ""), (Method::Post, "/roll")] {
            let world = World::new();
            let key = made(&world, &["events:read"], None);
            world.sql.meanwhile("api_key::find", faster);
            let body = if roll.is_empty() {
                json!({"name": "mine"})
            } else {
                json!({})
            };

            let path = format!("{KEYS}/{}{roll}", text(&key, "id"));
            let (status, problem) = world.api(method, &path, &body);

            assert_eq!((status, &problem["code"]), (409, &json!("CONFLICT")), "{faster} {path}");
            assert_eq!(world.sql.count(expected), 1, "{faster} {path}");
            let told = "SELECT count(*) FROM audit WHERE act IN ('key.changed', 'key.rolled')";
            assert_eq!(world.sql.count(told), 0, "{faster} {path}");
        }
    }
}

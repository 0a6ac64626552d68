//! What a service did is told as done, whatever goes wrong around it; what it did not is never told as open.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly; JSON indexing gives null"
)]

mod support;

use patchbay::http::{Method, Request, Response};
use patchbay::ports::{FetchError, ScriptError};
use patchbay::time::SECOND;
use serde_json::{Value, json};
use std::rc::Rc;
use support::{World, json_reply};

const API: &str = "https://api.shop.example.com";

struct Shop {
    world: World,
    path: String,
}

fn open() -> Shop {
    let world = World::new();
    let any = json!({"type": "object"});
    let order = json!({"description": "x", "input_schema": any, "request": {"method": "POST", "path": "/orders", "json": {"n": 1}}});
    let look = json!({"description": "x", "input_schema": any, "request": {"method": "GET", "path": "/orders"}});
    let manifest = json!({
        "name": "shop", "version": "1.0.0", "description": "A shop", "base_url": API, "hosts": ["api.shop.example.com"],
        "auth": {"identifier": "key", "type": "Custom", "apply": {"headers": {"x-key": "{secret.key}"}}, "fields": {
            "type": "object", "properties": {"key": {"type": "string", "format": "password"}}, "required": ["key"]
        }},
        "actions": {"order": order, "look": look}
    });
    let (status, made) = world.api(Method::Post, "/api/v1/integration-definitions", &manifest);
    assert_eq!(status, 201, "{made}");
    let connection = json!({"integration": "shop", "config": {"key": "test-key"}});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &connection);
    assert_eq!(status, 201, "{made}");
    let path = format!("/api/v1/connections/{}/actions", made["id"].as_str().unwrap());
    Shop { world, path }
}

impl Shop {
    fn serve(&self, method: Method, answer: impl Fn(&Request) -> Result<Response, FetchError> + 'static) {
        self.world.net.on(method, &format!("{API}/orders"), answer);
    }

    /// Status, body and how many requests have gone out so far.
    fn call(&self, action: &str, key: Option<&str>) -> (u16, Value, usize) {
        let mut headers = vec![
            ("authorization", "Bearer test-admin-token"),
            ("content-type", "application/json"),
        ];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let path = format!("{}/{action}", self.path);
        let reply = self.world.request(Method::Post, &path, &headers, b"{\"inputs\":{}}");
        let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        (reply.status, body, self.world.net.sent.borrow().len())
    }
}

#[test]
fn a_result_too_large_for_a_row_reaches_the_caller_and_is_not_done_again() {
    let shop = open();
    let large = || json!({"rows": "x".repeat(1_500_000)});
    shop.serve(Method::Post, move |_| json_reply(201, large()));
    shop.serve(Method::Get, move |_| json_reply(200, large()));

    let (status, body, _) = shop.call("order", Some("k-1"));
    assert_eq!((status, body["data"]["rows"].as_str().unwrap().len()), (200, 1_500_000));
    let (status, problem, sent) = shop.call("order", Some("k-1"));
    assert_eq!(
        (status, &problem["code"], sent),
        (409, &json!("CONFLICT"), 1),
        "{problem}"
    );
    assert_eq!(shop.call("look", None).0, 200);

    assert_eq!(shop.world.sql.count("SELECT max(length(result)) < 100 FROM run"), 1);
    let (_, runs) = shop.world.api(Method::Get, "/api/v1/runs", &Value::Null);
    assert_eq!(runs["data"][0]["status"], "succeeded");
}

#[test]
fn a_database_that_fails_after_the_deed_does_not_hide_it() {
    let shop = open();
    let failing = shop.world.sql.failing.clone();
    shop.serve(Method::Post, move |_| {
        failing.set(1);
        json_reply(201, json!({"id": 7}))
    });

    let (status, body, _) = shop.call("order", Some("k-1"));

    assert_eq!((status, &body["data"]["id"]), (200, &json!(7)), "{body}");
    let told = |line: &Value| line["job"] == "run" && line["level"] == "error";
    assert!(shop.world.machine.lines.borrow().iter().any(told));
    // The key still stands for it: it is not done twice.
    let (status, problem, sent) = shop.call("order", Some("k-1"));
    assert_eq!((status, sent), (409, 1), "{problem}");
}

#[test]
fn what_was_never_sent_can_be_sent_later() {
    let shop = Rc::new(open());
    let weak = Rc::downgrade(&shop);
    shop.serve(Method::Post, move |_| {
        // It answers when the time of the whole batch is over.
        weak.upgrade().unwrap().world.wait(26 * SECOND);
        json_reply(201, json!({"id": 7}))
    });
    let actions = json!({"actions": [{"action": "order"}, {"action": "order"}]});

    let (status, body) = shop.world.api(Method::Post, &shop.path, &actions);

    assert_eq!(
        (status, &body["results"][0]["status"]),
        (200, &json!("succeeded")),
        "{body}"
    );
    let second = &body["results"][1]["error"];
    assert_eq!(second["code"], "TEMPORARY_ERROR", "{body}");
    assert!(
        second["detail"].as_str().unwrap().contains("nothing was sent"),
        "{body}"
    );
    assert_eq!(shop.world.net.sent.borrow().len(), 1);
}

#[test]
fn a_call_that_may_have_taken_effect_has_used_its_credential() {
    let shop = open();
    shop.serve(Method::Post, |_| Err(FetchError::Timeout));
    let (status, problem, _) = shop.call("order", Some("k-1"));
    assert_eq!((status, &problem["code"]), (502, &json!("UPSTREAM_ERROR")), "{problem}");

    let noted = "SELECT count(*) FROM audit WHERE act = 'credential.used'";
    assert_eq!(shop.world.sql.count(noted), 1);
}

#[test]
fn a_failed_call_is_told_again_as_what_it_was() {
    let shop = open();
    for of_service in [400, 403, 404, 409, 422] {
        let fresh = open();
        fresh.serve(Method::Post, move |_| json_reply(of_service, json!({"message": "no"})));
        let (status, told, _) = fresh.call("order", Some("k-1"));
        let (again, replayed, sent) = fresh.call("order", Some("k-1"));
        assert!(status >= 400, "{of_service}: {told}");
        assert_eq!(
            (status, &told["code"], sent),
            (again, &replayed["code"], 1),
            "{of_service}: {told} {replayed}"
        );
    }

    // An account that must be connected again did nothing: when it is, the same key does it.
    let refuse = |_: &Request| json_reply(401, json!({}));
    shop.world.net.once(&format!("{API}/orders"), refuse);
    let (status, problem, _) = shop.call("order", Some("k-2"));
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("REAUTH_REQUIRED")),
        "{problem}"
    );
    shop.serve(Method::Post, |_| json_reply(201, json!({"id": 7})));
    let (status, body, _) = shop.call("order", Some("k-2"));
    assert_eq!((status, &body["data"]["id"]), (200, &json!(7)), "{body}");
}

#[test]
fn a_result_that_cannot_be_transformed_is_found_out_before_or_told_as_done() {
    for (on, status, code, sent) in [(false, 400, "VALIDATION_ERROR", 0), (true, 502, "UPSTREAM_ERROR", 1)] {
        let world = World::new();
        world
            .scripts
            .0
            .borrow_mut()
            .push(("throws".into(), |_| Err(ScriptError::Failed("boom".into()))));
        world
            .net
            .on(Method::Post, "https://api.example.com/createContact", |_| {
                json_reply(201, json!({"id": 7}))
            });
        let definition = json!({
            "name": "crm", "version": "1.0.0", "description": "x", "type": "http", "authType": "api_key",
            "configSchema": {"type": "object", "properties": {
                "apiKey": {"type": "string"}, "baseUrl": {"type": "string"}}, "required": ["apiKey", "baseUrl"]},
            "methods": [{"name": "createContact", "description": "x", "paramSchema": {"type": "object"},
                "resultSchema": {"type": "object"}, "responseTransform": "function transform(x) { throws }"}]
        });
        let (made, body) = world.api(Method::Post, "/api/v1/integration-definitions", &definition);
        assert_eq!(made, 201, "{body}");
        let connection =
            json!({"integration": "crm", "config": {"apiKey": "test-key", "baseUrl": "https://api.example.com"}});
        let (made, body) = world.api(Method::Post, "/api/v1/connections", &connection);
        assert_eq!(made, 201, "{body}");
        if !on {
            world.scripts.0.borrow_mut().clear();
        }

        let path = format!(
            "/api/v1/connections/{}/actions/createContact",
            body["id"].as_str().unwrap()
        );
        let (got, problem) = world.api(Method::Post, &path, &json!({"inputs": {}}));

        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{problem}");
        assert_eq!(world.net.sent.borrow().len(), sent, "{problem}");
        assert!(
            !on || problem["detail"].as_str().unwrap().contains("did it"),
            "{problem}"
        );
    }
}

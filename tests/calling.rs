//! What a call of an action is made of besides its one request: pages, steps, rates, breakers, other servers, kept results.
//!
//! Through the hub's own routes, with a definition that is posted as a user posts one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly; JSON indexing gives null"
)]

mod support;

use patchbay::http::{Method, Request, Response};
use patchbay::ports::FetchError;
use patchbay::time::{MINUTE, SECOND};
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use support::{World, json_reply};

const API: &str = "https://api.shop.example.com";

/// A shop's API as a manifest.
fn shop() -> Value {
    let any = json!({"type": "object"});
    let get = |path: &str| json!({"method": "GET", "path": path});
    let action = |more: Value| {
        let mut action = json!({"description": "x", "input_schema": any});
        action
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        action
    };
    let paged = |query: Value, next: Value| {
        action(json!({
            "request": {"method": "GET", "path": "/items", "query": query},
            "pagination": {"items": "{{ body['items'] }}", "next": next, "max_pages": 3}
        }))
    };
    json!({
        "name": "shop", "version": "1.0.0", "description": "A shop", "base_url": API,
        "hosts": ["api.shop.example.com", "backup.shop.example.com"],
        "auth": {"identifier": "key", "type": "Custom", "apply": {"headers": {"x-key": "{secret.key}"}}, "fields": {
            "type": "object", "properties": {"key": {"type": "string", "format": "password"}}, "required": ["key"]
        }},
        "actions": {
            "by_link": paged(json!({}), json!({"link": "next"})),
            "by_cursor": paged(json!({"after": "{{ page.cursor }}"}), json!({"cursor": "{{ body.next }}"})),
            "by_url": paged(json!({}), json!({"url": "{{ body.next }}"})),
            "by_number": paged(json!({"page": "{{ page.number }}"}), json!({"full_page": 2})),
            "by_offset": paged(json!({"offset": "{{ page.offset }}"}), json!({"full_page": 2})),
            "by_graphql": action(json!({
                "request": {"method": "POST", "path": "/graphql", "graphql": {
                    "query": "query($after: String) { items(after: $after) { id } }", "variables": {"after": "{{ page.cursor }}"}
                }},
                "idempotent": true,
                "pagination": {"items": "{{ body.data['items'].nodes }}", "max_items": 3,
                    "next": {"cursor": "{{ body.data['items'].end if body.data['items'].more }}"}}
            })),
            "get": action(json!({"request": get("/one")})),
            "limited": action(json!({"request": get("/limited"), "rate_limit": "2/min"})),
            "kept": action(json!({"request": {"method": "GET", "path": "/kept", "query": {"n": "{{ inputs.n }}"}}, "cache": {"ttl_s": 60}})),
            "elsewhere": action(json!({"request": get("/there"), "fallback_urls": ["https://backup.shop.example.com/v1"]})),
            "order": action(json!({
                "steps": [
                    {"name": "customer", "request": get("/customer/{{ inputs.who }}")},
                    {"name": "coupon", "when": "{{ steps.customer.loyal }}", "request": get("/coupon")},
                    {"name": "lines", "each": "{{ inputs.what }}", "request":
                        {"method": "POST", "path": "/lines", "json": {"item": "{{ item }}", "for": "{{ steps.customer.id }}"}}},
                    {"name": "order", "request": {"method": "POST", "path": "/orders", "json": {
                        "lines": "{{ steps.lines | map(attribute='id') }}", "coupon": "{{ steps.coupon.code }}"}}}
                ],
                "response": {"data": {"id": "{{ steps.order.id }}", "lines": "{{ steps.lines | length }}"}}
            }))
        }
    })
}

struct Shop {
    world: World,
    connection: String,
}

fn open(manifest: &Value) -> Shop {
    let world = World::new();
    let (status, made) = world.api(Method::Post, "/api/v1/integration-definitions", manifest);
    assert_eq!(status, 201, "{made}");
    let connection = json!({"integration": manifest["name"], "config": {"key": "test-key"}});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &connection);
    assert_eq!(status, 201, "{made}");
    Shop {
        world,
        connection: made["id"].as_str().unwrap().to_owned(),
    }
}

impl Shop {
    fn path(&self, action: &str) -> String {
        format!("/api/v1/connections/{}/actions/{action}", self.connection)
    }

    fn call(&self, action: &str, inputs: Value) -> (u16, Value) {
        self.world
            .api(Method::Post, &self.path(action), &json!({ "inputs": inputs }))
    }

    /// Answers GETs of this path with what `answer` gives; the key must have come along.
    fn serve(&self, path: &str, answer: impl Fn(&Request) -> Result<Response, FetchError> + 'static) {
        self.world.net.on(Method::Get, &format!("{API}{path}"), move |request| {
            assert_eq!(request.headers.get("x-key"), Some("test-key"));
            answer(request)
        });
    }

    fn asked(&self) -> Vec<String> {
        let sent = self.world.net.sent.borrow();
        sent.iter().map(|r| r.url.trim_start_matches(API).to_owned()).collect()
    }
}

#[test]
fn lists_come_in_pages_of_every_kind() {
    let items = |n: u32| json!([{"id": 2 * n}, {"id": 2 * n + 1}]);
    let linked = move |n: u32, next: Value| {
        let mut reply = Response::json(200, &json!({"items": items(n), "next": next}));
        if let Some(url) = next.as_str() {
            reply
                .headers
                .set("link", &format!("<{url}>; rel=\"next\", <{API}/items>; rel=\"first\""));
        }
        Ok(reply)
    };
    // The number of the page that a request is for, by whatever it says.
    let page = |request: &Request| -> u32 {
        let query = request.url.split_once('?').map_or("", |(_, query)| query);
        let (name, value) = query.split_once('=').unwrap_or(("", "0"));
        let number: u32 = value.trim_start_matches('c').parse().unwrap();
        match name {
            "page" => number - 1,
            "offset" => number / 2,
            _ => number,
        }
    };
    type Case = (&'static str, &'static [&'static str], fn(u32) -> Value);
    let cases: [Case; 5] = [
        ("by_link", &["/items", "/items?p=1", "/items?p=2"], |n| {
            json!(format!("{API}/items?p={n}"))
        }),
        ("by_cursor", &["/items", "/items?after=c1", "/items?after=c2"], |n| {
            json!(format!("c{n}"))
        }),
        ("by_url", &["/items", "/items?p=1", "/items?p=2"], |n| {
            json!(format!("/items?p={n}"))
        }),
        (
            "by_number",
            &["/items?page=1", "/items?page=2", "/items?page=3"],
            |_| Value::Null,
        ),
        (
            "by_offset",
            &["/items?offset=0", "/items?offset=2", "/items?offset=4"],
            |_| Value::Null,
        ),
    ];
    for (action, asked, next) in cases {
        for last in [1, 2, 9] {
            let shop = open(&shop());
            shop.serve("/items", move |request| {
                let n = page(request);
                if n == last {
                    return json_reply(200, json!({"items": [{"id": 2 * n}], "next": null}));
                }
                linked(n, next(n + 1))
            });

            let (status, body) = shop.call(action, json!({}));

            assert_eq!(status, 200, "{action}: {body}");
            let pages = (last as usize + 1).min(3);
            assert_eq!(shop.asked(), asked[..pages], "{action}");
            let ids: Vec<u64> = body["data"]["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|i| i["id"].as_u64().unwrap())
                .collect();
            let many = if last == 9 { 6 } else { 2 * u64::from(last) + 1 };
            assert_eq!(ids, (0..many).collect::<Vec<_>>(), "{action}");
            assert_eq!(body["data"]["more"], last == 9, "{action}: {body}");
        }
    }
}

#[test]
fn a_graphql_list_goes_on_at_its_cursor_and_ends_at_the_bound() {
    let shop = open(&shop());
    shop.world.net.on(Method::Post, &format!("{API}/graphql"), |request| {
        let sent: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(sent["query"], "query($after: String) { items(after: $after) { id } }");
        let after = sent["variables"]["after"]
            .as_str()
            .unwrap_or("0")
            .parse::<u32>()
            .unwrap();
        let nodes = json!([{"id": after}, {"id": after + 1}]);
        json_reply(
            200,
            json!({"data": {"items": {"nodes": nodes, "end": (after + 2).to_string(), "more": true}}}),
        )
    });

    let (status, body) = shop.call("by_graphql", json!({}));

    assert_eq!((status, &body["data"]["more"]), (200, &json!(true)), "{body}");
    assert_eq!(body["data"]["items"].as_array().unwrap().len(), 4);
    assert_eq!(shop.asked().len(), 2);
}

#[test]
fn a_next_page_elsewhere_does_not_get_the_key() {
    for url in [
        "https://evil.example.com/items",
        "https://127.0.0.1/",
        "http://api.shop.example.com/items",
    ] {
        let shop = open(&shop());
        shop.serve("/items", move |_| json_reply(200, json!({"items": [], "next": url})));

        let (status, body) = shop.call("by_url", json!({}));

        assert_eq!((status, &body["code"]), (403, &json!("SSRF_BLOCKED")), "{url}: {body}");
        assert_eq!(shop.asked(), ["/items"]);
    }
}

#[test]
fn steps_see_those_before_them() {
    for (loyal, coupon) in [(true, json!("C1")), (false, Value::Null)] {
        let shop = open(&shop());
        shop.serve("/customer/mona%2F..", move |_| {
            json_reply(200, json!({"id": 7, "loyal": loyal}))
        });
        shop.serve("/coupon", |_| json_reply(200, json!({"code": "C1"})));
        shop.world.net.on(Method::Post, &format!("{API}/lines"), |request| {
            let sent: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(sent["for"], 7);
            json_reply(
                201,
                json!({"id": format!("line of {}", sent["item"].as_str().unwrap())}),
            )
        });
        shop.world
            .net
            .on(Method::Post, &format!("{API}/orders"), move |request| {
                let sent: Value = serde_json::from_slice(&request.body).unwrap();
                assert_eq!(sent["lines"], json!(["line of tea", "line of milk"]));
                assert_eq!(sent["coupon"], coupon);
                json_reply(201, json!({"id": "o1"}))
            });

        let (status, body) = shop.call("order", json!({"who": "mona/..", "what": ["tea", "milk"]}));

        assert_eq!(
            (status, &body["data"]),
            (200, &json!({"id": "o1", "lines": 2})),
            "{body}"
        );
        assert_eq!(shop.asked().len(), if loyal { 5 } else { 4 });
    }
}

#[test]
fn steps_that_stop_after_one_changed_something_are_ambiguous() {
    let shop = open(&shop());
    shop.serve("/customer/mona", |_| json_reply(200, json!({"id": 7})));
    shop.world.net.on(Method::Post, &format!("{API}/lines"), |_| {
        json_reply(201, json!({"id": "l"}))
    });
    shop.world
        .net
        .on(Method::Post, &format!("{API}/orders"), |_| Err(FetchError::Timeout));

    let (status, body) = shop.call("order", json!({"who": "mona", "what": ["tea"]}));

    assert_eq!((status, &body["code"]), (502, &json!("UPSTREAM_ERROR")), "{body}");
    assert_eq!(
        shop.asked().iter().filter(|path| *path == "/lines").count(),
        1,
        "nothing is done twice"
    );
    let run = format!("/api/v1/runs/{}", body["run_id"].as_str().unwrap());
    assert_eq!(shop.world.api(Method::Get, &run, &Value::Null).1["status"], "ambiguous");
}

#[test]
fn a_service_that_is_down_is_left_alone_and_then_tried_by_one() {
    let shop = open(&shop());
    let down = Rc::new(Cell::new(true));
    let is_down = down.clone();
    shop.serve("/one", move |_| match is_down.get() {
        true => json_reply(503, json!({})),
        false => json_reply(200, json!({"up": true})),
    });

    let first = shop.call("get", json!({}));
    let second = shop.call("get", json!({}));
    let asked = shop.asked().len();
    let third = shop.call("get", json!({}));

    assert_eq!((first.0, second.0, third.0), (503, 503, 503));
    assert_eq!(asked, 5, "four tries, then the one that opens it");
    assert_eq!(shop.asked().len(), asked, "nothing is sent while it is open");
    assert!(
        third.1["detail"].as_str().unwrap().contains("left alone"),
        "{}",
        third.1
    );
    // Another account of the same service is another matter.
    let other = json!({"integration": "shop", "config": {"key": "test-key"}});
    let other = shop.world.api(Method::Post, "/api/v1/connections", &other).1["id"].clone();
    let path = format!("/api/v1/connections/{}/actions/get", other.as_str().unwrap());
    shop.world.api(Method::Post, &path, &json!({}));
    assert!(shop.asked().len() > asked);

    shop.world.wait(MINUTE);
    let before = shop.asked().len();
    assert_eq!(shop.call("get", json!({})).0, 503);
    assert_eq!(shop.asked().len(), before + 1, "one trial, and the pause is longer");
    shop.world.wait(2 * MINUTE);
    down.set(false);
    assert_eq!(shop.call("get", json!({})).0, 200);
    assert_eq!(shop.call("get", json!({})).0, 200, "it is closed again");
}

#[test]
fn a_rate_holds_over_all_isolates() {
    let shop = open(&shop());
    shop.serve("/limited", |_| json_reply(200, json!({})));

    let first = [shop.call("limited", json!({})).0, shop.call("limited", json!({})).0];
    let path = shop.path("limited");
    let headers = [
        ("authorization", "Bearer test-admin-token"),
        ("content-type", "application/json"),
    ];
    let third = shop.world.request(Method::Post, &path, &headers, b"{}");

    assert_eq!((first, third.status), ([200, 200], 429));
    let wait: i64 = third.headers.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Nobody met a limit of the caller's own.
    assert_eq!(third.headers.get("ratelimit-limit"), None);
    assert_eq!(shop.asked().len(), 2);
    shop.world.wait(wait * SECOND);
    assert_eq!(shop.call("limited", json!({})).0, 200);
    // A share that comes within seconds is waited for.
    let soon = shop.world.machine.now.get();
    shop.world.wait(27 * SECOND);
    assert_eq!(shop.call("limited", json!({})).0, 200);
    assert!(shop.world.machine.now.get() - soon >= 29 * SECOND);
}

#[test]
fn a_connections_own_rate_counts_every_request() {
    let mut manifest = shop();
    manifest["rate_limit"] = json!({"per_connection": "3/h"});
    let shop = open(&manifest);
    shop.serve("/items", |_| json_reply(200, json!({"items": [{"id": 1}, {"id": 2}]})));

    let pages = shop.call("by_number", json!({}));
    let (status, problem) = shop.call("get", json!({}));

    assert_eq!(pages.0, 200, "{}", pages.1);
    assert_eq!(
        (status, &problem["code"]),
        (429, &json!("RATE_LIMIT_EXCEEDED")),
        "{problem}"
    );
    assert_eq!(shop.asked().len(), 3);
}

#[test]
fn an_equal_call_gets_the_kept_result_for_its_time() {
    let shop = open(&shop());
    let served = Rc::new(Cell::new(0));
    let counted = served.clone();
    shop.serve("/kept", move |_| {
        counted.set(counted.get() + 1);
        json_reply(200, json!({"serial": counted.get()}))
    });
    let serial = |n: u32| shop.call("kept", json!({ "n": n })).1;

    let (first, again, other) = (serial(1), serial(1), serial(2));
    shop.world.wait(61 * SECOND);
    let later = serial(1);

    assert_eq!((&first["data"]["serial"], first.get("cached")), (&json!(1), None));
    assert_eq!((&again["data"]["serial"], &again["cached"]), (&json!(1), &json!(true)));
    assert_eq!(again["run_id"], first["run_id"]);
    assert_eq!(
        (&other["data"]["serial"], &later["data"]["serial"]),
        (&json!(2), &json!(3))
    );
}

#[test]
fn another_server_is_asked_where_the_first_is_down() {
    let shop = open(&shop());
    shop.serve("/there", |_| Err(FetchError::Timeout));
    shop.world
        .net
        .on(Method::Get, "https://backup.shop.example.com/v1/there", |request| {
            assert_eq!(request.headers.get("x-key"), Some("test-key"));
            json_reply(200, json!({"from": "backup"}))
        });
    let refusing = open(&self::shop());
    refusing.serve("/there", |_| json_reply(404, json!({})));

    assert_eq!(shop.call("elsewhere", json!({})).1["data"], json!({"from": "backup"}));
    assert_eq!(refusing.call("elsewhere", json!({})).0, 502, "an answer is an answer");
    assert_eq!(refusing.asked().len(), 1);
}

#[test]
fn a_dry_run_shows_what_is_known_and_sends_nothing() {
    let shop = open(&shop());
    let path = format!("{}?dry_run=true", shop.path("order"));

    let (status, body) = shop.world.api(
        Method::Post,
        &path,
        &json!({"inputs": {"who": "mona", "what": ["tea"]}}),
    );

    assert_eq!((status, &body["dry_run"]), (200, &json!(true)), "{body}");
    let requests = body["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[0]["url"], format!("{API}/customer/mona"));
    assert_eq!(requests[0]["headers"]["x-key"], "[secret]");
    assert!(shop.asked().is_empty() && !body.to_string().contains("test-key"));
    assert_eq!(
        shop.world
            .sql
            .count("SELECT (SELECT count(*) FROM run) + (SELECT count(*) FROM audit WHERE act = 'credential.used')"),
        0
    );
}

#[test]
fn a_batch_answers_each_of_up_to_twenty() {
    let shop = open(&shop());
    shop.serve("/one", |_| json_reply(200, json!({"one": 1})));
    let batch = |actions: &[&str]| {
        let actions: Vec<Value> = actions.iter().map(|action| json!({ "action": action })).collect();
        let path = format!("/api/v1/connections/{}/actions", shop.connection);
        shop.world.api(Method::Post, &path, &json!({ "actions": actions }))
    };

    let (status, body) = batch(&["get", "no_such", "get"]);

    assert_eq!(status, 200, "{body}");
    let said: Vec<&str> = body["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["status"].as_str().unwrap())
        .collect();
    assert_eq!(said, ["succeeded", "failed", "succeeded"]);
    assert_eq!(body["results"][1]["error"]["code"], "METHOD_NOT_FOUND");
    assert_eq!(batch(&["get"; 20]).0, 200);
    assert_eq!((batch(&["get"; 21]).0, batch(&[]).0), (400, 400));
}

/// Jira's description of the two operations: what is required, and what a document is.
fn jira(request: &Request) -> Result<Response, FetchError> {
    let is_document = |value: &Value| {
        value["type"] == "doc" && value["version"] == 1 && value["content"].as_array().is_some_and(|c| !c.is_empty())
    };
    // `test@example.com:test-token`
    assert_eq!(
        request.headers.get("authorization"),
        Some("Basic dGVzdEBleGFtcGxlLmNvbTp0ZXN0LXRva2Vu")
    );
    assert_eq!(request.headers.get("content-type"), Some("application/json"));
    let sent: Value = serde_json::from_slice(&request.body).unwrap();
    let path = request.url.trim_start_matches("https://test.atlassian.net/rest/api/3/");
    match path {
        "issue" => {
            let fields = &sent["fields"];
            assert_eq!(sent.as_object().unwrap().len(), 1);
            assert!(
                fields["summary"].is_string() && fields["project"]["key"] == "PROJ",
                "{sent}"
            );
            assert_eq!(fields["issuetype"], json!({"name": "Task"}));
            assert!(fields.get("description").is_none_or(is_document), "{sent}");
            let this = "https://test.atlassian.net/rest/api/3/issue/10000";
            json_reply(201, json!({"id": "10000", "key": "PROJ-24", "self": this}))
        }
        "issue/PROJ-24/comment" => {
            assert!(
                sent.as_object().unwrap().len() == 1 && is_document(&sent["body"]),
                "{sent}"
            );
            json_reply(201, json!({"id": "10001", "body": sent["body"]}))
        }
        _ => panic!("{path}"),
    }
}

#[test]
fn a_connector_of_another_framework_runs_as_a_definition() {
    let manifest: Value = serde_json::from_str(include_str!("data/definitions/jira-connector.json")).unwrap();
    let world = World::new();
    assert_eq!(
        world.api(Method::Post, "/api/v1/integration-definitions", &manifest).0,
        201
    );
    let config = json!({"url": "https://test.atlassian.net", "email": "test@example.com", "api_token": "test-token"});
    let made = json!({"integration": "jira-connector", "config": config});
    let made = world.api(Method::Post, "/api/v1/connections", &made).1;
    world.net.on(Method::Post, "https://test.atlassian.net/", jira);
    let call = |action: &str, inputs: Value| {
        let path = format!("/api/v1/connections/{}/actions/{action}", made["id"].as_str().unwrap());
        world.api(Method::Post, &path, &json!({ "inputs": inputs }))
    };

    let plain = call("create_issue", json!({"summary": "Test Issue"}));
    let whole = call(
        "create_issue",
        json!({"summary": "Test Issue", "description": "With **words**"}),
    );
    let comment = call("add_comment", json!({"issue_key": "PROJ-24", "body": "Seen."}));
    let wrong = call("create_issue", json!({"description": "no summary"}));

    assert_eq!(
        (plain.0, &plain.1["data"]),
        (200, &json!({"key": "PROJ-24", "id": "10000"})),
        "{}",
        plain.1
    );
    assert_eq!(whole.0, 200, "{}", whole.1);
    assert_eq!(
        (comment.0, &comment.1["data"]),
        (200, &json!({"id": "10001"})),
        "{}",
        comment.1
    );
    assert_eq!((wrong.0, &wrong.1["code"]), (400, &json!("VALIDATION_ERROR")));
}

//! Where nothing may be sent: every spelling of `data/ssrf-urls.txt`, by every way that a URL can come in.
//!
//! The network of these tests fails them if it is asked for a host that they did not name.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

mod support;

use patchbay::action::egress;
use patchbay::http::{Method, Response};
use patchbay::ports::FetchError;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use support::{World, json_reply};

const CALL: &str = "/api/v1/integrations/api-fetch/actions/call_api";

/// The only host that the network of these tests has.
const THERE: &str = "https://public.example.com/";

fn spellings() -> Vec<String> {
    let text = std::fs::read_to_string("tests/data/ssrf-urls.txt").unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let quoted = lines.map(|line| {
        if line == "\"\"" {
            line.to_owned()
        } else {
            format!("\"{line}\"")
        }
    });
    quoted
        .map(|line| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

fn went_only_there(world: &World, url: &str) {
    for request in world.net.sent.borrow().iter() {
        assert!(request.url.starts_with(THERE), "`{url}` led to {}", request.url);
    }
}

#[test]
fn there_are_enough_spellings_and_the_guard_refuses_each() {
    let all = spellings();
    assert!(all.len() >= 150, "{}", all.len());

    for url in &all {
        assert!(egress::check_public(url, false).is_err(), "{url:?}");
        // Naming it as a host of its own helps nobody.
        let own: Vec<_> = egress::origin(url).into_iter().collect();
        let hosts = own.iter().map(|origin| origin.host.clone()).collect::<Vec<_>>();
        assert!(egress::check_credentialed(url, &hosts, &own, false).is_err(), "{url:?}");
    }
}

#[test]
fn none_is_called_on_the_first_hop() {
    let world = World::new();
    for url in spellings() {
        let (status, problem) = world.api(Method::Post, CALL, &json!({"inputs": {"url": url}}));

        let code = problem["code"].as_str().unwrap_or_default();
        assert!(
            matches!((status, code), (403, "SSRF_BLOCKED") | (400, "VALIDATION_ERROR")),
            "{url:?}: {problem}"
        );
        went_only_there(&world, &url);
    }
    assert_eq!(world.net.sent.borrow().len(), 0);
}

#[test]
fn none_is_called_after_a_redirect() {
    let body = json!({"integration": "api-fetch-key", "config": {"host": "public.example.com", "api_key": "test-key"}});
    for status in [301, 302, 303, 307, 308] {
        let world = World::new();
        let made = world.api(Method::Post, "/api/v1/connections", &body).1;
        let with_key = format!("/api/v1/connections/{}/actions/call_api", made["id"].as_str().unwrap());
        let target = Rc::new(RefCell::new(String::new()));
        let location = target.clone();
        world.net.on(Method::Get, THERE, move |request| {
            if !request.url.ends_with("/start") {
                return json_reply(404, json!({}));
            }
            let mut reply = Response::empty(status);
            reply.headers.set("location", &location.borrow());
            Ok(reply)
        });
        for url in spellings() {
            url.clone_into(&mut target.borrow_mut());
            for path in [CALL, with_key.as_str()] {
                let (got, problem) =
                    world.api(Method::Post, path, &json!({"inputs": {"url": format!("{THERE}start")}}));
                assert!(got >= 400, "{status} {url:?}: {problem}");
                went_only_there(&world, &url);
            }
        }
    }
}

#[test]
fn none_becomes_the_server_of_a_connection_or_destination() {
    let world = World::new();
    for url in spellings() {
        let destination = json!({"name": "d", "url": url, "event_types": ["*"], "role": "subscriber"});
        let connection =
            |host: &str| json!({"integration": "api-fetch-key", "config": {"host": host, "api_key": "test-key"}});
        let made = [
            world.api(Method::Post, "/api/v1/destinations", &destination),
            world.api(Method::Post, "/api/v1/connections", &connection(&url)),
            world.api(
                Method::Post,
                "/api/v1/connections",
                &connection(url.trim_start_matches("https://")),
            ),
        ];
        for (status, problem) in made {
            assert!(matches!(status, 400 | 403), "{url:?}: {problem}");
        }
    }
    assert_eq!(
        world
            .sql
            .count("SELECT (SELECT count(*) FROM connection) + (SELECT count(*) FROM destination)"),
        0
    );
}

/// A resolver that says where names are, and counts how often it is asked.
fn resolver(world: &World, answers: &'static [(&'static str, u16, &'static str)]) -> Rc<Cell<u32>> {
    let asked = Rc::new(Cell::new(0));
    let counted = asked.clone();
    world.set("PATCHBAY_DNS_URL", "https://dns.example.net/dns-query");
    world
        .net
        .on(Method::Get, "https://dns.example.net/dns-query?", move |request| {
            counted.set(counted.get() + 1);
            assert_eq!(request.headers.get("accept"), Some("application/dns-json"));
            let query = request.url.split_once('?').unwrap().1;
            let found: Vec<Value> = answers
                .iter()
                .filter(|(name, kind, _)| query == format!("name={name}&type={kind}"))
                .map(|(name, kind, data)| json!({"name": name, "type": kind, "TTL": 60, "data": data}))
                .collect();
            json_reply(
                200,
                json!({"Status": if found.is_empty() { 3 } else { 0 }, "Answer": found}),
            )
        });
    asked
}

#[test]
fn a_name_that_resolves_to_a_private_address_is_refused_where_a_resolver_is_set() {
    let world = World::new();
    let asked = resolver(
        &world,
        &[
            ("public.example.com", 1, "93.184.215.14"),
            ("public.example.com", 28, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"),
            ("inside.example.com", 1, "10.0.0.7"),
            ("mixed.example.com", 1, "93.184.215.14"),
            ("mixed.example.com", 28, "fd00::7"),
            ("mapped.example.com", 28, "::ffff:10.0.0.7"),
        ],
    );
    world.net.on(Method::Get, THERE, |_| json_reply(200, json!({})));
    world.net.once(&format!("{THERE}away"), |_| {
        let mut reply = Response::empty(302);
        reply.headers.set("location", "https://inside.example.com/");
        Ok(reply)
    });
    let call = |url: &str| world.api(Method::Post, CALL, &json!({"inputs": {"url": url}}));

    for url in [
        "https://inside.example.com/",
        "https://mixed.example.com:8443/x",
        "https://mapped.example.com/",
        "https://public.example.com/away",
    ] {
        let (status, problem) = call(url);
        assert_eq!(
            (status, &problem["code"]),
            (403, &json!("SSRF_BLOCKED")),
            "{url}: {problem}"
        );
    }
    let before = asked.get();
    for _ in 0..3 {
        assert_eq!(call(THERE).0, 200);
    }
    assert_eq!(
        asked.get(),
        before,
        "what was found public is not asked for again at once"
    );
    assert_eq!(call("https://8.8.8.8/").0, 503, "an address needs no resolver");
    assert_eq!(asked.get(), before);
    assert_eq!(call("https://nowhere.example.com/").1["code"], "TEMPORARY_ERROR");
    world.net.once("https://dns.example.net/", |_| Err(FetchError::Timeout));
    assert_eq!(
        call("https://other.example.com/").1["code"],
        "TEMPORARY_ERROR",
        "no answer: nothing is sent"
    );
    let elsewhere = |r: &patchbay::http::Request| !r.url.starts_with(THERE) && !r.url.starts_with("https://dns.");
    let sent: Vec<_> = world
        .net
        .sent
        .borrow()
        .iter()
        .filter(|r| elsewhere(r))
        .map(|r| r.url.clone())
        .collect();
    assert!(sent.iter().all(|url| url == "https://8.8.8.8/"), "{sent:?}");
}

#[test]
fn a_reference_to_a_secret_resolves_inside_and_shows_nowhere() {
    let world = World::new();
    world.set("PATCHBAY_SECRET_MY_API_KEY", "test-referenced-key");
    world.net.on(Method::Get, THERE, |request| {
        let right = request.headers.get("authorization") == Some("Bearer test-referenced-key");
        json_reply(if right { 200 } else { 401 }, json!({"right": right}))
    });
    let make = |key: &str, owner: Value| {
        let config = json!({"host": "public.example.com", "api_key": key});
        let body = json!({"integration": "api-fetch-key", "owner": owner, "config": config});
        world.api(Method::Post, "/api/v1/connections", &body)
    };
    for (key, owner) in [
        ("secret://no-such-key", Value::Null),
        ("secret://../PATCHBAY_ADMIN_TOKEN", Value::Null),
        ("secret://", Value::Null),
        ("secret://my-api-key", json!("o-1")),
    ] {
        let (status, problem) = make(key, owner);
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("VALIDATION_ERROR")),
            "{key}: {problem}"
        );
    }
    let hook = json!({"integration": "custom", "config": {"webhook_secret": "secret://my-api-key"}});
    assert_eq!(
        world.api(Method::Post, "/api/v1/connections", &hook).0,
        400,
        "nobody would resolve it"
    );

    let (status, made) = make("secret://my-api-key", Value::Null);
    assert_eq!(status, 201, "{made}");
    let of = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
    let called = world.api(
        Method::Post,
        &format!("{of}/actions/call_api"),
        &json!({"inputs": {"url": THERE}}),
    );
    let rehearsed = world.api(
        Method::Post,
        &format!("{of}/actions/call_api?dry_run=true"),
        &json!({"inputs": {"url": THERE}}),
    );
    let renamed = world.api(Method::Patch, &of, &json!({"name": "renamed"}));

    assert_eq!(
        (called.0, &called.1["data"]),
        (200, &json!({"data": {"right": true}})),
        "{}",
        called.1
    );
    // What is stored is still the reference: another value of the setting counts at once.
    world.set("PATCHBAY_SECRET_MY_API_KEY", "test-another-key");
    assert_eq!(
        world
            .api(
                Method::Post,
                &format!("{of}/actions/call_api"),
                &json!({"inputs": {"url": THERE}})
            )
            .0,
        409
    );
    let logged = format!("{:?}", world.machine.lines.borrow());
    for text in [made, called.1, rehearsed.1, renamed.1, json!(logged)] {
        assert!(!text.to_string().contains("test-referenced-key"), "{text}");
    }
}

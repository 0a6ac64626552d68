//! What every action of every manifest must meet, through the hub's own routes on real SQLite and a scripted network.
//!
//! A folder's `calls/*.json` say what is sent and what comes back, byte for byte. Spoilt copies are made of each: too
//! many requests, lost replies, replies that are too large or no JSON.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use patchbay::http::{Headers, Method, Request, Response};
use patchbay::manifest::limit::ResetUnit;
use patchbay::ports::FetchError;
use patchbay::registry;
use patchbay::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use support::World;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    description: String,
    action: String,
    #[serde(default)]
    config: Option<Map<String, Value>>,
    inputs: Value,
    exchanges: Vec<Exchange>,
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    request: Sent,
    reply: Reply,
}

/// `null` as header: it must not be there. A body that is an object is compared as JSON.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    method: Method,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    body: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Reply {
    fn response(&self) -> Response {
        let mut response = Response::json(self.status, &self.body);
        for (name, value) in &self.headers {
            response.headers.set(name, value);
        }
        response
    }
}

/// Every fixture: service, file, content.
fn fixtures() -> Vec<(String, String, Fixture)> {
    let mut all = Vec::new();
    for entry in registry::all() {
        let Ok(files) = std::fs::read_dir(format!("integrations/{}/calls", entry.name)) else {
            continue;
        };
        for file in files {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let fixture = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            all.push((entry.name.to_owned(), name, fixture));
        }
    }
    all
}

fn matches(sent: &Sent, request: &Request) -> Result<(), String> {
    if (sent.method, &sent.url) != (request.method, &request.url) {
        return Err(format!("{:?} {} was sent", request.method, request.url));
    }
    for (name, wanted) in &sent.headers {
        if request.headers.get(name) != wanted.as_deref() {
            return Err(format!("{name}: {:?} was sent", request.headers.get(name)));
        }
    }
    let text = String::from_utf8_lossy(&request.body).into_owned();
    let same = match &sent.body {
        Value::Null => text.is_empty() || sent.url.ends_with("access_tokens"),
        Value::String(wanted) => *wanted == text,
        wanted => {
            // The run's mark differs from run to run.
            let mark = text.find("patchbay:run_").map(|at| text[at + 9..at + 39].to_owned());
            let text = mark.map_or(text.clone(), |mark| text.replace(&mark, "RUN"));
            let text = if wanted.to_string().contains("RUN-UUID") {
                without_uuid(&text)
            } else {
                text
            };
            serde_json::from_str::<Value>(&text).ok().as_ref() == Some(wanted)
        }
    };
    if same {
        Ok(())
    } else {
        Err(format!("the body was {text}"))
    }
}

/// The run's UUID differs from run to run as well.
fn without_uuid(text: &str) -> String {
    let is_uuid = |part: &str| part.len() == 36 && part.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let parts: Vec<&str> = text.split('"').collect();
    let replaced: Vec<&str> = parts
        .into_iter()
        .map(|part| if is_uuid(part) { "RUN-UUID" } else { part })
        .collect();
    replaced.join("\"")
}

/// A world whose network answers as the fixture says; the requests that do not fit are collected.
fn world(fixture: &Fixture, wrong: &Rc<std::cell::RefCell<Vec<String>>>) -> World {
    let world = World::new();
    for exchange in &fixture.exchanges {
        let (exchange, wrong) = (exchange.clone(), wrong.clone());
        world.net.once("https://", move |request| {
            if let Err(why) = matches(&exchange.request, request) {
                wrong.borrow_mut().push(why);
            }
            Ok(exchange.reply.response())
        });
    }
    world
}

fn call(world: &World, service: &str, fixture: &Fixture) -> (u16, Value) {
    let Some(config) = &fixture.config else {
        let path = format!("/api/v1/integrations/{service}/actions/{}", fixture.action);
        return world.api(Method::Post, &path, &json!({"inputs": fixture.inputs}));
    };
    let made = json!({"integration": service, "config": config});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &made);
    assert_eq!(status, 201, "{service}: {made}");
    let path = format!(
        "/api/v1/connections/{}/actions/{}",
        made["id"].as_str().unwrap(),
        fixture.action
    );
    world.api(Method::Post, &path, &json!({"inputs": fixture.inputs}))
}

#[test]
fn every_call_is_sent_and_read_as_its_fixture_says() {
    for (service, file, fixture) in fixtures() {
        assert!(!fixture.description.is_empty());
        let wrong = Rc::default();
        let world = world(&fixture, &wrong);

        let (status, body) = call(&world, &service, &fixture);

        assert!(wrong.borrow().is_empty(), "{service}/{file}: {:?}", wrong.borrow());
        match (&fixture.result, &fixture.error) {
            (Some(result), None) => {
                assert_eq!((status, &body["data"]), (200, result), "{service}/{file}: {body}");
                assert_eq!(
                    world.net.sent.borrow().len(),
                    fixture.exchanges.len(),
                    "{service}/{file}"
                );
                let run = format!("/api/v1/runs/{}", body["run_id"].as_str().unwrap());
                let (_, run) = world.api(Method::Get, &run, &Value::Null);
                assert_eq!(run["status"], "succeeded", "{run}");
            }
            (None, Some(code)) => assert_eq!(body["code"], *code, "{service}/{file}: {body}"),
            _ => panic!("{service}/{file}: either `result` or `error`"),
        }
    }
}

#[test]
fn every_action_has_a_call_that_goes_well_and_one_for_each_declared_error() {
    let all = fixtures();
    for entry in registry::all() {
        let manifest = entry.manifest().unwrap();
        for (name, action) in &manifest.actions {
            let own: Vec<&Fixture> = all
                .iter()
                .filter(|(service, _, f)| service == entry.name && f.action == *name)
                .map(|(_, _, f)| f)
                .collect();
            assert!(
                own.iter().any(|f| f.result.is_some()),
                "{}/{name} has no call",
                entry.name
            );
            let declared: BTreeSet<&String> = [&action.response.error, &manifest.replies.error]
                .into_iter()
                .flatten()
                .flat_map(|e| e.map.keys())
                .filter(|code| *code != "*")
                .collect();
            for code in declared {
                let told = |f: &&Fixture| {
                    f.exchanges
                        .iter()
                        .any(|e| e.reply.body.to_string().contains(code.as_str()))
                };
                assert!(
                    own.iter().any(told),
                    "{}/{name} has no call with the error {code}",
                    entry.name
                );
            }
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_before_anything_is_sent() {
    for (service, file, fixture, _, _) in sound() {
        let manifest: Value = serde_json::from_str(registry::get(&service).unwrap().text).unwrap();
        let schema = &manifest["actions"][&fixture.action]["input_schema"];
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut spoilt: Vec<(Value, &str)> = vec![(json!("no object"), "")];
        for name in &required {
            let mut inputs = fixture.inputs.clone();
            inputs.as_object_mut().unwrap().remove(name.as_str().unwrap());
            spoilt.push((inputs, name.as_str().unwrap()));
        }
        for name in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
            let mut inputs = fixture.inputs.clone();
            // Nothing in any schema is a list of lists.
            inputs[name] = json!([[name]]);
            spoilt.push((inputs, name));
        }
        if schema["additionalProperties"] == json!(false) {
            let mut inputs = fixture.inputs.clone();
            inputs["no_such_input"] = json!(1);
            spoilt.push((inputs, "no_such_input"));
        }
        for (inputs, name) in spoilt {
            let world = World::new();
            let spoilt = Fixture {
                inputs,
                ..fixture.clone()
            };

            let (status, body) = call(&world, &service, &spoilt);

            assert_eq!(
                (status, &body["code"]),
                (400, &json!("VALIDATION_ERROR")),
                "{service}/{file} {name}: {body}"
            );
            assert_eq!(body["errors"][0]["source"], "input", "{service}/{file} {name}: {body}");
            assert_eq!(world.net.sent.borrow().len(), 0, "{service}/{file} {name}");
        }
    }
}

/// Calls that go well, with the number of the exchange that a spoilt copy spoils: the first after the token's.
fn sound() -> Vec<(String, String, Fixture, usize, bool)> {
    let all = fixtures().into_iter().filter(|(_, _, f)| f.result.is_some());
    all.map(|(service, file, fixture)| {
        let at = fixture
            .exchanges
            .iter()
            .position(|e| !e.request.url.ends_with("access_tokens"))
            .unwrap();
        let manifest = registry::get(&service).unwrap().manifest().unwrap();
        let repeatable = manifest.actions[&fixture.action].is_repeatable();
        (service, file, fixture, at, repeatable)
    })
    .collect()
}

#[test]
fn too_many_requests_are_waited_for_in_every_spelling() {
    let now = World::new().machine.now.get();
    let date = "Sat, 22 Nov 2025 08:26:42 GMT";
    assert!(now < 1_763_800_002_000);
    for (service, file, fixture, at, _) in sound() {
        for (value, least) in [("1", 1_000), ("0.5", 500), (date, 100)] {
            let mut spoilt = fixture.clone();
            let mut refused = spoilt.exchanges[at].clone();
            refused.reply = Reply {
                status: 429,
                headers: [("retry-after".to_owned(), value.to_owned())].into(),
                body: json!({}),
            };
            spoilt.exchanges.insert(at, refused);
            let wrong = Rc::default();
            let world = world(&spoilt, &wrong);
            let before = world.machine.now.get();

            let (status, body) = call(&world, &service, &spoilt);

            assert_eq!(status, 200, "{service}/{file} {value}: {body}");
            assert!(wrong.borrow().is_empty(), "{service}/{file}: {:?}", wrong.borrow());
            assert!(world.machine.now.get() - before >= least, "{service}/{file} {value}");
        }
        let mut spoilt = fixture.clone();
        spoilt.exchanges[at].reply = Reply {
            status: 429,
            headers: [("retry-after".to_owned(), "3600".to_owned())].into(),
            body: json!({}),
        };
        let (status, body) = call(&world(&spoilt, &Rc::default()), &service, &spoilt);
        assert_eq!(
            (status, &body["code"]),
            (429, &json!("RATE_LIMIT_EXCEEDED")),
            "{service}/{file}: {body}"
        );
    }
}

/// A header's value that says: again in two seconds.
fn in_two_seconds(unit: ResetUnit, now: i64) -> String {
    let then = now + 2_000;
    match unit {
        ResetUnit::EpochS => (then / 1_000 + 1).to_string(),
        ResetUnit::EpochMs => then.to_string(),
        ResetUnit::DeltaS => "2".to_owned(),
        ResetUnit::DeltaMs => "2000".to_owned(),
        ResetUnit::Rfc3339 => Timestamp(then).rfc3339(),
        ResetUnit::Duration => "2s".to_owned(),
    }
}

#[test]
fn too_many_requests_are_waited_for_as_each_services_own_headers_say() {
    let mut tried = 0;
    for (service, file, fixture, at, _) in sound() {
        let manifest = registry::get(&service).unwrap().manifest().unwrap();
        for limit in manifest.rate_limit.iter().flat_map(|l| &l.headers) {
            let before = World::new().machine.now.get();
            let mut headers = BTreeMap::from([(limit.reset.clone(), in_two_seconds(limit.unit, before))]);
            headers.extend(limit.remaining.iter().map(|name| (name.clone(), "0".to_owned())));
            let mut spoilt = fixture.clone();
            let mut refused = spoilt.exchanges[at].clone();
            refused.reply = Reply {
                status: 429,
                headers,
                body: json!({}),
            };
            spoilt.exchanges.insert(at, refused);
            let wrong = Rc::default();
            let world = world(&spoilt, &wrong);

            let (status, body) = call(&world, &service, &spoilt);

            assert_eq!(status, 200, "{service}/{file} {}: {body}", limit.reset);
            assert!(wrong.borrow().is_empty(), "{service}/{file}: {:?}", wrong.borrow());
            let waited = world.machine.now.get() - before;
            assert!(
                (1_500..20_000).contains(&waited),
                "{service}/{file} {}: {waited}",
                limit.reset
            );
            tried += 1;
        }
    }
    assert!(tried > 0);
}

#[test]
fn a_lost_reply_is_asked_for_again_only_where_that_is_safe() {
    for (service, file, fixture, at, repeatable) in sound() {
        for loss in [FetchError::Timeout, FetchError::Network("reset".into())] {
            let world = World::new();
            let lost = Rc::new(Cell::new(false));
            for (index, exchange) in fixture.exchanges.iter().enumerate() {
                let reply = exchange.reply.response();
                if index == at {
                    let (loss, lost) = (loss.clone(), lost.clone());
                    world.net.once("https://", move |_| {
                        lost.set(true);
                        Err(loss.clone())
                    });
                }
                world.net.once("https://", move |_| Ok(reply.clone()));
            }
            let reconciles = registry::get(&service).unwrap().manifest().unwrap().actions[&fixture.action]
                .reconcile
                .is_some();

            let (status, body) = call(&world, &service, &fixture);

            assert!(lost.get());
            if repeatable {
                assert_eq!(
                    (status, Some(&body["data"])),
                    (200, fixture.result.as_ref()),
                    "{service}/{file}: {body}"
                );
            } else if reconciles {
                // The look-up came before anything was sent again.
                let sent = world.net.sent.borrow();
                let query = String::from_utf8_lossy(&sent[at + 1].body).contains("\"query\":\"query ");
                let reads = sent[at + 1].method == Method::Get || query;
                assert!(reads, "{service}/{file}");
            } else {
                assert_eq!(body["code"], "UPSTREAM_ERROR", "{service}/{file}: {body}");
                let run = format!("/api/v1/runs/{}", body["run_id"].as_str().unwrap());
                let (_, run) = world.api(Method::Get, &run, &Value::Null);
                assert_eq!(run["status"], "ambiguous", "{run}");
                assert_eq!(world.net.sent.borrow().len(), at + 1);
            }
        }
    }
}

#[test]
fn a_reply_that_is_too_large_or_no_json_is_an_error_of_the_service() {
    for (service, file, fixture, at, _) in sound() {
        let takes_anything = service.starts_with("api-fetch");
        let html = Response {
            status: 200,
            headers: Headers::from_pairs([("content-type", "text/html")]),
            body: b"<html>".to_vec(),
        };
        for spoilt in [Err(FetchError::TooLarge(10)), Ok(html)] {
            if spoilt.is_ok() && takes_anything {
                continue;
            }
            let world = World::new();
            for exchange in fixture.exchanges.iter().take(at) {
                let reply = exchange.reply.response();
                world.net.once("https://", move |_| Ok(reply.clone()));
            }
            let kept = spoilt.clone();
            world.net.once("https://", move |_| kept.clone());
            // What looks for the effect of a lost reply finds nothing.
            let manifest = registry::get(&service).unwrap().manifest().unwrap();
            let says_so = manifest.replies.success.is_some();
            let nothing = if says_so { json!({"ok": true}) } else { json!([]) };
            world.net.on(Method::Get, "https://", move |_| {
                support::json_reply(200, nothing.clone())
            });
            world
                .net
                .on(Method::Post, "https://", |_| Err(FetchError::TooLarge(10)));

            let (status, body) = call(&world, &service, &fixture);

            assert_eq!(
                (status, &body["code"]),
                (502, &json!("UPSTREAM_ERROR")),
                "{service}/{file}: {body}"
            );
        }
    }
}

//! Polls, through the hub: nothing missed, nothing twice, whatever the service does and whenever the worker dies.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly; JSON indexing gives null"
)]

mod support;

use async_trait::async_trait;
use patchbay::http::{Headers, Method, Request, Response};
use patchbay::hub::Hub;
use patchbay::ports::{Fetch, FetchError, Limits, Ports, Queue, Rows, Sql, SqlError, Stmt};
use patchbay::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use support::{World, json_reply, run};

const FEED: &str = "https://blog.example.com/feed.xml";

fn rss(items: &[&str]) -> String {
    let items: String = items
        .iter()
        .map(|id| format!("<item><guid>{id}</guid><title>Post {id}</title></item>"))
        .collect();
    format!("<?xml version=\"1.0\"?><rss version=\"2.0\"><channel><title>Blog</title>{items}</channel></rss>")
}

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Response, FetchError> {
    Ok(Response {
        status,
        headers: Headers::from_pairs(headers.iter().copied()),
        body: body.as_bytes().to_vec(),
    })
}

/// A poll of this; its id.
fn poll(world: &World, body: Value) -> String {
    let (status, made) = world.api(Method::Post, "/api/v1/polls", &body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn feed_poll(world: &World, more: Value) -> String {
    let mut body = json!({"integration": "rss-reader", "trigger": "new_entries", "inputs": {"feeds": [FEED]}});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    poll(world, body)
}

fn show(world: &World, id: &str) -> Value {
    world.api(Method::Get, &format!("/api/v1/polls/{id}"), &Value::Null).1
}

fn run_now(world: &World, id: &str) -> Value {
    let (status, shown) = world.api(Method::Post, &format!("/api/v1/polls/{id}/run"), &json!({}));
    assert_eq!((status, &shown["running"]), (200, &json!(false)), "{shown}");
    shown
}

/// The subjects of a poll's events, in the order in which they came.
fn subjects(world: &World, kind: &str) -> Vec<String> {
    let (_, page) = world.api(
        Method::Get,
        &format!("/api/v1/events?limit=200&type={kind}"),
        &Value::Null,
    );
    let mut all: Vec<String> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["subject"].as_str().unwrap_or_default().to_owned())
        .collect();
    all.reverse();
    all
}

/// One tick of cron, a minute after the last.
fn tick(world: &World) {
    world.wait(MINUTE);
    run(world.hub().tick());
}

#[test]
fn a_feed_becomes_events_from_its_second_look_on() {
    let world = World::new();
    let listed = Rc::new(RefCell::new(vec!["b", "a"]));
    let now = listed.clone();
    world.net.on(Method::Get, FEED, move |_| {
        reply(200, &[("content-type", "application/rss+xml")], &rss(&now.borrow()))
    });
    let id = feed_poll(&world, json!({"interval": "1m"}));

    tick(&world);
    assert_eq!(subjects(&world, "rss-reader.new_entries"), Vec::<String>::new());
    *listed.borrow_mut() = vec!["d", "c", "b"];
    tick(&world);

    assert_eq!(subjects(&world, "rss-reader.new_entries"), ["Post c", "Post d"]);
    let shown = show(&world, &id);
    assert_eq!(
        (&shown["items_seen"], &shown["state"], &shown["lag_s"]),
        (&json!(2), &json!("active"), &json!(0))
    );
    assert!(
        shown["last_poll_ts"].is_string() && shown["last_error"].is_null(),
        "{shown}"
    );
    let (_, page) = world.api(
        Method::Get,
        "/api/v1/events?type=rss-reader.new_entries&limit=1",
        &Value::Null,
    );
    let event = &page["data"][0];
    assert_eq!(event["source"], json!(format!("/api/v1/polls/{id}")));
    let payload = world
        .api(
            Method::Get,
            &format!("/api/v1/events/{}/payload", event["id"].as_str().unwrap()),
            &Value::Null,
        )
        .1;
    assert_eq!(payload["title"], "Post d");
    assert_eq!(payload["feed_url"], FEED);
}

#[test]
fn a_large_item_is_packed_in_its_row_and_read_as_it_was() {
    let world = World::new();
    let long = "so it goes ".repeat(2_000);
    let listed = Rc::new(RefCell::new(rss(&["a"])));
    let now = listed.clone();
    world.net.on(Method::Get, FEED, move |_| {
        reply(200, &[("content-type", "application/rss+xml")], &now.borrow())
    });
    feed_poll(&world, json!({"interval": "1m"}));
    tick(&world);
    *listed.borrow_mut() = rss(&["b", &long, "a"]);
    tick(&world);

    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM event WHERE payload_encoding = 'br'"),
        1
    );
    let (_, page) = world.api(Method::Get, "/api/v1/events?type=rss-reader.new_entries", &Value::Null);
    let title = |event: &Value| {
        let of = format!("/api/v1/events/{}/payload", event["id"].as_str().unwrap());
        world.api(Method::Get, &of, &Value::Null).1["title"].clone()
    };
    let titles: Vec<Value> = page["data"].as_array().unwrap().iter().map(title).collect();
    assert_eq!(titles, [json!("Post b"), json!(format!("Post {}", long.trim()))]);
}

#[test]
fn everything_that_a_run_found_is_dispatched_at_once() {
    let world = World::new();
    let ids: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let feed = rss(&names);
    world.net.on(Method::Get, FEED, move |_| reply(200, &[], &feed));
    feed_poll(&world, json!({"backfill": 200}));

    tick(&world);

    assert_eq!(world.queue.waiting.borrow().len(), 200);
}

#[test]
fn a_first_run_brings_as_many_as_it_is_told_to() {
    let world = World::new();
    world
        .net
        .on(Method::Get, FEED, |_| reply(200, &[], &rss(&["d", "c", "b", "a"])));

    feed_poll(&world, json!({"backfill": 2}));
    tick(&world);

    assert_eq!(subjects(&world, "rss-reader.new_entries"), ["Post c", "Post d"]);
}

#[test]
fn an_unchanged_list_is_not_read_again_and_costs_two_statements() {
    let world = World::new();
    world.net.on(Method::Get, FEED, |request| {
        match request.headers.get("if-none-match") {
            Some("\"v1\"") => reply(304, &[], ""),
            _ => reply(200, &[("etag", "\"v1\"")], &rss(&["a"])),
        }
    });
    feed_poll(&world, json!({"interval": "1m"}));
    tick(&world);
    world.sql.ran.borrow_mut().clear();

    tick(&world);

    assert_eq!(
        world.net.sent.borrow().last().unwrap().headers.get("if-none-match"),
        Some("\"v1\"")
    );
    let ran = world.sql.ran.borrow();
    let written: Vec<&String> = ran
        .iter()
        .filter(|s| {
            matches!(
                s.as_str(),
                "poll::lease_due" | "poll::finish" | "event::of_poll" | "poll::release"
            )
        })
        .collect();
    assert_eq!(written, ["poll::lease_due", "poll::finish"]);
}

#[test]
fn a_list_that_is_longer_than_the_memory_stops_its_poll_and_says_so() {
    let world = World::new();
    let url = "https://api.example.com/list";
    let count = Rc::new(Cell::new(20_000));
    let now = count.clone();
    world.net.on(Method::Get, url, move |_| {
        json_reply(200, (0..now.get()).map(|n| json!({"id": n})).collect())
    });
    let id = poll(
        &world,
        json!({"integration": "http-json", "trigger": "new_items", "interval": "1m", "inputs": {"url": url}}),
    );
    tick(&world);
    tick(&world);
    let shown = show(&world, &id);
    assert_eq!(
        (&shown["state"], &shown["ids_known"], &shown["items_seen"]),
        (&json!("active"), &json!(20_000), &json!(0))
    );

    count.set(20_001);
    tick(&world);

    let shown = show(&world, &id);
    assert_eq!(
        (&shown["state"], &shown["next_due_at"], &shown["items_seen"]),
        (&json!("needs_attention"), &Value::Null, &json!(0))
    );
    let detail = shown["last_error"]["detail"].as_str().unwrap();
    assert!(detail.contains("more than 20000 items"), "{detail}");
    assert_eq!(subjects(&world, "hub.poll.needs_attention"), std::slice::from_ref(&id));

    // Where it is short again, it goes on, and still knows them.
    count.set(19_000);
    let shown = run_now(&world, &id);
    assert_eq!((&shown["state"], &shown["items_seen"]), (&json!("active"), &json!(0)));
}

#[test]
fn a_feed_that_moves_and_one_that_is_gone() {
    let world = World::new();
    let moved = "https://new.example.com/feed.xml";
    world
        .net
        .on(Method::Get, FEED, move |_| reply(301, &[("location", moved)], ""));
    world.net.on(Method::Get, moved, |_| reply(200, &[], &rss(&["a"])));
    let id = feed_poll(&world, json!({"interval": "1m"}));
    tick(&world);
    tick(&world);
    assert_eq!(world.net.to(FEED).len(), 1, "the new address is remembered");

    world.net.once(moved, |_| reply(410, &[], ""));
    tick(&world);
    let shown = show(&world, &id);
    assert_eq!(
        (&shown["state"], &shown["next_due_at"]),
        (&json!("needs_attention"), &Value::Null)
    );
    assert!(
        shown["last_error"]["detail"]
            .as_str()
            .unwrap()
            .contains("gone for good"),
        "{shown}"
    );
    assert_eq!(subjects(&world, "hub.poll.needs_attention"), std::slice::from_ref(&id));
    let asked = world.net.sent.borrow().len();
    tick(&world);
    assert_eq!(world.net.sent.borrow().len(), asked, "it is not asked again by itself");
}

#[test]
fn one_feed_in_trouble_takes_nothing_from_the_others() {
    let world = World::new();
    let other = "https://other.example.com/atom";
    let listed = Rc::new(RefCell::new(vec!["a"]));
    let now = listed.clone();
    world.net.on(Method::Get, FEED, |_| {
        reply(
            200,
            &[("content-type", "text/html")],
            "<!DOCTYPE html><html><link rel=\"alternate\" type=\"application/rss+xml\" href=\"/rss\"></html>",
        )
    });
    world
        .net
        .on(Method::Get, other, move |_| reply(200, &[], &rss(&now.borrow())));
    let id = poll(
        &world,
        json!({"integration": "rss-reader", "trigger": "new_entries", "interval": "1m", "inputs": {"feeds": [FEED, other]}}),
    );

    tick(&world);
    *listed.borrow_mut() = vec!["b", "a"];
    tick(&world);

    assert_eq!(subjects(&world, "rss-reader.new_entries"), ["Post b"]);
    let shown = show(&world, &id);
    assert_eq!(shown["state"], "active");
    let detail = shown["last_error"]["detail"].as_str().unwrap();
    assert!(
        detail.contains(FEED) && detail.contains("https://blog.example.com/rss"),
        "{detail}"
    );
}

#[test]
fn failures_come_ever_more_seldom_and_then_somebody_is_told() {
    let world = World::new();
    world
        .net
        .on(Method::Get, FEED, |_| reply(503, &[("retry-after", "600")], ""));
    let id = feed_poll(&world, json!({"interval": "1m"}));

    tick(&world);
    for _ in 0..9 {
        tick(&world);
    }
    assert_eq!(world.net.sent.borrow().len(), 1, "what Retry-After asks for is given");
    let mut ticks = 0;
    while show(&world, &id)["state"] != "needs_attention" && ticks < 5_000 {
        tick(&world);
        ticks += 1;
    }
    let shown = show(&world, &id);
    assert_eq!(
        (&shown["failures"], &shown["last_error"]["code"]),
        (&json!(10), &json!("TEMPORARY_ERROR"))
    );
    assert_eq!(subjects(&world, "hub.poll.needs_attention"), std::slice::from_ref(&id));

    // It goes on at the slowest pace, and is well again as soon as the service is.
    world.net.once(FEED, |_| reply(200, &[], &rss(&["a"])));
    world.wait(7 * HOUR);
    tick(&world);
    let shown = show(&world, &id);
    assert_eq!((&shown["state"], &shown["failures"]), (&json!("active"), &json!(0)));
    assert_eq!(subjects(&world, "hub.poll.needs_attention").len(), 1);
}

#[test]
fn an_item_that_does_not_fit_is_an_event_of_another_type() {
    let world = World::new();
    let url = "https://api.example.com/list";
    world.net.on(Method::Get, url, |_| {
        json_reply(200, json!({"data": [{"key": "a", "at": 5}]}))
    });
    let id = poll(
        &world,
        json!({"integration": "http-json", "trigger": "new_items", "backfill": 9,
               "inputs": {"url": url, "items": "/data", "id": "/key", "time": "/at"}}),
    );
    assert_eq!(run_now(&world, &id)["new_items"], 1);
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM event WHERE type = 'http-json.new_items' AND occurred_at = 5000"),
        1
    );

    // GitHub's items have a type; this one has none.
    let other = github_poll(
        &world,
        "2026-11-22T10:00:00Z",
        json!([{"id": 7, "created_at": "2026-11-22T10:00:00Z"}]),
    );
    run_now(&world, &other);
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM event WHERE type = 'github.repository_events.unfit'"),
        1
    );
}

fn github_connection(world: &World) -> String {
    world.net.on(
        Method::Post,
        "https://api.github.com/app/installations/77/access_tokens",
        |_| {
            json_reply(
                201,
                json!({"token": "test-token", "expires_at": "2090-01-01T00:00:00Z"}),
            )
        },
    );
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    let body = json!({"integration": "github", "config": {"app_id": "1", "private_key": key, "installation_id": "77"}});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn github_poll(world: &World, _now: &str, items: Value) -> String {
    let connection = github_connection(world);
    world.net.on(
        Method::Get,
        "https://api.github.com/repos/octo/repo/events",
        move |_| json_reply(200, items.clone()),
    );
    poll(
        world,
        json!({"connection_id": connection, "trigger": "repository_events", "backfill": 5, "inputs": {"repo": "octo/repo"}}),
    )
}

#[test]
fn what_happens_to_a_poll_while_it_is_changed_is_kept() {
    // What is written between look and change; whether it is another's change, and how it stands in the end.
    let cases = [
        ("DELETE FROM poll", true, "SELECT count(*) = 0 FROM poll"),
        (
            "UPDATE poll SET name = 'other', updated_at = updated_at + 1",
            true,
            "SELECT name = 'other' FROM poll",
        ),
        (
            "UPDATE poll SET state = 'needs_attention', due_at = NULL",
            false,
            "SELECT state = 'needs_attention' AND due_at IS NULL AND name = 'new' FROM poll",
        ),
    ];
    for (faster, conflicts, expected) in cases {
        let world = World::new();
        let id = feed_poll(&world, json!({}));
        world.sql.meanwhile("poll::find", faster);

        let path = format!("/api/v1/polls/{id}");
        let (status, shown) = world.api(Method::Patch, &path, &json!({"name": "new"}));

        assert_eq!(status, if conflicts { 409 } else { 200 }, "{faster}: {shown}");
        assert_eq!(world.sql.count(expected), 1, "{faster}");
        let told = world.sql.count("SELECT count(*) FROM audit WHERE act = 'poll.changed'");
        assert_eq!(told, i64::from(!conflicts), "{faster}");
    }
}

#[test]
fn the_api_changes_pauses_and_forgets_polls() {
    let world = World::new();
    world.net.on(Method::Get, FEED, |_| reply(200, &[], &rss(&["a"])));
    let id = feed_poll(&world, json!({}));
    let path = format!("/api/v1/polls/{id}");
    assert_eq!(show(&world, &id)["interval"], "5m");

    let (status, changed) = world.api(Method::Patch, &path, &json!({"interval": "2h", "paused": true}));
    assert_eq!(
        (status, &changed["interval"], &changed["state"]),
        (200, &json!("2h"), &json!("paused"))
    );
    tick(&world);
    assert!(world.net.sent.borrow().is_empty(), "a paused poll rests");
    for status in [503, 200] {
        // Well or not, it runs by hand and then rests again.
        world.net.once(FEED, move |_| reply(status, &[], &rss(&["a"])));
        let shown = run_now(&world, &id);
        assert_eq!(
            (&shown["state"], &shown["next_due_at"], shown["last_error"].is_null()),
            (&json!("paused"), &Value::Null, status == 200)
        );
        world.wait(7 * HOUR);
        let asked = world.net.sent.borrow().len();
        tick(&world);
        assert_eq!(world.net.sent.borrow().len(), asked, "{status}");
    }
    assert_eq!(
        world.api(Method::Patch, &path, &json!({"paused": false})).1["state"],
        "active"
    );

    for (body, pointer) in [
        (
            json!({"integration": "rss-reader", "trigger": "new_entries", "inputs": {"feeds": []}}),
            "/feeds",
        ),
        (
            json!({"integration": "rss-reader", "trigger": "new_entries", "inputs": {"feeds": [FEED]}, "interval": "1s"}),
            "/interval",
        ),
        (json!({"trigger": "new_entries", "inputs": {}}), ""),
        (
            json!({"integration": "rss-reader", "trigger": "new_entries", "inputs": {"feeds": [FEED]}, "name": " "}),
            "/name",
        ),
        (
            json!({"integration": "github", "trigger": "repository_events", "inputs": {"repo": "o/r"}}),
            "/connection_id",
        ),
    ] {
        let (status, problem) = world.api(Method::Post, "/api/v1/polls", &body);
        assert_eq!(
            (status, problem["errors"][0]["pointer"].as_str()),
            (400, Some(pointer)),
            "{problem}"
        );
    }
    let (status, _) = world.api(
        Method::Post,
        "/api/v1/polls",
        &json!({"integration": "rss-reader", "trigger": "no", "inputs": {}}),
    );
    assert_eq!(status, 404);
    assert_eq!(world.api(Method::Delete, &path, &Value::Null).0, 204);
    assert_eq!(world.api(Method::Get, &path, &Value::Null).0, 404);
    assert_eq!(world.sql.count("SELECT count(*) FROM audit WHERE act LIKE 'poll.%'"), 4);
}

#[test]
fn a_poll_that_was_changed_during_its_run_stores_nothing_of_it() {
    let world = Rc::new(World::new());
    world.net.on(Method::Get, FEED, |_| reply(200, &[], &rss(&["a"])));
    let id = feed_poll(&world, json!({"backfill": 5}));
    let inside = Rc::downgrade(&world);
    let path = format!("/api/v1/polls/{id}");
    let at = path.clone();
    world.net.once(FEED, move |_| {
        inside
            .upgrade()
            .unwrap()
            .sql
            .write(&format!("UPDATE poll SET lease_by = NULL WHERE '{at}' LIKE '%' || id"));
        reply(200, &[], &rss(&["a"]))
    });

    tick(&world);
    assert_eq!(world.sql.count("SELECT count(*) FROM event"), 0);
    assert_eq!(show(&world, &id)["last_poll_ts"], Value::Null);

    world.wait(5 * MINUTE);
    tick(&world);
    assert_eq!(subjects(&world, "rss-reader.new_entries"), ["Post a"]);
    let _ = path;
}

#[test]
fn what_ends_the_whole_worker_takes_nothing_else_with_it_for_long() {
    let world = World::new();
    let bad = "https://bad.example.com/feed.xml";
    world.net.on(Method::Get, "https://good.example.com/", |_| {
        reply(200, &[], &rss(&["a"]))
    });
    let good: Vec<String> = (0..5)
        .map(|n| poll(&world, json!({"integration": "rss-reader", "trigger": "new_entries", "inputs": {"feeds": [format!("https://good.example.com/{n}")]}})))
        .collect();
    let poison = poll(
        &world,
        json!({"integration": "rss-reader", "trigger": "new_entries", "inputs": {"feeds": [bad]}}),
    );
    // Oldest first: it is the first to be asked.
    world
        .sql
        .write(&format!("UPDATE poll SET due_at = 1 WHERE id = '{poison}'"));

    for _ in 0..200 {
        world.wait(MINUTE);
        let mortal = Mortal::new(&world, None);
        mortal.dies_at.replace(bad.to_owned());
        run(mortal.hub().tick());
    }

    for id in &good {
        let shown = show(&world, id);
        assert!(shown["last_poll_ts"].is_string() && shown["failures"] == 0, "{shown}");
    }
    let mut shown = show(&world, &poison);
    for _ in 0..3_000 {
        if shown["state"] == "needs_attention" {
            break;
        }
        world.wait(MINUTE);
        let mortal = Mortal::new(&world, None);
        mortal.dies_at.replace(bad.to_owned());
        run(mortal.hub().tick());
        shown = show(&world, &poison);
    }
    assert_eq!(
        (&shown["state"], &shown["next_due_at"]),
        (&json!("needs_attention"), &Value::Null)
    );
}

/// A worker that dies in the middle: from then on nothing that it does has an effect. A statement at the very end may
/// have taken effect without an answer.
struct Mortal<'a> {
    world: &'a World,
    left: Cell<Option<u32>>,
    after: bool,
    dead: Cell<bool>,
    dies_at: RefCell<String>,
}

impl<'a> Mortal<'a> {
    /// One that dies with its `left`-th step, before it (even) or after it (odd).
    fn new(world: &'a World, left: Option<u32>) -> Self {
        Self {
            world,
            left: Cell::new(left.map(|n| n / 2)),
            after: left.is_some_and(|n| n % 2 == 1),
            dead: Cell::new(false),
            dies_at: RefCell::default(),
        }
    }

    fn hub(&self) -> Hub<'_> {
        let ports = Ports {
            sql: self,
            fetch: self,
            queue: self,
            ..self.world.ports()
        };
        Hub::new(ports)
    }

    /// Whether this step is the last.
    fn is_last(&self) -> bool {
        match self.left.get() {
            Some(0) => {
                self.dead.set(true);
                true
            }
            Some(n) => {
                self.left.set(Some(n - 1));
                false
            }
            None => false,
        }
    }
}

#[async_trait(?Send)]
impl Sql for Mortal<'_> {
    async fn batch(&self, statements: Vec<Stmt>) -> Result<Vec<Rows>, SqlError> {
        let gone = || SqlError { message: "dead".into() };
        if self.dead.get() {
            return Err(gone());
        }
        if self.is_last() {
            if self.after {
                self.world.sql.batch(statements).await?;
            }
            return Err(gone());
        }
        self.world.sql.batch(statements).await
    }
}

#[async_trait(?Send)]
impl Fetch for Mortal<'_> {
    async fn send(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        let poison = self.dies_at.borrow().clone();
        if !poison.is_empty() && request.url.starts_with(&poison) {
            self.dead.set(true);
        }
        if self.dead.get() || self.is_last() {
            return Err(FetchError::Network("dead".into()));
        }
        self.world.net.send(request, limits).await
    }
}

#[async_trait(?Send)]
impl Queue for Mortal<'_> {
    async fn wake(&self, id: &str, delay_s: u32) -> Result<(), String> {
        if self.dead.get() || self.is_last() {
            return Err("dead".into());
        }
        self.world.queue.wake(id, delay_s).await
    }
}

/// A small generator of numbers, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

/// A service with every vice: items with equal and lying times, the last of them deleted, lists that shift between two
/// pages, a 500 on page two, an order that is not kept, marks that stay the same for as long as the list does.
struct Vicious {
    dice: Dice,
    next: u64,
    /// Newest first: id, time, the tick in which it came.
    items: Vec<(u64, i64, u32)>,
    /// Items that anybody who polls must have seen: those that were there for long.
    expected: BTreeSet<u64>,
    tick: u32,
    /// Whether it has come to rest.
    calm: bool,
}

impl Vicious {
    /// How many ticks an item must have been there to be missed.
    const LONG: u32 = 45;

    fn new(seed: u64, now: i64) -> Self {
        let items = (0..30).map(|n| (29 - n, now - (n as i64 + 60) * MINUTE, 0)).collect();
        Self {
            dice: Dice(seed),
            next: 100,
            items,
            expected: BTreeSet::new(),
            tick: 0,
            calm: false,
        }
    }

    fn add(&mut self, now: i64) {
        // Whole seconds that many share, of a clock that goes wrong by minutes either way.
        let skew = self.dice.roll(240) as i64 - 120;
        let time = (now / (10 * SECOND) * 10 * SECOND) + skew / 60 * MINUTE;
        self.items.insert(0, (self.next, time, self.tick));
        self.next += 1;
    }

    fn remove(&mut self, at: usize) {
        if at < self.items.len() {
            let (id, _, since) = self.items.remove(at);
            if id >= 100 && self.tick - since > Self::LONG {
                self.expected.insert(id);
            }
        }
    }

    /// What happens at the service within a minute.
    fn live(&mut self, now: i64, busy: bool) {
        self.tick += 1;
        if !busy {
            return;
        }
        for _ in 0..self.dice.roll(4) {
            self.add(now);
        }
        if self.dice.chance(2) {
            // An import: many at one instant.
            for _ in 0..25 {
                self.add(now);
            }
        }
        if self.dice.chance(30) {
            self.remove(0);
        }
        if self.dice.chance(30) {
            let at = self.dice.roll(40) as usize;
            self.remove(at);
        }
    }

    /// Between two pages, too, items come and go.
    fn page(&mut self, number: usize, now: i64) -> Result<(Vec<(u64, i64)>, bool), u16> {
        let vicious = !self.calm;
        if vicious && number > 1 && self.dice.chance(20) {
            return Err(500);
        }
        if vicious && self.dice.chance(5) {
            return Err(503);
        }
        let from = (number - 1) * 10;
        let page = self
            .items
            .iter()
            .skip(from)
            .take(10)
            .map(|(id, time, _)| (*id, *time))
            .collect();
        let more = self.items.len() > from + 10;
        if vicious && self.dice.chance(25) {
            self.add(now);
        }
        if vicious && self.dice.chance(25) {
            let at = self.dice.roll(15) as usize;
            self.remove(at);
        }
        Ok((page, more))
    }

    fn all_expected(&self) -> BTreeSet<u64> {
        let still: BTreeSet<u64> = self.items.iter().map(|i| i.0).filter(|id| *id >= 100).collect();
        self.expected.union(&still).copied().collect()
    }
}

fn github_time(millis: i64) -> String {
    Timestamp(millis / 1_000 * 1_000).rfc3339().replace(".000Z", "Z")
}

/// What the polls found, by service and id, with how often; the events are then purged, so that the event table's own
/// index cannot hide a second one.
fn collect(world: &World, found: &mut BTreeMap<(String, String), u32>) {
    let sql = "-- test::collect\nSELECT service, delivery_id FROM event WHERE service <> 'hub'";
    for row in run(world.sql.batch(vec![Stmt::new(sql, [])])).unwrap().remove(0) {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        *found.entry((text("service"), text("delivery_id"))).or_default() += 1;
    }
    world.sql.write("DELETE FROM event WHERE service <> 'hub'");
}

#[test]
fn every_item_comes_exactly_once_whatever_the_service_does_and_whenever_the_worker_dies() {
    for seed in [1, 7, 42, 2_026] {
        exactly_once(seed);
    }
}

fn exactly_once(seed: u64) {
    let world = World::new();
    let start = world.machine.now.get();
    let service = Rc::new(RefCell::new(Vicious::new(seed, start)));
    let clock = Rc::new(Cell::new(start));

    // A list in pages, newest first, whose pages shift.
    let (shared, now) = (service.clone(), clock.clone());
    world.net.on(Method::Get, "https://api.github.com/repos/octo/repo/events", move |request| {
        let number = request.url.split("page=").last().and_then(|n| n.parse().ok()).filter(|n| *n < 50).unwrap_or(1);
        let (items, more) = match shared.borrow_mut().page(number, now.get()) {
            Ok(page) => page,
            Err(status) => return reply(status, &[], ""),
        };
        let items: Vec<Value> = items
            .iter()
            .map(|(id, time)| json!({"id": id.to_string(), "type": "PushEvent", "created_at": github_time(*time), "repo": {"name": "octo/repo"}}))
            .collect();
        let mut answer = json_reply(200, json!(items))?;
        answer.headers.set("etag", &format!("\"{}\"", serde_json::to_string(&items).unwrap().len()));
        let hash = format!("\"{:x}\"", items.iter().fold(0u64, |h, i| h.wrapping_mul(31).wrapping_add(i["id"].as_str().unwrap().parse::<u64>().unwrap())));
        answer.headers.set("etag", &hash);
        if number == 1 && request.headers.get("if-none-match") == Some(hash.as_str()) {
            return reply(304, &[], "");
        }
        if more {
            answer.headers.set("link", &format!("<https://api.github.com/repos/octo/repo/events?page={}>; rel=\"next\"", number + 1));
        }
        Ok(answer)
    });
    // The same as a feed that keeps no order, and shows all.
    let shared = service.clone();
    world.net.on(Method::Get, FEED, move |_| {
        let mut service = shared.borrow_mut();
        if !service.calm && service.dice.chance(10) {
            return reply(500, &[], "");
        }
        let mut ids: Vec<(u64, String)> = service.items.iter().map(|i| (i.0, i.0.to_string())).collect();
        for (key, _) in &mut ids {
            *key = service.dice.roll(1 << 30);
        }
        ids.sort();
        let ids: Vec<&str> = ids.iter().map(|(_, id)| id.as_str()).collect();
        reply(200, &[], &rss(&ids))
    });

    let connection = github_connection(&world);
    let listed = poll(
        &world,
        json!({"connection_id": connection, "trigger": "repository_events", "interval": "1m", "inputs": {"repo": "octo/repo"}}),
    );
    feed_poll(&world, json!({"interval": "1m"}));
    // The baseline: what is there before that is no news.
    service.borrow_mut().calm = true;
    tick(&world);
    assert!(show(&world, &listed)["last_poll_ts"].is_string());
    let mut dice = Dice(seed.wrapping_mul(977));
    let mut found = BTreeMap::new();
    let mut deaths = 0;
    for at in 0..320 {
        world.wait(MINUTE);
        clock.set(world.machine.now.get());
        // Two hundred ticks of life; then the service and the worker come to rest.
        let busy = at < 200;
        service.borrow_mut().live(clock.get(), busy);
        service.borrow_mut().calm = !busy;
        let dies = (busy && dice.chance(35)).then(|| dice.roll(60) as u32);
        let mortal = Mortal::new(&world, dies);
        run(mortal.hub().tick());
        deaths += u32::from(mortal.dead.get());
        world.queue.waiting.borrow_mut().clear();
        collect(&world, &mut found);
    }
    let service = service.borrow();
    let expected = service.all_expected();
    assert!(
        deaths > 20 && expected.len() > 100,
        "{deaths} deaths, {} items",
        expected.len()
    );
    println!(
        "seed {seed}: {} items, the worker died {deaths} times in 200 ticks",
        expected.len()
    );
    let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "seed {seed}: twice: {twice:?}");
    let of = |name: &str| found.keys().filter(|(s, _)| s == name).count();
    let missed: Vec<&u64> = expected
        .iter()
        .filter(|id| !found.contains_key(&("github".to_owned(), id.to_string())))
        .collect();
    assert!(
        missed.is_empty(),
        "seed {seed}: missed {missed:?} of {}; {}",
        expected.len(),
        show(&world, &listed)
    );
    let history: Vec<_> = found
        .keys()
        .filter(|(s, id)| s == "github" && id.parse::<u64>().unwrap() < 100)
        .collect();
    assert!(history.is_empty(), "seed {seed}: history became news: {history:?}");
    assert!(
        of("rss-reader") >= expected.len(),
        "seed {seed}: the feed gave {} of {}",
        of("rss-reader"),
        expected.len()
    );
}

/// Counts what one tick asks of the platform.
struct Counted<'a> {
    world: &'a World,
    fetches: Cell<usize>,
    statements: Cell<usize>,
}

#[async_trait(?Send)]
impl Sql for Counted<'_> {
    async fn batch(&self, statements: Vec<Stmt>) -> Result<Vec<Rows>, SqlError> {
        self.statements.set(self.statements.get() + statements.len());
        self.world.sql.batch(statements).await
    }
}

#[async_trait(?Send)]
impl Fetch for Counted<'_> {
    async fn send(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        self.fetches.set(self.fetches.get() + 1);
        self.world.net.send(request, limits).await
    }
}

#[test]
fn ten_thousand_due_polls_are_worked_off_within_the_plan() {
    let world = World::new();
    world.net.on(Method::Get, "https://feeds.example.com/", |_| {
        reply(200, &[], &rss(&["b", "a"]))
    });
    let first = poll(
        &world,
        json!({"integration": "rss-reader", "trigger": "new_entries", "interval": "30d", "backfill": 1, "inputs": {"feeds": ["https://feeds.example.com/0"]}}),
    );
    world.sql.write(&format!(
        "INSERT INTO poll (id, kind, name, integration, part, inputs, interval_ms, backfill, state, due_at, deaths, failures,
           items_seen, progress, seen, created_at, updated_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         SELECT printf('poll_%026d', i), kind, name, integration, part, json_object('feeds', json_array('https://feeds.example.com/' || i)),
           interval_ms, backfill, state, due_at, 0, 0, 0, progress, seen, created_at, updated_at
         FROM poll JOIN n WHERE id = '{first}'"
    ));
    for (plan, limit) in [(None, 50), (Some("1000"), 1_000)] {
        world.sql.write(&format!(
            "UPDATE poll SET due_at = {}, last_poll_ts = NULL",
            world.machine.now.get()
        ));
        if let Some(plan) = plan {
            world.set("PATCHBAY_SUBREQUESTS", plan);
        }
        let (mut ticks, mut most) = (0, 0);
        while world.sql.count("SELECT count(*) FROM poll WHERE last_poll_ts IS NULL") > 0 && ticks < 3_000 {
            world.wait(MINUTE);
            let counted = Counted {
                world: &world,
                fetches: Cell::new(0),
                statements: Cell::new(0),
            };
            let ports = Ports {
                sql: &counted,
                fetch: &counted,
                ..world.ports()
            };
            run(Hub::new(ports).tick());
            world.queue.waiting.borrow_mut().clear();
            world
                .sql
                .write("UPDATE event SET state = 'dispatched' WHERE state = 'pending'");
            most = most.max(counted.fetches.get() + counted.statements.get());
            ticks += 1;
        }
        println!(
            "10,000 polls due at once: {ticks} ticks, at most {most} requests and statements in one (limit {limit})"
        );
        assert!(most <= limit, "{most}");
        assert!(ticks < 3_000, "not done");
    }
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM event WHERE service = 'rss-reader'"),
        10_000
    );
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM poll WHERE lease_by IS NOT NULL OR deaths > 0"),
        0
    );
}

fn metrics(world: &World) -> String {
    let reply = world.request(
        Method::Get,
        "/metrics",
        &[("authorization", "Bearer test-admin-token")],
        b"",
    );
    String::from_utf8(reply.body).unwrap()
}

#[test]
fn a_poll_that_should_have_run_long_ago_is_told_of_once() {
    let world = World::new();
    let id = feed_poll(&world, json!({"owner": "team-a"}));
    let far = world.machine.now.get() + 2 * DAY;
    world
        .sql
        .write(&format!("UPDATE poll SET lease_by = 'x', lease_until = {far}"));

    world.wait(9 * MINUTE);
    run(world.hub().tick());
    assert_eq!(subjects(&world, "hub.poll.overdue"), Vec::<String>::new());
    assert!(metrics(&world).contains("patchbay_polls_overdue{service=\"rss-reader\"} 0\n"));
    for _ in 0..3 {
        tick(&world);
    }

    assert_eq!(subjects(&world, "hub.poll.overdue"), [id]);
    let shown = metrics(&world);
    for line in [
        "patchbay_polls_overdue{service=\"rss-reader\"} 1",
        "patchbay_waiting{kind=\"poll\"} 1",
        "patchbay_oldest_due_seconds{kind=\"poll\"} 720",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line} is not in\n{shown}");
    }
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM event WHERE type = 'hub.poll.overdue' AND owner = 'team-a'"),
        1
    );
}

/// A connection whose service must be asked for webhooks, and a server that answers so.
fn airtable(world: &World) -> (String, String) {
    let (_, made) = world.api(
        Method::Post,
        "/api/v1/connections",
        &json!({"integration": "airtable", "config": {"token": "pat-test"}}),
    );
    let end = Timestamp(world.machine.now.get() + 7 * DAY).rfc3339();
    let reply = json!({"id": "ach1", "macSecretBase64": "c2VjcmV0", "expirationTime": end});
    world.net.on(
        Method::Post,
        "https://api.airtable.com/v0/bases/app1/webhooks",
        move |request| {
            if request.headers.get("authorization") != Some("Bearer pat-test") {
                return json_reply(401, json!({}));
            }
            json_reply(200, reply.clone())
        },
    );
    let connection = made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let body = json!({"connection_id": connection, "subscription": "webhook", "inputs": {"base": "app1"}});
    let (status, made) = world.api(Method::Post, "/api/v1/subscriptions", &body);
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        (&made["service_id"], &made["state"], &made["last_error"]),
        (&json!("ach1"), &json!("active"), &Value::Null),
        "{made}"
    );
    (connection, made["id"].as_str().unwrap().to_owned())
}

#[test]
fn a_subscription_is_made_renewed_at_half_its_life_and_ended() {
    let world = World::new();
    let (connection, id) = airtable(&world);
    let path = format!("/api/v1/subscriptions/{id}");
    let sent = world
        .net
        .to("https://api.airtable.com/v0/bases/app1/webhooks")
        .remove(0);
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(
        body["notificationUrl"],
        format!("https://hub.example.com/api/integration/airtable/events/{connection}")
    );
    assert_eq!(
        body["specification"]["options"]["filters"]["dataTypes"],
        json!(["tableData"])
    );
    // The secret that the service chose verifies its deliveries.
    let notice = br#"{"base":{"id":"app1"},"webhook":{"id":"ach1"},"timestamp":"2026-11-22T10:00:00.000Z"}"#;
    let mac = format!("hmac-sha256={}", support::scene::mac("secret", notice));
    let to = format!("/api/integration/airtable/events/{connection}");
    assert_eq!(
        world
            .request(Method::Post, &to, &[("x-airtable-content-mac", &mac)], notice)
            .status,
        200
    );

    let refreshes = || {
        world
            .net
            .to("https://api.airtable.com/v0/bases/app1/webhooks/ach1/refresh")
            .len()
    };
    world.wait(3 * DAY);
    tick(&world);
    assert_eq!(refreshes(), 0);
    world.wait(DAY);
    tick(&world);
    assert_eq!(refreshes(), 1);

    world.net.on(
        Method::Delete,
        "https://api.airtable.com/v0/bases/app1/webhooks/ach1",
        |_| reply(204, &[], ""),
    );
    assert_eq!(world.api(Method::Delete, &path, &Value::Null).0, 204);
    assert_eq!(world.net.sent.borrow().last().unwrap().method, Method::Delete);
    assert_eq!(world.api(Method::Get, &path, &Value::Null).0, 404);
}

#[test]
fn a_renewal_that_fails_is_told_at_once_and_one_that_is_gone_is_made_anew() {
    let world = World::new();
    let (_, id) = airtable(&world);
    let refresh = "https://api.airtable.com/v0/bases/app1/webhooks/ach1/refresh";
    world.net.once(refresh, |_| reply(500, &[], ""));
    world.net.once(refresh, |_| reply(500, &[], ""));
    world.net.once(refresh, |_| reply(404, &[], ""));

    world.wait(4 * DAY);
    tick(&world);
    assert_eq!(subjects(&world, "hub.subscription.failing"), std::slice::from_ref(&id));
    world.wait(HOUR);
    tick(&world);
    assert_eq!(
        subjects(&world, "hub.subscription.failing").len(),
        1,
        "once for all failures in a row"
    );
    world.wait(HOUR);
    tick(&world);

    let (_, shown) = world.api(Method::Get, &format!("/api/v1/subscriptions/{id}"), &Value::Null);
    assert_eq!(
        (&shown["failures"], &shown["last_error"]),
        (&json!(0), &Value::Null),
        "{shown}"
    );
    let made = world
        .net
        .sent
        .borrow()
        .iter()
        .filter(|r| r.url.ends_with("/webhooks"))
        .count();
    assert_eq!(made, 2);
}

#[test]
fn polls_of_an_owner_are_their_own() {
    let world = World::new();
    world.net.on(Method::Get, FEED, |_| reply(200, &[], &rss(&["a"])));
    let (_, key) = world.api(
        Method::Post,
        "/api/v1/keys",
        &json!({"name": "test key", "scopes": ["connections:read", "connections:write"], "owner": "team-a"}),
    );
    let token = format!(
        "Bearer {}",
        key["key"]
            .as_str()
            .or(key["token"].as_str())
            .unwrap_or_else(|| panic!("{key}"))
    );
    let as_team = |method, path: &str, body: Value| {
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let reply = world.request(method, path, &headers, &bytes);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    };
    let others = feed_poll(&world, json!({"owner": "team-b"}));
    let connection = github_connection(&world);

    let body =
        json!({"integration": "rss-reader", "trigger": "new_entries", "inputs": {"feeds": [FEED]}, "backfill": 1});
    let (status, made) = as_team(Method::Post, "/api/v1/polls", body.clone());
    assert_eq!((status, &made["owner"]), (201, &json!("team-a")), "{made}");
    let (_, list): (u16, Value) = as_team(Method::Get, "/api/v1/polls", Value::Null);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    for (method, tail) in [(Method::Get, ""), (Method::Delete, ""), (Method::Post, "/run")] {
        let body = if method == Method::Post { json!({}) } else { Value::Null };
        assert_eq!(as_team(method, &format!("/api/v1/polls/{others}{tail}"), body).0, 404);
    }
    let foreign = json!({"connection_id": connection, "trigger": "repository_events", "inputs": {"repo": "o/r"}});
    assert_eq!(as_team(Method::Post, "/api/v1/polls", foreign).0, 400);
    let mut spoofed = body;
    spoofed["owner"] = json!("team-b");
    assert_eq!(as_team(Method::Post, "/api/v1/polls", spoofed).0, 403);

    tick(&world);
    assert_eq!(world.sql.count("SELECT count(*) FROM event WHERE owner = 'team-a'"), 1);
}

//! How much may come in, what an operator sees, and what a program that follows gets.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

mod support;

use async_trait::async_trait;
use patchbay::http::{Method, Response};
use patchbay::hub::Hub;
use patchbay::ports::{Cache, Ports, Rows, Sql, SqlError, Stmt};
use patchbay::time::{DAY, MINUTE, SECOND};
use serde_json::{Value, json};
use support::scene::*;
use support::{World, json_reply, run};

const TOKEN: [(&str, &str); 1] = [("authorization", "Bearer test-admin-token")];

fn ping(world: &World, id: &str) -> (u16, Value) {
    deliver(world, id, "ping", b"{\"n\":1}")
}

fn text(reply: &Response) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

#[test]
fn accepting_is_one_statement_whatever_is_limited() {
    let world = world();
    world.set("PATCHBAY_EVENTS_PER_MINUTE", "1000");
    world.set("PATCHBAY_DAILY_ROWS", "100000");
    world.set("PATCHBAY_DAILY_KV_WRITES", "1000");
    for n in 0..250 {
        assert_eq!(ping(&world, &format!("d-{n}")).0, 202);
    }

    let ran = world.sql.ran.borrow();
    let of = |name: &str| ran.iter().filter(|n| *n == name).count();
    assert_eq!((of("event::insert"), of("budget::spend"), ran.len()), (250, 3, 253));
}

#[test]
fn the_platforms_limiter_refuses_before_anything_is_read() {
    let world = world();
    world.gate.left.borrow_mut().insert("github".to_owned(), 2);
    assert_eq!((ping(&world, "d-1").0, ping(&world, "d-2").0), (202, 202));
    world.sql.ran.borrow_mut().clear();

    let (status, problem) = ping(&world, "d-3");

    assert_eq!((status, &problem["code"]), (429, &json!("RATE_LIMIT_EXCEEDED")));
    assert!(world.sql.ran.borrow().is_empty());
}

#[test]
fn a_source_has_a_quota_that_only_verified_deliveries_use_up() {
    let world = world();
    world.set("PATCHBAY_EVENTS_PER_MINUTE", "3");
    let path = connection(&world, "github", json!({"webhook_secret": SECRET}));
    for n in 0..5 {
        let forged = world.request(
            Method::Post,
            "/api/integration/github/events",
            &[
                ("x-github-event", "ping"),
                ("x-github-delivery", "x"),
                ("x-hub-signature-256", "sha256=00"),
            ],
            b"{}",
        );
        assert_eq!(forged.status, 401, "{n}");
    }
    let codes: Vec<u16> = (0..5).map(|n| ping(&world, &format!("d-{n}")).0).collect();
    assert_eq!(codes, [202, 202, 202, 429, 429]);
    let refused = {
        let signature = format!("sha256={}", mac(SECRET, b"{}"));
        let headers = [
            ("x-github-event", "ping"),
            ("x-github-delivery", "d-9"),
            ("x-hub-signature-256", signature.as_str()),
        ];
        world.request(Method::Post, &path, &headers, b"{}")
    };
    assert_eq!(refused.status, 202, "another source has its own");

    world.wait(MINUTE);
    assert_eq!(ping(&world, "d-4").0, 202);
}

#[test]
fn the_days_budget_ends_in_a_polite_503_and_begins_anew() {
    let world = world();
    world.set("PATCHBAY_DAILY_ROWS", "800");
    let mut accepted = 0;
    let refused = loop {
        let signature = format!("sha256={}", mac(SECRET, b"{}"));
        let id = format!("d-{accepted}");
        let headers = [
            ("x-github-event", "ping"),
            ("x-github-delivery", id.as_str()),
            ("x-hub-signature-256", signature.as_str()),
        ];
        let reply = world.request(Method::Post, "/api/integration/github/events", &headers, b"{}");
        if reply.status != 202 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 1_000);
    };
    assert_eq!(accepted, 100, "8 rows each");
    assert_eq!(refused.status, 503);
    let wait: u32 = refused.headers.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_601).contains(&wait));
    assert_eq!(world.sql.count("SELECT count(*) FROM event"), 100);

    world.wait(DAY);
    assert_eq!(ping(&world, "tomorrow").0, 202);
}

#[test]
fn metrics_say_what_waits_what_came_and_how_long_it_took() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    ping(&world, "d-1");
    world.work();
    for n in 0..3 {
        ping(&world, &format!("waits-{n}"));
    }
    deliver(&world, "forged", "ping", b"{}");
    world.request(
        Method::Post,
        "/api/integration/github/events",
        &[
            ("x-github-event", "ping"),
            ("x-github-delivery", "x"),
            ("x-hub-signature-256", "sha256=00"),
        ],
        b"{}",
    );
    world.wait(MINUTE);

    let reply = world.request(Method::Get, "/metrics", &TOKEN, b"");
    let shown = text(&reply);
    assert!(
        reply
            .headers
            .get("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    for line in [
        "patchbay_waiting{kind=\"event\"} 4",
        "patchbay_waiting{kind=\"delivery\"} 0",
        "patchbay_oldest_due_seconds{kind=\"event\"} 60",
        "patchbay_recent_events{service=\"github\"} 5",
        "patchbay_recent_deliveries{service=\"github\",state=\"delivered\"} 1",
        "patchbay_recent_delivery_milliseconds_bucket{service=\"github\",le=\"+Inf\"} 1",
        "patchbay_recent_delivery_milliseconds_count{service=\"github\"} 1",
        "patchbay_isolate_rejected_total{of=\"wrong_signature\",service=\"github\"} 1",
        "patchbay_destinations_failing 0",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line} is not in\n{shown}");
    }
    // Every line is a comment or a sample, and every sample's metric was announced.
    for line in shown.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        value.parse::<i64>().unwrap();
        let name = name.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|s| name.strip_suffix(s))
            .unwrap_or(name);
        assert!(shown.contains(&format!("# TYPE {family} ")), "{line}");
    }

    world.sql.ran.borrow_mut().clear();
    world.request(Method::Get, "/metrics", &TOKEN, b"");
    assert!(world.sql.ran.borrow().is_empty(), "an eager scraper costs nothing more");
    assert_eq!(world.request(Method::Get, "/metrics", &[], b"").status, 401);
}

#[test]
fn polls_count_towards_the_days_budget_and_wait_for_the_next_day() {
    let world = world();
    world.set("PATCHBAY_DAILY_ROWS", "100");
    let url = "https://api.example.com/list";
    world.net.on(Method::Get, url, |_| {
        json_reply(200, (0..20).map(|n| json!({"id": n})).collect())
    });
    let body = json!({"integration": "http-json", "trigger": "new_items", "interval": "1m", "backfill": 20,
                      "inputs": {"url": url}});
    let (status, poll) = world.api(Method::Post, "/api/v1/polls", &body);
    assert_eq!(status, 201, "{poll}");
    run(world.hub().tick());
    assert_eq!(world.sql.count("SELECT count(*) FROM event"), 20);

    assert_eq!(ping(&world, "d-1").0, 503, "what polls brought is counted");
    world.sql.ran.borrow_mut().clear();
    for _ in 0..30 {
        world.wait(MINUTE);
        run(world.hub().tick());
    }
    assert_eq!(world.net.to(url).len(), 1, "and they wait too");
    let polls = world
        .sql
        .ran
        .borrow()
        .iter()
        .filter(|name| name.starts_with("poll::"))
        .count();
    assert_eq!(polls, 0, "at no cost");

    world.wait(DAY);
    run(world.hub().tick());
    assert_eq!(world.net.to(url).len(), 2);
    let path = format!("/api/v1/polls/{}", poll.get("id").and_then(Value::as_str).unwrap());
    let (_, shown) = world.api(Method::Get, &path, &Value::Null);
    assert_eq!(
        (&shown["failures"], &shown["last_error"], &shown["state"]),
        (&json!(0), &Value::Null, &json!("active"))
    );
}

/// A figure as a scrape has it that finds nothing remembered.
fn figure(world: &World, name: &str) -> Option<i64> {
    world.memory.remove("metrics");
    let shown = text(&world.request(Method::Get, "/metrics", &TOKEN, b""));
    let line = shown
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn with_waits(world: &World, waits_s: &[i64]) {
    let body = json!({"name": "d", "url": SUBSCRIBER, "event_types": ["github.*"], "retry": {"waits_s": waits_s}});
    assert_eq!(world.api(Method::Post, "/api/v1/destinations", &body).0, 201);
}

fn refuses(world: &World, times: usize) {
    for _ in 0..times {
        world.net.once(SUBSCRIBER, |_| Ok(Response::text(500, "down")));
    }
}

#[test]
fn a_delivery_is_counted_when_it_ends_however_long_that_takes() {
    let took = |most: &str| format!("patchbay_recent_delivery_milliseconds_bucket{{service=\"github\",le=\"{most}\"}}");
    let ended = |state: &str| format!("patchbay_recent_deliveries{{service=\"github\",state=\"{state}\"}}");
    // Seconds between the tries, how many fail, and what there is at the end.
    let cases = [
        ([].as_slice(), 0, "delivered", [Some(1), Some(1), Some(1), Some(1)]),
        ([30].as_slice(), 1, "delivered", [Some(0), Some(1), Some(1), Some(1)]),
        ([1_200].as_slice(), 1, "delivered", [Some(0), Some(0), Some(1), Some(1)]),
        (
            [36_000].as_slice(),
            1,
            "delivered",
            [Some(0), Some(0), Some(0), Some(1)],
        ),
        ([36_000].as_slice(), 2, "failed", [None; 4]),
    ];
    for (waits, failures, state, expected) in cases {
        let world = world();
        with_waits(&world, waits);
        refuses(&world, failures);
        ping(&world, "d-1");
        assert_eq!(figure(&world, &ended(state)), None);
        world.work();
        assert_eq!(figure(&world, &ended(state)), Some(1), "{waits:?} {failures}");
        let buckets = ["5000", "600000", "3600000", "86400000"].map(|most| figure(&world, &took(most)));
        assert_eq!(buckets, expected, "{waits:?} {failures}");
        world.wait(6 * MINUTE);
        assert_eq!(figure(&world, &ended(state)), None, "five minutes later it is no news");
    }
}

#[test]
fn what_waits_for_days_is_seen_though_nothing_is_due() {
    let world = world();
    let [due, undelivered] = ["due", "undelivered"].map(|what| {
        let kinds = ["event", "delivery"];
        kinds.map(|kind| format!("patchbay_oldest_{what}_seconds{{kind=\"{kind}\"}}"))
    });
    with_waits(&world, &[604_800]);
    refuses(&world, 1);
    let (_, first) = ping(&world, "d-1");
    let id = first["id"].as_str().unwrap();
    run(world.hub().wake(id));
    world.queue.waiting.borrow_mut().clear();
    world.wait(3 * DAY);
    assert_eq!(figure(&world, "patchbay_waiting{kind=\"delivery\"}"), Some(1));
    assert_eq!(figure(&world, &due[1]), Some(0));
    let days = figure(&world, &undelivered[1]).unwrap() / 86_400;
    assert_eq!(days, 3);

    assert_eq!(figure(&world, &undelivered[0]), Some(0));
    let replayed = world.api(Method::Post, &format!("/api/v1/events/{id}/replay"), &json!({}));
    assert_eq!(replayed.0, 202, "{}", replayed.1);
    assert_eq!(figure(&world, "patchbay_waiting{kind=\"event\"}"), Some(1));
    assert_eq!(
        figure(&world, &undelivered[0]),
        Some(0),
        "a replay is none that nobody has seen"
    );
    ping(&world, "d-2");
    world.wait(MINUTE);
    assert_eq!(figure(&world, &undelivered[0]), Some(60));
}

#[test]
fn those_that_wait_for_their_turn_do_not_hide_what_is_due() {
    let world = world();
    let now = world.machine.now.get();
    world.sql.write(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1199)
         INSERT INTO delivery (id, event_id, destination_id, message, state, attempts, order_key, due_at, created_at,
           updated_at)
         SELECT 'dlv_' || printf('%026d', i), 'evt_1', 'dst_1', 'event', 'pending', '[]', 'k',
           CASE WHEN i = 0 THEN {} END, {now}, {now} FROM n",
        now - MINUTE
    ));

    assert_eq!(figure(&world, "patchbay_waiting{kind=\"delivery\"}"), Some(1_000));
    assert_eq!(
        figure(&world, "patchbay_oldest_due_seconds{kind=\"delivery\"}"),
        Some(60)
    );
}

#[test]
fn destinations_that_fail_or_are_off_are_counted() {
    let world = world();
    with_waits(&world, &[60]);
    let [failing, disabled] = ["failing", "disabled"].map(|what| format!("patchbay_destinations_{what}"));
    assert_eq!(
        (figure(&world, &failing), figure(&world, &disabled)),
        (Some(0), Some(0))
    );
    refuses(&world, 2);
    ping(&world, "d-1");
    world.work();
    assert_eq!(
        (figure(&world, &failing), figure(&world, &disabled)),
        (Some(1), Some(0))
    );
    world.net.once(SUBSCRIBER, |_| Ok(Response::empty(410)));
    ping(&world, "d-2");
    world.work();
    assert_eq!(
        (figure(&world, &failing), figure(&world, &disabled)),
        (Some(0), Some(1))
    );
}

/// The events of a stream's reply, and the id that the next one resumes with.
fn streamed(reply: &Response) -> (Vec<Value>, String) {
    let text = text(reply);
    let mut events = Vec::new();
    let mut last = String::new();
    for block in text.split("\n\n") {
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => last = id.to_owned(),
                Some(("data", data)) => events.push(serde_json::from_str(data).unwrap()),
                _ => {}
            }
        }
    }
    (events, last)
}

fn follow(world: &World, target: &str, last: Option<&str>) -> Response {
    let mut headers = TOKEN.to_vec();
    headers.extend(last.map(|id| ("last-event-id", id)));
    world.request(Method::Get, target, &headers, b"")
}

#[test]
fn a_follower_gets_every_event_once_and_in_order() {
    let world = world();
    let mut sent = Vec::new();
    for n in 0..45 {
        sent.push(ping(&world, &format!("d-{n}")).1["id"].as_str().unwrap().to_owned());
    }
    let mut got = Vec::new();
    let mut last = "evt_00000000000000000000000000".to_owned();
    for _ in 0..3 {
        let reply = follow(
            &world,
            "/api/v1/events/stream?after=evt_7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            Some(&last),
        );
        assert_eq!(
            reply.headers.get("content-type"),
            Some("text/event-stream; charset=utf-8")
        );
        let (events, next) = streamed(&reply);
        got.extend(events.iter().map(|e: &Value| e["id"].as_str().unwrap().to_owned()));
        last = next;
    }

    assert_eq!(got, sent, "what a client resumes with counts, not what its URL says");
    let (events, _) = streamed(&follow(
        &world,
        &format!("/api/v1/events/stream?after={}", sent[42]),
        None,
    ));
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["data"], json!({"n": 1}));
    assert_eq!(events[0]["specversion"], "1.0");
}

#[test]
fn a_follower_waits_and_then_is_moved_on() {
    let world = world();
    world.sql.ran.borrow_mut().clear();
    let began = world.machine.now.get();

    let (events, last) = streamed(&follow(&world, "/api/v1/events/stream", None));

    assert!(events.is_empty());
    assert!((25_000..28_000).contains(&(world.machine.now.get() - began)));
    assert!(world.sql.ran.borrow().len() <= 40);
    let id = ping(&world, "d-1").1["id"].as_str().unwrap().to_owned();
    let (events, next) = streamed(&follow(&world, "/api/v1/events/stream", Some(&last)));
    assert_eq!((events.len(), next), (1, id));
    assert_eq!(
        follow(&world, "/api/v1/events/stream?after=yesterday", None).status,
        400
    );
}

/// A database that takes its time to answer.
struct Slow<'a>(&'a World);

#[async_trait(?Send)]
impl Sql for Slow<'_> {
    async fn batch(&self, statements: Vec<Stmt>) -> Result<Vec<Rows>, SqlError> {
        let found = self.0.sql.batch(statements).await;
        self.0.wait(30 * SECOND);
        found
    }
}

#[test]
fn a_follower_misses_nothing_that_came_during_a_slow_search() {
    let world = world();
    let id = ping(&world, "d-1").1["id"].as_str().unwrap().to_owned();
    world.wait(4 * SECOND);
    let slow = Slow(&world);
    let hub = Hub::new(Ports {
        sql: &slow,
        ..world.ports()
    });

    // The event is too young for this search, and old enough by the time that it ends.
    let text = run(hub.follow(None, None)).unwrap();

    let last = text.trim_end().rsplit_once("id: ").map(|(_, id)| id.to_owned());
    let (events, _) = streamed(&follow(&world, "/api/v1/events/stream", last.as_deref()));
    assert_eq!(
        (events.len(), events[0]["id"].as_str()),
        (1, Some(id.as_str())),
        "{text}"
    );
}

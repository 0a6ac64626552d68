//! A hundred thousand stored events: what each question costs then, as SQLite plans it.

mod support;

use patchbay::http::{Method, Response};
use serde_json::{Value, json};
use support::World;
use support::run;
use support::scene::*;

/// Many events that were dispatched, a month's, with a delivery each; the ids sort by time as the hub's own.
fn crowd(world: &World, events: usize) {
    world.sql.write(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {events} - 1)
         INSERT INTO event (id, source, delivery_id, service, type, subject, received_at, trace_id, headers, state, due_at,
           tries, size, payload)
         SELECT 'evt_01J' || printf('%023d', i), 'app:github', 'old-' || i, 'github', 'github.push', 'octo/repo',
           1730000000000 + i * 1000, '4bf92f3577b34da6a3ce929d0e0e4736', '{{}}', 'dispatched', 1, 1, 2, '{{}}' FROM n"
    ));
    world.sql.write(
        "INSERT INTO delivery (id, event_id, destination_id, message, state, attempts, created_at, updated_at)
         SELECT 'dlv_' || substr(id, 5), id, 'dst_01J00000000000000000000000', 'event', 'delivered', '[]', 1, 1 FROM event",
    );
}

/// Tables that grow with the traffic: no statement may read one from end to end.
const GROWING: [&str; 7] = [
    "event",
    "delivery",
    "run",
    "audit",
    "conversation",
    "rejection",
    "replay",
];

#[test]
fn no_statement_reads_a_growing_table_from_end_to_end() {
    let world = world();
    destination(&world, AGENT, "agent", &["create_comment"]);
    let subscriber = destination(&world, SUBSCRIBER, "subscriber", &[]);
    let ordered = json!({"ordering": "{{ event.type }}"});
    world.api(Method::Patch, &format!("/api/v1/destinations/{subscriber}"), &ordered);
    // Everything that runs by itself: accepting, dispatching, answering, sweeping, purging, sealing, replaying.
    let event = mention(&world, "d-1", "@patchbay hello");
    deliver(&world, "d-1", "ping", b"{}");
    world.work();
    let letter = letters(&world).pop().unwrap();
    answer(&world, &letter, json!({"status": "completed", "message": "done"}));
    world.work();
    let (status, _) = world.api(Method::Post, &format!("/api/v1/events/{event}/replay"), &json!({}));
    assert_eq!(status, 202);
    world.api(
        Method::Post,
        "/api/v1/events/replay",
        &json!({"filter": {"service": "github", "delivery_status": "failed"}}),
    );
    world.work();
    world.wait(40 * patchbay::time::DAY);
    run(world.hub().tick());
    world.work();
    // And what people ask for.
    for path in [
        "/api/v1/events",
        "/api/v1/events?type=x&service=github&q=octo",
        "/api/v1/deliveries",
        "/api/v1/deliveries?status=failed",
        "/api/v1/audit?act=x",
        "/api/v1/audit/verify",
        "/api/v1/replays",
        "/api/v1/runs",
        "/api/v1/runs?conversation_id=x",
        "/api/v1/polls",
        "/metrics",
    ] {
        assert_eq!(world.api(Method::Get, path, &Value::Null).0, 200, "{path}");
    }
    for path in ["/api/v1/events", "/api/v1/runs", "/api/v1/events/stream"] {
        assert_eq!(asked_by_an_owner(&world, path).status, 200, "{path}");
    }

    let plans = world.sql.plans.borrow();
    assert!(plans.len() > 30, "{:?}", plans.keys());
    // Not by the primary key, which would lead past every delivery there ever was.
    for (statement, index) in [
        (
            "metrics::ended",
            "delivery USING INDEX delivery_ended_late (updated_at>?)",
        ),
        (
            "metrics::deliveries_undelivered",
            "delivery USING COVERING INDEX delivery_pending",
        ),
        (
            "metrics::deliveries_waiting",
            "delivery USING COVERING INDEX delivery_pending (due_at>?)",
        ),
    ] {
        let plan = &plans[statement];
        assert!(plan.iter().any(|step| step.contains(index)), "{statement}: {plan:#?}");
    }
    // Lists of what is few, or that are read in the order of their key until their LIMIT ends it.
    let bounded = [
        "rejection::list",
        "replay::list",
        "poll::list",
        "rejection::purge",
        "audit::head",
    ];
    for (name, plan) in plans.iter() {
        for step in plan {
            let Some(scanned) = step.strip_prefix("SCAN ") else {
                continue;
            };
            let what = scanned.split_whitespace().next().unwrap();
            let derived = what.starts_with('(')
                || scanned.contains("VIRTUAL TABLE")
                || plan
                    .iter()
                    .any(|s| s.ends_with(&format!("-ROUTINE {what}")) || *s == format!("MATERIALIZE {what}"));
            // Links and sign-ins under way end after ten minutes; a rotation is one row for each table.
            let few = [
                "CONSTANT",
                "destination",
                "meta",
                "budget",
                "connect_link",
                "oauth_state",
                "key_rotation",
            ]
            .contains(&what);
            let of_a_part = scanned.contains("USING INDEX") || scanned.contains("USING COVERING INDEX");
            let known = GROWING.contains(&what);
            assert!(
                derived || few || of_a_part || bounded.contains(&name.as_str()),
                "{name} reads {what} (a growing table: {known}) from end to end: {plan:#?}"
            );
        }
    }
}

#[test]
fn a_filter_without_a_match_looks_at_a_bounded_part_and_says_where_to_go_on() {
    let world = world();
    crowd(&world, 30_000);

    let mut target = "/api/v1/events?service=nobody&limit=10".to_owned();
    let mut pages = 0;
    loop {
        world.sql.ran.borrow_mut().clear();
        let (status, page) = world.api(Method::Get, &target, &Value::Null);
        assert_eq!(status, 200);
        assert_eq!(page["data"], json!([]));
        assert_eq!(world.sql.ran.borrow().len(), 2, "one window and its end");
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(cursor) => target = format!("/api/v1/events?service=nobody&limit=10&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(pages, 16, "2,000 events each, and the end");
}

/// What a key of an owner who has nothing is answered.
fn asked_by_an_owner(world: &World, path: &str) -> Response {
    let new = json!({"name": "theirs", "scopes": ["events:read", "actions:execute"], "owner": "team-b"});
    let (status, key) = world.api(Method::Post, "/api/v1/keys", &new);
    assert_eq!(status, 201, "{key}");
    let bearer = format!(
        "Bearer {}",
        key.get("token").and_then(Value::as_str).unwrap_or_default()
    );
    world.request(Method::Get, path, &[("authorization", bearer.as_str())], b"")
}

#[test]
fn an_owner_who_follows_looks_at_a_bounded_part_at_a_time_and_comes_to_the_end() {
    let world = world();
    crowd(&world, 30_000);
    world
        .sql
        .write("UPDATE event SET owner = 'team-b' WHERE id = (SELECT max(id) FROM event)");
    world.sql.ran.borrow_mut().clear();

    let reply = asked_by_an_owner(&world, "/api/v1/events/stream?after=evt_00000000000000000000000000");

    let text = String::from_utf8_lossy(&reply.body);
    assert_eq!(text.matches("\ndata: ").count(), 1, "{text}");
    assert!(
        text.trim_end().contains("id: evt_01J00000000000000000029999\n"),
        "{text}"
    );
    let ran = world.sql.ran.borrow();
    let searches = ran.iter().filter(|name| *name == "search::behind").count();
    assert_eq!(searches, 15, "2,000 events each");
}

#[test]
fn an_owners_runs_are_searched_in_bounded_parts() {
    let world = world();
    world.sql.write(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4999)
         INSERT INTO run (id, integration, action, inputs, status, unsettled, attempts, fingerprint, ordinal, owner, created_at, updated_at)
         SELECT 'run_01J' || printf('%023d', i), 'github', 'x', '{}', 'failed', 0, '[]', '', 0, iif(i = 7, 'team-b', NULL), 1, 1 FROM n",
    );
    let mut found = Vec::new();
    let mut path = "/api/v1/runs?limit=10".to_owned();
    for _ in 0..3 {
        let reply = asked_by_an_owner(&world, &path);
        let page: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        found.push(page["data"].as_array().map_or(0, Vec::len));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/runs?limit=10&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(found, [0, 0, 1], "2,000 at a time");
}

#[test]
fn pages_of_a_filter_hold_every_event_once() {
    let world = world();
    crowd(&world, 9_000);
    world
        .sql
        .write("UPDATE event SET service = 'gitlab' WHERE substr(id, -1) = '7'");

    let mut seen = Vec::new();
    let mut target = "/api/v1/events?service=gitlab&limit=190".to_owned();
    loop {
        let (_, page) = world.api(Method::Get, &target, &Value::Null);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 190);
        seen.extend(data.iter().map(|e| e["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => target = format!("/api/v1/events?service=gitlab&limit=190&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 900);
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
}

#[test]
fn an_event_is_found_by_its_id_without_a_search() {
    let world = world();
    crowd(&world, 3_000);

    let (_, page) = world.api(
        Method::Get,
        "/api/v1/events?q=evt_01J00000000000000000000042&limit=5",
        &Value::Null,
    );

    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert_eq!(page["next_cursor"], Value::Null);
}

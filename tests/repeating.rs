//! Events once more, what is kept and for how long, and the proof of who did what.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly; JSON indexing gives null"
)]

mod support;

use patchbay::http::{Method, Response};
use patchbay::time::{DAY, MINUTE};
use serde_json::{Value, json};
use support::scene::*;
use support::{World, noise, run};

const OTHER: &str = "https://other.example.com/hook";

fn ready() -> World {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world
}

fn accepted(world: &World, id: &str) -> String {
    let (status, made) = deliver(world, id, "ping", b"{\"n\":1}");
    assert_eq!(status, 202);
    made["id"].as_str().unwrap().to_owned()
}

fn post(world: &World, path: &str, body: &Value) -> (u16, Value) {
    world.api(Method::Post, path, body)
}

#[test]
fn a_replay_is_marked_signed_anew_and_has_a_row_of_its_own() {
    let world = ready();
    let event = accepted(&world, "d-1");
    world.work();
    world.wait(DAY);

    let (status, _) = post(&world, &format!("/api/v1/events/{event}/replay"), &json!({}));
    assert_eq!(status, 202);
    world.work();

    let sent = world.net.to(SUBSCRIBER);
    assert_eq!(sent.len(), 2);
    let field = |at: usize, name: &str| sent[at].headers.get(name).map(str::to_owned);
    assert_eq!(field(0, "webhook-id"), field(1, "webhook-id"), "one message");
    assert_ne!(field(0, "webhook-timestamp"), field(1, "webhook-timestamp"));
    assert_ne!(field(0, "webhook-signature"), field(1, "webhook-signature"));
    assert_eq!(
        (field(0, "webhook-replay"), field(1, "webhook-replay")),
        (None, Some("true".into()))
    );
    let body: Value = serde_json::from_slice(&sent[1].body).unwrap();
    assert_eq!(body["replay"], true);
    let (_, shown) = world.api(Method::Get, &format!("/api/v1/events/{event}"), &Value::Null);
    let marks: Vec<_> = shown["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["replay"])
        .collect();
    assert_eq!(marks, [false, true]);
}

#[test]
fn a_replay_can_go_to_one_destination_alone() {
    let world = ready();
    let event = accepted(&world, "d-1");
    world.work();
    let other = destination(&world, OTHER, "subscriber", &[]);

    post(
        &world,
        &format!("/api/v1/events/{event}/replay"),
        &json!({"destination_id": other}),
    );
    world.work();

    assert_eq!((world.net.to(SUBSCRIBER).len(), world.net.to(OTHER).len()), (1, 1));
}

#[test]
fn an_event_that_could_not_be_dispatched_is_revived() {
    let world = ready();
    let event = accepted(&world, "d-1");
    world.sql.write("UPDATE event SET state = 'failed', tries = 20");
    world.work();
    assert_eq!(world.net.to(SUBSCRIBER).len(), 0);

    post(&world, &format!("/api/v1/events/{event}/replay"), &json!({}));
    world.work();

    let sent = world.net.to(SUBSCRIBER);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].headers.get("webhook-replay"), None, "nobody has seen it");
}

#[test]
fn an_event_that_could_not_be_dispatched_is_sent_to_the_one_that_was_named() {
    let world = ready();
    let other = destination(&world, OTHER, "subscriber", &[]);
    let event = accepted(&world, "d-1");
    world.queue.waiting.borrow_mut().clear();
    for _ in 0..2 {
        world.sql.write("UPDATE event SET state = 'failed', tries = 20");
        let path = format!("/api/v1/events/{event}/replay");
        assert_eq!(post(&world, &path, &json!({"destination_id": other})).0, 202);
    }
    world.work();

    assert_eq!((world.net.to(SUBSCRIBER).len(), world.net.to(OTHER).len()), (0, 1));
    let first = &world.net.to(OTHER)[0];
    assert_eq!(first.headers.get("webhook-replay"), None, "nobody has seen it");
    post(&world, &format!("/api/v1/events/{event}/replay"), &json!({}));
    world.work();
    let again = &world.net.to(OTHER)[1];
    assert_eq!(again.headers.get("webhook-replay"), Some("true"));
}

#[test]
fn a_replay_that_nobody_would_get_is_refused() {
    let world = ready();
    let event = accepted(&world, "d-1");
    world.work();
    let gone = destination(&world, OTHER, "subscriber", &[]);
    world.api(Method::Delete, &format!("/api/v1/destinations/{gone}"), &Value::Null);
    let make = |more: &Value| {
        let mut body = json!({"name": "d", "url": OTHER, "event_types": ["*"]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, made) = world.api(Method::Post, "/api/v1/destinations", &body);
        assert_eq!(status, 201, "{made}");
        made["id"].clone()
    };
    // What is named; the status for one event, and for many.
    let cases = [
        (json!("dst_1"), 400, 400),
        (json!(gone), 400, 400),
        (make(&json!({"enabled": false})), 409, 409),
        (make(&json!({"owner": "team-a"})), 400, 202),
        (make(&json!({"event_types": ["stripe.*"]})), 400, 202),
        (make(&json!({})), 202, 202),
    ];
    for (id, one, many) in cases {
        let path = format!("/api/v1/events/{event}/replay");
        let (status, problem) = post(&world, &path, &json!({"destination_id": id}));
        assert_eq!(status, one, "{id}: {problem}");
        let filter = json!({"filter": {"destination_id": id}});
        let (status, problem) = post(&world, "/api/v1/events/replay", &filter);
        assert_eq!(status, many, "{id}: {problem}");
        world.work();
    }
    assert_eq!(world.net.to(OTHER).len(), 2, "to the last one alone, by either way");
}

#[test]
fn what_was_refused_is_not_in_the_audit_log() {
    let world = ready();
    let event = accepted(&world, "d-1");
    let told = |act: &str| {
        let sql = format!("SELECT count(*) FROM audit WHERE act = '{act}'");
        world.sql.count(&sql)
    };
    let path = format!("/api/v1/events/{event}");
    assert_eq!(post(&world, &format!("{path}/replay"), &json!({})).0, 409, "it is due");
    assert_eq!(told("event.replayed"), 0);
    world.work();
    let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
    let delivery = list["data"][0]["id"].as_str().unwrap();
    let retry = format!("/api/v1/deliveries/{delivery}/retry");
    assert_eq!(post(&world, &retry, &Value::Null).0, 409, "it arrived");
    assert_eq!(told("delivery.retried"), 0);
    let (_, job) = post(&world, "/api/v1/events/replay", &json!({"filter": {}}));
    world.work();
    let cancel = format!("/api/v1/replays/{}/cancel", job["id"].as_str().unwrap());
    assert_eq!(post(&world, &cancel, &Value::Null).0, 409, "it is done");
    assert_eq!(told("replay.cancelled"), 0);
    let hold = |hold: bool| world.api(Method::Patch, &path, &json!({"hold": hold})).0;
    assert_eq!(hold(true), 200);
    world.sql.write("UPDATE event SET state = 'purged'");
    assert_eq!(hold(true), 409);
    assert_eq!(told("event.held"), 1, "what was done is there");
    let made = connection(&world, "github", json!({"webhook_secret": SECRET}));
    let id = made.rsplit('/').next().unwrap();
    let faster = "UPDATE connection SET version = version + 1";
    for (meanwhile, status, entries) in [(Some(faster), 409, 0), (None, 200, 1)] {
        if let Some(sql) = meanwhile {
            // It is read twice: to see whose it is, and to change it.
            world.sql.meanwhile("connection::find", "UPDATE meta SET value = value");
            world.sql.meanwhile("connection::find", sql);
        }
        let path = format!("/api/v1/connections/{id}");
        let (found, _) = world.api(Method::Patch, &path, &json!({"name": "new"}));
        assert_eq!((found, told("connection.changed")), (status, entries));
        world.sql.write("UPDATE connection SET version = 1");
    }
}

#[test]
fn many_are_planned_replayed_and_counted() {
    let world = ready();
    for n in 0..130 {
        accepted(&world, &format!("d-{n}"));
        let (_, _) = deliver(&world, &format!("other-{n}"), "push", b"{}");
    }
    world.work();
    let before = world.net.to(SUBSCRIBER).len();
    let filter = json!({"type": "github.ping*", "status": "dispatched"});

    let (_, plan) = post(
        &world,
        "/api/v1/events/replay",
        &json!({"filter": filter, "dry_run": true}),
    );
    assert_eq!((&plan["events"], &plan["complete"]), (&json!(130), &json!(true)));
    let (status, job) = post(&world, "/api/v1/events/replay", &json!({"filter": filter}));
    assert_eq!((status, &job["status"]), (202, &json!("running")));
    world.work();

    let path = format!("/api/v1/replays/{}", job["id"].as_str().unwrap());
    let (_, shown) = world.api(Method::Get, &path, &Value::Null);
    assert_eq!((&shown["status"], &shown["replayed"]), (&json!("done"), &json!(130)));
    assert_eq!(world.net.to(SUBSCRIBER).len() - before, 130);
}

#[test]
fn a_replay_survives_a_crash_and_sends_no_batch_twice() {
    let world = ready();
    for n in 0..100 {
        accepted(&world, &format!("d-{n}"));
    }
    world.work();
    let (_, job) = post(&world, "/api/v1/events/replay", &json!({"filter": {}}));
    let id = job["id"].as_str().unwrap().to_owned();
    world.queue.waiting.borrow_mut().clear();

    // Two workers begin the same step; one dies behind it, and its messages are lost.
    run(futures_util::future::join_all([
        world.hub().wake(&id),
        world.hub().wake(&id),
    ]));
    world.queue.waiting.borrow_mut().clear();
    for _ in 0..5 {
        world.wait(2 * MINUTE);
        sweep(&world);
    }

    assert_eq!(world.net.to(SUBSCRIBER).len(), 200);
    assert_eq!(world.sql.count("SELECT replayed FROM replay"), 100);
}

#[test]
fn a_replay_can_be_ended() {
    let world = ready();
    for n in 0..100 {
        accepted(&world, &format!("d-{n}"));
    }
    world.work();
    let (_, job) = post(&world, "/api/v1/events/replay", &json!({"filter": {}}));
    let id = job["id"].as_str().unwrap();
    run(world.hub().wake(id));

    let (status, ended) = post(&world, &format!("/api/v1/replays/{id}/cancel"), &Value::Null);
    assert_eq!((status, &ended["status"]), (200, &json!("cancelled")));
    assert_eq!(
        post(&world, &format!("/api/v1/replays/{id}/cancel"), &Value::Null).0,
        409
    );
    world.work();

    assert_eq!(world.net.to(SUBSCRIBER).len(), 140, "what was made due before goes out");
}

#[test]
fn a_replay_by_failed_deliveries_goes_to_that_destination() {
    let world = ready();
    let other = destination(&world, OTHER, "subscriber", &[]);
    world.net.once(OTHER, |_| {
        Ok(Response {
            headers: patchbay::http::Headers::from_pairs([("webhook-delivery", "abort-message")]),
            ..Response::empty(500)
        })
    });
    for n in 0..5 {
        accepted(&world, &format!("d-{n}"));
    }
    world.work();

    let filter = json!({"destination_id": other, "delivery_status": "failed"});
    post(&world, "/api/v1/events/replay", &json!({"filter": filter}));
    world.work();

    assert_eq!((world.net.to(SUBSCRIBER).len(), world.net.to(OTHER).len()), (5, 6));
}

#[test]
fn wrong_filters_are_refused() {
    let world = ready();
    let cases = [
        (json!({"since": "yesterday"}), "/filter/since"),
        (json!({"status": "pending"}), "/filter/status"),
        (json!({"delivery_status": "lost"}), "/filter/delivery_status"),
        (json!({"destination_id": "x"}), "/filter/destination_id"),
        (json!({"typ": "x"}), "/filter"),
    ];
    for (filter, place) in cases {
        let (status, problem) = post(&world, "/api/v1/events/replay", &json!({"filter": filter}));
        assert_eq!(status, 400, "{filter}");
        let pointer = problem["errors"][0]["pointer"].as_str().unwrap();
        assert!(pointer.starts_with(place), "{problem}");
    }
}

fn counts(world: &World) -> [i64; 3] {
    ["event", "delivery", "run"].map(|table| world.sql.count(&format!("SELECT count(*) FROM {table}")))
}

#[test]
fn what_is_old_goes_and_what_is_held_or_in_flight_stays() {
    let world = ready();
    let held = accepted(&world, "held");
    accepted(&world, "old");
    let large = noise(1_200_000).into_bytes();
    deliver(&world, "large", "ping", &large);
    world.work();
    let (status, shown) = world.api(Method::Patch, &format!("/api/v1/events/{held}"), &json!({"hold": true}));
    assert_eq!((status, &shown["hold"]), (200, &json!(true)));
    deliver(&world, "waits", "ping", b"{}");
    world.queue.waiting.borrow_mut().clear();
    assert_eq!(counts(&world), [4, 3, 0]);

    world.wait(29 * DAY);
    run(world.hub().tick());
    assert_eq!(counts(&world), [4, 3, 0], "30 days unless set otherwise");
    world.queue.waiting.borrow_mut().clear();
    world.wait(2 * DAY);
    run(world.hub().tick());

    assert_eq!(counts(&world), [2, 1, 0], "the held one, and the one that waits");
    assert!(world.blobs.0.borrow().is_empty(), "its payload goes with it");
    world.work();
    run(world.hub().tick());
    assert_eq!(counts(&world), [1, 1, 0]);
    world.api(
        Method::Patch,
        &format!("/api/v1/events/{held}"),
        &json!({"hold": false}),
    );
    run(world.hub().tick());
    assert_eq!(counts(&world), [0, 0, 0]);
}

#[test]
fn a_purge_that_died_between_is_finished_by_the_next() {
    let world = ready();
    deliver(&world, "large", "ping", noise(1_200_000).as_bytes());
    world.work();
    world.wait(31 * DAY);
    world.sql.write("UPDATE event SET state = 'purged'");

    run(world.hub().tick());

    assert_eq!(counts(&world), [0, 0, 0]);
    assert!(world.blobs.0.borrow().is_empty());
}

#[test]
fn what_somebody_asks_for_while_it_is_purged_stays() {
    for large in [false, true] {
        let world = ready();
        world.net.once(SUBSCRIBER, |_| {
            Ok(Response {
                headers: patchbay::http::Headers::from_pairs([("webhook-delivery", "abort-message")]),
                ..Response::empty(500)
            })
        });
        let payload = if large {
            noise(1_200_000).into_bytes()
        } else {
            b"{}".to_vec()
        };
        let (_, made) = deliver(&world, "d-1", "ping", &payload);
        destination(&world, OTHER, "subscriber", &[]);
        world.work();
        world.wait(31 * DAY);
        let retried = "UPDATE delivery SET state = 'pending', due_at = 1 WHERE state = 'failed'";
        world.sql.meanwhile("event::expired_end", retried);
        run(world.hub().tick());
        assert_eq!(counts(&world), [1, 2, 0], "large: {large}");

        world.work();
        run(world.hub().tick());
        world.work();
        let sent = world.net.to(SUBSCRIBER);
        assert_eq!(sent.len(), 2, "it arrives, payload and all");
        assert_eq!(sent[1].headers.get("webhook-id"), made["id"].as_str());
        run(world.hub().tick());
        assert_eq!(counts(&world), [0, 0, 0]);
    }
}

#[test]
fn nothing_is_purged_where_the_setting_is_0() {
    let world = ready();
    world.set("PATCHBAY_EVENT_RETENTION_DAYS", "0");
    accepted(&world, "d-1");
    world.work();
    world.wait(400 * DAY);
    run(world.hub().tick());

    assert_eq!(counts(&world), [1, 1, 0]);
}

#[test]
fn old_events_go_in_batches_within_half_a_tick_past_those_that_are_held() {
    let world = ready();
    old_events(&world, 6_000);
    world
        .sql
        .write("UPDATE event SET hold = 1 WHERE id IN (SELECT id FROM event ORDER BY id LIMIT 1100)");
    world.wait(31 * DAY);
    // Others have their part of the free plan's 50.
    world.sql.ran.borrow_mut().clear();
    run(world.hub().tick());
    assert!((2_000..6_000).contains(&counts(&world)[0]), "{:?}", counts(&world));
    assert!(world.sql.ran.borrow().len() < 50, "{:?}", world.sql.ran.borrow());
    for _ in 0..5 {
        run(world.hub().tick());
    }

    assert_eq!(counts(&world)[0], 1_100);
}

/// Dispatched events, a month before the end of the month.
fn old_events(world: &World, count: usize) {
    world.sql.write(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count} - 1)
         INSERT INTO event (id, source, delivery_id, service, type, subject, received_at, trace_id, headers, state, due_at,
           tries, size, payload)
         SELECT 'evt_01J' || printf('%023d', i), 'app:github', 'old-' || i, 'github', 'github.push', 'octo/repo',
           1730000000000 + i, '4bf92f3577b34da6a3ce929d0e0e4736', '{{}}', 'dispatched', 1, 1, 2, '{{}}' FROM n"
    ));
}

#[test]
fn a_paid_tick_purges_every_kind_batch_by_batch() {
    let world = ready();
    world.set("PATCHBAY_SUBREQUESTS", "1000");
    old_events(&world, 12_000);
    world.sql.write(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2999)
         INSERT INTO idempotency (id, body_hash, held_by, held_until, created_at)
         SELECT 'i-' || i, 'x', 'y', 1, 1 FROM n",
    );
    world.sql.write("DELETE FROM audit");
    world.sql.write(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2999)
         INSERT INTO audit (id, at, actor, act, subject, detail, seal)
         SELECT 'aud_01J' || printf('%023d', i), 1, 'hub', 'x', 'y', '{}', 'seal-' || i FROM n",
    );
    world.wait(366 * DAY);
    world.sql.ran.borrow_mut().clear();

    run(world.hub().tick());

    assert_eq!(counts(&world)[0], 0);
    for (table, old) in [("idempotency", "i-%"), ("audit", "aud_01J0%")] {
        assert_eq!(
            world
                .sql
                .count(&format!("SELECT count(*) FROM {table} WHERE id LIKE '{old}'")),
            0
        );
    }
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM meta WHERE key = 'audit_anchor' AND value = 'seal-2999'"),
        1,
        "the chain of what is left begins behind the last that went"
    );
    assert!(world.sql.ran.borrow().len() < 500, "bounded");
}

#[test]
fn the_audit_log_is_sealed_and_proves_itself() {
    let world = ready();
    for n in 0..5 {
        let id = destination(&world, SUBSCRIBER, "subscriber", &[]);
        if n % 2 == 0 {
            world.api(Method::Delete, &format!("/api/v1/destinations/{id}"), &Value::Null);
        }
    }
    let verify = || world.api(Method::Get, "/api/v1/audit/verify", &Value::Null).1;
    assert_eq!(
        (&verify()["verified"], &verify()["unsealed"]["count"]),
        (&json!(0), &json!(9))
    );

    world.wait(3 * MINUTE);
    run(world.hub().tick());
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    let proved = verify();
    assert_eq!(
        (&proved["valid"], &proved["verified"], &proved["unsealed"]["count"]),
        (&json!(true), &json!(9), &json!(1))
    );
    world.wait(3 * MINUTE);
    run(world.hub().tick());
    assert_eq!(verify()["verified"], 10);

    let (_, list) = world.api(Method::Get, "/api/v1/audit?act=destination.deleted", &Value::Null);
    assert_eq!(list["data"].as_array().unwrap().len(), 3);
    assert_eq!(list["data"][0]["actor"], "admin");
}

#[test]
fn whoever_changes_the_audit_log_is_found_out() {
    let changes = [
        "UPDATE audit SET actor = 'nobody' WHERE id = (SELECT id FROM audit ORDER BY id LIMIT 1 OFFSET 2)",
        "DELETE FROM audit WHERE id = (SELECT id FROM audit ORDER BY id LIMIT 1 OFFSET 2)",
        "UPDATE audit SET seal = NULL WHERE id = (SELECT id FROM audit ORDER BY id LIMIT 1 OFFSET 2)",
        "INSERT INTO audit SELECT 'aud_00000000000000000000000000', at, actor, act, subject, owner, detail, NULL
         FROM audit LIMIT 1",
    ];
    for change in changes {
        let world = ready();
        for _ in 0..4 {
            destination(&world, SUBSCRIBER, "subscriber", &[]);
        }
        world.wait(3 * MINUTE);
        run(world.hub().tick());
        world.sql.write(change);

        let (_, verdict) = world.api(Method::Get, "/api/v1/audit/verify", &Value::Null);

        assert_eq!(verdict["valid"], false, "{change}: {verdict}");
        assert!(verdict["broken"].is_string());
    }
}

#[test]
fn a_purged_audit_log_still_proves_what_is_left() {
    let world = ready();
    world.set("PATCHBAY_AUDIT_RETENTION_DAYS", "10");
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world.wait(3 * MINUTE);
    run(world.hub().tick());
    world.wait(9 * DAY);
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world.wait(2 * DAY);
    run(world.hub().tick());
    run(world.hub().tick());

    let (_, verdict) = world.api(Method::Get, "/api/v1/audit/verify", &Value::Null);
    assert_eq!(
        (&verdict["valid"], &verdict["verified"]),
        (&json!(true), &json!(1)),
        "{verdict}"
    );
    assert_eq!(world.sql.count("SELECT count(*) FROM audit"), 1);
}

#[test]
fn a_purge_while_the_log_is_proved_breaks_nothing() {
    let world = ready();
    for _ in 0..4 {
        destination(&world, SUBSCRIBER, "subscriber", &[]);
    }
    world.wait(3 * MINUTE);
    run(world.hub().tick());
    let first = "(SELECT min(id) FROM audit)";
    // Between the two would be: the log's beginning as it was, and its rows as they are.
    world
        .sql
        .meanwhile("audit::anchor", &format!("DELETE FROM audit WHERE id = {first}"));
    let (_, verdict) = world.api(Method::Get, "/api/v1/audit/verify", &Value::Null);
    assert_eq!((&verdict["valid"], &verdict["verified"]), (&json!(true), &json!(5)));

    let gone = {
        let (_, page) = world.api(Method::Get, "/api/v1/audit?limit=200", &Value::Null);
        page["data"].as_array().unwrap().last().unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    world.sql.write(&format!(
        "INSERT INTO meta (key, value) SELECT 'audit_anchor', seal FROM audit WHERE id = {first}"
    ));
    world.sql.write(&format!("DELETE FROM audit WHERE id = {first}"));
    let verdict = run(world.hub().verify_audit(Some(&gone))).unwrap();
    assert_eq!(
        (verdict.broken, verdict.verified),
        (None, 4),
        "it went on behind a row that is gone"
    );
}

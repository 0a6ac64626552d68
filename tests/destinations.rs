//! What a destination may ask for: filters, other data, an order, its own schedule, or to be an action.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly; JSON indexing gives null"
)]

mod support;

use patchbay::http::{Method, Response};
use patchbay::time::{DAY, HOUR, MINUTE};
use serde_json::{Value, json};
use support::scene::*;
use support::{World, run};

const OTHER: &str = "https://alerts.example.com/hook";

/// A destination with these settings; its id.
fn made(world: &World, url: &str, more: &Value) -> String {
    let mut body = json!({"name": "d", "url": url, "event_types": ["*"]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    if more.get("target").is_some() {
        body.as_object_mut().unwrap().remove("url");
    }
    let (status, made) = world.api(Method::Post, "/api/v1/destinations", &body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn sent(world: &World, url: &str) -> Vec<Value> {
    let to = world.net.to(url);
    to.iter().map(|r| serde_json::from_slice(&r.body).unwrap()).collect()
}

fn send(world: &World, id: &str, payload: &Value) -> String {
    let (status, made) = deliver(world, id, "order", payload.to_string().as_bytes());
    assert_eq!(status, 202);
    made["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_filter_lets_through_what_fits_and_costs_the_rest_nothing() {
    let world = world();
    made(
        &world,
        SUBSCRIBER,
        &json!({"filter": {"body": {"n": {"$gt": 5}}, "headers": {"X-GitHub-Event": "order"}}}),
    );
    for n in 1..=10 {
        send(&world, &format!("d-{n}"), &json!({"n": n}));
    }
    world.work();

    let numbers: Vec<_> = sent(&world, SUBSCRIBER)
        .iter()
        .map(|m| m["data"]["n"].clone())
        .collect();
    assert_eq!(numbers, [6, 7, 8, 9, 10]);
    assert_eq!(world.sql.count("SELECT count(*) FROM delivery"), 5);
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_place() {
    let world = world();
    let id = made(&world, SUBSCRIBER, &json!({}));
    let cases = [
        (
            json!({"filter": {"body": {"n": {"$bigger": 5}}}}),
            "/filter/body/n/$bigger",
        ),
        (json!({"payload": {"text": "{{ body. }}"}}), "/payload"),
        (json!({"ordering": "{{ body.n"}), "/ordering"),
        (json!({"retry": {"waits_s": [0]}}), "/retry/waits_s"),
        (
            json!({"retry": {"waits_s": [1], "disable_after_days": 0}}),
            "/retry/disable_after_days",
        ),
        (json!({"retry": {"wait": [1]}}), "/retry"),
        (
            json!({"target": {"kind": "action", "connection_id": "con_01J00000000000000000000000", "action": "x"}}),
            "/target/connection_id",
        ),
    ];
    for (change, place) in cases {
        let (status, problem) = world.api(Method::Patch, &format!("/api/v1/destinations/{id}"), &change);
        assert_eq!(status, 400, "{change}");
        let pointer = problem["errors"][0]["pointer"].as_str().unwrap();
        assert!(pointer.starts_with(place), "{change}: {problem}");
    }
}

#[test]
fn a_setting_is_taken_away_with_null() {
    let world = world();
    let id = made(
        &world,
        SUBSCRIBER,
        &json!({"filter": {"body": {"n": 1}}, "ordering": "{{ body.n }}"}),
    );

    let (_, shown) = world.api(
        Method::Patch,
        &format!("/api/v1/destinations/{id}"),
        &json!({"filter": null}),
    );

    assert_eq!(shown["filter"], Value::Null);
    assert_eq!(shown["ordering"], "{{ body.n }}");
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM audit WHERE act LIKE 'destination.%'"),
        2,
        "made and changed"
    );
}

#[test]
fn a_mapping_replaces_the_data_and_nothing_else() {
    let world = world();
    made(
        &world,
        SUBSCRIBER,
        &json!({"payload": {"text": "order {{ body.n }} of {{ event.service or event.type }}", "n": "{{ body.n }}", "gone": "{{ body.x }}"}}),
    );
    send(&world, "d-1", &json!({"n": 3, "secret": "s"}));
    world.work();

    let message = &sent(&world, SUBSCRIBER)[0];
    assert_eq!(message["data"], json!({"text": "order 3 of github.order", "n": 3}));
    assert_eq!(message["type"], "github.order");
}

#[test]
fn events_of_one_key_arrive_in_order_whatever_fails() {
    let world = world();
    made(&world, SUBSCRIBER, &json!({"ordering": "{{ body.key }}"}));
    for _ in 0..3 {
        world.net.once(SUBSCRIBER, |_| Ok(Response::text(500, "down")));
    }
    for n in 0..6 {
        send(
            &world,
            &format!("d-{n}"),
            &json!({"key": if n % 2 == 0 { "a" } else { "b" }, "n": n}),
        );
    }
    // Dispatched the wrong way round, as concurrent workers may.
    world.queue.waiting.borrow_mut().reverse();
    for _ in 0..30 {
        world.work();
        world.wait(MINUTE);
        run(world.hub().tick());
    }

    let arrived = sent(&world, SUBSCRIBER);
    for key in ["a", "b"] {
        let mut seen: Vec<i64> = arrived
            .iter()
            .filter(|m| m["data"]["key"] == key)
            .map(|m| m["data"]["n"].as_i64().unwrap())
            .collect();
        assert!(seen.is_sorted(), "{key}: {seen:?}");
        seen.dedup();
        assert_eq!(seen.len(), 3, "{key}");
    }
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM delivery WHERE state = 'delivered'"),
        6
    );
}

#[test]
fn a_head_of_line_that_fails_for_good_lets_the_next_one_through() {
    let world = world();
    made(&world, SUBSCRIBER, &json!({"ordering": "k", "retry": {"waits_s": []}}));
    world.net.once(SUBSCRIBER, |_| Ok(Response::text(500, "no")));
    for n in 0..3 {
        send(&world, &format!("d-{n}"), &json!({"n": n}));
    }
    world.work();

    let states = |state: &str| {
        world
            .sql
            .count(&format!("SELECT count(*) FROM delivery WHERE state = '{state}'"))
    };
    assert_eq!((states("failed"), states("delivered")), (1, 2));
}

#[test]
fn a_destination_has_its_own_schedule() {
    let world = world();
    made(&world, SUBSCRIBER, &json!({"retry": {"waits_s": [60]}}));
    for _ in 0..2 {
        world.net.once(SUBSCRIBER, |_| Ok(Response::text(500, "no")));
    }
    send(&world, "d-1", &json!({}));
    let before = world.machine.now.get();
    world.work();

    let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
    assert_eq!(list["data"][0]["status"], "failed");
    assert_eq!(list["data"][0]["attempts"].as_array().unwrap().len(), 2);
    assert!((60_000..70_000).contains(&(world.machine.now.get() - before)));
}

#[test]
fn one_that_fails_throughout_is_told_of_and_then_switched_off() {
    let world = world();
    let id = made(
        &world,
        SUBSCRIBER,
        &json!({"retry": {"waits_s": vec![3_600; 30], "disable_after_days": 1}}),
    );
    made(&world, OTHER, &json!({"event_types": ["hub.*"]}));
    for _ in 0..200 {
        world.net.once(SUBSCRIBER, |_| Ok(Response::text(500, "no")));
    }
    send(&world, "d-1", &json!({}));
    for _ in 0..40 {
        world.work();
        world.wait(HOUR);
        run(world.hub().tick());
    }

    let told = sent(&world, OTHER);
    let kinds: Vec<_> = told.iter().map(|m| m["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["hub.delivery.failing", "hub.destination.disabled"]);
    assert_eq!(told[1]["data"]["destination_id"], json!(id));
    let (_, shown) = world.api(Method::Get, &format!("/api/v1/destinations/{id}"), &Value::Null);
    assert_eq!(shown["enabled"], false);
    let to_itself = sent(&world, SUBSCRIBER);
    assert!(to_itself.iter().all(|m| m["type"] == "github.order"), "never of itself");

    let (_, shown) = world.api(
        Method::Patch,
        &format!("/api/v1/destinations/{id}"),
        &json!({"enabled": true}),
    );
    assert_eq!(
        (&shown["failing_since"], &shown["disabled_reason"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn one_that_was_not_tried_for_days_has_not_failed_throughout() {
    let world = world();
    let id = made(
        &world,
        SUBSCRIBER,
        &json!({"retry": {"waits_s": [60], "disable_after_days": 2}}),
    );
    let fails = |event: &str| {
        for _ in 0..2 {
            world.net.once(SUBSCRIBER, |_| Ok(Response::text(503, "no")));
        }
        send(&world, event, &json!({}));
        world.work();
        let (_, shown) = world.api(Method::Get, &format!("/api/v1/destinations/{id}"), &Value::Null);
        (shown["enabled"].clone(), shown["failing_since"].clone())
    };
    let (on, first) = fails("d-1");
    assert_eq!((on, first.is_string()), (json!(true), true));
    world.wait(10 * DAY);
    let (on, second) = fails("d-2");
    assert_eq!(on, json!(true), "one blip after ten quiet days");
    assert!(second.as_str().unwrap() > first.as_str().unwrap(), "it begins anew");
    world.wait(DAY);
    let (on, third) = fails("d-3");
    assert_eq!((on, &third), (json!(true), &second), "a day later it fails still");
    world.wait(DAY);
    let (on, _) = fails("d-4");
    assert_eq!(on, json!(false), "each day, and for two days");
}

#[test]
fn one_that_works_again_is_no_longer_failing() {
    let world = world();
    let id = made(&world, SUBSCRIBER, &json!({}));
    world.net.once(SUBSCRIBER, |_| Ok(Response::text(500, "no")));
    let failing = || {
        world
            .sql
            .count("SELECT count(*) FROM destination WHERE failing_since IS NOT NULL")
    };
    let event = send(&world, "d-1", &json!({}));
    run(world.hub().wake(&event));
    assert_eq!(failing(), 1, "{id}");

    world.wait(DAY);
    run(world.hub().tick());
    world.work();

    assert_eq!(failing(), 0);
}

#[test]
fn a_change_that_somebody_else_was_faster_than_is_a_conflict_and_stores_nothing() {
    let switched_off = "UPDATE destination SET enabled = 0, disabled_reason = 'gone', updated_at = updated_at + 1";
    // What happens between read and write; what is there afterwards.
    let cases = [
        ("DELETE FROM destination", "SELECT count(*) = 0 FROM destination"),
        (
            switched_off,
            "SELECT enabled = 0 AND disabled_reason = 'gone' AND name = 'd' FROM destination",
        ),
        (
            "UPDATE destination SET name = 'other', updated_at = updated_at + 1",
            "SELECT name = 'other' FROM destination",
        ),
    ];
    for (faster, expected) in cases {
        for change in [json!({"name": "new"}), json!({"enabled": true})] {
            let world = world();
            let id = made(&world, SUBSCRIBER, &json!({}));
            world.sql.meanwhile("destination::find", faster);

            let (status, problem) = world.api(Method::Patch, &format!("/api/v1/destinations/{id}"), &change);

            assert_eq!((status, &problem["code"]), (409, &json!("CONFLICT")), "{faster}");
            assert_eq!(world.sql.count(expected), 1, "{faster}");
            let told = "SELECT count(*) FROM audit WHERE act = 'destination.changed'";
            assert_eq!(world.sql.count(told), 0, "{faster}");
        }
    }
}

#[test]
fn what_the_old_address_answered_does_not_switch_off_the_new_one() {
    for moved in [true, false] {
        let world = world();
        let id = made(&world, SUBSCRIBER, &json!({}));
        made(&world, OTHER, &json!({"event_types": ["hub.*"]}));
        world.net.once(SUBSCRIBER, |_| Ok(Response::empty(410)));
        if moved {
            let change = format!("UPDATE destination SET updated_at = updated_at + 1 WHERE id = '{id}'");
            world.sql.meanwhile("destination::enabled", &change);
        }
        send(&world, "d-1", &json!({}));
        world.work();
        run(world.hub().tick());
        world.work();

        let (_, shown) = world.api(Method::Get, &format!("/api/v1/destinations/{id}"), &Value::Null);
        assert_eq!(shown["enabled"], json!(moved));
        let noted = "SELECT count(*) FROM audit WHERE act = 'destination.disabled'";
        let times = usize::from(!moved);
        assert_eq!(
            (world.sql.count(noted), sent(&world, OTHER).len()),
            (i64::from(!moved), times)
        );
    }
}

#[test]
fn a_change_leaves_alone_what_tries_found_out_meanwhile() {
    let world = world();
    let id = made(&world, SUBSCRIBER, &json!({}));
    world
        .sql
        .write("UPDATE destination SET failing_since = 1, failed_at = 2");
    let works = "UPDATE destination SET failing_since = NULL, failed_at = NULL";
    world.sql.meanwhile("destination::find", works);

    let path = format!("/api/v1/destinations/{id}");
    let (status, _) = world.api(Method::Patch, &path, &json!({"name": "new"}));

    assert_eq!(status, 200);
    let (_, shown) = world.api(Method::Get, &path, &Value::Null);
    assert_eq!((&shown["name"], &shown["failing_since"]), (&json!("new"), &Value::Null));
}

/// A connection to the service whose action the destination is.
fn commenter(world: &World) -> Value {
    let config = json!({"app_id": "12345", "private_key": "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----",
        "installation_id": "77", "webhook_secret": SECRET});
    let body = json!({"integration": "github", "config": config});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    json!({"target": {"kind": "action", "connection_id": made["id"], "action": "create_comment",
        "inputs": {"repo": "octo/repo", "issue": 7, "body": "order {{ body.n }}"}}})
}

#[test]
fn an_action_is_a_destination() {
    let world = world();
    let target = commenter(&world);
    made(&world, "", &target);
    send(&world, "d-1", &json!({"n": 5}));
    world.work();

    assert_eq!(comments(&world), 1);
    let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
    assert_eq!(list["data"][0]["status"], "delivered", "{list}");
    let run = list["data"][0]["note"].as_str().unwrap();
    let (_, run) = world.api(Method::Get, &format!("/api/v1/runs/{run}"), &Value::Null);
    assert_eq!(run["status"], "succeeded");
    assert!(run["inputs"]["body"].as_str().unwrap().contains("order 5"));
}

#[test]
fn an_action_that_is_no_more_can_be_switched_off_by_who_may_not_act() {
    let world = world();
    let target = commenter(&world);
    let id = made(&world, "", &target);
    let path = format!("/api/v1/destinations/{id}");
    let (_, key) = world.api(
        Method::Post,
        "/api/v1/keys",
        &json!({"name": "k", "scopes": ["events:write"]}),
    );
    let bearer = format!("Bearer {}", key["token"].as_str().unwrap());
    let change = |body: &Value| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        world
            .request(Method::Patch, &path, &headers, body.to_string().as_bytes())
            .status
    };
    assert_eq!(
        change(&json!({"event_types": ["*"]})),
        403,
        "what acts is theirs who may act"
    );
    let connection = format!(
        "/api/v1/connections/{}",
        target["target"]["connection_id"].as_str().unwrap()
    );
    assert_eq!(world.api(Method::Delete, &connection, &Value::Null).0, 204);

    assert_eq!(world.api(Method::Patch, &path, &json!({"name": "old"})).0, 200);
    assert_eq!(
        world.api(Method::Patch, &path, &target).0,
        400,
        "a target that is named is looked up"
    );
    assert_eq!(change(&json!({"enabled": false})), 200);
    assert_eq!(change(&json!({"name": "older"})), 200);
    assert_eq!(change(&target), 403, "nor do they name one, on or off");
    assert_eq!(
        change(&json!({"role": "agent"})),
        400,
        "nothing stands beside an action"
    );
    assert_eq!(change(&json!({"enabled": true})), 403);
    let (status, problem) = world.api(Method::Patch, &path, &json!({"enabled": true}));
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (400, &json!("/target/connection_id"))
    );
}

#[test]
fn an_action_is_not_done_twice_when_the_worker_dies() {
    let world = world();
    let target = commenter(&world);
    made(&world, "", &target);
    let event = send(&world, "d-1", &json!({"n": 5}));
    run(world.hub().wake(&event));
    let written_down = world
        .queue
        .waiting
        .borrow_mut()
        .drain(..)
        .find(|(id, _)| id.starts_with("dlv_"));
    let posted = format!("{API}/repos/octo/repo/issues/7/comments");
    dies_after(
        &world,
        &posted,
        support::json_reply(
            201,
            json!({"id": 99, "html_url": "https://github.com/octo/repo/issues/7#issuecomment-99"}),
        ),
    );
    run(world.hub().wake(&written_down.unwrap().0));
    world.sql.failing.set(0);
    // What the service has now: the comment that was posted before the end.
    let written = world
        .net
        .to(&posted)
        .into_iter()
        .find(|r| r.method == Method::Post)
        .unwrap();
    let text: Value = serde_json::from_slice(&written.body).unwrap();
    let listed =
        json!([{"id": 99, "body": text["body"], "html_url": "https://github.com/octo/repo/issues/7#issuecomment-99"}]);
    world
        .net
        .once(&posted, move |_| support::json_reply(200, listed.clone()));
    for _ in 0..10 {
        comes_back(&world);
    }

    assert_eq!(comments(&world), 1);
    assert_eq!(
        world.sql.count("SELECT count(*) FROM run WHERE status = 'succeeded'"),
        1
    );
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM delivery WHERE state = 'delivered'"),
        1
    );
}

#[test]
fn an_action_that_the_service_refuses_is_not_repeated_by_a_retry() {
    let world = world();
    let target = commenter(&world);
    made(&world, "", &target);
    world
        .net
        .once(&format!("{API}/repos/octo/repo/issues/7/comments"), |_| {
            support::json_reply(422, json!({"message": "no"}))
        });
    send(&world, "d-1", &json!({"n": 5}));
    world.work();
    let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
    assert_eq!(list["data"][0]["status"], "failed");
    assert!(list["data"][0]["note"].as_str().unwrap().starts_with("run_"));

    let id = list["data"][0]["id"].as_str().unwrap();
    let (status, problem) = world.api(Method::Post, &format!("/api/v1/deliveries/{id}/retry"), &json!({}));

    assert_eq!(status, 409, "{problem}");
    assert_eq!(comments(&world), 1);
}

#[test]
fn an_action_whose_inputs_do_not_fit_is_seen_to_have_failed() {
    let world = world();
    let mut target = commenter(&world);
    target["target"]["inputs"]["issue"] = json!("{{ body.missing }}");
    made(&world, "", &target);
    send(&world, "d-1", &json!({"n": 5}));
    world.work();

    let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
    assert_eq!(list["data"][0]["status"], "failed");
    assert!(
        list["data"][0]["attempts"][0]["error"]
            .as_str()
            .unwrap()
            .contains("inputs")
    );
    assert_eq!(comments(&world), 0);
}

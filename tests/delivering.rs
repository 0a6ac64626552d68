//! What reaches destinations: at least once, in good time, or seen to have failed.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

mod support;

use patchbay::http::{Method, Response};
use patchbay::ports::FetchError;
use patchbay::time::MINUTE;
use serde_json::{Value, json};
use support::run;
use support::scene::*;

#[test]
fn a_queue_out_of_reach_costs_time_and_no_event() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world.queue.failing.set(true);

    assert_eq!(deliver(&world, "d-1", "ping", b"{}").0, 202);
    world.work();
    assert_eq!(world.net.to(SUBSCRIBER).len(), 0);

    run(world.hub().tick());
    assert_eq!(world.net.to(SUBSCRIBER).len(), 1, "the sweep does it by itself");

    // As many as the plan's budget allows.
    for at in 0..150 {
        deliver(&world, &format!("more-{at}"), "ping", b"{}");
    }
    run(world.hub().tick());
    let on_the_free_plan = world.net.to(SUBSCRIBER).len();
    world.set("PATCHBAY_SUBREQUESTS", "1000");
    run(world.hub().tick());
    let more = world.net.to(SUBSCRIBER).len() - on_the_free_plan;
    assert!(
        on_the_free_plan <= 11 && (80..=100).contains(&more),
        "{on_the_free_plan}, {more}"
    );
}

#[test]
fn events_that_were_left_behind_are_taken_up_a_thousand_a_minute() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    for at in 0..1_500 {
        assert_eq!(deliver(&world, &format!("d-{at}"), "ping", b"{}").0, 202);
    }
    world.queue.waiting.borrow_mut().clear();

    for all in [1_000, 1_500] {
        sweep(&world);
        assert_eq!(world.net.to(SUBSCRIBER).len(), all);
    }
}

#[test]
fn a_dispatcher_that_died_is_followed_by_another() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    deliver(&world, "d-1", "ping", b"{}");
    let (id, _) = world.queue.waiting.borrow_mut().pop().unwrap();
    dies_after(&world, SUBSCRIBER, Ok(Response::empty(200)));

    run(world.hub().wake(&id));
    world.sql.failing.set(0);
    run(world.hub().tick());
    assert_eq!(world.net.to(SUBSCRIBER).len(), 1, "the claim still holds");
    comes_back(&world);

    let sent = world.net.to(SUBSCRIBER);
    assert_eq!(sent.len(), 2, "at least once");
    assert_eq!(sent[0].headers.get("webhook-id"), sent[1].headers.get("webhook-id"));
    assert_eq!(world.sql.count("SELECT count(*) FROM delivery"), 1, "recorded once");
    assert_eq!(
        world.sql.count("SELECT count(*) FROM event WHERE state = 'dispatched'"),
        1
    );
}

#[test]
fn two_dispatchers_at_once_send_once() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    let (_, made) = deliver(&world, "d-1", "ping", b"{}");
    let id = made["id"].as_str().unwrap();

    run(futures_util::future::join_all([
        world.hub().wake(id),
        world.hub().wake(id),
        world.hub().wake(id),
    ]));
    world.work();

    assert_eq!(world.net.to(SUBSCRIBER).len(), 1);
}

#[test]
fn a_destination_that_is_down_gets_it_later() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world.net.once(SUBSCRIBER, |_| Ok(Response::text(500, "down")));
    world.net.once(SUBSCRIBER, |_| Err(FetchError::Timeout));
    deliver(&world, "d-1", "ping", b"{}");
    world.work();

    let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
    let attempts = list["data"][0]["attempts"].as_array().unwrap();
    assert_eq!(list["data"][0]["status"], "delivered");
    assert_eq!(attempts.len(), 3);
    assert_eq!(
        (&attempts[0]["status"], &attempts[0]["reply"]),
        (&json!(500), &json!("down"))
    );
    assert_eq!(attempts[1]["error"], "no answer within the time limit");
}

#[test]
fn a_reply_is_judged_by_its_status_however_long_it_is() {
    for (status, state) in [(200, "delivered"), (410, "failed"), (500, "pending")] {
        let world = world();
        destination(&world, SUBSCRIBER, "subscriber", &[]);
        let long = "ä".repeat(2_000_000);
        world.net.once(SUBSCRIBER, move |_| Ok(Response::text(status, &long)));
        let (_, made) = deliver(&world, "d-1", "ping", b"{}");
        run(world.hub().wake(made["id"].as_str().unwrap()));

        let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
        assert_eq!(list["data"][0]["status"], state);
        let attempt = &list["data"][0]["attempts"][0];
        assert_eq!((&attempt["status"], &attempt["error"]), (&json!(status), &Value::Null));
        let kept = attempt["reply"].as_str().unwrap();
        assert_eq!(kept.chars().count(), 4_096);
        assert!(kept.chars().all(|c| c == 'ä'), "no letter is cut in two");
    }
}

#[test]
fn a_destination_that_is_gone_is_switched_off() {
    let world = world();
    let id = destination(&world, SUBSCRIBER, "subscriber", &[]);
    world.net.once(SUBSCRIBER, |_| Ok(Response::empty(410)));
    deliver(&world, "d-1", "ping", b"{}");
    deliver(&world, "d-2", "ping", b"{}");
    world.work();

    let (_, shown) = world.api(Method::Get, &format!("/api/v1/destinations/{id}"), &Value::Null);
    assert_eq!(shown["enabled"], false);
    assert!(shown["disabled_reason"].as_str().unwrap().contains("no more"));
    assert_eq!(world.net.to(SUBSCRIBER).len(), 1);
}

#[test]
fn a_delivery_to_one_destination_writes_few_rows() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world.sql.ran.borrow_mut().clear();
    deliver(&world, "d-1", "ping", b"{}");
    world.work();

    assert_eq!(
        *world.sql.ran.borrow(),
        [
            "event::insert",
            "event::lease",
            "destination::enabled",
            "delivery::insert",
            "event::finish"
        ]
    );
}

#[test]
fn one_destination_that_cannot_be_served_repeats_nothing_to_the_others() {
    let world = world();
    let broken = destination(&world, "https://broken.example.com/hook", "subscriber", &[]);
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world
        .sql
        .write("UPDATE destination SET secret = 'v1|k1|AAAA|AAAA' WHERE id = (SELECT min(id) FROM destination)");

    deliver(&world, "d-1", "ping", b"{}");
    world.work();
    world.wait(10 * MINUTE);
    run(world.hub().tick());
    world.work();

    assert_eq!(world.net.to(SUBSCRIBER).len(), 1);
    let (_, list) = world.api(
        Method::Get,
        &format!("/api/v1/deliveries?destination_id={broken}"),
        &Value::Null,
    );
    assert_eq!(list["data"][0]["status"], "failed");
    assert!(!list.to_string().contains("AAAA"));
}

#[test]
fn what_was_delivered_is_not_tried_again() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    deliver(&world, "d-1", "ping", b"{}");
    world.work();
    let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
    let id = list["data"][0]["id"].as_str().unwrap();

    let (status, body) = world.api(Method::Post, &format!("/api/v1/deliveries/{id}/retry"), &Value::Null);

    assert_eq!((status, &body["code"]), (409, &json!("CONFLICT")));
    assert_eq!(world.net.to(SUBSCRIBER).len(), 1);
}

#[test]
fn a_key_that_was_taken_out_by_mistake_costs_time_and_no_delivery() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    let ring = world.machine.vars.borrow()["PATCHBAY_ENCRYPTION_KEYS"].clone();
    world.set(
        "PATCHBAY_ENCRYPTION_KEYS",
        "k2:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    );
    let (_, made) = deliver(&world, "d-1", "ping", b"{}");
    run(world.hub().wake(made["id"].as_str().unwrap()));
    let (_, list) = world.api(Method::Get, "/api/v1/deliveries", &Value::Null);
    assert_eq!(list["data"][0]["status"], "pending");
    assert!(
        list["data"][0]["attempts"][0]["error"]
            .as_str()
            .unwrap()
            .contains("`k1`")
    );

    world.set("PATCHBAY_ENCRYPTION_KEYS", &ring);
    world.work();

    assert_eq!(world.net.to(SUBSCRIBER).len(), 1);
}

#[test]
fn a_connections_event_asks_for_its_settings_only_where_an_agent_listens() {
    let world = world();
    let path = connection(&world, "github", json!({"webhook_secret": SECRET}));
    let dispatched = |id: &str| {
        let signature = format!("sha256={}", mac(SECRET, b"{}"));
        let headers = [
            ("x-github-event", "ping"),
            ("x-github-delivery", id),
            ("x-hub-signature-256", signature.as_str()),
        ];
        assert_eq!(world.request(Method::Post, &path, &headers, b"{}").status, 202);
        // What the isolate remembers of the connection is over by then.
        world.wait(2 * MINUTE);
        world.sql.ran.borrow_mut().clear();
        world.work();
        world.sql.ran.borrow().contains(&"connection::find".to_owned())
    };

    destination(&world, SUBSCRIBER, "subscriber", &[]);
    assert!(!dispatched("d-1"));
    destination(&world, AGENT, "agent", &[]);
    assert!(dispatched("d-2"));
}

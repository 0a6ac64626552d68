//! What a 202 promises: stored once, whatever comes.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

mod support;

use patchbay::http::Method;
use patchbay::ports::Stmt;
use patchbay::time::{DAY, MINUTE};
use serde_json::{Value, json};
use support::scene::*;
use support::{noise, run};

#[test]
fn a_redelivery_stores_nothing_and_names_the_first() {
    let world = world();

    let first = deliver(&world, "d-1", "ping", b"{\"zen\":\"x\"}");
    let second = deliver(&world, "d-1", "ping", b"{\"zen\":\"x\"}");

    assert_eq!((first.0, second.0), (202, 202));
    assert_eq!(first.1["duplicate"], false);
    assert_eq!(second.1["duplicate"], true);
    assert_eq!(first.1["id"], second.1["id"]);
    assert_eq!(world.sql.count("SELECT count(*) FROM event"), 1);
    assert_eq!(world.queue.waiting.borrow().len(), 1);
}

#[test]
fn an_accepted_event_costs_one_statement() {
    let world = world();

    deliver(&world, "d-1", "ping", b"{}");

    assert_eq!(*world.sql.ran.borrow(), ["event::insert"]);
}

#[test]
fn a_database_out_of_reach_is_a_503_and_nothing_is_promised() {
    let world = world();
    world.sql.failing.set(1);

    let (status, body) = deliver(&world, "d-1", "ping", b"{}");

    assert_eq!((status, &body["code"]), (503, &json!("TEMPORARY_ERROR")));
    assert_eq!(deliver(&world, "d-1", "ping", b"{}").1["duplicate"], false);
}

#[test]
fn a_payload_is_given_back_to_the_byte_however_it_is_kept() {
    let text = |filler: String| json!({"text": filler}).to_string().into_bytes();
    let issues = (0..2_000).map(|n| format!("{{\"id\":{n},\"title\":\"It fails\"}}"));
    let long = format!("[{}]", issues.collect::<Vec<_>>().join(","));
    let cases = [
        ("small", text("x".repeat(16_000)), None, false),
        ("large", text("x".repeat(16_384)), Some("br"), false),
        ("many like each other", long.into_bytes(), Some("br"), false),
        (
            "with a NUL",
            [text("x".repeat(20_000)), vec![0]].concat(),
            Some("br"),
            false,
        ),
        (
            "not UTF-8",
            [vec![0xff; 20_000], text("x".repeat(20_000))].concat(),
            Some("br"),
            false,
        ),
        ("incompressible", text(noise(900_000)), None, false),
        (
            "hardly compressible",
            text(noise(80_000) + &"x".repeat(20_000)),
            None,
            false,
        ),
        (
            "too large for a row, unless packed",
            text("x".repeat(3_000_000)),
            Some("br"),
            false,
        ),
        ("too large for a row", text(noise(1_100_000)), None, true),
        (
            "too large to be worth the time",
            text("x".repeat(4_100_000)),
            None,
            true,
        ),
    ];
    for (name, payload, encoding, beside) in cases {
        let world = world();

        let (status, made) = deliver(&world, "d-1", "ping", &payload);

        assert_eq!(status, 202, "{name}: {made}");
        let row = Stmt::new(
            "-- test::kept\nSELECT payload_encoding, length(payload) AS stored, size, payload_key FROM event",
            [],
        );
        let kept: Value = run(world.ports().sql.first(row)).unwrap().unwrap();
        assert_eq!(kept["payload_encoding"].as_str(), encoding, "{name}");
        assert_eq!(kept["payload_key"].is_string(), beside, "{name}");
        assert_eq!(world.blobs.0.borrow().len(), usize::from(beside), "{name}");
        assert_eq!(kept["size"], payload.len(), "{name}");
        if encoding.is_some() {
            assert!(
                kept["stored"].as_u64().unwrap() < payload.len() as u64 / 2,
                "{name}: {kept}"
            );
        }
        let of = format!("/api/v1/events/{}/payload", made["id"].as_str().unwrap());
        let given = world.request(Method::Get, &of, &[("authorization", "Bearer test-admin-token")], b"");
        assert!(
            given.status == 200 && given.body == payload,
            "{name}: {}",
            given.body.len()
        );
    }
}

#[test]
fn a_packed_payload_that_is_damaged_is_told_of_and_not_made_up() {
    let damages = [
        "size = 19999",
        "size = 20012",
        "payload = 'bm8gYnJvdGxp'",
        "payload = 'no base64'",
        "payload_encoding = 'of a later version'",
    ];
    for damage in damages {
        let world = world();
        let payload = json!({"text": "x".repeat(20_000)}).to_string();
        let (_, made) = deliver(&world, "d-1", "ping", payload.as_bytes());
        world.sql.write(&format!("UPDATE event SET {damage}"));

        let of = format!("/api/v1/events/{}", made["id"].as_str().unwrap());
        let (status, shown) = world.api(Method::Get, &of, &Value::Null);

        assert_eq!((status, &shown["data"]), (200, &Value::Null), "{damage}");
        assert!(shown["payload_error"].is_string(), "{damage}: {shown}");
    }
}

#[test]
fn a_delivery_that_meets_its_own_row_is_the_first_and_keeps_its_payload() {
    let large = json!({"text": noise(1_100_000)}).to_string();
    for payload in ["{}", large.as_str()] {
        let world = world();
        world.sql.repeated.set(1);

        let (status, made) = deliver(&world, "d-1", "ping", payload.as_bytes());

        assert_eq!((status, &made["duplicate"]), (202, &json!(false)));
        assert_eq!(world.sql.count("SELECT count(*) FROM event"), 1);
        assert_eq!(world.queue.waiting.borrow().len(), 1, "it is woken");
        let id = made["id"].as_str().unwrap();
        let of = format!("/api/v1/events/{id}/payload");
        let kept = world.request(Method::Get, &of, &[("authorization", "Bearer test-admin-token")], b"");
        assert_eq!((kept.status, kept.body.len()), (200, payload.len()));

        let again = deliver(&world, "d-1", "ping", payload.as_bytes());
        assert_eq!(
            (&again.1["duplicate"], again.1["id"].as_str()),
            (&json!(true), Some(id))
        );
        let kept = usize::from(payload.len() > 1_000_000);
        assert_eq!(world.blobs.0.borrow().len(), kept, "the second copy goes");
    }
}

#[test]
fn a_batch_is_stored_in_one_statement_each_item_once() {
    let world = world();
    let manifest = json!({
        "name": "sendgrid-like", "version": "1.0.0", "description": "A service that sends lists",
        "webhook": {
            "verification": {"kind": "equals", "from": "header:X-Token"},
            "event": {"items": "body:/*", "delivery_id": "item:/id", "type": "item"},
        },
    });
    let (status, made) = world.api(Method::Post, "/api/v1/integration-definitions", &manifest);
    assert_eq!((status, &made["status"]), (201, &json!("PUBLISHED")), "{made}");
    let path = connection(&world, "sendgrid-like", json!({"webhook_secret": "test-token-1"}));
    world.wait(2 * MINUTE);
    let items = |ids: &[u32]| json!(ids.iter().map(|i| json!({"id": i, "n": "é"})).collect::<Vec<_>>()).to_string();
    let send = |body: &str| {
        let headers = [("x-token", "test-token-1"), ("content-type", "application/json")];
        let reply = world.request(Method::Post, &path, &headers, body.as_bytes());
        (reply.status, serde_json::from_slice::<Value>(&reply.body).unwrap())
    };
    world.sql.ran.borrow_mut().clear();

    let first = send(&items(&[1, 2, 3]));
    assert_eq!((first.0, &first.1["duplicate"]), (202, &json!(false)));
    assert_eq!(
        *world.sql.ran.borrow(),
        ["definition::find", "connection::find", "event::insert_items"],
        "and from then on one"
    );
    world.sql.ran.borrow_mut().clear();
    send(&items(&[4]));
    assert_eq!(*world.sql.ran.borrow(), ["event::insert_items"]);

    let again = send(&items(&[2, 3, 5]));
    assert_eq!((again.0, &again.1["duplicate"]), (202, &json!(true)));
    assert_eq!(world.sql.count("SELECT count(*) FROM event"), 5);
    assert_eq!(world.queue.waiting.borrow().len(), 5);
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM event WHERE type = 'sendgrid-like.item' AND payload LIKE '%é%'"),
        5
    );
    assert_eq!(send("[]").0, 202);

    // A large one is packed as a payload of its own would be.
    let long = "so it goes ".repeat(2_000);
    let large = send(&json!([{"id": 6, "n": long}, {"id": 7}]).to_string());
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM event WHERE payload_encoding = 'br'"),
        1
    );
    let of = format!("/api/v1/events/{}", large.1["id"].as_str().unwrap());
    assert_eq!(world.api(Method::Get, &of, &Value::Null).1["data"]["n"], long);

    // Items of one moment keep their order, which is that of their ids.
    world.machine.stands_still.set(true);
    let large = "x".repeat(600_000);
    let mut many: Vec<Value> = (100..150).map(|id| json!({"id": id})).collect();
    many.insert(25, json!({"id": "124-large", "n": large}));
    assert_eq!(send(&Value::Array(many).to_string()).0, 202);
    assert_eq!(
        world.sql.count(
            "SELECT count(*) FROM (SELECT delivery_id, row_number() OVER (ORDER BY id) AS by_id,
               row_number() OVER (ORDER BY delivery_id) AS by_item FROM event WHERE delivery_id >= '100'
               AND length(delivery_id) >= 3)
             WHERE by_id = by_item"
        ),
        51
    );
}

#[test]
fn a_secret_that_is_handed_over_is_believed_once_and_early() {
    let world = world();
    let body = json!({"integration": "asana", "config": {}});
    let (_, made) = world.api(Method::Post, "/api/v1/connections", &body);
    let path = made["webhook_path"].as_str().unwrap().to_owned();
    let shake = |secret: &str| world.request(Method::Post, &path, &[("x-hook-secret", secret)], b"");
    let signed = |secret: &str| {
        let signature = mac(secret, b"{\"events\":[]}");
        world
            .request(
                Method::Post,
                &path,
                &[("x-hook-signature", &signature)],
                b"{\"events\":[]}",
            )
            .status
    };

    let reply = shake("test-first-secret");
    assert_eq!(
        (reply.status, reply.headers.get("x-hook-secret")),
        (200, Some("test-first-secret"))
    );
    assert_eq!(signed("test-first-secret"), 200);
    shake("test-other-secret");
    assert_eq!(signed("test-other-secret"), 401, "none that comes later");
    assert_eq!(signed("test-first-secret"), 200);

    let (_, late) = world.api(Method::Post, "/api/v1/connections", &body);
    world.wait(61 * MINUTE);
    let path = late["webhook_path"].as_str().unwrap();
    world.request(Method::Post, path, &[("x-hook-secret", "test-late-secret")], b"");
    let shown = world.api(
        Method::Get,
        &format!("/api/v1/connections/{}", late["id"].as_str().unwrap()),
        &Value::Null,
    );
    assert_eq!(shown.1["config"]["webhook_secret_learned_at"], Value::Null);
}

#[test]
fn refusals_are_sampled_and_a_forger_spends_nothing_more() {
    let world = world();
    world.sql.ran.borrow_mut().clear();
    for at in 0..100 {
        let headers = [("x-hub-signature-256", "sha256=00"), ("x-github-event", "ping")];
        let body = format!("{{\"n\":{at}}}");
        let reply = world.request(
            Method::Post,
            "/api/integration/github/events",
            &headers,
            body.as_bytes(),
        );
        assert_eq!(reply.status, 401);
    }
    assert_eq!(world.sql.ran.borrow().len(), 5);

    let (_, list) = world.api(Method::Get, "/api/v1/rejections?service=github", &Value::Null);
    let sample = &list["data"][0];
    assert_eq!(list["data"].as_array().unwrap().len(), 5);
    assert_eq!(
        (&sample["cause"], &sample["releasable"]),
        (&json!("wrong_signature"), &json!(false))
    );
    assert_eq!(sample["body_sha256"].as_str().unwrap().len(), 64);
    world.wait(8 * DAY);
    run(world.hub().tick());
    assert_eq!(world.sql.count("SELECT count(*) FROM rejection"), 0);
}

#[test]
fn what_was_refused_for_a_wrong_secret_is_released_when_it_is_mended() {
    let world = world();
    world.set("PATCHBAY_KEEP_REJECTED_HOURS", "24");
    world.set("GITHUB_WEBHOOK_SECRET", "test-wrong-secret");
    let body = comment("hello").to_string();
    assert_eq!(deliver(&world, "d-1", "issue_comment", body.as_bytes()).0, 401);
    let (_, list) = world.api(Method::Get, "/api/v1/rejections", &Value::Null);
    let path = format!("/api/v1/rejections/{}/release", list["data"][0]["id"].as_str().unwrap());
    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM rejection WHERE request LIKE '%hello%'"),
        0,
        "sealed"
    );

    assert_eq!(world.api(Method::Post, &path, &Value::Null).0, 409, "still wrong");
    world.set("GITHUB_WEBHOOK_SECRET", SECRET);
    let (status, taken) = world.api(Method::Post, &path, &Value::Null);
    assert_eq!((status, &taken["duplicate"]), (202, &json!(false)));

    let shown = world
        .api(
            Method::Get,
            &format!("/api/v1/events/{}", taken["id"].as_str().unwrap()),
            &Value::Null,
        )
        .1;
    assert_eq!(shown["data"]["comment"]["body"], "hello");
    assert_eq!(world.api(Method::Post, &path, &Value::Null).0, 409, "once");
}

#[test]
fn an_event_whose_payload_is_gone_still_tells_its_story() {
    let world = world();
    let large = json!({"text": noise(1_100_000)}).to_string();
    let (_, made) = deliver(&world, "d-1", "ping", large.as_bytes());
    world.blobs.0.borrow_mut().clear();

    let of = format!("/api/v1/events/{}", made["id"].as_str().unwrap());
    let (status, shown) = world.api(Method::Get, &of, &Value::Null);

    assert_eq!((status, &shown["data"]), (200, &Value::Null));
    assert!(shown["payload_error"].as_str().unwrap().contains("payload"), "{shown}");
}

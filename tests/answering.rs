//! What an answer becomes: one comment, whatever is lost on the way.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

mod support;

use patchbay::http::{Method, Response};
use patchbay::ports::FetchError;
use serde_json::{Value, json};
use support::scene::*;
use support::{json_reply, run};

#[test]
fn the_same_answer_twice_is_one_comment() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    let letter = letters(&world)[0].clone();
    let body = json!({"status": "completed", "message": "Done"});

    let first = answer(&world, &letter, body.clone());
    let second = answer(&world, &letter, body.clone());
    world.work();
    let third = answer(&world, &letter, body);
    world.work();

    assert_eq!(comments(&world), 1);
    assert_eq!(first.1["runs"][0]["id"], third.1["runs"][0]["id"]);
    assert_eq!(second.1, first.1);
}

#[test]
fn a_comment_whose_reply_was_lost_is_found_and_not_posted_again() {
    let losses: [Result<Response, FetchError>; 3] = [
        Err(FetchError::Timeout),
        Ok(Response::empty(502)),
        Err(FetchError::Network("reset".into())),
    ];
    for loss in losses {
        let world = world();
        destination(&world, AGENT, "agent", &[]);
        mention(&world, "d-1", "@patchbay look");
        world.work();
        let url = format!("{API}/repos/octo/repo/issues/7/comments");
        let kept = loss.clone();
        world.net.once(&url, move |_| kept.clone());
        // The look-up finds what the first try left behind.
        world.net.once(&url, |look_up| {
            assert_eq!(look_up.method, Method::Get);
            json_reply(
                200,
                json!([{"id": 5, "body": "other"}, {"id": 98, "body": "Done\n\n<!-- MARK -->", "html_url": "u"}]),
            )
        });
        answer(
            &world,
            &letters(&world)[0].clone(),
            json!({"status": "completed", "message": "Done"}),
        );
        let run_id = world.queue.waiting.borrow()[0].0.clone();
        let mark = format!("patchbay:{run_id}");
        world.net.replace_in_replies("MARK", &mark);
        world.work();

        assert_eq!(comments(&world), 1, "{loss:?}");
        let (_, run) = world.api(Method::Get, &format!("/api/v1/runs/{run_id}"), &Value::Null);
        assert_eq!(
            (&run["status"], &run["result"]["id"]),
            (&json!("succeeded"), &json!(98)),
            "{run}"
        );
    }
}

#[test]
fn a_comment_that_was_not_written_is_written_by_the_next_try() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    world
        .net
        .once(&format!("{API}/repos/octo/repo/issues/7/comments"), |_| {
            Ok(Response::empty(502))
        });
    answer(
        &world,
        &letters(&world)[0].clone(),
        json!({"status": "completed", "message": "Done"}),
    );
    world.work();

    assert_eq!(comments(&world), 2);
    let (_, runs) = world.api(Method::Get, "/api/v1/runs", &Value::Null);
    assert_eq!(runs["data"][0]["status"], "succeeded");
    assert_eq!(runs["data"][0]["attempts"][0]["reason"], "status 502");
}

#[test]
fn a_worker_that_died_while_posting_looks_before_it_posts_again() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    let url = format!("{API}/repos/octo/repo/issues/7/comments");
    answer(
        &world,
        &letters(&world)[0].clone(),
        json!({"status": "completed", "message": "Done"}),
    );
    let (run_id, _) = world.queue.waiting.borrow_mut().pop().unwrap();
    dies_after(&world, &url, json_reply(201, json!({"id": 99})));
    world
        .net
        .once(&url, |_| json_reply(200, json!([{"id": 99, "body": "<!-- MARK -->"}])));
    world.net.replace_in_replies("MARK", &format!("patchbay:{run_id}"));

    run(world.hub().wake(&run_id));
    comes_back(&world);

    assert_eq!(comments(&world), 1);
    let (_, run) = world.api(Method::Get, &format!("/api/v1/runs/{run_id}"), &Value::Null);
    assert_eq!(run["status"], "succeeded", "{run}");
}

#[test]
fn a_refused_comment_fails_and_says_why() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    let url = format!("{API}/repos/octo/repo/issues/7/comments");
    world
        .net
        .once(&url, |_| json_reply(410, json!({"message": "Issue is locked"})));
    answer(
        &world,
        &letters(&world)[0].clone(),
        json!({"status": "failed", "message": "Sorry"}),
    );
    world.work();

    let (_, runs) = world.api(Method::Get, "/api/v1/runs", &Value::Null);
    assert_eq!(runs["data"][0]["status"], "failed");
    assert!(
        runs["data"][0]["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("Issue is locked")
    );
    assert_eq!(comments(&world), 1);
}

#[test]
fn an_expired_token_is_obtained_anew_once() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    world
        .net
        .once(&format!("{API}/repos/octo/repo/issues/7/comments"), |_| {
            Ok(Response::empty(401))
        });
    answer(
        &world,
        &letters(&world)[0].clone(),
        json!({"status": "completed", "message": "Done"}),
    );
    world.work();

    assert_eq!(comments(&world), 2);
    assert_eq!(world.net.to(&format!("{API}/app/")).len(), 2);
    let (_, runs) = world.api(Method::Get, "/api/v1/runs", &Value::Null);
    assert_eq!(runs["data"][0]["attempts"].as_array().unwrap().len(), 1);
}

#[test]
fn what_the_sweep_takes_up_is_woken_again_in_time() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    answer(
        &world,
        &letters(&world)[0].clone(),
        json!({"status": "completed", "message": "Done"}),
    );
    world.queue.waiting.borrow_mut().clear();
    world
        .net
        .once(&format!("{API}/repos/octo/repo/issues/7/comments"), |_| {
            Ok(Response::empty(502))
        });

    run(world.hub().tick());

    assert_eq!(
        world.queue.waiting.borrow().len(),
        1,
        "the next try does not wait for the next sweep"
    );
    world.work();
    let (_, runs) = world.api(Method::Get, "/api/v1/runs", &Value::Null);
    assert_eq!(runs["data"][0]["status"], "succeeded");
}

#[test]
fn an_answer_waits_for_a_token_that_is_not_to_be_had_now() {
    let troubles: [Result<Response, FetchError>; 4] = [
        Ok(Response::empty(500)),
        Ok(Response::empty(502)),
        Ok(Response::empty(429)),
        Err(FetchError::Network("reset".into())),
    ];
    for trouble in troubles {
        let world = world();
        destination(&world, AGENT, "agent", &[]);
        let kept = trouble.clone();
        world.net.once(&format!("{API}/app/"), move |_| kept.clone());
        mention(&world, "d-1", "@patchbay look");
        world.work();

        assert_eq!(letters(&world).len(), 1, "{trouble:?}");
    }
}

#[test]
fn an_idempotency_key_stands_for_one_answer() {
    let world = world();
    destination(&world, AGENT, "agent", &["create_comment"]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    let letter = letters(&world)[0].clone();
    let send = |key: &str, message: &str, actions: Value| {
        let token = format!("Bearer {}", letter["data"]["callback"]["token"].as_str().unwrap());
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let id = &letter["data"]["conversation_id"];
        let body = json!({"conversation_id": id, "status": "progress", "message": message, "actions": actions});
        world.request(Method::Post, "/api/v1/webhooks", &headers, body.to_string().as_bytes())
    };
    let extra = json!([{"action": "create_comment", "inputs": {"repo": "octo/repo", "issue": 7, "body": "x"}}]);

    let first = send("k1", "working", json!([]));
    let again = send("k1", "working", json!([]));
    let other_text = send("k1", "something else", json!([]));
    let more = send("k1", "working", extra);
    let other_key = send("k2", "working", json!([]));

    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.headers.get("idempotency-replayed"), None);
    assert_eq!(again.headers.get("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    assert_eq!((other_text.status, more.status), (409, 409));
    assert_eq!(other_key.status, 202);
    world.work();
    let changed = world.net.to(&format!("{API}/repos/octo/repo/issues/comments/99"));
    assert_eq!((comments(&world), changed.len()), (1, 1));
}

#[test]
fn a_refused_answer_leaves_the_conversation_as_it_was() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    let letter = letters(&world)[0].clone();
    let token = format!("Bearer {}", letter["data"]["callback"]["token"].as_str().unwrap());
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "k1"),
    ];
    let send = |mut body: Value| {
        body["conversation_id"] = letter["data"]["conversation_id"].clone();
        let body = body.to_string();
        world
            .request(Method::Post, "/api/v1/webhooks", &headers, body.as_bytes())
            .status
    };

    assert_eq!(send(json!({"status": "progress", "message": "working"})), 202);
    assert_eq!(send(json!({"status": "completed"})), 409);

    assert_eq!(
        world
            .sql
            .count("SELECT count(*) FROM conversation WHERE state = 'open'"),
        1
    );
}

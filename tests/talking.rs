//! How a conversation looks where it takes place: heard at once, progress as one message, everything in order, and an
//! honest end.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

mod support;

use patchbay::http::{Method, Response};
use patchbay::ports::FetchError;
use patchbay::time::{DAY, MINUTE};
use serde_json::{Value, json};
use support::scene::*;
use support::{World, json_reply, run};

const HEARD: &str = "POST issues/comments/1/reactions eyes";

fn asked(world: &World) -> Value {
    destination(world, AGENT, "agent", &["create_comment"]);
    mention(world, "d-1", "@patchbay look");
    world.work();
    letters(world).into_iter().next().unwrap_or_default()
}

fn say(world: &World, letter: &Value, status: &str, message: &str) {
    let (code, body) = answer(world, letter, json!({"status": status, "message": message}));
    assert_eq!(code, 202, "{body}");
}

#[test]
fn a_mention_is_acknowledged_before_the_agent_has_it_and_once() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    world.net.once(AGENT, |_| Ok(Response::empty(500)));
    mention(&world, "d-1", "@patchbay look");
    world.work();
    world.wait(10 * MINUTE);
    sweep(&world);

    assert_eq!(letters(&world).len(), 2, "the first try failed");
    assert_eq!(done(&world), [HEARD]);
}

#[test]
fn an_acknowledgement_that_fails_keeps_nothing_from_its_way() {
    let world = world();
    let url = format!("{API}/repos/octo/repo/issues/comments/1/reactions");
    world.net.once(&url, |_| json_reply(403, json!({"message": "no"})));
    let letter = asked(&world);

    say(&world, &letter, "completed", "Done");
    world.work();

    assert_eq!(done(&world), [HEARD, "POST issues/7/comments Done"]);
}

#[test]
fn a_label_is_acknowledged_on_the_issue() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    let mut labelled = comment("");
    labelled["action"] = json!("labeled");
    labelled["label"] = json!({"name": "Patchbay"});
    labelled.as_object_mut().unwrap().remove("comment");
    deliver(&world, "d-1", "issues", labelled.to_string().as_bytes());
    world.work();

    assert_eq!(letters(&world).len(), 1);
    assert_eq!(done(&world), ["POST issues/7/reactions eyes"]);
}

#[test]
fn progress_is_one_message_and_the_result_a_new_one() {
    let world = world();
    let letter = asked(&world);

    for (status, message) in [
        ("progress", "10 %"),
        ("progress", "50 %"),
        ("progress", "90 %"),
        ("completed", "Done"),
    ] {
        say(&world, &letter, status, message);
    }
    world.work();

    let expected = [
        HEARD,
        "POST issues/7/comments 10 %",
        "PATCH issues/comments/99 50 %",
        "PATCH issues/comments/99 90 %",
        "POST issues/7/comments Done",
    ];
    assert_eq!(done(&world), expected);
}

#[test]
fn progress_whose_message_somebody_removed_is_written_anew_and_then_changed() {
    let world = world();
    let letter = asked(&world);
    let url = format!("{API}/repos/octo/repo/issues/comments/99");
    say(&world, &letter, "progress", "10 %");
    world.work();
    world
        .net
        .once(&url, |_| json_reply(404, json!({"message": "Not Found"})));

    say(&world, &letter, "progress", "50 %");
    say(&world, &letter, "progress", "90 %");
    world.work();

    let expected = [
        HEARD,
        "POST issues/7/comments 10 %",
        "PATCH issues/comments/99 50 %",
        "POST issues/7/comments 50 %",
        "PATCH issues/comments/99 90 %",
    ];
    assert_eq!(done(&world), expected);
}

#[test]
fn the_next_turn_has_a_progress_message_of_its_own() {
    let world = world();
    let letter = asked(&world);
    say(&world, &letter, "progress", "10 %");
    say(&world, &letter, "completed", "Done");
    world.work();
    mention(&world, "d-2", "and now?");
    world.work();

    say(&world, &letters(&world)[1].clone(), "progress", "again 10 %");
    world.work();

    assert_eq!(comments(&world), 3);
    assert!(posted(&world)[2]["body"].as_str().unwrap().starts_with("again"));
}

#[test]
fn what_was_asked_for_first_is_done_first_whatever_fails_on_the_way() {
    let world = world();
    let letter = asked(&world);
    let url = format!("{API}/repos/octo/repo/issues/7/comments");
    world.net.once(&url, |_| json_reply(429, json!({})));
    let two = json!({"status": "progress", "message": "first", "actions": [
        {"action": "create_comment", "inputs": {"repo": "octo/repo", "issue": 7, "body": "second"}}]});
    answer(&world, &letter, two);
    say(&world, &letter, "completed", "third");
    world.work();
    world.wait(MINUTE);
    sweep(&world);

    let texts: Vec<String> = done(&world).split_off(1);
    let expected = ["first", "first", "second", "third"].map(|t| format!("POST issues/7/comments {t}"));
    assert_eq!(texts, expected);
}

#[test]
fn a_run_that_fails_for_good_does_not_hold_up_those_after_it() {
    let world = world();
    let letter = asked(&world);
    let url = format!("{API}/repos/octo/repo/issues/7/comments");
    world.net.once(&url, |_| json_reply(422, json!({"message": "no"})));
    say(&world, &letter, "progress", "first");
    say(&world, &letter, "completed", "second");
    world.work();

    assert_eq!(done(&world).last().unwrap(), "POST issues/7/comments second");
}

#[test]
fn an_agent_that_gives_up_without_a_word_is_heard_of_all_the_same() {
    let world = world();
    let letter = asked(&world);

    assert_eq!(answer(&world, &letter, json!({"status": "failed"})).0, 202);
    world.work();

    assert_eq!(done(&world), [HEARD, "POST issues/7/comments I could not do this."]);
}

#[test]
fn the_thread_is_told_when_the_agent_cannot_be_reached() {
    let gone: [fn() -> Result<Response, FetchError>; 2] = [|| Ok(Response::empty(410)), || Err(FetchError::Timeout)];
    for reply in gone {
        let world = world();
        destination(&world, AGENT, "agent", &[]);
        for _ in 0..10 {
            world.net.once(AGENT, move |_| reply());
        }
        mention(&world, "d-1", "@patchbay look");
        world.work();
        for _ in 0..10 {
            world.wait(2 * DAY);
            sweep(&world);
        }

        let told = done(&world);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[1].starts_with("POST issues/7/comments I could not be reached"),
            "{told:?}"
        );
        assert_eq!(
            world
                .sql
                .count("SELECT count(*) FROM conversation WHERE state = 'failed'"),
            1
        );
    }
}

/// The queue's messages, as long as there is a worker that can store what came of them.
fn works_or_dies(world: &World) {
    for _ in 0..20 {
        let waiting: Vec<_> = world.queue.waiting.borrow_mut().drain(..).collect();
        for (id, _) in waiting {
            run(world.hub().wake(&id));
        }
    }
}

#[test]
fn a_worker_that_dies_anywhere_leaves_one_acknowledgement_and_one_answer_in_order() {
    // The database fails from the n-th batch on, whatever that is; then the worker comes back.
    for n in 0..12 {
        let world = world();
        destination(&world, AGENT, "agent", &[]);
        mention(&world, "d-1", "@patchbay look");
        world.sql.fails_after(n);
        works_or_dies(&world);
        comes_back(&world);
        comes_back(&world);
        let letter = letters(&world)[0].clone();
        world.sql.fails_after(n + 3);
        for (status, message) in [("progress", "10 %"), ("progress", "90 %"), ("completed", "Done")] {
            // The agent repeats what was not taken.
            while answer(&world, &letter, json!({"status": status, "message": message})).0 != 202 {
                world.sql.failing.set(0);
            }
        }
        works_or_dies(&world);
        for _ in 0..4 {
            comes_back(&world);
        }

        let said: Vec<String> = done(&world).into_iter().filter(|d| d != HEARD).collect();
        let last = said.last().unwrap();
        assert_eq!(last, "POST issues/7/comments Done", "{n}: {said:?}");
        let states = world.sql.count("SELECT count(*) FROM run WHERE status = 'succeeded'");
        assert_eq!(states, 4, "{n}: {said:?}");
    }
}

#[test]
fn the_thread_so_far_comes_along_bounded_and_without_the_message_itself() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    let mut asks = comment("@patchbay look at https://example.com/log.");
    asks["issue"]["comments"] = json!(230);
    let url = format!("{API}/repos/octo/repo/issues/7/comments?page=3&per_page=100");
    world.net.once(&url, |_| {
        let old = |n: i64| json!({"id": n, "body": "x".repeat(5_000), "user": {"login": "hubot"}, "created_at": "2026-01-01T00:00:00Z"});
        let mut all: Vec<Value> = (2..30).map(old).collect();
        all.push(json!({"id": 1, "body": "@patchbay look", "user": {"login": "mona"}, "created_at": "2026-01-02T00:00:00Z"}));
        json_reply(200, json!(all))
    });
    deliver(&world, "d-1", "issue_comment", asks.to_string().as_bytes());
    world.work();

    let data = letters(&world)[0]["data"].clone();
    let thread = data["thread"].as_array().unwrap();
    assert_eq!(thread.len(), 20);
    assert_eq!(thread[0]["user"], "hubot");
    assert_eq!(thread[0]["at"], "2026-01-01T00:00:00Z");
    let text = thread[0]["text"].as_str().unwrap();
    assert!(text.chars().count() <= 4_000 && text.ends_with("(shortened)"));
    assert_eq!(data["context"]["links"], json!(["https://example.com/log"]));
}

#[test]
fn a_thread_that_cannot_be_read_does_not_keep_the_message() {
    let world = world();
    world
        .net
        .once(&format!("{API}/repos/octo/repo/issues/7/comments"), |_| {
            Ok(Response::empty(500))
        });
    let letter = asked(&world);

    assert_eq!(letter["data"].get("thread"), None);
}

#[test]
fn a_long_answer_comes_in_parts() {
    let world = world();
    let letter = asked(&world);

    say(
        &world,
        &letter,
        "completed",
        &"A paragraph of some words.\n\n".repeat(5_000),
    );
    world.work();

    let parts = posted(&world);
    assert_eq!(parts.len(), 3);
    let length = |part: &Value| part["body"].as_str().unwrap().chars().count();
    assert!(parts.iter().all(|p| length(p) <= 65_536));
}

#[test]
fn an_edit_asks_if_it_brings_the_mention_in() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    let edit = |id: &str, from: &str, to: &str| {
        let mut edited = comment(to);
        edited["action"] = json!("edited");
        edited["changes"] = json!({"body": {"from": from}});
        deliver(&world, id, "issue_comment", edited.to_string().as_bytes());
        world.work();
        letters(&world).len()
    };

    assert_eq!(edit("d-1", "please look", "please look, now"), 0);
    assert_eq!(edit("d-2", "`@patchbay` look", "@patchbay look"), 1);
    assert_eq!(
        edit("d-3", "@patchbay look", "@patchbay look again"),
        1,
        "it was asked already"
    );
}

#[test]
fn two_mentions_at_once_are_one_conversation() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    mention(&world, "d-2", "@patchbay look here too");
    let ids: Vec<String> = world.queue.waiting.borrow().iter().map(|(id, _)| id.clone()).collect();
    let hub = world.hub();
    run(async {
        futures_util::future::join(hub.wake(&ids[0]), hub.wake(&ids[1])).await;
    });
    world.work();

    let told = letters(&world);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["data"]["conversation_id"], told[1]["data"]["conversation_id"]);
    assert_eq!(world.sql.count("SELECT count(*) FROM conversation"), 1);
    let kinds: Vec<&str> = told.iter().filter_map(|l| l["type"].as_str()).collect();
    assert!(
        kinds.contains(&"conversation.started") && kinds.contains(&"conversation.message"),
        "{kinds:?}"
    );
}

#[test]
fn runs_can_be_listed_with_how_they_ended() {
    let world = world();
    let letter = asked(&world);
    say(&world, &letter, "completed", "Done");
    world.work();

    let path = format!(
        "/api/v1/runs?conversation_id={}",
        letter["data"]["conversation_id"].as_str().unwrap()
    );
    let (_, page) = world.api(Method::Get, &path, &Value::Null);
    let shown: Vec<_> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (&r["action"], &r["status"]))
        .collect();
    assert_eq!(shown.len(), 2);
    assert!(
        shown.iter().all(|(_, status)| **status == json!("succeeded")),
        "{shown:?}"
    );
}

#[test]
fn what_is_done_is_done_with_the_account_of_who_asked_alone_and_says_so() {
    let world = world();
    destination(&world, AGENT, "agent", &["create_comment"]);
    world
        .net
        .once(&format!("{API}/app/installations/88/access_tokens"), |_| {
            json_reply(201, json!({"token": "users-own", "expires_at": "2030-01-01T00:00:00Z"}))
        });
    let config = json!({"app_id": "1", "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "installation_id": "88"});
    let own = json!({"integration": "github", "owner": "mona", "config": config});
    let (_, own) = world.api(Method::Post, "/api/v1/connections", &own);
    let link = json!({"owner": "mona", "integration": "github", "external_user_id": "9", "connection_id": own["id"]});
    let (status, link) = world.api(Method::Post, "/api/v1/account-links", &link);
    assert_eq!(status, 201, "{link}");
    let ask = |id: &str, user: i64| {
        let mut asks = comment("@patchbay look");
        asks["sender"]["id"] = json!(user);
        deliver(&world, id, "issue_comment", asks.to_string().as_bytes());
        world.work();
    };
    let act = |n: usize| {
        let letter = letters(&world)[n].clone();
        let action =
            json!({"action": "create_comment", "inputs": {"repo": "octo/repo", "issue": 7, "body": format!("x{n}")}});
        let (code, body) = answer(
            &world,
            &letter,
            json!({"status": "progress", "message": "said", "actions": [action]}),
        );
        assert_eq!(code, 202, "{body}");
        world.work();
        let of = |at: usize| {
            let path = format!("/api/v1/runs/{}", body["runs"][at]["id"].as_str().unwrap());
            world.api(Method::Get, &path, &Value::Null).1["acted_as"].clone()
        };
        (of(0), of(1))
    };

    ask("d-1", 9);
    let alone = act(0);
    ask("d-2", 10);
    let together = act(1);

    assert_eq!(alone, (json!("app:github"), own["id"].clone()));
    assert_eq!(together, (json!("app:github"), json!("app:github")));
}

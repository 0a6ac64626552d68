//! A sender who has connected no account, where users must: a link instead of an answer, and the agent once they used it.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

#![expect(clippy::indexing_slicing, reason = "tests fail loudly; JSON indexing gives null")]

mod support;

use patchbay::http::Method;
use patchbay::time::MINUTE;
use serde_json::{Value, json};
use support::scene::*;
use support::{World, json_reply};

const TOKEN_URL: &str = "https://github.com/login/oauth/access_token";
const HUB: &str = "https://hub.example.com";

fn strict_world() -> World {
    let world = world();
    for (name, value) in [
        ("GITHUB_USER_ACCOUNTS", "required"),
        ("GITHUB_CLIENT_ID", "test-client"),
        ("GITHUB_CLIENT_SECRET", "test-client-secret"),
    ] {
        world.set(name, value);
    }
    destination(&world, AGENT, "agent", &["create_comment"]);
    world
}

fn ask(world: &World, id: &str, user: i64) -> Value {
    let mut asks = comment("@patchbay look");
    asks["sender"]["id"] = json!(user);
    let (status, event) = deliver(world, id, "issue_comment", asks.to_string().as_bytes());
    assert_eq!(status, 202, "{event}");
    world.work();
    let path = format!("/api/v1/events/{}", event["id"].as_str().unwrap_or_default());
    world.api(Method::Get, &path, &Value::Null).1
}

/// The link that was posted last, as a path of the hub.
fn link(world: &World) -> String {
    let all = posted(world);
    let said = all.last().and_then(|body| body["body"].as_str()).unwrap_or_default();
    let from = said.find(HUB).map_or("", |at| &said[at + HUB.len()..]);
    from.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Goes the way of a browser; the user at the provider is `user`.
fn connect(world: &World, path: &str, user: i64) -> u16 {
    world.net.once(TOKEN_URL, |_| {
        json_reply(
            200,
            json!({"access_token": "users-token", "expires_in": 28800, "refresh_token": "r", "token_type": "bearer"}),
        )
    });
    world.net.once(&format!("{API}/user"), move |_| {
        json_reply(200, json!({"id": user, "login": "mona"}))
    });
    let away = world.request(Method::Get, path, &[], b"");
    assert_eq!(away.status, 303, "{}", String::from_utf8_lossy(&away.body));
    let cookie = away.headers.get("set-cookie").unwrap_or_default().to_owned();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let location = away.headers.get("location").unwrap_or_default().to_owned();
    let state = location.split("state=").nth(1).unwrap_or_default();
    let state = state.split('&').next().unwrap_or_default();
    let back = format!("/oauth/callback?code=good&state={state}");
    world.request(Method::Get, &back, &[("cookie", &cookie)], b"").status
}

#[test]
fn an_unlinked_sender_gets_a_link_once_and_the_agent_after_it_was_used() {
    let world = strict_world();

    let event = ask(&world, "d-1", 9);
    world.wait(MINUTE);
    sweep(&world);

    assert!(letters(&world).is_empty());
    assert_eq!(
        event["decision"], "the sender has connected no account; a link to do so was sent",
        "{event}"
    );
    assert_eq!(comments(&world), 1);
    let said = posted(&world)[0]["body"].as_str().unwrap().to_owned();
    assert!(said.starts_with("@mona Before I work for you"), "{said}");
    let path = link(&world);
    assert_eq!(connect(&world, &path, 9), 200);
    ask(&world, "d-2", 9);
    let letter = letters(&world).into_iter().next().unwrap();
    world
        .net
        .once(&format!("{API}/repos/octo/repo/issues/7/comments"), |request| {
            assert_eq!(request.headers.get("authorization"), Some("Bearer users-token"));
            json_reply(201, json!({"id": 5}))
        });
    let action = json!({"action": "create_comment", "inputs": {"repo": "octo/repo", "issue": 7, "body": "x"}});
    let (code, body) = answer(&world, &letter, json!({"status": "completed", "actions": [action]}));
    assert_eq!(code, 202, "{body}");
    world.work();
    let path = format!("/api/v1/runs/{}", body["runs"][0]["id"].as_str().unwrap());
    let run = world.api(Method::Get, &path, &Value::Null).1;
    let links = world.api(Method::Get, "/api/v1/account-links", &Value::Null).1;

    assert_eq!(links["data"][0]["owner"], "github:9");
    assert_eq!(
        (&run["status"], &run["acted_as"], &run["external_user_id"]),
        (&json!("succeeded"), &links["data"][0]["connection_id"], &json!("9"))
    );
}

#[test]
fn a_link_is_of_no_use_to_anybody_else() {
    let world = strict_world();
    world.net.on(Method::Delete, &format!("{API}/applications/"), |_| {
        json_reply(204, json!({}))
    });
    ask(&world, "d-1", 9);

    let status = connect(&world, &link(&world), 10);
    ask(&world, "d-2", 9);

    assert_eq!(status, 403);
    assert!(letters(&world).is_empty());
    assert_eq!(comments(&world), 2, "another link");
}

#[test]
fn where_no_link_can_be_made_the_delivery_says_why_and_nobody_is_asked() {
    let world = strict_world();
    world.set("GITHUB_CLIENT_ID", "");

    let event = ask(&world, "d-1", 9);

    assert!(letters(&world).is_empty());
    assert_eq!(comments(&world), 0);
    let delivery = &event["deliveries"][0];
    assert_eq!(delivery["status"], "pending", "{event}");
    assert!(delivery.to_string().contains("GITHUB_CLIENT_ID"), "{delivery}");
}

#[test]
fn where_accounts_are_optional_the_app_acts_for_who_has_none() {
    let world = strict_world();
    world.set("GITHUB_USER_ACCOUNTS", "optional");

    ask(&world, "d-1", 9);

    assert_eq!(letters(&world).len(), 1);
    assert_eq!(comments(&world), 0);
}

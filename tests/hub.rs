//! What the hub promises, through its own verbs, on real SQLite and a scripted network.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail loudly")]

mod support;

use hmac::{Hmac, KeyInit, Mac};
use patchbay::http::{Method, Response};
use patchbay::ports::FetchError;
use patchbay::time::{DAY, MINUTE};
use serde_json::{Value, json};
use sha2::Sha256;
use support::{World, json_reply, run};

const SECRET: &str = "test-webhook-secret";
const API: &str = "https://api.github.com";
const AGENT: &str = "https://agent.example.com/hook";
const SUBSCRIBER: &str = "https://backoffice.example.com/hook";

/// A world in which the app is set up and the service answers as it does.
fn world() -> World {
    let world = World::new();
    world.set("GITHUB_WEBHOOK_SECRET", SECRET);
    world.set("GITHUB_APP_ID", "12345");
    world.set(
        "GITHUB_APP_PRIVATE_KEY",
        "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----",
    );
    world.net.on(
        Method::Post,
        &format!("{API}/app/installations/77/access_tokens"),
        |_| {
            json_reply(
                201,
                json!({"token": "t".repeat(520), "expires_at": "2030-01-01T00:00:00Z"}),
            )
        },
    );
    world.net.on(
        Method::Get,
        &format!("{API}/repos/octo/repo/collaborators/mona/permission"),
        |_| json_reply(200, json!({"permission": "write"})),
    );
    world.net.on(
        Method::Post,
        &format!("{API}/repos/octo/repo/issues/7/comments"),
        |_| {
            json_reply(
                201,
                json!({"id": 99, "html_url": "https://github.com/octo/repo/issues/7#issuecomment-99"}),
            )
        },
    );
    world
        .net
        .on(Method::Get, &format!("{API}/repos/octo/repo/issues/7/comments"), |_| {
            json_reply(200, json!([]))
        });
    world.net.on(Method::Post, "https://", |_| Ok(Response::empty(204)));
    world
}

fn comment(text: &str) -> Value {
    json!({
        "action": "created",
        "repository": {"full_name": "octo/repo"},
        "issue": {"number": 7, "title": "A bug"},
        "comment": {"id": 1, "body": text, "html_url": "https://github.com/octo/repo/issues/7#issuecomment-1"},
        "sender": {"login": "mona", "type": "User"},
        "installation": {"id": 77},
    })
}

fn deliver(world: &World, id: &str, kind: &str, payload: &[u8]) -> (u16, Value) {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(payload);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", kind),
        ("x-github-delivery", id),
        ("x-hub-signature-256", &signature),
    ];
    let reply = world.request(Method::Post, "/api/integration/github/events", &headers, payload);
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
}

fn mention(world: &World, id: &str, text: &str) -> String {
    let (status, body) = deliver(world, id, "issue_comment", comment(text).to_string().as_bytes());
    assert_eq!(status, 202, "{body}");
    body["id"].as_str().unwrap().to_owned()
}

fn destination(world: &World, url: &str, role: &str, actions: &[&str]) -> String {
    let body = json!({"name": role, "url": url, "event_types": ["github.*"], "role": role, "allowed_actions": actions});
    let (status, made) = world.api(Method::Post, "/api/v1/destinations", &body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// What the agent was told, in order.
fn letters(world: &World) -> Vec<Value> {
    let sent = world.net.to(AGENT);
    sent.iter().map(|r| serde_json::from_slice(&r.body).unwrap()).collect()
}

fn answer(world: &World, letter: &Value, body: Value) -> (u16, Value) {
    let token = format!("Bearer {}", letter["data"]["callback"]["token"].as_str().unwrap());
    let mut body = body;
    body["conversation_id"] = letter["data"]["conversation_id"].clone();
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let reply = world.request(Method::Post, "/api/v1/webhooks", &headers, body.to_string().as_bytes());
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
}

fn comments(world: &World) -> usize {
    let to = world.net.to(&format!("{API}/repos/octo/repo/issues/7/comments"));
    to.iter().filter(|r| r.method == Method::Post).count()
}

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
fn a_queue_out_of_reach_costs_time_and_no_event() {
    let world = world();
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world.queue.failing.set(true);

    assert_eq!(deliver(&world, "d-1", "ping", b"{}").0, 202);
    world.work();
    assert_eq!(world.net.to(SUBSCRIBER).len(), 0);

    run(world.hub().tick());
    assert_eq!(world.net.to(SUBSCRIBER).len(), 1);
}

/// A service that takes the request, and a worker that dies before it can write down the answer.
fn dies_after(world: &World, url: &str, reply: Result<Response, FetchError>) {
    let failing = world.sql.failing.clone();
    world.net.once(url, move |_| {
        failing.set(1_000);
        reply.clone()
    });
}

fn comes_back(world: &World) {
    world.sql.failing.set(0);
    world.queue.waiting.borrow_mut().clear();
    world.wait(4 * MINUTE);
    run(world.hub().tick());
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
fn a_mention_is_answered_where_it_came_from() {
    let world = world();
    let agent = destination(&world, AGENT, "agent", &[]);
    let event = mention(&world, "d-1", "hey @patchbay, please look");
    world.work();

    let letter = letters(&world)[0].clone();
    assert_eq!(letter["type"], "conversation.started");
    assert_eq!(letter["data"]["event"]["id"], json!(event));
    assert_eq!(letter["data"]["context"]["repo"], "octo/repo");
    assert_eq!(letter["data"]["context"]["issue"], 7);
    assert_eq!(
        letter["data"]["callback"]["url"],
        "https://hub.example.com/api/v1/webhooks"
    );

    let (status, body) = answer(&world, &letter, json!({"status": "completed", "message": "Fixed."}));
    assert_eq!(status, 202, "{body}");
    world.work();

    let sent = world.net.to(&format!("{API}/repos/octo/repo/issues/7/comments"));
    let posted: Value = serde_json::from_slice(&sent[0].body).unwrap();
    assert!(
        posted["body"]
            .as_str()
            .unwrap()
            .starts_with("Fixed.\n\n<!-- patchbay:run_")
    );
    assert_eq!(
        sent[0].headers.get("authorization"),
        Some(format!("Bearer {}", "t".repeat(520)).as_str())
    );
    let (_, runs) = world.api(Method::Get, "/api/v1/runs", &Value::Null);
    assert_eq!(
        (&runs["data"][0]["status"], &runs["data"][0]["result"]["id"]),
        (&json!("succeeded"), &json!(99))
    );
    let (_, shown) = world.api(Method::Get, &format!("/api/v1/events/{event}"), &Value::Null);
    assert_eq!(shown["deliveries"][0]["destination_id"], json!(agent));
    assert_eq!(shown["deliveries"][0]["status"], "delivered");
    assert_eq!(shown["context"]["mention"], true);
}

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
fn follow_ups_join_and_an_ended_conversation_opens_again_with_a_new_token() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    mention(&world, "d-2", "more detail");
    world.work();
    let told = letters(&world);
    assert_eq!(told[1]["type"], "conversation.message");
    assert_eq!(told[1]["data"]["conversation_id"], told[0]["data"]["conversation_id"]);
    assert_eq!(
        told[1]["data"]["callback"]["token"],
        told[0]["data"]["callback"]["token"]
    );

    assert_eq!(
        answer(&world, &told[1], json!({"status": "completed", "message": "Done"})).0,
        202
    );
    world.work();
    mention(&world, "d-3", "not yet");
    world.work();

    let reopened = letters(&world)[2].clone();
    assert_eq!(reopened["type"], "conversation.started");
    assert_eq!(reopened["data"]["conversation_id"], told[0]["data"]["conversation_id"]);
    assert_ne!(
        reopened["data"]["callback"]["token"],
        told[0]["data"]["callback"]["token"]
    );
    assert_eq!(
        answer(&world, &told[0], json!({"status": "completed", "message": "Old"})).0,
        401
    );
    assert_eq!(
        answer(&world, &reopened, json!({"status": "completed", "message": "New"})).0,
        202
    );
}

#[test]
fn who_may_not_write_may_not_command() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    world
        .net
        .once(&format!("{API}/repos/octo/repo/collaborators/mona"), |_| {
            json_reply(200, json!({"permission": "read"}))
        });
    let event = mention(&world, "d-1", "@patchbay look");
    world.work();

    assert_eq!(letters(&world).len(), 0);
    let (_, shown) = world.api(Method::Get, &format!("/api/v1/events/{event}"), &Value::Null);
    assert_eq!(shown["deliveries"][0]["status"], "skipped");
    assert!(shown["deliveries"][0]["note"].as_str().unwrap().contains("permission"));
    assert!(shown["decision"].as_str().unwrap().contains("permission"));
    assert_eq!(shown["context"]["mention"], false);
    assert_eq!(world.sql.count("SELECT count(*) FROM conversation"), 0);
}

#[test]
fn bots_the_hub_and_bystanders_do_not_reach_the_agent() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    let mut bot = comment("@patchbay look");
    bot["sender"]["type"] = json!("Bot");
    let mut own = comment("@patchbay look");
    own["comment"]["performed_via_github_app"] = json!({"id": 12345});
    let marked = comment("@patchbay look\n\n<!-- patchbay:run_01ARZ3NDEKTSV4RRFFQ69G5FAV -->");
    let mut edited = comment("@patchbay look");
    edited["action"] = json!("edited");
    let quiet = comment("nobody is asked");
    for (at, payload) in [bot, own, marked, edited, quiet].iter().enumerate() {
        let (status, _) = deliver(
            &world,
            &format!("d-{at}"),
            "issue_comment",
            payload.to_string().as_bytes(),
        );
        assert_eq!(status, 202);
    }
    world.work();

    assert_eq!(letters(&world).len(), 0);
    assert_eq!(
        world.sql.count("SELECT count(*) FROM event WHERE decision IS NOT NULL"),
        5
    );
}

#[test]
fn an_agent_stays_within_its_actions_and_its_repository() {
    let world = world();
    destination(&world, AGENT, "agent", &["create_comment"]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    let letter = letters(&world)[0].clone();
    let ask = |action: &str, inputs: Value| {
        let body = json!({"status": "progress", "actions": [{"action": action, "inputs": inputs}]});
        let (status, body) = answer(&world, &letter, body);
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };

    let other = ask(
        "create_comment",
        json!({"repo": "octo/secret", "issue": 7, "body": "x"}),
    );
    let forbidden = ask("get_permission", json!({"repo": "octo/repo", "user": "mona"}));
    let unknown = ask("delete_everything", json!({}));
    let malformed = ask(
        "create_comment",
        json!({"repo": "octo/repo", "issue": "seven", "body": ""}),
    );
    let allowed = ask("create_comment", json!({"repo": "octo/repo", "issue": 7, "body": "x"}));

    assert_eq!(other, (403, "FORBIDDEN".into()));
    assert_eq!(forbidden, (403, "FORBIDDEN".into()));
    assert_eq!(unknown, (404, "METHOD_NOT_FOUND".into()));
    assert_eq!(malformed, (400, "VALIDATION_ERROR".into()));
    assert_eq!(allowed.0, 202);
    assert_eq!(world.sql.count("SELECT count(*) FROM run"), 1);
}

#[test]
fn a_callback_token_ends_after_seven_idle_days_and_serves_no_other_conversation() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    mention(&world, "d-1", "@patchbay look");
    world.work();
    let mut letter = letters(&world)[0].clone();
    let body = json!({"status": "progress", "message": "on it"});

    world.wait(6 * DAY);
    assert_eq!(answer(&world, &letter, body.clone()).0, 202);
    world.wait(6 * DAY);
    assert_eq!(answer(&world, &letter, body.clone()).0, 202, "using it keeps it");
    world.wait(8 * DAY);
    assert_eq!(answer(&world, &letter, body.clone()).0, 401);

    letter["data"]["conversation_id"] = json!("cnv_01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_eq!(answer(&world, &letter, body).0, 401);
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
fn no_secret_reaches_the_log_or_the_database_in_the_clear() {
    let world = world();
    destination(&world, AGENT, "agent", &[]);
    let config = json!({"app_id": "1", "private_key": "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----",
        "webhook_secret": "connection-secret"});
    let (status, made) = world.api(
        Method::Post,
        "/api/v1/connections",
        &json!({"integration": "github", "config": config}),
    );
    assert_eq!(status, 201, "{made}");
    mention(&world, "d-1", "@patchbay a very private text");
    world.work();
    answer(
        &world,
        &letters(&world)[0].clone(),
        json!({"status": "completed", "message": "Done"}),
    );
    world.work();

    let token = letters(&world)[0]["data"]["callback"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let log = json!(*world.machine.lines.borrow()).to_string();
    for secret in [
        "U0VDUkVU",
        "connection-secret",
        SECRET,
        "private text",
        "ttttt",
        "test-admin-token",
        &token,
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!made.to_string().contains(secret));
    }
    for column in ["config", "secrets"] {
        let sql =
            format!("SELECT count(*) FROM connection WHERE {column} LIKE '%U0VD%' OR {column} LIKE '%connection-s%'");
        assert_eq!(world.sql.count(&sql), 0);
    }
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

/// A connection of `service` with these settings.
fn connection(world: &World, service: &str, config: Value) -> String {
    let body = json!({"integration": service, "config": config});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    made["webhook_path"].as_str().unwrap().to_owned()
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
}

#[test]
fn a_secret_that_is_handed_over_is_believed_once_and_early() {
    let world = world();
    let body = json!({"integration": "asana", "config": {}});
    let (_, made) = world.api(Method::Post, "/api/v1/connections", &body);
    let path = made["webhook_path"].as_str().unwrap().to_owned();
    let shake = |secret: &str| world.request(Method::Post, &path, &[("x-hook-secret", secret)], b"");
    let signed = |secret: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(b"{\"events\":[]}");
        let signature = hex::encode(mac.finalize().into_bytes());
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
fn one_destination_that_cannot_be_served_repeats_nothing_to_the_others() {
    let world = world();
    let broken = destination(&world, "https://broken.example.com/hook", "subscriber", &[]);
    destination(&world, SUBSCRIBER, "subscriber", &[]);
    world
        .sql
        .write("UPDATE destination SET secret = 'v1|gone|AAAA|AAAA' WHERE id = (SELECT min(id) FROM destination)");

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
    assert_eq!(comments(&world), 2);
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
fn an_owners_own_agent_comes_before_everybodys() {
    let world = world();
    let everybodys =
        json!({"name": "a", "url": "https://everybody.example.com", "event_types": ["*"], "role": "agent"});
    let own = json!({"name": "b", "url": AGENT, "event_types": ["*"], "role": "agent", "owner": "ada"});
    for body in [everybodys, own] {
        assert_eq!(world.api(Method::Post, "/api/v1/destinations", &body).0, 201);
    }
    let config = json!({"app_id": "1", "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        "webhook_secret": SECRET});
    let body = json!({"integration": "github", "owner": "ada", "config": config});
    let (_, made) = world.api(Method::Post, "/api/v1/connections", &body);
    let path = made["webhook_path"].as_str().unwrap();
    let payload = comment("@patchbay look").to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let headers = [
        ("x-github-event", "issue_comment"),
        ("x-github-delivery", "d-1"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    assert_eq!(
        world.request(Method::Post, path, &headers, payload.as_bytes()).status,
        202
    );
    world.work();

    assert_eq!(letters(&world).len(), 1);
    assert_eq!(world.net.to("https://everybody.example.com").len(), 0);
}

#[test]
fn a_connection_is_changed_and_its_secret_rotated() {
    let world = world();
    let (_, made) = world.api(
        Method::Post,
        "/api/v1/connections",
        &json!({"integration": "github", "config": {"webhook_secret": "test-old-secret"}}),
    );
    let path = made["webhook_path"].as_str().unwrap().to_owned();
    let of = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
    let send = |secret: &str, id: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(b"{}");
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let headers = [
            ("x-github-event", "ping"),
            ("x-github-delivery", id),
            ("x-hub-signature-256", &signature),
        ];
        world.request(Method::Post, &path, &headers, b"{}").status
    };
    assert_eq!(send("test-old-secret", "d-1"), 202);

    let rotated =
        json!({"config": {"webhook_secret": "test-new-secret", "webhook_secret_previous": "test-old-secret"}});
    let (status, shown) = world.api(Method::Patch, &of, &rotated);
    assert_eq!(
        (status, shown["config"].to_string().contains("secret")),
        (200, false),
        "{shown}"
    );
    assert_eq!(
        (send("test-new-secret", "d-2"), send("test-old-secret", "d-3")),
        (202, 202)
    );

    assert_eq!(
        world
            .api(
                Method::Patch,
                &of,
                &json!({"config": {"webhook_secret_previous": null}})
            )
            .0,
        200
    );
    assert_eq!(
        (send("test-new-secret", "d-4"), send("test-old-secret", "d-5")),
        (202, 401)
    );

    for bad in [
        json!({"config": {"no_such": 1}}),
        json!({"integration": "gitlab"}),
        json!({"config": {"webhook_secret": ""}}),
    ] {
        assert_eq!(world.api(Method::Patch, &of, &bad).0, 400, "{bad}");
    }
    assert_eq!(send("test-new-secret", "d-6"), 202, "a refused change changes nothing");
}

#[test]
fn a_learned_secret_can_be_read_for_an_hour() {
    let world = world();
    let (_, made) = world.api(
        Method::Post,
        "/api/v1/connections",
        &json!({"integration": "notion", "config": {}}),
    );
    let of = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
    let token = br#"{"verification_token":"secret_test_token_0123456789"}"#;
    let headers = [("content-type", "application/json")];
    assert_eq!(
        world
            .request(Method::Post, made["webhook_path"].as_str().unwrap(), &headers, token)
            .status,
        200
    );

    assert_eq!(
        world.api(Method::Get, &of, &Value::Null).1["learned_webhook_secret"],
        "secret_test_token_0123456789"
    );
    world.wait(61 * MINUTE);
    assert_eq!(
        world.api(Method::Get, &of, &Value::Null).1["learned_webhook_secret"],
        Value::Null
    );
}

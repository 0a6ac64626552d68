//! Who reaches the agent, and where its answers may go.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

mod support;

use patchbay::http::Method;
use patchbay::time::DAY;
use serde_json::{Value, json};
use support::json_reply;
use support::scene::*;

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
    let sent: Vec<_> = sent.iter().filter(|r| r.method == Method::Post).collect();
    assert!(
        posted(&world)[0]["body"]
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
    let used = format!(
        "SELECT count(*) FROM audit WHERE act = 'credential.used' AND subject = 'app:github' AND detail LIKE '%{event}%'"
    );
    assert_eq!(
        world.sql.count(&used),
        2,
        "the sender's permission and the thread were read"
    );
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
    let made = "SELECT count(*) FROM run WHERE action = 'create_comment'";
    assert_eq!(world.sql.count(made), 1);
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
    let signature = format!("sha256={}", mac(SECRET, payload.as_bytes()));
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

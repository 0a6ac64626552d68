//! A sender who has connected no account, where users must: a link instead of an answer, and the agent once they used it.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

#![expect(clippy::indexing_slicing, reason = "tests fail loudly; JSON indexing gives null")]

mod support;

use patchbay::http::Method;
use patchbay::time::MINUTE;
use serde_json::{Value, json};
use support::scene::*;
use support::services::text_of;
use support::talk::Talk;
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
    link_in(said)
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
    world.come_back(&world.depart(path)).status
}

/// What the provider says of a person who consented: by the beginning of the URL that is asked.
type Consent = [(&'static str, fn() -> Value)];

/// A service, in which the agent acts with the user's own account.
struct Case {
    scene: &'static str,
    consent: &'static Consent,
    /// What the sign-in asks for.
    asks_for: &'static str,
    /// Whether the sender alone sees the link.
    private: bool,
    /// An action of the conversation, and where its request goes.
    action: fn() -> (&'static str, Value),
    to: &'static str,
}

fn bearer() -> Value {
    json!({"access_token": "users-token", "expires_in": 3_600, "refresh_token": "r", "token_type": "bearer", "scope": "read write"})
}

const SLACK: Case = Case {
    scene: "Slack",
    consent: &[("https://slack.com/api/oauth.v2.access", of_slack)],
    asks_for: "user_scope=chat%3Awrite",
    private: true,
    action: || ("post_message", json!({"channel": "C0LAN2Q65", "text": "x"})),
    to: "https://slack.com/api/chat.postMessage",
};

const CASES: [Case; 7] = [
    Case {
        scene: "GitHub",
        consent: &[
            ("https://github.com/login/oauth/access_token", bearer),
            ("https://api.github.com/user", || json!({"id": 9, "login": "ada"})),
        ],
        asks_for: "https://github.com/login/oauth/authorize?",
        private: false,
        action: || {
            (
                "create_comment",
                json!({"repo": "example/demo", "issue": 42, "body": "x"}),
            )
        },
        to: "https://api.github.com/repos/example/demo/issues/42/comments",
    },
    Case {
        scene: "GitLab",
        consent: &[
            ("https://gitlab.com/oauth/token", bearer),
            (
                "https://gitlab.com/api/v4/user",
                || json!({"id": 42, "username": "ada"}),
            ),
        ],
        asks_for: "scope=api",
        private: false,
        action: || {
            let inputs = json!({"repo": "example/demo", "kind": "issues", "issue": 17, "body": "x"});
            ("create_note", inputs)
        },
        to: "https://gitlab.com/api/v4/projects/example%2Fdemo/issues/17/notes",
    },
    SLACK,
    Case {
        scene: "a command of Slack",
        ..SLACK
    },
    Case {
        scene: "Jira",
        consent: &[
            ("https://auth.atlassian.com/oauth/token", bearer),
            (
                "https://api.atlassian.com/me",
                || json!({"account_id": "5b1:ada", "name": "Ada"}),
            ),
            (
                "https://api.atlassian.com/oauth/token/accessible-resources",
                || json!([{"id": "site-1"}]),
            ),
        ],
        asks_for: "write%3Ajira-work",
        private: false,
        action: || ("create_comment", json!({"issue": "DEMO-42", "body": "x"})),
        to: "https://api.atlassian.com/ex/jira/site-1/rest/api/3/issue/DEMO-42/comment",
    },
    Case {
        scene: "Linear",
        consent: OF_LINEAR,
        asks_for: "scope=read%2Cwrite",
        private: false,
        action: || ("create_comment", json!({"issue": "55555555-test", "body": "x"})),
        to: "https://api.linear.app/graphql",
    },
    Case {
        scene: "a session of Linear",
        consent: OF_LINEAR,
        asks_for: "scope=read%2Cwrite",
        private: false,
        action: || ("create_comment", json!({"issue": "55555555-test", "body": "x"})),
        to: "https://api.linear.app/graphql",
    },
];

const OF_LINEAR: &Consent = &[
    ("https://api.linear.app/oauth/token", bearer),
    (
        "https://api.linear.app/graphql",
        || json!({"data": {"viewer": {"id": "66666666-test", "name": "Ada"}}}),
    ),
];

/// Who is asked for scopes of a user alone gets a token of that user alone.
fn of_slack() -> Value {
    json!({"ok": true, "app_id": "A0MDYCDME", "team": {"id": "T061EG9R6"}, "enterprise": null, "is_enterprise_install": false,
        "authed_user": {"id": "U061F7AUR", "scope": "chat:write", "access_token": "users-token", "token_type": "user"}})
}

/// The link in a text, as a path of the hub.
fn link_in(text: &str) -> String {
    let from = text.find(HUB).map_or("", |at| &text[at + HUB.len()..]);
    let ends = |c: char| c.is_whitespace() || c == '>' || c == '"';
    from.split(ends).next().unwrap_or_default().to_owned()
}

#[test]
fn an_unlinked_sender_gets_a_link_once_and_the_agent_with_their_own_account_after_it_was_used() {
    for case in CASES {
        let (action, inputs) = (case.action)();
        let talk = Talk::with(case.scene, &json!({"user_accounts": "required"}), &[action]);
        let (scene, world) = (talk.scene, &talk.world);
        for (name, value) in [("CLIENT_ID", "test-client"), ("CLIENT_SECRET", "test-client-secret")] {
            world.set(&format!("{}_{name}", scene.service.to_uppercase()), value);
        }

        talk.deliver("d-1", &scene.mention());
        world.wait(MINUTE);
        sweep(world);

        assert!(talk.heard() == 0, "{}", case.scene);
        let (_, events) = world.api(Method::Get, "/api/v1/events", &Value::Null);
        let decision = &events["data"][0]["decision"];
        assert_eq!(
            decision, "the sender has connected no account; a link to do so was sent",
            "{}",
            case.scene
        );
        let sent = talk.kept.messages.borrow().clone();
        assert_eq!((sent.len(), sent[0].private), (1, case.private), "{}", case.scene);
        let text = text_of(&sent[0].content);
        assert!(text.contains("Before I work for you, please connect your"), "{text}");

        let away = world.depart(&link_in(&text));
        let location = away.headers.get("location").unwrap_or_default();
        assert!(location.contains(case.asks_for), "{}: {location}", case.scene);
        for (url, reply) in case.consent {
            world.net.once(url, move |_| json_reply(200, reply()));
        }
        let page = world.come_back(&away);
        assert_eq!(page.status, 200, "{}", case.scene);

        world.wait(MINUTE);
        talk.deliver("d-2", &scene.mention());
        let asked = json!({"status": "progress", "actions": [{"action": action, "inputs": inputs}]});
        let body = talk.say(0, asked);
        let path = format!("/api/v1/runs/{}", body["runs"][0]["id"].as_str().unwrap_or_default());
        let run = world.api(Method::Get, &path, &Value::Null).1;
        let links = world.api(Method::Get, "/api/v1/account-links", &Value::Null).1;

        let own = links["data"][0]["connection_id"].clone();
        assert!(own.is_string(), "{}: {links}", case.scene);
        assert_eq!(
            (&run["status"], &run["acted_as"], &run["external_user_id"]),
            (&json!("succeeded"), &own, &json!(scene.user)),
            "{}: {run}",
            case.scene
        );
        let requests = world.net.to(case.to);
        let last = requests.last().and_then(|r| r.headers.get("authorization"));
        assert_eq!(last, Some("Bearer users-token"), "{}", case.scene);
        talk.say(0, json!({"status": "completed", "message": "Done"}));
        let said = world
            .net
            .sent
            .borrow()
            .last()
            .map(|r| r.headers.get("authorization").map(str::to_owned));
        assert_ne!(
            said.flatten().as_deref(),
            Some("Bearer users-token"),
            "{}: what is said comes from the app",
            case.scene
        );
    }
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

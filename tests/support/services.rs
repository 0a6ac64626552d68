//! The services that an agent talks in: what they send, in the form of the fixtures, and what they keep of what is
//! written there. They answer as their published APIs describe, and refuse what they do not know.

#![expect(
    clippy::indexing_slicing,
    reason = "test support may fail loudly; JSON indexing gives null"
)]

use super::scene::{AGENT, SECRET, connection, mac};
use super::workshop::Workshop;
use super::{World, json_reply};
use patchbay::http::{Headers, Method, Request, Response};
use patchbay::ports::FetchError;
use patchbay::time::Timestamp;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub type Reply = Result<Response, FetchError>;

/// A way to ask for the agent.
pub struct Scene {
    pub name: &'static str,
    pub service: &'static str,
    /// The request that asks, among the service's fixtures.
    fixture: &'static str,
    /// What the fixture lacks of a mention.
    complete: fn(&mut Value),
    /// Of the connection.
    config: fn() -> Value,
    /// The service: what it answers, and what it keeps.
    answers: fn(&Kept, &Request) -> Reply,
    /// The sender's id at the service.
    pub user: &'static str,
}

/// One message, note, comment or activity.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: String,
    /// As the service got it.
    pub content: Value,
    /// Whether the sender alone sees it.
    pub private: bool,
    at: Timestamp,
}

/// What a service keeps.
pub struct Kept {
    pub messages: RefCell<Vec<Message>>,
    pub reactions: RefCell<Vec<String>>,
    pub workshop: Workshop,
    clock: Rc<Cell<i64>>,
}

impl Kept {
    pub fn of(world: &World) -> Self {
        Self {
            messages: RefCell::default(),
            reactions: RefCell::default(),
            workshop: Workshop::new(),
            clock: world.machine.now.clone(),
        }
    }

    fn keep(&self, id: Option<&str>, content: Value, private: bool) -> String {
        let mut messages = self.messages.borrow_mut();
        let id = id.map_or_else(|| (100 + messages.len()).to_string(), str::to_owned);
        messages.push(Message {
            id: id.clone(),
            content,
            private,
            at: Timestamp(self.clock.get()),
        });
        id
    }

    fn post(&self, content: Value) -> String {
        self.keep(None, content, false)
    }

    /// Puts other content into a message, if it is there.
    fn edit(&self, id: &str, content: Value) -> bool {
        let mut messages = self.messages.borrow_mut();
        let found = messages.iter_mut().find(|m| m.id == id);
        found.map(|m| m.content = content).is_some()
    }

    /// False: the same reaction is there already.
    fn react(&self, to: &str) -> bool {
        let mut reactions = self.reactions.borrow_mut();
        let is_new = reactions.iter().all(|r| r != to);
        if is_new {
            reactions.push(to.to_owned());
        }
        is_new
    }

    fn has(&self, id: &str) -> bool {
        self.messages.borrow().iter().any(|m| m.id == id)
    }

    /// Newest first, each as `show` makes it.
    fn list(&self, show: impl Fn(&Message) -> Value) -> Vec<Value> {
        self.messages.borrow().iter().rev().map(show).collect()
    }

    /// The first line of each message, in order.
    pub fn said(&self) -> Vec<String> {
        let messages = self.messages.borrow();
        let lines = messages.iter().map(|m| text_of(&m.content));
        lines
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .collect()
    }
}

/// All text in a message's content: a text itself, a Slack message, or a document of Atlassian's.
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect(),
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| ["text", "content"].contains(&name.as_str()))
            .map(|(_, value)| text_of(value))
            .chain((members.get("type") == Some(&json!("paragraph"))).then(|| "\n".to_owned()))
            .collect(),
        _ => String::new(),
    }
}

impl Scene {
    /// A connection to the service, with `more` in its config; the path of its webhook.
    pub fn connect(&self, world: &World, more: &Value) -> String {
        let mut config = (self.config)();
        config["webhook_secret"] = json!(SECRET);
        for (name, value) in more.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        connection(world, self.service, config)
    }

    /// An agent that gets what this service sends.
    pub fn agent(&self, world: &World, actions: &[&str]) {
        let body = json!({"name": "agent", "url": AGENT, "event_types": [format!("{}.*", self.service)],
            "role": "agent", "allowed_actions": actions});
        let (status, made) = world.api(Method::Post, "/api/v1/destinations", &body);
        assert_eq!(status, 201, "{made}");
    }

    pub fn answer(&self, kept: &Kept, request: &Request) -> Reply {
        let work = kept.workshop.answer(self.service, request);
        work.unwrap_or_else(|| (self.answers)(kept, request))
    }

    /// The payload of a mention; null where it is no JSON.
    pub fn mention(&self) -> Value {
        let mut body = serde_json::from_str(&self.fixture_body()).unwrap_or(Value::Null);
        (self.complete)(&mut body);
        body
    }

    fn fixture_body(&self) -> String {
        let path = format!("integrations/{}/fixtures/{}.json", self.service, self.fixture);
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let body = fixture["request"]["body"].as_str().unwrap();
        body.replace("hooks.slack.example.com", "hooks.slack.com")
    }

    /// Sends a payload as the service does, signed.
    pub fn deliver(&self, world: &World, path: &str, id: &str, payload: &Value) -> (u16, Value) {
        let now = world.machine.now.get();
        let mut payload = payload.clone();
        match self.service {
            "slack" if !payload.is_null() => payload["event_id"] = json!(id),
            "linear" => payload["webhookTimestamp"] = json!(now),
            _ => {}
        }
        let (kind, body) = match &payload {
            Value::Null => {
                let form = self
                    .fixture_body()
                    .replace("13345224609.738474920.8088930838d88f008e0", id);
                ("application/x-www-form-urlencoded", form)
            }
            json => ("application/json", json.to_string()),
        };
        let seconds = (now / 1_000).to_string();
        let plain = mac(SECRET, body.as_bytes());
        let proof = match self.service {
            "github" => vec![
                ("x-github-event", "issue_comment".to_owned()),
                ("x-github-delivery", id.to_owned()),
                ("x-hub-signature-256", format!("sha256={plain}")),
            ],
            "gitlab" => vec![
                ("x-gitlab-event", "Note Hook".to_owned()),
                ("idempotency-key", id.to_owned()),
                ("x-gitlab-token", SECRET.to_owned()),
            ],
            "slack" => vec![
                (
                    "x-slack-signature",
                    format!("v0={}", mac(SECRET, format!("v0:{seconds}:{body}").as_bytes())),
                ),
                ("x-slack-request-timestamp", seconds),
            ],
            "jira" => vec![
                ("x-atlassian-webhook-identifier", id.to_owned()),
                ("x-hub-signature", format!("sha256={plain}")),
            ],
            _ => vec![("linear-delivery", id.to_owned()), ("linear-signature", plain)],
        };
        let mut headers = vec![("content-type", kind)];
        headers.extend(proof.iter().map(|(name, value)| (*name, value.as_str())));
        let reply = world.request(Method::Post, path, &headers, body.as_bytes());
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }
}

/// One mention for each service, and the ways in which a service has another place for answers.
pub const SCENES: [Scene; 7] = [
    Scene {
        name: "GitHub",
        service: "github",
        fixture: "issue-comment-created",
        complete: |body| {
            body["comment"]["body"] = json!("@patchbay look");
            body["sender"] = json!({"login": "ada", "id": 9, "type": "User"});
        },
        config: || json!({"app_id": "12345", "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}),
        answers: github,
        user: "9",
    },
    Scene {
        name: "GitLab",
        service: "gitlab",
        fixture: "note-on-issue",
        complete: |_| {},
        config: || json!({"access_token": "glpat-test", "user_id": "99"}),
        answers: gitlab,
        user: "42",
    },
    Scene {
        name: "Slack",
        service: "slack",
        fixture: "app-mention",
        complete: |body| {
            body["event"]["text"] = json!("<@U0LAN0Z89> look");
            body["authorizations"] = json!([{"team_id": "T061EG9R6", "user_id": "U0LAN0Z89", "is_bot": true}]);
        },
        config: || json!({"bot_token": "xoxb-test"}),
        answers: slack,
        user: "U061F7AUR",
    },
    Scene {
        name: "Jira",
        service: "jira",
        fixture: "comment-with-mention",
        complete: |_| {},
        config: || {
            json!({"base_url": "https://demo.atlassian.net", "email": "bot@example.com", "api_token": "test",
                "user_id": "5b1:bot"})
        },
        answers: jira,
        user: "5b1:ada",
    },
    Scene {
        name: "Linear",
        service: "linear",
        fixture: "comment-created",
        complete: |body| {
            body["data"]["body"] = json!("@patchbay look");
            body["data"]["issue"]["team"] = json!({"id": "team-1", "key": "DEMO", "name": "Demo"});
            body["actor"] = json!({"id": "66666666-test", "name": "Ada", "type": "user"});
        },
        config: || json!({"api_key": "lin_api_test", "user_id": "u-bot"}),
        answers: linear,
        user: "66666666-test",
    },
    Scene {
        name: "a session of Linear",
        service: "linear",
        fixture: "agent-session-created",
        complete: |_| {},
        config: || json!({"api_key": "lin_api_test", "user_id": "u-bot"}),
        answers: linear,
        user: "66666666-test",
    },
    Scene {
        name: "a command of Slack",
        service: "slack",
        fixture: "slash-command",
        complete: |_| {},
        config: || json!({"bot_token": "xoxb-test"}),
        answers: slack,
        user: "U061F7AUR",
    },
];

/// The scene of this name.
pub fn scene(name: &str) -> &'static Scene {
    static ALL: [Scene; 7] = SCENES;
    ALL.iter().find(|s| s.name == name).unwrap()
}

fn json_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or(Value::Null)
}

fn last_part(url: &str) -> &str {
    url.split('?')
        .next()
        .and_then(|u| u.rsplit('/').next())
        .unwrap_or_default()
}

fn missing() -> Reply {
    json_reply(404, json!({"message": "Not Found"}))
}

fn number(id: &str) -> Value {
    json!(id.parse::<i64>().unwrap_or_default())
}

fn github(kept: &Kept, request: &Request) -> Reply {
    let (url, body) = (request.url.as_str(), json_of(request));
    let path = url.split('?').next().unwrap_or_default();
    match request.method {
        Method::Post if path.ends_with("/access_tokens") => {
            json_reply(201, json!({"token": "t", "expires_at": "2030-01-01T00:00:00Z"}))
        }
        Method::Get if path.ends_with("/permission") => json_reply(200, json!({"permission": "write"})),
        Method::Post if path.ends_with("/reactions") => {
            kept.react(path);
            json_reply(201, json!({"id": 5}))
        }
        Method::Get if path.ends_with("/issues/42/comments") => {
            let mut all = kept.list(|m| json!({"id": number(&m.id), "body": m.content}));
            all.reverse();
            json_reply(200, json!(all))
        }
        Method::Post if path.ends_with("/issues/42/comments") => {
            let id = kept.post(body["body"].clone());
            json_reply(201, json!({"id": number(&id)}))
        }
        Method::Patch if path.contains("/issues/comments/") => {
            let id = last_part(path);
            match kept.edit(id, body["body"].clone()) {
                true => json_reply(200, json!({"id": number(id)})),
                false => missing(),
            }
        }
        _ => missing(),
    }
}

fn gitlab(kept: &Kept, request: &Request) -> Reply {
    let (url, body) = (request.url.as_str(), json_of(request));
    let path = url.split('?').next().unwrap_or_default();
    match request.method {
        Method::Get if path.ends_with("/members/all/42") => {
            json_reply(200, json!({"id": 42, "state": "active", "access_level": 30}))
        }
        Method::Post if path.ends_with("/award_emoji") => match kept.react(path) {
            true => json_reply(201, json!({"id": 1, "name": body["name"]})),
            false => json_reply(
                404,
                json!({"message": "404 Award Emoji Name has already been taken Not Found"}),
            ),
        },
        Method::Get if path.ends_with("/issues/17/notes") => {
            let all = kept.list(|m| json!({"id": number(&m.id), "body": m.content, "system": false}));
            json_reply(200, json!(all))
        }
        Method::Post if path.ends_with("/notes") => {
            let id = kept.post(body["body"].clone());
            json_reply(201, json!({"id": number(&id), "body": body["body"]}))
        }
        Method::Put if path.contains("/notes/") => {
            let id = last_part(path);
            match kept.edit(id, body["body"].clone()) {
                true => json_reply(200, json!({"id": number(id)})),
                false => missing(),
            }
        }
        _ => missing(),
    }
}

fn slack(kept: &Kept, request: &Request) -> Reply {
    let (url, body) = (request.url.as_str(), json_of(request));
    if url.starts_with("https://hooks.slack.") {
        kept.keep(None, body, true);
        return Ok(Response {
            status: 200,
            headers: Headers::default(),
            body: b"ok".to_vec(),
        });
    }
    let no = |error: &str| json_reply(200, json!({"ok": false, "error": error}));
    // A person's id names their direct message where one writes to it, and only there.
    let channel = body["channel"].as_str().unwrap_or_default();
    let place = channel.replacen('U', "D", 1);
    let method = last_part(url);
    match (request.method, method) {
        (Method::Get, "users.info") => json_reply(200, json!({"ok": true, "user": {"id": "U061F7AUR"}})),
        (Method::Post, "reactions.add") => match kept.react(&format!("{channel} {}", body["timestamp"])) {
            true => json_reply(200, json!({"ok": true})),
            false => no("already_reacted"),
        },
        (Method::Post, "chat.postMessage") => {
            let ts = format!("1769861000.000{}", kept.messages.borrow().len());
            kept.keep(Some(&ts), body.clone(), channel.starts_with('U'));
            json_reply(200, json!({"ok": true, "channel": place, "ts": ts}))
        }
        (Method::Post, "chat.postEphemeral") => {
            let ts = kept.keep(None, body, true);
            json_reply(200, json!({"ok": true, "message_ts": ts}))
        }
        (Method::Post, "chat.update") => {
            let ts = body["ts"].as_str().unwrap_or_default();
            match kept.edit(ts, json!({"text": body["text"]})) {
                true => json_reply(200, json!({"ok": true, "channel": channel, "ts": ts})),
                false => no("message_not_found"),
            }
        }
        (Method::Get, "conversations.replies" | "conversations.history") => {
            assert!(!url.contains("channel=U"), "what stands there cannot be listed: {url}");
            let whole = url.contains("include_all_metadata=true");
            let oldest = url.split("oldest=").nth(1).and_then(|rest| rest.split('&').next());
            let oldest = oldest.and_then(|s| s.parse::<i64>().ok()).unwrap_or_default();
            let show = |m: &Message| {
                let mut shown = json!({"ts": m.id, "text": m.content["text"]});
                if whole && !m.content["metadata"].is_null() {
                    shown["metadata"] = m.content["metadata"].clone();
                }
                shown
            };
            let mut all = kept.messages.borrow().clone();
            all.retain(|m| m.at.0 > oldest * 1_000);
            let shown: Vec<Value> = all.iter().rev().map(show).collect();
            json_reply(200, json!({"ok": true, "messages": shown}))
        }
        _ => no("unknown_method"),
    }
}

fn jira(kept: &Kept, request: &Request) -> Reply {
    let (url, body) = (request.url.as_str(), json_of(request));
    let path = url.split('?').next().unwrap_or_default();
    let author = json!({"accountId": "5b1:bot", "accountType": "atlassian", "displayName": "Patchbay"});
    match request.method {
        Method::Get if path.ends_with("/user/assignable/search") => json_reply(200, json!([{"accountId": "5b1:ada"}])),
        Method::Get if path.ends_with("/issue/DEMO-42/comment") => {
            let show = |m: &Message| {
                let created = m.at.rfc3339().replace('Z', "+0000");
                json!({"id": m.id, "body": m.content, "author": author, "created": created})
            };
            json_reply(200, json!({"comments": kept.list(show)}))
        }
        Method::Post if path.ends_with("/issue/DEMO-42/comment") => {
            let id = kept.post(body["body"].clone());
            json_reply(201, json!({"id": id}))
        }
        Method::Put if path.contains("/issue/DEMO-42/comment/") => {
            let id = last_part(path);
            match kept.edit(id, body["body"].clone()) {
                true => json_reply(200, json!({"id": id})),
                false => missing(),
            }
        }
        _ => missing(),
    }
}

fn linear(kept: &Kept, request: &Request) -> Reply {
    let body = json_of(request);
    let (query, variables) = (body["query"].as_str().unwrap_or_default(), &body["variables"]);
    let input = &variables["input"];
    let data = |data: Value| json_reply(200, json!({"data": data}));
    let taken = || {
        let extensions = json!({"type": "invalid input", "code": "INPUT_ERROR"});
        json_reply(
            200,
            json!({"errors": [{"message": "Entity with this id already exists", "extensions": extensions}]}),
        )
    };
    let id = input["id"].as_str().unwrap_or_default();
    let named = variables["id"].as_str().unwrap_or_default();
    let found = |id: &str| match kept.has(id) {
        true => json!([{"id": id, "url": "https://linear.app/c"}]),
        false => json!([]),
    };
    let name = query.split(['(', ' ']).nth(1).unwrap_or_default();
    match name {
        "User" => data(json!({"user": {"active": true, "guest": false, "app": false}})),
        "IssueComments" => {
            let all = kept.list(|m| json!({"id": m.id, "body": m.content, "createdAt": m.at.rfc3339()}));
            data(json!({"issue": {"comments": {"nodes": all}}}))
        }
        "ReactionCreate" => match kept.react(id) {
            true => data(json!({"reactionCreate": {"success": true, "reaction": {"id": id}}})),
            false => taken(),
        },
        "Reactions" => {
            let reactions: Vec<Value> = kept.reactions.borrow().iter().map(|id| json!({"id": id})).collect();
            data(json!({"comments": {"nodes": [{"reactions": reactions}]}, "issues": {"nodes": []}}))
        }
        "CommentCreate" if kept.has(id) => taken(),
        "CommentCreate" => {
            kept.keep(Some(id), input["body"].clone(), false);
            data(json!({"commentCreate": {"success": true, "comment": {"id": id, "url": "https://linear.app/c"}}}))
        }
        "Comment" => data(json!({"comments": {"nodes": found(named)}})),
        "CommentUpdate" => {
            assert!(kept.edit(named, input["body"].clone()), "no comment {named}");
            data(json!({"commentUpdate": {"success": true, "comment": {"id": named, "url": "https://linear.app/c"}}}))
        }
        "AgentActivityCreate" if kept.has(id) => taken(),
        "AgentActivityCreate" => {
            kept.keep(Some(id), input["content"]["body"].clone(), false);
            data(json!({"agentActivityCreate": {"success": true, "agentActivity": {"id": id}}}))
        }
        "Activity" => data(json!({"agentSession": {"activities": {"nodes": found(named)}}})),
        _ => json_reply(
            400,
            json!({"errors": [{"message": format!("unknown operation {name}")}]}),
        ),
    }
}

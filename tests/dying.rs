//! A conversation from the mention to the result, with the worker killed after each of the requests that it sends: the
//! end is the same.

#![expect(clippy::indexing_slicing, reason = "tests fail loudly; JSON indexing gives null")]

mod support;

use patchbay::http::{Method, Request, Response};
use patchbay::hub::Woken;
use patchbay::ports::FetchError;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use support::scene::*;
use support::{World, json_reply, run};

/// What outlives the worker: the service, the agent, and when the worker is to die.
#[derive(Default)]
struct Outside {
    comments: RefCell<Vec<(i64, String)>>,
    reactions: RefCell<BTreeSet<String>>,
    letters: RefCell<Vec<(String, Value)>>,
    requests: Cell<usize>,
    dies_after: Cell<Option<usize>>,
    dead: Cell<bool>,
}

impl Outside {
    fn act(&self, request: &Request) -> Result<Response, FetchError> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let text = body["body"].as_str().unwrap_or_default().to_owned();
        if request.url == AGENT {
            let id = request.headers.get("webhook-id").unwrap_or_default().to_owned();
            let mut letters = self.letters.borrow_mut();
            if letters.iter().all(|(known, _)| *known != id) {
                letters.push((id, body));
            }
            return Ok(Response::empty(204));
        }
        if request.url.ends_with("/access_tokens") {
            return json_reply(201, json!({"token": "t", "expires_at": "2030-01-01T00:00:00Z"}));
        }
        if request.url.ends_with("/permission") {
            return json_reply(200, json!({"permission": "write"}));
        }
        if request.url.ends_with("/reactions") {
            self.reactions.borrow_mut().insert(request.url.clone());
            return json_reply(201, json!({"id": 5}));
        }
        let mut comments = self.comments.borrow_mut();
        match request.method {
            Method::Get => {
                let all: Vec<Value> = comments
                    .iter()
                    .map(|(id, body)| json!({"id": id, "body": body}))
                    .collect();
                json_reply(200, json!(all))
            }
            Method::Patch => {
                let id = request.url.rsplit('/').next().and_then(|id| id.parse::<i64>().ok());
                comments
                    .iter_mut()
                    .filter(|(own, _)| Some(*own) == id)
                    .for_each(|(_, body)| body.clone_from(&text));
                json_reply(200, json!({"id": id}))
            }
            _ => {
                let id = 100 + i64::try_from(comments.len()).unwrap_or_default();
                comments.push((id, text));
                json_reply(201, json!({"id": id}))
            }
        }
    }
}

fn world_of(outside: &Rc<Outside>) -> World {
    let world = World::new();
    world.set("GITHUB_WEBHOOK_SECRET", SECRET);
    world.set("GITHUB_APP_ID", "12345");
    let key = "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----";
    world.set("GITHUB_APP_PRIVATE_KEY", key);
    for method in [Method::Get, Method::Post, Method::Patch] {
        let (outside, failing) = (outside.clone(), world.sql.failing.clone());
        world.net.on(method, "https://", move |request| {
            if outside.dead.get() {
                return Err(FetchError::Network("the worker is dead".into()));
            }
            let reply = outside.act(request);
            outside.requests.set(outside.requests.get() + 1);
            if outside.dies_after.get() == Some(outside.requests.get()) {
                outside.dead.set(true);
                failing.set(1_000_000);
                return Err(FetchError::Network("the worker died".into()));
            }
            reply
        });
    }
    world
}

/// Lets all that is due be done, by another worker where the first has died.
fn settle(world: &World, outside: &Outside) {
    while !outside.dead.get() {
        let next = world.queue.waiting.borrow_mut().pop();
        let Some((id, delay)) = next else { break };
        world.wait(i64::from(delay) * 1_000);
        if let Woken::Again { after_s } = run(world.hub().wake(&id)) {
            world.queue.waiting.borrow_mut().push((id, after_s));
        }
    }
    for _ in 0..3 {
        outside.dead.set(false);
        comes_back(world);
    }
}

/// What people see in the end, and what the hub says of it.
fn play(dies_after: Option<usize>) -> (usize, Value) {
    let outside = Rc::new(Outside::default());
    let world = world_of(&outside);
    destination(&world, AGENT, "agent", &[]);
    outside.dies_after.set(dies_after);
    mention(&world, "d-1", "@patchbay look");
    settle(&world, &outside);
    let letter = outside.letters.borrow().first().map(|(_, letter)| letter.clone());
    let letter = letter.unwrap_or_default();
    for (status, message) in [("progress", "10 %"), ("progress", "50 %"), ("completed", "Done")] {
        let (code, body) = answer(&world, &letter, json!({"status": status, "message": message}));
        assert_eq!(code, 202, "{body}");
        settle(&world, &outside);
    }
    let (_, runs) = world.api(Method::Get, "/api/v1/runs", &Value::Null);
    let runs: Vec<&Value> = runs["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|run| &run["status"])
        .collect();
    let (_, events) = world.api(Method::Get, "/api/v1/events", &Value::Null);
    let said: Vec<String> = outside
        .comments
        .borrow()
        .iter()
        .map(|(_, body)| body.lines().next().unwrap_or_default().to_owned())
        .collect();
    let state = json!({
        "said": said, "reactions": outside.reactions.borrow().len(), "letters": outside.letters.borrow().len(),
        "runs": runs, "event": events["data"][0]["status"],
    });
    (outside.requests.get(), state)
}

#[test]
fn a_worker_that_is_killed_after_any_of_its_requests_ends_in_the_same_state() {
    let (requests, whole) = play(None);
    assert_eq!(whole["said"], json!(["50 %", "Done"]), "{whole}");
    assert!(requests >= 7, "{requests} requests");

    for at in 1..=requests {
        let (_, state) = play(Some(at));
        assert_eq!(state, whole, "killed after request {at}");
    }
}

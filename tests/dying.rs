//! A conversation from the mention to the result, at each service, with the worker killed after each of the requests that
//! it sends, and before each batch of statements: the end is the same.

#![expect(clippy::indexing_slicing, reason = "tests fail loudly; JSON indexing gives null")]

mod support;

use patchbay::http::{Method, Response};
use patchbay::hub::Woken;
use patchbay::ports::FetchError;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use support::scene::*;
use support::services::{Kept, Reply, Scene, scene};
use support::{World, run};

/// When the worker dies, once.
#[derive(Debug, Clone, Copy)]
enum Death {
    Never,
    /// After the service, or the agent, took a request, and before the worker has its answer.
    AfterRequest(usize),
    /// Before a batch of statements, whatever was sent before it.
    BeforeBatch(u32),
}

/// What outlives the worker: the service, the agent, and when the worker is to die.
struct Outside {
    kept: Kept,
    letters: RefCell<Vec<(String, Value)>>,
    requests: Cell<usize>,
    /// The request after which the worker died.
    lost: RefCell<String>,
    died: Cell<bool>,
    /// Whether the worker that died may have left something undone.
    left: Cell<bool>,
    /// What others do at the service before the next worker comes.
    meanwhile: Cell<Option<fn(&Kept)>>,
}

impl Outside {
    fn take(&self, scene: &Scene, request: &patchbay::http::Request) -> Reply {
        if request.url != AGENT {
            return scene.answer(&self.kept, request);
        }
        let id = request.headers.get("webhook-id").unwrap_or_default().to_owned();
        let mut letters = self.letters.borrow_mut();
        if letters.iter().all(|(known, _)| *known != id) {
            letters.push((id, serde_json::from_slice(&request.body).unwrap_or_default()));
        }
        Ok(Response::empty(204))
    }
}

fn world_of(scene: &'static Scene, death: Death) -> (World, Rc<Outside>) {
    let world = World::new();
    let outside = Rc::new(Outside {
        kept: Kept::of(&world),
        letters: RefCell::default(),
        requests: Cell::default(),
        lost: RefCell::default(),
        died: Cell::default(),
        left: Cell::default(),
        meanwhile: Cell::default(),
    });
    for method in [Method::Get, Method::Post, Method::Put, Method::Patch] {
        let (outside, failing) = (outside.clone(), world.sql.failing.clone());
        world.net.on(method, "https://", move |request| {
            if failing.get() > 0 {
                return Err(FetchError::Network("the worker is dead".into()));
            }
            let reply = outside.take(scene, request);
            outside.requests.set(outside.requests.get() + 1);
            if matches!(death, Death::AfterRequest(n) if n == outside.requests.get()) {
                failing.set(1_000_000);
                outside.lost.replace(request.url.clone());
                return Err(FetchError::Network("the worker died".into()));
            }
            reply
        });
    }
    (world, outside)
}

/// Lets all that is due be done, by another worker where the first has died.
fn settle(world: &World, outside: &Outside) {
    while world.sql.failing.get() == 0 {
        let next = world.queue.waiting.borrow_mut().pop();
        let Some((id, delay)) = next else { break };
        world.wait(i64::from(delay) * 1_000);
        if let Woken::Again { after_s } = run(world.hub().wake(&id)) {
            world.queue.waiting.borrow_mut().push((id, after_s));
        }
    }
    revive(world, outside);
    if outside.left.replace(false) {
        (0..3).for_each(|_| comes_back(world));
    }
}

/// Another worker takes the place of one that died.
fn revive(world: &World, outside: &Outside) {
    if world.sql.failing.replace(0) > 0 {
        outside.died.set(true);
        outside.left.set(true);
        if let Some(others) = outside.meanwhile.take() {
            others(&outside.kept);
        }
    }
}

/// What people see in the end, and what the hub says of it.
fn play(scene: &'static Scene, death: Death) -> (Rc<Outside>, Value) {
    let said = [("progress", "10 %"), ("progress", "50 %"), ("completed", "Done")];
    let answers = said.map(|(status, message)| json!({"status": status, "message": message}));
    play_with(scene, death, &answers, None)
}

/// The same, with these answers of the agent, and what others do after the death.
fn play_with(
    scene: &'static Scene,
    death: Death,
    answers: &[Value],
    meanwhile: Option<fn(&Kept)>,
) -> (Rc<Outside>, Value) {
    let (world, outside) = world_of(scene, death);
    outside.meanwhile.set(meanwhile);
    let path = scene.connect(&world, &json!({}));
    let listed = answers.iter().filter_map(|a| a["actions"].as_array()).flatten();
    let actions: Vec<&str> = listed.filter_map(|a| a["action"].as_str()).collect();
    scene.agent(&world, &actions);
    if let Death::BeforeBatch(n) = death {
        world.sql.fails_after(n);
    }
    // Who got no answer says it again: the service its delivery, the agent its answer.
    while !matches!(scene.deliver(&world, &path, "d-1", &scene.mention()).0, 200 | 202) {
        revive(&world, &outside);
    }
    settle(&world, &outside);
    let letter = outside.letters.borrow().first().map(|(_, letter)| letter.clone());
    let letter = letter.unwrap_or_default();
    for said in answers {
        while answer(&world, &letter, said.clone()).0 != 202 {
            assert!(world.sql.failing.get() > 0, "{}: the answer is refused", scene.name);
            revive(&world, &outside);
        }
        settle(&world, &outside);
    }
    let (_, runs) = world.api(Method::Get, "/api/v1/runs", &Value::Null);
    let runs = runs["data"].as_array().into_iter().flatten();
    let runs: Vec<&Value> = runs.map(|run| &run["status"]).collect();
    let (_, events) = world.api(Method::Get, "/api/v1/events", &Value::Null);
    let state = json!({
        "work": outside.kept.workshop.seen(), "said": outside.kept.said(), "reactions": outside.kept.reactions.borrow().len(),
        "letters": outside.letters.borrow().len(), "runs": runs, "event": events["data"][0]["status"],
    });
    (outside, state)
}

/// What people see where nothing goes wrong: what is said, and the reactions.
const ENDS: [(&str, &[&str], usize); 6] = [
    ("GitHub", &["50 %", "Done"], 1),
    ("GitLab", &["50 %", "Done"], 1),
    ("Slack", &["50 %", "Done"], 1),
    // Who writes in words that the mention was heard changes that comment to the end.
    ("Jira", &["Done"], 0),
    ("Linear", &["50 %", "Done"], 1),
    // A thought that is ephemeral is put in the place of the one before by Linear itself.
    ("a session of Linear", &["I am on it.", "10 %", "50 %", "Done"], 0),
];

#[test]
fn a_worker_that_is_killed_after_any_of_its_requests_ends_in_the_same_state() {
    for (name, said, reactions) in ENDS {
        let scene = scene(name);
        let (outside, whole) = play(scene, Death::Never);
        assert_eq!(
            (&whole["said"], &whole["reactions"], &whole["letters"], &whole["event"]),
            (&json!(said), &json!(reactions), &json!(1), &json!("dispatched")),
            "{name}: {whole}"
        );

        let requests = outside.requests.get();
        assert!(requests >= 6, "{name}: {requests} requests");
        for at in 1..=requests {
            let (outside, state) = play(scene, Death::AfterRequest(at));
            assert!(outside.died.get(), "{name}: request {at}");
            assert_eq!(state, whole, "{name}: killed after request {at}");
        }
    }
}

#[test]
fn a_worker_that_is_killed_before_any_of_its_writes_ends_in_the_same_state() {
    for (name, ..) in ENDS {
        let scene = scene(name);
        let (_, whole) = play(scene, Death::Never);

        let mut deaths = 0;
        loop {
            let (outside, state) = play(scene, Death::BeforeBatch(deaths));
            if !outside.died.get() {
                break;
            }
            assert_eq!(state, whole, "{name}: killed before batch {deaths}");
            deaths += 1;
        }
        assert!(deaths >= 20, "{name}: {deaths} batches");
    }
}

type Actions = fn() -> Value;

/// What an agent does at each service, and what of it cannot be looked for.
const WORK: [(&str, Actions, &str); 5] = [
    (
        "GitHub",
        || {
            json!([
                {"action": "push_commit", "inputs": {"repo": "example/demo", "branch": "fix", "message": "Put it out", "files": [{"path": "a", "content": "x"}]}},
                {"action": "create_pull_request", "inputs": {"repo": "example/demo", "title": "Fix", "head": "fix", "base": "main"}},
                {"action": "add_labels", "inputs": {"repo": "example/demo", "issue": 42, "labels": ["Bug"]}},
                {"action": "push_commit", "inputs": {"repo": "example/demo", "branch": "fix", "message": "Sweep up", "files": [{"path": "b", "content": "y"}]}},
            ])
        },
        "",
    ),
    (
        "GitLab",
        || {
            json!([
                {"action": "push_commit", "inputs": {"repo": "example/demo", "branch": "fix", "message": "Put it out", "files": [{"path": "a", "content": "x"}]}},
                {"action": "create_merge_request", "inputs": {"repo": "example/demo", "title": "Fix", "source_branch": "fix", "target_branch": "main"}},
                {"action": "add_labels", "inputs": {"repo": "example/demo", "kind": "issues", "issue": 17, "labels": ["Bug"]}},
                {"action": "push_commit", "inputs": {"repo": "example/demo", "branch": "fix", "message": "Sweep up", "files": [{"path": "b", "content": "y"}]}},
            ])
        },
        "",
    ),
    (
        "Slack",
        || json!([{"action": "create_task", "inputs": {"channel": "C0LAN2Q65", "title": "Buy an extinguisher"}}]),
        "/chat.postMessage",
    ),
    (
        "Jira",
        || {
            json!([
                {"action": "transition", "inputs": {"issue": "DEMO-42", "to": "In Progress"}},
                {"action": "update_issue", "inputs": {"issue": "DEMO-42", "add_labels": ["Bug"]}},
                {"action": "create_issue", "inputs": {"project": "DEMO", "type": "Task", "summary": "Buy an extinguisher"}},
            ])
        },
        "/rest/api/3/issue",
    ),
    (
        "Linear",
        || {
            json!([
                {"action": "update_status", "inputs": {"issue": "55555555-test", "status": "In Progress"}},
                {"action": "add_labels", "inputs": {"issue": "55555555-test", "labels": ["Bug"]}},
                {"action": "create_issue", "inputs": {"team": "DEMO", "title": "Buy an extinguisher"}},
            ])
        },
        "",
    ),
];

#[test]
fn what_an_agent_does_is_done_once_wherever_the_worker_dies() {
    for (name, work, open) in WORK {
        let scene = scene(name);
        let answers = [json!({"status": "completed", "actions": work()})];
        let (outside, whole) = play_with(scene, Death::Never, &answers, None);
        let runs = whole["runs"].as_array().cloned().unwrap_or_default();
        assert!(runs.iter().all(|status| status == "succeeded"), "{name}: {whole}");

        for at in 1..=outside.requests.get() {
            let (outside, mut state) = play_with(scene, Death::AfterRequest(at), &answers, None);
            let lost = outside.lost.borrow().clone();
            if !open.is_empty() && lost.ends_with(open) {
                // What was done is not known, and not done again.
                let runs = state["runs"].as_array_mut().into_iter().flatten();
                let mut ambiguous = runs.filter(|status| **status == json!("ambiguous"));
                *ambiguous.next().unwrap() = json!("succeeded");
            }
            assert_eq!(state, whole, "{name}: killed after request {at}, {lost}");
        }
    }
}

#[test]
fn a_push_whose_worker_died_is_found_below_what_others_pushed_since() {
    for (name, work, _) in WORK.into_iter().take(2) {
        let scene = scene(name);
        let answers = [json!({"status": "completed", "actions": work()})];
        let (outside, _) = play_with(scene, Death::Never, &answers, None);

        for at in 1..=outside.requests.get() {
            let others: fn(&Kept) = |kept| kept.workshop.others_commit("fix");
            let (outside, state) = play_with(scene, Death::AfterRequest(at), &answers, Some(others));
            let log = state["work"][0].as_array().cloned().unwrap_or_default();
            for once in ["fix: Put it out", "fix: Sweep up", "merge fix"] {
                let times = log.iter().filter(|entry| *entry == once).count();
                assert_eq!(
                    times,
                    1,
                    "{name}: killed after request {at}, {}: {log:?}",
                    outside.lost.borrow()
                );
            }
        }
    }
}

/// A direct message that answers a command goes to the person, and what stands there cannot be listed: a lost reply to it
/// ends as `ambiguous`. It is never said twice, and what comes after it is said all the same.
#[test]
fn what_cannot_be_looked_for_is_not_repeated_and_ends_as_ambiguous() {
    let scene = scene("a command of Slack");
    let (outside, whole) = play(scene, Death::Never);
    assert_eq!(
        whole["said"],
        json!(["I am on it, and will answer you in a direct message.", "50 %", "Done"])
    );

    for at in 1..=outside.requests.get() {
        let (outside, state) = play(scene, Death::AfterRequest(at));
        let lost = outside.lost.borrow().clone();
        if !lost.ends_with("chat.postMessage") && !lost.contains("hooks.slack.com") {
            assert_eq!(state, whole, "killed after {lost}");
            continue;
        }
        let runs = state["runs"].as_array().cloned().unwrap_or_default();
        let open = runs.iter().filter(|status| **status == json!("ambiguous")).count();
        let done = runs.iter().filter(|status| **status == json!("succeeded")).count();
        assert_eq!((open, done), (1, 3), "killed after {lost}: {state}");
        let mut said = outside.kept.said();
        assert_eq!(said.last().map(String::as_str), Some("Done"), "{said:?}");
        said.sort();
        let doubled = said.windows(2).any(|pair| pair[0] == pair[1]);
        assert!(!doubled, "killed after {lost}: {said:?}");
    }
}

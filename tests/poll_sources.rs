//! What each service's polling trigger asks for, and what it makes of the answer: the manifests' lists against servers
//! that answer as the services do. The credential is left out: it is added to every request alike.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly; JSON indexing gives null"
)]

mod support;

use patchbay::credential::Credential;
use patchbay::http::{Method, Request, Response};
use patchbay::manifest::Manifest;
use patchbay::poll::run::{Conditions, Ran};
use patchbay::poll::source::{self, Listing};
use patchbay::registry::{self, Integration, Posted};
use patchbay::store::poll::Poll;
use patchbay::time::{MINUTE, Timestamp};
use serde_json::{Value, json};
use std::rc::Rc;
use support::{World, json_reply, run};

fn built_in(service: &str) -> Integration {
    Integration::BuiltIn(registry::get(service).unwrap())
}

struct Trigger {
    world: World,
    integration: Integration,
    poll: Poll,
}

impl Trigger {
    /// A trigger of this service.
    fn new(service: &str, part: &str, inputs: Value) -> Self {
        let world = World::new();
        let mut manifest: Value = serde_json::from_str(registry::get(service).unwrap().text).unwrap();
        manifest.as_object_mut().unwrap().remove("auth");
        // A base URL with parts is the connection's: any will do.
        let own = manifest["base_url"].as_str().filter(|url| !url.contains('{'));
        let base = own.unwrap_or("https://site.example.com").to_owned();
        manifest["base_url"] = json!(base);
        built_in(service).check_poll_inputs(part, &inputs).unwrap();
        let manifest = Manifest::read(&manifest).unwrap();
        let poll = Poll {
            part: part.to_owned(),
            inputs,
            interval: 5 * MINUTE,
            ..Poll::blank(Timestamp(world.machine.now.get()))
        };
        Self {
            world,
            integration: Integration::Posted(Rc::new(Posted::new(manifest))),
            poll,
        }
    }

    /// One run.
    fn run(&mut self) -> Ran {
        let ports = self.world.ports();
        let manifest = self.integration.manifest().unwrap();
        let credential = Credential::of_app(manifest, None, ports.host).unwrap();
        let (part, inputs) = (self.poll.part.clone(), self.poll.inputs.clone());
        let listing = Listing {
            ports: &ports,
            integration: &self.integration,
            manifest,
            credential: &credential,
            part: &part,
            inputs: &inputs,
        };
        let source = source::of(&listing).unwrap();
        let conditions = Conditions {
            now: &|| ports.host.now(),
            may_ask: &|| true,
            jitter: 0.0,
        };
        run(patchbay::poll::run::run(source.as_ref(), &mut self.poll, &conditions))
    }

    /// The ids that one run found, each checked against the manifest's schema.
    fn ids(&mut self, service: &str) -> Vec<String> {
        let ran = self.run();
        assert_eq!(self.poll.last_error, None);
        for item in &ran.items {
            built_in(service)
                .check_poll_output(&self.poll.part, &item.data)
                .unwrap();
        }
        ran.items.into_iter().map(|item| item.id).collect()
    }

    fn asked(&self) -> Request {
        self.world.net.sent.borrow().last().unwrap().clone()
    }

    fn answer(&self, method: Method, url: &str, body: Value) {
        self.world.net.once(url, move |request| {
            assert_eq!(request.method, method);
            json_reply(200, body.clone())
        });
    }
}

fn at(minutes: i64) -> String {
    Timestamp(1_763_800_000_000 + minutes * MINUTE).rfc3339()
}

#[test]
fn stripe_events() {
    let mut trigger = Trigger::new("stripe", "events", json!({"types": ["invoice.paid", "charge.*"]}));
    let event = |id: &str, created: i64| json!({"id": id, "type": "invoice.paid", "created": created, "data": {"object": {"id": "in_1"}}});
    let url = "https://api.stripe.com/v1/events";

    trigger.answer(
        Method::Get,
        url,
        json!({"data": [event("evt_1", 1_763_790_000)], "has_more": true}),
    );
    assert_eq!(trigger.ids("stripe"), Vec::<String>::new());
    let first = trigger.asked().url;
    assert!(
        first.contains("types%5B%5D=invoice.paid&types%5B%5D=charge.%2A") && !first.contains("created"),
        "{first}"
    );

    trigger.answer(
        Method::Get,
        url,
        json!({"data": [event("evt_3", 1_763_790_000), event("evt_2", 1_763_790_000)], "has_more": true}),
    );
    trigger.answer(
        Method::Get,
        url,
        json!({"data": [event("evt_1", 1_763_790_000)], "has_more": false}),
    );
    assert_eq!(trigger.ids("stripe"), ["evt_2", "evt_3"]);
    let second = trigger.asked().url;
    assert!(
        second.contains("starting_after=evt_2") && second.contains("created%5Bgte%5D=1763786400"),
        "{second}"
    );
}

#[test]
fn linear_issues() {
    let mut trigger = Trigger::new("linear", "issues", json!({"filter": {"team": {"key": {"eq": "ENG"}}}}));
    let page = |nodes: Value, next: Option<&str>| json!({"data": {"issues": {"nodes": nodes, "pageInfo": {"hasNextPage": next.is_some(), "endCursor": next}}}});
    let issue = |id: &str, minutes: i64| json!({"id": id, "identifier": "ENG-1", "updatedAt": at(minutes)});
    let url = "https://api.linear.app/graphql";

    trigger.answer(Method::Post, url, page(json!([issue("a", -9)]), Some("c1")));
    assert_eq!(trigger.ids("linear"), Vec::<String>::new());
    let body: Value = serde_json::from_slice(&trigger.asked().body).unwrap();
    assert_eq!(
        body["variables"],
        json!({"filter": {"and": [{"team": {"key": {"eq": "ENG"}}}]}})
    );

    // The same issue once more, changed.
    trigger.answer(Method::Post, url, page(json!([issue("a", -1)]), Some("c1")));
    trigger.answer(Method::Post, url, page(json!([issue("a", -9)]), None));
    assert_eq!(trigger.ids("linear"), [format!("a@{}", at(-1))]);
    let body: Value = serde_json::from_slice(&trigger.asked().body).unwrap();
    assert_eq!(body["variables"]["after"], "c1");
    assert_eq!(
        body["variables"]["filter"]["and"][1],
        json!({"updatedAt": {"gte": at(-19)}})
    );
}

#[test]
fn jira_issues() {
    let mut trigger = Trigger::new("jira", "issues", json!({"jql": "project = ENG OR project = OPS"}));
    let issue = |id: &str, minutes: i64| json!({"id": id, "key": "ENG-1", "fields": {"updated": at(minutes).replace('Z', "+0000")}});
    let url = "https://site.example.com/rest/api/3/search/jql";

    trigger.answer(
        Method::Post,
        url,
        json!({"issues": [issue("1", -30)], "isLast": false, "nextPageToken": "t"}),
    );
    assert_eq!(trigger.ids("jira"), Vec::<String>::new());
    let body: Value = serde_json::from_slice(&trigger.asked().body).unwrap();
    assert_eq!(body["jql"], "(project = ENG OR project = OPS) ORDER BY updated DESC");
    assert_eq!(body["fields"], json!(["*navigable", "updated"]));

    trigger.answer(
        Method::Post,
        url,
        json!({"issues": [issue("2", -2), issue("1", -30)], "isLast": true}),
    );
    assert_eq!(trigger.ids("jira"), [format!("2@{}", at(-2).replace('Z', "+0000"))]);
    let body: Value = serde_json::from_slice(&trigger.asked().body).unwrap();
    // Half an hour, and an hour more for clocks that differ.
    assert_eq!(
        body["jql"],
        "(project = ENG OR project = OPS) AND updated >= \"-91m\" ORDER BY updated DESC"
    );
}

#[test]
fn a_calendar_whose_sync_token_is_refused_begins_anew_and_makes_no_history_new() {
    let mut trigger = Trigger::new("google-calendar", "events", json!({"calendar": "team@example.com"}));
    let entry = |id: &str, minutes: i64| json!({"id": id, "status": "confirmed", "updated": at(minutes)});
    let url = "https://www.googleapis.com/calendar/v3/calendars/team%40example.com/events";

    trigger.answer(
        Method::Get,
        url,
        json!({"items": [entry("a", -900), entry("b", -800)], "nextPageToken": "p2"}),
    );
    trigger.answer(
        Method::Get,
        url,
        json!({"items": [entry("c", -700)], "nextSyncToken": "s1"}),
    );
    assert_eq!(trigger.ids("google-calendar"), Vec::<String>::new());
    assert!(trigger.asked().url.contains("pageToken=p2") && !trigger.asked().url.contains("syncToken"));

    trigger.answer(
        Method::Get,
        url,
        json!({"items": [entry("c", -5)], "nextSyncToken": "s2"}),
    );
    assert_eq!(trigger.ids("google-calendar"), [format!("c@{}", at(-5))]);
    assert!(trigger.asked().url.contains("syncToken=s1"));

    trigger.world.net.once(url, |_| Ok(Response::empty(410)));
    let all = [
        entry("a", -900),
        entry("old", -850),
        entry("b", -800),
        entry("c", -5),
        entry("d", -1),
    ];
    trigger.answer(Method::Get, url, json!({"items": all, "nextSyncToken": "s3"}));
    assert_eq!(trigger.ids("google-calendar"), [format!("d@{}", at(-1))]);
    assert!(!trigger.asked().url.contains("syncToken"));
    assert_eq!(trigger.poll.progress.cursor, json!("s3"));
}

#[test]
fn gmail_messages() {
    let mut trigger = Trigger::new("gmail", "new_messages", json!({}));
    let base = "https://gmail.googleapis.com/gmail/v1/users/me";

    trigger.answer(Method::Get, &format!("{base}/profile"), json!({"historyId": "100"}));
    assert_eq!(trigger.ids("gmail"), Vec::<String>::new());
    let added = |id: &str| json!({"messagesAdded": [{"message": {"id": id, "threadId": "t", "labelIds": ["INBOX"]}}]});
    trigger.answer(
        Method::Get,
        &format!("{base}/history"),
        json!({"history": [added("m1"), {"id": "7"}, added("m2")], "nextPageToken": "p", "historyId": "120"}),
    );
    trigger.answer(
        Method::Get,
        &format!("{base}/history"),
        json!({"history": [added("m2"), added("m3")], "historyId": "130"}),
    );

    let mut found = trigger.ids("gmail");
    found.sort();
    assert_eq!(found, ["m1", "m2", "m3"]);
    assert!(trigger.asked().url.contains("startHistoryId=100") && trigger.asked().url.contains("pageToken=p"));
    trigger.answer(Method::Get, &format!("{base}/history"), json!({"historyId": "140"}));
    assert_eq!(trigger.ids("gmail"), Vec::<String>::new());
    assert!(trigger.asked().url.contains("startHistoryId=130"));

    // History that is too old is refused: the poll begins from now on, and says that something may be missing.
    trigger
        .world
        .net
        .once(&format!("{base}/history"), |_| Ok(Response::empty(404)));
    trigger.answer(Method::Get, &format!("{base}/profile"), json!({"historyId": "900"}));
    let ran = trigger.run();
    assert!(ran.gap && ran.items.is_empty());
    assert_eq!(trigger.poll.progress.cursor, json!("900"));
}

#[test]
fn any_list_of_json() {
    let inputs = json!({"url": "https://api.example.com/v2/list?x=1", "items": "/result/rows", "id": "/meta/key", "next": "/result/next"});
    let mut trigger = Trigger::new("http-json", "new_items", inputs);
    let url = "https://api.example.com/v2/list";
    let page = |keys: &[&str], next: Option<&str>| {
        let rows: Vec<Value> = keys.iter().map(|key| json!({"meta": {"key": key}})).collect();
        json!({"result": {"rows": rows, "next": next}})
    };

    trigger.answer(Method::Get, url, page(&["a"], Some("/v2/list?x=1&page=2")));
    trigger.answer(Method::Get, url, page(&["b"], None));
    assert_eq!(trigger.ids("http-json"), Vec::<String>::new());
    assert_eq!(trigger.asked().url, "https://api.example.com/v2/list?x=1&page=2");
    trigger.answer(Method::Get, url, page(&["a"], Some("?x=1&page=2")));
    trigger.answer(Method::Get, url, page(&["b", "c"], None));
    assert_eq!(trigger.ids("http-json"), ["c"]);

    // What is no list is a failure, not an empty list.
    trigger.answer(Method::Get, url, json!({"result": {"rows": {"a": 1}}}));
    trigger.run();
    assert_eq!(trigger.poll.failures, 1);
    trigger.answer(Method::Get, url, json!({"result": {"rows": [{"no": "id"}]}}));
    trigger.run();
    assert_eq!(trigger.poll.failures, 2);
}

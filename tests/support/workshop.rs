//! What agents work on at the services: branches and their commits, requests to merge, statuses, labels, issues, tasks.
//! A log holds each effect that people would see, so that one that happens twice stands there twice.

#![expect(
    clippy::indexing_slicing,
    reason = "test support may fail loudly; JSON indexing gives null"
)]

use super::json_reply;
use super::services::Reply;
use patchbay::http::{Method, Request};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
struct Commit {
    id: String,
    message: String,
    parent: Option<String>,
}

/// What a service holds besides what is said there.
#[derive(Default)]
pub struct Workshop {
    commits: RefCell<Vec<Commit>>,
    branches: RefCell<BTreeMap<String, String>>,
    merges: RefCell<Vec<String>>,
    labels: RefCell<BTreeSet<String>>,
    status: RefCell<String>,
    /// By the id that the client chose, or its number.
    issues: RefCell<Vec<String>>,
    log: RefCell<Vec<String>>,
}

impl Workshop {
    /// A repository with one commit on `main`, and an issue that is to be done.
    pub fn new() -> Self {
        let new = Self::default();
        let first = new.commit("first", None);
        new.branches.borrow_mut().insert("main".to_owned(), first);
        "To Do".clone_into(&mut new.status.borrow_mut());
        new
    }

    fn commit(&self, message: &str, parent: Option<String>) -> String {
        let mut commits = self.commits.borrow_mut();
        let id = format!("commit{}", commits.len());
        commits.push(Commit {
            id: id.clone(),
            message: message.to_owned(),
            parent,
        });
        id
    }

    fn branch(&self, name: &str) -> Option<String> {
        self.branches.borrow().get(name).cloned()
    }

    fn moved(&self, branch: &str, commit: &str) {
        let message = self.history(commit).first().map(|c| c.message.clone());
        let message = message.unwrap_or_default();
        let first = message.lines().next().unwrap_or_default();
        self.did(&format!("{branch}: {first}"));
        self.branches.borrow_mut().insert(branch.to_owned(), commit.to_owned());
    }

    /// Somebody else commits to the branch, if it is there.
    pub fn others_commit(&self, branch: &str) {
        if let Some(tip) = self.branch(branch) {
            let id = self.commit("Theirs", Some(tip));
            self.moved(branch, &id);
        }
    }

    /// A commit and those before it, latest first.
    fn history(&self, from: &str) -> Vec<Commit> {
        let commits = self.commits.borrow();
        let mut found = Vec::new();
        let mut next = Some(from.to_owned());
        while let Some(commit) = next.and_then(|id| commits.iter().find(|c| c.id == id)) {
            found.push(commit.clone());
            next = commit.parent.clone();
        }
        found
    }

    fn did(&self, what: &str) {
        self.log.borrow_mut().push(what.to_owned());
    }

    /// What people see: each effect in order, the labels, the status.
    pub fn seen(&self) -> Value {
        json!([*self.log.borrow(), *self.labels.borrow(), *self.status.borrow()])
    }

    /// The reply, if the request is about work.
    pub fn answer(&self, service: &str, request: &Request) -> Option<Reply> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let place = match service {
            "github" => path.strip_prefix("https://api.github.com/repos/example/demo")?,
            "gitlab" => path.strip_prefix("https://gitlab.com/api/v4/projects/example%2Fdemo")?,
            "jira" => path.strip_prefix("https://demo.atlassian.net/rest/api/3")?,
            "linear" => return self.linear(&body),
            _ => path.strip_prefix("https://slack.com/api")?,
        };
        let method = request.method;
        match service {
            "github" => self.github(method, place, query, &body),
            "gitlab" => self.gitlab(method, place, query, &body),
            "jira" => self.jira(method, place, &body),
            _ => self.slack(place, &body),
        }
    }

    fn github(&self, method: Method, place: &str, query: &str, body: &Value) -> Option<Reply> {
        let missing = || Some(json_reply(404, json!({"message": "Not Found"})));
        let refused = |why: &str| {
            let errors = json!([{"resource": "PullRequest", "code": "custom", "message": why}]);
            Some(json_reply(422, json!({"message": why, "errors": errors})))
        };
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let shown = |c: &Commit| json!({"sha": c.id, "commit": {"message": c.message, "tree": {"sha": "tree"}}});
        if let Some(name) = place.strip_prefix("/git/ref/heads/") {
            return match self.branch(name) {
                Some(id) => Some(json_reply(200, json!({"object": {"sha": id}}))),
                None => missing(),
            };
        }
        if let (Method::Patch, Some(name)) = (method, place.strip_prefix("/git/refs/heads/")) {
            let id = text("sha");
            let parent = self.history(&id).get(1).map(|c| c.id.clone());
            if parent != self.branch(name) {
                return refused("Update is not a fast forward");
            }
            self.moved(name, &id);
            return Some(json_reply(200, json!({"object": {"sha": id}})));
        }
        match (method, place) {
            (Method::Get, "") => Some(json_reply(200, json!({"default_branch": "main"}))),
            (Method::Get, "/commits") => {
                let from = query
                    .split('&')
                    .find_map(|p| p.strip_prefix("sha="))
                    .unwrap_or_default();
                let all: Vec<Value> = self.history(from).iter().map(shown).collect();
                Some(json_reply(200, json!(all)))
            }
            (Method::Post, "/git/trees") => Some(json_reply(201, json!({"sha": "tree"}))),
            (Method::Post, "/git/commits") => {
                let parent = body["parents"][0].as_str().map(str::to_owned);
                Some(json_reply(201, json!({"sha": self.commit(&text("message"), parent)})))
            }
            (Method::Post, "/git/refs") => {
                let name = text("ref").trim_start_matches("refs/heads/").to_owned();
                if self.branch(&name).is_some() {
                    return refused("Reference already exists");
                }
                self.moved(&name, &text("sha"));
                Some(json_reply(201, json!({"ref": body["ref"]})))
            }
            (Method::Post, "/pulls") => {
                let head = text("head");
                if self.merges.borrow().contains(&head) {
                    return refused(&format!("A pull request already exists for example:{head}."));
                }
                self.did(&format!("merge {head}"));
                self.merges.borrow_mut().push(head);
                Some(json_reply(
                    201,
                    json!({"number": 43, "html_url": "https://github.com/p/43"}),
                ))
            }
            (Method::Get, "/pulls") => {
                let open = self.merges.borrow();
                let all: Vec<Value> = open
                    .iter()
                    .map(|_| json!({"number": 43, "html_url": "https://github.com/p/43"}))
                    .collect();
                Some(json_reply(200, json!(all)))
            }
            (Method::Post, "/issues/42/labels") => {
                self.label(&body["labels"]);
                let all: Vec<Value> = self.labels.borrow().iter().map(|name| json!({"name": name})).collect();
                Some(json_reply(200, json!(all)))
            }
            _ => None,
        }
    }

    fn label(&self, names: &Value) {
        let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
        self.labels.borrow_mut().extend(names.map(str::to_owned));
    }

    fn gitlab(&self, method: Method, place: &str, query: &str, body: &Value) -> Option<Reply> {
        let missing = |what: &str| Some(json_reply(404, json!({"message": format!("404 {what} Not Found")})));
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let shown = |c: &Commit| json!({"id": c.id, "message": c.message});
        if let Some(name) = place.strip_prefix("/repository/branches/") {
            return match self.branch(name) {
                Some(id) => Some(json_reply(200, json!({"name": name, "commit": {"id": id}}))),
                None => missing("Branch"),
            };
        }
        if place.starts_with("/repository/files/") {
            return missing("File");
        }
        match (method, place) {
            (Method::Get, "") => Some(json_reply(200, json!({"default_branch": "main"}))),
            (Method::Get, "/repository/commits") => {
                let name = query.split('&').find_map(|p| p.strip_prefix("ref_name="));
                let tip = name.and_then(|name| self.branch(name)).unwrap_or_default();
                let all: Vec<Value> = self.history(&tip).iter().map(shown).collect();
                Some(json_reply(200, json!(all)))
            }
            (Method::Post, "/repository/commits") => {
                let name = text("branch");
                let from = self.branch(&name).or_else(|| self.branch(&text("start_branch")));
                let id = self.commit(&text("commit_message"), from);
                self.moved(&name, &id);
                Some(json_reply(201, json!({"id": id})))
            }
            (Method::Post, "/merge_requests") => {
                let head = text("source_branch");
                if self.merges.borrow().contains(&head) {
                    let why = "Another open merge request already exists for this source branch: !18";
                    return Some(json_reply(409, json!({"message": [why]})));
                }
                self.did(&format!("merge {head}"));
                self.merges.borrow_mut().push(head);
                Some(json_reply(
                    201,
                    json!({"iid": 18, "web_url": "https://gitlab.com/m/18"}),
                ))
            }
            (Method::Get, "/merge_requests") => {
                let open = self.merges.borrow();
                let all: Vec<Value> = open
                    .iter()
                    .map(|_| json!({"iid": 18, "web_url": "https://gitlab.com/m/18"}))
                    .collect();
                Some(json_reply(200, json!(all)))
            }
            (Method::Put, "/issues/17") => {
                let names: Vec<Value> = text("add_labels").split(',').map(|name| json!(name)).collect();
                self.label(&json!(names));
                Some(json_reply(200, json!({"labels": *self.labels.borrow()})))
            }
            _ => None,
        }
    }

    fn jira(&self, method: Method, place: &str, body: &Value) -> Option<Reply> {
        let way = json!({"id": "11", "name": "Start", "to": {"name": "In Progress"}});
        match (method, place) {
            (Method::Get, "/issue/DEMO-42") => {
                let fields = json!({"status": {"name": *self.status.borrow()}});
                Some(json_reply(200, json!({"key": "DEMO-42", "fields": fields})))
            }
            (Method::Get, "/issue/DEMO-42/transitions") => Some(json_reply(200, json!({"transitions": [way]}))),
            (Method::Post, "/issue/DEMO-42/transitions") => {
                if *self.status.borrow() == "In Progress" {
                    return Some(json_reply(400, json!({"errorMessages": ["not valid for this issue"]})));
                }
                "In Progress".clone_into(&mut self.status.borrow_mut());
                self.did("moved");
                Some(json_reply(200, json!({})))
            }
            (Method::Put, "/issue/DEMO-42") => {
                let labels = body["update"]["labels"].as_array().into_iter().flatten();
                let names: Vec<Value> = labels.map(|change| change["add"].clone()).collect();
                self.label(&json!(names));
                Some(json_reply(200, json!({})))
            }
            (Method::Post, "/issue") => {
                self.did("issue");
                Some(json_reply(201, json!({"id": "20001", "key": "DEMO-43"})))
            }
            _ => None,
        }
    }

    fn slack(&self, place: &str, body: &Value) -> Option<Reply> {
        let text = body["text"].as_str().filter(|text| text.starts_with('☐'))?;
        (place == "/chat.postMessage").then(|| {
            self.did(text);
            json_reply(
                200,
                json!({"ok": true, "channel": body["channel"], "ts": "1769862000.000001"}),
            )
        })
    }

    fn linear(&self, body: &Value) -> Option<Reply> {
        let (query, variables) = (body["query"].as_str().unwrap_or_default(), &body["variables"]);
        let issue = |id: &str| {
            json!({"id": id, "identifier": "DEMO-43", "url": "https://linear.app/i", "state": {"name": *self.status.borrow()},
            "labels": {"nodes": self.labels.borrow().iter().map(|name| json!({"name": name})).collect::<Vec<_>>()}})
        };
        let data = match query.split(['(', ' ']).nth(1).unwrap_or_default() {
            "IssueOfRun" => {
                let id = variables["id"].as_str().unwrap_or_default();
                let made = self.issues.borrow().iter().any(|known| known == id);
                let nodes = if made { json!([issue(id)]) } else { json!([]) };
                json!({"issues": {"nodes": nodes}, "teams": {"nodes": [{"id": "team-1"}]}})
            }
            "IssueCreate" => {
                let id = variables["input"]["id"].as_str().unwrap_or_default();
                assert!(!self.issues.borrow().iter().any(|known| known == id), "made twice");
                self.issues.borrow_mut().push(id.to_owned());
                self.did("issue");
                json!({"issueCreate": {"success": true, "issue": issue(id)}})
            }
            "TeamStates" => {
                let wanted = json!([{"id": "state-2", "name": "In Progress"}]);
                json!({"issue": {"team": {"key": "DEMO", "wanted": {"nodes": wanted}, "all": {"nodes": wanted}}}})
            }
            "IssueTeam" => json!({"issue": {"team": {"id": "team-1"}}}),
            "Labels" => json!({"issueLabels": {"nodes": [{"id": "label-1", "name": "Bug"}]}}),
            "IssueUpdate" => {
                if variables["input"]["stateId"] == "state-2" {
                    "In Progress".clone_into(&mut self.status.borrow_mut());
                }
                if variables["input"]["addedLabelIds"][0] == "label-1" {
                    self.label(&json!(["Bug"]));
                }
                json!({"issueUpdate": {"success": true, "issue": issue("55555555-test")}})
            }
            _ => return None,
        };
        Some(json_reply(200, json!({"data": data})))
    }
}

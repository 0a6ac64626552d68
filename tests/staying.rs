//! Secrets go where they were meant to go: neither a change of settings nor another's server leads them elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly; JSON indexing gives null"
)]

mod support;

use patchbay::http::{Method, Request, form_pairs};
use patchbay::registry;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use support::{World, json_reply};

const REDIRECT: &str = "https://your-app.example.com/oauth/callback";

fn gitlab() -> World {
    let world = World::new();
    world.set("GITLAB_CLIENT_ID", "test-client");
    world.set("GITLAB_CLIENT_SECRET", "test-client-secret");
    world.set("PATCHBAY_REDIRECT_URIS", REDIRECT);
    world
}

fn make(world: &World, config: Value) -> (u16, Value) {
    let body = json!({"integration": "gitlab", "auth": "oauth2", "owner": "o-1", "config": config});
    world.api(Method::Post, "/api/v1/connections", &body)
}

#[test]
fn the_app_of_the_settings_is_never_taken_to_a_server_that_a_connection_names() {
    let world = gitlab();

    for base in [
        "https://evil.example",
        "https://gitlab.com.evil.example",
        "https://gitlab.com:8443",
        "https://gitlab.com/evil",
        "https://GITLAB.example",
    ] {
        let (status, problem) = make(&world, json!({"base": base}));
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("VALIDATION_ERROR")),
            "{base}: {problem}"
        );
        assert!(problem.to_string().contains("/config/client_id"), "{base}: {problem}");
    }
    let link = json!({"integration": "gitlab", "owner": "o-1", "config": {"base": "https://evil.example"}});
    let (status, problem) = world.api(Method::Post, "/api/v1/connect-links", &link);
    assert_eq!(status, 400, "{problem}");

    // One with an app of its own goes there with that one, and not with the settings'.
    let own = json!({"base": "https://git.example.com", "client_id": "own", "client_secret": "own-secret"});
    let (status, made) = make(&world, own);
    assert_eq!(status, 201, "{made}");
    let path = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
    let (status, problem) = world.api(
        Method::Patch,
        &path,
        &json!({"config": {"client_id": null, "client_secret": null}}),
    );
    assert_eq!(status, 400, "{problem}");

    // The operator says where the app lives.
    let (status, _) = make(&world, json!({"base": "https://gitlab.com/"}));
    assert_eq!(status, 201);
    world.set("GITLAB_BASE", "https://git.example.com");
    let (status, made) = make(&world, json!({"base": "https://git.example.com/"}));
    assert_eq!(status, 201, "{made}");
    assert!(world.net.sent.borrow().is_empty());
}

#[test]
fn every_service_whose_server_can_be_anybodys_is_guarded() {
    let world = World::new();
    let mut guarded = Vec::new();
    for entry in registry::all() {
        let manifest = entry.manifest().unwrap();
        let Some(auth) = manifest.auth.as_ref() else { continue };
        let Some(oauth2) = auth.oauth2.as_ref() else { continue };
        world.set(&manifest.setting("CLIENT_ID"), "test-client");
        for (name, _) in auth
            .parts()
            .iter()
            .filter(|(name, p)| p.is_anybodys() && oauth2.leads_by(name))
        {
            let body = json!({"integration": entry.name, "auth": "oauth2", "config": {name: "https://evil.example"}});
            let (status, problem) = world.api(Method::Post, "/api/v1/connections", &body);
            assert!(
                problem.to_string().contains("/config/client_id"),
                "{}: {status} {problem}",
                entry.name
            );
            guarded.push(format!("{}.{name}", entry.name));
        }
    }
    assert_eq!(guarded, ["github.base_url", "github.web", "gitlab.base"]);
}

#[test]
fn a_secret_is_not_taken_to_another_server_by_a_change() {
    let world = World::new();
    // Service, its settings, the setting that says where requests go.
    let cases = [
        ("openai", json!({"api_key": "test-key"}), "base_url"),
        ("gitlab", json!({"access_token": "test-token"}), "base"),
        (
            "api-fetch-key",
            json!({"host": "api.example.com", "api_key": "test-key"}),
            "host",
        ),
    ];
    for (service, config, field) in cases {
        let new = json!({"integration": service, "config": config});
        let (status, made) = world.api(Method::Post, "/api/v1/connections", &new);
        assert_eq!(status, 201, "{service}: {made}");
        let path = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
        let there = if field == "host" {
            "evil.example"
        } else {
            "https://evil.example"
        };

        let (status, problem) = world.api(Method::Patch, &path, &json!({"config": {field: there}}));

        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("VALIDATION_ERROR")),
            "{service}: {problem}"
        );
        assert!(
            problem.to_string().contains(&format!("/config/{field}")),
            "{service}: {problem}"
        );
        let (_, shown) = world.api(Method::Get, &path, &Value::Null);
        assert_eq!(shown["config"][field], made["config"][field], "{service}");
        // The name can change, and so can everything with the secret given anew.
        let (status, _) = world.api(Method::Patch, &path, &json!({"name": "renamed"}));
        assert_eq!(status, 200, "{service}");
        let mut anew = config.clone();
        anew[field] = json!(there);
        let (status, changed) = world.api(Method::Patch, &path, &json!({"config": anew}));
        assert_eq!(
            (status, &changed["config"][field]),
            (200, &json!(there)),
            "{service}: {changed}"
        );
    }
}

#[test]
fn tokens_stay_at_the_server_that_they_are_for() {
    let world = gitlab();
    world.net.on(Method::Post, "https://gitlab.com/oauth/token", |_| {
        json_reply(
            200,
            json!({"access_token": "a", "refresh_token": "r", "expires_in": 7200}),
        )
    });
    world.net.on(Method::Get, "https://gitlab.com/api/v4/user", |_| {
        json_reply(200, json!({"id": 1, "username": "m"}))
    });
    let id = connected(&world);

    world.set("GITLAB_BASE", "https://git.example.com");
    let (status, problem) = world.api(
        Method::Patch,
        &format!("/api/v1/connections/{id}"),
        &json!({"config": {"base": "https://git.example.com", "client_id": "x", "client_secret": "y"}}),
    );

    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("VALIDATION_ERROR")),
        "{problem}"
    );
    assert!(
        problem["detail"].to_string().contains("fixed") || problem.to_string().contains("fixed"),
        "{problem}"
    );
}

#[test]
fn an_address_that_the_provider_told_keeps_no_change_out() {
    let world = gitlab();
    world.set("PIPEDRIVE_CLIENT_ID", "test-client");
    world.set("PIPEDRIVE_CLIENT_SECRET", "test-client-secret");
    world
        .net
        .on(Method::Post, "https://oauth.pipedrive.com/oauth/token", |_| {
            let domain = "https://acme.pipedrive.com";
            json_reply(
                200,
                json!({"access_token": "a", "refresh_token": "r", "expires_in": 7200, "api_domain": domain}),
            )
        });
    world.net.on(Method::Get, "https://api.pipedrive.com/v1/users/me", |_| {
        json_reply(200, json!({"data": {"id": 7, "email": "mona@example.com"}}))
    });
    let body = json!({"integration": "pipedrive", "auth": "oauth2"});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap();
    let (status, done) = finish(&world, &started(&world, Some(id)), "code");
    assert_eq!(status, 200, "{done}");

    let path = format!("/api/v1/connections/{id}");
    let (status, changed) = world.api(Method::Patch, &path, &json!({"name": "renamed"}));

    assert_eq!((status, &changed["name"]), (200, &json!("renamed")), "{changed}");
    assert_eq!(changed["config"]["api_domain"], "https://acme.pipedrive.com");
    let (status, problem) = world.api(
        Method::Patch,
        &path,
        &json!({"config": {"api_domain": "https://evil.example"}}),
    );
    assert_eq!(status, 400, "{problem}");
}

/// A started sign-in: connection and state.
fn started(world: &World, connection: Option<&str>) -> (String, String) {
    let id = connection.map(str::to_owned).unwrap_or_else(|| {
        let (status, made) = make(world, json!({}));
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    });
    let instance = id.replace("conn_", "int_inst_");
    let path = format!("/api/v1/integration-instances/{instance}/auth/oauth2/start");
    let (status, body) = world.api(Method::Post, &path, &json!({"redirectUri": REDIRECT}));
    assert_eq!(status, 200, "{body}");
    (instance, body["state"].as_str().unwrap().to_owned())
}

fn finish(world: &World, (instance, state): &(String, String), code: &str) -> (u16, Value) {
    let path = format!("/api/v1/integration-instances/{instance}/auth/oauth2/callback");
    world.api(Method::Post, &path, &json!({"code": code, "state": state}))
}

fn connected(world: &World) -> String {
    let sign_in = started(world, None);
    let (status, done) = finish(world, &sign_in, "code");
    assert_eq!(status, 200, "{done}");
    done["connection_id"].as_str().unwrap().to_owned()
}

#[test]
fn of_two_sign_ins_at_once_one_counts_whole_and_the_other_leaves_no_trace() {
    let world = Rc::new(gitlab());
    let first = started(&world, None);
    let id = first.0.replace("int_inst_", "conn_");
    let second = started(&world, Some(&id));
    // While the first waits for its user's name, the second goes through.
    let begun = Rc::new(Cell::new(false));
    world.net.on(Method::Post, "https://gitlab.com/oauth/token", |request| {
        let text = String::from_utf8(request.body.clone()).unwrap();
        let code = form_pairs(&text).into_iter().find(|(n, _)| n == "code").unwrap().1;
        json_reply(
            200,
            json!({"access_token": format!("access-{code}"), "refresh_token": format!("refresh-{code}")}),
        )
    });
    world.net.on(Method::Post, "https://gitlab.com/oauth/revoke", |_| {
        json_reply(200, json!({}))
    });
    let (other, flag) = (Rc::downgrade(&world), begun.clone());
    world
        .net
        .on(Method::Get, "https://gitlab.com/api/v4/user", move |request| {
            let of_first = request.headers.get("authorization") == Some("Bearer access-first");
            if of_first && !flag.replace(true) {
                let world = other.upgrade().unwrap();
                let (status, done) = finish(&world, &second, "second");
                assert_eq!(status, 200, "{done}");
            }
            match of_first {
                true => json_reply(200, json!({"id": 1, "username": "first"})),
                false => json_reply(200, json!({"id": 2, "username": "second"})),
            }
        });

    let (status, problem) = finish(&world, &first, "first");

    assert_eq!((status, &problem["code"]), (409, &json!("CONFLICT")), "{problem}");
    let (_, health) = world.api(Method::Get, &format!("/api/v1/connections/{id}/health"), &Value::Null);
    assert_eq!(
        (&health["user_id"], &health["status"]),
        (&json!("2"), &json!("CONNECTED")),
        "{health}"
    );
    let (_, audit) = world.api(Method::Get, "/api/v1/audit?act=connection.authenticated", &Value::Null);
    assert_eq!(audit["data"].as_array().unwrap().len(), 1, "{audit}");
    assert_eq!(audit["data"][0]["detail"]["user_id"], json!("2"), "{audit}");
}

#[test]
fn a_user_of_another_server_is_another_user() {
    let world = gitlab();
    let token = |request: &Request| {
        let name = if request.url.starts_with("https://gitlab.com") {
            "ours"
        } else {
            "theirs"
        };
        json_reply(200, json!({"access_token": name, "expires_in": 7200}))
    };
    for server in ["https://gitlab.com", "https://git.example.com"] {
        world.net.on(Method::Post, &format!("{server}/oauth/token"), token);
        // Each server has a user 42 of its own.
        let user = |_: &Request| json_reply(200, json!({"id": 42, "username": "m"}));
        world.net.on(Method::Get, &format!("{server}/api/v4/user"), user);
    }
    let own = json!({"base": "https://git.example.com", "client_id": "own", "client_secret": "own-secret"});
    for (owner, config) in [("o-1", json!({})), ("o-2", own)] {
        let link = json!({"integration": "gitlab", "owner": owner, "config": config});
        let (status, made) = world.api(Method::Post, "/api/v1/connect-links", &link);
        assert_eq!(status, 201, "{made}");
        let page = world.come_back(&world.depart(made["url"].as_str().unwrap()));
        assert_eq!(page.status, 200, "{owner}");
    }

    let (_, links) = world.api(Method::Get, "/api/v1/account-links", &Value::Null);

    let told = |at: usize| (links["data"][at]["owner"].clone(), links["data"][at]["server"].clone());
    assert_eq!(told(0), (json!("o-2"), json!("https://git.example.com")), "{links}");
    assert_eq!(told(1), (json!("o-1"), Value::Null), "{links}");
    let by_hand = |server: Value, owner: &str| {
        let body = json!({"integration": "gitlab", "owner": owner, "external_user_id": "42", "server": server});
        world.api(Method::Post, "/api/v1/account-links", &body).0
    };
    assert_eq!(by_hand(json!("https://third.example.com"), "o-3"), 201);
    assert_eq!(by_hand(json!("https://git.example.com"), "o-3"), 409);
    assert_eq!(by_hand(json!("https://gitlab.com"), "o-3"), 409);
    assert_eq!(by_hand(json!("not a url"), "o-3"), 400);
}

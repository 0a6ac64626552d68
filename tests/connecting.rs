//! Connections: changed, rotated, never shown.
//!
//! Through the hub's own verbs, on real SQLite and a scripted network.

mod support;

use patchbay::credential::Credential;
use patchbay::http::Method;
use patchbay::registry;
use patchbay::time::MINUTE;
use serde_json::{Value, json};
use support::scene::*;

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
        let signature = format!("sha256={}", mac(secret, b"{}"));
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
fn a_learned_secret_can_be_read_for_an_hour_and_one_that_was_set_never() {
    let world = world();
    let shown = |of: &str| world.api(Method::Get, of, &Value::Null).1["learned_webhook_secret"].clone();
    let (kept, replaced) = (learned(&world), learned(&world));
    let set = json!({"config": {"webhook_secret": "test-secret-of-a-person"}});
    assert_eq!(world.api(Method::Patch, &replaced, &set).0, 200);

    assert_eq!(shown(&kept), "secret_test_token_0123456789");
    assert_eq!(shown(&replaced), Value::Null);
    world.wait(61 * MINUTE);
    assert_eq!(shown(&kept), Value::Null);
}

#[test]
fn an_account_names_its_email_where_it_needs_one() {
    let world = world();
    let new = |more: Value| {
        let mut config = json!({"base_url": "https://jira.example.com", "api_token": "test-token", "user_id": "bot"});
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
        }
        world.api(
            Method::Post,
            "/api/v1/connections",
            &json!({"integration": "jira", "config": config}),
        )
    };

    let (status, refused) = new(json!({}));
    assert_eq!(status, 400, "{refused}");
    assert!(refused.to_string().contains("email"), "{refused}");
    assert_eq!(new(json!({"email": "bot@example.com"})).0, 201);
    assert_eq!(new(json!({"deployment": "data_center"})).0, 201);
    assert_eq!(new(json!({"deployment": "data_center", "email": "bot"})).0, 201);
}

#[test]
fn an_app_says_which_setting_its_account_lacks() {
    let lacks = |settings: &[(&str, &str)]| {
        let world = world();
        let always = [
            ("JIRA_API_BASE_URL", "https://jira.example.com"),
            ("JIRA_API_TOKEN", "test-token"),
        ];
        always
            .iter()
            .chain(settings)
            .for_each(|(name, value)| world.set(name, value));
        let manifest = registry::get("jira").unwrap().manifest().unwrap();
        let made = Credential::of_app(manifest, None, &world.machine);
        made.err().map(|error| error.to_string()).unwrap_or_default()
    };

    assert!(lacks(&[]).contains("JIRA_EMAIL"), "{}", lacks(&[]));
    assert_eq!(lacks(&[("JIRA_EMAIL", "bot@example.com")]), "");
    assert_eq!(lacks(&[("JIRA_DEPLOYMENT", "data_center")]), "");
}

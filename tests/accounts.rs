//! Accounts that people connect: sign-in, refresh, removal.
//!
//! Through the hub's own verbs, on real SQLite and a scripted provider that is as strict as a real one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly; JSON indexing gives null"
)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use patchbay::credential::grant::Provider;
use patchbay::credential::refresh;
use patchbay::http::{Method, Request, Response, form_pairs};
use patchbay::manifest::oauth2::PartKind;
use patchbay::ports::{Crypto, FetchError, RsaHash};
use patchbay::registry;
use patchbay::store::connection;
use patchbay::time::{DAY, HOUR, MINUTE, SECOND};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use support::crypto::NativeCrypto;
use support::{World, json_reply, run};

const TOKEN_URL: &str = "https://gitlab.com/oauth/token";
const RSA_KEY: &str = include_str!("data/test-rsa-key.txt");
const REDIRECT: &str = "https://your-app.example.com/oauth/callback";

/// A provider that rotates without leeway: a used refresh token is dead, and so is the access token of its pair.
#[derive(Default)]
struct Provided {
    serial: Cell<u32>,
    good: RefCell<String>,
    calls: Cell<u32>,
}

impl Provided {
    fn give(&self) -> Result<Response, FetchError> {
        self.serial.set(self.serial.get() + 1);
        let n = self.serial.get();
        *self.good.borrow_mut() = format!("refresh-{n}");
        json_reply(
            200,
            json!({"access_token": format!("access-{n}"), "refresh_token": format!("refresh-{n}"), "expires_in": 7200,
                   "scope": "api", "token_type": "bearer"}),
        )
    }

    fn answer(&self, request: &Request) -> Result<Response, FetchError> {
        self.calls.set(self.calls.get() + 1);
        let text = String::from_utf8(request.body.clone()).unwrap();
        let pairs = form_pairs(&text);
        let one = |name: &str| {
            pairs
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.clone())
                .unwrap_or_default()
        };
        if one("client_id") != "test-client" || one("client_secret") != "test-client-secret" {
            return json_reply(401, json!({"error": "invalid_client"}));
        }
        match one("grant_type").as_str() {
            "authorization_code" if one("code") == "good-code" && one("redirect_uri") == REDIRECT => {
                assert_eq!(one("code_verifier").len(), 43);
                self.give()
            }
            "refresh_token" if one("refresh_token") == *self.good.borrow() => self.give(),
            _ => json_reply(
                400,
                json!({"error": "invalid_grant", "error_description": "no longer valid"}),
            ),
        }
    }
}

struct Scene {
    world: World,
    provider: Rc<Provided>,
}

fn scene() -> Scene {
    let world = World::new();
    world.set("GITLAB_CLIENT_ID", "test-client");
    world.set("GITLAB_CLIENT_SECRET", "test-client-secret");
    world.set("PATCHBAY_REDIRECT_URIS", REDIRECT);
    let provider = Rc::new(Provided::default());
    let answering = provider.clone();
    world
        .net
        .on(Method::Post, TOKEN_URL, move |request| answering.answer(request));
    world.net.on(Method::Post, "https://gitlab.com/oauth/revoke", |_| {
        json_reply(200, json!({}))
    });
    world.net.on(Method::Get, "https://gitlab.com/api/v4/user", |request| {
        assert!(
            request
                .headers
                .get("authorization")
                .unwrap()
                .starts_with("Bearer access-")
        );
        json_reply(200, json!({"id": 4711, "username": "mona"}))
    });
    Scene { world, provider }
}

impl Scene {
    fn make(&self) -> Value {
        let body = json!({"integrationDefinitionId": "gitlab", "name": "mine", "owner": "o-1", "config": {}});
        let (status, made) = self.world.api(Method::Post, "/api/v1/integration-instances", &body);
        assert_eq!(
            (status, made["status"].as_str()),
            (201, Some("PENDING_AUTHENTICATION")),
            "{made}"
        );
        made
    }

    fn start(&self, instance: &Value) -> Value {
        let path = format!(
            "/api/v1/integration-instances/{}/auth/oauth2/start",
            instance["id"].as_str().unwrap()
        );
        let (status, started) = self.world.api(Method::Post, &path, &json!({"redirectUri": REDIRECT}));
        assert_eq!(status, 200, "{started}");
        started
    }

    fn finish(&self, instance: &Value, body: &Value) -> (u16, Value) {
        let path = format!(
            "/api/v1/integration-instances/{}/auth/oauth2/callback",
            instance["id"].as_str().unwrap()
        );
        self.world.api(Method::Post, &path, body)
    }

    /// A connected account; the connection's id.
    fn connected(&self) -> String {
        let instance = self.make();
        let started = self.start(&instance);
        let (status, done) = self.finish(&instance, &json!({"code": "good-code", "state": started["state"]}));
        assert_eq!((status, done["status"].as_str()), (200, Some("SUCCESS")), "{done}");
        done["connection_id"].as_str().unwrap().to_owned()
    }

    fn health(&self, id: &str) -> Value {
        self.world
            .api(Method::Get, &format!("/api/v1/connections/{id}/health"), &Value::Null)
            .1
    }

    async fn access(&self, id: &str) -> patchbay::Result<String> {
        let ports = self.world.ports();
        let row = connection::find(&ports, id).await?.unwrap();
        let secrets = row.open(&ports)?;
        let manifest = registry::get("gitlab")?.manifest()?;
        let provider = Provider::of(manifest, &row.config, &secrets)?;
        let token = refresh::access(&ports, &provider, &row, None).await?;
        Ok(token.expose().to_owned())
    }
}

fn query(url: &str) -> Vec<(String, String)> {
    form_pairs(url.split_once('?').unwrap().1)
}

#[test]
fn an_account_is_connected_with_a_code_and_its_tokens_are_never_shown() {
    let scene = scene();
    let instance = scene.make();
    assert!(instance["id"].as_str().unwrap().starts_with("int_inst_"));

    let started = scene.start(&instance);

    let names: Vec<String> = query(started["authorizationUrl"].as_str().unwrap())
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    let wanted = [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
    ];
    assert_eq!(names, wanted);
    let (status, done) = scene.finish(&instance, &json!({"code": "good-code", "state": started["state"]}));
    assert_eq!(status, 200, "{done}");
    assert_eq!(done["integrationInstanceId"], instance["id"]);
    let health = scene.health(done["connection_id"].as_str().unwrap());
    assert_eq!(
        (health["status"].as_str(), health["user_id"].as_str()),
        (Some("CONNECTED"), Some("4711"))
    );
    assert_eq!(health["scopes"], json!(["api"]));
    let shown = scene
        .world
        .api(Method::Get, "/api/v1/connections", &Value::Null)
        .1
        .to_string();
    let logged = format!("{:?}", scene.world.machine.lines.borrow());
    for text in [health.to_string(), shown, logged] {
        assert!(!text.contains("access-1") && !text.contains("refresh-1"), "{text}");
    }
    assert_eq!(
        scene
            .world
            .sql
            .count("SELECT count(*) FROM connection WHERE tokens LIKE '%access-1%'"),
        0
    );
    assert_eq!(
        scene
            .world
            .sql
            .count("SELECT count(*) FROM audit WHERE act = 'connection.authenticated'"),
        1
    );
}

#[test]
fn a_state_is_good_once_for_its_starter_for_ten_minutes() {
    let scene = scene();
    let (one, other) = (scene.make(), scene.make());
    let good = |started: &Value| json!({"code": "good-code", "state": started["state"]});

    let started = scene.start(&one);
    let (status, problem) = scene.finish(&other, &good(&started));
    assert_eq!(
        (status, problem["code"].as_str()),
        (403, Some("FORBIDDEN")),
        "for another instance: {problem}"
    );
    let key = json!({"name": "k", "scopes": ["connections:write", "connections:read"]});
    let (_, key) = scene.world.api(Method::Post, "/api/v1/keys", &key);
    let bearer = format!("Bearer {}", key["token"].as_str().unwrap_or_else(|| panic!("{key}")));
    let path = format!(
        "/api/v1/integration-instances/{}/auth/oauth2/callback",
        one["id"].as_str().unwrap()
    );
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let reply = scene
        .world
        .request(Method::Post, &path, &headers, good(&started).to_string().as_bytes());
    assert_eq!(reply.status, 403, "by another caller");
    assert_eq!(
        scene.finish(&one, &good(&started)).0,
        200,
        "what others tried did not use it up"
    );
    assert_eq!(scene.finish(&one, &good(&started)).0, 400, "a second time");

    let late = scene.start(&one);
    scene.world.wait(11 * MINUTE);
    assert_eq!(scene.finish(&one, &good(&late)).0, 400, "too late");
    for bad in [
        json!({"code": "good-code", "state": "x"}),
        json!({"code": "good-code"}),
        json!({"state": ""}),
    ] {
        assert_eq!(scene.finish(&one, &bad).0, 400, "{bad}");
    }
    assert_eq!(scene.provider.calls.get(), 1, "the provider heard of none of them");
}

#[test]
fn what_the_provider_refuses_is_named_and_leaves_nothing_behind() {
    let scene = scene();
    let instance = scene.make();
    let cases = [
        (
            json!({"error": "access_denied", "error_description": "<b>no</b>"}),
            403,
            "access_denied",
        ),
        (
            json!({"code": "good-code", "iss": "https://evil.example"}),
            403,
            "issuer",
        ),
        (json!({"code": "used-code"}), 403, "invalid_grant"),
        (json!({}), 400, "/code"),
    ];
    for (body, status, word) in cases {
        let mut body = body;
        body["state"] = scene.start(&instance)["state"].clone();
        let (got, problem) = scene.finish(&instance, &body);
        assert_eq!(got, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
        // The state is used up all the same.
        assert_eq!(scene.finish(&instance, &body).0, 400);
    }
    let good = json!({"code": "good-code", "iss": "https://gitlab.com", "state": scene.start(&instance)["state"]});
    scene
        .world
        .net
        .once("https://gitlab.com/api/v4/user", |_| json_reply(500, json!({})));
    assert_eq!(
        scene.finish(&instance, &good).0,
        502,
        "nobody can say whose account it is"
    );
    assert_eq!(
        scene.world.net.to("https://gitlab.com/oauth/revoke").len(),
        2,
        "the tokens are given back"
    );
    assert_eq!(
        scene
            .world
            .sql
            .count("SELECT count(*) FROM connection WHERE tokens IS NOT NULL"),
        0
    );
    assert_eq!(scene.world.sql.count("SELECT count(*) FROM oauth_state"), 0);
}

#[test]
fn a_redirect_uri_must_be_on_the_list_letter_for_letter() {
    let scene = scene();
    let instance = scene.make();
    let path = format!(
        "/api/v1/integration-instances/{}/auth/oauth2/start",
        instance["id"].as_str().unwrap()
    );
    for bad in [
        "https://your-app.example.com/oauth/callback/",
        "https://your-app.example.com/oauth/callback?x=1",
        "https://your-app.example.com/oauth/callback#x",
        "https://user@your-app.example.com/oauth/callback",
        "https://YOUR-app.example.com/oauth/callback",
        "http://your-app.example.com/oauth/callback",
        "//evil.example/oauth/callback",
        "https://evil.example\\@your-app.example.com/oauth/callback",
        "javascript:alert(1)",
        "",
    ] {
        let (status, problem) = scene.world.api(Method::Post, &path, &json!({"redirectUri": bad}));
        assert_eq!(
            (status, problem["code"].as_str()),
            (400, Some("VALIDATION_ERROR")),
            "{bad}"
        );
    }
    for (config, status) in [
        (json!({"base": "https://127.0.0.1", "client_id": "own"}), 201),
        (json!({"base": "https://u:p@gitlab.example.com"}), 400),
        (json!({"base": "gitlab.example.com"}), 400),
        (json!({"redirectUri": "http://x.example"}), 400),
        (json!({"clientSecret": "x"}), 400),
        (json!({"no_such": "x"}), 400),
    ] {
        let body = json!({"integrationDefinitionId": "gitlab", "config": config});
        let (got, made) = scene.world.api(Method::Post, "/api/v1/integration-instances", &body);
        assert_eq!(got, status, "{made}");
        if got == 201 {
            let path = format!(
                "/api/v1/integration-instances/{}/auth/oauth2/start",
                made["id"].as_str().unwrap()
            );
            let (got, problem) = scene.world.api(Method::Post, &path, &json!({"redirectUri": REDIRECT}));
            assert_eq!(
                (got, problem["code"].as_str()),
                (403, Some("SSRF_BLOCKED")),
                "{problem}"
            );
        }
    }
}

#[test]
fn fifty_uses_of_an_expired_token_make_one_request_and_none_fails() {
    let scene = scene();
    let id = scene.connected();
    scene.world.wait(3 * HOUR);
    let before = scene.provider.calls.get();

    let all = run(join_all((0..50).map(|_| scene.access(&id))));

    let tokens: Vec<String> = all.into_iter().map(Result::unwrap).collect();
    assert!(tokens.iter().all(|t| t == "access-2"), "{tokens:?}");
    assert_eq!(scene.provider.calls.get() - before, 1);
}

#[test]
fn a_provider_that_stumbles_costs_time_and_not_the_account() {
    let scene = scene();
    let id = scene.connected();
    scene.world.wait(3 * HOUR);
    let html = |_: &Request| {
        let mut page = Response::text(200, "<html>maintenance</html>");
        page.headers.set("content-type", "text/html");
        Ok(page)
    };
    type Answer = fn(&Request) -> Result<Response, FetchError>;
    let stumbles: [(Answer, &str); 6] = [
        (|_| json_reply(500, json!({})), "TEMPORARY_ERROR"),
        (|_| Err(FetchError::Timeout), "TEMPORARY_ERROR"),
        (|_| json_reply(200, json!({"ok": true})), "UPSTREAM_ERROR"),
        (
            |_| json_reply(200, json!({"error": "temporarily_unavailable"})),
            "TEMPORARY_ERROR",
        ),
        (
            |_| json_reply(401, json!({"error": "invalid_client"})),
            "UPSTREAM_ERROR",
        ),
        (html, "UPSTREAM_ERROR"),
    ];
    for (stumble, code) in stumbles {
        scene.world.net.once(TOKEN_URL, stumble);
        assert_eq!(run(scene.access(&id)).unwrap_err().code(), code);
        let asked = scene.provider.calls.get();
        assert_eq!(
            run(scene.access(&id)).unwrap_err().code(),
            "TEMPORARY_ERROR",
            "it is left in peace for a while"
        );
        assert_eq!(scene.provider.calls.get(), asked);
        assert_eq!(scene.health(&id)["status"], "CONNECTED");
        scene.world.wait(11 * MINUTE);
    }

    assert_eq!(run(scene.access(&id)).unwrap(), "access-2");
    assert_eq!(
        (scene.health(&id)["failures"].as_i64(), &scene.health(&id)["last_error"]),
        (Some(0), &Value::Null)
    );
}

#[test]
fn a_token_that_is_still_good_bridges_a_provider_that_stumbles() {
    let stumbles = [
        Some((503, json!({}))),
        Some((401, json!({"error": "invalid_client"}))),
        Some((200, json!("<html>maintenance</html>"))),
        None,
    ];
    for stumble in stumbles {
        let scene = scene();
        let id = scene.connected();
        scene.world.wait(2 * HOUR - 5 * MINUTE);
        scene.world.net.once(TOKEN_URL, move |_| match &stumble {
            Some((status, body)) => json_reply(*status, body.clone()),
            None => Err(FetchError::Timeout),
        });

        assert_eq!(run(scene.access(&id)).unwrap(), "access-1");
        scene.world.wait(10 * SECOND);
        assert_eq!(run(scene.access(&id)).unwrap(), "access-2", "refreshed before it ends");
    }
}

#[test]
fn a_refused_refresh_token_is_told_and_a_new_consent_too() {
    let scene = scene();
    let id = scene.connected();
    scene.world.wait(3 * HOUR);
    "revoked at the provider".clone_into(&mut scene.provider.good.borrow_mut());

    let error = run(scene.access(&id)).unwrap_err();

    assert_eq!(error.code(), "REAUTH_REQUIRED");
    let health = scene.health(&id);
    assert_eq!(
        (health["status"].as_str(), health["last_error"]["reason"].as_str()),
        (Some("REAUTH_REQUIRED"), Some("needs_reauth"))
    );
    let told = "SELECT count(*) FROM event WHERE type = 'hub.connection.expired' AND owner = 'o-1'";
    assert_eq!(scene.world.sql.count(told), 1);
    let asked = scene.provider.calls.get();
    assert_eq!(run(scene.access(&id)).unwrap_err().code(), "REAUTH_REQUIRED");
    assert_eq!(scene.provider.calls.get(), asked, "nobody asks in vain");

    let instance = json!({"id": id.replace("con_", "int_inst_")});
    let started = scene.start(&instance);
    assert_eq!(
        scene
            .finish(&instance, &json!({"code": "good-code", "state": started["state"]}))
            .0,
        200
    );
    assert_eq!(run(scene.access(&id)).unwrap(), "access-2");
    assert_eq!(
        scene
            .world
            .sql
            .count("SELECT count(*) FROM event WHERE type = 'hub.connection.reauthorized'"),
        1
    );
}

#[test]
fn an_end_that_many_find_out_at_once_is_told_once() {
    let scene = scene();
    let id = scene.connected();
    scene.world.wait(3 * HOUR);
    *scene.provider.good.borrow_mut() = "another".into();

    let all = run(join_all((0..10).map(|_| scene.access(&id))));

    assert!(
        all.iter()
            .all(|one| one.as_ref().unwrap_err().code() == "REAUTH_REQUIRED")
    );
    let told = "SELECT count(*) FROM audit WHERE act = 'connection.expired'";
    assert_eq!(scene.world.sql.count(told), 1);
}

#[test]
fn an_answer_that_was_never_stored_is_named_as_what_it_is() {
    // The provider has acted, its answer is lost: as when the Worker dies between the two, or a gateway gives up.
    let losses: [fn() -> Result<Response, FetchError>; 4] = [
        || Err(FetchError::Network("the connection broke".into())),
        || Err(FetchError::Timeout),
        || json_reply(504, json!({})),
        || json_reply(200, json!({"half": "an answer"})),
    ];
    for loss in losses {
        let scene = scene();
        let id = scene.connected();
        scene.world.wait(3 * HOUR);
        let provider = scene.provider.clone();
        scene.world.net.once(TOKEN_URL, move |request| {
            provider.answer(request).unwrap();
            loss()
        });
        assert!(run(scene.access(&id)).is_err());
        scene.world.wait(MINUTE);

        assert_eq!(run(scene.access(&id)).unwrap_err().code(), "REAUTH_REQUIRED");

        assert_eq!(scene.health(&id)["last_error"]["reason"], "lost_rotation");
        let told = "SELECT count(*) FROM event WHERE type = 'hub.connection.expired' AND owner = 'o-1'";
        assert_eq!(scene.world.sql.count(told), 1);
    }
}

#[test]
fn a_new_token_survives_a_database_that_is_out_of_reach() {
    for (failures, queued) in [(3, 0), (6, 1)] {
        let scene = scene();
        let id = scene.connected();
        scene.world.wait(3 * HOUR);
        let (failing, provider) = (scene.world.sql.failing.clone(), scene.provider.clone());
        scene.world.net.once(TOKEN_URL, move |request| {
            failing.set(failures);
            provider.answer(request)
        });

        let token = run(scene.access(&id));

        let messages = scene
            .world
            .queue
            .waiting
            .borrow()
            .iter()
            .filter(|(text, _)| text.starts_with('{'))
            .count();
        assert_eq!((token.is_ok(), messages), (queued == 0, queued));
        assert!(
            !format!("{:?}", scene.world.queue.waiting.borrow()).contains("access-2"),
            "it waits sealed"
        );
        scene.world.work();
        assert_eq!(run(scene.access(&id)).unwrap(), "access-2");
    }
}

#[test]
fn cron_uses_a_refresh_token_before_it_ends_of_idleness() {
    let world = World::new();
    world.set("AIRTABLE_CLIENT_ID", "c");
    world.set("AIRTABLE_CLIENT_SECRET", "s");
    world.set("PATCHBAY_REDIRECT_URIS", REDIRECT);
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    world
        .net
        .on(Method::Post, "https://airtable.com/oauth2/v1/token", move |_| {
            counted.set(counted.get() + 1);
            let (a, r) = (format!("a{}", counted.get()), format!("r{}", counted.get()));
            json_reply(
                200,
                json!({"access_token": a, "refresh_token": r, "expires_in": 3600, "refresh_expires_in": 5_184_000}),
            )
        });
    world
        .net
        .on(Method::Get, "https://api.airtable.com/v0/meta/whoami", |_| {
            json_reply(200, json!({"id": "usr1"}))
        });
    let (_, made) = world.api(
        Method::Post,
        "/api/v1/connections",
        &json!({"integration": "airtable", "auth": "oauth2"}),
    );
    let of = format!(
        "/api/v1/connections/{}",
        made["id"].as_str().unwrap_or_else(|| panic!("{made}"))
    );
    let (_, started) = world.api(
        Method::Post,
        &format!("{of}/auth/oauth2/start"),
        &json!({"redirectUri": REDIRECT}),
    );
    let body = json!({"code": "x", "state": started["state"]});
    assert_eq!(
        world.api(Method::Post, &format!("{of}/auth/oauth2/callback"), &body).0,
        200
    );

    world.wait(30 * DAY);
    run(world.hub().tick());
    world.work();
    assert_eq!(calls.get(), 1, "too early");
    world.wait(19 * DAY);
    run(world.hub().tick());
    world.work();

    assert_eq!(calls.get(), 2);
    let health = world.api(Method::Get, &format!("{of}/health"), &Value::Null).1;
    assert_eq!(health["status"], "CONNECTED");
    let reply = world.request(
        Method::Get,
        "/metrics",
        &[("authorization", "Bearer test-admin-token")],
        b"",
    );
    let counted = "patchbay_isolate_refreshed_total{of=\"airtable\"} 1\n";
    assert!(String::from_utf8_lossy(&reply.body).contains(counted));
}

#[test]
fn a_removed_connection_is_revoked_first_and_then_gone() {
    let scene = scene();
    let id = scene.connected();

    assert_eq!(
        scene
            .world
            .api(Method::Delete, &format!("/api/v1/connections/{id}"), &Value::Null)
            .0,
        204
    );

    let sent = scene.world.net.to("https://gitlab.com/oauth/revoke");
    let bodies: Vec<String> = sent
        .iter()
        .map(|r| String::from_utf8_lossy(&r.body).into_owned())
        .collect();
    assert!(
        bodies[0].contains("token=refresh-1") && bodies[1].contains("token=access-1"),
        "{bodies:?}"
    );
    assert_eq!(scene.world.sql.count("SELECT count(*) FROM connection"), 0);
    let noted = "SELECT count(*) FROM audit WHERE act = 'connection.deleted' AND detail LIKE '%\"revoked\":\"yes\"%'";
    assert_eq!(scene.world.sql.count(noted), 1);
}

#[test]
fn tokens_open_in_their_own_row_alone() {
    let scene = scene();
    let (one, other) = (scene.connected(), scene.connected());
    let spoil = |sql: String| {
        scene.world.sql.write(&sql);
        let error = run(scene.access(&one)).unwrap_err();
        assert!(matches!(error.status(), 500 | 503), "{error}");
        assert!(!error.public_detail().contains("access-"), "{error}");
    };
    scene.world.sql.write("CREATE TABLE kept AS SELECT * FROM connection");
    let restore = format!(
        "UPDATE connection SET tokens = (SELECT tokens FROM kept WHERE id = '{one}'), owner = 'o-1', token_version = 1 WHERE id = '{one}'"
    );
    for change in [
        format!("tokens = (SELECT tokens FROM kept WHERE id = '{other}')"),
        "tokens = substr(tokens, 1, length(tokens) - 8)".to_owned(),
        "tokens = replace(tokens, 'v1|k1|', 'v1|k9|')".to_owned(),
        "token_version = 2".to_owned(),
        "tokens = ''".to_owned(),
    ] {
        spoil(format!("UPDATE connection SET {change} WHERE id = '{one}'"));
        scene.world.sql.write(&restore);
    }
    assert_eq!(run(scene.access(&one)).unwrap(), "access-1");
}

#[test]
fn a_browser_connects_an_account_for_the_user_that_the_link_names() {
    let scene = scene();
    let hub_callback = "https://hub.example.com/oauth/callback";
    let answering = scene.provider.clone();
    let replies = move |request: &Request| {
        let text = String::from_utf8(request.body.clone()).unwrap();
        assert!(
            text.contains("redirect_uri=https%3A%2F%2Fhub.example.com%2Foauth%2Fcallback"),
            "{text}"
        );
        answering.give()
    };
    let invite = |more: Value| {
        let mut body = json!({"owner": "o-1", "integration": "gitlab"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scene.world.api(Method::Post, "/api/v1/connect-links", &body)
    };
    assert_eq!(invite(json!({"return_to": "https://evil.example"})).0, 400);
    let (status, link) = invite(json!({"external_user_id": "4711", "return_to": REDIRECT}));
    assert_eq!(status, 201, "{link}");
    let path = link["url"]
        .as_str()
        .unwrap()
        .trim_start_matches("https://hub.example.com")
        .to_owned();

    let away = scene.world.request(Method::Get, &path, &[], b"");
    assert_eq!(
        (away.status, away.headers.get("referrer-policy")),
        (303, Some("no-referrer"))
    );
    let cookie = away.headers.get("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let url = query(away.headers.get("location").unwrap());
    assert!(url.contains(&("redirect_uri".into(), hub_callback.into())), "{url:?}");
    let state = url.iter().find(|(n, _)| n == "state").unwrap().1.clone();
    let back = format!("/oauth/callback?code=x&state={state}&iss=https%3A%2F%2Fgitlab.com");

    let foreign = scene
        .world
        .request(Method::Get, &back, &[("cookie", "__Host-patchbay-sign-in=other")], b"");
    assert_eq!(foreign.status, 403, "another browser");
    assert!(
        foreign
            .headers
            .get("content-security-policy")
            .unwrap()
            .contains("style-src 'sha256-")
    );
    scene.world.net.once(TOKEN_URL, replies);
    let home = scene.world.request(Method::Get, &back, &[("cookie", &cookie)], b"");

    let location = home
        .headers
        .get("location")
        .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&home.body)));
    assert_eq!(home.status, 303);
    assert!(
        location.starts_with(&format!("{REDIRECT}?status=connected&connection_id=con_")),
        "{location}"
    );
    assert!(!location.contains("access-"));
    let again = scene.world.request(Method::Get, &back, &[("cookie", &cookie)], b"");
    assert_eq!(again.status, 400, "a state is good once");
    assert_eq!(
        scene.world.request(Method::Get, &path, &[], b"").status,
        404,
        "and so is the link"
    );
    let links = scene.world.api(Method::Get, "/api/v1/account-links", &Value::Null).1;
    let linked = &links["data"][0];
    assert_eq!(
        (linked["owner"].as_str(), linked["external_user_id"].as_str()),
        (Some("o-1"), Some("4711"))
    );
    assert_eq!(linked["connection_id"], link["connection_id"]);
    let id = linked["id"].as_str().unwrap();
    assert_eq!(
        scene
            .world
            .api(Method::Delete, &format!("/api/v1/account-links/{id}"), &Value::Null)
            .0,
        204
    );
}

#[test]
fn a_link_for_another_outside_user_connects_nothing() {
    let scene = scene();
    let body = json!({"owner": "o-1", "integration": "gitlab", "external_user_id": "1"});
    let (_, link) = scene.world.api(Method::Post, "/api/v1/connect-links", &body);
    let away = scene.world.depart(link["url"].as_str().unwrap());
    let answering = scene.provider.clone();
    scene.world.net.once(TOKEN_URL, move |_| answering.give());

    let page = scene.world.come_back(&away);

    assert_eq!(page.status, 403, "{}", String::from_utf8_lossy(&page.body));
    assert_eq!(scene.world.net.to("https://gitlab.com/oauth/revoke").len(), 2);
    assert_eq!(
        scene
            .world
            .sql
            .count("SELECT count(*) FROM connection WHERE tokens IS NOT NULL"),
        0
    );
    assert_eq!(scene.world.sql.count("SELECT count(*) FROM account_link"), 0);
    scene.world.wait(21 * MINUTE);
    run(scene.world.hub().tick());
    assert_eq!(
        scene.world.sql.count("SELECT count(*) FROM connection"),
        0,
        "what was made for a link goes with it"
    );
}

#[test]
fn keys_are_rotated_while_everything_goes_on_and_the_old_one_can_go() {
    let scene = scene();
    let ids: Vec<String> = (0..60).map(|_| scene.connected()).collect();
    let old = scene.world.machine.vars.borrow()["PATCHBAY_ENCRYPTION_KEYS"].clone();
    let new = "k2:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=";
    let keys = || scene.world.api(Method::Get, "/api/v1/encryption-keys", &Value::Null).1;
    let sealed = |kid: &str| {
        let keys = keys();
        let found = keys["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|k| k["kid"] == kid)
            .cloned();
        found.map(|k| (k["sealed"].as_i64().unwrap(), k["removable"] == true))
    };
    scene.world.set("PATCHBAY_ENCRYPTION_KEYS", &format!("{new},{old}"));
    assert_eq!(sealed("k1"), Some((120, false)));

    let (status, _) = scene
        .world
        .api(Method::Post, "/api/v1/encryption-keys/rotate", &json!({}));
    assert_eq!(status, 202);
    // Somebody connects again and tokens are used in between.
    scene.world.wait(3 * HOUR);
    assert!(run(scene.access(&ids[59])).is_ok());
    run(scene.world.hub().tick());

    assert_eq!(sealed("k1"), Some((0, true)));
    assert_eq!(sealed("k2"), Some((120, false)));
    assert_eq!(
        keys()["rotation"]["done_at"].as_str().map(|t| t.len()),
        Some(24),
        "{}",
        keys()
    );
    scene.world.set("PATCHBAY_ENCRYPTION_KEYS", new);
    for id in &ids {
        let ports = scene.world.ports();
        let row = run(connection::find(&ports, id)).unwrap().unwrap();
        assert!(row.tokens(&ports).unwrap().is_some() && row.open(&ports).is_ok());
    }
}

#[test]
fn a_program_gets_tokens_of_its_own_or_a_clear_error_at_once() {
    let world = World::new();
    world
        .net
        .on(Method::Post, "https://api-m.paypal.com/v1/oauth2/token", |request| {
            let good = request.headers.get("authorization") == Some("Basic dGVzdC1pZDp0ZXN0LXNlY3JldA==");
            match good && request.body.starts_with(b"grant_type=client_credentials") {
                true => json_reply(
                    200,
                    json!({"access_token": "app-token", "expires_in": 32_400, "token_type": "Bearer"}),
                ),
                false => json_reply(401, json!({"error": "invalid_client"})),
            }
        });
    let make = |secret: &str| {
        let config = json!({"client_id": "test-id", "client_secret": secret});
        let body = json!({"integration": "paypal", "auth": "client_credentials", "config": config});
        world.api(Method::Post, "/api/v1/connections", &body)
    };

    let (status, problem) = make("wrong");
    assert_eq!(
        (status, problem["code"].as_str()),
        (502, Some("UPSTREAM_ERROR")),
        "{problem}"
    );
    assert_eq!(
        world.sql.count("SELECT count(*) FROM connection"),
        0,
        "nothing half made"
    );
    let (status, made) = make("test-secret");

    assert_eq!((status, made["status"].as_str()), (201, Some("CONNECTED")), "{made}");
    assert!(!made.to_string().contains("test-secret"));
}

#[test]
fn a_device_is_connected_when_its_user_has_consented_elsewhere() {
    let scene = scene();
    let asked = Rc::new(Cell::new(0));
    scene
        .world
        .net
        .on(Method::Post, "https://gitlab.com/oauth/authorize_device", |_| {
            json_reply(
                200,
                json!({"device_code": "hidden-code", "user_code": "ABCD-EFGH", "interval": 5, "expires_in": 300,
                               "verification_uri": "https://gitlab.com/oauth/device"}),
            )
        });
    for answer in ["authorization_pending", "slow_down"] {
        let counted = asked.clone();
        scene.world.net.once(TOKEN_URL, move |request| {
            assert!(String::from_utf8_lossy(&request.body).contains("device_code=hidden-code"));
            counted.set(counted.get() + 1);
            json_reply(400, json!({ "error": answer }))
        });
    }
    let provider = scene.provider.clone();
    scene.world.net.once(TOKEN_URL, move |_| provider.give());
    let instance = scene.make();
    let of = format!(
        "/api/v1/integration-instances/{}/auth/oauth2/device",
        instance["id"].as_str().unwrap()
    );
    let (status, device) = scene.world.api(Method::Post, &of, &Value::Null);
    assert_eq!(
        (status, device["user_code"].as_str()),
        (200, Some("ABCD-EFGH")),
        "{device}"
    );
    assert!(!device.to_string().contains("hidden-code"));
    let poll = || {
        scene
            .world
            .api(Method::Post, &format!("{of}/poll"), &json!({"state": device["state"]}))
    };

    assert_eq!(poll().0, 202);
    assert_eq!((poll().0, asked.get()), (202, 1), "too early: the service is not asked");
    scene.world.wait(6 * SECOND);
    assert_eq!((poll().0, asked.get()), (202, 2));
    scene.world.wait(6 * SECOND);
    assert_eq!(poll().0, 202, "it asked for longer pauses");
    scene.world.wait(6 * SECOND);
    let (status, done) = poll();

    assert_eq!((status, done["status"].as_str()), (200, Some("SUCCESS")), "{done}");
    assert_eq!(poll().0, 400);
}

const SERVICE_ACCOUNT: &str = "robot@test-project.example.com";

/// Google's token endpoint as its description has it: the assertion's form, signature, claims and times are checked.
fn exchange(request: &Request, now: i64, serial: u32) -> Result<Response, FetchError> {
    let form = form_pairs(&String::from_utf8(request.body.clone()).unwrap());
    let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    assert_eq!(
        request.headers.get("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(request.headers.get("authorization"), None);
    let (assertion, grant) = (&form[0], &form[1]);
    assert_eq!(
        (assertion.0.as_str(), grant),
        ("assertion", &("grant_type".to_owned(), kind.to_owned()))
    );
    assert_eq!(form.len(), 2);
    let parts: Vec<&str> = assertion.1.split('.').collect();
    let decoded: Vec<Vec<u8>> = parts.iter().map(|p| URL_SAFE_NO_PAD.decode(p).unwrap()).collect();
    let header: Value = serde_json::from_slice(&decoded[0]).unwrap();
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
    let signed = format!("{}.{}", parts[0], parts[1]);
    let spki = RsaPrivateKey::from_pkcs8_pem(RSA_KEY)
        .unwrap()
        .to_public_key()
        .to_public_key_der()
        .unwrap();
    if !run(NativeCrypto.verify_rsa(RsaHash::Sha256, spki.as_bytes(), &decoded[2], signed.as_bytes())).unwrap() {
        return json_reply(
            400,
            json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}),
        );
    }
    let claims: Value = serde_json::from_slice(&decoded[1]).unwrap();
    let (issued, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((now / 1_000 - issued).abs() <= 1 && ends - issued == 3_600, "{claims}");
    assert_eq!(
        (&claims["iss"], &claims["aud"], &claims["scope"]),
        (
            &json!(SERVICE_ACCOUNT),
            &json!("https://oauth2.googleapis.com/token"),
            &json!("https://www.googleapis.com/auth/calendar.readonly")
        )
    );
    let whose = claims["sub"].as_str().unwrap_or("robot");
    json_reply(
        200,
        json!({"access_token": format!("token-of-{whose}-{serial}"), "expires_in": 3599, "token_type": "Bearer"}),
    )
}

#[test]
fn a_service_account_acts_with_a_token_for_its_assertion() {
    let mut world = World::new();
    world.crypto = Box::new(NativeCrypto);
    let clock = Rc::new(Cell::new(0));
    let (told, exchanges) = (clock.clone(), Rc::new(Cell::new(0)));
    let counted = exchanges.clone();
    world
        .net
        .on(Method::Post, "https://oauth2.googleapis.com/token", move |request| {
            counted.set(counted.get() + 1);
            exchange(request, told.get(), counted.get())
        });
    let refusing = Rc::new(Cell::new(false));
    let refused = refusing.clone();
    world
        .net
        .on(Method::Get, "https://www.googleapis.com/calendar/v3/", move |request| {
            let token = request.headers.get("authorization").unwrap().to_owned();
            assert!(token.starts_with("Bearer token-of-"), "{token}");
            if refused.replace(false) {
                return json_reply(
                    401,
                    json!({"error": {"errors": [{"reason": "authError"}], "message": "Invalid Credentials"}}),
                );
            }
            json_reply(
                200,
                json!({"items": [{"id": token.trim_start_matches("Bearer ").rsplit_once('-').unwrap().0}]}),
            )
        });
    let connect = |more: Value| {
        let mut config = json!({"client_email": SERVICE_ACCOUNT, "private_key": RSA_KEY});
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let body = json!({"integration": "google-calendar", "config": config});
        world.api(Method::Post, "/api/v1/connections", &body)
    };
    let list = |connection: &Value| {
        clock.set(world.machine.now.get());
        let path = format!(
            "/api/v1/connections/{}/actions/listEvents",
            connection["id"].as_str().unwrap()
        );
        let inputs = json!({"timeMin": "2023-09-01T00:00:00Z", "timeMax": "2023-09-30T23:59:59Z"});
        let (status, body) = world.api(Method::Post, &path, &json!({"inputs": inputs}));
        (status, body["data"]["events"][0]["id"].clone(), body)
    };
    assert_eq!(connect(json!({"private_key": null})).0, 400, "half of it is not enough");
    let (status, robot) = connect(json!({}));
    assert_eq!(status, 201, "{robot}");
    assert!(!robot.to_string().contains("PRIVATE KEY"));
    let key = "SELECT count(*) FROM connection WHERE config LIKE '%PRIVATE%' OR secrets LIKE '%PRIVATE%'";
    assert_eq!(world.sql.count(key), 0, "it is sealed");

    assert_eq!(list(&robot).1, "token-of-robot");
    assert_eq!((list(&robot).0, exchanges.get()), (200, 1), "the token is kept");
    world.wait(HOUR - 4 * MINUTE);
    assert_eq!(
        (list(&robot).0, exchanges.get()),
        (200, 2),
        "and obtained anew before it ends"
    );
    refusing.set(true);
    assert_eq!((list(&robot).0, exchanges.get()), (200, 3), "and when it is refused");
    let mona = connect(json!({"subject": "mona@example.com"})).1;
    assert_eq!(list(&mona).1, "token-of-mona@example.com");
    let wrong = connect(json!({"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"})).1;
    assert_eq!(list(&wrong).2["code"], "VALIDATION_ERROR");
    let given = connect(json!({"access_token": "token-of-nobody-1"})).1;
    assert_eq!(
        (list(&given).1, exchanges.get()),
        (json!("token-of-nobody"), 4),
        "nothing is exchanged"
    );
    let shown = format!("{:?}", world.machine.lines.borrow());
    assert!(!shown.contains("token-of-") && !shown.contains("PRIVATE KEY"));
}

/// A definition as its author posts it, whose sign-in and server stand at one provider.
fn definition(authorize: &str, token: &str, api: &str) -> Value {
    let text = json!({"type": "string"});
    json!({
        "name": "Notes", "type": "http", "authType": "oauth2",
        "methods": [{"name": "whose", "request": {"method": "GET", "path": "/whose"}}],
        "configSchema": {"type": "object", "required": ["clientId", "clientSecret", "redirectUri"], "properties": {
            "clientId": text, "clientSecret": text, "redirectUri": text, "scope": {"type": "string", "default": "notes"}
        }},
        "oauth2Config": {"authorizationUrl": authorize, "tokenUrl": token, "authStyle": "body"},
        "baseUrl": api
    })
}

#[test]
fn an_action_acts_with_the_tokens_of_a_sign_in_and_each_use_is_noted() {
    let scene = scene();
    let posted = definition(
        "https://gitlab.com/oauth/authorize",
        TOKEN_URL,
        "https://notes.example.com",
    );
    let (status, made) = scene
        .world
        .api(Method::Post, "/api/v1/integration-definitions", &posted);
    assert_eq!((status, made.get("warnings")), (201, None), "{made}");
    let config = json!({"clientId": "test-client", "clientSecret": "test-client-secret", "redirectUri": REDIRECT});
    let body = json!({"integrationDefinitionId": made["id"], "owner": "o-1", "config": config});
    let (_, instance) = scene.world.api(Method::Post, "/api/v1/integration-instances", &body);
    assert_eq!(instance["status"], "PENDING_AUTHENTICATION", "{instance}");
    let of = format!("/api/v1/integration-instances/{}", instance["id"].as_str().unwrap());
    let whose = || {
        scene
            .world
            .api(Method::Post, &format!("{of}/methods/whose/execute"), &json!({}))
    };
    scene
        .world
        .net
        .on(Method::Get, "https://notes.example.com/whose", |request| {
            json_reply(200, json!({"with": request.headers.get("authorization")}))
        });
    assert_eq!(whose().1["code"], "REAUTH_REQUIRED", "nobody has signed in yet");
    assert_eq!(scene.world.net.to("https://notes").len(), 0);

    let started = scene.start(&instance);
    let (status, done) = scene.finish(&instance, &json!({"code": "good-code", "state": started["state"]}));
    assert_eq!(status, 200, "{done}");
    let first = whose().1;
    scene.world.wait(3 * HOUR);
    let second = whose().1;
    scene.world.net.once("https://notes.example.com/whose", |_| {
        json_reply(404, json!({"message": "no"}))
    });
    let third = whose();

    let with = |body: &Value| body["data"]["with"].clone();
    assert_eq!(
        (with(&first), with(&second)),
        (json!("Bearer access-1"), json!("Bearer access-2"))
    );
    assert_eq!(third.0, 502, "{}", third.1);
    let used = "SELECT count(*) FROM audit WHERE act = 'credential.used' AND actor = 'admin' AND owner = 'o-1'";
    assert_eq!(scene.world.sql.count(used), 3, "a refusal is a use as well");
    let audit = scene
        .world
        .api(Method::Get, "/api/v1/audit", &Value::Null)
        .1
        .to_string();
    assert!(!audit.contains("access-") && !audit.contains("refresh-"), "{audit}");
}

#[test]
fn no_setting_leads_a_sign_in_off_its_providers_domain() {
    let world = World::new();
    let evil = [
        "evil.example",
        "evil.example/",
        "evil.example#",
        "evil.example?",
        "evil.example\\\\",
        "x@evil.example",
        "//evil.example",
        "https://evil.example",
        "https://evil.example/.salesforce.com",
        "https://x.salesforce.com@evil.example",
        "x:443",
        "..",
        ".",
        "x/../..",
        "%2e%2e",
        "{x}",
        "x\ny",
        "x y",
        "",
    ];
    let (mut tried, mut sound) = (0, 0);
    for entry in registry::all() {
        let Some(auth) = entry.manifest().unwrap().auth.as_ref().filter(|a| a.oauth2.is_some()) else {
            continue;
        };
        let urls = serde_json::from_str::<Value>(entry.text).unwrap()["auth"]["oauth2"].to_string();
        for (name, part) in auth.parts().iter().filter(|(_, part)| part.from.is_none()) {
            // A server of one's own is guarded by its address, not by its name.
            let is_anybodys = part.kind == PartKind::Origin && part.suffixes.is_empty();
            if !urls.contains(&format!("{{{name}}}")) || is_anybodys {
                continue;
            }
            for value in evil {
                let is_sound = part.kind == PartKind::Segment && value == "evil.example";
                let way = if auth.oauth2.as_ref().unwrap().authorize_url.is_some() {
                    "oauth2"
                } else {
                    "client_credentials"
                };
                let body = json!({"integration": entry.name, "auth": way, "config": {name: value}});
                let (status, problem) = world.api(Method::Post, "/api/v1/connections", &body);
                if is_sound {
                    sound += 1;
                    continue;
                }
                assert_eq!(
                    (status, &problem["code"]),
                    (400, &json!("VALIDATION_ERROR")),
                    "{} {name}={value}: {problem}",
                    entry.name
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
    assert!(world.net.sent.borrow().is_empty());
    assert_eq!(world.sql.count("SELECT count(*) FROM connection"), sound);
}

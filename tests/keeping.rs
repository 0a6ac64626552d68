//! Subscriptions that services end by themselves, and lists that are asked with an account: each request is compared
//! as a whole with what the service documents, credential included.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly; JSON indexing gives null"
)]

mod support;

use patchbay::http::{Method, Response};
use patchbay::time::{DAY, HOUR, MINUTE, Timestamp};
use serde_json::{Value, json};
use support::{World, json_reply, run};

const REDIRECT: &str = "https://your-app.example.com/oauth/callback";
const GOOGLE_TOKEN: &str = "https://oauth2.googleapis.com/token";
const MICROSOFT_TOKEN: &str = "https://login.microsoftonline.com/common/oauth2/v2.0/token";
const ATLASSIAN_TOKEN: &str = "https://auth.atlassian.com/oauth/token";
const JIRA: &str = "https://api.atlassian.com/ex/jira/cloud-1";
const GRAPH: &str = "https://graph.microsoft.com/v1.0/subscriptions";
const GMAIL: &str = "https://gmail.googleapis.com/gmail/v1/users/me";

/// A connected account of a service with OAuth; its access token is `test-access`. `asked` is what the sign-in asks.
fn signed_in(world: &World, service: &str, config: Value, token_url: &str, asked: &[(&str, Value)]) -> String {
    let setting = service.to_uppercase().replace('-', "_");
    world.set(&format!("{setting}_CLIENT_ID"), "test-client");
    world.set(&format!("{setting}_CLIENT_SECRET"), "test-client-secret");
    world.set("PATCHBAY_REDIRECT_URIS", REDIRECT);
    world.net.on(Method::Post, token_url, |_| {
        let life = 365 * DAY / 1_000;
        json_reply(
            200,
            json!({"access_token": "test-access", "refresh_token": "test-refresh", "token_type": "Bearer", "expires_in": life}),
        )
    });
    for (url, body) in asked {
        let body = body.clone();
        world.net.once(url, move |_| json_reply(200, body.clone()));
    }
    let body = json!({"integration": service, "auth": "oauth2", "config": config});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    let of = format!("/api/v1/connections/{id}/auth/oauth2");
    let (_, started) = world.api(Method::Post, &format!("{of}/start"), &json!({"redirectUri": REDIRECT}));
    let (status, done) = world.api(
        Method::Post,
        &format!("{of}/callback"),
        &json!({"code": "test-code", "state": started["state"]}),
    );
    assert_eq!(status, 200, "{done}");
    world.net.sent.borrow_mut().clear();
    id
}

fn jira(world: &World) -> String {
    let config = json!({"webhook_secret": "test-client-secret", "variant": "dynamic"});
    let sites = json!([{"id": "cloud-1", "name": "site"}]);
    let asked = [
        ("https://api.atlassian.com/oauth/token/accessible-resources", sites),
        (
            "https://api.atlassian.com/me",
            json!({"account_id": "a-1", "name": "Mona"}),
        ),
    ];
    signed_in(world, "jira", config, ATLASSIAN_TOKEN, &asked)
}

fn graph(world: &World, config: Value) -> String {
    let me = json!({"id": "u-1", "userPrincipalName": "mona@example.com"});
    let asked = [("https://graph.microsoft.com/v1.0/me", me)];
    signed_in(world, "microsoft-graph", config, MICROSOFT_TOKEN, &asked)
}

fn gmail(world: &World) -> String {
    let profile = json!({"emailAddress": "mona@example.com", "historyId": "1"});
    let asked = [("https://gmail.googleapis.com/gmail/v1/users/me/profile", profile)];
    signed_in(world, "gmail", json!({}), GOOGLE_TOKEN, &asked)
}

/// What a server was asked since the last look: method, address and JSON of each request, all with this credential.
fn asked(world: &World, authorization: &str) -> Vec<(Method, String, Value)> {
    let sent = std::mem::take(&mut *world.net.sent.borrow_mut());
    sent.into_iter()
        .map(|request| {
            assert_eq!(
                request.headers.get("authorization"),
                Some(authorization),
                "{}",
                request.url
            );
            if request.body.is_empty() {
                return (request.method, request.url, Value::Null);
            }
            assert_eq!(request.headers.get("content-type"), Some("application/json"));
            (
                request.method,
                request.url,
                serde_json::from_slice(&request.body).unwrap(),
            )
        })
        .collect()
}

const BEARER: &str = "Bearer test-access";

/// The one request since the last look, which named an `expirationDateTime` after so many milliseconds.
fn asked_until(world: &World, life: i64) -> (Method, String, Value) {
    let mut sent = asked(world, BEARER);
    assert_eq!(sent.len(), 1, "{sent:?}");
    let (method, url, mut json) = sent.remove(0);
    let end = json.as_object_mut().unwrap().remove("expirationDateTime").unwrap();
    let end = Timestamp::parse_rfc3339(end.as_str().unwrap()).unwrap();
    assert!(
        (end.0 - life - world.machine.now.get()).abs() < MINUTE,
        "{}",
        end.rfc3339()
    );
    (method, url, json)
}

fn subscribe(world: &World, body: Value) -> Value {
    let (status, made) = world.api(Method::Post, "/api/v1/subscriptions", &body);
    assert_eq!(status, 201, "{made}");
    made
}

/// Subscriptions of which was told that the service had lost them.
fn lost(world: &World) -> i64 {
    world
        .sql
        .count("SELECT count(*) FROM event WHERE type = 'hub.subscription.lost' AND subject LIKE 'sub_%'")
}

fn tick_after(world: &World, wait: i64) {
    world.wait(wait);
    run(world.hub().tick());
}

fn subscription(world: &World, made: &Value) -> (String, Value) {
    let path = format!("/api/v1/subscriptions/{}", made["id"].as_str().unwrap());
    let shown = world.api(Method::Get, &path, &Value::Null).1;
    (path, shown)
}

#[test]
fn a_dynamic_webhook_of_jira() {
    let world = World::new();
    let connection = jira(&world);
    let webhook = format!("{JIRA}/rest/api/3/webhook");
    world.net.once(&webhook, |_| {
        json_reply(200, json!({"webhookRegistrationResult": [{"createdWebhookId": 1000}]}))
    });

    let made = subscribe(
        &world,
        json!({"connection_id": connection, "subscription": "webhook",
               "inputs": {"jql": "project = ENG", "events": ["jira:issue_created", "comment_created"]}}),
    );

    assert_eq!(
        (&made["service_id"], &made["last_error"]),
        (&json!("1000"), &Value::Null),
        "{made}"
    );
    let to = format!("https://hub.example.com/api/integration/jira/events/{connection}");
    let wanted = json!({"url": to, "webhooks": [{"jqlFilter": "project = ENG", "events": ["jira:issue_created", "comment_created"]}]});
    assert_eq!(asked(&world, BEARER), [(Method::Post, webhook.clone(), wanted.clone())]);

    // Jira takes the renewal of a webhook that it does not have for a good one: it is asked for first, each day.
    let list = format!("{webhook}?maxResults=100");
    let listed = |ids: &[u32], is_last: bool| {
        let values: Vec<Value> = ids
            .iter()
            .map(|id| json!({"id": id, "jqlFilter": "x", "events": []}))
            .collect();
        let page = json!({"isLast": is_last, "maxResults": 100, "startAt": 0, "total": ids.len(), "values": values});
        world.net.once(&list, move |_| json_reply(200, page.clone()));
    };
    tick_after(&world, 23 * HOUR);
    assert_eq!(asked(&world, BEARER), []);
    let refresh = format!("{webhook}/refresh");
    listed(&[999, 1000], true);
    let end = Timestamp(world.machine.now.get() + 31 * DAY)
        .rfc3339()
        .replace('Z', "+0000");
    world
        .net
        .once(&refresh, move |_| json_reply(200, json!({"expirationDate": end})));
    tick_after(&world, HOUR);
    let ids = json!({"webhookIds": [1000]});
    let check = (Method::Get, list.clone(), Value::Null);
    assert_eq!(
        asked(&world, BEARER),
        [check.clone(), (Method::Put, refresh.clone(), ids)]
    );
    let (path, shown) = subscription(&world, &made);
    assert_eq!(
        (&shown["service_id"], &shown["failures"]),
        (&json!("1000"), &json!(0)),
        "{shown}"
    );

    // A list that does not come whole says nothing about what is not on it.
    listed(&[999], false);
    world.net.on(Method::Put, &refresh, |_| {
        json_reply(200, json!({"expirationDate": "2099-01-01T00:00:00Z"}))
    });
    tick_after(&world, DAY);
    assert_eq!(asked(&world, BEARER).len(), 2);
    assert_eq!(subscription(&world, &made).1["service_id"], "1000");
    assert_eq!(lost(&world), 0);

    // What has vanished is made anew, and that is told.
    listed(&[999], true);
    world.net.on(Method::Post, &webhook, |_| {
        json_reply(200, json!({"webhookRegistrationResult": [{"createdWebhookId": 1001}]}))
    });
    tick_after(&world, DAY);
    assert_eq!(asked(&world, BEARER), [check, (Method::Post, webhook.clone(), wanted)]);
    let (_, shown) = subscription(&world, &made);
    assert_eq!(
        (&shown["service_id"], &shown["failures"]),
        (&json!("1001"), &json!(0)),
        "{shown}"
    );
    assert_eq!(lost(&world), 1);

    let ids = json!({"webhookIds": [1001]});
    world.net.once(&webhook, |_| Ok(Response::empty(202)));
    assert_eq!(world.api(Method::Delete, &path, &Value::Null).0, 204);
    assert_eq!(asked(&world, BEARER), [(Method::Delete, webhook, ids)]);
}

#[test]
fn a_webhook_that_jira_refuses_in_a_good_reply_is_a_failure() {
    let world = World::new();
    let connection = jira(&world);
    world.net.once(JIRA, |_| {
        json_reply(
            200,
            json!({"webhookRegistrationResult": [{"errors": ["The clause `watchCount` is unsupported"]}]}),
        )
    });

    let made = subscribe(
        &world,
        json!({"connection_id": connection, "subscription": "webhook",
               "inputs": {"jql": "watchCount > 1", "events": ["jira:issue_created"]}}),
    );

    assert_eq!(
        (&made["service_id"], &made["failures"]),
        (&Value::Null, &json!(1)),
        "{made}"
    );
    assert_eq!(made["last_error"]["code"], "UPSTREAM_ERROR", "{made}");
}

#[test]
fn change_notifications_of_microsoft_graph() {
    let world = World::new();
    let connection = graph(&world, json!({"webhook_secret": "test-client-state"}));
    world.net.once(GRAPH, |request| {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        json_reply(
            201,
            json!({"id": "sub-1", "expirationDateTime": asked["expirationDateTime"]}),
        )
    });

    let made = subscribe(
        &world,
        json!({"connection_id": connection, "subscription": "changes",
               "inputs": {"resource": "me/mailFolders('Inbox')/messages", "change_type": "created"}}),
    );

    assert_eq!(made["service_id"], "sub-1", "{made}");
    let to = format!("https://hub.example.com/api/integration/microsoft-graph/events/{connection}");
    let wanted = json!({"changeType": "created", "notificationUrl": to, "resource": "me/mailFolders('Inbox')/messages",
                        "clientState": "test-client-state"});
    assert_eq!(asked_until(&world, 70 * HOUR), (Method::Post, GRAPH.to_owned(), wanted));

    let one = format!("{GRAPH}/sub-1");
    tick_after(&world, 34 * HOUR);
    assert_eq!(asked(&world, BEARER), []);
    let end = Timestamp(world.machine.now.get() + 71 * HOUR).rfc3339();
    let answered = end.clone();
    world.net.once(&one, move |_| {
        json_reply(200, json!({"id": "sub-1", "expirationDateTime": answered}))
    });
    tick_after(&world, HOUR);
    assert_eq!(asked_until(&world, 70 * HOUR), (Method::Patch, one.clone(), json!({})));
    let (path, shown) = subscription(&world, &made);
    assert_eq!(shown["expires_at"], end, "{shown}");

    // What Graph has forgotten is made anew.
    world.net.once(&one, |_| {
        json_reply(404, json!({"error": {"code": "ResourceNotFound"}}))
    });
    world.net.on(Method::Post, GRAPH, |_| {
        json_reply(
            201,
            json!({"id": "sub-2", "expirationDateTime": "2099-01-01T00:00:00Z"}),
        )
    });
    tick_after(&world, 2 * DAY);
    let steps: Vec<(Method, String)> = asked(&world, BEARER).into_iter().map(|(m, url, _)| (m, url)).collect();
    assert_eq!(steps, [(Method::Patch, one), (Method::Post, GRAPH.to_owned())]);
    assert_eq!(subscription(&world, &made).1["service_id"], "sub-2");
    assert_eq!(lost(&world), 1);

    world.net.once(GRAPH, |_| Ok(Response::empty(204)));
    assert_eq!(world.api(Method::Delete, &path, &Value::Null).0, 204);
    assert_eq!(
        asked(&world, BEARER),
        [(Method::Delete, format!("{GRAPH}/sub-2"), Value::Null)]
    );
}

#[test]
fn a_watch_of_gmail() {
    let world = World::new();
    let connection = gmail(&world);
    let watch = format!("{GMAIL}/watch");
    let week = |world: &World| {
        let end = (world.machine.now.get() + 7 * DAY).to_string();
        world.net.once(&watch, move |_| {
            json_reply(200, json!({"historyId": "7", "expiration": end}))
        });
    };
    week(&world);

    let made = subscribe(
        &world,
        json!({"connection_id": connection, "subscription": "watch",
               "inputs": {"topic": "projects/p/topics/t", "labels": ["INBOX"]}}),
    );

    let wanted = json!({"topicName": "projects/p/topics/t", "labelIds": ["INBOX"]});
    assert_eq!(asked(&world, BEARER), [(Method::Post, watch.clone(), wanted.clone())]);
    assert_eq!(
        (&made["failures"], &made["last_error"]),
        (&json!(0), &Value::Null),
        "{made}"
    );

    // Gmail has no way to renew: the same once more does it.
    tick_after(&world, 3 * DAY);
    assert_eq!(asked(&world, BEARER), []);
    week(&world);
    tick_after(&world, 12 * HOUR);
    assert_eq!(asked(&world, BEARER), [(Method::Post, watch.clone(), wanted)]);

    let (path, _) = subscription(&world, &made);
    world.net.once(&format!("{GMAIL}/stop"), |_| Ok(Response::empty(204)));
    assert_eq!(world.api(Method::Delete, &path, &Value::Null).0, 204);
    assert_eq!(
        asked(&world, BEARER),
        [(Method::Post, format!("{GMAIL}/stop"), Value::Null)]
    );
}

#[test]
fn a_subscription_whose_deliveries_could_not_be_verified_is_refused() {
    let world = World::new();
    let connection = graph(&world, json!({}));

    let (status, problem) = world.api(
        Method::Post,
        "/api/v1/subscriptions",
        &json!({"connection_id": connection, "subscription": "changes",
                "inputs": {"resource": "me/events", "change_type": "created"}}),
    );

    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (400, &json!("/connection_id")),
        "{problem}"
    );
    assert_eq!(asked(&world, BEARER), []);
}

#[test]
fn what_asks_with_a_connection_goes_with_it() {
    let world = World::new();
    let connection = gmail(&world);
    let body = json!({"connection_id": connection, "trigger": "new_messages"});
    let (status, made) = world.api(Method::Post, "/api/v1/polls", &body);
    assert_eq!(status, 201, "{made}");
    world.net.on(Method::Post, "https://oauth2.googleapis.com/revoke", |_| {
        json_reply(200, json!({}))
    });

    let path = format!("/api/v1/connections/{connection}");
    assert_eq!(world.api(Method::Delete, &path, &Value::Null).0, 204);

    let path = format!("/api/v1/polls/{}", made["id"].as_str().unwrap());
    assert_eq!(world.api(Method::Get, &path, &Value::Null).0, 404);
}

/// A connection by settings.
fn by_settings(world: &World, service: &str, config: Value) -> String {
    let body = json!({"integration": service, "auth": "fields", "config": config});
    let (status, made) = world.api(Method::Post, "/api/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// A list that is polled, and its first request as the service documents it.
struct Asked {
    trigger: &'static str,
    inputs: Value,
    connection: String,
    authorization: &'static str,
    method: Method,
    url: String,
    json: Option<Value>,
    reply: Value,
}

#[test]
fn each_list_is_asked_with_the_account_of_its_poll() {
    let world = World::new();
    let cases = [
        Asked {
            trigger: "events",
            inputs: json!({}),
            connection: by_settings(&world, "stripe", json!({"secret_key": "test-key"})),
            authorization: "Bearer test-key",
            method: Method::Get,
            url: "https://api.stripe.com/v1/events?limit=100".to_owned(),
            json: None,
            reply: json!({"object": "list", "data": [], "has_more": false}),
        },
        Asked {
            trigger: "issues",
            inputs: json!({}),
            connection: by_settings(&world, "linear", json!({"api_key": "test-key"})),
            authorization: "test-key",
            method: Method::Post,
            url: "https://api.linear.app/graphql".to_owned(),
            json: None,
            reply: json!({"data": {"issues": {"nodes": [], "pageInfo": {"hasNextPage": false, "endCursor": null}}}}),
        },
        Asked {
            trigger: "issues",
            inputs: json!({"jql": "project = ENG", "fields": ["summary"]}),
            connection: jira(&world),
            authorization: BEARER,
            method: Method::Post,
            url: format!("{JIRA}/rest/api/3/search/jql"),
            json: Some(
                json!({"jql": "(project = ENG) ORDER BY updated DESC", "fields": ["summary", "updated"], "maxResults": 100}),
            ),
            reply: json!({"issues": [], "isLast": true}),
        },
        Asked {
            trigger: "events",
            inputs: json!({"calendar": "primary"}),
            connection: by_settings(&world, "google-calendar", json!({"access_token": "test-access"})),
            authorization: BEARER,
            method: Method::Get,
            url: "https://www.googleapis.com/calendar/v3/calendars/primary/events?maxResults=250&showDeleted=true"
                .to_owned(),
            json: None,
            reply: json!({"items": [], "nextSyncToken": "s"}),
        },
        Asked {
            trigger: "new_messages",
            inputs: json!({"label": "INBOX"}),
            connection: gmail(&world),
            authorization: BEARER,
            method: Method::Get,
            url: format!("{GMAIL}/profile"),
            json: None,
            reply: json!({"emailAddress": "mona@example.com", "historyId": "9"}),
        },
    ];
    for case in cases {
        world.net.sent.borrow_mut().clear();
        let body = json!({"connection_id": case.connection, "trigger": case.trigger, "inputs": case.inputs});
        let (status, made) = world.api(Method::Post, "/api/v1/polls", &body);
        assert_eq!(status, 201, "{made}");
        let reply = case.reply;
        world.net.once(&case.url, move |_| json_reply(200, reply.clone()));
        let path = format!("/api/v1/polls/{}/run", made["id"].as_str().unwrap());

        let (status, ran) = world.api(Method::Post, &path, &json!({}));

        assert_eq!((status, &ran["last_error"]), (200, &Value::Null), "{ran}");
        let mut sent = asked(&world, case.authorization);
        assert_eq!(sent.len(), 1, "{sent:?}");
        let (method, url, json) = sent.remove(0);
        assert_eq!((method, url), (case.method, case.url));
        if let Some(wanted) = case.json {
            assert_eq!(json, wanted);
        }
        world.wait(MINUTE);
    }
}

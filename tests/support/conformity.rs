//! Whether what the hub answers is what its OpenAPI document says: asked after every request of every test.

#![expect(clippy::indexing_slicing, reason = "a `Value` without the member is null")]

use jsonschema::Validator;
use patchbay::api::route;
use patchbay::http::{Head, Response};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = std::fs::read_to_string("schemas/openapi.json").unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    close(&mut document["components"]["schemas"]);
    document
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

/// In a test an undescribed member is a mistake, though programs should let it pass.
fn close(schema: &mut Value) {
    if let Value::Object(members) = schema {
        if members.get("properties").is_some_and(Value::is_object) && !members.contains_key("additionalProperties") {
            members.insert("additionalProperties".into(), json!(false));
        }
        members.values_mut().for_each(close);
    }
}

/// Fails the test if the reply is not as described.
pub fn check(head: &Head, response: &Response) {
    let Ok(matched) = route::find(head.method, &head.path) else {
        return;
    };
    let method = head.method.as_str().to_ascii_lowercase();
    let operation = &DOCUMENT["paths"][matched.route.pattern][&method];
    let replies = &operation["responses"];
    if operation.is_null() {
        return;
    }
    let is_problem = response.headers.get("content-type") == Some("application/problem+json");
    if !replies["default"].is_null() && !is_problem {
        return;
    }
    let place = format!("{} {}", head.method.as_str(), matched.route.pattern);
    let status = response.status.to_string();
    let mut reply = &replies[&status];
    if let Some(target) = reply["$ref"].as_str() {
        reply = DOCUMENT.pointer(&target[1..]).unwrap();
    }
    let text = String::from_utf8_lossy(&response.body);
    assert!(!reply.is_null(), "{place} is not described to answer {status}: {text}");
    let media = response.headers.get("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default();
    let content = &reply["content"];
    assert!(
        content.is_null() == response.body.is_empty(),
        "{place}, {status}: a body is described, or there, but not both: {text}"
    );
    if content.is_null() || !media.ends_with("json") {
        return;
    }
    let schema = &content[media]["schema"];
    assert!(
        !schema.is_null(),
        "{place}, {status}: the media type {media} is not described"
    );
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    let mut validators = VALIDATORS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let validator = validators.entry(format!("{place} {status}")).or_insert_with(|| {
        let whole = json!({"allOf": [schema], "components": DOCUMENT["components"]});
        jsonschema::validator_for(&whole).unwrap()
    });
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{place}, {status} is not as described in openapi/: {errors:#?} {body:#}"
    );
}

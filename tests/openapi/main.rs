//! `schemas/openapi.json` is what the routes' table and the descriptions in `openapi/` say.
//! `UPDATE=1 cargo test --test openapi` writes it anew.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod document;

use document::Descriptions;
use patchbay::api::route::{self, Access};
use patchbay::http::Method;
use serde_json::{Value, json};

const FILE: &str = "schemas/openapi.json";

#[test]
fn every_route_is_described_and_nothing_else() {
    assert_eq!(Descriptions::read().disagreements(), Vec::<String>::new());
}

#[test]
fn the_published_document_is_up_to_date() {
    let text = serde_json::to_string_pretty(&Descriptions::read().document()).unwrap() + "\n";

    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }

    let published = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(published == text, "run UPDATE=1 cargo test --test openapi");
}

#[test]
fn the_router_knows_every_operation_of_the_document_and_who_may_call_it() {
    let document = Descriptions::read().document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = Method::parse(&method.to_ascii_uppercase()).unwrap();
            let target: Vec<&str> = path
                .split('/')
                .map(|p| if p.starts_with('{') { "x" } else { p })
                .collect();
            let target = target.join("/");
            let found = route::find(method, &target).unwrap_or_else(|e| panic!("{path}: {e}"));
            let id = &operation["operationId"];
            assert_eq!(found.route.pattern, path, "another route answers in place of {id}");
            let scopes: Vec<&Value> = operation["security"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|way| way.get("key"))
                .collect();
            match found.route.access {
                Access::Needs(scope) => assert_eq!(scopes, [&json!([scope.as_str()])], "{id}"),
                Access::Open => assert!(scopes.is_empty(), "{id}"),
            }
        }
    }
}

#[test]
fn examples_fit_their_schemas_and_references_lead_somewhere() {
    let document = Descriptions::read().document();
    let mut examples = Vec::new();
    collect(&document, &mut examples, &document);
    assert!(examples.len() > 10, "there are examples");
    for (schema, example) in examples {
        let whole = json!({"allOf": [schema], "components": document["components"]});
        let validator = jsonschema::validator_for(&whole).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&example)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{example} {errors:#?}");
    }
}

/// Every schema with an example, and a check of every reference on the way.
fn collect(value: &Value, examples: &mut Vec<(Value, Value)>, document: &Value) {
    if let Some(target) = value.get("$ref").and_then(Value::as_str) {
        assert!(document.pointer(&target[1..]).is_some(), "{target} leads nowhere");
    }
    if let (Some(schema), Some(example)) = (value.get("schema"), value.get("example")) {
        examples.push((schema.clone(), example.clone()));
    }
    if let Some(all) = value.get("examples").and_then(Value::as_array) {
        examples.extend(all.iter().map(|example| (value.clone(), example.clone())));
    }
    match value {
        Value::Object(members) => members.values().for_each(|v| collect(v, examples, document)),
        Value::Array(items) => items.iter().for_each(|v| collect(v, examples, document)),
        _ => {}
    }
}

#[test]
fn operation_ids_are_unique() {
    let document = Descriptions::read().document();
    let mut ids: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|p| p.as_object().unwrap().values())
        .map(|o| &o["operationId"])
        .collect();
    let all = ids.len();
    ids.sort_by_key(|id| id.to_string());
    ids.dedup();
    assert_eq!(ids.len(), all);
}

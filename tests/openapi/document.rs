//! The OpenAPI document, from the routes' table and the descriptions in `openapi/`.
//!
//! The table says what exists, who may call it and where; a description says what it is for and what goes in and out.
//! What all routes of a kind have in common (problems, paging, keys, headers) is added here, once.

use patchbay::api::route::{Access, Entry, ROUTES};
use patchbay::error::Code;
use patchbay::http::Method;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The folder of the descriptions.
const FOLDER: &str = "openapi";

/// Everything in `openapi/`.
pub struct Descriptions {
    base: Value,
    /// File name and content, sorted.
    topics: BTreeMap<String, Value>,
}

impl Descriptions {
    pub fn read() -> Self {
        let mut topics = BTreeMap::new();
        for file in std::fs::read_dir(FOLDER).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.extension().is_some_and(|e| e == "json") {
                let topic = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                topics.insert(name, topic);
            }
        }
        let base = topics.remove("base").expect("openapi/base.json");
        Self { base, topics }
    }

    /// The names of all described routes, with their topic and description.
    fn routes(&self) -> BTreeMap<&str, (&Value, &Value)> {
        let mut all = BTreeMap::new();
        for topic in self.topics.values() {
            for (name, route) in topic["routes"].as_object().expect("`routes` of a topic") {
                assert!(
                    all.insert(name.as_str(), (topic, route)).is_none(),
                    "`{name}` is described twice"
                );
            }
        }
        all
    }

    /// Names of descriptions that fit no line of the table, and lines that none fits.
    pub fn disagreements(&self) -> Vec<String> {
        let described = self.routes();
        let mut wrong: BTreeSet<String> = described.keys().map(|name| format!("no route is `{name}`")).collect();
        for entry in ROUTES {
            match names(entry).iter().find(|name| described.contains_key(name.as_str())) {
                Some(name) => wrong.remove(&format!("no route is `{name}`")),
                None => wrong.insert(format!("openapi/ does not describe {}", names(entry).join(" or "))),
            };
        }
        // Which methods a delivery comes with is for manifests to say: the table has POST alone.
        wrong.retain(|w| {
            let handshake = w.strip_prefix("no route is `GET ").and_then(|w| w.strip_suffix('`'));
            !handshake.is_some_and(|path| ROUTES.iter().any(|e| e.method == Method::Post && e.pattern == path))
        });
        wrong.into_iter().collect()
    }

    /// The whole document.
    pub fn document(&self) -> Value {
        let mut builder = Builder::default();
        let schemas = self.schemas();
        for (name, (topic, route)) in self.routes() {
            if let Some((method, path, access)) = place(name) {
                builder.add(name, topic, route, method, path, access);
            }
        }
        let mut named: Map<String, Value> = Map::new();
        for (name, schema) in &schemas {
            named.insert(name.clone(), expand(&flattened(schema, &schemas)));
        }
        for (item, schema) in builder.pages {
            named.insert(format!("{item}Page"), schema);
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Patchbay",
                "version": env!("CARGO_PKG_VERSION"),
                "description": self.base["description"],
                "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
            },
            "servers": [{"url": "/"}],
            "tags": self.tags(),
            "paths": builder.paths,
            "components": {
                "securitySchemes": {
                    "key": {
                        "type": "http", "scheme": "bearer",
                        "description": "The admin token of the settings, or a key with the scope that the operation names.",
                    },
                    "callback": {
                        "type": "http", "scheme": "bearer",
                        "description": "The token of a conversation, from the message that asked the agent.",
                    },
                },
                "parameters": {
                    "limit": {
                        "name": "limit", "in": "query", "description": "Rows of a page.",
                        "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
                    },
                    "cursor": {
                        "name": "cursor", "in": "query", "schema": {"type": "string"},
                        "description": "The `next_cursor` of the page before, of the same list with the same filters.",
                    },
                    "idempotencyKey": {
                        "name": "Idempotency-Key", "in": "header",
                        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                        "description": "Makes the request safe to repeat: the same key with the same body gives the stored \
                                        reply for 24 hours.",
                    },
                },
                "headers": {
                    "TraceId": {
                        "description": "The request's trace id (W3C Trace Context); that of a valid `traceparent`.",
                        "schema": expand(&json!("trace")),
                    },
                    "RetryAfter": {"description": "Seconds.", "schema": {"type": "integer"}},
                    "Replayed": {
                        "description": "The reply is the stored one of an earlier request.",
                        "schema": {"const": "true"},
                    },
                },
                "responses": builder.responses,
                "schemas": named,
            },
        })
    }

    fn schemas(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for topic in self.topics.values().chain([&self.base]) {
            let examples = &topic["examples"];
            for (name, schema) in topic["schemas"].as_object().into_iter().flatten() {
                let mut schema = schema.clone();
                if let Some(example) = examples.get(name) {
                    schema["examples"] = json!([example]);
                }
                assert!(all.insert(name.clone(), schema).is_none(), "`{name}` is there twice");
            }
        }
        all
    }

    fn tags(&self) -> Vec<Value> {
        let description = |name: &Value| {
            let topic = self.topics.values().find(|t| t["tag"] == *name);
            topic.unwrap_or_else(|| panic!("no topic has the tag {name}"))["description"].clone()
        };
        let names = self.base["tags"].as_array().expect("tags");
        for topic in self.topics.values() {
            assert!(
                names.contains(&topic["tag"]),
                "openapi/base.json lacks the tag {}",
                topic["tag"]
            );
        }
        names
            .iter()
            .map(|name| json!({"name": name, "description": description(name)}))
            .collect()
    }
}

/// What a line of the table can be described as: its place, where several lines do the same, or what it does.
fn names(entry: &Entry) -> [String; 2] {
    let place = format!("{} {}", entry.method.as_str(), entry.pattern);
    [place, format!("{:?}", entry.name)]
}

fn place(name: &str) -> Option<(Method, &str, Access)> {
    if let Some((method, path)) = name.split_once(' ') {
        let method = Method::parse(method)?;
        let at = |own: &&Entry| own.pattern == path;
        // Of the methods that a delivery comes with the table has POST alone.
        let entry = ROUTES.iter().find(|e| at(e) && e.method == method);
        let entry = entry.or_else(|| ROUTES.iter().find(at))?;
        return Some((method, path, entry.access));
    }
    let entry = ROUTES.iter().find(|e| format!("{:?}", e.name) == name)?;
    Some((entry.method, entry.pattern, entry.access))
}

#[derive(Default)]
struct Builder {
    paths: BTreeMap<String, Map<String, Value>>,
    responses: BTreeMap<String, Value>,
    pages: BTreeMap<String, Value>,
}

impl Builder {
    fn add(&mut self, name: &str, topic: &Value, route: &Value, method: Method, path: &str, access: Access) {
        let mut operation = Map::new();
        let id = route["id"].as_str().map_or_else(|| camel(name), str::to_owned);
        operation.insert("operationId".into(), json!(id));
        operation.insert("tags".into(), json!([topic["tag"]]));
        for member in ["summary", "description"] {
            if let Some(text) = route.get(member) {
                operation.insert(member.into(), text.clone());
            }
        }
        operation.insert("security".into(), security(route, access));
        let parameters = self.parameters(topic, route, method, path, access);
        if !parameters.is_empty() {
            operation.insert("parameters".into(), json!(parameters));
        }
        if let Some(body) = route.get("body") {
            let mut content = json!({"schema": expand(body)});
            if let Some(example) = route.get("example") {
                content["example"] = example.clone();
            }
            let required = route.get("body_optional").is_none();
            operation.insert(
                "requestBody".into(),
                json!({"required": required, "content": {"application/json": content}}),
            );
        }
        operation.insert("responses".into(), self.replies(route, method, path, access));
        let at = self.paths.entry(path.to_owned()).or_default();
        at.insert(method.as_str().to_ascii_lowercase(), Value::Object(operation));
    }

    fn parameters(&mut self, topic: &Value, route: &Value, method: Method, path: &str, access: Access) -> Vec<Value> {
        let mut all = Vec::new();
        for part in path.split('/') {
            let Some(name) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
                continue;
            };
            let own = route["params"].get(name).or_else(|| topic["params"].get(name));
            let own = own.unwrap_or_else(|| panic!("{path}: `params` lacks `{name}`"));
            all.push(parameter(name, "path", own));
        }
        for (name, schema) in route["query"].as_object().into_iter().flatten() {
            all.push(parameter(name, "query", schema));
        }
        if let Some(item) = route["list"].as_str() {
            all.push(json!({"$ref": "#/components/parameters/limit"}));
            all.push(json!({"$ref": "#/components/parameters/cursor"}));
            self.page(item);
        }
        if is_repeatable(method, path, access) {
            all.push(json!({"$ref": "#/components/parameters/idempotencyKey"}));
        }
        all
    }

    fn page(&mut self, item: &str) {
        let schema = json!({
            "type": "object",
            "required": ["data", "next_cursor"],
            "properties": {
                "data": {"type": "array", "items": {"$ref": format!("#/components/schemas/{item}")}},
                "next_cursor": {"type": ["string", "null"], "description": "Null at the end."},
            },
        });
        self.pages.insert(item.to_owned(), schema);
    }

    fn replies(&mut self, route: &Value, method: Method, path: &str, access: Access) -> Value {
        let mut replies = Map::new();
        if let Some(item) = route["list"].as_str() {
            replies.insert(
                "200".into(),
                reply(&json!(["A page, newest first.", format!("{item}Page")])),
            );
        }
        if let Some(item) = route["all"].as_str() {
            replies.insert("200".into(), reply(&json!(["All of them.", format!("{item}Page")])));
            self.page(item);
        }
        if route["delivery"] == json!(true) {
            replies.insert("202".into(), reply(&json!(["It is stored.", "Accepted"])));
            let any = "What the service's protocol wants: the reply to a handshake, or its own acknowledgement.";
            replies.insert("default".into(), json!({"description": any}));
            let refused = "It is not proved to come from the service: what its protocol wants then, or a problem.";
            let mut refusal = reply(&json!([refused]));
            refusal["content"]["*/*"] = json!({});
            replies.insert("401".into(), refusal);
        }
        for (status, own) in route["replies"].as_object().into_iter().flatten() {
            let mut own = reply(own);
            if is_repeatable(method, path, access) {
                own["headers"]["Idempotency-Replayed"] = json!({"$ref": "#/components/headers/Replayed"});
            }
            replies.insert(status.clone(), own);
        }
        if path.starts_with("/api/v1/integrations/{name}") {
            // Which integration takes which inputs stands in the manifests, not here.
            for reply in replies.values_mut() {
                reply["x-schemas-of-actions"] = json!("/api/v1/integrations/{name}");
            }
        }
        let mut problems: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in problems_of(route, method, path, access) {
            problems.entry(code.status()).or_default().push(code);
        }
        for (status, codes) in problems {
            // A page for people, or a problem where the router answers before the route.
            if let Some(page) = replies.get_mut(&status.to_string()) {
                page["content"]["application/problem+json"] =
                    json!({"schema": {"$ref": "#/components/schemas/Problem"}});
                continue;
            }
            let name = self.problem(status, &codes);
            replies.insert(
                status.to_string(),
                json!({"$ref": format!("#/components/responses/{name}")}),
            );
        }
        Value::Object(replies)
    }

    /// The reply of a status for these codes, by its name among the components.
    fn problem(&mut self, status: u16, codes: &[Code]) -> String {
        let names: Vec<&str> = codes.iter().map(|c| c.as_str()).collect();
        let name = names.join("_or_");
        let titles: Vec<String> = codes
            .iter()
            .map(|c| format!("`{}`: {}.", c.as_str(), c.title()))
            .collect();
        let mut response = json!({
            "description": titles.join(" "),
            "headers": {"X-Trace-Id": {"$ref": "#/components/headers/TraceId"}},
            "content": {"application/problem+json": {"schema": {
                "allOf": [{"$ref": "#/components/schemas/Problem"}],
                "properties": {"code": {"enum": names}, "status": {"const": status}},
            }}},
        });
        if codes.iter().any(|c| c.retries()) {
            response["headers"]["Retry-After"] = json!({"$ref": "#/components/headers/RetryAfter"});
        }
        self.responses.insert(name.clone(), response);
        name
    }
}

/// The problems that a route can answer: its own, and those of its kind.
fn problems_of(route: &Value, method: Method, path: &str, access: Access) -> BTreeSet<Code> {
    let mut codes = BTreeSet::new();
    let named = |name: &str| Code::named(name).unwrap_or_else(|| panic!("there is no problem `{name}`"));
    for name in route["problems"].as_array().into_iter().flatten() {
        codes.insert(named(name.as_str().expect("a code")));
    }
    if route["delivery"] == json!(true) {
        codes.extend([
            Code::IntegrationNotFound,
            Code::NotFound,
            Code::MethodNotAllowed,
            Code::SignatureInvalid,
            Code::PayloadTooLarge,
            Code::RateLimit,
            Code::Temporary,
            Code::Internal,
        ]);
        return codes;
    }
    codes.insert(Code::Internal);
    if matches!(access, Access::Needs(_)) {
        codes.extend([Code::Authentication, Code::Forbidden, Code::RateLimit, Code::Temporary]);
    }
    if route["security"] == json!("callback") {
        codes.extend([Code::Authentication, Code::Temporary]);
    }
    if path.contains('{') {
        codes.insert(Code::NotFound);
    }
    if route.get("list").is_some() || route.get("query").is_some() {
        codes.insert(Code::Validation);
    }
    if route.get("body").is_some() {
        codes.extend([Code::Validation, Code::PayloadTooLarge, Code::UnsupportedMediaType]);
    }
    if is_repeatable(method, path, access) {
        codes.extend([
            Code::Validation,
            Code::Conflict,
            Code::IdempotencyInProgress,
            Code::PayloadTooLarge,
        ]);
    }
    codes
}

/// Whether the route honours `Idempotency-Key`.
fn is_repeatable(method: Method, path: &str, access: Access) -> bool {
    method == Method::Post && path.starts_with("/api/v1/") && (access != Access::Open || path == "/api/v1/webhooks")
}

fn security(route: &Value, access: Access) -> Value {
    match access {
        Access::Needs(scope) => json!([{"key": [scope.as_str()]}]),
        Access::Open if route["security"].is_string() => json!([{route["security"].as_str().unwrap(): []}]),
        Access::Open => json!([]),
    }
}

fn parameter(name: &str, place: &str, schema: &Value) -> Value {
    let mut schema = expand(schema);
    let mut parameter = json!({"name": name, "in": place});
    if place == "path" {
        parameter["required"] = json!(true);
    }
    if let Some(description) = schema.as_object_mut().and_then(|s| s.remove("description")) {
        parameter["description"] = description;
    }
    parameter["schema"] = schema;
    parameter
}

/// `[description, schema, media type]`, the last two where there is a body, the last where it is not JSON.
fn reply(own: &Value) -> Value {
    let mut reply = json!({
        "description": own[0],
        "headers": {"X-Trace-Id": {"$ref": "#/components/headers/TraceId"}},
    });
    if let Some(schema) = own.get(1) {
        let media = own.get(2).and_then(Value::as_str).unwrap_or("application/json");
        reply["content"] = json!({media: {"schema": expand(schema)}});
    }
    reply
}

/// A schema with the members of the one that it `extends`.
fn flattened(schema: &Value, all: &BTreeMap<String, Value>) -> Value {
    let Some(parent) = schema["extends"].as_str() else {
        return schema.clone();
    };
    let mut whole = flattened(all.get(parent).unwrap_or_else(|| panic!("no schema `{parent}`")), all);
    whole.as_object_mut().unwrap().remove("examples");
    for (member, own) in schema.as_object().unwrap() {
        match (member.as_str(), own) {
            ("extends", _) => {}
            ("properties", own) => {
                let into = whole["properties"].as_object_mut().unwrap();
                into.extend(own.as_object().unwrap().clone());
            }
            ("optional", own) => {
                let mut optional = whole["optional"].as_array().cloned().unwrap_or_default();
                optional.extend(own.as_array().unwrap().iter().cloned());
                whole["optional"] = json!(optional);
            }
            (_, own) => whole[member] = own.clone(),
        }
    }
    whole
}

/// JSON Schema from the short forms of the descriptions: a name for a type, a name with what it means in a list. An
/// object that says neither `required` nor `additionalProperties` is one that the hub writes: it has all its members,
/// but for those in `optional`.
pub fn expand(short: &Value) -> Value {
    match short {
        Value::String(name) => named(name),
        Value::Array(pair) => {
            let mut schema = expand(&pair[0]);
            schema["description"] = pair[1].clone();
            schema
        }
        Value::Object(members) => {
            let mut schema = Map::new();
            for (member, value) in members {
                let value = match member.as_str() {
                    "optional" => continue,
                    "properties" => {
                        let all = value.as_object().expect("properties").iter();
                        Value::Object(all.map(|(name, p)| (name.clone(), expand(p))).collect())
                    }
                    "items" => expand(value),
                    "additionalProperties" if value.is_object() => expand(value),
                    "anyOf" | "oneOf" => value.as_array().expect("schemas").iter().map(expand).collect(),
                    "$ref" => json!(format!("#/components/schemas/{}", value.as_str().expect("a name"))),
                    _ => value.clone(),
                };
                schema.insert(member.clone(), value);
            }
            let written = !members.contains_key("required") && !members.contains_key("additionalProperties");
            if let Some(properties) = members.get("properties").filter(|_| written) {
                let optional = members.get("optional").and_then(Value::as_array);
                let there = |name: &&String| !optional.is_some_and(|o| o.contains(&json!(name)));
                let required: Vec<&String> = properties.as_object().unwrap().keys().filter(there).collect();
                schema.insert("required".into(), json!(required));
            }
            Value::Object(schema)
        }
        other => other.clone(),
    }
}

fn named(name: &str) -> Value {
    if let Some(of) = name.strip_suffix('?') {
        let mut schema = named(of);
        let Some(kind) = schema["type"].as_str().map(str::to_owned) else {
            return json!({"anyOf": [schema, {"type": "null"}]});
        };
        schema["type"] = json!([kind, "null"]);
        return schema;
    }
    if let Some(item) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return json!({"type": "array", "items": named(item)});
    }
    if let Some(prefix) = name.strip_prefix("id:") {
        return json!({"type": "string", "pattern": format!("^{prefix}_[0-9A-Z]{{26}}$")});
    }
    match name {
        "string" => json!({"type": "string"}),
        "name" => json!({"type": "string", "minLength": 1, "maxLength": 200, "pattern": "\\S"}),
        "int" => json!({"type": "integer"}),
        "bool" => json!({"type": "boolean"}),
        "object" => json!({"type": "object"}),
        "any" => json!({}),
        "time" => json!({"type": "string", "format": "date-time"}),
        "trace" => json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
        "binary" => json!({"type": "string", "format": "binary"}),
        schema if schema.starts_with(|c: char| c.is_ascii_uppercase()) => {
            json!({"$ref": format!("#/components/schemas/{schema}")})
        }
        other => panic!("there is no short form `{other}`"),
    }
}

/// `CreateKey` is `createKey`.
fn camel(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

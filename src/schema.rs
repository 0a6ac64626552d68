//! JSON Schema: what Draft 7 and 2020-12 have in common, checked as it stands.
//!
//! A general validator would be a third of the program, and spend most of a request's time on compiling; this one walks
//! the schema. A keyword that it does not know would be a check that silently does not happen: [`check`] refuses such
//! schemas, those of built-in manifests in the tests, those of posted ones when they are posted.

use crate::time::Timestamp;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How deep schemas and references are followed.
const MAX_DEPTH: usize = 64;

/// How often a schema is laid on a value at most: a reference can name itself twice, and so twice as often at each depth. A reply
/// of 10 MiB needs about a million.
const MAX_VISITS: u32 = 2_000_000;

/// Most violations that are reported.
const MAX_ERRORS: usize = 50;

/// Keywords that check something here.
const CHECKED: [&str; 35] = [
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "format",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "$defs",
    "definitions",
];

/// Keywords that check something in a full validator, and nothing here.
const UNKNOWN: [&str; 12] = [
    "pattern",
    "patternProperties",
    "dependencies",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "minContains",
    "maxContains",
    "$dynamicRef",
    "$recursiveRef",
    "$anchor",
    "$dynamicAnchor",
];

/// One thing that is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer to it.
    pub pointer: String,
    /// What is wrong, without the value itself.
    pub message: String,
}

/// Whether a schema can be checked whole; else why not, with the place in the schema.
pub fn check(schema: &Value) -> Result<(), String> {
    sound(schema, schema, "", 0)
}

/// What is wrong with a value.
pub fn violations(schema: &Value, value: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let left = Cell::new(MAX_VISITS);
    Walk {
        root: schema,
        found: &mut found,
        left: &left,
    }
    .visit(schema, value, "", 0);
    // Whatever was found: not everything was looked at.
    if left.get() == 0 {
        found.push(Violation {
            pointer: String::new(),
            message: "takes too long to check".to_owned(),
        });
    }
    found
}

fn sound(root: &Value, schema: &Value, at: &str, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("`{at}` is nested too deep"));
    }
    let members = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(members) => members,
        _ => return Err(format!("`{at}` is no JSON Schema: it must be an object, true or false")),
    };
    for (keyword, value) in members {
        let at = format!("{at}/{}", escaped(keyword));
        if UNKNOWN.contains(&keyword.as_str()) {
            return Err(format!(
                "`{at}`: the keyword `{keyword}` is not supported in posted definitions"
            ));
        }
        if CHECKED.contains(&keyword.as_str()) {
            keyword_is_sound(root, keyword, value, &at, depth)?;
        }
    }
    Ok(())
}

fn keyword_is_sound(root: &Value, keyword: &str, value: &Value, at: &str, depth: usize) -> Result<(), String> {
    let wrong = || format!("`{at}` is no JSON Schema: `{keyword}` has the wrong type");
    let right = match keyword {
        "type" => type_names(value).is_some_and(|names| names.iter().all(|name| is_type_name(name))),
        "enum" | "allOf" | "anyOf" | "oneOf" | "prefixItems" => value.is_array(),
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "properties" | "$defs" | "definitions" | "dependentRequired" => value.is_object(),
        "minProperties" | "maxProperties" | "minItems" | "maxItems" | "minLength" | "maxLength" => {
            value.as_f64().is_some_and(|n| n >= 0.0)
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
        "multipleOf" => value.as_f64().is_some_and(|n| n > 0.0),
        "uniqueItems" => value.is_boolean(),
        "format" => value.is_string(),
        "$ref" => {
            return match value.as_str().and_then(|target| resolve(root, target)) {
                Some(_) => Ok(()),
                None => Err(format!(
                    "`{at}`: only references within the schema (`#/…`) are followed"
                )),
            };
        }
        _ => true,
    };
    if !right {
        return Err(wrong());
    }
    match (keyword, value) {
        ("properties" | "$defs" | "definitions", Value::Object(all)) => all
            .iter()
            .try_for_each(|(name, one)| sound(root, one, &format!("{at}/{}", escaped(name)), depth + 1)),
        ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(all)) => all
            .iter()
            .enumerate()
            .try_for_each(|(index, one)| sound(root, one, &format!("{at}/{index}"), depth + 1)),
        (
            "additionalProperties"
            | "propertyNames"
            | "items"
            | "additionalItems"
            | "contains"
            | "not"
            | "if"
            | "then"
            | "else",
            one,
        ) => sound(root, one, at, depth + 1),
        _ => Ok(()),
    }
}

struct Walk<'a> {
    root: &'a Value,
    found: &'a mut Vec<Violation>,
    /// How many schemas may still be laid on a value.
    left: &'a Cell<u32>,
}

impl Walk<'_> {
    fn visit(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return self.report(at, "is nested too deep");
        }
        let Some(left) = self.left.get().checked_sub(1) else {
            return;
        };
        self.left.set(left);
        let members = match schema {
            Value::Bool(true) => return,
            Value::Object(members) => members,
            _ => return self.report(at, "is not allowed"),
        };
        if let Some(target) = members.get("$ref").and_then(Value::as_str) {
            match resolve(self.root, target) {
                Some(schema) => self.visit(schema, value, at, depth + 1),
                None => self.report(at, "has a schema that cannot be found"),
            }
        }
        if let Some(names) = members.get("type").and_then(type_names)
            && !names.iter().any(|name| is_of(value, name))
        {
            return self.report(at, format!("is not of type {}", names.join(" or ")));
        }
        if let Some(all) = members.get("enum").and_then(Value::as_array)
            && !all.iter().any(|one| same(one, value))
        {
            self.report(at, "is not one of the allowed values");
        }
        if members.get("const").is_some_and(|only| !same(only, value)) {
            self.report(at, "is not the one allowed value");
        }
        match value {
            Value::Number(number) => self.number(members, number.as_f64().unwrap_or(0.0), at),
            Value::String(text) => self.text(members, text, at),
            Value::Array(items) => self.list(members, items, at, depth),
            Value::Object(object) => self.object(members, object, at, depth),
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(members, value, at, depth);
    }

    fn number(&mut self, schema: &Map<String, Value>, number: f64, at: &str) {
        let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
        if limit("minimum").is_some_and(|least| number < least) {
            self.report(at, "is less than the minimum");
        }
        if limit("maximum").is_some_and(|most| number > most) {
            self.report(at, "is greater than the maximum");
        }
        if limit("exclusiveMinimum").is_some_and(|least| number <= least) {
            self.report(at, "is not greater than the exclusive minimum");
        }
        if limit("exclusiveMaximum").is_some_and(|most| number >= most) {
            self.report(at, "is not less than the exclusive maximum");
        }
        let whole = |step: f64| ((number / step) - (number / step).round()).abs() < 1e-9;
        if limit("multipleOf").is_some_and(|step| !whole(step)) {
            self.report(at, "is not a multiple of what it must be");
        }
    }

    fn text(&mut self, schema: &Map<String, Value>, text: &str, at: &str) {
        let length = text.chars().count();
        self.count(schema, length, ["minLength", "maxLength"], "characters", at);
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && !has_format(text, format)
        {
            self.report(at, format!("is not a `{format}`"));
        }
    }

    fn list(&mut self, schema: &Map<String, Value>, items: &[Value], at: &str, depth: usize) {
        self.count(schema, items.len(), ["minItems", "maxItems"], "items", at);
        // `items` as a list is Draft 7's word for `prefixItems`, `additionalItems` for what comes after.
        let (first, rest) = match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Value::Array(first)), rest) => (first.as_slice(), rest),
            (_, Some(Value::Array(first))) => (first.as_slice(), schema.get("additionalItems")),
            (_, rest) => (&[][..], rest),
        };
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(rest) {
                self.visit(schema, item, &format!("{at}/{index}"), depth + 1);
            }
        }
        if let Some(contained) = schema.get("contains")
            && !items.iter().any(|item| self.fits(contained, item, depth))
        {
            self.report(at, "holds no item that it must hold");
        }
        let repeated = || {
            items
                .iter()
                .enumerate()
                .any(|(index, item)| items.iter().skip(index + 1).any(|other| same(item, other)))
        };
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) && repeated() {
            self.report(at, "holds an item twice");
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, object: &Map<String, Value>, at: &str, depth: usize) {
        self.count(schema, object.len(), ["minProperties", "maxProperties"], "members", at);
        let names = |value: &Value| -> Vec<String> {
            let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        let mut required = schema.get("required").map(names).unwrap_or_default();
        for (name, more) in schema
            .get("dependentRequired")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if object.contains_key(name) {
                required.extend(names(more));
            }
        }
        for name in required.iter().filter(|name| !object.contains_key(*name)) {
            self.report(at, format!("lacks the required member \"{name}\""));
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, member) in object {
            let at = format!("{at}/{}", escaped(name));
            if let Some(rule) = schema.get("propertyNames")
                && !self.fits(rule, &Value::String(name.clone()), depth)
            {
                self.report(&at, "has a name that is not allowed");
            }
            match (properties.and_then(|p| p.get(name)), schema.get("additionalProperties")) {
                (Some(schema), _) => self.visit(schema, member, &at, depth + 1),
                (None, Some(Value::Bool(false))) => self.report(&at, "is not a known member"),
                (None, Some(schema)) => self.visit(schema, member, &at, depth + 1),
                (None, None) => {}
            }
        }
    }

    fn combined(&mut self, schema: &Map<String, Value>, value: &Value, at: &str, depth: usize) {
        let list = |name: &str| schema.get(name).and_then(Value::as_array);
        for one in list("allOf").into_iter().flatten() {
            self.visit(one, value, at, depth + 1);
        }
        if let Some(all) = list("anyOf")
            && !all.iter().any(|one| self.fits(one, value, depth))
        {
            self.report(at, "fits none of the alternatives");
        }
        if let Some(all) = list("oneOf")
            && all.iter().filter(|one| self.fits(one, value, depth)).count() != 1
        {
            self.report(at, "does not fit exactly one of the alternatives");
        }
        if schema.get("not").is_some_and(|one| self.fits(one, value, depth)) {
            self.report(at, "is what it must not be");
        }
        if let Some(condition) = schema.get("if") {
            let branch = if self.fits(condition, value, depth) {
                "then"
            } else {
                "else"
            };
            if let Some(schema) = schema.get(branch) {
                self.visit(schema, value, at, depth + 1);
            }
        }
    }

    fn fits(&self, schema: &Value, value: &Value, depth: usize) -> bool {
        let mut found = Vec::new();
        let mut walk = Walk {
            root: self.root,
            found: &mut found,
            left: self.left,
        };
        walk.visit(schema, value, "", depth + 1);
        found.is_empty()
    }

    fn count(&mut self, schema: &Map<String, Value>, count: usize, [least, most]: [&str; 2], what: &str, at: &str) {
        #[expect(clippy::cast_precision_loss, reason = "no document has 2^53 of anything")]
        let count = count as f64;
        let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
        if limit(least).is_some_and(|least| count < least) {
            self.report(at, format!("has too few {what}"));
        }
        if limit(most).is_some_and(|most| count > most) {
            self.report(at, format!("has too many {what}"));
        }
    }

    fn report(&mut self, at: &str, message: impl Into<String>) {
        if self.found.len() < MAX_ERRORS {
            self.found.push(Violation {
                pointer: at.to_owned(),
                message: message.into(),
            });
        }
    }
}

fn type_names(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(name) => Some(vec![name]),
        Value::Array(names) => names.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn is_type_name(name: &str) -> bool {
    matches!(
        name,
        "null" | "boolean" | "object" | "array" | "number" | "integer" | "string"
    )
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        _ => false,
    }
}

/// Equality of JSON Schema: `1` and `1.0` are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

/// What a reference within the schema means.
fn resolve<'s>(root: &'s Value, target: &str) -> Option<&'s Value> {
    let pointer = target.strip_prefix('#')?;
    let decoded = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
    root.pointer(&decoded)
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Formats that are not known hold for everything, as the specification says.
fn has_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" => Timestamp::parse_rfc3339(text).is_some(),
        "date" => text.len() == 10 && Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).is_some(),
        "time" => Timestamp::parse_rfc3339(&format!("2000-01-01T{text}")).is_some(),
        "email" => is_email(text),
        "uri" | "iri" => is_uri(text),
        "uuid" => is_uuid(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "hostname" => is_hostname(text),
        _ => true,
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~-.".contains(c);
    let dots = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    !local.is_empty() && local.len() <= 64 && dots && local.chars().all(plain) && is_hostname(domain)
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let letter = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let plain = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let printable = |c: char| !c.is_control() && !c.is_whitespace() && !"<>\"{}|\\^`".contains(c);
    letter && plain && !rest.is_empty() && rest.chars().all(printable)
}

fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    let fits = |(part, length): (&&str, usize)| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    parts.len() == lengths.len() && parts.iter().zip(lengths).all(fits)
}

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !label.is_empty() && label.len() <= 63 && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reference_that_doubles_itself_ends() {
        let twice = json!({"$ref": "#/$defs/a"});
        let bomb = json!({"$defs": {"a": {"allOf": [twice, twice]}}, "$ref": "#/$defs/a"});
        let found = violations(&bomb, &json!(1));
        assert!(found.iter().any(|v| v.message == "takes too long to check"));
        let hidden = json!({"$defs": bomb["$defs"], "not": {"$ref": "#/$defs/a"}});
        assert!(!violations(&hidden, &json!(1)).is_empty());
    }

    /// Every case is also asked of a full validator.
    #[test]
    fn it_agrees_with_a_full_validator() {
        let schemas = [
            json!({"type": ["string", "null"], "minLength": 2, "maxLength": 3}),
            json!({"type": "integer", "minimum": 1, "maximum": 5, "multipleOf": 2}),
            json!({"exclusiveMinimum": 1, "exclusiveMaximum": 4}),
            json!({"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"], "additionalProperties": false}),
            json!({"additionalProperties": {"type": "string"}, "propertyNames": {"maxLength": 1}, "minProperties": 1}),
            json!({"items": {"type": "number"}, "minItems": 1, "maxItems": 2, "uniqueItems": true}),
            json!({"prefixItems": [{"type": "number"}], "items": {"type": "string"}, "contains": {"const": "x"}}),
            json!({"anyOf": [{"type": "string"}, {"type": "number", "minimum": 3}]}),
            json!({"oneOf": [{"type": "number"}, {"minimum": 3}]}),
            json!({"not": {"type": "array"}, "enum": ["ab", 2, [1], {"a": 1}, null]}),
            json!({"if": {"type": "number"}, "then": {"minimum": 2}, "else": {"type": "string"}}),
            json!({"$defs": {"n": {"type": "number"}}, "allOf": [{"$ref": "#/$defs/n"}]}),
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"const": {"a": [1.0]}}),
            json!({"format": "date-time"}),
            json!({"format": "email"}),
            json!({"format": "uri"}),
            json!({"format": "uuid"}),
            json!({"format": "ipv4"}),
            json!({"format": "hostname"}),
            json!({"format": "date"}),
            json!(true),
            json!(false),
            json!({}),
        ];
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(1),
            json!(2),
            json!(2.0),
            json!(2.5),
            json!(4),
            json!(7),
            json!(""),
            json!("a"),
            json!("ab"),
            json!("äöü"),
            json!("abcd"),
            json!([]),
            json!([1]),
            json!([1, 1.0]),
            json!([1, 2, 3]),
            json!([1, "x"]),
            json!([1, "y"]),
            json!({}),
            json!({"a": 1}),
            json!({"a": [1]}),
            json!({"a": "x"}),
            json!({"a": 1, "b": 2}),
            json!({"long": "x"}),
            json!("2023-09-01T00:00:00Z"),
            json!("2023-09-31T00:00:00Z"),
            json!("2023-09-01"),
            json!("jane.smith@example.com"),
            json!("nobody"),
            json!("https://example.com/x?y"),
            json!("/relative"),
            json!("00000000-0000-4000-8000-000000000000"),
            json!("127.0.0.1"),
            json!("1.2.3"),
        ];
        for schema in &schemas {
            check(schema).unwrap();
            let full = jsonschema::options()
                .should_validate_formats(true)
                .build(schema)
                .unwrap();
            for value in &values {
                let own = violations(schema, value);
                assert_eq!(own.is_empty(), full.is_valid(value), "{schema} {value} {own:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        for schema in [
            json!({"pattern": "^a"}),
            json!({"properties": {"a": {"patternProperties": {}}}}),
            json!({"type": "text"}),
            json!({"$ref": "https://example.com/x"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"required": "a"}),
            json!({"items": [1]}),
            json!(7),
        ] {
            assert!(check(&schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn a_violation_names_its_place() {
        let schema = json!({"properties": {"a/b": {"items": {"type": "string"}}}, "required": ["c"]});

        let found = violations(&schema, &json!({"a/b": ["x", 1]}));

        let pointers: Vec<&str> = found.iter().map(|v| v.pointer.as_str()).collect();
        assert_eq!(pointers, ["", "/a~1b/1"]);
    }

    #[test]
    fn an_endless_reference_ends() {
        let schema = json!({"$ref": "#"});

        assert!(!violations(&schema, &json!(1)).is_empty());
    }
}

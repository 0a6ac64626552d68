//! The body as JSON. Only asked for after verification, or where the scheme itself stands in the body.

use crate::http::{Headers, form_pairs};
use serde_json::{Map, Value};

/// The body as JSON: JSON itself, or a form. A form's `field` is parsed as JSON if it is there; otherwise the form is
/// an object of its fields, the first of each name. None for what is neither, is not UTF-8, or nests deeper than 128.
pub fn parse(headers: &Headers, body: &[u8], field: Option<&str>) -> Option<Value> {
    if !is_form(headers) {
        return serde_json::from_slice(body).ok();
    }
    let pairs = form_pairs(std::str::from_utf8(body).ok()?);
    if let Some((_, json)) = field.and_then(|field| pairs.iter().find(|(name, _)| name == field)) {
        return serde_json::from_str(json).ok();
    }
    let mut members = Map::new();
    for (name, value) in pairs {
        members.entry(name).or_insert(Value::String(value));
    }
    Some(Value::Object(members))
}

/// Whether the body says that it is a form.
pub fn is_form(headers: &Headers) -> bool {
    let kind = headers.get("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

//! Labels as sets: which ones an event adds.

use serde_json::Value;

/// The names among labels: a text, or a list of texts or of objects with `name` or `title`.
pub fn names(labels: &Value) -> Vec<String> {
    entries(labels).into_iter().filter_map(|label| label.name).collect()
}

/// The names of the labels that are in `now` and not in `before`, compared by id or by name, as far as both have
/// one. Null in the place of `before` means that the event did not change them: none was added.
pub fn added(now: &Value, before: &Value) -> Vec<String> {
    if before.is_null() {
        return Vec::new();
    }
    let before = entries(before);
    let was = |label: &Entry| before.iter().any(|b| b.is(label));
    let new = entries(now).into_iter().filter(|label| !was(label));
    new.filter_map(|label| label.name).collect()
}

struct Entry {
    id: Option<String>,
    name: Option<String>,
}

impl Entry {
    /// A bare text may be the id or the name.
    fn is(&self, other: &Self) -> bool {
        let own = [&self.id, &self.name];
        own.into_iter()
            .flatten()
            .any(|text| Some(text) == other.id.as_ref() || Some(text) == other.name.as_ref())
    }
}

fn entries(labels: &Value) -> Vec<Entry> {
    match labels {
        Value::Array(list) => list.iter().map(entry).collect(),
        Value::Null => Vec::new(),
        one => vec![entry(one)],
    }
}

fn entry(label: &Value) -> Entry {
    let text = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match label {
        Value::Object(_) => Entry {
            id: label.get("id").and_then(text),
            name: label.get("name").or_else(|| label.get("title")).and_then(text),
        },
        other => Entry {
            id: None,
            name: text(other),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_not_there_before_is_added() {
        let bug = json!({"id": 1, "title": "bug"});
        let ours = json!({"id": 2, "title": "patchbay"});
        let cases = [
            (json!("patchbay"), json!(""), &["patchbay"][..]),
            (json!(["bad", "patchbay"]), json!(["bad"]), &["patchbay"]),
            (json!(["bad", "patchbay"]), json!(["bad", "patchbay"]), &[]),
            (json!(["bad"]), json!(["bad", "patchbay"]), &[]),
            (json!([bug, ours]), json!([bug]), &["patchbay"]),
            (json!([bug, ours]), json!([ours]), &["bug"]),
            (json!([{"id": "x", "name": "patchbay"}]), json!([]), &["patchbay"]),
            (json!([{"id": "x", "name": "patchbay"}]), json!(["x"]), &[]),
            (json!([{"id": "x", "name": "patchbay"}]), Value::Null, &[]),
            (Value::Null, json!(["x"]), &[]),
        ];
        for (now, before, expected) in cases {
            assert_eq!(added(&now, &before), expected, "{now} after {before}");
        }
    }

    #[test]
    fn a_label_is_a_text_or_an_object() {
        for labels in [json!("a"), json!(["a"]), json!([{"name": "a"}]), json!({"title": "a"})] {
            assert_eq!(names(&labels), ["a"], "{labels}");
        }
        assert!(names(&Value::Null).is_empty());
    }
}

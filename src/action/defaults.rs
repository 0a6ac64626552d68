//! The defaults of a JSON Schema, put where a value is missing.

use serde_json::Value;

/// How deep schemas are followed.
const MAX_DEPTH: usize = 16;

/// Fills in the `default` of every property that is not there, in nested objects and in the elements of lists too.
/// References and alternatives (`anyOf` …) are not followed: which of them holds is for the validator to say.
pub fn apply(schema: &Value, value: &mut Value) {
    fill(schema, value, 0);
}

fn fill(schema: &Value, value: &mut Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                if let Some(default) = property.get("default")
                    && !members.contains_key(name)
                {
                    members.insert(name.clone(), default.clone());
                }
                if let Some(member) = members.get_mut(name) {
                    fill(property, member, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    fill(schema, item, depth + 1);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_is_filled_in() {
        let schema = json!({"properties": {
            "a": {"default": 1},
            "b": {"properties": {"c": {"default": "x"}}},
            "d": {"items": {"properties": {"e": {"default": true}}}},
            "f": {"properties": {"g": {"default": 1}}, "default": {}},
        }});
        let mut value = json!({"a": null, "b": {}, "d": [{}, {"e": false}]});

        apply(&schema, &mut value);

        let expected = json!({"a": null, "b": {"c": "x"}, "d": [{"e": true}, {"e": false}], "f": {"g": 1}});
        assert_eq!(value, expected);
    }
}

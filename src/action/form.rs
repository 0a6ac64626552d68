//! Bodies that are not JSON: forms with nested members, and multipart.

use crate::error::{Error, Result};
use crate::http::percent_encode;
use crate::manifest::request::{FormLists, Part};
use crate::template::Scope;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// An object as `application/x-www-form-urlencoded`: `a[b]=1`. Null members are left out.
pub fn urlencoded(value: &Value, lists: FormLists) -> Result<String> {
    let Value::Object(members) = value else {
        return Err(Error::validation("a form needs an object"));
    };
    let mut pairs = Vec::new();
    for (name, value) in members {
        flatten(name, value, lists, &mut pairs);
    }
    let encoded: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", form_encode(name), form_encode(value)))
        .collect();
    Ok(encoded.join("&"))
}

fn flatten(name: &str, value: &Value, lists: FormLists, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (key, value) in members {
                flatten(&format!("{name}[{key}]"), value, lists, pairs);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = match lists {
                    FormLists::Indexed => format!("{name}[{index}]"),
                    FormLists::Brackets => format!("{name}[]"),
                    FormLists::Repeated => name.to_owned(),
                };
                flatten(&name, item, lists, pairs);
            }
        }
        Value::String(text) => pairs.push((name.to_owned(), text.clone())),
        other => pairs.push((name.to_owned(), other.to_string())),
    }
}

/// Percent-encoding with the brackets left as services document them; every reader decodes both.
fn form_encode(text: &str) -> String {
    percent_encode(text).replace("%5B", "[").replace("%5D", "]")
}

/// A `multipart/form-data` body (RFC 7578) and its media type. The boundary is made of the content, so that the same
/// parts are the same bytes.
pub fn multipart(parts: &[Part], scope: &Scope) -> Result<(Vec<u8>, String)> {
    let mut rendered = Vec::new();
    let mut digest = Sha256::new();
    for part in parts {
        let value = part.value.value(scope)?;
        if value.is_null() {
            continue;
        }
        let bytes = if part.base64 {
            decoded(value.as_str().unwrap_or_default(), &part.name)?
        } else {
            plain(&value).into_bytes()
        };
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(&part.name));
        if let Some(filename) = &part.filename {
            head.push_str(&format!("; filename=\"{}\"", quoted(&filename.text(scope)?)));
        }
        if let Some(kind) = &part.content_type {
            let kind = kind.text(scope)?;
            if kind.bytes().any(|b| b < b' ' || b == 0x7f) {
                return Err(Error::validation("a media type must hold no control characters"));
            }
            head.push_str(&format!("\r\nContent-Type: {kind}"));
        }
        digest.update(&head);
        digest.update(&bytes);
        rendered.push((head, bytes));
    }
    let boundary: String = hex::encode(digest.finalize()).chars().take(32).collect();
    let mut body = Vec::new();
    for (head, bytes) in rendered {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(&bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((body, format!("multipart/form-data; boundary={boundary}")))
}

/// The bytes of a text in base64; `what` names it in the error.
pub fn decoded(text: &str, what: &str) -> Result<Vec<u8>> {
    STANDARD
        .decode(text)
        .map_err(|_| Error::validation(format!("`{what}` is not base64")))
}

/// A value as the text of a form's field.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As browsers escape names in `Content-Disposition` (WHATWG HTML, multipart/form-data encoding).
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_nest_in_brackets() {
        let value =
            json!({"amount": 100, "meta": {"a b": "x&y", "none": null}, "items": [{"price": "p"}, {"price": "q"}]});

        let cases = [
            (
                FormLists::Indexed,
                "amount=100&items[0][price]=p&items[1][price]=q&meta[a%20b]=x%26y",
            ),
            (
                FormLists::Brackets,
                "amount=100&items[][price]=p&items[][price]=q&meta[a%20b]=x%26y",
            ),
            (
                FormLists::Repeated,
                "amount=100&items[price]=p&items[price]=q&meta[a%20b]=x%26y",
            ),
        ];
        for (lists, expected) in cases {
            assert_eq!(urlencoded(&value, lists).unwrap(), expected);
        }
        assert!(urlencoded(&json!([1]), FormLists::Indexed).is_err());
    }

    #[test]
    fn parts_are_separated_and_named() {
        let parts: Vec<Part> = serde_json::from_value(json!([
            {"name": "text", "value": "{{ s }}"},
            {"name": "file", "value": "aGk=", "base64": true, "filename": "a\"\r\n.txt", "content_type": "text/plain"},
            {"name": "left out", "value": "{{ missing }}"},
        ]))
        .unwrap();

        let (body, kind) = multipart(&parts, &Scope::new([("s", &json!("x"))])).unwrap();

        let boundary = kind.rsplit('=').next().unwrap();
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nx\r\n--{boundary}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"a%22%0D%0A.txt\"\r\nContent-Type: text/plain\r\n\r\nhi\r\n\
             --{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}

//! How the page after this one is asked for.

use super::egress;
use super::reply::Parts;
use crate::error::{Error, Result};
use crate::manifest::response::{Next, Pagination};
use crate::template::ScopeOf;
use serde_json::{Value, json};

/// What the request of the first page sees as `page`.
pub(super) fn first_page() -> Value {
    json!({"number": 1, "offset": 0})
}

/// What the request of the page after this one sees as `page`; none where this is the last.
pub(super) fn next_page(
    pagination: &Pagination,
    page: &Value,
    parts: &Parts,
    found: usize,
    url: &str,
    scope: &ScopeOf<'_>,
) -> Result<Option<Value>> {
    let count = |name: &str| page.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut next = json!({"number": count("number") + 1, "offset": count("offset") + found as u64});
    let (name, value) = match &pagination.next {
        Next::FullPage(size) => return Ok((found >= (*size).max(1)).then_some(next)),
        Next::Link(relation) => {
            let link = parts.headers.get("link").and_then(Value::as_str);
            ("url", link.and_then(|l| link_of(l, relation)).map(str::to_owned))
        }
        Next::Url(template) => ("url", text(&template.value(&scope(&parts.names()))?)),
        Next::Cursor(template) => ("cursor", text(&template.value(&scope(&parts.names()))?)),
    };
    let Some(value) = value else { return Ok(None) };
    let value = if name == "url" {
        egress::resolve(url, &value).ok_or_else(|| Error::Upstream("the next page's address is no URL".into()))?
    } else {
        value
    };
    // A service that names the same place again would be asked for ever.
    if page.get(name).and_then(Value::as_str) == Some(value.as_str()) {
        return Ok(None);
    }
    if let Some(members) = next.as_object_mut() {
        members.insert(name.to_owned(), json!(value));
    }
    Ok(Some(next))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|t| !t.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The target of a relation in a `Link` header (RFC 8288).
fn link_of<'h>(header: &'h str, relation: &str) -> Option<&'h str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = after.find('<').unwrap_or(after.len());
        let parameters = after.get(..end)?;
        let fits = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value.split_whitespace().any(|r| r.eq_ignore_ascii_case(relation))
        });
        if fits {
            return Some(target);
        }
        rest = after.get(end..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_by_their_relation() {
        let header = r#"<https://a.example.com/?page=2&x=a,b>; rel="next", <https://a.example.com/?page=9>; title="rel=next"; rel="last""#;

        assert_eq!(link_of(header, "next"), Some("https://a.example.com/?page=2&x=a,b"));
        assert_eq!(link_of(header, "last"), Some("https://a.example.com/?page=9"));
        assert_eq!(link_of(header, "prev"), None);
        assert_eq!(link_of("</x>; rel=prev", "prev"), Some("/x"));
        assert_eq!(link_of("", "next"), None);
        assert_eq!(link_of("<unclosed", "next"), None);
    }
}

//! The request that a template describes. No I/O, and no credential: that is added when it is sent.

use super::form;
use crate::error::{Error, Result};
use crate::http::{Headers, Request, percent_encode};
use crate::manifest::request::RequestTemplate;
use crate::template::{Scope, Template};
use serde_json::{Value, json};

/// The request that a template describes.
pub fn build(template: &RequestTemplate, base_url: &str, scope: &Scope) -> Result<Request> {
    let mut url = match (&template.url, &template.path) {
        (Some(url), _) => url.absolute_url(scope)?,
        (None, Some(path)) if base_url.is_empty() => {
            let _ = path;
            return Err(Error::MethodNotFound(
                "no URL is known for it: the integration has no base URL, and the connection names none".into(),
            ));
        }
        (None, Some(path)) => format!("{base_url}{}", path.url_part(scope)?),
        (None, None) => return Err(Error::Internal("a request without path and URL".into())),
    };
    append_query(&mut url, template, scope)?;
    let mut headers = Headers::default();
    for (name, value) in &template.headers {
        let value = header(name, value, scope)?;
        if !value.is_empty() {
            headers.set(name, &value);
        }
    }
    let body = match body(template, scope)? {
        Some((body, kind)) => {
            if headers.get("content-type").is_none() {
                headers.set("content-type", &kind);
            }
            body
        }
        None => Vec::new(),
    };
    Ok(Request {
        method: template.method,
        url,
        headers,
        body,
    })
}

fn append_query(url: &mut String, template: &RequestTemplate, scope: &Scope) -> Result<()> {
    let mut separator = if url.contains('?') { '&' } else { '?' };
    for (name, value) in &template.query {
        let values = match value.value(scope)? {
            Value::Array(items) => items,
            one => vec![one],
        };
        for value in values.iter().map(form::plain).filter(|v| !v.is_empty()) {
            url.push(separator);
            url.push_str(&format!("{}={}", percent_encode(name), percent_encode(&value)));
            separator = '&';
        }
    }
    Ok(())
}

fn header(name: &str, value: &Template, scope: &Scope) -> Result<String> {
    let value = value.text(scope)?;
    if value.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err(Error::validation(format!(
            "the header `{name}` would hold control characters"
        )));
    }
    Ok(value)
}

/// The body and its media type.
fn body(template: &RequestTemplate, scope: &Scope) -> Result<Option<(Vec<u8>, String)>> {
    let json_type = || "application/json".to_owned();
    if let Some(json) = &template.json {
        return Ok(Some((json.value(scope)?.to_string().into_bytes(), json_type())));
    }
    if let Some(form) = &template.form {
        let text = form::urlencoded(&form.value(scope)?, template.form_lists)?;
        return Ok(Some((text.into_bytes(), "application/x-www-form-urlencoded".into())));
    }
    if let Some(parts) = &template.multipart {
        return form::multipart(parts, scope).map(Some);
    }
    if let Some(graphql) = &template.graphql {
        let mut body = json!({"query": graphql.query});
        if let Some(members) = body.as_object_mut() {
            if let Some(variables) = &graphql.variables {
                members.insert("variables".into(), variables.value(scope)?);
            }
            if let Some(name) = &graphql.operation_name {
                members.insert("operationName".into(), json!(name));
            }
        }
        return Ok(Some((body.to_string().into_bytes(), json_type())));
    }
    let Some(raw) = &template.raw else { return Ok(None) };
    let text = raw.body.text(scope)?;
    let bytes = if raw.base64 {
        form::decoded(&text, "the body")?
    } else {
        text.into_bytes()
    };
    Ok(Some((bytes, header("content-type", &raw.content_type, scope)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn built(template: Value, inputs: &Value) -> Result<Request> {
        let template: RequestTemplate = serde_json::from_value(template).unwrap();
        template.check("")?;
        build(&template, "https://api.example.com", &Scope::new([("inputs", inputs)]))
    }

    #[test]
    fn each_kind_of_request_is_built() {
        let inputs = json!({"id": "a/b", "list": [1, "x y"], "url": "https://other.example.com/x?y=1", "n": 7});
        let cases = [
            (
                json!({"method": "GET", "path": "/x/{{ inputs.id }}", "query": {"q": "{{ inputs.list }}", "none": "{{ inputs.no }}"}}),
                "GET https://api.example.com/x/a%2Fb?q=1&q=x%20y  ",
            ),
            (
                json!({"method": "GET", "url": "{{ inputs.url }}", "query": {"z": "2"}}),
                "GET https://other.example.com/x?y=1&z=2  ",
            ),
            (
                json!({"method": "GET", "url": "https://x.example.com/{{ inputs.id }}"}),
                "GET https://x.example.com/a%2Fb  ",
            ),
            (
                json!({"method": "POST", "path": "/", "json": {"n": "{{ inputs.n }}", "no": "{{ inputs.no }}"}}),
                "POST https://api.example.com/ application/json {\"n\":7}",
            ),
            (
                json!({"method": "POST", "path": "/", "form": {"a": {"b": "{{ inputs.n }}"}}}),
                "POST https://api.example.com/ application/x-www-form-urlencoded a[b]=7",
            ),
            (
                json!({"method": "POST", "path": "/g", "graphql": {"query": "{ a{b{c}} }", "variables": {"n": "{{ inputs.n }}"}, "operation_name": "Q"}}),
                "POST https://api.example.com/g application/json {\"operationName\":\"Q\",\"query\":\"{ a{b{c}} }\",\"variables\":{\"n\":7}}",
            ),
            (
                json!({"method": "PUT", "path": "/r", "raw": {"content_type": "text/csv", "body": "a,{{ inputs.n }}"}}),
                "PUT https://api.example.com/r text/csv a,7",
            ),
            (
                json!({"method": "PUT", "path": "/r", "raw": {"content_type": "x/y", "body": "aGk=", "base64": true}}),
                "PUT https://api.example.com/r x/y hi",
            ),
        ];
        for (template, expected) in cases {
            let request = built(template, &inputs).unwrap();
            let text = format!(
                "{} {} {} {}",
                request.method.as_str(),
                request.url,
                request.headers.get("content-type").unwrap_or_default(),
                String::from_utf8(request.body).unwrap()
            );
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let inputs = json!({"bad": "a\r\nb"});
        let cases = [
            json!({"method": "GET"}),
            json!({"method": "GET", "path": "/", "url": "https://x.example.com"}),
            json!({"method": "POST", "path": "/", "json": {}, "form": {}}),
            json!({"method": "GET", "path": "/", "headers": {"x": "{{ inputs.bad }}"}}),
            json!({"method": "POST", "path": "/", "form": "text"}),
            json!({"method": "POST", "path": "/", "raw": {"content_type": "x/y", "body": "***", "base64": true}}),
        ];
        for template in cases {
            assert!(built(template.clone(), &inputs).is_err(), "{template}");
        }
    }
}

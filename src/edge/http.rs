//! Requests and replies between the runtime's types and the engine's.

use super::js;
use crate::error::{Error, Result};
use crate::http::{Head, Headers, Method, Response};
use js_sys::{Array, JSON, Uint8Array};
use serde::{Serialize, Serializer};
use wasm_bindgen::JsValue;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// All of a request but its body. A method that the engine does not know is refused here.
pub fn head(request: &web_sys::Request) -> Result<Head> {
    let method = Method::parse(&request.method()).ok_or_else(|| Error::MethodNotAllowed {
        allow: METHODS.to_owned(),
    })?;
    let url = request.url();
    let (path, query) = path_and_query(&url);
    Ok(Head {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers(&request.headers())?,
    })
}

/// `https://host/a/b?c#d` is `/a/b` and `c`. The runtime made the URL absolute; nothing is decoded.
fn path_and_query(url: &str) -> (&str, &str) {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    let rest = url.split_once("://").map_or(url, |(_, after)| after);
    let target = rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/");
    match target.split_once('?') {
        Some(("", query)) => ("/", query),
        Some((path, query)) => (path, query),
        None => (target, ""),
    }
}

/// All fields at once: one text over the border is cheaper than two strings for each field.
pub fn headers(fields: &web_sys::Headers) -> Result<Headers> {
    JSON::stringify(&Array::from(fields))
        .ok()
        .and_then(|text| serde_json::from_str(&String::from(text)).ok())
        .ok_or_else(|| Error::validation("the header fields cannot be read"))
}

/// The runtime's header fields. The first one it refuses, by name: values are never put into a message.
pub fn to_js_headers(fields: &Headers) -> std::result::Result<web_sys::Headers, String> {
    let headers = web_sys::Headers::new().map_err(|e| js::message(&e))?;
    for (name, value) in fields.iter() {
        headers
            .append(name, value)
            .map_err(|_| format!("the header field `{name}` is not valid"))?;
    }
    Ok(headers)
}

/// The runtime's reply, or why it cannot be said in HTTP.
pub fn response(response: &Response, with_body: bool) -> std::result::Result<web_sys::Response, String> {
    let init = web_sys::ResponseInit::new();
    init.set_status(response.status);
    init.set_headers(&fields(&response.headers)?);
    // RFC 9110, 15.3.5 and 15.4.5: these have no content, and the runtime throws at an empty one.
    let bodiless = matches!(response.status, 204 | 205 | 304);
    let body = (with_body && !bodiless).then(|| Uint8Array::from(response.body.as_slice()));
    web_sys::Response::new_with_opt_js_u8_array_and_init(body.as_ref(), &init).map_err(|thrown| {
        // Which field it is, if it is one.
        to_js_headers(&response.headers)
            .err()
            .unwrap_or_else(|| js::message(&thrown))
    })
}

/// All fields at once: one text over the border here too. As an object, which the runtime reads with a look at each member; a
/// list of pairs, which it walks with an iterator each, only where a name comes twice.
fn fields(headers: &Headers) -> std::result::Result<JsValue, String> {
    let text = match headers.has_repeats() {
        true => serde_json::to_string(headers),
        false => serde_json::to_string(&Members(headers)),
    };
    JSON::parse(&text.map_err(|e| e.to_string())?).map_err(|e| js::message(&e))
}

struct Members<'a>(&'a Headers);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

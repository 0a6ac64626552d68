//! `/openapi.json`: the routes, for programs.

use crate::http::Response;

/// Written by `tests/openapi` from the table and `openapi/`, and made small by `build.rs`.
const DOCUMENT: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// The OpenAPI document.
pub fn show() -> Response {
    let mut response = Response::text(200, DOCUMENT);
    response.headers.set("content-type", "application/json");
    response.headers.set("cache-control", "public, max-age=300");
    response
}

//! Problem documents (RFC 9457) from an [`Error`].

use crate::error::{Error, FieldError};
use crate::http::Response;
use serde::Serialize;

/// The members that every problem of the hub has.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
    code: &'a str,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [FieldError]>,
}

/// The reply for `error`: status, `application/problem+json`, and the headers that belong to it.
pub fn respond(error: &Error, trace_id: &str) -> Response {
    let errors = match error {
        Error::Validation { errors, .. } | Error::Unfit { errors } if !errors.is_empty() => Some(errors.as_slice()),
        _ => None,
    };
    let code = error.code();
    let problem = Problem {
        r#type: format!("/problems/{code}"),
        title: error.kind().title(),
        status: error.status(),
        detail: error.public_detail(),
        code,
        trace_id,
        errors,
    };
    let mut response = Response::json(error.status(), &problem);
    response.headers.set("content-type", "application/problem+json");
    if let Some(seconds) = error.retry_after_s() {
        response.headers.set("retry-after", &seconds.to_string());
    }
    if let Error::MethodNotAllowed { allow } = error {
        response.headers.set("allow", allow);
    }
    if matches!(error, Error::Authentication(_)) {
        // RFC 9110, 11.6.1: a 401 names the scheme that it wants.
        response.headers.set("www-authenticate", "Bearer");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_of_a_fault_stays_inside() {
        let reply = respond(&Error::Internal("D1: no such table: event".into()), "t1");

        let text = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, 500);
        assert!(!text.contains("no such table"), "{text}");
        assert!(text.contains("\"trace_id\":\"t1\""));
    }

    #[test]
    fn what_passes_by_itself_says_when_to_come_back() {
        let reply = respond(&Error::missing_setting("X"), "t");

        assert_eq!(reply.status, 503);
        assert_eq!(reply.headers.get("retry-after"), Some("30"));
    }
}

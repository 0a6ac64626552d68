//! What a reply means: a result, a refusal, or a reason to try again. Plain functions of the reply and the manifest.

use super::call::Outcome;
use super::retry::{self, Again, Cause, Verdict};
use crate::error::{Error, Result};
use crate::http::Response;
use crate::manifest::Manifest;
use crate::manifest::response::{Content, ErrorTemplate, Meaning, ResponseTemplate};
use crate::template::{Scope, ScopeOf, Template};
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Most characters of a service's words that are passed on.
const MAX_SAID: usize = 300;

/// What a reply came to.
#[derive(Debug, PartialEq)]
pub enum Read {
    /// It went well; the reply's parts as expressions see them.
    Done(Parts),
    /// Not done, and trying again can help.
    Again(Again),
    /// Refused for good.
    Refused(Error),
}

/// The parts of a reply as expressions see them.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// The body, read as the manifest says.
    pub body: Value,
    /// The status.
    pub status: Value,
    /// Header values by lower-case name.
    pub headers: Value,
}

impl Parts {
    /// The names under which expressions see them.
    pub fn names(&self) -> [(&'static str, &Value); 3] {
        [
            ("body", &self.body),
            ("status", &self.status),
            ("headers", &self.headers),
        ]
    }
}

/// How replies to one request are read.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The service, with what holds for all its replies.
    pub manifest: &'a Manifest,
    /// What holds for this one.
    pub response: &'a ResponseTemplate,
    /// Whether the request is GraphQL's, whose errors come in a 200.
    pub graphql: bool,
    /// What the action is called, for messages.
    pub action: &'a str,
}

impl Reader<'_> {
    /// Reads an outcome. `scope` gives the names of the request together with those of the reply.
    pub fn read(&self, outcome: &Outcome, scope: &ScopeOf<'_>, now: Timestamp) -> Result<Read> {
        let limit = self.manifest.rate_limit.as_ref();
        let verdict = retry::judge(outcome, &self.response.accept, limit, now);
        let (reply, verdict) = match (outcome, verdict) {
            (Outcome::Lost(_), Verdict::Again(again)) => return Ok(Read::Again(again)),
            (Outcome::Lost(error), _) => return Ok(Read::Refused(Error::Upstream(error.to_string()))),
            (Outcome::Reply(reply), verdict) => (reply, verdict),
        };
        let done = verdict == Verdict::Done;
        let body = match body(reply, self.response.content) {
            Ok(body) => body,
            // What an error page holds is not worth an error of its own.
            Err(_) if !done => Value::Null,
            Err(why) => return Ok(Read::Refused(Error::Upstream(format!("{}: {why}", self.subject())))),
        };
        let parts = Parts {
            body,
            status: json!(reply.status),
            headers: headers(reply),
        };
        let scope = scope(&parts.names());
        if done && self.went_well(reply, &parts, &scope)? {
            return Ok(Read::Done(parts));
        }
        let said = self.said(&parts.body, &scope)?;
        if let Some(meaning) = said.meaning {
            return Ok(self.meant(meaning, reply, parts, &said, now));
        }
        Ok(match verdict {
            Verdict::Again(again) => Read::Again(again),
            Verdict::Done | Verdict::Refused => {
                let meaning = if reply.status == 401 {
                    Meaning::Reauth
                } else {
                    Meaning::Refused
                };
                self.meant(meaning, reply, parts, &said, now)
            }
        })
    }

    fn went_well(&self, reply: &Response, parts: &Parts, scope: &Scope) -> Result<bool> {
        if let Some(success) = &self.response.success {
            return success.truth(scope);
        }
        if !reply.is_success() {
            return Ok(true);
        }
        if let Some(success) = &self.manifest.replies.success {
            return success.truth(scope);
        }
        let errors = parts.body.get("errors").and_then(Value::as_array);
        Ok(!self.graphql || errors.is_none_or(Vec::is_empty))
    }

    fn meant(&self, meaning: Meaning, reply: &Response, parts: Parts, said: &Said, now: Timestamp) -> Read {
        let detail = format!("{} with status {}{said}", self.subject(), reply.status);
        let wait = retry::wait_asked(reply, self.manifest.rate_limit.as_ref(), now);
        let again = |cause, reason: String| {
            Read::Again(Again {
                wait,
                unsettled: meaning == Meaning::Unsettled,
                cause,
                reason,
            })
        };
        match meaning {
            Meaning::Done => Read::Done(parts),
            Meaning::RateLimited => again(Cause::RateLimited, format!("rate limited{said}")),
            Meaning::Temporary | Meaning::Unsettled => {
                again(Cause::Temporary, format!("status {}{said}", reply.status))
            }
            Meaning::Reauth => Read::Refused(Error::ReauthRequired(detail)),
            Meaning::Invalid => Read::Refused(Error::validation(detail)),
            Meaning::Forbidden => Read::Refused(Error::Forbidden(detail)),
            Meaning::Refused => Read::Refused(Error::Upstream(detail)),
        }
    }

    fn subject(&self) -> String {
        format!("{} refused `{}`", self.manifest.name, self.action)
    }

    /// What the service says of a refusal.
    fn said(&self, body: &Value, scope: &Scope) -> Result<Said> {
        let own = [self.response.error.as_ref(), self.manifest.replies.error.as_ref()];
        let find = |part: fn(&ErrorTemplate) -> Option<&Template>| own.iter().flatten().find_map(|e| part(e));
        let text = |template: Option<&Template>| template.map_or(Ok(String::new()), |t| t.text(scope));
        let code = text(find(|e| e.code.as_ref()))?;
        let mut message = text(find(|e| e.message.as_ref()))?;
        if message.is_empty() {
            message = usual_message(body).unwrap_or_default().to_owned();
        }
        let meaning = |code: &str| own.iter().flatten().find_map(|e| e.map.get(code)).copied();
        let any = if code.is_empty() { None } else { meaning("*") };
        Ok(Said {
            meaning: meaning(&code).or(any),
            code,
            message: message.chars().take(MAX_SAID).collect(),
        })
    }
}

struct Said {
    meaning: Option<Meaning>,
    code: String,
    message: String,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in [&self.code, &self.message] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        Ok(())
    }
}

/// The service's words, where it puts them as most do.
fn usual_message(body: &Value) -> Option<&str> {
    const PLACES: [&str; 8] = [
        "/message",
        "/error/message",
        "/errors/0/message",
        "/error_description",
        "/error",
        "/errorMessages/0",
        "/detail",
        "/title",
    ];
    PLACES.iter().find_map(|place| body.pointer(place)?.as_str())
}

fn headers(reply: &Response) -> Value {
    let mut all = Map::new();
    for (name, value) in reply.headers.iter() {
        all.entry(name.to_owned()).or_insert_with(|| json!(value));
    }
    Value::Object(all)
}

/// The body as the manifest reads it.
fn body(reply: &Response, content: Content) -> std::result::Result<Value, String> {
    let bytes = reply.body.as_slice();
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match content {
        Content::Text => Ok(Value::String(text())),
        Content::Base64 => Ok(Value::String(STANDARD.encode(bytes))),
        Content::Json | Content::Any if bytes.iter().all(u8::is_ascii_whitespace) => Ok(Value::Null),
        Content::Any => Ok(serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(text()))),
        Content::Json => serde_json::from_slice(bytes).map_err(|_| {
            let kind = reply.headers.get("content-type").unwrap_or("no content type");
            let kind: String = kind.chars().take(80).collect();
            format!("its answer is not JSON ({kind})")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::FetchError;

    fn manifest() -> Manifest {
        Manifest::read(&json!({
            "name": "x", "version": "1.0.0", "description": "test",
            "replies": {
                "success": "{{ body.ok }}",
                "error": {
                    "code": "{{ body.error }}",
                    "map": {
                        "already_done": "done", "ratelimited": "rate_limited", "fatal_error": "temporary",
                        "invalid_auth": "reauth", "bad_input": "invalid", "no_right": "forbidden"
                    }
                }
            }
        }))
        .unwrap()
    }

    fn read(response: Value, graphql: bool, status: u16, body: &str) -> String {
        let (mut manifest, response) = (manifest(), serde_json::from_value(response).unwrap());
        if graphql {
            manifest.replies = Default::default();
        }
        let reader = Reader {
            manifest: &manifest,
            response: &response,
            graphql,
            action: "a",
        };
        let mut reply = Response::text(status, body);
        reply.headers.set("retry-after", "3");
        if status != 429 && status != 200 {
            reply.headers.remove("retry-after");
        }
        let scope = |names: &[(&str, &Value)]| Scope::new(names.iter().copied());
        match reader.read(&Outcome::Reply(reply), &scope, Timestamp(0)).unwrap() {
            Read::Done(parts) => format!("done {}", parts.body),
            Read::Again(again) => format!("again {:?} {:?} {}", again.cause, again.wait, again.reason),
            Read::Refused(error) => format!("{} {error}", error.code()),
        }
    }

    #[test]
    fn errors_in_a_200_are_errors() {
        let cases = [
            (200, r#"{"ok":true,"x":1}"#, r#"done {"ok":true,"x":1}"#),
            (
                200,
                r#"{"ok":false,"error":"already_done"}"#,
                r#"done {"error":"already_done","ok":false}"#,
            ),
            (
                200,
                r#"{"ok":false,"error":"ratelimited"}"#,
                "again RateLimited Some(3000) rate limited: ratelimited",
            ),
            (
                200,
                r#"{"ok":false,"error":"fatal_error"}"#,
                "again Temporary Some(3000) status 200: fatal_error",
            ),
            (
                200,
                r#"{"ok":false,"error":"invalid_auth"}"#,
                "REAUTH_REQUIRED x refused `a` with status 200: invalid_auth",
            ),
            (
                200,
                r#"{"ok":false,"error":"bad_input"}"#,
                "VALIDATION_ERROR x refused `a` with status 200: bad_input",
            ),
            (
                200,
                r#"{"ok":false,"error":"no_right"}"#,
                "FORBIDDEN x refused `a` with status 200: no_right",
            ),
            (
                200,
                r#"{"ok":false,"error":"other"}"#,
                "UPSTREAM_ERROR x refused `a` with status 200: other",
            ),
            (
                401,
                r#"{"message":"Bad credentials"}"#,
                "REAUTH_REQUIRED x refused `a` with status 401: Bad credentials",
            ),
            (404, "<html>", "UPSTREAM_ERROR x refused `a` with status 404"),
            (429, "", "again RateLimited Some(3000) rate limited"),
            (
                200,
                "<html>",
                "UPSTREAM_ERROR x refused `a`: its answer is not JSON (text/plain; charset=utf-8)",
            ),
        ];
        for (status, body, expected) in cases {
            let read = read(json!({}), false, status, body);
            assert!(read.starts_with(expected), "{read}");
        }
    }

    #[test]
    fn graphql_says_its_errors_in_the_body() {
        assert_eq!(
            read(json!({}), true, 200, r#"{"data":{"a":1}}"#),
            r#"done {"data":{"a":1}}"#
        );
        assert_eq!(
            read(
                json!({}),
                true,
                200,
                r#"{"data":null,"errors":[{"message":"no such field"}]}"#
            ),
            "UPSTREAM_ERROR x refused `a` with status 200: no such field"
        );
    }

    #[test]
    fn an_action_can_say_what_a_success_is() {
        let only_existing = json!({"accept": [422], "success": "{{ status == 201 or body.exists }}"});

        assert_eq!(
            read(only_existing.clone(), false, 422, r#"{"exists":true}"#),
            r#"done {"exists":true}"#
        );
        assert!(read(only_existing, false, 422, r#"{"message":"no"}"#).starts_with("UPSTREAM_ERROR"));
    }

    #[test]
    fn what_is_lost_can_be_tried_again() {
        let manifest = manifest();
        let reader = Reader {
            manifest: &manifest,
            response: &ResponseTemplate::default(),
            graphql: false,
            action: "a",
        };
        let scope = |names: &[(&str, &Value)]| Scope::new(names.iter().copied());
        let read = reader.read(&Outcome::Lost(FetchError::Timeout), &scope, Timestamp(0));

        let Ok(Read::Again(again)) = read else { unreachable!() };
        assert_eq!((again.cause, again.unsettled), (Cause::Timeout, true));
    }
}

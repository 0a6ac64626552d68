//! Replies of token endpoints: JSON or form, errors that come with a 200, HTML, and every spelling of an expiry.

use super::authorize::scopes;
use crate::http::{Response, form_pairs};
use crate::manifest::oauth2::OAuth2;
use crate::secret::Secret;
use crate::time::{SECOND, Timestamp, retry_after};
use serde_json::{Map, Value, json};

/// Longest token that is taken, in bytes: more is not a token.
const MAX_TOKEN: usize = 64 * 1024;

/// Tokens as they were given.
#[derive(Debug)]
pub struct Tokens {
    /// For requests.
    pub access: Secret,
    /// For the next one; none if the provider gave none.
    pub refresh: Option<Secret>,
    /// When the access token ends; none if nobody knows.
    pub expires_at: Option<Timestamp>,
    /// When the refresh token ends, if the reply says so.
    pub refresh_expires_at: Option<Timestamp>,
    /// The granted scopes; none where the reply does not say, which means as asked (RFC 6749, 5.1).
    pub scopes: Option<Vec<String>>,
    /// The whole reply, for what a manifest reads from it. Holds the tokens: never stored, never logged.
    pub body: Value,
}

/// Why there are none.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// The code or refresh token is of no use, now and later (`invalid_grant`).
    Ended(String),
    /// The app is not set up as the provider wants it (`invalid_client` and the like). Says nothing of the account.
    App(String),
    /// The provider cannot do it now; milliseconds that it asks to wait.
    Later(String, Option<i64>),
    /// The provider failed, or a gateway before it did: whether it acted is not known. Milliseconds that it asks to wait.
    Failed(String, Option<i64>),
    /// What came back is no token reply.
    Malformed(String),
    /// The person has not consented yet (RFC 8628); true: ask less often.
    Pending(bool),
}

/// Reads a token reply.
pub fn read(spec: &OAuth2, reply: &Response, now: Timestamp) -> Result<Tokens, Refused> {
    let status = reply.status;
    if status == 429 || status >= 500 {
        let wait = reply.headers.get("retry-after").and_then(|v| retry_after(v, now));
        let why = format!("status {status}");
        return Err(match status {
            429 => Refused::Later(why, wait),
            _ => Refused::Failed(why, wait),
        });
    }
    let body = document(reply)?;
    let ok = spec
        .reply
        .ok
        .as_ref()
        .and_then(|at| body.pointer(at))
        .and_then(Value::as_bool);
    if let Some(error) = error_of(&body).or_else(|| (ok == Some(false)).then(|| ("error".to_owned(), String::new()))) {
        return Err(classify(spec, &error));
    }
    if !reply.is_success() {
        return Err(Refused::App(format!("status {status} without an error code")));
    }
    let access = first_text(&body, &spec.reply.access_token, "/access_token")
        .ok_or_else(|| Refused::Malformed("it holds no access token".to_owned()))?;
    let sound = |t: &String| !t.is_empty() && t.len() <= MAX_TOKEN && t.bytes().all(|b| (0x21..0x7f).contains(&b));
    if !sound(&access) {
        return Err(Refused::Malformed("its access token is no token".to_owned()));
    }
    let refresh = first_text(&body, &spec.reply.refresh_token, "/refresh_token").filter(sound);
    Ok(Tokens {
        access: Secret::new(access),
        refresh: refresh.map(Secret::new),
        expires_at: expiry(spec, &body, now),
        refresh_expires_at: refresh_expiry(spec, &body, now),
        scopes: granted(spec, &body),
        body,
    })
}

/// JSON, or a form where the provider says so or sends nothing that is JSON.
fn document(reply: &Response) -> Result<Value, Refused> {
    let media = reply
        .headers
        .get("content-type")
        .unwrap_or_default()
        .to_ascii_lowercase();
    if let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(&reply.body) {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&reply.body);
    let is_form = media.starts_with("application/x-www-form-urlencoded") || media.starts_with("text/plain");
    if is_form && (text.contains("access_token=") || text.contains("error=")) {
        let members: Map<_, _> = form_pairs(&text).into_iter().map(|(n, v)| (n, json!(v))).collect();
        return Ok(Value::Object(members));
    }
    let what = if media.contains("html") {
        "an HTML page"
    } else {
        "neither JSON nor a form"
    };
    Err(Refused::Malformed(format!("status {} with {what}", reply.status)))
}

/// Code and description of an error, wherever providers put them.
fn error_of(body: &Value) -> Option<(String, String)> {
    let error = body
        .get("error")
        .filter(|e| !e.is_null() && **e != json!("") && **e != json!(false))?;
    let code = match error {
        Value::String(code) => code.clone(),
        other => ["code", "type", "id"]
            .iter()
            .find_map(|name| other.get(*name)?.as_str())
            .unwrap_or("error")
            .to_owned(),
    };
    let said = ["/error_description", "/error/message", "/message", "/error_message"];
    let said = said
        .iter()
        .find_map(|at| body.pointer(at)?.as_str())
        .unwrap_or_default();
    Some((plain(&code, 80), plain(said, 200)))
}

/// A provider's words, shortened and without control characters: text for people, never markup.
pub fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

fn classify(spec: &OAuth2, (code, said): &(String, String)) -> Refused {
    let text = if said.is_empty() {
        code.clone()
    } else {
        format!("{code}: {said}")
    };
    match code.as_str() {
        "authorization_pending" => Refused::Pending(false),
        "slow_down" => Refused::Pending(true),
        "temporarily_unavailable" | "server_error" | "ratelimited" | "rate_limited" => Refused::Later(text, None),
        // GitHub's names for what RFC 6749 calls invalid_grant, and RFC 8628's ends, stand beside it.
        "invalid_grant" | "bad_refresh_token" | "bad_verification_code" | "expired_token" | "access_denied" => {
            Refused::Ended(text)
        }
        _ if spec.refresh.ended.iter().any(|e| e == code) => Refused::Ended(text),
        _ => Refused::App(text),
    }
}

fn first_text(body: &Value, places: &[String], standard: &str) -> Option<String> {
    let own = places.iter().map(String::as_str);
    let all = own.chain(places.is_empty().then_some(standard));
    all.filter_map(|at| body.pointer(at)?.as_str())
        .find(|text| !text.is_empty())
        .map(str::to_owned)
}

fn expiry(spec: &OAuth2, body: &Value, now: Timestamp) -> Option<Timestamp> {
    if let Some(at) = spec.reply.expires_at.as_ref().and_then(|at| body.pointer(at)) {
        return point_in_time(at);
    }
    let own = spec.reply.expires_in.iter().map(String::as_str);
    let mut places = own.chain(spec.reply.expires_in.is_empty().then_some("/expires_in"));
    let seconds = places
        .find_map(|at| whole(body.pointer(at)?))
        .or(spec.default_expires_in);
    // 0 is some providers' way to say never.
    seconds.filter(|s| *s > 0).map(|s| now + s.saturating_mul(SECOND))
}

fn refresh_expiry(spec: &OAuth2, body: &Value, now: Timestamp) -> Option<Timestamp> {
    let value = body.pointer(spec.reply.refresh_expires.as_deref()?)?;
    match whole(value) {
        // Shorter than twenty years is a duration, else a point in time.
        Some(seconds) if seconds > 0 && seconds < 630_720_000 => Some(now + seconds * SECOND),
        _ => point_in_time(value),
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "a fraction of a second does not matter")]
            number.as_f64().map(|f| f as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// RFC 3339, or seconds or milliseconds since 1970: those of our time differ by a factor of a thousand.
fn point_in_time(value: &Value) -> Option<Timestamp> {
    match whole(value) {
        Some(number) if number > 100_000_000_000 => Some(Timestamp(number)),
        Some(number) if number > 0 => Timestamp::from_seconds(number),
        Some(_) => None,
        None => Timestamp::parse_rfc3339(value.as_str()?),
    }
}

fn granted(spec: &OAuth2, body: &Value) -> Option<Vec<String>> {
    match body.pointer(spec.reply.scope.as_deref().unwrap_or("/scope"))? {
        Value::String(text) => Some(scopes(text)),
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_763_800_000_000);

    fn spec(more: Value) -> OAuth2 {
        let mut spec = json!({"authorize_url": "https://a.example/auth", "token_url": "https://a.example/token"});
        if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
            spec.extend(more);
        }
        serde_json::from_value(spec).unwrap()
    }

    fn reply(status: u16, media: &str, body: &str) -> Response {
        Response {
            status,
            headers: Headers::from_pairs([("content-type", media)]),
            body: body.as_bytes().to_vec(),
        }
    }

    fn read_json(more: Value, body: Value) -> Result<Tokens, Refused> {
        read(&spec(more), &reply(200, "application/json", &body.to_string()), NOW)
    }

    #[test]
    fn every_spelling_of_an_expiry_is_read() {
        let in_an_hour = Some(NOW + 3_600_000);
        let cases = [
            (json!({}), json!({"expires_in": 3600}), in_an_hour),
            (json!({}), json!({"expires_in": "3600"}), in_an_hour),
            (json!({}), json!({"expires_in": 3600.0}), in_an_hour),
            (json!({}), json!({"expires_in": 0}), None),
            (json!({}), json!({"expires_in": -5}), None),
            (json!({}), json!({"expires_in": null}), None),
            (
                json!({}),
                json!({"expires_in": 9_223_372_036_854_775_807_i64}),
                Some(NOW + i64::MAX),
            ),
            (json!({}), json!({}), None),
            (json!({"default_expires_in": 3600}), json!({}), in_an_hour),
            (
                json!({"reply": {"expires_at": "/expires_at"}}),
                json!({"expires_at": "2025-11-22T09:26:40Z"}),
                in_an_hour,
            ),
            (
                json!({"reply": {"expires_at": "/expires_at"}}),
                json!({"expires_at": 1_763_803_600}),
                in_an_hour,
            ),
            (
                json!({"reply": {"expires_at": "/expires_at"}}),
                json!({"expires_at": 1_763_803_600_000_i64}),
                in_an_hour,
            ),
            (
                json!({"reply": {"expires_at": "/expires_at"}}),
                json!({"expires_at": "soon"}),
                None,
            ),
        ];
        for (more, body, expected) in cases {
            let mut body = body;
            body["access_token"] = json!("t");
            assert_eq!(read_json(more, body.clone()).unwrap().expires_at, expected, "{body}");
        }
    }

    #[test]
    fn errors_are_told_apart_whatever_their_status() {
        let json = "application/json";
        let cases = [
            (
                reply(400, json, r#"{"error":"invalid_grant"}"#),
                Refused::Ended("invalid_grant".into()),
            ),
            (
                reply(200, json, r#"{"error":"bad_refresh_token","error_description":"gone"}"#),
                Refused::Ended("bad_refresh_token: gone".into()),
            ),
            (
                reply(401, json, r#"{"error":"invalid_client"}"#),
                Refused::App("invalid_client".into()),
            ),
            (
                reply(403, json, r#"{"error":"unauthorized_client"}"#),
                Refused::Ended("unauthorized_client".into()),
            ),
            (
                reply(200, json, r#"{"ok":false,"error":"invalid_code"}"#),
                Refused::App("invalid_code".into()),
            ),
            (reply(200, json, r#"{"ok":false}"#), Refused::App("error".into())),
            (
                reply(400, json, r#"{"error":"authorization_pending"}"#),
                Refused::Pending(false),
            ),
            (reply(400, json, r#"{"error":"slow_down"}"#), Refused::Pending(true)),
            (
                reply(400, json, r#"{"error":"temporarily_unavailable"}"#),
                Refused::Later("temporarily_unavailable".into(), None),
            ),
            (reply(500, json, "{}"), Refused::Failed("status 500".into(), None)),
            (reply(429, json, "{}"), Refused::Later("status 429".into(), None)),
            (
                reply(200, "text/html; charset=utf-8", "<html>sign in</html>"),
                Refused::Malformed("status 200 with an HTML page".into()),
            ),
            (
                reply(200, json, "{"),
                Refused::Malformed("status 200 with neither JSON nor a form".into()),
            ),
            (
                reply(200, json, "[]"),
                Refused::Malformed("status 200 with neither JSON nor a form".into()),
            ),
            (
                reply(200, json, "{}"),
                Refused::Malformed("it holds no access token".into()),
            ),
            (
                reply(200, json, r#"{"access_token":"a\nb"}"#),
                Refused::Malformed("its access token is no token".into()),
            ),
            (
                reply(404, json, "{}"),
                Refused::App("status 404 without an error code".into()),
            ),
            (
                reply(302, "", ""),
                Refused::Malformed("status 302 with neither JSON nor a form".into()),
            ),
        ];
        let spec = spec(json!({"reply": {"ok": "/ok"}, "refresh": {"ended": ["unauthorized_client"]}}));
        for (reply, expected) in cases {
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert_eq!(read(&spec, &reply, NOW).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn tokens_are_found_where_the_manifest_says_and_scopes_in_every_form() {
        let places = json!({"reply": {
            "access_token": ["/access_token", "/authed_user/access_token"],
            "refresh_token": ["/refresh_token", "/authed_user/refresh_token"]
        }});
        let user_only =
            json!({"ok": true, "authed_user": {"access_token": "u", "refresh_token": "ur"}, "scope": ["a", "b"]});

        let found = read_json(places, user_only).unwrap();

        assert_eq!(found.access.expose(), "u");
        assert_eq!(found.refresh.map(|r| r.expose().to_owned()).as_deref(), Some("ur"));
        assert_eq!(found.scopes, Some(vec!["a".to_owned(), "b".to_owned()]));
        let form = reply(
            200,
            "application/x-www-form-urlencoded",
            "access_token=gho_x&scope=repo%2Cgist&token_type=bearer",
        );
        let found = read(&spec(json!({})), &form, NOW).unwrap();
        assert_eq!(
            (found.access.expose(), found.scopes),
            ("gho_x", Some(vec!["repo".into(), "gist".into()]))
        );
        assert_eq!(read_json(json!({}), json!({"access_token": "t"})).unwrap().scopes, None);
    }

    proptest! {
        #[test]
        fn no_reply_panics(status in 100u16..600, media in "(application/json|text/plain|)", body in ".{0,200}") {
            let spec = spec(json!({"reply": {"expires_at": "/e", "refresh_expires": "/r"}}));
            let _ = read(&spec, &reply(status, &media, &body), NOW);
        }
    }
}

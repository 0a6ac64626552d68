//! `/api/v1/connect-links`, and the two pages that a browser sees: `/oauth/connect/{token}` and `/oauth/callback`.

use super::Call;
use super::input::{json_body, time};
use crate::error::{Error, Result};
use crate::http::{Headers, Method, Response, form_pairs};
use crate::hub::{Callback, NewLink};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The cookie that ties a sign-in to a browser. `__Host-`: from this host alone, over https alone.
const COOKIE: &str = "__Host-patchbay-sign-in";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}";

/// Makes a link.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let mut new: NewLink = json_body(call).await?;
    if let Some(own) = call.owner_of_new(Some(new.owner.clone()))? {
        new.owner = own;
    }
    let link = call.hub.invite(new, call.actor()).await?;
    Ok(Response::json(
        201,
        &json!({"url": link.url, "connection_id": link.connection.id, "expires_at": time(link.expires_at)}),
    ))
}

/// A browser follows a link.
pub async fn depart(call: &Call<'_>) -> Result<Response> {
    if call.head.method == Method::Head {
        // A preview of a link is not a person.
        return Ok(Response::empty(204));
    }
    let cookie = cookie(&call.head.headers);
    match call.hub.depart(call.param("token"), cookie.as_deref()).await {
        Ok(departure) => {
            let mut response = redirect(&departure.url);
            let value = departure.cookie.expose();
            let line = format!("{COOKIE}={value}; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax");
            response.headers.set("set-cookie", &line);
            Ok(response)
        }
        Err(error) => Ok(failure(&error)),
    }
}

/// A browser comes back.
pub async fn arrive(call: &Call<'_>) -> Result<Response> {
    if call.head.method == Method::Head {
        return Ok(Response::empty(204));
    }
    let params = form_pairs(&call.head.query);
    let repeated = params
        .iter()
        .enumerate()
        .any(|(at, (n, _))| params.iter().skip(at + 1).any(|(m, _)| m == n));
    let one = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let callback = Callback {
        state: one("state").unwrap_or_default(),
        code: one("code").filter(|c| !c.is_empty()).map(Secret::new),
        iss: one("iss"),
        error: one("error"),
        error_description: one("error_description"),
        params: params.clone(),
    };
    if callback.state.is_empty() || repeated {
        // RFC 6749, 3.1: no parameter comes twice.
        let why = "the provider's answer lacks its `state`, or holds a parameter twice; open the link again";
        return Ok(failure(&Error::validation(why)));
    }
    let cookie = cookie(&call.head.headers);
    let arrival = call.hub.arrive(&callback, cookie.as_deref()).await;
    if let Some(uri) = &arrival.return_to {
        return Ok(redirect(uri));
    }
    Ok(match &arrival.outcome {
        Ok(connected) => {
            let who = connected
                .connection
                .user_name
                .as_deref()
                .or(connected.connection.user_id.as_deref());
            let what = &connected.connection.integration;
            let text = match who {
                Some(who) => format!("{who} at {what} is connected. You can close this window."),
                None => format!("Your account at {what} is connected. You can close this window."),
            };
            page(200, "Connected", &text)
        }
        Err(error) => failure(error),
    })
}

fn failure(error: &Error) -> Response {
    page(
        error.status(),
        "Not connected",
        &format!("{} ({})", error.public_detail(), error.code()),
    )
}

/// 303, not 302 or 307: whatever came in, the next request is a GET without a body (RFC 9700, 4.12).
fn redirect(url: &str) -> Response {
    let mut response = Response::empty(303);
    response.headers.set("location", url);
    response
}

/// A page that runs nothing and loads nothing. What others wrote stands in it as text.
fn page(status: u16, title: &str, text: &str) -> Response {
    let text = escape(text);
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1><p>{text}</p></html>"
    );
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'");
    Response {
        status,
        headers: Headers::from_pairs([
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", policy.as_str()),
        ]),
        body: html.into_bytes(),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn cookie(headers: &Headers) -> Option<String> {
    let all = headers.all("cookie").flat_map(|line| line.split(';'));
    let mut pairs = all.filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.to_owned())
}

//! The URL at which a person consents (RFC 6749, 4.1.1), with a code challenge (RFC 7636).

use crate::http::percent_encode;
use crate::manifest::oauth2::OAuth2;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What one sign-in asks for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The app.
    pub client_id: &'a str,
    /// Where the provider sends the person back.
    pub redirect_uri: &'a str,
    /// The scopes.
    pub scopes: &'a [String],
    /// What ties the answer to this question.
    pub state: &'a str,
    /// The secret whose hash is sent along; none where the provider takes none.
    pub verifier: Option<&'a str>,
    /// The connection's settings.
    pub config: &'a Value,
}

/// The URL. The parameters come in this order: `client_id, redirect_uri, response_type, scope`, the provider's own by
/// name, `state`, then the challenge.
pub fn url(spec: &OAuth2, endpoint: &str, question: &Question<'_>) -> String {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    let mut standard = |name: &'static str, value: String| {
        let dropped = spec.omit.iter().any(|o| o == name);
        if !dropped && !value.is_empty() {
            pairs.push((spec.rename.get(name).map_or(name, String::as_str), value));
        }
    };
    standard("client_id", question.client_id.to_owned());
    standard("redirect_uri", question.redirect_uri.to_owned());
    standard("response_type", "code".to_owned());
    standard("scope", question.scopes.join(&spec.scope_separator));
    for (name, value) in spec.authorize_params.iter().filter(|(_, v)| !v.is_empty()) {
        pairs.push((name, value.clone()));
    }
    for (name, part) in &spec.authorize_parts {
        let value = question.config.get(part).and_then(Value::as_str);
        pairs.extend(value.map(|value| (name.as_str(), value.to_owned())));
    }
    pairs.push(("state", question.state.to_owned()));
    if let Some(verifier) = question.verifier {
        pairs.push(("code_challenge", challenge(verifier)));
        pairs.push(("code_challenge_method", "S256".to_owned()));
    }
    let query: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{}", query.join("&"))
}

/// The challenge of a verifier: SHA-256 in base64url (RFC 7636, 4.2).
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// Scopes of a text as users write them, separated by blanks or commas, each once and in order.
pub fn scopes(text: &str) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in text.split([' ', ',', '\n', '\t']).filter(|s| !s.is_empty()) {
        if !scopes.iter().any(|s| s == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(more: Value) -> OAuth2 {
        let mut spec = json!({"authorize_url": "https://a.example/auth", "token_url": "https://a.example/token"});
        if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
            spec.extend(more);
        }
        serde_json::from_value(spec).unwrap()
    }

    fn question<'a>(scopes: &'a [String], verifier: Option<&'a str>) -> Question<'a> {
        Question {
            client_id: "your-google-client-id.apps.googleusercontent.com",
            redirect_uri: "https://your-app.example.com/oauth/callback",
            scopes,
            state: "abc123",
            verifier,
            config: &Value::Null,
        }
    }

    #[test]
    fn the_parameters_come_in_the_order_that_was_promised() {
        let spec = spec(json!({"authorize_params": {"prompt": "consent", "access_type": "offline", "hd": ""}}));
        let scopes = scopes("https://www.googleapis.com/auth/calendar.readonly");

        let made = url(
            &spec,
            "https://accounts.google.com/o/oauth2/auth",
            &question(&scopes, None),
        );

        assert_eq!(
            made,
            "https://accounts.google.com/o/oauth2/auth?client_id=your-google-client-id.apps.googleusercontent.com\
             &redirect_uri=https%3A%2F%2Fyour-app.example.com%2Foauth%2Fcallback&response_type=code\
             &scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcalendar.readonly&access_type=offline&prompt=consent\
             &state=abc123"
        );
    }

    #[test]
    fn a_challenge_is_added_and_names_change_where_the_provider_wants_it() {
        let spec = spec(json!({
            "scope_separator": ",", "omit": ["response_type"], "rename": {"client_id": "client_key"}
        }));
        let scopes = scopes("a b,a  c");

        let made = url(&spec, "https://a.example/auth?x=1", &question(&scopes, Some("v")));

        assert!(made.starts_with("https://a.example/auth?x=1&client_key="), "{made}");
        assert!(!made.contains("response_type"), "{made}");
        assert!(made.contains("&scope=a%2Cb%2Cc&state=abc123&code_challenge="), "{made}");
        assert!(made.ends_with("&code_challenge_method=S256"), "{made}");
    }

    #[test]
    fn the_challenge_is_the_one_of_rfc_7636() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}

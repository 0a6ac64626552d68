//! Requests to token, device and revocation endpoints.

use super::Client;
use crate::http::{Headers, Method, Request, percent_encode};
use crate::manifest::oauth2::{ClientAuth, OAuth2, RevokeStyle, TokenBody};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};

/// What is exchanged for a token.
#[derive(Debug)]
pub enum Grant<'a> {
    /// The code of a callback (RFC 6749, 4.1.3).
    Code {
        /// The code.
        code: &'a Secret,
        /// As in the authorize URL.
        redirect_uri: &'a str,
        /// The verifier behind its challenge.
        verifier: Option<&'a Secret>,
    },
    /// A refresh token (RFC 6749, 6).
    Refresh {
        /// The token.
        token: &'a Secret,
        /// As in the authorize URL, for providers that compare it.
        redirect_uri: Option<&'a str>,
        /// The scopes, for providers that want them.
        scope: Option<String>,
    },
    /// The client itself (RFC 6749, 4.4).
    Client {
        /// The grant's name.
        grant_type: &'a str,
        /// The scopes; empty for the client's own.
        scope: String,
        /// Parameters of the provider's own.
        params: Vec<(String, String)>,
    },
    /// A device code (RFC 8628, 3.4).
    Device {
        /// The code.
        code: &'a Secret,
    },
}

/// The request that turns a grant into a token.
pub fn token(spec: &OAuth2, url: String, client: &Client, grant: &Grant<'_>) -> Request {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    match grant {
        Grant::Code {
            code,
            redirect_uri,
            verifier,
        } => {
            pairs.push(("grant_type", "authorization_code".to_owned()));
            pairs.push(("code", code.expose().to_owned()));
            pairs.push(("redirect_uri", (*redirect_uri).to_owned()));
            if let Some(verifier) = verifier {
                pairs.push(("code_verifier", verifier.expose().to_owned()));
            }
        }
        Grant::Refresh {
            token,
            redirect_uri,
            scope,
        } => {
            pairs.push(("grant_type", "refresh_token".to_owned()));
            pairs.push(("refresh_token", token.expose().to_owned()));
            pairs.extend(redirect_uri.map(|uri| ("redirect_uri", uri.to_owned())));
            pairs.extend(scope.clone().map(|scope| ("scope", scope)));
        }
        Grant::Client {
            grant_type,
            scope,
            params,
        } => {
            pairs.push(("grant_type", (*grant_type).to_owned()));
            if !scope.is_empty() {
                pairs.push(("scope", scope.clone()));
            }
            pairs.extend(params.iter().map(|(n, v)| (n.as_str(), v.clone())));
        }
        Grant::Device { code } => {
            pairs.push(("grant_type", "urn:ietf:params:oauth:grant-type:device_code".to_owned()));
            pairs.push(("device_code", code.expose().to_owned()));
        }
    }
    let more = if matches!(grant, Grant::Refresh { .. }) {
        &spec.refresh.params
    } else {
        &spec.token_params
    };
    pairs.extend(more.iter().map(|(n, v)| (n.as_str(), v.clone())));
    proved(spec, url, client, pairs)
}

/// The request for a device code (RFC 8628, 3.1).
pub fn device(spec: &OAuth2, url: String, client: &Client, scopes: &[String]) -> Request {
    let pairs = vec![("scope", scopes.join(&spec.scope_separator))];
    let mut request = proved(spec, url, client, pairs);
    if request.headers.get("authorization").is_some() {
        // The device endpoint names the client in its body however the client proves itself.
        let id = format!("&client_id={}", percent_encode(&client.id));
        request.body.extend(id.into_bytes());
    }
    request
}

/// The request that ends a token.
pub fn revoke(spec: &OAuth2, url: String, style: RevokeStyle, client: &Client, token: &Secret, hint: &str) -> Request {
    match style {
        RevokeStyle::Rfc7009 => {
            let pairs = vec![
                ("token", token.expose().to_owned()),
                ("token_type_hint", hint.to_owned()),
            ];
            let form = OAuth2Form {
                spec,
                body: TokenBody::Form,
            };
            form.request(url, client, pairs)
        }
        RevokeStyle::Bearer => Request {
            method: Method::Post,
            url,
            headers: Headers::from_pairs([("authorization", format!("Bearer {}", token.expose()).as_str())]),
            body: Vec::new(),
        },
        RevokeStyle::DeleteJson => Request {
            method: Method::Delete,
            url,
            headers: Headers::from_pairs([
                (
                    "authorization",
                    basic(&client.id, client.secret.as_ref().map_or("", Secret::expose)).as_str(),
                ),
                ("content-type", "application/json"),
                ("accept", "application/json"),
            ]),
            body: json!({"access_token": token.expose()}).to_string().into_bytes(),
        },
    }
}

fn proved(spec: &OAuth2, url: String, client: &Client, pairs: Vec<(&str, String)>) -> Request {
    OAuth2Form {
        spec,
        body: spec.token_body,
    }
    .request(url, client, pairs)
}

struct OAuth2Form<'a> {
    spec: &'a OAuth2,
    body: TokenBody,
}

impl OAuth2Form<'_> {
    fn request(&self, url: String, client: &Client, mut pairs: Vec<(&str, String)>) -> Request {
        let secret = client.secret.as_ref().map_or("", Secret::expose);
        let mut headers = Headers::from_pairs([("accept", "application/json")]);
        // Exactly one way at a time (RFC 6749, 2.3). A client without a secret is a public one whatever the manifest says.
        let way = if secret.is_empty() {
            ClientAuth::None
        } else {
            self.spec.client_auth
        };
        match way {
            ClientAuth::Body => {
                pairs.push(("client_id", client.id.clone()));
                pairs.push(("client_secret", secret.to_owned()));
            }
            ClientAuth::None => pairs.push(("client_id", client.id.clone())),
            ClientAuth::SecretOnly => pairs.push(("client_secret", secret.to_owned())),
            ClientAuth::Basic => {
                headers.set("authorization", &basic(&form_encode(&client.id), &form_encode(secret)));
            }
            ClientAuth::BasicRaw => headers.set("authorization", &basic(&client.id, secret)),
            ClientAuth::SecretAsUser => headers.set("authorization", &basic(secret, "")),
        }
        for (name, value) in &self.spec.token_headers {
            headers.set(name, value);
        }
        let renamed = |name: &str| self.spec.rename.get(name).cloned().unwrap_or_else(|| name.to_owned());
        let (media, body) = match self.body {
            TokenBody::Form => {
                let text: Vec<String> = pairs
                    .iter()
                    .map(|(n, v)| format!("{}={}", form_encode(&renamed(n)), form_encode(v)))
                    .collect();
                ("application/x-www-form-urlencoded", text.join("&"))
            }
            TokenBody::Json => {
                let members: Map<_, _> = pairs.iter().map(|(n, v)| (renamed(n), json!(v))).collect();
                ("application/json", serde_json::Value::Object(members).to_string())
            }
        };
        headers.set("content-type", media);
        Request {
            method: Method::Post,
            url,
            headers,
            body: body.into_bytes(),
        }
    }
}

/// The value of an `Authorization` header (RFC 7617).
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// `application/x-www-form-urlencoded`: as in URLs, with `+` for a blank.
fn form_encode(text: &str) -> String {
    percent_encode(text).replace("%20", "+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::form_pairs;
    use serde_json::Value;

    fn spec(more: Value) -> OAuth2 {
        let mut spec = json!({"authorize_url": "https://a.example/auth", "token_url": "https://a.example/token"});
        if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
            spec.extend(more);
        }
        serde_json::from_value(spec).unwrap()
    }

    fn client() -> Client {
        Client {
            id: "an id:1".into(),
            secret: Some(Secret::new("s&c r%t")),
        }
    }

    fn send(spec: &OAuth2, grant: &Grant<'_>) -> (Option<String>, Vec<(String, String)>) {
        let request = token(spec, "https://a.example/token".into(), &client(), grant);
        assert_eq!(request.headers.get("accept"), Some("application/json"));
        let text = String::from_utf8(request.body).unwrap();
        (
            request.headers.get("authorization").map(str::to_owned),
            form_pairs(&text),
        )
    }

    fn has(pairs: &[(String, String)], name: &str) -> Option<String> {
        pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
    }

    #[test]
    fn the_client_proves_itself_in_exactly_one_way() {
        let (code, verifier) = (Secret::new("c"), Secret::new("v"));
        let grant = Grant::Code {
            code: &code,
            redirect_uri: "https://x/cb",
            verifier: Some(&verifier),
        };
        let encoded = STANDARD.encode("an+id%3A1:s%26c+r%25t");
        let raw = STANDARD.encode("an id:1:s&c r%t");
        let as_user = STANDARD.encode("s&c r%t:");
        let cases = [
            ("body", None, Some("an id:1"), Some("s&c r%t")),
            ("basic", Some(encoded), None, None),
            ("basic_raw", Some(raw), None, None),
            ("secret_as_user", Some(as_user), None, None),
            ("secret_only", None, None, Some("s&c r%t")),
            ("none", None, Some("an id:1"), None),
        ];
        for (way, header, id, secret) in cases {
            let (authorization, pairs) = send(&spec(json!({"client_auth": way})), &grant);
            assert_eq!(authorization, header.map(|h| format!("Basic {h}")), "{way}");
            assert_eq!(has(&pairs, "client_id").as_deref(), id, "{way}");
            assert_eq!(has(&pairs, "client_secret").as_deref(), secret, "{way}");
            assert_eq!(has(&pairs, "code_verifier").as_deref(), Some("v"), "{way}");
        }
    }

    #[test]
    fn grants_are_written_as_forms_or_json_with_the_providers_own_parameters() {
        let spec = spec(json!({
            "token_body": "json", "token_params": {"expiring": "1"}, "refresh": {"params": {"expires_in": "1800"}},
            "token_headers": {"notion-version": "2022-06-28"}
        }));
        let old = Secret::new("r");
        let grant = Grant::Refresh {
            token: &old,
            redirect_uri: Some("https://x/cb"),
            scope: None,
        };

        let request = token(&spec, "https://a.example/token".into(), &client(), &grant);

        let sent: Value = serde_json::from_slice(&request.body).unwrap();
        let wanted = json!({
            "grant_type": "refresh_token", "refresh_token": "r", "redirect_uri": "https://x/cb", "expires_in": "1800",
            "client_id": "an id:1", "client_secret": "s&c r%t"
        });
        assert_eq!(sent, wanted);
        assert_eq!(request.headers.get("notion-version"), Some("2022-06-28"));
    }
}

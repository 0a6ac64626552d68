//! The `auth` part of a manifest: the fields of a connection, and how a request is authorised with them.

use super::Schema;
use super::action::RequestTemplate;
use super::oauth2::{self, OAuth2, Part};
use crate::error::{Error, Result};
use crate::schema;
use crate::template::{JsonTemplate, Template};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a connection holds and how it is used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Auth {
    /// Source 002's name of this way to authorise.
    #[serde(default)]
    pub identifier: Option<String>,
    /// Source 002's kind; only `Custom` is told apart there.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// JSON Schema of a connection's `config`. A property with `format: "password"` is a secret: stored encrypted,
    /// never shown, and not visible to expressions. One with `format: "host"` names the server that requests go to.
    /// `env` names the setting `<SERVICE>_<env>` that fills the field where no connection is involved.
    #[serde(default)]
    pub fields: Schema,
    /// How an account is connected by OAuth 2.0. Beside `fields` it is a second way; a connection uses one.
    #[serde(default)]
    pub oauth2: Option<OAuth2>,
    /// What `{name}` in URLs stands for: in `base_url` and in those of `oauth2`.
    #[serde(default)]
    pub parts: BTreeMap<String, Part>,
    /// How an access token is obtained, where the fields are not themselves the credential.
    #[serde(default)]
    pub token: Option<TokenExchange>,
    /// What is added to each request. `token` is the access token, `secret.<field>` a secret field.
    #[serde(default)]
    pub apply: Apply,
    /// What is added in place of that where a connection has this field; the first by name.
    #[serde(default)]
    pub apply_with: BTreeMap<String, Apply>,
}

/// A signed assertion exchanged for an access token (RFC 7523's pattern; app installations use the same).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct TokenExchange {
    /// The assertion, as `jwt` in `request`.
    pub jwt: Jwt,
    /// The request that answers with a token.
    pub request: RequestTemplate,
    /// The token in the reply (`body`).
    pub access_token: Template,
    /// The secret field that holds an access token where a connection has one already: then nothing is exchanged.
    #[serde(default)]
    pub given_field: Option<String>,
    /// When it ends, as RFC 3339 text, in the reply (`body`); where absent, its `expires_in` says so, or it is an hour.
    #[serde(default)]
    pub expires_at: Option<Template>,
}

/// A JSON Web Token (RFC 7519) signed with a key of the connection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Jwt {
    /// The algorithm of RFC 7518.
    pub algorithm: JwtAlgorithm,
    /// The secret field that holds the private key, in PEM (PKCS#1 or PKCS#8).
    pub key_field: String,
    /// Claims besides `iat` and `exp`.
    pub claims: JsonTemplate,
    /// Seconds that `iat` lies before now, for clocks that differ.
    #[serde(default)]
    pub backdate_s: i64,
    /// Seconds from `iat` to `exp`.
    pub lifetime_s: i64,
}

/// How a [`Jwt`] is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum JwtAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

/// What is added to each authorised request. In every text `{token}` stands for the access token, `{secret.<field>}` for
/// a secret field and `{config.<field>}` for one that is not.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Apply {
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Query parameters by name, for services that take a key in no other way.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// HTTP Basic (RFC 7617).
    #[serde(default)]
    pub basic: Option<Basic>,
    /// AWS Signature Version 4, over the request as it is sent.
    #[serde(default)]
    pub sigv4: Option<SigV4>,
}

/// HTTP Basic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Basic {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// AWS Signature Version 4.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct SigV4 {
    /// The access key's id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The token of temporary credentials; left out where the connection has none.
    #[serde(default)]
    pub session_token: Option<String>,
    /// The region.
    pub region: String,
    /// The service's name in the signature's scope.
    pub service: String,
    /// S3's way: the path is encoded once, and the body's hash is sent.
    #[serde(default)]
    pub s3: bool,
}

impl Auth {
    /// What `{name}` in URLs stands for.
    pub fn parts(&self) -> &BTreeMap<String, Part> {
        &self.parts
    }

    /// Whether a connection can be made of settings alone.
    pub fn has_fields(&self) -> bool {
        self.properties().next().is_some()
    }

    /// Whether these settings are of an account that lives on settings: at least one that a sign-in has not.
    pub fn has_field_among<'n>(&self, mut names: impl Iterator<Item = &'n String>) -> bool {
        names.any(|name| !self.parts.contains_key(name) && self.properties().any(|(field, _)| field == name))
    }

    /// The names of the secret fields.
    pub fn secret_fields(&self) -> impl Iterator<Item = &str> {
        self.properties()
            .filter(|(_, p)| p.get("format").and_then(Value::as_str) == Some("password"))
            .map(|(name, _)| name)
    }

    /// The fields that name a server which requests with the credential may go to.
    pub fn host_fields(&self) -> impl Iterator<Item = &str> {
        self.properties()
            .filter(|(name, p)| *name == "base_url" || p.get("format").and_then(Value::as_str) == Some("host"))
            .map(|(name, _)| name)
    }

    /// The fields that a setting can fill: field name and the setting's name without the service.
    pub fn env_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties()
            .filter_map(|(name, p)| Some((name, p.get("env")?.as_str()?)))
    }

    /// The fields that a connection with these settings must have.
    pub fn required(&self, config: &Value) -> Vec<&str> {
        let branch = self.fields.get("if").and_then(|condition| {
            let holds = schema::violations(condition, config).is_empty();
            self.fields.get(if holds { "then" } else { "else" })
        });
        let lists = [self.fields.get("required"), branch.and_then(|b| b.get("required"))];
        let names = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
        names.filter_map(Value::as_str).collect()
    }

    fn properties(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, p)| (name.as_str(), p))
    }

    /// Compiles every expression.
    pub fn check(&self) -> Result<()> {
        if let Some(token) = &self.token {
            token.jwt.claims.check("/auth/token/jwt/claims")?;
            token.request.check("/auth/token/request")?;
            token.access_token.check()?;
            token.expires_at.as_ref().map_or(Ok(()), Template::check)?;
        }
        for name in self.apply_with.keys() {
            if !self.properties().any(|(field, _)| field == name) {
                return Err(Error::validation(format!("/auth/apply_with: `{name}` is no field")));
            }
        }
        oauth2::check_parts(&self.parts)?;
        self.oauth2.as_ref().map_or(Ok(()), |spec| spec.check(&self.parts))
    }
}

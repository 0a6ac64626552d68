//! The `auth` part of a manifest: the fields of a connection, and how a request is authorised with them.

use super::Schema;
use super::action::RequestTemplate;
use crate::error::Result;
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
    pub fields: Schema,
    /// How an access token is obtained, where the fields are not themselves the credential.
    #[serde(default)]
    pub token: Option<TokenExchange>,
    /// What is added to each request. `token` is the access token, `secret.<field>` a secret field.
    #[serde(default)]
    pub apply: Apply,
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
    /// When it ends, as RFC 3339 text, in the reply (`body`); an hour where absent.
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

/// What is added to each authorised request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Apply {
    /// Headers by name; `{token}` and `{secret.<field>}` stand for secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

impl Auth {
    /// The names of the secret fields.
    pub fn secret_fields(&self) -> impl Iterator<Item = &str> {
        self.properties()
            .filter(|(_, p)| p.get("format").and_then(Value::as_str) == Some("password"))
            .map(|(name, _)| name)
    }

    /// The fields that a setting can fill: field name and the setting's name without the service.
    pub fn env_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties()
            .filter_map(|(name, p)| Some((name, p.get("env")?.as_str()?)))
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
        Ok(())
    }
}

//! The `auth.oauth2` part of a manifest: how an account is connected by OAuth 2.0 (RFC 6749) at one provider.
//!
//! URLs may hold `{name}`, where `name` is one of `auth.parts`: each part says what a value of it must look like, so that no
//! setting, and nothing that a provider answers, can lead a secret to a host that is not the provider's.

use super::auth::Apply;
use crate::error::{Error, Result};
use crate::template::Template;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How an account is connected by OAuth 2.0.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct OAuth2 {
    /// Where a person consents. Absent where only programs get tokens (`client_credentials`).
    #[serde(default)]
    pub authorize_url: Option<String>,
    /// Where codes become tokens.
    pub token_url: String,
    /// Where refresh tokens become tokens, if that is another place.
    #[serde(default)]
    pub refresh_url: Option<String>,
    /// Where device codes come from (RFC 8628).
    #[serde(default)]
    pub device_url: Option<String>,
    /// How tokens are revoked.
    #[serde(default)]
    pub revoke: Option<Revoke>,
    /// The provider's issuer, compared with the callback's `iss` (RFC 9207); the authorize URL's origin where absent.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Scopes that are asked for where the connection names none.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What stands between scopes in requests.
    #[serde(default = "space")]
    pub scope_separator: String,
    /// Parameters of the authorize URL besides those of RFC 6749, in the order of their names. Empty ones are left out.
    #[serde(default)]
    pub authorize_params: BTreeMap<String, String>,
    /// Parameters that a part of the connection's settings gives; left out where it has none.
    #[serde(default)]
    pub authorize_parts: BTreeMap<String, String>,
    /// Parameters of RFC 6749 that this provider does not take (`response_type`, `scope`).
    #[serde(default)]
    pub omit: Vec<String>,
    /// Parameters of RFC 6749 that go by another name here.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Whether a code challenge (RFC 7636, S256) is sent; off only where the provider refuses it.
    #[serde(default = "yes")]
    pub pkce: bool,
    /// How the client proves itself at the token endpoint.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// How token requests are written.
    #[serde(default)]
    pub token_body: TokenBody,
    /// Parameters added to requests for a first token.
    #[serde(default)]
    pub token_params: BTreeMap<String, String>,
    /// Headers of token requests besides `accept: application/json`.
    #[serde(default)]
    pub token_headers: BTreeMap<String, String>,
    /// Where things stand in the token reply, as JSON pointers, where not as in RFC 6749.
    #[serde(default)]
    pub reply: Reply,
    /// Seconds that an access token lasts where the reply does not say. Absent: it is used until it is refused.
    #[serde(default)]
    pub default_expires_in: Option<i64>,
    /// How refresh tokens behave.
    #[serde(default)]
    pub refresh: Refresh,
    /// Whose account it is.
    #[serde(default)]
    pub userinfo: Option<UserInfo>,
    /// Tokens for programs (RFC 6749, 4.4).
    #[serde(default)]
    pub client_credentials: Option<ClientCredentials>,
    /// What is added to each request made with such a token; `Authorization: Bearer {token}` where absent.
    #[serde(default)]
    pub apply: Option<Apply>,
}

/// A value that a URL or request needs of the connection, and what it must look like.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Part {
    /// What it is, for the person who connects the account.
    pub description: String,
    /// What it must look like.
    #[serde(default)]
    pub kind: PartKind,
    /// The only values that it can have.
    #[serde(default)]
    pub one_of: Vec<String>,
    /// Of a host or an origin: what its host must end with, the leading dot included.
    #[serde(default)]
    pub suffixes: Vec<String>,
    /// Its value where the connection has none.
    #[serde(default)]
    pub default: Option<String>,
    /// Whether a connection can do without it, where it has no default: then no URL can name it.
    #[serde(default)]
    pub optional: bool,
    /// Where the hub reads it when the account is connected. Absent: a setting of the connection.
    #[serde(default)]
    pub from: Option<Source>,
}

impl Part {
    /// Whether it names a server that can be anybody's.
    pub fn is_anybodys(&self) -> bool {
        self.kind == PartKind::Origin && self.suffixes.is_empty() && self.one_of.is_empty() && self.from.is_none()
    }
}

/// What a [`Part`] must look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum PartKind {
    /// One label of a host name: letters, digits, `-`.
    #[default]
    Label,
    /// A host name. Needs `one_of` or `suffixes`.
    Host,
    /// One segment of a path: letters, digits, `-`, `.`, `_`.
    Segment,
    /// `https://` and a host, for services that users run themselves; with a path if the service lives under one.
    Origin,
    /// Any text without control characters. Not for URLs.
    Text,
}

/// Where a [`Part`] is read when the account is connected.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum Source {
    /// From the token reply (`body`).
    Token(Template),
    /// From a parameter of the callback, by name.
    Callback(String),
    /// From another request with the new token.
    Lookup(Lookup),
}

/// One GET with the new token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Lookup {
    /// The URL.
    pub url: String,
    /// The value in its JSON reply (`body`).
    pub value: Template,
}

/// How the client proves itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum ClientAuth {
    /// `client_id` and `client_secret` in the body.
    #[default]
    Body,
    /// HTTP Basic, both form-encoded first (RFC 6749, 2.3.1).
    Basic,
    /// HTTP Basic with both as they are, for providers that do not decode.
    BasicRaw,
    /// HTTP Basic with the secret as user name and no password.
    SecretAsUser,
    /// `client_secret` alone in the body.
    SecretOnly,
    /// A public client: `client_id` in the body.
    None,
}

/// How token requests are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum TokenBody {
    /// `application/x-www-form-urlencoded`, as RFC 6749 wants it.
    #[default]
    Form,
    /// JSON.
    Json,
}

/// Where things stand in a token reply, as JSON pointers. Absent ones are where RFC 6749 puts them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Reply {
    /// A truth value that is false where the reply is an error, whatever its status.
    #[serde(default)]
    pub ok: Option<String>,
    /// The access token; the first place that holds a text.
    #[serde(default)]
    pub access_token: Vec<String>,
    /// The refresh token; the first place that holds a text.
    #[serde(default)]
    pub refresh_token: Vec<String>,
    /// Seconds until the access token ends.
    #[serde(default)]
    pub expires_in: Vec<String>,
    /// The time at which it ends: RFC 3339, or seconds or milliseconds since 1970.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Seconds until the refresh token ends, or the time as in `expires_at`.
    #[serde(default)]
    pub refresh_expires: Option<String>,
    /// The granted scopes: a list, or a text with blanks or commas.
    #[serde(default)]
    pub scope: Option<String>,
}

/// How refresh tokens behave.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Refresh {
    /// Whether each use gives a new one and ends the old.
    #[serde(default)]
    pub rotates: bool,
    /// Seconds without use after which it ends.
    #[serde(default)]
    pub idle_s: Option<i64>,
    /// Seconds after the consent at which it ends whatever happens.
    #[serde(default)]
    pub absolute_s: Option<i64>,
    /// Whether the `redirect_uri` of the consent must be sent along.
    #[serde(default)]
    pub with_redirect_uri: bool,
    /// Whether the granted scopes must be sent along.
    #[serde(default)]
    pub with_scope: bool,
    /// Parameters added to the request.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Error codes besides `invalid_grant` that mean that the refresh token is of no use any more.
    #[serde(default)]
    pub ended: Vec<String>,
}

/// How tokens are revoked when a connection is removed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Revoke {
    /// Where.
    pub url: String,
    /// How; RFC 7009 where absent.
    #[serde(default)]
    pub style: RevokeStyle,
    /// Whether one token's end is the end of all that the user's consent brought: then nothing is revoked while another
    /// connection of the same user lives on it.
    #[serde(default)]
    pub ends_grant: bool,
}

/// Ways to revoke a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum RevokeStyle {
    /// RFC 7009: `token` and `token_type_hint` as a form, with the client's own proof.
    #[default]
    Rfc7009,
    /// A POST with the access token as bearer, and no body.
    Bearer,
    /// A DELETE with HTTP Basic of the client, and `{"access_token": …}` as JSON.
    DeleteJson,
}

/// Whose account it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct UserInfo {
    /// Where a GET with the new token tells; absent: the token reply does.
    #[serde(default)]
    pub url: Option<String>,
    /// A JSON document to POST there instead of the GET, for GraphQL.
    #[serde(default)]
    pub query: Option<String>,
    /// The user's id at the provider, stable and never reused, in the reply (`body`).
    pub id: Template,
    /// The user's name, for people.
    #[serde(default)]
    pub name: Option<Template>,
}

/// Tokens for programs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct ClientCredentials {
    /// The grant's name, where it has one of its own.
    #[serde(default = "client_credentials")]
    pub grant_type: String,
    /// Parameters added to the request; `{name}` stands for a part.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
}

fn space() -> String {
    " ".to_owned()
}

fn yes() -> bool {
    true
}

fn client_credentials() -> String {
    "client_credentials".to_owned()
}

impl OAuth2 {
    /// What is added to requests made with its tokens, if the manifest says so.
    pub fn apply(&self) -> Option<&Apply> {
        self.apply.as_ref()
    }

    /// Every URL that a secret goes to, with its place in the manifest.
    fn urls(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let single = [
            ("authorize_url", self.authorize_url.as_deref()),
            ("token_url", Some(self.token_url.as_str())),
            ("refresh_url", self.refresh_url.as_deref()),
            ("device_url", self.device_url.as_deref()),
            ("revoke/url", self.revoke.as_ref().map(|r| r.url.as_str())),
            ("userinfo/url", self.userinfo.as_ref().and_then(|u| u.url.as_deref())),
        ];
        single.into_iter().filter_map(|(at, url)| Some((at, url?)))
    }

    /// Whether the part of this name decides where a secret goes.
    pub fn leads_by(&self, part: &str) -> bool {
        let named = format!("{{{part}}}");
        self.urls().any(|(_, url)| url.contains(&named))
    }

    /// Compiles every expression, and checks that each `{name}` of a URL is a part that can stand there.
    pub fn check(&self, parts: &BTreeMap<String, Part>) -> Result<()> {
        for (at, url) in self.urls() {
            check_url(url, parts).map_err(|why| Error::invalid(format!("/auth/oauth2/{at}"), why))?;
        }
        if let Some(info) = &self.userinfo {
            named(&info.id, "/auth/oauth2/userinfo/id")?;
            info.name
                .as_ref()
                .map_or(Ok(()), |t| named(t, "/auth/oauth2/userinfo/name"))?;
        }
        if let Some(name) = self.authorize_parts.values().find(|name| !parts.contains_key(*name)) {
            let message = format!("names the part `{name}`, which is not there");
            return Err(Error::invalid("/auth/oauth2/authorize_parts", message));
        }
        if self.authorize_url.is_none() && self.client_credentials.is_none() && self.device_url.is_none() {
            let message = "needs `authorize_url`, `device_url` or `client_credentials`";
            return Err(Error::invalid("/auth/oauth2", message));
        }
        Ok(())
    }
}

/// Whether every `{name}` of a URL is a part that can stand where it stands.
pub fn check_url(url: &str, parts: &BTreeMap<String, Part>) -> std::result::Result<(), String> {
    // The revocation of a few providers names the app in its path.
    let url = url.replace("{client_id}", "");
    let mut rest = url.as_str();
    let mut at_start = true;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}').ok_or("has a `{` without its `}`")?;
        let part = parts
            .get(name)
            .ok_or(format!("names the part `{name}`, which is not there"))?;
        let whole_origin = at_start && before.is_empty();
        match part.kind {
            PartKind::Origin if whole_origin => {}
            PartKind::Origin | PartKind::Text => return Err(format!("cannot hold the part `{name}` there")),
            PartKind::Label | PartKind::Host | PartKind::Segment if whole_origin => {
                return Err("must begin with https:// or an origin".to_owned());
            }
            PartKind::Label | PartKind::Host | PartKind::Segment => {}
        }
        at_start = false;
        rest = tail;
    }
    // Plain http stands only in definitions for a private network, where the egress guard lets it pass.
    if at_start && !url.starts_with("https://") && !url.starts_with("http://") {
        return Err("must begin with https://".to_owned());
    }
    Ok(())
}

/// Whether each part says enough to be guarded by.
pub fn check_parts(parts: &BTreeMap<String, Part>) -> Result<()> {
    for (name, part) in parts {
        let at = format!("/auth/parts/{name}");
        if part.kind == PartKind::Host && part.one_of.is_empty() && part.suffixes.is_empty() {
            return Err(Error::invalid(at, "is a host: it needs `one_of` or `suffixes`"));
        }
        if part.suffixes.iter().any(|s| !s.starts_with('.')) {
            return Err(Error::invalid(at, "has a suffix without its leading dot"));
        }
        // A provider's answer must not lead the secrets that follow it to anywhere.
        if part.kind == PartKind::Origin && part.from.is_some() && part.suffixes.is_empty() {
            return Err(Error::invalid(
                at,
                "is an origin that a reply names: it needs `suffixes`",
            ));
        }
        match &part.from {
            Some(Source::Lookup(lookup)) => {
                check_url(&lookup.url, parts).map_err(|why| Error::invalid(at.as_str(), why))?;
                named(&lookup.value, &at)?;
            }
            Some(Source::Token(template)) => named(template, &at)?,
            Some(Source::Callback(_)) | None => {}
        }
    }
    Ok(())
}

fn named(template: &Template, at: &str) -> Result<()> {
    template.check().map_err(|e| Error::validation(format!("{at}: {e}")))
}

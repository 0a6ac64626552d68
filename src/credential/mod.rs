//! Whose account acts: the settings of a connection, or of the app itself, and the requests authorised with them.

pub mod grant;
pub mod jwt;
pub mod reference;
pub mod refresh;
pub mod sigv4;
mod timing;
pub mod token;
pub mod user;
pub mod vault;

use crate::action::egress;
use crate::error::{Error, Result};
use crate::http::{Request, percent_encode};
use crate::manifest::Manifest;
use crate::manifest::auth::{Apply, Auth};
use crate::oauth::{self, part};
use crate::ports::Host;
use crate::secret::Secret;
use crate::settings;
use crate::store::connection::Connection;
use crate::template::Scope;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// What an action acts with.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Names the account in caches and logs: the connection's id or `app:{service}`.
    pub source: String,
    /// The fields that are not secret.
    pub config: Value,
    /// The fields that are.
    pub secrets: BTreeMap<String, Secret>,
    /// The installation, workspace or tenant that the event named.
    pub account: Option<String>,
    /// Where requests go, without a trailing slash.
    pub base_url: String,
    /// The connection's row, where tokens are held for it.
    pub grant: Option<Box<Connection>>,
    /// The status of the last reply to a request with it: that it was used.
    pub answered: Cell<Option<u16>>,
    /// Whether requests carry the app's own signed assertion in place of an account's token.
    pub asserts: bool,
}

impl Credential {
    /// From the stored fields of a connection.
    pub fn of_connection(
        manifest: &Manifest,
        id: &str,
        config: Value,
        secrets: BTreeMap<String, Secret>,
        account: Option<String>,
        host: &dyn Host,
    ) -> Result<Self> {
        Ok(Self {
            source: id.to_owned(),
            base_url: base_url(manifest, &config, host)?,
            config,
            secrets,
            account,
            grant: None,
            answered: Cell::default(),
            asserts: false,
        })
    }

    /// From the Worker's own settings: what deliveries on the app-level route are answered with.
    pub fn of_app(manifest: &Manifest, account: Option<String>, host: &dyn Host) -> Result<Self> {
        let Some(auth) = &manifest.auth else {
            // Whatever asks such a service names the whole address.
            let config = Value::Object(Map::new());
            return Ok(Self {
                source: format!("app:{}", manifest.name),
                base_url: base_url(manifest, &config, host).unwrap_or_default(),
                config,
                secrets: BTreeMap::new(),
                account,
                grant: None,
                answered: Cell::default(),
                asserts: false,
            });
        };
        let secret_fields: Vec<&str> = auth.secret_fields().collect();
        let mut config = Map::new();
        let mut secrets = BTreeMap::new();
        for (field, env) in auth.env_fields() {
            let Some(value) = host.secret(&manifest.setting(env)) else {
                continue;
            };
            if secret_fields.contains(&field) {
                secrets.insert(field.to_owned(), value);
            } else {
                config.insert(field.to_owned(), json!(value.expose()));
            }
        }
        for field in auth.required(&Value::Object(config.clone())) {
            if !config.contains_key(field) && !secrets.contains_key(field) {
                let env = auth
                    .env_fields()
                    .find(|(f, _)| *f == field)
                    .map_or(field, |(_, env)| env);
                return Err(Error::missing_setting(&manifest.setting(env)));
            }
        }
        let config = Value::Object(config);
        Ok(Self {
            source: format!("app:{}", manifest.name),
            base_url: base_url(manifest, &config, host)?,
            config,
            secrets,
            account,
            grant: None,
            answered: Cell::default(),
            asserts: false,
        })
    }

    /// Of nobody, for integrations without accounts.
    pub fn of_nobody(manifest: &Manifest, host: &dyn Host) -> Result<Self> {
        Ok(Self {
            source: format!("app:{}", manifest.name),
            base_url: base_url(manifest, &Value::Null, host)?,
            config: Value::Object(Map::new()),
            secrets: BTreeMap::new(),
            account: None,
            grant: None,
            answered: Cell::default(),
            asserts: false,
        })
    }

    /// The names that templates of requests see. No secret is among them.
    pub fn scope(&self, more: &[(&str, &Value)]) -> Scope {
        let account = json!(self.account);
        let own = [("config", &self.config), ("account", &account)];
        Scope::new(own.into_iter().chain(more.iter().copied()))
    }

    /// What is added to requests of this credential.
    pub fn apply<'a>(&self, auth: &'a Auth) -> &'a Apply {
        static BEARER: LazyLock<Apply> = LazyLock::new(|| Apply {
            headers: BTreeMap::from([("authorization".to_owned(), "Bearer {token}".to_owned())]),
            ..Apply::default()
        });
        match (&self.grant, &auth.oauth2) {
            (Some(_), Some(oauth2)) => oauth2.apply().unwrap_or(&BEARER),
            _ => {
                let mut others = auth.apply_with.iter();
                let own = others.find(|(field, _)| self.has(field));
                own.map_or(&auth.apply, |(_, apply)| apply)
            }
        }
    }

    fn has(&self, field: &str) -> bool {
        self.secrets.contains_key(field) || self.config.get(field).is_some_and(|value| !value.is_null())
    }

    /// Adds what the manifest says to a request, which is then complete: a signature covers it as it is.
    pub fn authorise(
        &self,
        apply: &Apply,
        token: Option<&Secret>,
        request: &mut Request,
        now: Timestamp,
    ) -> Result<()> {
        for (name, pattern) in &apply.headers {
            let value = self.fill(pattern, token)?;
            request.headers.set(name, value.expose());
        }
        for (name, pattern) in &apply.query {
            let value = self.fill(pattern, token)?;
            let separator = if request.url.contains('?') { '&' } else { '?' };
            let pair = format!("{separator}{}={}", percent_encode(name), percent_encode(value.expose()));
            request.url.push_str(&pair);
        }
        if let Some(basic) = &apply.basic {
            let (user, password) = (self.fill(&basic.user, token)?, self.fill(&basic.password, token)?);
            let value = oauth::request::basic(user.expose(), password.expose());
            request.headers.set("authorization", &value);
        }
        if let Some(spec) = &apply.sigv4 {
            let keys = sigv4::Keys {
                access_key: self.fill(&spec.access_key, token)?,
                secret_key: self.fill(&spec.secret_key, token)?,
                session_token: spec.session_token.as_ref().and_then(|p| self.fill(p, token).ok()),
                region: self.fill(&spec.region, token)?.expose().to_owned(),
                service: self.fill(&spec.service, token)?.expose().to_owned(),
            };
            sigv4::sign(&keys, spec.s3, request, now)?;
        }
        Ok(())
    }

    /// A pattern with its `{token}`, `{secret.<field>}` and `{config.<field>}` replaced, in one pass: what is put in is not
    /// looked at again.
    fn fill(&self, pattern: &str, token: Option<&Secret>) -> Result<Secret> {
        let lacking =
            |name: &str| Error::ReauthRequired(format!("the connection has no `{name}`, which requests need"));
        let mut filled = Zeroizing::new(String::new());
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').ok_or_else(|| lacking(pattern))?;
            filled.push_str(before);
            let value = match name.split_once('.') {
                None if name == "token" => token.map(Secret::expose),
                Some(("secret", field)) => self.secrets.get(field).map(Secret::expose),
                Some(("config", field)) => self.config.get(field).and_then(Value::as_str),
                _ => None,
            };
            filled.push_str(value.filter(|v| !v.is_empty()).ok_or_else(|| lacking(name))?);
            rest = tail;
        }
        filled.push_str(rest);
        if filled.bytes().any(|b| b < b' ' || b == 0x7f) {
            return Err(Error::ReauthRequired(format!(
                "what `{pattern}` stands for holds control characters"
            )));
        }
        Ok(Secret::new(filled.as_str()))
    }
}

/// The scopes that a connection asks for: its own setting, or the manifest's.
pub fn wanted_scopes(provider: &grant::Provider<'_>, c: &Connection) -> Vec<String> {
    let own = c
        .config
        .get("scope")
        .and_then(Value::as_str)
        .map(oauth::authorize::scopes);
    own.filter(|scopes| !scopes.is_empty())
        .unwrap_or_else(|| provider.spec.scopes.clone())
}

/// A random number in 0..1.
pub fn jitter(host: &dyn Host) -> f64 {
    let mut bytes = [0u8; 2];
    host.random(&mut bytes);
    f64::from(u16::from_be_bytes(bytes)) / 65_536.0
}

/// The manifest's `auth`, or a clear error.
pub fn auth(manifest: &Manifest) -> Result<&Auth> {
    manifest.auth.as_ref().ok_or_else(|| {
        Error::validation(format!(
            "the integration `{}` has no `auth`: it needs no connection",
            manifest.name
        ))
    })
}

/// The origin of the self-managed server that a connection of these settings leads to; empty: the service's own.
pub fn server(manifest: &Manifest, config: &Value, host: &dyn Host) -> Result<String> {
    // What lacks a part of its address has not named a server of its own.
    let url = base_url(manifest, config, host).unwrap_or_default();
    if url.is_empty() {
        return Ok(String::new());
    }
    let origin = egress::origin(&url)?;
    Ok(match manifest.owns_host(&origin.host) {
        true => String::new(),
        false => origin.to_string(),
    })
}

fn base_url(manifest: &Manifest, config: &Value, host: &dyn Host) -> Result<String> {
    let fields = manifest.auth.iter().flat_map(Auth::host_fields);
    let mut named = ["base_url"].into_iter().chain(fields);
    let own = named.find_map(|field| config.get(field)?.as_str().map(str::to_owned));
    if let Some(url) = own.or_else(|| host.var(&manifest.setting("API_BASE_URL")).filter(|v| !v.is_empty())) {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    // Without one, requests name their URLs themselves.
    let Some(url) = &manifest.base_url else {
        return Ok(String::new());
    };
    if !url.contains('{') {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let missing = || Error::validation(format!("the base URL of `{}` needs settings of `auth`", manifest.name));
    let parts = manifest.auth.as_ref().map(Auth::parts).ok_or_else(missing)?;
    let url = part::url(url, parts, config, settings::allow_private_network(host))?;
    Ok(url.trim_end_matches('/').to_owned())
}

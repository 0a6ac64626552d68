//! What requests bring: JSON bodies, queries, pages.

use super::{Call, strict};
use crate::error::{Error, Result};
use crate::http::{Response, form_pairs};
use crate::id::{self, Kind};
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Most bytes of a management request.
pub const MAX_BODY: usize = 1024 * 1024;

/// Rows of a page where the request names none, and at most.
const PAGE: (i64, i64) = (50, 200);

/// The body as JSON of this shape; an error names the place where it can.
pub async fn json_body<T: DeserializeOwned>(call: &Call<'_>) -> Result<T> {
    let media = call.head.headers.get("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media != "application/json" && !media.ends_with("+json") {
        return Err(Error::UnsupportedMediaType);
    }
    strict::read(&call.body.read(MAX_BODY).await?)
}

/// The body as JSON of this shape, or what stands for no body.
pub async fn optional_json_body<T: DeserializeOwned + Default>(call: &Call<'_>) -> Result<T> {
    if call.head.headers.get("content-type").is_some() {
        return json_body(call).await;
    }
    if call.body.read(MAX_BODY).await?.is_empty() {
        return Ok(T::default());
    }
    Err(Error::UnsupportedMediaType)
}

/// Reads a member that may be null and may be absent: absent stays `None` by `serde(default)`.
pub fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// A name or an owner: 1 to 200 characters that are not all blank.
pub fn check_text(pointer: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() || text.chars().count() > 200 {
        return Err(Error::invalid(pointer, "must have 1 to 200 characters"));
    }
    Ok(())
}

/// The query's parameters, each known and at most once.
pub struct Query {
    pairs: Vec<(String, String)>,
    // What a cursor is bound to: the list, whose rows, and the filters.
    list: Vec<String>,
}

impl Query {
    /// Reads the query; a parameter that is not in `known` is an error, so that a misspelt filter cannot pass as none.
    pub fn of(call: &Call<'_>, known: &[&str]) -> Result<Self> {
        let pairs = form_pairs(&call.head.query);
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) && name != "limit" && name != "cursor" {
                return Err(Error::validation(format!(
                    "unknown query parameter; known are limit, cursor, {}",
                    known.join(", ")
                )));
            }
            if pairs.iter().skip(at + 1).any(|(other, _)| other == name) {
                return Err(Error::validation(format!(
                    "the query parameter `{name}` is there twice"
                )));
            }
        }
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err(Error::validation("a query parameter holds the character NUL"));
        }
        let mut list: Vec<String> = pairs
            .iter()
            .filter(|(name, value)| name != "limit" && name != "cursor" && !value.is_empty())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        list.sort();
        list.push(call.matched.route.pattern.to_owned());
        list.extend(call.owner().map(str::to_owned));
        Ok(Self { pairs, list })
    }

    /// A parameter's text; empty counts as absent.
    pub fn text(&self, name: &str) -> Option<String> {
        self.given(name).filter(|v| !v.is_empty()).map(str::to_owned)
    }

    fn given(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter that is one of these.
    pub fn one_of(&self, name: &str, known: &[&str]) -> Result<Option<String>> {
        match self.given(name) {
            Some(text) if !known.contains(&text) => Err(Error::validation(format!(
                "`{name}` must be one of {}",
                known.join(", ")
            ))),
            text => Ok(text.map(str::to_owned)),
        }
    }

    /// A parameter as a time in RFC 3339.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>> {
        let Some(text) = self.given(name) else {
            return Ok(None);
        };
        let time = Timestamp::parse_rfc3339(text);
        time.map(Some)
            .ok_or_else(|| Error::validation(format!("`{name}` must be a time like 2026-01-31T12:00:00Z")))
    }

    /// `limit`, 1 to 200.
    pub fn limit(&self) -> Result<i64> {
        let Some(text) = self.given("limit") else {
            return Ok(PAGE.0);
        };
        let limit = text.parse().ok().filter(|n| (1..=PAGE.1).contains(n));
        limit.ok_or_else(|| Error::validation(format!("`limit` must be a whole number from 1 to {}", PAGE.1)))
    }

    /// The id after which the page begins, from the opaque `cursor` of a list of this kind.
    pub fn after(&self, kind: Kind) -> Result<Option<String>> {
        let Some(cursor) = self.text("cursor") else {
            return Ok(None);
        };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        let ours = text.split_once(' ').filter(|(_, mark)| *mark == self.mark());
        ours.map(|(id, _)| id)
            .filter(|id| id::is(kind, id))
            .map(|id| Some(id.to_owned()))
            .ok_or_else(|| Error::validation("`cursor` is not one that this list gave with these filters"))
    }

    /// A page: one row more than asked for was read, to know whether there is a next one.
    pub fn page<T>(
        &self,
        mut rows: Vec<T>,
        limit: i64,
        id: impl Fn(&T) -> &str,
        show: impl Fn(&T) -> Value,
    ) -> Response {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| id(row).to_owned());
        self.listed(rows.iter().map(show).collect(), next.as_deref())
    }

    /// A page whose rows were counted before; `next` is the id behind which the next one begins.
    pub fn listed(&self, data: Vec<Value>, next: Option<&str>) -> Response {
        let next = next.map(|id| self.cursor(id));
        ok(&json!({ "data": data, "next_cursor": next }))
    }

    /// The opaque cursor behind an id of this list.
    pub fn cursor(&self, id: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{id} {}", self.mark()))
    }

    /// What tells this list with these filters from others. A cursor holds no secret and gives no right: the mark
    /// keeps one of another list from being read as a place in this one.
    fn mark(&self) -> String {
        let digest = Sha256::digest(self.list.join("\n"));
        hex::encode(digest.get(..8).unwrap_or_default())
    }
}

/// The id in the path, if it is one of this kind; a 404 that names the kind if not.
pub fn path_id<'a>(call: &'a Call<'_>, kind: Kind, what: &str) -> Result<&'a str> {
    let given = call.param("id");
    if id::is(kind, given) {
        return Ok(given);
    }
    Err(missing(what))
}

/// The 404 for a resource.
pub fn missing(what: &str) -> Error {
    Error::NotFound(format!("{what} of this id"))
}

/// A time for people and programs.
pub fn time(time: Timestamp) -> Value {
    json!(time.rfc3339())
}

/// 200 with JSON.
pub fn ok(body: &impl Serialize) -> Response {
    Response::json(200, body)
}

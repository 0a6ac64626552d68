//! Requests and replies as plain data: what the engine decides about, without any runtime's types.

use crate::time::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// The HTTP methods that the hub answers or sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "each variant is the method it is named after")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// The method of this name, or none for those the hub never answers.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => return None,
        })
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// Header fields in order; names are compared without regard to case (RFC 9110, 5.1) and kept in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Fields from pairs, repeats allowed.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// Every value of `name`. A Worker sees repeated fields as one value joined by `", "`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// Adds a value beside those that are there.
    pub fn append(&mut self, name: &str, value: &str) {
        self.0.push((name.to_ascii_lowercase(), value.to_owned()));
    }

    /// Puts `value` in place of any that are there.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.append(name, value);
    }

    /// Takes the field away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// Whether any name is there more than once.
    pub fn has_repeats(&self) -> bool {
        let mut seen = self.0.iter().map(|(name, _)| name);
        (1..=self.0.len()).any(|next| {
            seen.next()
                .is_some_and(|name| self.0.iter().skip(next).any(|(n, _)| n == name))
        })
    }

    /// Name (lower case) and value of every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

/// The part of a request that comes before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path as sent, not percent-decoded, starting with `/`.
    pub path: String,
    /// What follows the `?`, not decoded; empty where there is none.
    pub query: String,
    /// The header fields.
    pub headers: Headers,
}

/// A whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The absolute URL.
    pub url: String,
    /// The header fields.
    pub headers: Headers,
    /// The body's bytes; empty for none.
    pub body: Vec<u8>,
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// The body's bytes; empty for none.
    pub body: Vec<u8>,
}

impl Response {
    /// A reply without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// A reply with a JSON body.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
        Self {
            status,
            headers: Headers::from_pairs([("content-type", "application/json")]),
            body,
        }
    }

    /// A reply with a plain-text body.
    pub fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Headers::from_pairs([("content-type", "text/plain; charset=utf-8")]),
            body: body.as_bytes().to_vec(),
        }
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The validators of a reply (RFC 9110, 8.8), `ETag` and `Last-Modified`, as far as they may be relied on: a date of
/// modification counts if the reply is more than a second younger (8.8.2.2), for within that second there may have been
/// another change.
pub fn validators_of<'h>(header: impl Fn(&str) -> Option<&'h str>) -> (Option<String>, Option<String>) {
    let time = |name: &str| header(name).and_then(Timestamp::parse_http_date);
    let settled = time("last-modified")
        .zip(time("date"))
        .is_some_and(|(changed, sent)| changed + SECOND < sent);
    let last_modified = header("last-modified").filter(|_| settled);
    (header("etag").map(str::to_owned), last_modified.map(str::to_owned))
}

/// The pairs of an `application/x-www-form-urlencoded` text (a query or a form body), decoded, in order.
pub fn form_pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decode(name), form_decode(value))
        })
        .collect()
}

/// `+` and percent escapes decoded; bytes that are not UTF-8 become U+FFFD.
pub fn form_decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

/// One path segment or query value with everything but RFC 3986's unreserved characters escaped.
pub fn percent_encode(text: &str) -> String {
    const KEEP: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEEP).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_have_no_case() {
        let headers = Headers::from_pairs([("X-Thing", "1"), ("x-thing", "2")]);

        assert_eq!(headers.get("X-THING"), Some("1"));
        assert_eq!(headers.all("x-thing").collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn a_date_of_modification_counts_when_its_second_is_over() {
        let cases = [
            ("10", Some("10"), false),
            ("10", Some("11"), false),
            ("10", Some("12"), true),
            ("10", None, false),
        ];
        for (changed, sent, counts) in cases {
            let date = |second: &str| format!("Sun, 22 Nov 2026 10:00:{second} GMT");
            let (changed, sent) = (date(changed), sent.map(date));
            let header = |name: &str| match name {
                "last-modified" => Some(changed.as_str()),
                "date" => sent.as_deref(),
                _ => None,
            };
            assert_eq!(
                validators_of(header),
                (None, counts.then(|| changed.clone())),
                "{sent:?}"
            );
        }
    }

    #[test]
    fn forms_are_decoded_pair_by_pair() {
        let pairs = form_pairs("a=1+2&b=%C3%A9&c&=x&&d=%zz");

        let expected = [("a", "1 2"), ("b", "é"), ("c", ""), ("", "x"), ("d", "%zz")];
        assert_eq!(
            pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(),
            expected
        );
    }
}

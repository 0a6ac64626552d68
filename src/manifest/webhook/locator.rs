//! The tiny language that says where in a delivery something stands: locators (`header:X-Id`, `body:/a/b`) and texts
//! with slots (`{header:X-Event}.{body:/action}`).
//!
//! It is parsed once, with the manifest, and evaluated without compiling anything: this is the hot path, where the
//! expressions of `template` would cost too much. docs/integrations.md has the reference.

use serde::Deserialize;
use std::fmt;

/// A JSON pointer (RFC 6901) whose segment `*` stands for every element of an array.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(pub Vec<String>);

impl Pointer {
    /// Reads a pointer: empty, or beginning with `/`.
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let rest = text
            .strip_prefix('/')
            .ok_or_else(|| format!("the pointer `{text}` must be empty or begin with `/`"))?;
        Ok(Self(
            rest.split('/')
                .map(|s| s.replace("~1", "/").replace("~0", "~"))
                .collect(),
        ))
    }

    /// Whether it can point at more than one value.
    pub fn is_many(&self) -> bool {
        self.0.iter().any(|segment| segment == "*")
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|s| write!(f, "/{}", s.replace('~', "~0").replace('/', "~1")))
    }
}

/// Where one text stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(with = "String"))]
pub enum Locator {
    /// `header:Name`: a header field.
    Header(String),
    /// `query:name`: a decoded parameter of the request's query.
    Query(String),
    /// `body:/pointer`: a scalar of the JSON (or form) body. `body:` alone is the whole document.
    Body(Pointer),
    /// `item:/pointer`: a scalar of the current item of a body that holds many events.
    Item(Pointer),
    /// `member:/pointer`: the name of the first member of that object that is an object or an array.
    Member(Pointer),
    /// `option:name`: a setting of the connection.
    Setting(String),
    /// `claim:/pointer`: a claim of the verified token.
    Claim(Pointer),
    /// `pair:name`: the value of `name=` in a signature header that is a list of pairs.
    Pair(String),
    /// `body`: the exact bytes of the body.
    RawBody,
    /// `url`: the URL as registered with the sender.
    Url,
    /// `url:unescaped`: the same with the escapes of reserved characters decoded.
    UrlUnescaped,
    /// `method`: the request's method.
    Method,
    /// `timestamp`: the exact text of the scheme's timestamp.
    Timestamp,
    /// `secret`: the secret that is being tried.
    Secret,
    /// `index`: the position of the current item, from 0.
    Index,
    /// `challenge`: the handshake's challenge.
    Challenge,
    /// `mac`: the MAC over the handshake's challenge.
    Mac,
    /// `kid`: the key id that a token names.
    KeyId,
    /// `reason`: why a delivery was refused.
    Reason,
}

impl TryFrom<String> for Locator {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some((kind, rest)) = text.split_once(':') else {
            return word(&text).ok_or_else(|| format!("`{text}` is no locator; see docs/integrations.md"));
        };
        let named = |make: fn(String) -> Self| {
            if rest.is_empty() {
                Err(format!("`{text}` needs a name after the colon"))
            } else {
                Ok(make(rest.to_owned()))
            }
        };
        match kind {
            "header" => named(|name| Self::Header(name.to_ascii_lowercase())),
            "query" => named(Self::Query),
            "option" => named(Self::Setting),
            "pair" => named(Self::Pair),
            "body" => Pointer::parse(rest).map(Self::Body),
            "item" => Pointer::parse(rest).map(Self::Item),
            "member" => Pointer::parse(rest).map(Self::Member),
            "claim" => Pointer::parse(rest).map(Self::Claim),
            "url" if rest == "unescaped" => Ok(Self::UrlUnescaped),
            _ => Err(format!("`{text}` is no locator; see docs/integrations.md")),
        }
    }
}

/// The locators that are one word.
fn word(text: &str) -> Option<Locator> {
    Some(match text {
        "body" => Locator::RawBody,
        "url" => Locator::Url,
        "method" => Locator::Method,
        "timestamp" => Locator::Timestamp,
        "secret" => Locator::Secret,
        "index" => Locator::Index,
        "challenge" => Locator::Challenge,
        "mac" => Locator::Mac,
        "kid" => Locator::KeyId,
        "reason" => Locator::Reason,
        _ => return None,
    })
}

impl fmt::Display for Locator {
    /// As a person would name the place; used in the text of a rejection.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Query(name) => write!(f, "query parameter `{name}`"),
            Self::Body(at) => write!(f, "body member `{at}`"),
            Self::Item(at) => write!(f, "item member `{at}`"),
            Self::Member(at) => write!(f, "member of `{at}`"),
            Self::Setting(name) => write!(f, "setting `{name}`"),
            Self::Claim(at) => write!(f, "claim `{at}`"),
            Self::Pair(name) => write!(f, "part `{name}=` of the signature header"),
            Self::RawBody => f.write_str("body"),
            Self::Url | Self::UrlUnescaped => f.write_str("registered URL"),
            Self::Method => f.write_str("method"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Secret => f.write_str("secret"),
            Self::Index => f.write_str("index"),
            Self::Challenge => f.write_str("challenge"),
            Self::Mac => f.write_str("mac of the challenge"),
            Self::KeyId => f.write_str("key id"),
            Self::Reason => f.write_str("reason"),
        }
    }
}

/// One piece of a [`Text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Literal(String),
    /// The first of these that is there.
    Slot(Vec<Locator>),
}

/// A text with slots: `{header:X-Event}.{body:/action}`; `{a|b}` takes the first of both that is there; `{{` and `}}`
/// are braces. Without braces, a text that reads as `kind:place` is one slot, anything else is itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct Text {
    /// The pieces in order.
    pub parts: Vec<Part>,
}

impl Text {
    /// Every locator in it.
    pub fn locators(&self) -> impl Iterator<Item = &Locator> {
        self.parts.iter().flat_map(|part| match part {
            Part::Literal(_) => [].as_slice(),
            Part::Slot(alternatives) => alternatives.as_slice(),
        })
    }
}

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains(['{', '}']) {
            return parse_slots(&text).map(|parts| Self { parts });
        }
        let part = match Locator::try_from(text.clone()) {
            Ok(locator) if text.contains(':') => Part::Slot(vec![locator]),
            _ => Part::Literal(text),
        };
        Ok(Self { parts: vec![part] })
    }
}

/// Splits a text with braces into its parts.
fn parse_slots(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else if let Some((slot, after)) = from.strip_prefix('{').and_then(|s| s.split_once('}')) {
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            let alternatives: Result<Vec<_>, _> = slot.split('|').map(|s| Locator::try_from(s.to_owned())).collect();
            parts.push(Part::Slot(alternatives?));
            rest = after;
        } else {
            return Err(format!("`{text}` has a brace without its partner"));
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> Text {
        Text::try_from(source.to_owned()).unwrap()
    }

    #[test]
    fn texts_are_read_into_parts() {
        let slot = |l: &str| Part::Slot(vec![Locator::try_from(l.to_owned()).unwrap()]);
        let literal = |t: &str| Part::Literal(t.to_owned());

        assert_eq!(text("header:X-Id").parts, [slot("header:x-id")]);
        assert_eq!(text("ping").parts, [literal("ping")]);
        assert_eq!(text("body").parts, [literal("body")]);
        assert_eq!(text("https://x.example").parts, [literal("https://x.example")]);
        assert_eq!(text("v0:{timestamp}:{body}").parts.len(), 4);
        assert_eq!(text("a{{b}}").parts, [literal("a{b}")]);
        assert_eq!(text("{header:a|query:b}").parts.len(), 1);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for bad in [
            "{header:}",
            "{nonsense}",
            "{body",
            "}",
            "{body:no-slash}",
            "{url:other}",
        ] {
            assert!(Text::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}

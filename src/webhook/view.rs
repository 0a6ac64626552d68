//! What a locator sees: one delivery, its parsed body once somebody asked for it, and the secret being tried.

use super::{KeyMaterial, document, skim};
use crate::http::{Headers, Method, form_decode};
use crate::manifest::webhook::{Locator, Part, Pointer, Text};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;

/// A delivery as locators see it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The method.
    pub method: Method,
    /// The query, not decoded.
    pub query: &'a str,
    /// The header fields.
    pub headers: &'a Headers,
    /// The exact bytes; empty before they were read.
    pub body: &'a [u8],
    /// The parsed body, filled on first use.
    pub document: &'a OnceCell<Option<Value>>,
    /// Places for which the whole need not be built.
    pub brief: Option<Brief<'a>>,
    /// The field of a form body that holds the JSON.
    pub form_field: Option<&'a str>,
    /// What the delivery is checked against.
    pub keys: &'a KeyMaterial,
    /// The claims of a token, once verified.
    pub claims: Option<&'a Value>,
    /// The current item and its position.
    pub item: Option<(usize, &'a Value)>,
    /// Single words that the caller gives: `timestamp`, `secret`, `challenge`, `mac`, `kid`, `reason`.
    pub words: Words<'a>,
}

/// The only places of a JSON body that will be asked for, and what stands there.
#[derive(Clone, Copy)]
pub struct Brief<'a> {
    /// The places.
    pub places: &'a [&'a Pointer],
    /// What stands there, filled on first use.
    pub found: &'a OnceCell<Option<Value>>,
}

/// The values of the one-word locators that only some moments have.
#[derive(Clone, Copy, Default)]
pub struct Words<'a> {
    /// The exact text of the signed time.
    pub timestamp: Option<&'a str>,
    /// The secret that is being tried.
    pub secret: Option<&'a str>,
    /// A handshake's challenge.
    pub challenge: Option<&'a str>,
    /// The MAC over it.
    pub mac: Option<&'a str>,
    /// The key id that a token names.
    pub kid: Option<&'a str>,
    /// Why a delivery was refused.
    pub reason: Option<&'a str>,
    /// The signature header and its separator, for `pair:`.
    pub pairs: Option<(&'a str, char)>,
}

impl<'a> View<'a> {
    /// The body as JSON, parsed on first use.
    pub fn document(&self) -> Option<&'a Value> {
        self.document
            .get_or_init(|| document::parse(self.headers, self.body, self.form_field))
            .as_ref()
    }

    /// The brief, where it saves anything: the body is JSON and has not been parsed.
    fn brief(&self) -> Option<Brief<'a>> {
        let saves = self.document.get().is_none() && !document::is_form(self.headers);
        self.brief.filter(|_| saves)
    }

    /// Whether the body can be read as JSON.
    pub fn is_readable(&self) -> bool {
        match self.brief() {
            Some(brief) => brief.value(self.body).is_some(),
            None => self.document().is_some(),
        }
    }

    /// The value at a pointer into the body.
    fn in_body(&self, at: &Pointer) -> Option<&'a Value> {
        let root = match self.brief() {
            Some(brief) if brief.places.contains(&at) => brief.value(self.body),
            _ => self.document(),
        };
        at_pointer(root?, at)
    }

    /// The value at a pointer into the current item, or into the whole body where it is no batch.
    fn in_item(&self, at: &Pointer) -> Option<&'a Value> {
        match self.item {
            Some((_, item)) => at_pointer(item, at),
            None => self.in_body(at),
        }
    }

    /// The text at `locator`, or none if there is nothing or nothing that is a text. An empty text is there.
    pub fn find(&self, locator: &Locator) -> Option<Cow<'a, str>> {
        match locator {
            Locator::Header(name) => self.headers.get(name).map(Cow::Borrowed),
            Locator::Query(name) => query_value(self.query, name).map(Cow::Owned),
            Locator::Body(at) => scalar(self.in_body(at)?),
            Locator::Item(at) => scalar(self.in_item(at)?),
            Locator::Member(at) => member(match self.item {
                Some((_, item)) => at_pointer(item, at)?,
                None => at_pointer(self.document()?, at)?,
            }),
            Locator::Claim(at) => scalar(at_pointer(self.claims?, at)?),
            Locator::Setting(name) => scalar(self.keys.options.get(name)?),
            Locator::Pair(name) => single_pair(self.words.pairs?, name).map(Cow::Borrowed),
            Locator::RawBody => std::str::from_utf8(self.body).ok().map(Cow::Borrowed),
            Locator::Url => self.url(),
            Locator::UrlUnescaped => self.url().map(|url| Cow::Owned(unescape_reserved(&url))),
            Locator::Method => Some(Cow::Borrowed(self.method.as_str())),
            Locator::Timestamp => self.words.timestamp.map(Cow::Borrowed),
            Locator::Secret => self.words.secret.map(Cow::Borrowed),
            Locator::Index => self.item.map(|(index, _)| Cow::Owned(index.to_string())),
            Locator::Challenge => self.words.challenge.map(Cow::Borrowed),
            Locator::Mac => self.words.mac.map(Cow::Borrowed),
            Locator::KeyId => self.words.kid.map(Cow::Borrowed),
            Locator::Reason => self.words.reason.map(Cow::Borrowed),
        }
    }

    /// The text with its slots filled. A slot that finds nothing (or an empty text) takes the literal between it and
    /// the slot before it along; if no slot finds anything, there is no text.
    pub fn fill(&self, text: &Text) -> Option<String> {
        let mut out = String::new();
        let mut pending = "";
        let (mut slots, mut found) = (0, 0);
        for part in &text.parts {
            match part {
                Part::Literal(literal) => pending = literal,
                Part::Slot(alternatives) => {
                    slots += 1;
                    let value = alternatives.iter().find_map(|l| self.find(l).filter(|v| !v.is_empty()));
                    if let Some(value) = value {
                        if found > 0 || slots == 1 {
                            out.push_str(pending);
                        }
                        found += 1;
                        out.push_str(&value);
                    } else if slots == 1 {
                        out.push_str(pending);
                    }
                    pending = "";
                }
            }
        }
        out.push_str(pending);
        (found > 0 || slots == 0).then_some(out)
    }

    /// The first of several texts that finds something.
    pub fn first(&self, texts: &[Text]) -> Option<String> {
        texts.iter().find_map(|text| self.fill(text))
    }

    /// The registered URL. One registered without a query gets the request's: senders that add parameters sign them.
    pub fn url(&self) -> Option<Cow<'a, str>> {
        let url = self.keys.registered_url.as_deref()?;
        if self.query.is_empty() || url.contains('?') {
            return Some(Cow::Borrowed(url));
        }
        Some(Cow::Owned(format!("{url}?{}", self.query)))
    }
}

impl<'a> Brief<'a> {
    fn value(self, body: &[u8]) -> Option<&'a Value> {
        self.found.get_or_init(|| skim::skim(body, self.places)).as_ref()
    }
}

/// The value of the one parameter of this name; none if it comes twice, so that no two readers see different ones.
fn query_value(query: &str, name: &str) -> Option<String> {
    let mut values = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| form_decode(key) == name);
    let value = values.next()?.1;
    values.next().is_none().then(|| form_decode(value))
}

/// The value of the one `name=` entry.
fn single_pair<'a>((header, separator): (&'a str, char), name: &str) -> Option<&'a str> {
    let mut values = header
        .split(separator)
        .filter_map(|entry| entry.trim_matches(' ').split_once('='))
        .filter(|(key, _)| *key == name);
    let value = values.next()?.1;
    values.next().is_none().then_some(value)
}

/// The one value at a pointer without `*`.
pub fn at_pointer<'a>(value: &'a Value, pointer: &Pointer) -> Option<&'a Value> {
    pointer.0.iter().try_fold(value, step)
}

fn step<'a>(value: &'a Value, segment: &String) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(segment),
        // RFC 6901, section 4: an index has no leading zeros.
        Value::Array(items) if segment == "0" || !segment.starts_with(['0', '+']) => {
            items.get(segment.parse::<usize>().ok()?)
        }
        _ => None,
    }
}

/// Every value at a pointer with `*`. None where a `*` meets something that is no array.
pub fn every<'a>(value: &'a Value, segments: &[String]) -> Option<Vec<&'a Value>> {
    let Some((first, rest)) = segments.split_first() else {
        return Some(vec![value]);
    };
    if first != "*" {
        return every(step(value, first)?, rest);
    }
    let mut all = Vec::new();
    for item in value.as_array()? {
        all.extend(every(item, rest)?);
    }
    Some(all)
}

/// A scalar as text.
pub fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The name of the first member that is an object or an array.
fn member(value: &Value) -> Option<Cow<'_, str>> {
    let members = value.as_object()?;
    let (name, _) = members.iter().find(|(_, v)| v.is_object() || v.is_array())?;
    Some(Cow::Borrowed(name))
}

/// Decodes the escapes of the characters that may stand in a URL as they are (`:/?@!$'()*,;`), and no others.
fn unescape_reserved(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let decoded = after
            .get(..2)
            .and_then(|h| u8::from_str_radix(h, 16).ok())
            .map(char::from);
        match decoded.filter(|c| ":/?@!$'()*,;".contains(*c)) {
            Some(c) => {
                out.push(c);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

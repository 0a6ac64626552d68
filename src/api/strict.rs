//! JSON as callers send it, read without guessing: what two programs could read in two ways is refused.
//!
//! The rules are those of I-JSON (RFC 7493): no member twice, no lone surrogates, whole numbers that every reader can
//! hold. Besides, no NUL, at which SQL's text functions stop. Documents nest 128 levels at most.

use crate::error::{Error, Result};
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::fmt;

/// Whole numbers beyond this are not the same in every language.
const MAX_WHOLE: u64 = (1 << 53) - 1;

/// An object of this shape; an error names the place where it can.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let value = parse(bytes)?;
    // A list of the members' values would pass as an object otherwise.
    if !value.is_object() {
        return Err(Error::invalid("", "must be a JSON object"));
    }
    serde_path_to_error::deserialize(value).map_err(|e| Error::misread("the body", &e))
}

/// A member that is an object: a derived type would take a list of its members' values too.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> std::result::Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if !value.is_object() {
        return Err(de::Error::custom("must be a JSON object"));
    }
    serde_json::from_value(value).map_err(de::Error::custom)
}

/// A document of any shape.
fn parse(bytes: &[u8]) -> Result<Value> {
    if bytes.is_empty() {
        return Err(Error::validation("the body is empty; send a JSON document"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Error::validation(
            "the body begins with a byte order mark; leave it out",
        ));
    }
    let bytes = in_64_bits(bytes);
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let Strict(value) = serde_path_to_error::deserialize(&mut reader).map_err(|e| Error::misread("the body", &e))?;
    reader
        .end()
        .map_err(|e| Error::validation(format!("the body is not one JSON document: {e}")))?;
    Ok(value)
}

/// The document with 2^53, which is refused in its place, for each whole number beyond 64 bits: the parser would read
/// such a number as a float, and so give it other digits.
fn in_64_bits(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut fixed = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = behind_text(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = at
                    + length(bytes, at, |b| {
                        matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
                    });
                if is_beyond_64_bits(bytes.get(at..end).unwrap_or_default()) {
                    fixed.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
                    fixed.extend_from_slice(b"9007199254740992");
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(bytes);
    }
    fixed.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    Cow::Owned(fixed)
}

/// Behind the text that begins at `at`.
fn behind_text(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// How many bytes from `at` on are such.
fn length(bytes: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    bytes.iter().skip(at).take_while(|b| is(**b)).count()
}

fn is_beyond_64_bits(literal: &[u8]) -> bool {
    let text = std::str::from_utf8(literal).unwrap_or_default();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit());
    is_whole && text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
}

/// A value that keeps to the rules.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> std::result::Result<Value, E> {
        within(number.into(), number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> std::result::Result<Value, E> {
        within(number.into(), number.unsigned_abs())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> std::result::Result<Value, E> {
        // JSON knows one kind of numbers: 1.0 is 1.
        let whole = (number.fract() == 0.0 && number.abs() < MAX_WHOLE as f64).then_some(number as i64);
        Ok(whole.map_or_else(|| Value::from(number), Value::from))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Value, E> {
        without_nul(text).map(Value::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            without_nul::<A::Error>(&name)?;
            if read.contains_key(&name) {
                return Err(de::Error::custom(format!("the member `{name}` is there twice")));
            }
            read.insert(name, value);
        }
        Ok(Value::Object(read))
    }
}

fn within<E: de::Error>(number: Number, size: u64) -> std::result::Result<Value, E> {
    if size > MAX_WHOLE {
        return Err(E::custom("a whole number beyond 2^53 - 1; send it as a text"));
    }
    Ok(Value::Number(number))
}

fn without_nul<E: de::Error>(text: &str) -> std::result::Result<&str, E> {
    if text.contains('\0') {
        return Err(E::custom("a text with the character NUL"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(text: &str) -> std::result::Result<Value, String> {
        parse(text.as_bytes()).map_err(|error| match error {
            Error::Validation { detail, errors } => {
                let pointers: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
                format!("{} {detail}", pointers.join(","))
            }
            other => other.to_string(),
        })
    }

    #[test]
    fn what_every_reader_reads_alike_is_read() {
        for text in [
            "null",
            "[]",
            r#"{"a":{"b":[1,-2,0.5,"\ud83d\ude00",9007199254740991]}}"#,
            " 1e300 ",
            r#"["99999999999999999999","\"99999999999999999999\\",1e20,99999999999999999999.5,-1]"#,
        ] {
            let plain: Value = serde_json::from_str(text).unwrap();
            assert_eq!(outcome(text), Ok(plain), "{text}");
        }
        assert_eq!(outcome(r#"{"a":3.0,"b":-0.5}"#), Ok(json!({"a": 3, "b": -0.5})));
    }

    #[test]
    fn a_list_is_no_object() {
        #[derive(Debug, serde::Deserialize)]
        struct Named {
            #[expect(dead_code, reason = "it is never read")]
            name: Option<String>,
        }
        for text in ["[]", "[null]", r#"["a"]"#, "null", "1", r#""a""#] {
            assert!(read::<Named>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read::<Named>(b"{}").is_ok());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_with_its_place() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        let cases = [
            ("", "", "empty"),
            ("\u{feff}{}", "", "byte order mark"),
            (r#"{"a":1,"a":1}"#, "", "`a` is there twice"),
            (r#"{"x":[{"a":1,"b":2,"a":3}]}"#, "/x/0", "`a` is there twice"),
            (r#"{"x":[0,9007199254740992]}"#, "/x/1", "2^53"),
            (r#"{"x":-9007199254740992}"#, "/x", "2^53"),
            (r#"{"x":18446744073709551615}"#, "/x", "2^53"),
            (r#"{"x":[1,18446744073709551616]}"#, "/x/1", "2^53"),
            (r#"{"x":-9223372036854775809}"#, "/x", "2^53"),
            (
                r#"{"\\\"1":"99999999999999999999","x":99999999999999999999}"#,
                "/x",
                "2^53",
            ),
            (r#"{"x":1e300,"y":100000000000000000000 , "z":2}"#, "/y", "2^53"),
            (r#"{"x":"a\u0000b"}"#, "/x", "NUL"),
            (r#"{"a\u0000":1}"#, "", "NUL"),
            (r#"{"x":"\ud800"}"#, "/x", "unexpected end of hex escape"),
            (r#"{"x":1e400}"#, "/x", "out of range"),
            (&deep, "", "recursion limit"),
            ("{} {}", "", "not one JSON document"),
            ("NaN", "", "expected"),
        ];
        for (text, pointer, part) in cases {
            let said = outcome(text).unwrap_err();
            assert!(said.contains(part), "{part}: {said}");
            assert!(said.starts_with(pointer), "{pointer}: {said}");
        }
    }
}

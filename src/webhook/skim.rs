//! A few places of a JSON text, without building what nobody asks for. The rest is checked all the same: a text is
//! JSON here exactly when the whole of it can be parsed.

use crate::manifest::webhook::Pointer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::fmt;

/// The document with what stands at the pointers, and none of the values beside them: an array keeps its length up to
/// the last place that is asked for, an object only its members on the way. None for what is no JSON.
pub fn skim(body: &[u8], pointers: &[&Pointer]) -> Option<Value> {
    let paths: Vec<&[String]> = pointers.iter().map(|p| p.0.as_slice()).collect();
    let mut source = serde_json::Deserializer::from_str(std::str::from_utf8(body).ok()?);
    let value = Places(&paths).deserialize(&mut source).ok()?;
    source.end().ok()?;
    Some(value)
}

/// Reads a value in which these paths are asked for.
struct Places<'p>(&'p [&'p [String]]);

impl Places<'_> {
    /// What is left of the paths that go through this member.
    fn below(&self, name: &str) -> Vec<&[String]> {
        let split = self.0.iter().filter_map(|path| path.split_first());
        split
            .filter(|(first, _)| *first == name)
            .map(|(_, rest)| rest)
            .collect()
    }
}

impl<'de> DeserializeSeed<'de> for Places<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Places<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        if self.0.iter().any(|path| !path.is_empty()) {
            loop {
                let below = self.below(&kept.len().to_string());
                let item = if below.is_empty() {
                    items.next_element::<Checked>()?.map(|_| Value::Null)
                } else {
                    items.next_element_seed(Places(&below))?
                };
                match item {
                    Some(item) => kept.push(item),
                    None => return Ok(Value::Array(kept)),
                }
            }
        }
        while items.next_element::<Checked>()?.is_some() {}
        Ok(Value::Array(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(Name(name)) = members.next_key()? {
            let below = self.below(&name);
            if below.is_empty() {
                members.next_value::<Checked>()?;
            } else {
                kept.insert(name.into_owned(), members.next_value_seed(Places(&below))?);
            }
        }
        Ok(Value::Object(kept))
    }
}

/// The name of a member, without a copy where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

/// A value that is parsed and dropped. `serde_json` skips an `IgnoredAny` without looking at depth, the range of
/// numbers and lone surrogates, at which a later, full parse would fail; asked for any value it looks at all of them.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::webhook::Locator;
    use crate::webhook::view::{at_pointer, scalar};
    use proptest::prelude::*;

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        let read = |text: &&str| match Locator::try_from(format!("body:{text}")).unwrap() {
            Locator::Body(pointer) => pointer,
            other => panic!("{other}"),
        };
        texts.iter().map(read).collect()
    }

    fn agrees(text: &[u8], places: &[&str]) {
        let pointers = pointers(places);
        let whole: Option<Value> = serde_json::from_slice(text).ok();
        let part = skim(text, &pointers.iter().collect::<Vec<_>>());
        assert_eq!(part.is_some(), whole.is_some(), "{}", String::from_utf8_lossy(text));
        for pointer in &pointers {
            let of = |value: &Option<Value>| {
                let found = at_pointer(value.as_ref()?, pointer)?;
                Some(scalar(found).map(Cow::into_owned))
            };
            assert_eq!(of(&part), of(&whole), "{pointer} of {}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_is_found_and_what_is_json_is_as_in_a_full_parse() {
        let places = ["/a", "/a/b", "/a/0/c", "/list/1", "/list/01", "/n", "/x~1y", "", "/é"];
        let texts = [
            r#"{"a":{"b":"x"},"list":[1,"two",{"c":3}],"n":1.5e3,"x/y":true,"rest":{"deep":[[],{}]},"é":"ü"}"#,
            r#"{"a":[{"c":null,"d":[1,2]},7],"a":[{"c":"the last one counts"}]}"#,
            r#"{"a":"\u00e9\n","list":{"1":"a member"},"n":-7}"#,
            r#""only a text""#,
            "17",
            "[]",
            "[[1,2],[3]]",
            "",
            "{",
            r#"{"a":1}x"#,
            r#"{"a":1,}"#,
            r#"{"rest":"\ud800"}"#,
            r#"{"rest":1e999}"#,
            r#"{"rest":01}"#,
            "{\"rest\":\"line\nbreak\"}",
        ];
        for text in texts {
            agrees(text.as_bytes(), &places);
        }
        agrees(b"{\"rest\":\"\xff\"}", &places);
        let deep = |n: usize| format!("{{\"rest\":{}{}}}", "[".repeat(n), "]".repeat(n));
        agrees(deep(120).as_bytes(), &places);
        agrees(deep(200).as_bytes(), &places);
    }

    proptest! {
        #[test]
        fn nothing_tells_the_two_apart(text in r#"[\[\]{},:"ab01e\-. \\u]{0,40}"#) {
            agrees(text.as_bytes(), &["/a", "/a/b", "/b/0", "/0", ""]);
        }
    }
}

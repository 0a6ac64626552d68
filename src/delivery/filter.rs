//! Filters on what a message holds: JSON with operators, read once, then plain functions of the message.
//!
//! A filter is an object. Its members name members of the document, at any depth; a plain value is an equality, an
//! object of `$` operators a condition. All members must hold. In a list, one element that fits is enough.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Deepest nesting of a filter, and most conditions in it: what is over that is a mistake or an attack.
const MAX_DEPTH: usize = 20;
const MAX_CONDITIONS: usize = 200;

/// The members of a document that a filter can begin with.
const ROOTS: [&str; 3] = ["event", "body", "headers"];

/// A condition on a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of them hold.
    All(Vec<Filter>),
    /// At least one of them holds.
    Any(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// The member of this name fits; a header's name is in lower case.
    Member(String, Box<Filter>),
    /// The value passes.
    Is(Test),
}

/// A comparison of one value.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// The same value.
    Equal(Value),
    /// Less or greater, of two numbers or two texts.
    Ordered(&'static [Ordering], Value),
    /// One of these; where the operand is no list, the value is a list or text that holds it.
    In(Vec<Value>),
    /// The value is a list or text that holds this.
    Holds(Value),
    /// Text that begins so.
    StartsWith(String),
    /// Text that ends so.
    EndsWith(String),
    /// Whether it is there at all. `null` is there.
    Exists(bool),
}

impl Filter {
    /// Reads a filter on `{event, body, headers}`; an error names the place by JSON pointer under `at`.
    pub fn parse(filter: &Value, at: &str) -> Result<Self> {
        let members = filter
            .as_object()
            .ok_or_else(|| Error::invalid(at, "must be an object such as {\"body\": {\"action\": \"opened\"}}"))?;
        for name in members.keys().filter(|name| !name.starts_with('$')) {
            if !ROOTS.contains(&name.as_str()) {
                return Err(Error::invalid(
                    pointer(at, name),
                    "must be one of `event`, `body`, `headers`, `$or`, `$and`, `$not`",
                ));
            }
        }
        let mut left = MAX_CONDITIONS;
        object(members, Level::Root, at, 0, &mut left)
    }

    /// Whether the document fits.
    pub fn matches(&self, document: &Value) -> bool {
        self.fits(Some(document))
    }

    fn fits(&self, value: Option<&Value>) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|f| f.fits(value)),
            Self::Any(filters) => filters.iter().any(|f| f.fits(value)),
            Self::Not(filter) => !filter.fits(value),
            Self::Member(name, filter) => match value {
                Some(Value::Array(items)) => items.iter().any(|item| filter.fits(member(item, name))),
                Some(value) => filter.fits(member(value, name)),
                None => filter.fits(None),
            },
            Self::Is(test) => test.passes(value),
        }
    }
}

/// The member of an object, or of a list by its number.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

impl Test {
    fn passes(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Exists(false));
        };
        match self {
            Self::Exists(wanted) => *wanted,
            // A list that is meant as a whole equals a list; else one of its elements is enough.
            Self::Equal(wanted) => same(value, wanted) || any(value, |v| same(v, wanted)),
            Self::Ordered(orders, wanted) => {
                let fits = |v: &Value| compare(v, wanted).is_some_and(|found| orders.contains(&found));
                fits(value) || any(value, fits)
            }
            Self::In(list) => {
                let fits = |v: &Value| list.iter().any(|wanted| same(v, wanted));
                fits(value) || any(value, fits)
            }
            Self::Holds(wanted) => match (value, wanted) {
                (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
                (list, wanted) => any(list, |v| same(v, wanted)),
            },
            Self::StartsWith(prefix) => text(value, |t| t.starts_with(prefix.as_str())),
            Self::EndsWith(suffix) => text(value, |t| t.ends_with(suffix.as_str())),
        }
    }
}

fn any(value: &Value, fits: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|items| items.iter().any(fits))
}

fn text(value: &Value, fits: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(&fits) || any(value, |v| v.as_str().is_some_and(&fits))
}

/// Equal as JSON; numbers by their value, so that 1 and 1.0 are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => compare(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Whose members an object of conditions names. `$or`, `$and` and `$not` stay on their level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The document's own.
    Root,
    /// Those of its `headers`, whose names have no case (RFC 9110, 5.1) and are stored in lower case.
    Headers,
    /// Anything else's.
    Inside,
}

impl Level {
    /// The member's name in the document, and the level of its own members.
    fn member(self, name: &str) -> (String, Self) {
        match self {
            Self::Root if name == "headers" => (name.to_owned(), Self::Headers),
            Self::Headers => (name.to_ascii_lowercase(), Self::Inside),
            Self::Root | Self::Inside => (name.to_owned(), Self::Inside),
        }
    }
}

/// The conditions of an object: members and operators may stand side by side.
fn object(members: &Map<String, Value>, level: Level, at: &str, depth: usize, left: &mut usize) -> Result<Filter> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(at, format!("is nested deeper than {MAX_DEPTH} levels")));
    }
    let mut all = Vec::with_capacity(members.len());
    for (name, value) in members {
        let place = pointer(at, name);
        *left = left
            .checked_sub(1)
            .ok_or_else(|| Error::invalid(&place, format!("is more than {MAX_CONDITIONS} conditions")))?;
        all.push(match name.as_str() {
            "$and" => Filter::All(list(value, level, &place, depth, left)?),
            "$or" => Filter::Any(list(value, level, &place, depth, left)?),
            "$not" => Filter::Not(Box::new(condition(value, level, &place, depth + 1, left)?)),
            operator if operator.starts_with('$') => test(operator, value, &place)?,
            name => {
                let (name, below) = level.member(name);
                Filter::Member(name, Box::new(condition(value, below, &place, depth + 1, left)?))
            }
        });
    }
    Ok(Filter::All(all))
}

fn condition(value: &Value, level: Level, at: &str, depth: usize, left: &mut usize) -> Result<Filter> {
    match value {
        Value::Object(members) => object(members, level, at, depth, left),
        // Every element of a list must be in the document's list.
        Value::Array(items) => items
            .iter()
            .map(|item| Ok(Filter::Is(Test::Equal(item.clone()))))
            .collect::<Result<_>>()
            .map(Filter::All),
        plain => Ok(Filter::Is(Test::Equal(plain.clone()))),
    }
}

fn list(value: &Value, level: Level, at: &str, depth: usize, left: &mut usize) -> Result<Vec<Filter>> {
    let items = value.as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| Error::invalid(at, "must be a list of conditions"))?;
    items
        .iter()
        .enumerate()
        .map(|(index, item)| condition(item, level, &pointer(at, &index.to_string()), depth + 1, left))
        .collect()
}

fn test(operator: &str, value: &Value, at: &str) -> Result<Filter> {
    let ordered = |orders: &'static [Ordering]| match value {
        Value::Number(_) | Value::String(_) => Ok(Test::Ordered(orders, value.clone())),
        _ => Err(Error::invalid(at, "must be a number or a text")),
    };
    let written = || match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(Error::invalid(at, "must be a text")),
    };
    let membership = || match value {
        Value::Array(items) => Test::In(items.clone()),
        other => Test::Holds(other.clone()),
    };
    let negated = |test: Test| Ok(Filter::Not(Box::new(Filter::Is(test))));
    let test = match operator {
        "$eq" => Test::Equal(value.clone()),
        "$neq" => return negated(Test::Equal(value.clone())),
        "$gt" => ordered(&[Ordering::Greater])?,
        "$gte" => ordered(&[Ordering::Greater, Ordering::Equal])?,
        "$lt" => ordered(&[Ordering::Less])?,
        "$lte" => ordered(&[Ordering::Less, Ordering::Equal])?,
        "$in" => membership(),
        "$nin" => return negated(membership()),
        "$startsWith" => Test::StartsWith(written()?),
        "$endsWith" => Test::EndsWith(written()?),
        "$exist" => match value {
            Value::Bool(wanted) => Test::Exists(*wanted),
            _ => return Err(Error::invalid(at, "must be true or false")),
        },
        _ => {
            return Err(Error::invalid(
                at,
                "is no operator; there are $eq $neq $gt $gte $lt $lte $in $nin $startsWith $endsWith $exist $or $and $not",
            ));
        }
    };
    Ok(Filter::Is(test))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "event": {"type": "shop.order.created", "subject": "o-1"},
            "headers": {"x-kind": "order"},
            "body": {
                "id": 7, "amount": 12.5, "name": "Ärmel", "note": null, "tags": ["red", "new"], "paid": true,
                "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 3}],
                "customer": {"email": "a@example.com"},
                "headers": {"Content-Type": "text/plain"},
            },
        })
    }

    #[test]
    fn each_operator_says_what_fits() {
        let cases = [
            (json!({}), true),
            (json!({"body": {"id": 7}}), true),
            (json!({"body": {"id": 7.0}}), true),
            (json!({"body": {"id": "7"}}), false),
            (json!({"body": {"id": 7, "paid": false}}), false),
            (json!({"body": {"customer": {"email": "a@example.com"}}}), true),
            (json!({"body": {"customer": {"phone": null}}}), false),
            (json!({"body": {"note": null}}), true),
            (json!({"body": {"amount": {"$gt": 12, "$lt": 13}}}), true),
            (json!({"body": {"amount": {"$gt": 12.5}}}), false),
            (json!({"body": {"amount": {"$gte": 12.5, "$lte": 12.5}}}), true),
            (json!({"body": {"amount": {"$gt": "1"}}}), false),
            (json!({"body": {"name": {"$gt": "A"}}}), true),
            (json!({"body": {"name": {"$eq": "Ärmel"}}}), true),
            (json!({"body": {"name": {"$neq": "Hose"}}}), true),
            (json!({"body": {"missing": {"$neq": "x"}}}), true),
            (json!({"body": {"tags": "red"}}), true),
            (json!({"body": {"tags": ["new", "red"]}}), true),
            (json!({"body": {"tags": ["new", "blue"]}}), false),
            (json!({"body": {"tags": {"$in": ["blue", "red"]}}}), true),
            (json!({"body": {"tags": {"$nin": ["blue", "red"]}}}), false),
            (json!({"body": {"tags": {"$in": "new"}}}), true),
            (json!({"body": {"name": {"$in": "rme"}}}), true),
            (json!({"body": {"name": {"$nin": "rme"}}}), false),
            (json!({"body": {"id": {"$in": [1, 7]}}}), true),
            (json!({"body": {"lines": {"sku": "b"}}}), true),
            (json!({"body": {"lines": {"n": {"$gt": 3}}}}), false),
            (
                json!({"body": {"name": {"$startsWith": "Är", "$endsWith": "el"}}}),
                true,
            ),
            (json!({"body": {"id": {"$startsWith": "7"}}}), false),
            (json!({"body": {"tags": {"$startsWith": "re"}}}), true),
            (json!({"body": {"note": {"$exist": true}}}), true),
            (json!({"body": {"other": {"$exist": false}}}), true),
            (json!({"body": {"other": {"deep": {"$exist": false}}}}), true),
            (json!({"body": {"id": {"$exist": false}}}), false),
            (
                json!({"$or": [{"body": {"id": 1}}, {"headers": {"X-Kind": "order"}}]}),
                true,
            ),
            (json!({"headers": {"X-KIND": {"$in": ["order"]}}}), true),
            (json!({"headers": {"$or": [{"X-Kind": "order"}]}}), true),
            (json!({"headers": {"$not": {"$and": [{"X-Kind": "order"}]}}}), false),
            (json!({"$and": [{"$or": [{"headers": {"X-Kind": "other"}}]}]}), false),
            (json!({"body": {"headers": {"Content-Type": "text/plain"}}}), true),
            (json!({"body": {"headers": {"content-type": "text/plain"}}}), false),
            (json!({"$and": [{"body": {"id": 7}}, {"body": {"id": 8}}]}), false),
            (json!({"$not": {"body": {"id": 8}}}), true),
            (json!({"body": {"id": {"$or": [{"$lt": 3}, {"$gt": 6}]}}}), true),
            (json!({"body": {"id": {"$not": {"$gt": 6}}}}), false),
            (json!({"body": {"id": {"$not": 7}}}), false),
            (json!({"event": {"type": {"$startsWith": "shop."}}}), true),
            (json!({"body": {"id": 7, "$or": [{"paid": true}, {"name": "x"}]}}), true),
        ];
        for (filter, expected) in cases {
            let read = Filter::parse(&filter, "/filter").unwrap_or_else(|e| panic!("{filter}: {e}"));
            assert_eq!(read.matches(&document()), expected, "{filter}");
        }
    }

    #[test]
    fn a_wrong_filter_is_refused_with_its_place() {
        let mut deep = json!(1);
        for _ in 0..25 {
            deep = json!({ "a": deep });
        }
        let many: Map<String, Value> = (0..300).map(|n| (n.to_string(), json!(1))).collect();
        let cases = [
            (json!([]), "/filter"),
            (json!({"payload": 1}), "/filter/payload"),
            (json!({"body": {"a": {"$gt": true}}}), "/filter/body/a/$gt"),
            (json!({"body": {"a/b": {"$like": "x"}}}), "/filter/body/a~1b/$like"),
            (json!({"$or": {}}), "/filter/$or"),
            (json!({"$or": []}), "/filter/$or"),
            (
                json!({"$or": [{}, {"body": {"x": {"$exist": 1}}}]}),
                "/filter/$or/1/body/x/$exist",
            ),
            (json!({"body": {"x": {"$startsWith": 1}}}), "/filter/body/x/$startsWith"),
            (
                json!({"body": deep}),
                "/filter/body/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a",
            ),
            (json!({"body": many}), "/filter/body/278"),
        ];
        for (filter, place) in cases {
            match Filter::parse(&filter, "/filter") {
                Err(Error::Validation { errors, .. }) => assert_eq!(errors[0].pointer, place, "{filter}"),
                other => panic!("{filter}: {other:?}"),
            }
        }
    }
}

//! `{{ expressions }}` in JSON: the one expression language of manifests, and the only file that knows minijinja.
//!
//! A string that is one expression keeps the type of its value; in longer texts each value is written out, null as
//! nothing. What is undefined is null, at any depth. There are no loops and no blocks: `{% %}` is plain text.

use crate::error::{Error, Result};
use crate::http::percent_encode;
use crate::markup;
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{Environment, Expression, UndefinedBehavior};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// Steps that one expression may take; what is over it is an endless or hostile one.
const FUEL: u64 = 20_000;

/// Most bytes of one expression. The compiler recurses once per operator: a longer one could overflow the stack,
/// which on wasm ends the whole instance.
const MAX_EXPRESSION: usize = 2_000;

/// A text with expressions, compiled on first use and kept.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct Template {
    source: String,
    parts: OnceLock<std::result::Result<Vec<Part>, String>>,
}

enum Part {
    Literal(String),
    Expression(Expression<'static, 'static>),
}

/// How a value is written into the text around it.
type Write = fn(&minijinja::Value, &mut String) -> Result<()>;

impl Template {
    /// A template from its text; it is compiled when first used, or by [`Template::check`].
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            parts: OnceLock::new(),
        }
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Compiles it, and says what is wrong with it.
    pub fn check(&self) -> Result<()> {
        self.parts().map(|_| ())
    }

    /// Its value: of any type if the text is one expression, else a string.
    pub fn value(&self, scope: &Scope) -> Result<Value> {
        match self.parts()? {
            [Part::Expression(expression)] => to_json(&self.run(expression, scope)?),
            parts => self.join(parts, scope, write_plain).map(Value::String),
        }
    }

    /// Its value as text; null is the empty text.
    pub fn text(&self, scope: &Scope) -> Result<String> {
        self.join(self.parts()?, scope, write_plain)
    }

    /// Whether its value counts as true (not null, false, zero or empty).
    pub fn truth(&self, scope: &Scope) -> Result<bool> {
        match self.parts()? {
            [Part::Expression(expression)] => Ok(self.run(expression, scope)?.is_true()),
            parts => Ok(!self.join(parts, scope, write_plain)?.is_empty()),
        }
    }

    /// Its value as part of a URL: what comes from an expression is percent-encoded whole, so that no input adds a
    /// segment or a parameter; the filter `path` encodes segment by segment instead. An empty value is refused,
    /// since it would name another resource.
    pub fn url_part(&self, scope: &Scope) -> Result<String> {
        self.join(self.parts()?, scope, write_url)
    }

    /// Its value as an absolute URL: as it is where the text is one expression, else like [`Template::url_part`].
    pub fn absolute_url(&self, scope: &Scope) -> Result<String> {
        match self.parts()? {
            parts @ [Part::Expression(_)] => self.join(parts, scope, write_plain),
            parts => self.join(parts, scope, write_url),
        }
    }

    fn join(&self, parts: &[Part], scope: &Scope, write: Write) -> Result<String> {
        let mut text = String::with_capacity(self.source.len());
        for part in parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Expression(expression) => write(&self.run(expression, scope)?, &mut text)?,
            }
        }
        Ok(text)
    }

    fn run(&self, expression: &Expression<'_, '_>, scope: &Scope) -> Result<minijinja::Value> {
        expression
            .eval(scope.0.clone())
            .map_err(|e| Error::validation(format!("the expression `{}` failed: {e}", self.source)))
    }

    fn parts(&self) -> Result<&[Part]> {
        self.parts
            .get_or_init(|| compile(&self.source))
            .as_deref()
            .map_err(|e| Error::Internal(format!("the template `{}` does not compile: {e}", self.source)))
    }
}

impl From<String> for Template {
    fn from(source: String) -> Self {
        Self::new(source)
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

/// A JSON document whose strings are templates. A member or element whose template gives null is left out where the
/// template is one expression, so that optional inputs need no conditions.
#[derive(Debug, Deserialize)]
#[serde(from = "Value")]
pub enum JsonTemplate {
    /// A number, truth value or null as it stands.
    Literal(Value),
    /// A string.
    Text(Template),
    /// A list.
    List(Vec<JsonTemplate>),
    /// An object.
    Object(Vec<(String, JsonTemplate)>),
}

impl From<Value> for JsonTemplate {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(Template::new(text)),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(members.into_iter().map(|(k, v)| (k, Self::from(v))).collect()),
            other => Self::Literal(other),
        }
    }
}

impl JsonTemplate {
    /// The document with every expression replaced by its value.
    pub fn value(&self, scope: &Scope) -> Result<Value> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Text(template) => template.value(scope)?,
            Self::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(item.value(scope)?);
                }
                Value::Array(values)
            }
            Self::Object(members) => {
                let mut object = Map::new();
                for (name, member) in members {
                    match member.value(scope)? {
                        Value::Null if matches!(member, Self::Text(_)) => {}
                        value => {
                            object.insert(name.clone(), value);
                        }
                    }
                }
                Value::Object(object)
            }
        })
    }

    /// Compiles every template in it; the error names the place by JSON pointer.
    pub fn check(&self, pointer: &str) -> Result<()> {
        match self {
            Self::Literal(_) => Ok(()),
            Self::Text(template) => template
                .check()
                .map_err(|e| Error::validation(format!("{pointer}: {e}"))),
            Self::List(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| item.check(&format!("{pointer}/{i}"))),
            Self::Object(members) => members
                .iter()
                .try_for_each(|(name, member)| member.check(&format!("{pointer}/{name}"))),
        }
    }
}

/// Makes a scope of names besides those that it knows itself.
pub type ScopeOf<'f> = dyn Fn(&[(&str, &Value)]) -> Scope + 'f;

/// The names that an expression can use.
#[derive(Clone)]
pub struct Scope(minijinja::Value);

impl Scope {
    /// A scope from names and values. Secrets have no place here: what a template sees, a template can send.
    pub fn new<'a>(names: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Self {
        Self(minijinja::Value::from_pairs(names.into_iter().map(|(name, value)| {
            (name.to_owned(), minijinja::Value::from(Serde(value)))
        })))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod schema {
    //! What an editor should know of templates: a template is a string, a JSON template anything.
    use super::{JsonTemplate, Template};
    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use std::borrow::Cow;

    impl JsonSchema for Template {
        fn schema_name() -> Cow<'static, str> {
            "Template".into()
        }
        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "description": "Text with {{ expressions }}"})
        }
    }

    impl JsonSchema for JsonTemplate {
        fn schema_name() -> Cow<'static, str> {
            "JsonTemplate".into()
        }
        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"description": "JSON whose strings may hold {{ expressions }}"})
        }
    }
}

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Chainable);
        env.set_fuel(Some(FUEL));
        // Fuel does not count work inside functions and filters; `range` alone could fill the memory.
        env.remove_global("range");
        env.add_filter("path", path);
        env.add_filter("mrkdwn", |text: &minijinja::Value| converted(text, markup::mrkdwn));
        env.add_filter("from_mrkdwn", |text: &minijinja::Value| {
            converted(text, markup::from_mrkdwn)
        });
        env.add_filter("adf", |text: &minijinja::Value| match text.as_str() {
            Some(text) => minijinja::Value::from(Serde(&markup::adf(text))),
            None => minijinja::Value::from(()),
        });
        env.add_filter("from_adf", from_adf);
        env.add_filter("from_wiki", |text: &minijinja::Value| {
            converted(text, markup::from_wiki)
        });
        env.add_filter("rfc3339", rfc3339);
        env.add_filter("epoch", epoch);
        env.add_filter("from_base64", from_base64);
        env.add_filter("objects", objects);
        env.add_filter("with", with);
        env.add_filter("pointer", pointer);
        env.add_filter("flatten", flatten);
        env.add_filter("since", since);
        env.add_test("containing", containing);
        env.add_test("named", named);
        env.add_test("saying", saying);
        env.add_test("by", by);
        env
    })
}

fn compile(source: &str) -> std::result::Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((expression, tail)) = split_expression(after) else {
            return Err("a `{{` has no `}}`".to_owned());
        };
        if !before.is_empty() {
            parts.push(Part::Literal(before.to_owned()));
        }
        if expression.len() > MAX_EXPRESSION {
            return Err(format!("an expression is longer than {MAX_EXPRESSION} bytes"));
        }
        let compiled = environment()
            .compile_expression_owned(expression.trim().to_owned())
            .map_err(|e| e.to_string())?;
        parts.push(Part::Expression(compiled));
        rest = tail;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

/// Splits at the `}}` that ends the expression, not at one inside a string or a map literal.
fn split_expression(text: &str) -> Option<(&str, &str)> {
    let (mut quote, mut depth, mut escaped) = (None, 0usize, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') if text.get(at..).is_some_and(|t| t.starts_with("}}")) => {
                return Some((text.get(..at)?, text.get(at + 2..)?));
            }
            (None, _) => {}
        }
    }
    None
}

fn to_json(value: &minijinja::Value) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::validation(format!("an expression gave no JSON value: {e}")))
}

fn write_plain(value: &minijinja::Value, text: &mut String) -> Result<()> {
    match to_json(value)? {
        Value::Null => {}
        Value::String(s) => text.push_str(&s),
        other => text.push_str(&other.to_string()),
    }
    Ok(())
}

fn write_url(value: &minijinja::Value, text: &mut String) -> Result<()> {
    let mut plain = String::new();
    write_plain(value, &mut plain)?;
    if plain.is_empty() {
        return Err(Error::validation("a value that the URL needs is empty"));
    }
    if value.is_safe() {
        text.push_str(&plain);
    } else if matches!(plain.as_str(), "." | "..") {
        return Err(Error::validation("a value in a URL must not be `.` or `..`"));
    } else {
        text.push_str(&percent_encode(&plain));
    }
    Ok(())
}

/// A text in another markup; what is no text is null.
fn converted(text: &minijinja::Value, how: fn(&str) -> String) -> minijinja::Value {
    text.as_str()
        .map_or_else(|| minijinja::Value::from(()), |t| how(t).into())
}

/// The filter `from_adf`: a document or a text as Markdown; null stays null.
fn from_adf(document: &minijinja::Value) -> std::result::Result<minijinja::Value, minijinja::Error> {
    if document.is_none() || document.is_undefined() {
        return Ok(minijinja::Value::from(()));
    }
    Ok(markup::from_adf(&json_of(document)?).into())
}

/// The filter `from_base64`: the text in base64, line breaks aside; null where it is no text.
fn from_base64(encoded: &minijinja::Value) -> minijinja::Value {
    let decoded = encoded.as_str().and_then(|text| {
        let compact: String = text.split_ascii_whitespace().collect();
        String::from_utf8(STANDARD.decode(compact).ok()?).ok()
    });
    decoded.map_or_else(|| minijinja::Value::from(()), minijinja::Value::from)
}

/// The filter `objects`: each element of a list as the member `name` of an object.
fn objects(list: &minijinja::Value, name: &str) -> std::result::Result<minijinja::Value, minijinja::Error> {
    let object = |item| minijinja::Value::from_pairs([(name.to_owned(), item)]);
    Ok(list.try_iter()?.map(object).collect())
}

/// The filter `with`: each object of a list with further members; its own come first.
fn with(list: &minijinja::Value, more: &minijinja::Value) -> std::result::Result<minijinja::Value, minijinja::Error> {
    let more = json_of(more)?;
    let mut objects = Vec::new();
    for item in list.try_iter()? {
        let mut item = json_of(&item)?;
        if let (Value::Object(item), Value::Object(more)) = (&mut item, &more) {
            for (name, value) in more {
                item.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        objects.push(item);
    }
    Ok(Serde(&Value::Array(objects)).into())
}

fn json_of(value: &minijinja::Value) -> std::result::Result<Value, minijinja::Error> {
    serde_json::to_value(value)
        .map_err(|e| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, e.to_string()))
}

/// The filter `rfc3339`: a time in seconds since 1970, as text or number, as RFC 3339 text; anything else is null.
fn rfc3339(seconds: &minijinja::Value) -> minijinja::Value {
    let text = seconds.to_string();
    let seconds = text.split('.').next().and_then(|whole| whole.parse::<i64>().ok());
    let at = seconds.and_then(|s| s.checked_mul(1_000)).map(Timestamp);
    at.map_or_else(|| minijinja::Value::from(()), |at| at.rfc3339().into())
}

/// The filter `epoch`: RFC 3339 text as whole seconds since 1970; anything else is null.
fn epoch(time: &minijinja::Value) -> minijinja::Value {
    let at = time.as_str().and_then(Timestamp::parse_rfc3339);
    at.map_or_else(|| minijinja::Value::from(()), |at| (at.0 / 1_000).into())
}

/// The filter `path`: several segments at once, each encoded; `.`, `..` and empty ones are refused.
fn path(value: &str) -> std::result::Result<minijinja::Value, minijinja::Error> {
    let segments: Vec<&str> = value.split('/').collect();
    if segments.iter().any(|s| matches!(*s, "" | "." | "..")) {
        return Err(minijinja::Error::new(
            minijinja::ErrorKind::InvalidOperation,
            "a path must have no empty, `.` or `..` segment",
        ));
    }
    let encoded: Vec<String> = segments.into_iter().map(percent_encode).collect();
    Ok(minijinja::Value::from_safe_string(encoded.join("/")))
}

/// The filter `pointer`: what a JSON pointer (RFC 6901) names in a value; the value itself where there is no pointer.
fn pointer(value: minijinja::Value, pointer: minijinja::Value) -> minijinja::Value {
    let mut at = value;
    for part in pointer.as_str().unwrap_or_default().split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        let found = match name.parse::<usize>() {
            Ok(index) if at.kind() == minijinja::value::ValueKind::Seq => at.get_item_by_index(index),
            _ => at.get_attr(&name),
        };
        at = found.unwrap_or(minijinja::Value::UNDEFINED);
    }
    at
}

/// The filter `flatten`: the members of this name of a list's elements, as one list; what is itself a list gives its
/// elements. Nothing and null give an empty list.
fn flatten(value: minijinja::Value, name: &str) -> std::result::Result<minijinja::Value, minijinja::Error> {
    use minijinja::value::ValueKind::{None, Seq, Undefined};
    let mut all: Vec<minijinja::Value> = Vec::new();
    if !matches!(value.kind(), None | Undefined) {
        for element in value.try_iter()? {
            let found = element.get_attr(name)?;
            match found.kind() {
                Seq => all.extend(found.try_iter()?),
                None | Undefined => {}
                _ => all.push(found),
            }
        }
    }
    Ok(all.into())
}

/// The test `containing`: whether a text holds another, for `selectattr`; anything else does not.
fn containing(value: &minijinja::Value, part: &str) -> bool {
    value.as_str().is_some_and(|text| text.contains(part))
}

/// The test `named`: whether two texts are one but for upper and lower case.
fn named(value: &minijinja::Value, name: &str) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.trim().to_lowercase() == name.trim().to_lowercase())
}

/// The test `saying`: whether a document (ADF), or a text, says what this Markdown says.
fn saying(value: &minijinja::Value, markdown: &str) -> bool {
    match value.as_str() {
        Some(text) => text.trim() == markdown.trim(),
        None => {
            json_of(value).is_ok_and(|document| markup::from_adf(&document) == markup::from_adf(&markup::adf(markdown)))
        }
    }
}

/// The test `by`: whether a user (an object with `accountId`, `id` or `name`) has this id. Where the id is not known,
/// everybody has it.
fn by(user: &minijinja::Value, id: &minijinja::Value) -> bool {
    let Some(id) = id.as_str().filter(|id| !id.is_empty()) else {
        return true;
    };
    let has = |name: &str| user.get_attr(name).is_ok_and(|own| own.as_str() == Some(id));
    ["accountId", "id", "name"].into_iter().any(has)
}

/// The filter `since`: the elements of a list whose member `name`, a time, is not before `at`.
fn since(list: &minijinja::Value, name: &str, at: &str) -> std::result::Result<minijinja::Value, minijinja::Error> {
    let from = Timestamp::parse_iso8601(at);
    let is_new = |item: &minijinja::Value| {
        let own = item.get_attr(name).ok();
        own.as_ref().and_then(|text| Timestamp::parse_iso8601(text.as_str()?)) >= from
    };
    Ok(list.try_iter()?.filter(is_new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        Scope::new([
            ("n", &json!(7)),
            ("s", &json!("a b/c")),
            ("o", &json!({"list": [1, 2], "none": null, "big": 9007199254740993i64})),
        ])
    }

    #[test]
    fn one_expression_keeps_its_type_and_a_text_is_a_text() {
        let cases = [
            ("{{ n }}", json!(7)),
            ("{{ n }}!", json!("7!")),
            ("{{ o.list }}", json!([1, 2])),
            ("{{ o.big }}", json!(9007199254740993i64)),
            ("{{ missing }}", Value::Null),
            ("{{ missing.deeper.still or n }}", json!(7)),
            ("<{{ o.none }}>", json!("<>")),
            ("plain", json!("plain")),
            ("", json!("")),
            ("{{ '}}' }}", json!("}}")),
            ("{{ {'a': {'b': 1}} }}", json!({"a": {"b": 1}})),
            ("{{ n }}{{ n }}", json!("77")),
            ("{% if %}", json!("{% if %}")),
            ("{{ o | pointer('/list/1') }}", json!(2)),
            ("{{ o | pointer('/list/2') }}", Value::Null),
            ("{{ o | pointer('/none/deeper/x') }}", Value::Null),
            ("{{ n | pointer(missing) }}", json!(7)),
            ("{{ s | pointer('') }}", json!("a b/c")),
            ("{{ [{'a': [1, 2]}, {}, {'a': 3}] | flatten('a') }}", json!([1, 2, 3])),
            ("{{ missing | flatten('a') }}", json!([])),
            ("{{ [n] + ([1] if missing else []) }}", json!([7])),
        ];
        for (source, expected) in cases {
            assert_eq!(Template::new(source).value(&scope()), Ok(expected), "{source}");
        }
    }

    #[test]
    fn markup_and_times_are_converted() {
        let scope = Scope::new([
            ("t", &json!("**b** <x>")),
            ("s", &json!("*b* &lt;x&gt;")),
            ("ts", &json!("1769860793.000100")),
        ]);
        let value = |source: &str| Template::new(source).value(&scope).unwrap();

        assert_eq!(value("{{ t | mrkdwn }}"), json!("*b* &lt;x&gt;"));
        assert_eq!(value("{{ s | from_mrkdwn }}"), json!("**b** <x>"));
        assert_eq!(value("{{ (t | adf).content[0].type }}"), json!("paragraph"));
        assert_eq!(value("{{ t | adf | from_adf }}"), json!("**b** <x>"));
        assert_eq!(value("{{ 'YcOk\n' | from_base64 }}"), json!("aä"));
        assert_eq!(value("{{ '*b* {{x}}' | from_wiki }}"), json!("**b** `x`"));
        assert_eq!(value("{{ 'In Progress' is named('in progress ') }}"), json!(true));
        assert_eq!(
            value("{{ (t | adf) is saying(t) and 'a' is not saying('b') }}"),
            json!(true)
        );
        assert_eq!(
            value("{{ {'id': 'u'} is by('u') and {'id': 'u'} is not by('v') }}"),
            json!(true)
        );
        let since = "{{ [{'at': '2026-01-31T12:00:00.000+0100'}, {'at': '2026-01-31T12:00:00.000+0000'}, {}] | since('at', '2026-01-31T11:30:00Z') | length }}";
        assert_eq!(value(since), json!(1));
        assert_eq!(value("{{ '/wAB' | from_base64 }}"), Value::Null);
        assert_eq!(value("{{ ts | rfc3339 }}"), json!("2026-01-31T11:59:53.000Z"));
        assert_eq!(value("{{ '2026-01-31T11:59:53.900Z' | epoch }}"), json!(1_769_860_793));
        for nothing in [
            "mrkdwn",
            "from_mrkdwn",
            "adf",
            "from_adf",
            "rfc3339",
            "epoch",
            "from_base64",
        ] {
            assert_eq!(value(&format!("{{{{ none | {nothing} }}}}")), Value::Null, "{nothing}");
            assert_eq!(
                value(&format!("{{{{ missing.x | {nothing} }}}}")),
                Value::Null,
                "{nothing}"
            );
        }
    }

    #[test]
    fn lists_of_objects_are_made_and_completed() {
        let scope = Scope::new([
            ("names", &json!(["a", "b"])),
            ("files", &json!([{"path": "x"}, {"path": "y", "mode": "755"}])),
        ]);
        let value = |source: &str| Template::new(source).value(&scope).unwrap();

        assert_eq!(
            value("{{ names | objects('path') | with({'sha': none, 'mode': '644'}) }}"),
            json!([{"path": "a", "sha": null, "mode": "644"}, {"path": "b", "sha": null, "mode": "644"}])
        );
        assert_eq!(
            value("{{ files | with({'mode': '644'}) | chain(names) | list }}"),
            json!([{"path": "x", "mode": "644"}, {"path": "y", "mode": "755"}, "a", "b"])
        );
    }

    #[test]
    fn a_url_cannot_be_led_elsewhere() {
        let part = |source: &str, s: &str| Template::new(source).url_part(&Scope::new([("s", &json!(s))]));

        assert_eq!(part("/x/{{ s }}", "a/../b?c#d").unwrap(), "/x/a%2F..%2Fb%3Fc%23d");
        assert_eq!(part("/x/{{ s | path }}", "octo/my repo").unwrap(), "/x/octo/my%20repo");
        for bad in ["../b", "a//b", "/a", "a/./b", ""] {
            assert!(part("/x/{{ s | path }}", bad).is_err(), "{bad}");
        }
        for bad in ["", ".", ".."] {
            assert!(part("/x/{{ s }}", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_null_is_left_out_of_an_object() {
        let template = JsonTemplate::from(json!({"a": "{{ n }}", "b": "{{ missing }}", "c": null, "d": ["{{ n }}"]}));

        assert_eq!(template.value(&scope()), Ok(json!({"a": 7, "c": null, "d": [7]})));
    }

    #[test]
    fn a_broken_template_says_where() {
        let template = JsonTemplate::from(json!({"a": ["{{ 1 + }}"]}));

        let message = template.check("/request").unwrap_err().to_string();
        assert!(message.starts_with("/request/a/0"), "{message}");
        assert!(Template::new("{{ open").check().is_err());
    }

    #[test]
    fn a_hostile_expression_ends_in_an_error() {
        let deep = format!("{{{{ {}n }}}}", "n+".repeat(990));
        let too_long = format!("{{{{ {}n }}}}", "n+".repeat(20_000));
        let nested = format!("{{{{ {}n{} }}}}", "(".repeat(900), ")".repeat(900));

        assert_eq!(Template::new(deep).value(&scope()), Ok(json!(7 * 991)));
        for source in [too_long.as_str(), nested.as_str(), "{{ range(10) }}"] {
            assert!(Template::new(source).value(&scope()).is_err());
        }
    }
}

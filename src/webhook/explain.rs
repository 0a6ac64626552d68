//! Why a delivery is refused: the failed check, and which small change would have made it pass.
//!
//! Each guess is tried by verifying again with one thing changed. Nothing of it holds a secret or the signature that
//! was expected: who can ask already knows whether a guess of their own verifies.

use super::{IncomingHook, KeyMaterial, Rejection, verify};
use crate::http::form_pairs;
use crate::manifest::webhook::Webhook;
use crate::ports::{Crypto, KeySource};
use crate::secret::Secret;
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use std::io;

/// What was found out about a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether it verifies as it is.
    pub verified: bool,
    /// The failed check, by the names that the list of rejections uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The failed check, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Likely causes, the surest first.
    pub likely: Vec<Hint>,
}

/// One likely cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hint {
    /// A stable name.
    pub code: &'static str,
    /// Whether the delivery verifies with this one thing changed, rather than merely looking like it.
    pub proven: bool,
    /// What to do.
    pub text: String,
}

/// Something that may have happened to a delivery on its way, undone.
type Change = fn(&mut IncomingHook, &mut KeyMaterial) -> Option<()>;

/// What is tried when the signature does not fit: name, advice, change.
const CHANGES: [(&str, &str, Change); 16] = [
    (
        "secret_whitespace",
        "the configured secret has blanks or a line break around it",
        trim_secret,
    ),
    (
        "secret_prefix_kept",
        "configure the secret without its `whsec_` prefix",
        |_, k| each_secret(k, |s| s.strip_prefix("whsec_").map(str::to_owned)),
    ),
    (
        "secret_prefix_stripped",
        "configure the secret with its `whsec_` prefix",
        |_, k| each_secret(k, |s| (!s.starts_with("whsec_")).then(|| format!("whsec_{s}"))),
    ),
    (
        "secret_escaped",
        "configure the secret as text: its HTML entities were kept",
        |_, k| {
            each_secret(k, |s| {
                s.contains('&')
                    .then(|| s.replace("&#039;", "'").replace("&quot;", "\"").replace("&amp;", "&"))
            })
        },
    ),
    (
        "trailing_newline",
        "a line break was added to the body: pass on the exact bytes",
        |h, _| pop_newline(&mut h.body),
    ),
    (
        "trailing_newline_lost",
        "the body lost its last line break: pass on the exact bytes",
        |h, _| append(&mut h.body, b"\n"),
    ),
    (
        "trailing_crlf_lost",
        "the body lost its last CRLF: pass on the exact bytes",
        |h, _| append(&mut h.body, b"\r\n"),
    ),
    (
        "line_endings",
        "line breaks of the body were changed: pass on the exact bytes",
        unix_lines,
    ),
    (
        "reserialised",
        "the body was parsed and written again: pass on the exact bytes",
        |h, _| rewrite(&mut h.body, CompactFormatter),
    ),
    (
        "reserialised",
        "the body was parsed and written again: pass on the exact bytes",
        |h, _| rewrite(&mut h.body, Spaced),
    ),
    (
        "reserialised",
        "the body was parsed and written again: pass on the exact bytes",
        |h, _| rewrite(&mut h.body, PrettyFormatter::new()),
    ),
    (
        "form_or_json",
        "the service signs the JSON inside the form field: its content type is not the one that was expected",
        form_payload,
    ),
    ("url_slash", "the registered URL differs by its last slash", |_, k| {
        url(k, |u| {
            u.strip_suffix('/').map_or_else(|| format!("{u}/"), str::to_owned)
        })
    }),
    ("url_scheme", "the URL was registered with http", |_, k| {
        url(k, |u| u.replacen("https://", "http://", 1))
    }),
    ("url_query", "the URL was registered without its query", |h, k| {
        h.query.clear();
        url(k, |u| u.split('?').next().unwrap_or_default().to_owned())
    }),
    (
        "signature_case",
        "something on the way changed the case of the signature",
        lower_case,
    ),
];

/// Says which check fails and what the likely cause is.
pub async fn explain(
    spec: &Webhook,
    keys: &KeyMaterial,
    hook: &IncomingHook,
    now: Timestamp,
    crypto: &dyn Crypto,
    key_source: &dyn KeySource,
) -> Explanation {
    let rejection = match verify(spec, keys, hook.clone(), now, crypto, key_source).await {
        Ok(_) => {
            return Explanation {
                verified: true,
                cause: None,
                detail: None,
                likely: Vec::new(),
            };
        }
        Err(rejection) => rejection,
    };
    let mut likely = Vec::new();
    // Whatever its age: the signature itself is what the guesses are about.
    let ageless = KeyMaterial {
        tolerance_s: Some(u32::MAX),
        ..keys.clone()
    };
    let fits = |hook: IncomingHook, keys: KeyMaterial| async move {
        verify(spec, &keys, hook, now, crypto, key_source).await.is_ok()
    };
    if is_about_time(&rejection) && fits(hook.clone(), ageless.clone()).await {
        likely.push(proven(
            "age",
            "the signature is right, only its time is not: a delay, a replay, or a clock that is wrong",
        ));
    }
    if is_about_signature(&rejection) {
        for (code, text, change) in CHANGES {
            let (mut changed, mut with) = (hook.clone(), ageless.clone());
            if change(&mut changed, &mut with).is_some() && fits(changed, with).await {
                likely.push(proven(code, text));
                break;
            }
        }
    }
    if likely.is_empty() {
        likely.extend(guesses(&rejection, hook));
    }
    Explanation {
        verified: false,
        cause: Some(rejection.cause()),
        detail: Some(rejection.to_string()),
        likely,
    }
}

fn proven(code: &'static str, text: &str) -> Hint {
    Hint {
        code,
        proven: true,
        text: text.to_owned(),
    }
}

fn is_about_time(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::Stale { .. } | Rejection::Future { .. })
}

fn is_about_signature(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::WrongSignature
            | Rejection::WrongCredential
            | Rejection::UnusableSecret(_)
            | Rejection::Malformed(_)
            | Rejection::WrongClaim(_)
    )
}

/// What it looks like, where no change made it pass.
fn guesses(rejection: &Rejection, hook: &IncomingHook) -> Vec<Hint> {
    let guess = |code, text: String| Hint {
        code,
        proven: false,
        text,
    };
    match rejection {
        Rejection::Missing(place) => {
            let other = hook.headers.iter().map(|(name, _)| name);
            let other = other.filter(|n| {
                ["signature", "hmac", "token", "authorization"]
                    .iter()
                    .any(|w| n.contains(w))
            });
            let names: Vec<&str> = other.collect();
            let text = if names.is_empty() {
                format!(
                    "the {place} is not there: is a secret set at the service, and does nothing on the way drop fields?"
                )
            } else {
                format!(
                    "the {place} is not there, but `{}` is: another service, or another of its schemes",
                    names.join("`, `")
                )
            };
            vec![guess("wrong_header", text)]
        }
        Rejection::MalformedTimestamp | Rejection::Future { .. } | Rejection::Stale { .. } => {
            let text =
                "the time is not near now: seconds and milliseconds mixed up, a replay, or a clock that is wrong";
            vec![guess("timestamp_unit_or_age", text.to_owned())]
        }
        Rejection::WrongSignature | Rejection::WrongCredential => {
            let text = "no change of the body or URL explains it: most likely the secret is another one, e.g. of another endpoint or from before a rotation";
            vec![guess("wrong_secret", text.to_owned())]
        }
        Rejection::Malformed(_) => {
            let text = "the signature is of another scheme or version than the one configured";
            vec![guess("other_scheme", text.to_owned())]
        }
        Rejection::MissingSetting(name) => vec![guess("missing_setting", format!("set `{name}` on the connection"))],
        Rejection::NoSecret => vec![guess("no_secret", "set the secret of this webhook".to_owned())],
        _ => Vec::new(),
    }
}

fn each_secret(keys: &mut KeyMaterial, change: fn(&str) -> Option<String>) -> Option<()> {
    let changed: Vec<Secret> = keys
        .secrets
        .iter()
        .filter_map(|s| change(s.expose()))
        .map(Secret::new)
        .collect();
    let any = !changed.is_empty();
    keys.secrets = changed;
    any.then_some(())
}

fn trim_secret(_: &mut IncomingHook, keys: &mut KeyMaterial) -> Option<()> {
    each_secret(keys, |s| (s.trim() != s).then(|| s.trim().to_owned()))
}

fn pop_newline(body: &mut Vec<u8>) -> Option<()> {
    body.pop_if(|last| *last == b'\n')?;
    body.pop_if(|last| *last == b'\r');
    Some(())
}

fn append(body: &mut Vec<u8>, end: &[u8]) -> Option<()> {
    body.extend_from_slice(end);
    Some(())
}

fn unix_lines(hook: &mut IncomingHook, _: &mut KeyMaterial) -> Option<()> {
    let text = std::str::from_utf8(&hook.body).ok()?;
    let unix = text.replace("\r\n", "\n");
    let changed = if unix == text { text.replace('\n', "\r\n") } else { unix };
    (changed != text).then(|| hook.body = changed.into_bytes())
}

/// Writes the JSON anew, members in the order in which they came.
fn rewrite(body: &mut Vec<u8>, formatter: impl Formatter) -> Option<()> {
    let mut written = Vec::with_capacity(body.len());
    let mut reader = serde_json::Deserializer::from_slice(body);
    let mut writer = serde_json::Serializer::with_formatter(&mut written, formatter);
    serde_transcode::transcode(&mut reader, &mut writer).ok()?;
    *body = written;
    Some(())
}

/// JSON with a blank after each colon and comma, as some languages write it by default.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

fn form_payload(hook: &mut IncomingHook, _: &mut KeyMaterial) -> Option<()> {
    let pairs = form_pairs(std::str::from_utf8(&hook.body).ok()?);
    let (_, json) = pairs.into_iter().find(|(_, value)| value.starts_with('{'))?;
    hook.body = json.into_bytes();
    Some(())
}

fn url(keys: &mut KeyMaterial, change: fn(&str) -> String) -> Option<()> {
    let old = keys.registered_url.as_deref()?;
    let new = change(old);
    (new != old).then(|| keys.registered_url = Some(new))
}

fn lower_case(hook: &mut IncomingHook, _: &mut KeyMaterial) -> Option<()> {
    let names: Vec<String> = hook
        .headers
        .iter()
        .map(|(n, _)| n.to_owned())
        .filter(|n| n.contains("signature"))
        .collect();
    for name in &names {
        let value = hook.headers.get(name)?.to_ascii_lowercase();
        hook.headers.set(name, &value);
    }
    (!names.is_empty()).then_some(())
}

//! The parts of URLs that come from a connection or from a provider: checked when they are set, and again whenever a
//! URL is made of them.

use crate::action::egress;
use crate::error::{Error, Result};
use crate::manifest::oauth2::{Part, PartKind};
use serde_json::Value;
use std::collections::BTreeMap;

/// Longest value of a part, in bytes.
const MAX: usize = 500;

/// Whether `value` may stand for this part; an error says what it must look like.
pub fn fits(name: &str, part: &Part, value: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::invalid(format!("/config/{name}"), why));
    if value.is_empty() || value.len() > MAX {
        return wrong("must be a text of 1 to 500 bytes");
    }
    if !part.one_of.is_empty() {
        return match part.one_of.iter().any(|v| v == value) {
            true => Ok(()),
            false => wrong(&format!("must be one of {}", part.one_of.join(", "))),
        };
    }
    match part.kind {
        PartKind::Label if !is_label(value) => wrong("must be letters, digits and `-`"),
        PartKind::Segment if !is_segment(value) => wrong("must be letters, digits, `-`, `.` and `_`"),
        PartKind::Text if value.chars().any(char::is_control) => wrong("must not hold control characters"),
        PartKind::Host if !value.split('.').all(is_label) || !ends_well(part, value) => {
            wrong(&format!("must be a host that ends with {}", part.suffixes.join(" or ")))
        }
        PartKind::Origin => origin(name, part, value),
        PartKind::Label | PartKind::Segment | PartKind::Text | PartKind::Host => Ok(()),
    }
}

fn origin(name: &str, part: &Part, value: &str) -> Result<()> {
    let at = format!("/config/{name}");
    let origin = egress::origin(value).map_err(|e| Error::invalid(at.as_str(), e.to_string()))?;
    if value.contains(['?', '#', '{', '}']) {
        return Err(Error::invalid(at, "must have neither query nor fragment"));
    }
    let is_providers = || origin.secure && origin.port.is_none() && ends_well(part, &origin.host);
    if !part.suffixes.is_empty() && !is_providers() {
        let message = format!(
            "must be https:// and a host that ends with {}",
            part.suffixes.join(" or ")
        );
        return Err(Error::invalid(at, message));
    }
    Ok(())
}

fn ends_well(part: &Part, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    part.suffixes
        .iter()
        .any(|s| host.ends_with(s.as_str()) || s.strip_prefix('.') == Some(&host))
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_segment(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    text.bytes().all(inner) && text != "." && text != ".."
}

/// The text with each `{name}` replaced by the connection's value, or by the part's default.
pub fn fill(text: &str, parts: &BTreeMap<String, Part>, config: &Value) -> Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after
            .split_once('}')
            .ok_or_else(|| Error::Internal(format!("`{text}` has a `{{` without its `}}`")))?;
        let part = parts
            .get(name)
            .ok_or_else(|| Error::Internal(format!("`{text}` names the part `{name}`, which is not there")))?;
        let own = config.get(name).and_then(Value::as_str).filter(|v| !v.is_empty());
        let value = own
            .or(part.default.as_deref())
            .ok_or_else(|| Error::invalid(format!("/config/{name}"), format!("is missing: {}", part.description)))?;
        fits(name, part, value)?;
        filled.push_str(before);
        filled.push_str(value.trim_end_matches('/'));
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A URL that a secret may be sent to: filled, and its host still what the template's own end says.
pub fn url(template: &str, parts: &BTreeMap<String, Part>, config: &Value, allow_private: bool) -> Result<String> {
    let url = fill(template, parts, config)?;
    let origin = egress::check_public(&url, allow_private)?;
    let after_scheme = template.split_once("://").map_or("", |(_, rest)| rest);
    let host = after_scheme.split('/').next().unwrap_or_default();
    let fixed_end = host.rsplit('}').next().unwrap_or_default();
    let fixed_end = fixed_end.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if !origin.host.ends_with(&fixed_end) {
        let message = format!("the URL would leave `{fixed_end}` for `{}`", origin.host);
        return Err(Error::SsrfBlocked(message));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn part(kind: PartKind, suffixes: &[&str], one_of: &[&str]) -> Part {
        Part {
            kind,
            suffixes: suffixes.iter().map(|s| (*s).to_owned()).collect(),
            one_of: one_of.iter().map(|s| (*s).to_owned()).collect(),
            ..Part::default()
        }
    }

    #[test]
    fn a_value_must_look_like_its_part() {
        let label = part(PartKind::Label, &[], &[]);
        let host = part(PartKind::Host, &[".my.salesforce.com"], &[]);
        let origin = part(PartKind::Origin, &[".salesforce.com", ".force.com"], &[]);
        let own = part(PartKind::Origin, &[], &[]);
        let region = part(PartKind::Label, &[], &["eu", "us"]);
        let cases: [(&Part, &[&str], &[&str]); 5] = [
            (
                &label,
                &["acme", "a-1", "ACME"],
                &[
                    "",
                    "a.b",
                    "a/b",
                    "evil.com#",
                    "a@b",
                    "a:1",
                    "-a",
                    "a\\b",
                    "a%2e",
                    "ä",
                    "a b",
                    "{x}",
                ],
            ),
            (
                &host,
                &["acme.my.salesforce.com"],
                &[
                    "my.salesforce.com.evil.com",
                    "evil.com",
                    "evil.com/.my.salesforce.com",
                    "amy.salesforce.com",
                    "a@.my.salesforce.com",
                ],
            ),
            (
                &origin,
                &["https://acme.salesforce.com", "https://x.force.com/"],
                &[
                    "http://acme.salesforce.com",
                    "https://acme.salesforce.com:8443",
                    "https://acme.salesforce.com.evil.com",
                    "https://evil.com/.salesforce.com",
                    "https://evil.com?.salesforce.com",
                    "https://u@acme.salesforce.com",
                    "https://evilsalesforce.com",
                ],
            ),
            (
                &own,
                &[
                    "https://gitlab.example.com",
                    "https://example.com/gitlab",
                    "https://x.example.com:8443",
                ],
                &[
                    "gitlab.example.com",
                    "https://u:p@x.com",
                    "https://x.com?a",
                    "https://x.com#a",
                    "//evil",
                    "https://x.com\\@y",
                ],
            ),
            (&region, &["eu"], &["EU", "xx", ""]),
        ];
        for (part, good, bad) in cases {
            for value in good {
                assert_eq!(fits("x", part, value), Ok(()), "{value}");
            }
            for value in bad {
                assert!(fits("x", part, value).is_err(), "{value}");
            }
        }
    }

    #[test]
    fn urls_are_filled_and_stay_with_the_provider() {
        let parts = BTreeMap::from([
            ("shop".to_owned(), part(PartKind::Label, &[], &[])),
            (
                "base".to_owned(),
                Part {
                    default: Some("https://gitlab.com".to_owned()),
                    ..part(PartKind::Origin, &[], &[])
                },
            ),
        ]);
        let url = |template: &str, config: Value| url(template, &parts, &config, false);

        assert_eq!(
            url("https://{shop}.myshopify.com/admin", json!({"shop": "acme"})).as_deref(),
            Ok("https://acme.myshopify.com/admin")
        );
        assert_eq!(
            url("{base}/oauth", json!({})).as_deref(),
            Ok("https://gitlab.com/oauth")
        );
        assert_eq!(
            url("{base}/oauth", json!({"base": "https://git.example.com/"})).as_deref(),
            Ok("https://git.example.com/oauth")
        );
        for config in [
            json!({}),
            json!({"shop": "evil.com/"}),
            json!({"shop": 7}),
            json!({"shop": "a.b"}),
        ] {
            assert!(
                url("https://{shop}.myshopify.com/admin", config.clone()).is_err(),
                "{config}"
            );
        }
        for base in [
            "http://git.example.com",
            "https://127.0.0.1",
            "https://localhost",
            "https://10.0.0.1",
        ] {
            assert!(url("{base}/oauth", json!({"base": base})).is_err(), "{base}");
        }
    }
}

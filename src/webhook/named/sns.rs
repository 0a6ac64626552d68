//! Messages of a topic, signed with RSA over some of their own members; the message names its certificate.
//!
//! Source: docs.aws.amazon.com/sns, "verifying the signatures of messages". Anybody can sign messages of a topic of
//! their own: the connection's setting `topic_arns` should name the ones that are meant.

use super::{host_matches, https_host};
use crate::manifest::webhook::Encoding;
use crate::ports::RsaHash;
use crate::webhook::verify::Outside;
use crate::webhook::view::View;
use crate::webhook::{Rejection, cert, key, public_key};
use serde_json::Value;
use std::borrow::Cow;

/// Where certificates may come from.
const HOSTS: [&str; 2] = ["sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"];
/// The signed members of an event, in order; `Subject` only where it is.
const NOTIFICATION: [&str; 6] = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
/// The signed members of a confirmation, in order.
const CONFIRMATION: [&str; 7] = [
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
];

/// Verifies the message.
pub async fn verify(view: &View<'_>, outside: Outside<'_>) -> Result<(), Rejection> {
    let message = view.document().ok_or(Rejection::UnreadableBody)?;
    let hash = match text(message, "SignatureVersion")? {
        "1" => RsaHash::Sha1,
        "2" => RsaHash::Sha256,
        _ => return Err(Rejection::Unexpected("body member `SignatureVersion`".to_owned())),
    };
    let sent = key::decode_signature(text(message, "Signature")?, Encoding::Base64);
    let sent = sent.ok_or(Rejection::Malformed("it is not base64"))?;
    topic(text(message, "TopicArn")?, view)?;
    let signed = signed_text(message)?;
    let url = text(message, "SigningCertURL")?;
    let known = https_host(url).is_some_and(|host| HOSTS.iter().any(|pattern| host_matches(host, pattern)));
    // The endings are lower case as the service writes them.
    if !known || !url.ends_with(".pem") || url.contains(['?', '#']) {
        return Err(Rejection::UntrustedAddress);
    }
    let spki = cert::spki(url, outside, is_name).await?;
    if public_key::rsa(hash, &spki, &sent, signed.as_bytes(), outside).await? {
        return Ok(());
    }
    Err(Rejection::WrongSignature)
}

/// The names that a certificate may carry: the service's, in any region. Some carry a remark after a blank.
fn is_name(name: &str) -> bool {
    let host = name.split(' ').next().unwrap_or_default();
    host == "sns.amazonaws.com" || HOSTS.iter().any(|pattern| host_matches(host, pattern))
}

fn text<'a>(message: &'a Value, name: &str) -> Result<&'a str, Rejection> {
    let value = message.get(name).and_then(Value::as_str);
    value.ok_or_else(|| Rejection::Missing(format!("body member `{name}`")))
}

/// The topic is one of the connection's, where it names any.
fn topic(arn: &str, view: &View<'_>) -> Result<(), Rejection> {
    let allowed = match view.keys.options.get("topic_arns") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(arn)),
        Some(Value::String(one)) => one == arn,
        Some(_) => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(Rejection::Unexpected("body member `TopicArn`".to_owned()))
    }
}

/// Name and value of each signed member, a line each.
fn signed_text(message: &Value) -> Result<String, Rejection> {
    let names: &[&str] = match text(message, "Type")? {
        "Notification" => &NOTIFICATION,
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &CONFIRMATION,
        _ => return Err(Rejection::Unexpected("body member `Type`".to_owned())),
    };
    let mut out = String::new();
    for name in names {
        let value: Cow<'_, str> = match message.get(name) {
            None | Some(Value::Null) if *name == "Subject" => continue,
            _ => Cow::Borrowed(text(message, name)?),
        };
        out.push_str(name);
        out.push('\n');
        out.push_str(&value);
        out.push('\n');
    }
    Ok(out)
}

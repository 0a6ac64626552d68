//! Payment notifications whose signature stands in each item of the body, over eight of its fields.
//!
//! Source: github.com/Adyen/adyen-node-api-library, `hmacValidator`. Only those eight fields are covered: the reason,
//! the date and the payment method of an item are not.

use crate::manifest::webhook::{Encoding, Hash, KeyEncoding};
use crate::secret::same;
use crate::webhook::view::{View, scalar};
use crate::webhook::{Rejection, digest, key};
use serde_json::Value;

/// The signed fields, as JSON pointers into an item, in order. Joined by `:`, absent ones empty, nothing escaped.
const FIELDS: [&str; 8] = [
    "/pspReference",
    "/originalReference",
    "/merchantAccountCode",
    "/merchantReference",
    "/amount/value",
    "/amount/currency",
    "/eventCode",
    "/success",
];

/// Every item is signed with one of the secrets; there must be one.
pub fn verify(view: &View<'_>) -> Result<(), Rejection> {
    let document = view.document().ok_or(Rejection::UnreadableBody)?;
    let items = document.get("notificationItems").and_then(Value::as_array);
    let items = items
        .filter(|items| !items.is_empty())
        .ok_or(Rejection::UnreadableBody)?;
    items.iter().try_for_each(|item| {
        one(
            item.get("NotificationRequestItem").ok_or(Rejection::UnreadableBody)?,
            view,
        )
    })
}

fn one(item: &Value, view: &View<'_>) -> Result<(), Rejection> {
    let sent = item.pointer("/additionalData/hmacSignature").and_then(Value::as_str);
    let sent = sent.ok_or_else(|| Rejection::Missing("item's `hmacSignature`".to_owned()))?;
    let sent = key::decode_signature(sent, Encoding::Base64).ok_or(Rejection::Malformed("it is not base64"))?;
    let fields: Vec<_> = FIELDS
        .iter()
        .map(|at| item.pointer(at).and_then(scalar).unwrap_or_default())
        .collect();
    let signed = fields.join(":");
    let mut fits = false;
    for secret in view.keys.secrets.iter().filter(|s| !s.is_empty()) {
        let key = key::decode(secret, KeyEncoding::Hex)?;
        let mac = digest::hmac(Hash::Sha256, &key, signed.as_bytes());
        fits |= mac.is_some_and(|mac| same(&mac, &sent));
    }
    if fits { Ok(()) } else { Err(Rejection::WrongSignature) }
}

//! Ids: a prefix that names the kind, then a ULID (26 characters of Crockford's base32 that sort by time).

use crate::ports::Host;
use crate::time::Timestamp;
use ulid::Ulid;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the resource it is named after")]
pub enum Kind {
    Event,
    Connection,
    Destination,
    Delivery,
    Conversation,
    Run,
    Definition,
    Rejection,
    Audit,
    AccountLink,
    Key,
    Replay,
    Poll,
    Subscription,
}

impl Kind {
    /// The prefix, with its underscore.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Event => "evt_",
            Self::Connection => "con_",
            Self::Destination => "dst_",
            Self::Delivery => "dlv_",
            Self::Conversation => "cnv_",
            Self::Run => "run_",
            Self::Definition => "int_def_",
            Self::Rejection => "rej_",
            Self::Audit => "aud_",
            Self::AccountLink => "lnk_",
            Self::Key => "key_",
            Self::Replay => "rpl_",
            Self::Poll => "poll_",
            Self::Subscription => "sub_",
        }
    }
}

/// A new id of this kind, made of the host's clock and randomness.
pub fn new(kind: Kind, host: &dyn Host) -> String {
    let mut bytes = [0u8; 16];
    host.random(&mut bytes);
    let millis = u64::try_from(host.now().0).unwrap_or(0);
    let ulid = Ulid::from_parts(millis, u128::from_be_bytes(bytes));
    format!("{}{ulid}", kind.prefix())
}

/// The smallest id of this kind that can be made at `time`: for ranges over a primary key.
pub fn first_at(kind: Kind, time: Timestamp) -> String {
    let millis = u64::try_from(time.0).unwrap_or(0);
    format!("{}{}", kind.prefix(), Ulid::from_parts(millis, 0))
}

/// Whether `text` is an id of this kind: a wrong one is answered with 404 before any table is asked.
pub fn is(kind: Kind, text: &str) -> bool {
    text.strip_prefix(kind.prefix())
        .is_some_and(|rest| rest.len() == 26 && rest.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()))
}

/// 32 random bytes in base64url: a bearer token that nobody guesses.
pub fn token(host: &dyn Host) -> String {
    use base64::Engine;
    let mut bytes = [0u8; 32];
    host.random(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

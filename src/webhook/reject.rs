//! Why a delivery is not believed. Never holds a secret, a payload, or the signature that was expected.

use crate::error::Error;
use thiserror::Error;

/// Why a delivery is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// No secret, or an empty one, is configured: a fault of the set-up, never a reason to accept.
    #[error("no secret is configured for this webhook")]
    NoSecret,
    /// A setting of the connection that the scheme needs is missing.
    #[error("the connection's setting `{0}` is missing")]
    MissingSetting(String),
    /// The configured secret is not of the form that the scheme wants.
    #[error("the configured secret is not {0}")]
    UnusableSecret(&'static str),
    /// The manifest describes something that cannot be.
    #[error("the manifest's scheme cannot be used: {0}")]
    BadManifest(String),
    /// The key could not be fetched: the sender should try again.
    #[error("the service's signing key is out of reach: {0}")]
    KeyUnavailable(String),
    /// The place where the signature or token should stand is empty.
    #[error("the {0} is missing")]
    Missing(String),
    /// Something that must come once comes more than once.
    #[error("the {0} comes more than once")]
    Doubled(String),
    /// A place does not hold the text that the scheme demands, e.g. a version.
    #[error("the {0} is not what this scheme sends")]
    Unexpected(String),
    /// The signature is not written as the scheme writes it.
    #[error("the signature is malformed: {0}")]
    Malformed(&'static str),
    /// The signature is well formed and wrong.
    #[error("the signature does not fit this body and secret; POST /api/v1/webhooks/explain looks for the cause")]
    WrongSignature,
    /// The secret that was sent along is wrong.
    #[error("the credential that was sent along is wrong")]
    WrongCredential,
    /// The signed time is missing.
    #[error("the signed timestamp is missing")]
    MissingTimestamp,
    /// The signed time cannot be read.
    #[error("the timestamp is not a time in the unit of this scheme")]
    MalformedTimestamp,
    /// The signed time is too old.
    #[error("the timestamp is {age_s} s old")]
    Stale {
        /// Seconds in the past.
        age_s: i64,
    },
    /// The signed time is too far ahead.
    #[error("the timestamp is {ahead_s} s in the future")]
    Future {
        /// Seconds in the future.
        ahead_s: i64,
    },
    /// The body must be read to verify it, and cannot be.
    #[error("the body is not of the form that carries this scheme's signature")]
    UnreadableBody,
    /// The token is not one that this scheme accepts.
    #[error("the token is refused: {0}")]
    BadToken(&'static str),
    /// A claim is missing or not as it must be.
    #[error("the token's claim `{0}` is missing or wrong")]
    WrongClaim(String),
    /// The token or message names a key that the service does not have.
    #[error("the signing key is not one of the service's")]
    UnknownKey,
    /// The message names a key at an address that is not the service's.
    #[error("the address of the signing certificate is not the service's")]
    UntrustedAddress,
    /// The certificate does not say what it must.
    #[error("the signing certificate is refused: {0}")]
    BadCertificate(&'static str),
    /// A handshake's challenge is not a text that the hub answers.
    #[error("the challenge is refused: it must match [A-Za-z0-9_-]{{1,128}}")]
    BadChallenge,
}

impl Rejection {
    /// The stable name for lists and metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::NoSecret => "no_secret",
            Self::MissingSetting(_) => "missing_setting",
            Self::UnusableSecret(_) => "unusable_secret",
            Self::BadManifest(_) => "bad_manifest",
            Self::KeyUnavailable(_) => "key_unavailable",
            Self::Missing(_) => "missing_signature",
            Self::Doubled(_) => "doubled_header",
            Self::Unexpected(_) => "unexpected_value",
            Self::Malformed(_) => "malformed_signature",
            Self::WrongSignature => "wrong_signature",
            Self::WrongCredential => "wrong_credential",
            Self::MissingTimestamp => "missing_timestamp",
            Self::MalformedTimestamp => "malformed_timestamp",
            Self::Stale { .. } => "stale_timestamp",
            Self::Future { .. } => "future_timestamp",
            Self::UnreadableBody => "unreadable_body",
            Self::BadToken(_) => "bad_token",
            Self::WrongClaim(_) => "wrong_claim",
            Self::UnknownKey => "unknown_key",
            Self::UntrustedAddress => "untrusted_address",
            Self::BadCertificate(_) => "bad_certificate",
            Self::BadChallenge => "bad_challenge",
        }
    }

    /// Whether the set-up is at fault rather than the delivery: 503, so that the sender keeps it and tries again.
    pub fn is_our_fault(&self) -> bool {
        matches!(
            self,
            Self::NoSecret
                | Self::MissingSetting(_)
                | Self::UnusableSecret(_)
                | Self::BadManifest(_)
                | Self::KeyUnavailable(_)
        )
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        if rejection.is_our_fault() {
            Self::temporary(rejection.to_string())
        } else {
            Self::SignatureInvalid(rejection.to_string())
        }
    }
}

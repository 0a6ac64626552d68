//! The one error type of the hub.
//!
//! Every failure that a caller can meet is a variant here, of one [`Code`]; the matches are exhaustive, so that a new
//! variant cannot be forgotten in one of them. What is inside a 5xx stays inside: its text goes to the log, never to the
//! caller.

mod code;

pub use code::Code;

use serde::Serialize;
use serde_path_to_error::Segment;
use thiserror::Error;

/// `Result` with the hub's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// One place in a document that is not as the schema wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to the offending value; empty for the whole document.
    pub pointer: String,
    /// What is wrong with it, for a person.
    pub message: String,
    /// Which document it was found in.
    pub source: Origin,
}

/// Which document a [`FieldError`] points into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// What the caller sent.
    Input,
    /// What the service answered.
    Output,
    /// The settings of a connection or destination.
    Config,
}

/// Everything that can go wrong, classed by what the caller should do about it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    /// The request is not as documented; `errors` names each place.
    #[error("{detail}")]
    Validation {
        /// What is wrong as a whole.
        detail: String,
        /// Each offending place, where known.
        errors: Vec<FieldError>,
    },
    /// No, or wrong, bearer token.
    #[error("{0}")]
    Authentication(String),
    /// A webhook's signature is missing or wrong; the text never holds the expected one.
    #[error("{0}")]
    SignatureInvalid(String),
    /// The caller is known but may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// No integration of this name.
    #[error("there is no integration `{0}`; GET /api/v1/integrations lists them")]
    IntegrationNotFound(String),
    /// The integration has no action of this name.
    #[error("there is no action `{0}` in this integration")]
    MethodNotFound(String),
    /// No such resource or route.
    #[error("there is no {0}")]
    NotFound(String),
    /// The route exists, with other methods.
    #[error("this route answers {allow} only")]
    MethodNotAllowed {
        /// The value of the `Allow` header.
        allow: String,
    },
    /// The state of the resource forbids it.
    #[error("{0}")]
    Conflict(String),
    /// The first request with this `Idempotency-Key` has not ended.
    #[error("a request with this Idempotency-Key is still running; try again in a moment")]
    IdempotencyInProgress,
    /// The body is over the cap.
    #[error("the body is larger than {limit} bytes")]
    PayloadTooLarge {
        /// The cap, in bytes.
        limit: usize,
    },
    /// The body is not JSON where JSON is wanted.
    #[error("send the body as application/json")]
    UnsupportedMediaType,
    /// An outgoing request would leave the allowed hosts.
    #[error("{0}")]
    SsrfBlocked(String),
    /// Too many requests.
    #[error("too many requests; try again in {retry_after_s} s")]
    RateLimit {
        /// Seconds until another try makes sense.
        retry_after_s: u32,
    },
    /// The account must be connected again by a person.
    #[error("{0}")]
    ReauthRequired(String),
    /// The service refused or answered nonsense.
    #[error("{0}")]
    Upstream(String),
    /// The service did it, but its answer is not as the action's schema says.
    #[error("the service did it, but its answer does not fit the action's schema")]
    Unfit {
        /// Each offending place of the result.
        errors: Vec<FieldError>,
    },
    /// Something is missing or out of reach for now; a later try can succeed.
    #[error("{detail}")]
    Temporary {
        /// What is missing, and what to do; safe to show.
        detail: String,
        /// Seconds until another try makes sense.
        retry_after_s: u32,
    },
    /// The service did not answer in time.
    #[error("{0}")]
    Timeout(String),
    /// A fault of the hub itself. The text is for the log only.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// A [`Error::Validation`] without field list.
    pub fn validation(detail: impl Into<String>) -> Self {
        Self::Validation {
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// What an earlier call was answered with, by its code and text.
    pub fn told(code: &str, detail: String) -> Self {
        match code {
            "VALIDATION_ERROR" => Self::validation(detail),
            "FORBIDDEN" => Self::Forbidden(detail),
            "SSRF_BLOCKED" => Self::SsrfBlocked(detail),
            "REAUTH_REQUIRED" => Self::ReauthRequired(detail),
            "CONFLICT" => Self::Conflict(detail),
            _ => Self::Upstream(detail),
        }
    }

    /// A [`Error::Validation`] that points at one place of the input.
    pub fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        let (pointer, message) = (pointer.into(), message.into());
        Self::Validation {
            detail: format!("`{pointer}` {message}"),
            errors: vec![FieldError {
                pointer,
                message,
                source: Origin::Input,
            }],
        }
    }

    /// A document that is not of the documented shape, with the place where that shows.
    pub fn misread(what: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let inner = error.inner();
        let mut message = inner.to_string();
        // Of a misfit the pointer says where it is; the line is that of a text which the caller may never have seen.
        let line = format!(" at line {} column {}", inner.line(), inner.column());
        if inner.is_data() && message.ends_with(&line) {
            message.truncate(message.len() - line.len());
        }
        Self::Validation {
            detail: format!("{what} is not as documented: {message}"),
            errors: vec![FieldError {
                pointer: pointer(error.path()),
                message,
                source: Origin::Input,
            }],
        }
    }

    /// A [`Error::Temporary`] with the usual pause of 30 s.
    pub fn temporary(detail: impl Into<String>) -> Self {
        Self::Temporary {
            detail: detail.into(),
            retry_after_s: 30,
        }
    }

    /// A setting that must be set before this can work.
    pub fn missing_setting(name: &str) -> Self {
        Self::temporary(format!(
            "the setting `{name}` is missing; see the table of settings in the README"
        ))
    }

    /// What kind of failure it is, as docs/errors.md lists them.
    pub fn kind(&self) -> Code {
        match self {
            Self::Validation { .. } => Code::Validation,
            Self::Authentication(_) => Code::Authentication,
            Self::SignatureInvalid(_) => Code::SignatureInvalid,
            Self::Forbidden(_) => Code::Forbidden,
            Self::IntegrationNotFound(_) => Code::IntegrationNotFound,
            Self::MethodNotFound(_) => Code::MethodNotFound,
            Self::NotFound(_) => Code::NotFound,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::Conflict(_) => Code::Conflict,
            Self::IdempotencyInProgress => Code::IdempotencyInProgress,
            Self::PayloadTooLarge { .. } => Code::PayloadTooLarge,
            Self::UnsupportedMediaType => Code::UnsupportedMediaType,
            Self::SsrfBlocked(_) => Code::SsrfBlocked,
            Self::RateLimit { .. } => Code::RateLimit,
            Self::ReauthRequired(_) => Code::ReauthRequired,
            Self::Upstream(_) | Self::Unfit { .. } => Code::Upstream,
            Self::Temporary { .. } => Code::Temporary,
            Self::Timeout(_) => Code::Timeout,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.kind().status()
    }

    /// The stable code that programs compare.
    pub fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// Seconds for the `Retry-After` header, for the errors that pass by themselves.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::RateLimit { retry_after_s } | Self::Temporary { retry_after_s, .. } => Some(*retry_after_s),
            Self::IdempotencyInProgress => Some(1),
            Self::Validation { .. }
            | Self::Authentication(_)
            | Self::SignatureInvalid(_)
            | Self::Forbidden(_)
            | Self::IntegrationNotFound(_)
            | Self::MethodNotFound(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed { .. }
            | Self::Conflict(_)
            | Self::PayloadTooLarge { .. }
            | Self::UnsupportedMediaType
            | Self::SsrfBlocked(_)
            | Self::ReauthRequired(_)
            | Self::Upstream(_)
            | Self::Unfit { .. }
            | Self::Timeout(_)
            | Self::Internal(_) => None,
        }
    }

    /// Whether the same request can succeed later without anybody changing anything.
    pub fn retryable(&self) -> bool {
        self.kind().retries()
    }

    /// What the caller may read. The inside of a fault of our own is not for them.
    pub fn public_detail(&self) -> String {
        match self {
            Self::Internal(_) => "an internal fault; the log has the cause under this trace id".to_owned(),
            other => other.to_string(),
        }
    }
}

/// A path through a document as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

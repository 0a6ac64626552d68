//! The kinds of failures, as programs compare them. `docs/errors.md` explains each; a test compares the two.

/// One line for each: variant, name on the wire, HTTP status, whether the same request can succeed later, title.
macro_rules! codes {
    ($($variant:ident $name:literal $status:literal $retries:literal $title:literal;)*) => {
        /// What kind of failure a problem tells of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each variant is the kind of its title")]
        pub enum Code {
            $($variant,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the wire; it stays.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                }
            }

            /// Whether the same request can succeed later without anybody changing anything.
            pub fn retries(self) -> bool {
                match self {
                    $(Self::$variant => $retries,)*
                }
            }

            /// The short, unchanging summary, as RFC 9457 wants `title` to be.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                }
            }
        }
    };
}

codes! {
    Validation "VALIDATION_ERROR" 400 false "The request is not valid";
    Authentication "AUTHENTICATION_ERROR" 401 false "A valid bearer token is needed";
    SignatureInvalid "SIGNATURE_INVALID" 401 false "The signature is missing or wrong";
    Forbidden "FORBIDDEN" 403 false "Not allowed";
    SsrfBlocked "SSRF_BLOCKED" 403 false "The address is not allowed";
    IntegrationNotFound "INTEGRATION_NOT_FOUND" 404 false "Unknown integration";
    MethodNotFound "METHOD_NOT_FOUND" 404 false "Unknown action";
    NotFound "NOT_FOUND" 404 false "Not found";
    MethodNotAllowed "METHOD_NOT_ALLOWED" 405 false "Method not allowed";
    Conflict "CONFLICT" 409 false "Conflict";
    IdempotencyInProgress "IDEMPOTENCY_IN_PROGRESS" 409 true "The first request is still running";
    ReauthRequired "REAUTH_REQUIRED" 409 false "The account must be connected again";
    PayloadTooLarge "PAYLOAD_TOO_LARGE" 413 false "The body is too large";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" 415 false "Unsupported media type";
    RateLimit "RATE_LIMIT_EXCEEDED" 429 true "Too many requests";
    Internal "INTERNAL" 500 false "Internal fault";
    Upstream "UPSTREAM_ERROR" 502 false "The service refused";
    Temporary "TEMPORARY_ERROR" 503 true "Temporarily unavailable";
    Timeout "TIMEOUT_ERROR" 504 true "The service did not answer in time";
}

impl Code {
    /// The code of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

//! The protocol of OAuth 2.0 (RFC 6749) as plain functions: URLs and requests are built, replies are read. Nothing here
//! sends, stores or waits; `credential::grant` and `credential::refresh` do.

pub mod authorize;
pub mod part;
pub mod reply;
pub mod request;

use crate::secret::Secret;

/// The app at the provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`
    pub id: String,
    /// `client_secret`; none of public clients.
    pub secret: Option<Secret>,
}

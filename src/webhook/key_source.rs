//! Keys that a service publishes: JWK sets and certificates. The port, and the rules of fetching.

use async_trait::async_trait;
use thiserror::Error;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The service says that there is no such key.
    #[error("the service has no such key")]
    NotFound,
    /// It cannot be reached now, or answered nonsense.
    #[error("{0}")]
    Unavailable(String),
}

/// Documents that hold keys.
#[async_trait(?Send)]
pub trait KeySource {
    /// The document at an https URL whose host the caller has checked. With `json` the request is a POST of it. With
    /// `fresh` a cached copy is not good enough, because it lacks a key that a token names; the source may still
    /// answer from its cache if it asked a moment ago, so that unknown key ids cannot drive fetches.
    async fn document(&self, url: &str, json: Option<&serde_json::Value>, fresh: bool) -> Result<Vec<u8>, KeyError>;
}

/// A source without keys, for schemes that need none.
#[derive(Debug, Clone, Copy)]
pub struct NoKeys;

#[async_trait(?Send)]
impl KeySource for NoKeys {
    async fn document(&self, _: &str, _: Option<&serde_json::Value>, _: bool) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::Unavailable("no key source is set up".to_owned()))
    }
}

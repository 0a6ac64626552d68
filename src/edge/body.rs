//! A request's body, read when the engine asks for it.

use super::stream::{self, Broken};
use crate::error::{Error, Result};
use crate::http::Headers;
use crate::ports::Body;
use async_trait::async_trait;
use std::cell::Cell;
use wasm_bindgen_futures::JsFuture;

/// The body of this request. What is known of it is kept here: each question to the runtime costs like some KiB of hashing.
pub struct Incoming {
    request: web_sys::Request,
    declared: Option<usize>,
    taken: Cell<bool>,
}

impl Incoming {
    /// The body that belongs to `headers`.
    pub fn new(request: web_sys::Request, headers: &Headers) -> Self {
        let declared = headers
            .get("content-length")
            .and_then(|value| value.trim().parse().ok());
        Self {
            request,
            declared,
            taken: Cell::default(),
        }
    }

    /// Lets go of a body that nobody wanted: the sender would otherwise get its reply only when all is sent.
    pub fn discard_unread(&self) {
        if !self.taken.get() {
            stream::discard(self.request.body());
        }
    }

    async fn read_capped(&self, limit: usize) -> std::result::Result<Vec<u8>, Broken> {
        if self.declared.is_some_and(|length| length > limit) {
            stream::discard(self.request.body());
            return Err(Broken::TooLarge);
        }
        if self.declared.is_none() {
            return match self.request.body() {
                Some(body) => stream::read(&body, 0, limit).await,
                None => Ok(Vec::new()),
            };
        }
        // The server ends the body at its declared length, so that one call is as safe as a stream, and cheaper.
        let buffer = JsFuture::from(self.request.array_buffer()?).await?;
        let view = js_sys::Uint8Array::new(&buffer);
        if view.length() as usize > limit {
            return Err(Broken::TooLarge);
        }
        Ok(view.to_vec())
    }
}

#[async_trait(?Send)]
impl Body for Incoming {
    async fn read(&self, limit: usize) -> Result<Vec<u8>> {
        if self.taken.replace(true) {
            return Err(Error::Internal("a request's body was read twice".to_owned()));
        }
        self.read_capped(limit).await.map_err(|broken| match broken {
            Broken::TooLarge => Error::PayloadTooLarge { limit },
            Broken::Cut(_) => Error::validation("the body ended before its end"),
        })
    }
}

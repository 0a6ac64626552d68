//! A request's body, read when the engine asks for it.

use super::stream::{self, Broken};
use crate::error::{Error, Result};
use crate::ports::Body;
use async_trait::async_trait;
use wasm_bindgen_futures::JsFuture;

/// The body of this request.
pub struct Incoming(web_sys::Request);

impl Incoming {
    pub fn new(request: web_sys::Request) -> Self {
        Self(request)
    }

    /// Lets go of a body that nobody wanted: the sender would otherwise get its reply only when all is sent.
    pub fn discard_unread(&self) {
        if !self.0.body_used() {
            stream::discard(self.0.body());
        }
    }

    fn declared_length(&self) -> Option<usize> {
        let value = self.0.headers().get("content-length").ok().flatten()?;
        value.trim().parse().ok()
    }

    async fn read_capped(&self, limit: usize) -> std::result::Result<Vec<u8>, Broken> {
        let declared = self.declared_length();
        if declared.is_some_and(|length| length > limit) {
            stream::discard(self.0.body());
            return Err(Broken::TooLarge);
        }
        let Some(body) = self.0.body() else {
            return Ok(Vec::new());
        };
        if declared.is_none() {
            return stream::read(&body, 0, limit).await;
        }
        // The server ends the body at its declared length, so that one call is as safe as a stream, and cheaper.
        let buffer = JsFuture::from(self.0.array_buffer()?).await?;
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
        if self.0.body_used() {
            return Err(Error::Internal("a request's body was read twice".to_owned()));
        }
        self.read_capped(limit).await.map_err(|broken| match broken {
            Broken::TooLarge => Error::PayloadTooLarge { limit },
            Broken::Cut(_) => Error::validation("the body ended before its end"),
        })
    }
}

//! Reads a body under a cap, whoever sent it.

use super::js;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{ReadableStream, ReadableStreamDefaultReader};

/// Why a body was not read to its end.
pub enum Broken {
    /// It passes the cap; no more was read, and the sender is told to stop.
    TooLarge,
    /// The connection ended or the reading was aborted.
    Cut(String),
}

impl From<JsValue> for Broken {
    fn from(thrown: JsValue) -> Self {
        Self::Cut(js::message(&thrown))
    }
}

/// At most `limit` bytes, in one buffer.
pub async fn read(stream: &ReadableStream, expected: usize, limit: usize) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::with_capacity(expected.min(limit));
    read_into(&mut bytes, stream, limit).await?;
    Ok(bytes)
}

/// Reads up to `limit` bytes. Where that fails `bytes` holds what came until then, and up to the limit.
pub async fn read_into(bytes: &mut Vec<u8>, stream: &ReadableStream, limit: usize) -> Result<(), Broken> {
    let reader = ReadableStreamDefaultReader::new(stream)?;
    loop {
        let step = JsFuture::from(reader.read()).await?;
        if js::get(&step, "done").is_truthy() {
            return Ok(());
        }
        let chunk = js_sys::Uint8Array::new(&js::get(&step, "value"));
        let (start, length) = (bytes.len(), chunk.length() as usize);
        let fits = length.min(limit.saturating_sub(start));
        bytes.resize(start + fits, 0);
        if let Some(free) = bytes.get_mut(start..) {
            chunk.subarray(0, u32::try_from(fits).unwrap_or(u32::MAX)).copy_to(free);
        }
        if fits < length {
            // Not awaited: the answer must not wait for the sender.
            spawn_local(async move {
                let _ = JsFuture::from(reader.cancel()).await;
            });
            return Err(Broken::TooLarge);
        }
    }
}

/// Lets go of a body that nobody will read.
pub fn discard(stream: Option<ReadableStream>) {
    if let Some(stream) = stream {
        spawn_local(async move {
            let _ = JsFuture::from(stream.cancel()).await;
        });
    }
}

//! Wake-up calls through Cloudflare Queues, binding `QUEUE`. Those without a delay are collected while many come: see
//! `wake.js`.

use super::js;
use crate::ports::Queue;
use async_trait::async_trait;
use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Longest delay that the platform takes: 12 hours.
pub const MAX_DELAY_S: u32 = 12 * 60 * 60;

/// The binding in an event's environment; looked up when it is needed.
pub struct WakeQueue<'a>(pub &'a JsValue);

impl WakeQueue<'_> {
    async fn send(&self, id: &str, delay_s: u32) -> Result<JsValue, JsValue> {
        let queue: worker::worker_sys::Queue = js::get(self.0, "QUEUE").unchecked_into();
        if queue.is_undefined() {
            return Err("the binding `QUEUE` is missing".into());
        }
        if delay_s == 0 {
            let wake = js::call_global("patchbayWake", &Array::of2(&queue, &id.into()))?;
            return JsFuture::from(wake).await;
        }
        let options = js::object([
            ("contentType", "text".into()),
            ("delaySeconds", delay_s.min(MAX_DELAY_S).into()),
        ]);
        JsFuture::from(queue.send(id.into(), options.into())?).await
    }
}

#[async_trait(?Send)]
impl Queue for WakeQueue<'_> {
    async fn wake(&self, id: &str, delay_s: u32) -> Result<(), String> {
        self.send(id, delay_s)
            .await
            .map(drop)
            .map_err(|thrown| js::message(&thrown))
    }
}

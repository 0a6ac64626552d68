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

/// The binding; whether it is there shows at the first call.
pub struct WakeQueue(worker::worker_sys::Queue);

impl WakeQueue {
    pub fn new(env: &JsValue) -> Self {
        Self(js::get(env, "QUEUE").unchecked_into())
    }

    async fn send(&self, id: &str, delay_s: u32) -> Result<JsValue, JsValue> {
        if self.0.is_undefined() {
            return Err("the binding `QUEUE` is missing".into());
        }
        if delay_s == 0 {
            let wake = js::call_global("patchbayWake", &Array::of2(&self.0, &id.into()))?;
            return JsFuture::from(wake).await;
        }
        let options = js::object([
            ("contentType", "text".into()),
            ("delaySeconds", delay_s.min(MAX_DELAY_S).into()),
        ]);
        JsFuture::from(self.0.send(id.into(), options.into())?).await
    }
}

#[async_trait(?Send)]
impl Queue for WakeQueue {
    async fn wake(&self, id: &str, delay_s: u32) -> Result<(), String> {
        self.send(id, delay_s)
            .await
            .map(drop)
            .map_err(|thrown| js::message(&thrown))
    }
}

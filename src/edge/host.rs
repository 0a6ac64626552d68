//! Clock, randomness, settings and log of the runtime.

use super::js;
use crate::ports::{Host, Timer};
use crate::secret::Secret;
use crate::time::Timestamp;
use async_trait::async_trait;
use js_sys::{Function, Promise};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Most settings that an isolate remembers; names can come from definitions.
const MOST_SETTINGS: usize = 500;

thread_local! {
    // An isolate has one set of settings all its life: another version of them is another isolate.
    static SETTINGS: RefCell<HashMap<String, Option<Secret>>> = RefCell::default();
}

/// The runtime as one event sees it.
pub struct Runtime<'a>(pub &'a JsValue);

impl Host for Runtime<'_> {
    fn now(&self) -> Timestamp {
        now()
    }

    fn random(&self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            // Tokens that can be guessed are worse than a stop.
            std::process::abort();
        }
    }

    /// Variables and secrets alike; what is not text (a binding of that name) counts as missing.
    fn var(&self, name: &str) -> Option<String> {
        let told = |value: &Option<Secret>| value.as_ref().map(|value| value.expose().to_owned());
        if let Some(known) = SETTINGS.with_borrow(|known| known.get(name).map(told)) {
            return known;
        }
        let value = js::get(self.0, name).as_string();
        SETTINGS.with_borrow_mut(|known| {
            if known.len() < MOST_SETTINGS {
                known.insert(name.to_owned(), value.as_deref().map(Secret::new));
            }
        });
        value
    }

    /// With the platform's own tables. A name that it does not know throws.
    fn decode(&self, label: &str, bytes: &[u8]) -> Option<String> {
        let decoder = web_sys::TextDecoder::new_with_label(label).ok()?;
        decoder.decode_with_u8_array(bytes).ok()
    }

    fn log(&self, line: &Value) {
        log(line);
    }
}

#[async_trait(?Send)]
impl Timer for Runtime<'_> {
    async fn sleep(&self, millis: u32) {
        let promise = Promise::new(&mut |resolve, _| {
            let set_timeout = js::get(&js_sys::global(), "setTimeout").unchecked_into::<Function>();
            // Where there is no timer the promise must not stay open for ever.
            if set_timeout
                .call2(&JsValue::UNDEFINED, &resolve, &millis.into())
                .is_err()
            {
                let _ = resolve.call0(&JsValue::UNDEFINED);
            }
        });
        let _ = JsFuture::from(promise).await;
    }
}

/// The time of the last I/O: the runtime's clock stands still while code runs.
pub fn now() -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds since 1970 fit for 292 million years"
    )]
    Timestamp(js_sys::Date::now() as i64)
}

/// One line to the Worker's log.
pub fn log(line: &Value) {
    web_sys::console::log_1(&JsValue::from_str(&line.to_string()));
}

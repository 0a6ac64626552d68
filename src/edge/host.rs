//! Clock, randomness, settings and log of the runtime.

use super::js;
use crate::ports::Host;
use crate::time::Timestamp;
use serde_json::Value;
use wasm_bindgen::JsValue;

/// The runtime as one event sees it.
pub struct Runtime {
    env: JsValue,
}

impl Runtime {
    pub fn new(env: &JsValue) -> Self {
        Self { env: env.clone() }
    }
}

impl Host for Runtime {
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
        js::get(&self.env, name).as_string()
    }

    fn log(&self, line: &Value) {
        log(line);
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

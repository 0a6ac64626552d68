//! What a panic leaves for `entry.js`, which writes it to the log under the request's trace id.

use std::panic::{PanicHookInfo, set_hook};
use std::sync::Once;
use wasm_bindgen::JsValue;

/// The global that `entry.js` reads.
const FAULT: &str = "patchbayFault";

/// Takes the place of `worker`'s hook, which prints the panic's text: that may quote a payload.
pub fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        set_hook(Box::new(|panic| {
            let text = JsValue::from_str(&describe(panic));
            let _ = js_sys::Reflect::set(&js_sys::global(), &JsValue::from_str(FAULT), &text);
        }));
    });
}

/// Where it happened, and the text if it is a literal: one made at run time may hold anything.
fn describe(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let text = panic.payload().downcast_ref::<&'static str>().copied();
    format!("panic at {place}: {}", text.unwrap_or("(text withheld)"))
}

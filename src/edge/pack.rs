//! Compression by the runtime's `node:zlib`, through `pack.js`.

use super::js;
use crate::ports::Packer;
use js_sys::{Function, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

/// Brotli, as far as the runtime has it.
pub struct Brotli;

impl Packer for Brotli {
    fn pack(&self, bytes: &[u8]) -> Option<String> {
        let packed: Uint8Array = function("patchbayPack")?
            .call1(&JsValue::UNDEFINED, &Uint8Array::from(bytes))
            .ok()?
            .dyn_into()
            .ok()?;
        String::from_utf8(packed.to_vec()).ok()
    }

    fn unpack(&self, text: &str, most: usize) -> Option<Vec<u8>> {
        let most = u32::try_from(most).ok()?;
        let bytes = function("patchbayUnpack")?
            .call2(&JsValue::UNDEFINED, &JsValue::from_str(text), &most.into())
            .ok()?;
        js::bytes(&bytes)
    }
}

/// A function that `entry.js` gave the isolate.
fn function(name: &str) -> Option<Function> {
    js::get(&js_sys::global(), name).dyn_into().ok()
}

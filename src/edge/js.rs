//! Small helpers over JavaScript values; none of them throws.

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

/// A property, or `undefined`, also where there is no object.
pub fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// A plain object of these properties.
pub fn object<const N: usize>(properties: [(&str, JsValue); N]) -> Object {
    let object = Object::new();
    for (name, value) in properties {
        // Setting a property of a new plain object cannot fail.
        let _ = Reflect::set(&object, &JsValue::from_str(name), &value);
    }
    object
}

/// Calls a function that `entry.js` gave the isolate; what it returns becomes a promise, if it is none.
pub fn call_global(name: &str, arguments: &Array) -> Result<Promise, JsValue> {
    let function: Function = get(&js_sys::global(), name).dyn_into()?;
    Ok(Promise::resolve(&function.apply(&JsValue::UNDEFINED, arguments)?))
}

/// The message of something thrown.
pub fn message(thrown: &JsValue) -> String {
    get(thrown, "message")
        .as_string()
        .or_else(|| thrown.as_string())
        .unwrap_or_else(|| "something without a message was thrown".to_owned())
}

/// The bytes of an `ArrayBuffer` or a view on one; none for anything else.
pub fn bytes(value: &JsValue) -> Option<Vec<u8>> {
    if let Some(view) = value.dyn_ref::<Uint8Array>() {
        return Some(view.to_vec());
    }
    value
        .is_instance_of::<js_sys::ArrayBuffer>()
        .then(|| Uint8Array::new(value).to_vec())
}

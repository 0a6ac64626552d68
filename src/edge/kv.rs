//! Large payloads in KV, binding `KV`.

use super::{host, js};
use crate::ports::{Blobs, SqlError};
use async_trait::async_trait;
use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The binding in an event's environment; looked up when it is needed.
pub struct Kv<'a>(pub &'a JsValue);

impl Kv<'_> {
    async fn call(&self, method: &str, arguments: &[&JsValue]) -> Result<JsValue, SqlError> {
        self.try_call(method, arguments).await.map_err(|thrown| {
            let message = format!("KV {method}: {}", js::message(&thrown));
            host::log(&serde_json::json!({ "level": "error", "job": "kv", "message": message }));
            SqlError { message }
        })
    }

    async fn try_call(&self, method: &str, arguments: &[&JsValue]) -> Result<JsValue, JsValue> {
        let binding = js::get(self.0, "KV");
        let Ok(function) = js::get(&binding, method).dyn_into::<Function>() else {
            return Err(JsValue::from_str("the binding `KV` is missing"));
        };
        let arguments = arguments.iter().copied().collect();
        JsFuture::from(Promise::resolve(&function.apply(&binding, &arguments)?)).await
    }
}

#[async_trait(?Send)]
impl Blobs for Kv<'_> {
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), SqlError> {
        self.call("put", &[&key.into(), &Uint8Array::from(bytes)])
            .await
            .map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, SqlError> {
        let value = self.call("get", &[&key.into(), &"arrayBuffer".into()]).await?;
        Ok(js::bytes(&value))
    }

    async fn delete(&self, key: &str) -> Result<(), SqlError> {
        self.call("delete", &[&key.into()]).await.map(drop)
    }
}

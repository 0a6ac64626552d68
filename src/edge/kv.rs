//! Large payloads in KV, binding `KV`.

use super::{host, js};
use crate::ports::{Blobs, SqlError};
use async_trait::async_trait;
use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The binding; whether it is there shows at the first call.
pub struct Kv(JsValue);

impl Kv {
    pub fn new(env: &JsValue) -> Self {
        Self(js::get(env, "KV"))
    }

    async fn call(&self, method: &str, arguments: &[&JsValue]) -> Result<JsValue, SqlError> {
        self.try_call(method, arguments).await.map_err(|thrown| {
            let message = format!("KV {method}: {}", js::message(&thrown));
            host::log(&serde_json::json!({ "level": "error", "job": "kv", "message": message }));
            SqlError { message }
        })
    }

    async fn try_call(&self, method: &str, arguments: &[&JsValue]) -> Result<JsValue, JsValue> {
        let Ok(function) = js::get(&self.0, method).dyn_into::<Function>() else {
            return Err(JsValue::from_str("the binding `KV` is missing"));
        };
        let arguments = arguments.iter().copied().collect();
        JsFuture::from(Promise::resolve(&function.apply(&self.0, &arguments)?)).await
    }
}

#[async_trait(?Send)]
impl Blobs for Kv {
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

//! JavaScript of definitions, each in an isolate of its own (binding `LOADER`, a Worker Loader).

use super::{host, js};
use crate::ports::{ScriptError, Scripts};
use async_trait::async_trait;
use js_sys::{Array, Function, Object, Promise};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The Worker around a transform: JSON in, JSON out, and what it throws as text.
const HARNESS: &str = r#"
import { transform } from "./transform.js";
export default {
  async fetch(request) {
    try {
      const value = await transform(await request.json());
      return Response.json({ value: value === undefined ? null : value });
    } catch (error) {
      return Response.json({ error: String(error?.message ?? error).slice(0, 300) });
    }
  },
};
"#;

/// Milliseconds of CPU for one transform. Enforced by the platform, not by a local runtime.
const CPU_MS: u32 = 50;
/// Milliseconds until it must have answered, whatever it waits for.
const TIMEOUT_MS: u32 = 2_000;
/// Most bytes of a result.
const MAX_BYTES: usize = 4 * 1024 * 1024;
const COMPATIBILITY_DATE: &str = "2026-11-01";

/// The binding; deployments without it run no transforms.
pub struct Loader<'a>(pub &'a JsValue);

impl Loader<'_> {
    fn binding(&self) -> JsValue {
        js::get(self.0, "LOADER")
    }

    async fn run(&self, source: &str, input: &Value) -> Result<String, JsValue> {
        let binding = self.binding();
        let id = format!("transform-{}", hex::encode(Sha256::digest(source)));
        let code = worker_code(source)?;
        // Called without arguments, `Object` bound to a value gives that value: a callback that needs no memory of ours.
        let object: Function = js::get(&js_sys::global(), "Object").dyn_into()?;
        let callback = object.bind1(&JsValue::NULL, &code);
        let get: Function = js::get(&binding, "get").dyn_into()?;
        let worker = get.call2(&binding, &JsValue::from_str(&id), &callback)?;
        let entry: Function = js::get(&worker, "getEntrypoint").dyn_into()?;
        let entry = entry.call0(&worker)?;
        let fetch: Function = js::get(&entry, "fetch").dyn_into()?;
        let init = js::object([
            ("method", "POST".into()),
            ("body", JsValue::from_str(&input.to_string())),
            ("signal", web_sys::AbortSignal::timeout_with_u32(TIMEOUT_MS).into()),
        ]);
        let reply = fetch.call2(&entry, &"http://transform/".into(), &init)?;
        let reply: web_sys::Response = JsFuture::from(Promise::resolve(&reply)).await?.unchecked_into();
        let text = JsFuture::from(reply.text()?).await?;
        text.as_string().ok_or_else(|| JsValue::from_str("no text"))
    }
}

#[async_trait(?Send)]
impl Scripts for Loader<'_> {
    fn is_on(&self) -> bool {
        self.binding().is_object()
    }

    async fn transform(&self, source: &str, input: &Value) -> Result<Value, ScriptError> {
        if !self.is_on() {
            return Err(ScriptError::Off);
        }
        let text = self.run(source, input).await.map_err(|thrown| {
            let message: String = js::message(&thrown).chars().take(300).collect();
            host::log(&serde_json::json!({"level": "warn", "job": "transform", "message": message}));
            ScriptError::Failed(message)
        })?;
        if text.len() > MAX_BYTES {
            return Err(ScriptError::Failed(format!(
                "its result is larger than {MAX_BYTES} bytes"
            )));
        }
        let mut reply: Value =
            serde_json::from_str(&text).map_err(|_| ScriptError::Failed("its result is no JSON".into()))?;
        if let Some(error) = reply.get("error").and_then(Value::as_str) {
            return Err(ScriptError::Failed(error.to_owned()));
        }
        Ok(reply.get_mut("value").map(Value::take).unwrap_or_default())
    }
}

/// What the loader makes an isolate of: no network, no bindings.
fn worker_code(source: &str) -> Result<Object, JsValue> {
    let script = format!("{source}\nexport {{ transform }};\n");
    let modules = js::object([
        ("main.js", HARNESS.into()),
        ("transform.js", JsValue::from_str(&script)),
    ]);
    Ok(js::object([
        ("compatibilityDate", COMPATIBILITY_DATE.into()),
        ("compatibilityFlags", Array::new().into()),
        ("mainModule", "main.js".into()),
        ("modules", modules.into()),
        ("env", Object::new().into()),
        ("globalOutbound", JsValue::NULL),
        (
            "limits",
            js::object([("cpuMs", CPU_MS.into()), ("subRequests", 0.into())]).into(),
        ),
    ]))
}

//! Counting: the platform's rate limiters (optional bindings), and the isolate's counters.

use super::js;
use crate::ports::{Limiter, Tally};
use async_trait::async_trait;
use js_sys::{Function, Promise};
use std::cell::RefCell;
use std::collections::BTreeMap;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Most counters of one isolate: labels come from outside.
const CAPACITY: usize = 2_000;

thread_local! {
    static COUNTERS: RefCell<BTreeMap<(&'static str, String), u64>> = RefCell::default();
}

/// A view on the isolate's counters; holds nothing itself.
pub struct IsolateTally;

impl Tally for IsolateTally {
    fn add(&self, name: &'static str, label: &str, by: u64) -> u64 {
        COUNTERS.with_borrow_mut(|counters| {
            let key = (name, label.to_owned());
            if counters.len() >= CAPACITY && !counters.contains_key(&key) {
                counters.clear();
            }
            let counter = counters.entry(key).or_default();
            *counter = counter.saturating_add(by);
            *counter
        })
    }

    fn set(&self, name: &'static str, label: &str, to: u64) {
        COUNTERS.with_borrow_mut(|counters| counters.insert((name, label.to_owned()), to));
    }

    fn all(&self) -> Vec<(&'static str, String, u64)> {
        COUNTERS.with_borrow(|counters| counters.iter().map(|((n, l), v)| (*n, l.clone(), *v)).collect())
    }
}

/// The bindings; nothing is limited where one is not there.
pub struct RateLimiter<'a>(pub &'a JsValue);

impl RateLimiter<'_> {
    async fn ask(binding: &JsValue, key: &str) -> Result<bool, JsValue> {
        let limit: Function = js::get(binding, "limit").dyn_into()?;
        let asked: Promise = limit
            .call1(binding, &js::object([("key", key.into())]).into())?
            .dyn_into()?;
        Ok(js::get(&JsFuture::from(asked).await?, "success").is_truthy())
    }
}

#[async_trait(?Send)]
impl Limiter for RateLimiter<'_> {
    async fn allows(&self, limit: &'static str, key: &str) -> bool {
        let binding = js::get(self.0, limit);
        if binding.is_undefined() {
            return true;
        }
        // A limiter that fails must not cost a delivery.
        Self::ask(&binding, key).await.unwrap_or(true)
    }
}

//! The isolate's memory, shared by the requests that it serves one after another or beside each other.

use crate::ports::{Cache, KeyError, KeySource};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::webhook::{FetchedKeys, KeyCache};
use async_trait::async_trait;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Most entries kept; an isolate has 128 MB for everything.
const CAPACITY: usize = 1_000;

thread_local! {
    static ENTRIES: RefCell<HashMap<String, Entry>> = RefCell::default();
}

struct Entry {
    value: Secret,
    until: Timestamp,
}

/// A view on it; holds nothing itself.
pub struct IsolateCache;

impl Cache for IsolateCache {
    fn get(&self, key: &str, now: Timestamp) -> Option<Secret> {
        ENTRIES.with_borrow(|entries| entries.get(key).filter(|e| now < e.until).map(|e| e.value.clone()))
    }

    fn put(&self, key: &str, value: Secret, until: Timestamp) {
        ENTRIES.with_borrow_mut(|entries| {
            if entries.len() >= CAPACITY && !entries.contains_key(key) {
                // The one that ends first: it is over, or will be asked for least.
                let first = entries.iter().min_by_key(|(_, e)| e.until).map(|(key, _)| key.clone());
                if let Some(first) = first {
                    entries.remove(&first);
                }
            }
            entries.insert(key.to_owned(), Entry { value, until });
        });
    }

    fn remove(&self, key: &str) {
        ENTRIES.with_borrow_mut(|entries| entries.remove(key));
    }
}

thread_local! {
    static KEYS: Rc<KeyCache> = Rc::default();
}

/// Published keys, fetched over the network and remembered by the isolate.
pub struct PublishedKeys;

#[async_trait(?Send)]
impl KeySource for PublishedKeys {
    async fn document(&self, url: &str, json: Option<&serde_json::Value>, fresh: bool) -> Result<Vec<u8>, KeyError> {
        let cache = KEYS.with(Rc::clone);
        let keys = FetchedKeys {
            fetch: &super::fetch::Outbound,
            cache: &cache,
            now: super::host::now(),
        };
        keys.document(url, json, fresh).await
    }
}

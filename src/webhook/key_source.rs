//! Keys that a service publishes: JWK sets and certificates. The port, and the rules by which they are fetched: https
//! alone, no redirects, capped, cached, also where there is no answer.

use crate::http::{Headers, Method, Request};
use crate::ports::{Fetch, FetchError, KeyError, KeySource, Limits};
use crate::time::{HOUR, MINUTE, Timestamp};
use async_trait::async_trait;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// A source without keys, for schemes that need none.
#[derive(Debug, Clone, Copy)]
pub struct NoKeys;

#[async_trait(?Send)]
impl KeySource for NoKeys {
    async fn document(&self, _: &str, _: Option<&serde_json::Value>, _: bool) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::Unavailable("no key source is set up".to_owned()))
    }
}

/// Most bytes of a key document.
const MAX_BYTES: usize = 64 * 1024;
/// Milliseconds until a service must have answered.
const TIMEOUT_MS: u32 = 5_000;
/// How long an answer is good.
const GOOD_FOR: i64 = HOUR;
/// How long no answer is remembered, and how soon a fresh copy may be asked for again.
const PAUSE: i64 = MINUTE;
/// Most documents that are remembered; a caller chooses part of their addresses.
const MAX_ENTRIES: usize = 64;
/// Most fetches of an isolate in a minute: a caller who invents addresses or key ids cannot make it a fetcher of theirs.
const MAX_FETCHES: u32 = 30;

/// What was answered, and when.
#[derive(Debug, Clone)]
struct Entry {
    at: Timestamp,
    answer: Result<Vec<u8>, KeyError>,
}

/// Documents fetched by this isolate. Lives as long as it; holds public keys alone.
#[derive(Debug, Default)]
pub struct KeyCache {
    entries: RefCell<BTreeMap<String, Entry>>,
    /// The current minute, and how many fetches it has seen.
    asked: Cell<(i64, u32)>,
}

impl KeyCache {
    /// An empty cache.
    pub const fn new() -> Self {
        Self {
            entries: RefCell::new(BTreeMap::new()),
            asked: Cell::new((0, 0)),
        }
    }

    /// Counts a fetch; false if this minute has seen enough of them.
    fn may_ask(&self, now: Timestamp) -> bool {
        let minute = now.0.div_euclid(MINUTE);
        let (last, count) = self.asked.get();
        let count = if last == minute { count } else { 0 };
        self.asked.set((minute, count.saturating_add(1)));
        count < MAX_FETCHES
    }

    /// What is remembered and still good for this question.
    fn get(&self, key: &str, fresh: bool, now: Timestamp) -> Option<Result<Vec<u8>, KeyError>> {
        let entries = self.entries.borrow();
        let entry = entries.get(key)?;
        let limit = if fresh || entry.answer.is_err() {
            PAUSE
        } else {
            GOOD_FOR
        };
        (0..limit).contains(&(now.0 - entry.at.0)).then(|| entry.answer.clone())
    }

    fn put(&self, key: String, entry: Entry) {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            // Failures go first: they are what a stranger can make.
            let oldest = entries
                .iter()
                .min_by_key(|(_, e)| (e.answer.is_ok(), e.at))
                .map(|(k, _)| k.clone());
            oldest.and_then(|oldest| entries.remove(&oldest));
        }
        entries.insert(key, entry);
    }
}

/// Keys by the network.
pub struct FetchedKeys<'a> {
    /// Outgoing HTTP; follows no redirects.
    pub fetch: &'a dyn Fetch,
    /// What was fetched before.
    pub cache: &'a KeyCache,
    /// The time now.
    pub now: Timestamp,
}

#[async_trait(?Send)]
impl KeySource for FetchedKeys<'_> {
    async fn document(&self, url: &str, json: Option<&serde_json::Value>, fresh: bool) -> Result<Vec<u8>, KeyError> {
        if super::named::https_host(url).is_none() {
            return Err(KeyError::Unavailable(
                "the address of the key is not plain https".to_owned(),
            ));
        }
        if crate::action::egress::check_public(url, false).is_err() {
            return Err(KeyError::Unavailable(
                "the address of the key is not a public one".to_owned(),
            ));
        }
        // The request may hold a credential of the connection: its digest names it.
        let body = json.map(ToString::to_string).unwrap_or_default();
        let key = format!("{url} {}", super::digest::sha256_hex(body.as_bytes()));
        if let Some(known) = self.cache.get(&key, fresh, self.now) {
            return known;
        }
        if !self.cache.may_ask(self.now) {
            return Err(KeyError::Unavailable(
                "too many keys were asked for in this minute".to_owned(),
            ));
        }
        let answer = self.ask(url, json.is_some(), body).await;
        self.cache.put(
            key,
            Entry {
                at: self.now,
                answer: answer.clone(),
            },
        );
        answer
    }
}

impl FetchedKeys<'_> {
    async fn ask(&self, url: &str, post: bool, body: String) -> Result<Vec<u8>, KeyError> {
        let kind = [("accept", "*/*"), ("content-type", "application/json")];
        let request = Request {
            method: if post { Method::Post } else { Method::Get },
            url: url.to_owned(),
            headers: Headers::from_pairs(kind.into_iter().take(if post { 2 } else { 1 })),
            body: body.into_bytes(),
        };
        let limits = Limits {
            timeout_ms: TIMEOUT_MS,
            max_bytes: MAX_BYTES,
        };
        let reply = self
            .fetch
            .send(request, limits)
            .await
            .map_err(|e: FetchError| KeyError::Unavailable(e.to_string()))?;
        match reply.status {
            200 => Ok(reply.body),
            // Hosts that list nothing answer 403 for what is not there.
            400 | 403 | 404 | 410 => Err(KeyError::NotFound),
            other => Err(KeyError::Unavailable(format!("the key's address answered {other}"))),
        }
    }
}

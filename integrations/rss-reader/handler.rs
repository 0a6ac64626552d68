//! `new_entries`: looks at one feed after the other. Each is a part of the poll with a baseline, marks and troubles of
//! its own, so that a broken feed takes nothing from the others.

mod date;
mod feed;
mod url;

use crate::sdk::*;
use feed::Entry;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub static INTEGRATION: RssReader = RssReader;

/// The integration of this folder.
pub struct RssReader;

/// Most redirects of one look.
const MOST_HOPS: usize = 5;

/// Longest pause that a feed's server gets, in milliseconds.
const LONGEST_PAUSE: i64 = 24 * 3_600 * 1_000;

impl Integration for RssReader {
    fn polling_trigger(&self, name: &str) -> Option<&dyn PollingTriggerHandler> {
        (name == "new_entries").then_some(&NewEntries)
    }
}

struct NewEntries;

/// What is remembered between two looks.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// The feed that is next.
    next: usize,
    /// What is known of each feed, by its configured address.
    feeds: BTreeMap<String, Known>,
}

/// What is known of one feed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    /// Where it moved for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
    /// Its server says that it is gone for good.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
    /// Its server does not want to be asked before this time, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<i64>,
}

#[async_trait(?Send)]
impl PollingTriggerHandler for NewEntries {
    async fn poll(&self, inputs: &Value, last: &LastPoll, context: &ExecutionContext<'_>) -> Result<Polled> {
        let feeds: Vec<&str> = inputs
            .get("feeds")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut memory: Memory = serde_json::from_value(last.cursor.clone()).unwrap_or_default();
        let now = context.now();
        let Some(address) = feeds.get(memory.next) else {
            return Ok(Polled::default());
        };
        let address = (*address).to_owned();
        let mut known = memory.feeds.remove(&address).unwrap_or_default();
        let waits = known.not_before.is_some_and(|at| now.0 < at);
        let looked = if known.gone || waits {
            Ok(Vec::new())
        } else {
            look(&address, &mut known, context).await
        };
        let gone = known.gone;
        memory.feeds.insert(address.clone(), known);
        memory.next += 1;
        let more = memory.next < feeds.len();
        let all_gone = feeds
            .iter()
            .all(|feed| memory.feeds.get(*feed).is_some_and(|known| known.gone));
        if !more {
            memory.next = 0;
        }
        let (items, trouble) = match looked {
            Ok(_) if gone => (
                Vec::new(),
                Some(Error::Upstream(format!("{address} is gone for good (410)"))),
            ),
            Ok(items) => (items, None),
            Err(error) => (Vec::new(), Some(named(&address, error))),
        };
        let wait_s = match (&trouble, feeds.len()) {
            // With one feed alone, its server's wish is the poll's.
            (Some(error), 1) => error.retry_after_s(),
            _ => None,
        };
        Ok(Polled {
            items,
            cursor: json!(memory),
            more,
            group: if waits || gone { String::new() } else { address },
            trouble,
            gone: all_gone,
            wait_s,
        })
    }
}

/// What the feed lists now; nothing where it says that it has not changed.
async fn look(address: &str, known: &mut Known, context: &ExecutionContext<'_>) -> Result<Vec<Item>> {
    known.not_before = None;
    let start = known.moved_to.clone().unwrap_or_else(|| address.to_owned());
    let (reply, url) = match fetch(&start, known, context).await {
        // Where it is said to have moved nothing answers any more: the configured address has another chance.
        Err(_) if known.moved_to.is_some() => {
            *known = Known::default();
            fetch(address, known, context).await?
        }
        other => other?,
    };
    match reply.status {
        304 => return Ok(Vec::new()),
        410 => {
            known.gone = true;
            return Ok(Vec::new());
        }
        429 | 503 => return Err(pause(&reply, known, context)),
        status if !(200..300).contains(&status) => {
            return Err(Error::Upstream(format!("it answered with status {status}")));
        }
        _ => {}
    }
    let text = decode(&reply, context);
    let feed = feed::parse(&text, &url).map_err(Error::Upstream)?;
    remember(&reply, known, feed.broken.is_none());
    Ok(feed
        .entries
        .iter()
        .map(|entry| item(address, &feed.title, entry))
        .collect())
}

/// Follows redirects by hand, for the permanent ones are remembered: 301 and 308, as long as only such lead there.
async fn fetch(start: &str, known: &mut Known, context: &ExecutionContext<'_>) -> Result<(Response, String)> {
    let mut url = start.to_owned();
    let mut permanent = true;
    for _ in 0..MOST_HOPS {
        let mut headers = Headers::from_pairs([
            (
                "accept",
                "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5",
            ),
            ("user-agent", "Patchbay (feed reader)"),
        ]);
        if let Some(etag) = &known.etag {
            headers.set("if-none-match", etag);
        }
        if let Some(date) = &known.last_modified {
            headers.set("if-modified-since", date);
        }
        let request = Request {
            method: Method::Get,
            url: url.clone(),
            headers,
            body: Vec::new(),
        };
        let reply = context.fetch_once(request).await?;
        let target = reply
            .headers
            .get("location")
            .filter(|_| matches!(reply.status, 301 | 302 | 303 | 307 | 308));
        let Some(target) = target else { return Ok((reply, url)) };
        permanent &= matches!(reply.status, 301 | 308);
        url = url::join(&url, target);
        if permanent {
            known.moved_to = Some(url.clone());
        }
    }
    Err(Error::Upstream(format!("it redirected more than {MOST_HOPS} times")))
}

/// The error of a server that wants a pause, which is noted.
fn pause(reply: &Response, known: &mut Known, context: &ExecutionContext<'_>) -> Error {
    let now = context.now();
    let asked = reply
        .headers
        .get("retry-after")
        .and_then(|value| retry_after(value, now));
    let asked = asked.unwrap_or(0).min(LONGEST_PAUSE);
    known.not_before = (asked > 0).then_some(now.0 + asked);
    Error::Temporary {
        detail: format!("it answered with status {}", reply.status),
        retry_after_s: u32::try_from(asked / 1_000).unwrap_or(0).max(60),
    }
}

/// Keeps the reply's marks, if they may be relied on: what could not be read to its end is asked for again whole.
fn remember(reply: &Response, known: &mut Known, whole: bool) {
    let (etag, last_modified) = validators_of(|name| reply.headers.get(name));
    known.etag = etag.filter(|_| whole);
    known.last_modified = last_modified.filter(|_| whole);
}

/// The body as text. A byte order mark decides, then the reply's header, then the document, then what it looks like
/// (RFC 7303, 3.2).
fn decode(reply: &Response, context: &ExecutionContext<'_>) -> String {
    let bytes = reply.body.as_slice();
    let by_mark = match bytes {
        [0xef, 0xbb, 0xbf, ..] => Some("utf-8"),
        [0xfe, 0xff, ..] | [0, b'<', ..] => Some("utf-16be"),
        [0xff, 0xfe, ..] | [b'<', 0, ..] => Some("utf-16le"),
        _ => None,
    };
    let by_header = reply.headers.get("content-type").and_then(|value| {
        let lower = value.to_ascii_lowercase();
        let charset = lower.split_once("charset=")?.1;
        Some(
            charset
                .trim_matches(['"', '\'', ' '])
                .split([';', '"', '\'', ' '])
                .next()?
                .to_owned(),
        )
    });
    let declared = by_mark.map(str::to_owned).or(by_header).or_else(|| declared(bytes));
    if let Some(text) = declared.and_then(|label| context.decode(&label, bytes)) {
        return text;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => context
            .decode("windows-1252", bytes)
            .unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// `encoding="…"` of the XML declaration.
fn declared(bytes: &[u8]) -> Option<String> {
    let head: String = bytes.iter().take(200).map(|b| char::from(*b)).collect();
    let declaration = head.trim_start().strip_prefix("<?xml")?.split("?>").next()?.to_owned();
    let value = declaration
        .split_once("encoding")?
        .1
        .trim_start()
        .strip_prefix('=')?
        .trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    Some(value.get(1..)?.split(quote).next()?.to_owned())
}

fn item(address: &str, feed_title: &str, entry: &Entry) -> Item {
    // Of the configured address, so that a feed that moves keeps its entries.
    let digest = Sha256::digest(format!("{address}\n{}", entry.key).as_bytes());
    let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Item {
        id,
        subject: Some(if entry.title.is_empty() {
            &entry.link
        } else {
            &entry.title
        })
        .filter(|s| !s.is_empty())
        .cloned(),
        occurred_at: entry.at,
        data: json!({
            "feed_url": address,
            "feed_title": feed_title,
            "title": entry.title,
            "link": entry.link,
            "description": entry.description,
            "published": entry.published,
            "author": entry.author,
        }),
    }
}

/// An error with the feed's address before it.
fn named(address: &str, error: Error) -> Error {
    match error {
        Error::Temporary { detail, retry_after_s } => Error::Temporary {
            detail: format!("{address}: {detail}"),
            retry_after_s,
        },
        Error::Upstream(detail) => Error::Upstream(format!("{address}: {detail}")),
        Error::Timeout(detail) => Error::Timeout(format!("{address}: {detail}")),
        other => other,
    }
}

//! Where pages come from: a request that the manifest describes, or the folder's handler.

use super::progress::{Rules, Validators};
use super::{At, Item, Page, Source, Trouble, schedule};
use crate::action::caller::{Answer, Caller, Exchange, Names, Tried};
use crate::action::handler::Sender;
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::http::validators_of;
use crate::manifest::Manifest;
use crate::manifest::poll::{Order, PollingTrigger, Start};
use crate::manifest::request::RequestTemplate;
use crate::manifest::response::ResponseTemplate;
use crate::ports::Ports;
use crate::registry::Integration;
use crate::sdk::{LastPoll, PollingTriggerHandler};
use crate::template::{Scope, Template};
use crate::time::{MINUTE, SECOND, Timestamp};
use async_trait::async_trait;
use serde_json::{Value, json};

/// A number from which a time is in milliseconds.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A page, or why there is none.
type Asked<T> = std::result::Result<T, Trouble>;

/// What is asked, and for whom.
#[derive(Clone, Copy)]
pub struct Listing<'a> {
    /// The outside.
    pub ports: &'a Ports<'a>,
    /// The service.
    pub integration: &'a Integration,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// The account.
    pub credential: &'a Credential,
    /// The trigger's name.
    pub part: &'a str,
    /// The poll's inputs.
    pub inputs: &'a Value,
}

impl<'a> Listing<'a> {
    /// What asks with the account.
    pub fn caller(&self) -> Caller<'a> {
        Caller {
            ports: self.ports,
            manifest: self.manifest,
            credential: self.credential,
            deadline: None,
        }
    }
}

/// The source that a trigger names.
pub fn of<'a>(listing: &Listing<'a>) -> Result<Box<dyn Source + 'a>> {
    let trigger = listing.manifest.trigger(listing.part)?;
    if let Some(request) = &trigger.request {
        return Ok(Box::new(Declared {
            listing: *listing,
            overlap: trigger.overlap_ms()?.unwrap_or(Rules::default().overlap),
            trigger,
            request,
        }));
    }
    let handler = listing
        .integration
        .handler()
        .and_then(|h| h.polling_trigger(listing.part));
    match handler {
        Some(handler) => Ok(Box::new(Handled {
            listing: *listing,
            handler,
            overlap: trigger.overlap_ms()?.unwrap_or(Rules::default().overlap),
        })),
        None => Err(Error::Internal(format!(
            "`{}` has neither a request nor a handler",
            listing.part
        ))),
    }
}

/// A list that the manifest describes.
struct Declared<'a> {
    listing: Listing<'a>,
    trigger: &'a PollingTrigger,
    request: &'a RequestTemplate,
    overlap: i64,
}

#[async_trait(?Send)]
impl Source for Declared<'_> {
    fn rules(&self) -> Rules {
        Rules {
            order: self.trigger.order,
            // From a cursor on, only changes are listed.
            whole: self.trigger.order == Order::Any && self.trigger.cursor.is_none(),
            drifts: self.trigger.pagination.is_some() && !self.trigger.stable_pages,
            overlap: self.overlap,
            ..Rules::default()
        }
    }

    async fn page(&self, at: &At<'_>) -> Asked<Page> {
        let begins = at.cursor.is_null() && at.next.is_null();
        let start = self.trigger.cursor.as_ref().and_then(|rule| rule.start.as_ref());
        if let Some(start) = start.filter(|_| begins) {
            return self.start(start, at).await;
        }
        let from = Some(at.next).filter(|next| !next.is_null());
        let answer = self.ask(self.request, true, at, from).await;
        let answer = match answer {
            // A next page that is refused is mostly one whose name has grown too old.
            Err(Trouble::Failed {
                error: Error::Upstream(_) | Error::Validation { .. } | Error::NotFound(_),
                ..
            }) if from.is_some() => {
                return Err(Trouble::PageLost);
            }
            other => other?,
        };
        let status = answer
            .parts
            .status
            .as_u64()
            .and_then(|s| u16::try_from(s).ok())
            .unwrap_or(0);
        if status == 304 {
            return Ok(Page {
                unchanged: true,
                wait: self.wait(&answer),
                ..Page::default()
            });
        }
        if let Some(rule) = self
            .trigger
            .cursor
            .as_ref()
            .filter(|rule| rule.reset_on.contains(&status))
        {
            let gap = rule.start.is_some();
            return Err(Trouble::Reset { gap });
        }
        Ok(self.read(answer, at)?)
    }
}

impl Declared<'_> {
    /// The first cursor, and no items.
    async fn start(&self, start: &Start, at: &At<'_>) -> Asked<Page> {
        let answer = self.ask(&start.request, false, at, None).await?;
        let cursor = start
            .value
            .value(&self.scope(&answer.parts.names()))
            .map_err(Trouble::from)?;
        if cursor.is_null() {
            return Err(Error::Upstream("the service gave no place to begin from".into()).into());
        }
        Ok(Page {
            cursor: Some(cursor),
            ..Page::default()
        })
    }

    async fn ask(&self, request: &RequestTemplate, paged: bool, at: &At<'_>, from: Option<&Value>) -> Asked<Answer> {
        let plain = ResponseTemplate::default();
        let exchange = Exchange {
            name: self.listing.part,
            request,
            response: if paged { &self.trigger.response } else { &plain },
            pagination: self.trigger.pagination.as_ref().filter(|_| paged),
            fallback_urls: &[],
        };
        let since = at.since.map_or(Value::Null, |since| since_as(since, at.started));
        let last = json!(at.last_poll_ts.map(Timestamp::rfc3339));
        let etag = json!(at.validators.and_then(|v| v.etag.clone()));
        let modified = json!(at.validators.and_then(|v| v.last_modified.clone()));
        let names: Names<'_> = vec![
            ("inputs", self.listing.inputs),
            ("cursor", at.cursor),
            ("since", &since),
            ("last_poll_ts", &last),
            ("etag", &etag),
            ("last_modified", &modified),
        ];
        match self.listing.caller().attempt_page(exchange, &names, from).await? {
            Tried::Done(answer) => Ok(answer),
            Tried::Refused(error) => Err(Trouble::Failed { error, wait: None }),
            Tried::Again(again) => Err(Trouble::Failed {
                error: self.listing.caller().error_of(&again),
                wait: again.wait,
            }),
        }
    }

    fn scope(&self, more: &[(&str, &Value)]) -> Scope {
        let mut names = vec![("inputs", self.listing.inputs)];
        names.extend_from_slice(more);
        self.listing.credential.scope(&names)
    }

    fn read(&self, answer: Answer, at: &At<'_>) -> Result<Page> {
        let found = match (answer.items.as_ref(), &self.trigger.items) {
            (Some(items), _) => items.clone(),
            (None, Some(template)) => match template.value(&self.scope(&answer.parts.names()))? {
                Value::Array(items) => items,
                Value::Null => Vec::new(),
                _ => return Err(Error::Upstream("what should be a list of items is none".into())),
            },
            (None, None) => Vec::new(),
        };
        let mut items = Vec::with_capacity(found.len());
        for item in found {
            items.push(self.item(item)?);
        }
        let cursor = match (&self.trigger.cursor, &answer.next) {
            (Some(rule), None) => Some(rule.next.value(&self.scope(&answer.parts.names()))?).filter(|v| !v.is_null()),
            _ => None,
        };
        Ok(Page {
            items,
            cursor,
            validators: validators(&answer, at.number == 0),
            wait: self.wait(&answer),
            next: answer.next,
            ..Page::default()
        })
    }

    fn item(&self, item: Value) -> Result<Item> {
        let template = &self.trigger.item;
        let scope = self.scope(&[("item", &item)]);
        let id = match &template.id {
            Some(id) => id.text(&scope)?,
            None => plain(item.get("id")),
        };
        if id.is_empty() {
            return Err(Error::Upstream("an item of the list has no id".into()));
        }
        let text = |t: &Option<Template>| t.as_ref().map(|t| t.text(&scope)).transpose();
        let occurred_at = template
            .time
            .as_ref()
            .map(|t| t.value(&scope))
            .transpose()?
            .and_then(|v| time_of(&v));
        let subject = text(&template.subject)?.filter(|s| !s.is_empty());
        let data = template.data.as_ref().map(|data| data.value(&scope)).transpose()?;
        Ok(Item {
            id,
            subject,
            occurred_at,
            data: data.unwrap_or(item),
        })
    }

    fn wait(&self, answer: &Answer) -> Option<i64> {
        let name = self.trigger.wait_header.as_deref()?.to_ascii_lowercase();
        schedule::seconds(answer.parts.headers.get(&name)?.as_str()?)
    }
}

fn plain(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// A time as services write it.
pub(super) fn time_of(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse_iso8601(text).or_else(|| number(text.parse().ok()?)),
        Value::Number(n) => number(n.as_i64().or_else(|| n.as_f64().map(whole))?),
        _ => None,
    }
}

/// Seconds or milliseconds since 1970: seconds of this size are of the year 5138.
fn number(n: i64) -> Option<Timestamp> {
    if n.abs() >= MILLISECONDS_FROM {
        Some(Timestamp(n))
    } else {
        Timestamp::from_seconds(n)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a fraction of a second is not needed")]
fn whole(n: f64) -> i64 {
    n as i64
}

/// Of the walk's beginning, so that the request for a later page is the same but for the page.
fn since_as(since: Timestamp, now: Timestamp) -> Value {
    json!({
        "rfc3339": since.rfc3339(),
        "s": since.seconds(),
        "ms": since.0,
        "minutes_ago": ((now.0 - since.0).max(0) + MINUTE - 1) / MINUTE,
    })
}

/// What the first page is marked with.
fn validators(answer: &Answer, is_first: bool) -> Option<Validators> {
    let header = |name: &str| answer.parts.headers.get(name).and_then(Value::as_str);
    let (etag, last_modified) = validators_of(header);
    let any = is_first && (etag.is_some() || last_modified.is_some());
    any.then_some(Validators { etag, last_modified })
}

/// A list that a handler asks for.
struct Handled<'a> {
    listing: Listing<'a>,
    handler: &'a dyn PollingTriggerHandler,
    overlap: i64,
}

#[async_trait(?Send)]
impl Source for Handled<'_> {
    fn rules(&self) -> Rules {
        Rules {
            grouped: true,
            overlap: self.overlap,
            ..Rules::default()
        }
    }

    async fn page(&self, at: &At<'_>) -> Asked<Page> {
        let last = LastPoll {
            at: at.last_poll_ts,
            cursor: at.cursor.clone(),
        };
        let sender = Sender::new(self.listing.caller());
        let polled = self.handler.poll(self.listing.inputs, &last, &sender.context()).await?;
        if polled.gone {
            let error = polled
                .trouble
                .unwrap_or_else(|| Error::Upstream("it is gone for good".into()));
            return Err(Trouble::Gone(error));
        }
        let items = polled.items.into_iter().map(|item| Item {
            id: item.id,
            data: item.data,
            subject: item.subject,
            occurred_at: item.occurred_at,
        });
        Ok(Page {
            items: items.collect(),
            next: polled.more.then_some(Value::Bool(true)),
            cursor: Some(polled.cursor),
            blank: polled.trouble.is_some() || polled.group.is_empty(),
            group: polled.group,
            wait: polled.wait_s.map(|s| i64::from(s) * SECOND),
            trouble: polled.trouble,
            ..Page::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_services_write_them() {
        let cases = [
            (json!("2026-11-22T10:00:00Z"), Some(1_795_341_600_000)),
            (json!("2026-11-22T10:00:00.500+0100"), Some(1_795_338_000_500)),
            (json!(1_795_341_600), Some(1_795_341_600_000)),
            (json!(1_795_341_600_123i64), Some(1_795_341_600_123)),
            (json!("1795341600"), Some(1_795_341_600_000)),
            (json!(1_795_341_600.9), Some(1_795_341_600_000)),
            (json!("soon"), None),
            (json!(null), None),
            (json!("é"), None),
        ];
        for (value, expected) in cases {
            assert_eq!(time_of(&value).map(|t| t.0), expected, "{value}");
        }
    }
}

//! Asks a service with an account's credential: one exchange, page by page. What actions, polls and handlers share.

use super::breaker::Breaker;
use super::build::build;
use super::call::{self, Outcome};
use super::egress;
use super::paging::{first_page, next_page};
use super::reply::{Parts, Read, Reader};
use super::retry::{self, Again, Cause};
use crate::credential::{Credential, token};
use crate::error::{Error, Result};
use crate::http::{Request, Response};
use crate::manifest::Manifest;
use crate::manifest::limit::Rate;
use crate::manifest::request::RequestTemplate;
use crate::manifest::response::{Pagination, ResponseTemplate};
use crate::ports::{FetchError, Ports};
use crate::secret::Secret;
use crate::store::rate;
use crate::template::ScopeOf;
use crate::time::Timestamp;
use serde_json::{Value, json};

/// Milliseconds for one request where nobody sets a deadline.
const TIMEOUT_MS: u32 = 15_000;

/// Longest that a call waits for its share of a rate, in milliseconds.
const MAX_HOLD: i64 = 5_000;

/// Names and values that templates see besides the connection's own.
pub type Names<'n> = Vec<(&'n str, &'n Value)>;

/// One account at one service.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The outside.
    pub ports: &'a Ports<'a>,
    /// The service.
    pub manifest: &'a Manifest,
    /// The account.
    pub credential: &'a Credential,
    /// When the caller's patience ends, if it does.
    pub deadline: Option<Timestamp>,
}

/// What is asked, and how the answer is read.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    /// What it is called, for messages.
    pub name: &'a str,
    /// The request.
    pub request: &'a RequestTemplate,
    /// How its reply is read.
    pub response: &'a ResponseTemplate,
    /// How its list comes in pages.
    pub pagination: Option<&'a Pagination>,
    /// Base URLs to try where the service's own does not answer.
    pub fallback_urls: &'a [String],
}

/// What an exchange gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The reply's parts, of the last page.
    pub parts: Parts,
    /// The items of all pages; none where nothing comes in pages.
    pub items: Option<Vec<Value>>,
    /// What asks for the page after these, if there is one: to be passed as `from` to go on.
    pub next: Option<Value>,
}

/// What a try came to.
#[derive(Debug, PartialEq)]
pub enum Tried<T> {
    /// It is done.
    Done(T),
    /// Not done, and trying again can help.
    Again(Again),
    /// Refused for good.
    Refused(Error),
}

impl Answer {
    /// The names under which `data` sees it.
    pub fn data(&self, exchange: Exchange<'_>, scope: &ScopeOf<'_>) -> Result<Value> {
        let items = self.items.as_ref().map(|items| json!(items));
        if let Some(data) = &exchange.response.data {
            let more = json!(self.next.is_some());
            let next = json!(self.next);
            let mut names = self.parts.names().to_vec();
            if let Some(items) = &items {
                names.extend([("items", items), ("more", &more), ("next", &next)]);
            }
            return data.value(&scope(&names));
        }
        Ok(match items {
            Some(items) => json!({"items": items, "more": self.next.is_some()}),
            None if exchange.request.graphql.is_some() => self.parts.body.get("data").cloned().unwrap_or(Value::Null),
            None => self.parts.body.clone(),
        })
    }
}

impl Caller<'_> {
    /// Asks, with all pages that the bounds allow, from the first or from where an earlier [`Answer::next`] points.
    pub async fn attempt(
        &self,
        exchange: Exchange<'_>,
        names: &Names<'_>,
        from: Option<&Value>,
    ) -> Result<Tried<Answer>> {
        self.tried(exchange, names, from, exchange.pagination.map_or(1, |p| p.max_pages))
            .await
    }

    /// Asks for one page: the first, or the one that an earlier [`Answer::next`] names.
    pub async fn attempt_page(
        &self,
        exchange: Exchange<'_>,
        names: &Names<'_>,
        from: Option<&Value>,
    ) -> Result<Tried<Answer>> {
        self.tried(exchange, names, from, 1).await
    }

    async fn tried(
        &self,
        exchange: Exchange<'_>,
        names: &Names<'_>,
        from: Option<&Value>,
        most: u32,
    ) -> Result<Tried<Answer>> {
        let own = [self.credential.base_url.clone()];
        let mut last = None;
        for base_url in own.iter().chain(exchange.fallback_urls) {
            let base_url = base_url.trim_end_matches('/');
            match self.pages(exchange, names, from, base_url, most).await? {
                Tried::Again(again) if matches!(again.cause, Cause::Timeout | Cause::Temporary) => {
                    last = Some(Tried::Again(again));
                }
                other => return Ok(other),
            }
        }
        last.ok_or_else(|| Error::Internal("an exchange was not tried".into()))
    }

    /// Asks, and again after short waits where that can help: for what only reads. `tries` are at least one.
    pub async fn ask(&self, exchange: Exchange<'_>, names: &Names<'_>, from: Option<&Value>) -> Result<Answer> {
        for tries in 1.. {
            let again = match self.attempt(exchange, names, from).await? {
                Tried::Done(answer) => return Ok(answer),
                Tried::Refused(error) => return Err(error),
                Tried::Again(again) if again.cause == Cause::TooLarge => return Err(self.error_of(&again)),
                Tried::Again(again) => again,
            };
            let left = self.deadline.map_or(i64::MAX, |d| d.0 - self.ports.host.now().0);
            let jitter = super::jitter(self.ports);
            match retry::next_short_wait(tries, again.wait, jitter, left) {
                Some(wait) => self.ports.timer.sleep(u32::try_from(wait).unwrap_or(u32::MAX)).await,
                None => return Err(self.error_of(&again)),
            }
        }
        Err(Error::Internal("an exchange had no end".into()))
    }

    /// The error of a try that is not repeated.
    pub fn error_of(&self, again: &Again) -> Error {
        let seconds = |ms: i64| u32::try_from(ms / 1_000 + 1).unwrap_or(u32::MAX);
        let service = &self.manifest.name;
        match again.cause {
            Cause::RateLimited => Error::RateLimit {
                retry_after_s: again.wait.map_or(30, seconds),
            },
            Cause::Timeout => Error::Timeout(format!("{service} did not answer: {}", again.reason)),
            Cause::TooLarge => Error::Upstream(format!("{service}: {}", again.reason)),
            Cause::Temporary => Error::Temporary {
                detail: format!("{service} did not answer: {}", again.reason),
                retry_after_s: again.wait.map_or(30, seconds),
            },
        }
    }

    async fn pages(
        &self,
        exchange: Exchange<'_>,
        names: &Names<'_>,
        from: Option<&Value>,
        base_url: &str,
        most: u32,
    ) -> Result<Tried<Answer>> {
        let mut page = from.cloned().unwrap_or_else(first_page);
        let mut items = Vec::new();
        let mut pages = 0;
        loop {
            let mut with_page = names.clone();
            with_page.push(("page", &page));
            let scope = |more: &[(&str, &Value)]| {
                let all: Names<'_> = with_page.iter().chain(more).copied().collect();
                self.credential.scope(&all)
            };
            let mut request = build(exchange.request, base_url, &scope(&[]))?;
            if let Some(url) = page.get("url").and_then(Value::as_str) {
                url.clone_into(&mut request.url);
            }
            let parts = match self.exchange(exchange, &request, &scope).await? {
                Read::Done(parts) => parts,
                Read::Again(again) => return Ok(Tried::Again(again)),
                Read::Refused(error) => return Ok(Tried::Refused(error)),
            };
            let Some(pagination) = exchange.pagination else {
                let (items, next) = (None, None);
                return Ok(Tried::Done(Answer { parts, items, next }));
            };
            let found = match pagination.items.value(&scope(&parts.names()))? {
                Value::Array(found) => found,
                Value::Null => Vec::new(),
                _ => return Ok(Tried::Refused(Error::Upstream("a page's items are no list".into()))),
            };
            pages += 1;
            let next = next_page(pagination, &page, &parts, found.len(), &request.url, &scope)?;
            items.extend(found);
            let over = items.len() >= pagination.max_items || pages >= most;
            match next {
                Some(next) if !over => page = next,
                next => {
                    let items = Some(items);
                    return Ok(Tried::Done(Answer { parts, items, next }));
                }
            }
        }
    }

    /// One request and its reply. A refusal of the token means that nothing was done: it is obtained anew, and the
    /// request sent once more.
    async fn exchange(&self, exchange: Exchange<'_>, request: &Request, scope: &ScopeOf<'_>) -> Result<Read> {
        if let Some(again) = self.held_back(&request.url).await? {
            return Ok(Read::Again(again));
        }
        let reader = Reader {
            manifest: self.manifest,
            response: exchange.response,
            graphql: exchange.request.graphql.is_some(),
            action: exchange.name,
        };
        let mut read = None;
        let mut stale = None;
        for last in [false, true] {
            let access = match &self.manifest.auth {
                Some(auth) => token::fresh(self.ports, self.manifest, auth, self.credential, stale.as_ref()).await?,
                None => None,
            };
            let outcome = self.send(request, access.as_ref()).await?;
            let now = self.ports.host.now();
            let result = reader.read(&outcome, scope, now)?;
            let refused = matches!(result, Read::Refused(Error::ReauthRequired(_)));
            read = Some(result);
            // There is no other than the one that a person gave: its refusal stands.
            let auth = self.manifest.auth.as_ref();
            let is_given = auth.is_some_and(|auth| token::given(auth, self.credential).is_some());
            if !refused || last || access.is_none() || is_given {
                break;
            }
            stale = access;
        }
        read.ok_or_else(|| Error::Internal("a request was not sent".into()))
    }

    async fn send(&self, request: &Request, access: Option<&Secret>) -> Result<Outcome> {
        let timeout_ms = match self.deadline {
            None => TIMEOUT_MS,
            Some(deadline) => {
                let left = u32::try_from(deadline.0 - self.ports.host.now().0).unwrap_or(0);
                if left == 0 {
                    return Err(call::too_late());
                }
                left.min(TIMEOUT_MS)
            }
        };
        let outcome =
            call::send_authorised(self.ports, self.manifest, self.credential, access, request, timeout_ms).await?;
        self.breaker(&request.url).saw(is_alive(&outcome));
        self.credential.answered.set(match &outcome {
            Outcome::Reply(reply) => Some(reply.status),
            Outcome::Lost(_) => None,
        });
        Ok(outcome)
    }

    /// Why nothing may be sent now: the service is left alone because it is down, or the connection's rate is used up
    /// for longer than is worth waiting.
    async fn held_back(&self, url: &str) -> Result<Option<Again>> {
        if let Err(wait) = self.breaker(url).admit() {
            let reason = format!("{} did not answer several times; it is left alone", self.manifest.name);
            return Ok(Some(Again {
                wait: Some(wait),
                ..Again::new(Cause::Temporary, false, reason)
            }));
        }
        match self.manifest.rate_limit.as_ref().and_then(|l| l.per_connection) {
            Some(rate) => self.within(&self.credential.source, rate).await,
            None => Ok(None),
        }
    }

    /// Takes one call's share of a rate, waiting for it if it is near.
    pub async fn within(&self, id: &str, rate: Rate) -> Result<Option<Again>> {
        for last in [false, false, true] {
            let Some(wait) = rate::take(self.ports, id, rate, self.ports.host.now()).await? else {
                return Ok(None);
            };
            let left = self.deadline.map_or(MAX_HOLD, |d| d.0 - self.ports.host.now().0);
            if last || wait > left.min(MAX_HOLD) {
                return Ok(Some(Again {
                    wait: Some(wait),
                    ..Again::new(Cause::RateLimited, false, "the connection's own rate is used up")
                }));
            }
            self.ports.timer.sleep(u32::try_from(wait).unwrap_or(u32::MAX)).await;
        }
        Ok(None)
    }

    fn breaker(&self, url: &str) -> Breaker<'_> {
        let host = egress::origin(url).map(|o| o.host).unwrap_or_default();
        Breaker::new(self.ports, &self.credential.source, &host)
    }

    /// Adds to a request what it would be sent with, `token` as its access token, and checks where it would go.
    pub fn authorise_with(&self, token: &Secret, request: &mut Request) -> Result<()> {
        call::authorise(self.ports, self.manifest, self.credential, Some(token), request)
    }

    /// Sends a handler's request as it is, with the credential.
    pub async fn raw(&self, request: &Request) -> Result<Response> {
        if let Some(again) = self.held_back(&request.url).await? {
            return Err(self.error_of(&again));
        }
        let access = self.access().await?;
        self.reply(self.send(request, access.as_ref()).await?)
    }

    /// The same, without following a redirect.
    pub async fn raw_once(&self, request: &Request) -> Result<Response> {
        let access = self.access().await?;
        let outcome = call::send_once(self.ports, self.manifest, self.credential, access.as_ref(), request).await?;
        self.reply(outcome)
    }

    async fn access(&self) -> Result<Option<crate::secret::Secret>> {
        match &self.manifest.auth {
            Some(auth) => token::fresh(self.ports, self.manifest, auth, self.credential, None).await,
            None => Ok(None),
        }
    }

    fn reply(&self, outcome: Outcome) -> Result<Response> {
        match outcome {
            Outcome::Reply(reply) => Ok(reply),
            Outcome::Lost(FetchError::Timeout) => {
                Err(Error::Timeout(format!("{} did not answer in time", self.manifest.name)))
            }
            Outcome::Lost(error) => Err(Error::temporary(format!("{}: {error}", self.manifest.name))),
        }
    }
}

/// Whether an outcome shows that the service is there, however it answered.
fn is_alive(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Reply(reply) => !matches!(reply.status, 500 | 502..=504),
        Outcome::Lost(FetchError::TooLarge(_)) => true,
        Outcome::Lost(FetchError::Timeout | FetchError::Network(_)) => false,
    }
}

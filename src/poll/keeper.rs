//! Keeps subscriptions alive: made once, renewed when half their life is over, made anew when they are gone. Where a
//! service does not say that of itself, it is asked each day.

use super::run::{Conditions, Ran, fail};
use super::source::{Listing, time_of};
use crate::action::caller::{Answer, Caller, Exchange, Names, Tried};
use crate::error::{Error, Result};
use crate::interval;
use crate::manifest::request::RequestTemplate;
use crate::manifest::response::ResponseTemplate;
use crate::manifest::subscription::{Ask, Subscription};
use crate::secret::Secret;
use crate::store::poll::{Poll, State};
use crate::time::{DAY, MINUTE, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Soonest that a subscription is looked at again, in milliseconds.
const SOONEST: i64 = 5 * MINUTE;

/// Statuses that say that a subscription is gone.
const GONE: [u16; 2] = [404, 410];

/// What is known of a subscription: the cursor of its row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Kept {
    /// What the service calls it.
    pub id: Option<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl Kept {
    /// What a row says.
    pub fn of(poll: &Poll) -> Option<Self> {
        serde_json::from_value(poll.progress.cursor.clone()).ok()
    }
}

/// What keeping it came to, and the webhook secret that the service chose, if it did.
pub struct Tended {
    /// As of a run.
    pub ran: Ran,
    /// The secret: to be stored before the rest is.
    pub secret: Option<Secret>,
}

/// Makes or renews the subscription of a row.
pub async fn tend(listing: &Listing<'_>, poll: &mut Poll, webhook_url: &str, conditions: &Conditions<'_>) -> Tended {
    let known = Kept::of(poll).filter(|kept| kept.expires_at.is_some());
    let mut latest = interval::LONGEST;
    let done = async {
        let subscription = listing.manifest.subscription(listing.part)?;
        if subscription.check.is_some() {
            latest = DAY;
        }
        let tender = Tender {
            listing,
            subscription,
            webhook_url,
        };
        tender.tend(known).await
    };
    let (mut ran, mut secret) = (Ran::default(), None);
    let now = match done.await {
        Ok(((kept, chosen), lost)) => {
            let now = (conditions.now)();
            ran.gap = lost;
            let left = kept.expires_at.map_or(0, |at| at.0 - now.0);
            poll.progress.cursor = json!(kept);
            poll.progress.begun = true;
            poll.state = State::Active;
            (poll.failures, poll.failing_since, poll.last_error) = (0, None, None);
            poll.last_poll_ts = Some(now);
            poll.due_at = Some(now + (left / 2).clamp(SOONEST, latest));
            secret = chosen;
            now
        }
        Err(error) => {
            let now = (conditions.now)();
            let wait = error.retry_after_s().map(|s| i64::from(s) * 1_000);
            // The first failure is told, while there is half a life left to do something about it.
            ran.alarmed = poll.failures == 0;
            fail(poll, &mut Ran::default(), &error, wait, now, conditions.jitter);
            now
        }
    };
    poll.last_run_at = Some(now);
    Tended { ran, secret }
}

/// Ends the subscription at the service, where the manifest says how.
pub async fn end(listing: &Listing<'_>, poll: &Poll, webhook_url: &str) -> Result<()> {
    let subscription = listing.manifest.subscription(listing.part)?;
    let (Some(request), Some(kept)) = (&subscription.end, Kept::of(poll)) else {
        return Ok(());
    };
    let tender = Tender {
        listing,
        subscription,
        webhook_url,
    };
    tender.ask(request, &kept, &GONE).await.map(|_| ())
}

fn is_gone(answer: &Answer) -> bool {
    GONE.iter().any(|gone| answer.parts.status == json!(gone))
}

struct Tender<'a> {
    listing: &'a Listing<'a>,
    subscription: &'a Subscription,
    webhook_url: &'a str,
}

impl Tender<'_> {
    /// What is known of it afterwards, and whether it was gone.
    async fn tend(&self, known: Option<Kept>) -> Result<((Kept, Option<Secret>), bool)> {
        let mut lost = false;
        if let Some(kept) = &known {
            lost = !self.is_there(kept).await?;
            if let (Some(renew), false) = (&self.subscription.renew, lost) {
                let answer = self.ask(&renew.request, kept, &GONE).await?;
                if !is_gone(&answer) {
                    return Ok((self.read(renew, &answer, kept.clone())?, false));
                }
                lost = true;
            }
        }
        let before = known.unwrap_or_default();
        let answer = self.ask(&self.subscription.create.request, &before, &[]).await?;
        Ok((self.read(&self.subscription.create, &answer, before)?, lost))
    }

    /// Whether the service still has it, where the manifest says how to ask.
    async fn is_there(&self, kept: &Kept) -> Result<bool> {
        let Some(check) = &self.subscription.check else {
            return Ok(true);
        };
        let answer = self.ask(&check.request, kept, &GONE).await?;
        if is_gone(&answer) {
            return Ok(false);
        }
        let id = json!(kept.id);
        let mut names = vec![("inputs", self.listing.inputs), ("id", &id)];
        names.extend(answer.parts.names());
        check.shows.truth(&self.listing.credential.scope(&names))
    }

    async fn ask(&self, request: &RequestTemplate, kept: &Kept, accept: &[u16]) -> Result<Answer> {
        let listing = self.listing;
        let life = interval::parse(&self.subscription.life, "/life")?;
        let until = json!((listing.ports.host.now() + life).rfc3339());
        let (id, webhook_url) = (json!(kept.id), json!(self.webhook_url));
        // The hub's own secret, meant for the service: the only one that these templates see.
        let own = listing.credential.secrets.get("webhook_secret");
        let webhook_secret = own.map_or(Value::Null, |secret| json!(secret.expose()));
        let names: Names<'_> = vec![
            ("inputs", listing.inputs),
            ("webhook_url", &webhook_url),
            ("webhook_secret", &webhook_secret),
            ("until", &until),
            ("id", &id),
        ];
        let response = ResponseTemplate {
            accept: accept.to_vec(),
            ..ResponseTemplate::default()
        };
        let exchange = Exchange {
            name: listing.part,
            request,
            response: &response,
            pagination: None,
            fallback_urls: &[],
        };
        let caller = Caller {
            ports: listing.ports,
            manifest: listing.manifest,
            credential: listing.credential,
            deadline: None,
        };
        match caller.attempt_page(exchange, &names, None).await? {
            Tried::Done(answer) => Ok(answer),
            Tried::Refused(error) => Err(error),
            Tried::Again(again) => Err(caller.error_of(&again)),
        }
    }

    fn read(&self, ask: &Ask, answer: &Answer, before: Kept) -> Result<(Kept, Option<Secret>)> {
        let mut names = vec![("inputs", self.listing.inputs)];
        names.extend(answer.parts.names());
        let scope = self.listing.credential.scope(&names);
        let text = |template: &Option<_>| {
            template
                .as_ref()
                .map_or(Ok(String::new()), |t: &crate::template::Template| t.text(&scope))
        };
        let id = Some(text(&ask.id)?).filter(|id| !id.is_empty()).or(before.id);
        if id.is_none() && self.subscription.create.id.is_some() {
            return Err(Error::Upstream(
                "the service did not name the subscription that it made".into(),
            ));
        }
        let expires_at = ask.expires_at.as_ref().map(|t| t.value(&scope)).transpose()?;
        let life = interval::parse(&self.subscription.life, "/life")?;
        let usual = self.listing.ports.host.now() + life;
        let expires_at = expires_at.as_ref().and_then(time_of).unwrap_or(usual);
        let secret = Some(text(&ask.secret)?).filter(|s| !s.is_empty()).map(Secret::new);
        let kept = Kept {
            id,
            expires_at: Some(expires_at),
        };
        Ok((kept, secret))
    }
}

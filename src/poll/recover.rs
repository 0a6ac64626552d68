//! What a service says it sent to the webhook, compared with what arrived: whatever did not is taken in late. Nothing
//! has to be remembered for that, for the events that are there are what is known; only how far back a complete look
//! has reached, so that the next one can be short.

use super::run::{Conditions, MAX_PAGES, Ran, fail, well};
use super::{At, Item, Source, Trouble};
use crate::error::{Error, Result};
use crate::poll::progress::{Rules, Skipped, Walk, Walked};
use crate::store::poll::Poll;
use crate::time::{HOUR, MINUTE, SECOND, Timestamp};
use async_trait::async_trait;
use std::collections::HashSet;

/// What a look came to, or why it did not.
type Asked<T> = std::result::Result<T, Trouble>;

/// How long a delivery that cannot be taken in is tried again, look after look: each has to go back as far.
const PATIENCE: i64 = 6 * HOUR;

/// Most of them that are put aside; with more, it is the service that is in trouble, and the look waits.
const MOST_SKIPPED: usize = 50;

/// What is younger may still be on its way.
const ON_ITS_WAY: i64 = 2 * MINUTE;

/// Where deliveries come in late.
#[async_trait(?Send)]
pub trait Inbox {
    /// Those of these delivery ids that have arrived.
    async fn arrived(&self, ids: &[&str]) -> Result<HashSet<String>>;
    /// Takes one in. An error is one of the inbox or of the account, not of the delivery.
    async fn take(&self, sent: &Item) -> Result<Taken>;
}

/// What taking one in came to.
#[derive(Debug)]
pub enum Taken {
    /// It is there.
    Stored,
    /// The service does not have it any more, or it came meanwhile.
    Nothing,
    /// The service does not give it, or not as a delivery.
    Failed(Error),
}

/// Looks through what was sent since the last complete look. What is stored stays stored, however the run ends.
pub async fn run(source: &dyn Source, inbox: &dyn Inbox, poll: &mut Poll, conditions: &Conditions<'_>) -> Ran {
    let started = (conditions.now)();
    let mut look = Look {
        source,
        inbox,
        conditions,
        pages: 0,
        taken: 0,
        wait: None,
        trouble: None,
    };
    let walked = look.walk(poll, started).await;
    let now = (conditions.now)();
    let mut ran = Ran {
        pages: look.pages,
        recovered: look.taken,
        ..Ran::default()
    };
    poll.last_run_at = Some(now);
    poll.items_seen += i64::from(look.taken);
    match walked {
        Ok(walked) => {
            let over = matches!(walked, Walked::Over(_));
            ran.gap = over && look.give_up(poll, now);
            let walked = looked_up_to(poll, walked);
            well(poll, walked, look.trouble, started, now, look.wait, conditions.jitter);
        }
        Err(trouble) => {
            poll.progress.walk = None;
            let (error, wait) = match trouble {
                Trouble::Failed { error, wait } => (error, wait),
                Trouble::Gone(error) => (error, None),
                Trouble::Reset { .. } | Trouble::PageLost => (Error::temporary("the list changed meanwhile"), None),
            };
            fail(poll, &mut ran, &error, wait, now, conditions.jitter);
        }
    }
    ran
}

struct Look<'a> {
    source: &'a dyn Source,
    inbox: &'a dyn Inbox,
    conditions: &'a Conditions<'a>,
    pages: u32,
    taken: u32,
    wait: Option<i64>,
    trouble: Option<Error>,
}

impl Look<'_> {
    async fn walk(&mut self, poll: &mut Poll, now: Timestamp) -> Asked<Walked> {
        let rules = self.source.rules();
        let horizon = horizon(poll, &rules);
        loop {
            let walk = poll.progress.walk(now).clone();
            let at = At::of(poll, &walk, horizon, None);
            let page = self.source.page(&at).await?;
            self.pages += 1;
            poll.progress.walk(now).listed += page.items.len();
            self.wait = self.wait.max(page.wait);
            let is_older = |item: &Item| horizon.zip(item.occurred_at).is_some_and(|(from, at)| at < from);
            let reached = page.items.iter().any(is_older);
            let settled = |item: &&Item| item.occurred_at.is_none_or(|at| at + ON_ITS_WAY <= now);
            let wanted: Vec<&Item> = page.items.iter().filter(|i| !is_older(i)).filter(settled).collect();
            if !self.take_in(&wanted, poll, &walk).await? {
                return Ok(Walked::More);
            }
            let enough = self.enough(poll);
            match page.next.filter(|_| !reached && !enough) {
                Some(next) => {
                    let walk = poll.progress.walk(now);
                    walk.next = next;
                    walk.pages += 1;
                }
                None => {
                    poll.progress.walk = None;
                    poll.progress.begun = true;
                    return Ok(Walked::Over(walk.started));
                }
            }
            if self.pages >= MAX_PAGES || !(self.conditions.may_ask)() {
                return Ok(Walked::More);
            }
        }
    }

    /// Takes in what has not arrived, the oldest first; false where the budget or the quota ended before. What cannot be
    /// taken in keeps none of the others: it is put aside, for the next look.
    async fn take_in(&mut self, sent: &[&Item], poll: &mut Poll, walk: &Walk) -> Result<bool> {
        let ids: Vec<&str> = sent.iter().map(|item| item.id.as_str()).collect();
        if ids.is_empty() {
            return Ok(true);
        }
        let mut known = self.inbox.arrived(&ids).await?;
        poll.progress.skipped.retain(|id, _| !known.contains(id));
        for item in sent.iter().rev() {
            let tried = poll.progress.skipped.get(&item.id).map(|skipped| skipped.tried);
            let in_this_look = tried.is_some_and(|at| at >= walk.started);
            if !known.insert(item.id.clone()) || in_this_look || self.enough(poll) {
                continue;
            }
            if !(self.conditions.may_ask)() {
                return Ok(false);
            }
            match self.inbox.take(item).await {
                // Perhaps for the budget's end alone.
                Ok(Taken::Failed(_)) if !(self.conditions.may_ask)() => return Ok(false),
                Ok(Taken::Failed(error)) => self.skip(item, poll, error)?,
                Ok(taken) => {
                    poll.progress.skipped.remove(&item.id);
                    self.taken += u32::from(matches!(taken, Taken::Stored));
                }
                // Too fast, for the service or for the quota, is no failure: the rest is taken when that is over.
                Err(Error::RateLimit { retry_after_s }) => {
                    self.wait = self.wait.max(Some(i64::from(retry_after_s) * SECOND));
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Puts one aside, and tells why.
    fn skip(&mut self, item: &Item, poll: &mut Poll, error: Error) -> Result<()> {
        let now = (self.conditions.now)();
        let skipped = &mut poll.progress.skipped;
        if skipped.len() >= MOST_SKIPPED && !skipped.contains_key(&item.id) {
            return Err(error);
        }
        let fresh = Skipped {
            since: now,
            tried: now,
            sent: item.occurred_at,
        };
        skipped.entry(item.id.clone()).or_insert(fresh).tried = now;
        self.trouble = Some(about(&item.id, error));
        Ok(())
    }

    /// Gives up what could not be taken in for too long, at the end of a look; whether there was any.
    fn give_up(&mut self, poll: &mut Poll, now: Timestamp) -> bool {
        let is_over = |skipped: &Skipped| skipped.since + PATIENCE < now;
        let over = poll.progress.skipped.iter().find(|(_, skipped)| is_over(skipped));
        let Some(id) = over.map(|(id, _)| id.clone()) else {
            return false;
        };
        poll.progress.skipped.retain(|_, skipped| !is_over(skipped));
        self.trouble = Some(Error::Upstream(format!(
            "the delivery `{id}` could not be taken in for six hours and is given up; look for it at the service"
        )));
        true
    }

    /// Whether the first look has brought what was asked for.
    fn enough(&self, poll: &Poll) -> bool {
        poll.last_poll_ts.is_none() && poll.backfill > 0 && poll.items_seen + i64::from(self.taken) >= poll.backfill
    }
}

/// A look whose findings could not all be taken in counts only up to the oldest of those, so that the next one finds it.
fn looked_up_to(poll: &Poll, walked: Walked) -> Walked {
    let oldest = poll.progress.skipped.values().filter_map(|skipped| skipped.sent).min();
    match (walked, oldest) {
        (Walked::Over(began), Some(oldest)) => Walked::Over(began.min(oldest)),
        (walked, _) => walked,
    }
}

/// The error with the delivery that it is about.
fn about(id: &str, error: Error) -> Error {
    match error {
        Error::Upstream(detail) => Error::Upstream(format!("the delivery `{id}`: {detail}")),
        Error::Temporary { detail, retry_after_s } => Error::Temporary {
            detail: format!("the delivery `{id}`: {detail}"),
            retry_after_s,
        },
        other => other,
    }
}

/// From when on things are compared: since the last complete look, with the list's own lateness; the first time since
/// the poll was made, or, with a backfill, from the list's beginning.
fn horizon(poll: &Poll, rules: &Rules) -> Option<Timestamp> {
    match poll.last_poll_ts {
        Some(last) => Some(last + -rules.overlap.max(ON_ITS_WAY)),
        None => (poll.backfill == 0).then_some(poll.created_at),
    }
}

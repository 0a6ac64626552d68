//! What a service says it sent to the webhook, compared with what arrived: whatever did not is taken in late. Nothing
//! has to be remembered for that, for the events that are there are what is known; only how far back a complete look
//! has reached, so that the next one can be short.

use super::run::{Conditions, MAX_PAGES, Ran, fail, well};
use super::{At, Item, Source, Trouble};
use crate::error::{Error, Result};
use crate::poll::progress::{Rules, Walked};
use crate::store::poll::Poll;
use crate::time::{MINUTE, SECOND, Timestamp};
use async_trait::async_trait;
use std::collections::HashSet;

/// What a look came to, or why it did not.
type Asked<T> = std::result::Result<T, Trouble>;

/// What is younger may still be on its way.
const ON_ITS_WAY: i64 = 2 * MINUTE;

/// Where deliveries come in late.
#[async_trait(?Send)]
pub trait Inbox {
    /// Those of these delivery ids that have arrived.
    async fn arrived(&self, ids: &[&str]) -> Result<HashSet<String>>;
    /// Takes one in; false where the service does not have it any more.
    async fn take(&self, sent: &Item) -> Result<bool>;
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
        Ok(walked) => well(poll, walked, None, started, now, look.wait, conditions.jitter),
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
            if !self.take_in(&wanted, poll).await? {
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

    /// Takes in what has not arrived, the oldest first; false where the budget or the quota ended before.
    async fn take_in(&mut self, sent: &[&Item], poll: &Poll) -> Result<bool> {
        let ids: Vec<&str> = sent.iter().map(|item| item.id.as_str()).collect();
        if ids.is_empty() {
            return Ok(true);
        }
        let mut known = self.inbox.arrived(&ids).await?;
        for item in sent.iter().rev() {
            if !known.insert(item.id.clone()) || self.enough(poll) {
                continue;
            }
            if !(self.conditions.may_ask)() {
                return Ok(false);
            }
            match self.inbox.take(item).await {
                Ok(taken) => self.taken += u32::from(taken),
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

    /// Whether the first look has brought what was asked for.
    fn enough(&self, poll: &Poll) -> bool {
        poll.last_poll_ts.is_none() && poll.backfill > 0 && poll.items_seen + i64::from(self.taken) >= poll.backfill
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

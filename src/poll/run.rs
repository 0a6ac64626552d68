//! One run of a poll: pages, as far as the budget goes, and what that means for its row.

use super::progress::{Room, Walked};
use super::schedule;
use super::seen::CEILING;
use super::{At, Item, Page, Source, Trouble};
use crate::error::Error;
use crate::store::poll::{Poll, State};
use crate::time::{SECOND, Timestamp};
use serde_json::{Value, json};

/// Most pages of one run; a longer walk goes on with the next tick.
pub(super) const MAX_PAGES: u32 = 5;

/// After so many milliseconds no further page is begun: the claim is longer than this and one request.
const LONG: i64 = 60 * SECOND;

/// What the events of one run may be: one batch stores them.
const ROOM: Room = Room {
    count: 200,
    bytes: 1_000_000,
};

/// What a run came to. The poll's row is changed accordingly, and not yet stored.
#[derive(Debug, Default)]
pub struct Ran {
    /// The new items, oldest first.
    pub items: Vec<Item>,
    /// Deliveries that came in late.
    pub recovered: u32,
    /// Pages that were read.
    pub pages: u32,
    /// Whether the poll has only now come to need attention.
    pub alarmed: bool,
    /// Whether the service refused the cursor, or had lost the subscription, so that something may have been missed.
    pub gap: bool,
}

/// What else a run depends on.
pub struct Conditions<'a> {
    /// The clock.
    pub now: &'a dyn Fn() -> Timestamp,
    /// Whether there is budget for one more page besides what the end of the run needs.
    pub may_ask: &'a dyn Fn() -> bool,
    /// A random number in 0..1.
    pub jitter: f64,
}

/// How the pages of a run ended.
enum End {
    Walked(Walked),
    Failed { error: Error, wait: Option<i64> },
    Gone(Error),
}

/// Runs `poll` on `source`.
pub async fn run(source: &dyn Source, poll: &mut Poll, conditions: &Conditions<'_>) -> Ran {
    let started = (conditions.now)();
    let mut reading = Reading {
        source,
        ran: Ran::default(),
        wait: None,
        trouble: None,
        healthy: 0,
        reset: false,
    };
    let end = loop {
        match reading.step(poll, started).await {
            Ok(walked @ (Walked::Over(_) | Walked::Again | Walked::Full)) => break End::Walked(walked),
            Ok(Walked::More) => {
                let late = (conditions.now)() > started + LONG;
                if late || reading.ran.pages >= MAX_PAGES || reading.room().count == 0 || !(conditions.may_ask)() {
                    break End::Walked(Walked::More);
                }
            }
            Err(Some(end)) => break end,
            Err(None) => {
                if !(conditions.may_ask)() {
                    break End::Walked(Walked::More);
                }
            }
        }
    };
    poll.progress.rest();
    let now = (conditions.now)();
    let (mut ran, wait, trouble, healthy) = (reading.ran, reading.wait, reading.trouble, reading.healthy);
    poll.last_run_at = Some(now);
    poll.items_seen += i64::try_from(ran.items.len()).unwrap_or(0);
    match end {
        // All parts failed, each for itself.
        End::Walked(_) if healthy == 0 && trouble.is_some() => {
            let error = trouble.unwrap_or_else(|| Error::temporary("every part of the poll failed"));
            fail(poll, &mut ran, &error, wait, now, conditions.jitter);
        }
        End::Walked(walked) => well(poll, walked, trouble, started, now, wait, conditions.jitter),
        End::Failed { error, wait } => fail(poll, &mut ran, &error, wait, now, conditions.jitter),
        End::Gone(error) => {
            fail(poll, &mut ran, &error, None, now, conditions.jitter);
            ran.alarmed = poll.state != State::NeedsAttention || ran.alarmed;
            poll.state = State::NeedsAttention;
            poll.due_at = None;
        }
    }
    ran
}

/// A run that could not even ask.
pub fn failed(poll: &mut Poll, error: &Error, conditions: &Conditions<'_>) -> Ran {
    let (mut ran, now) = (Ran::default(), (conditions.now)());
    poll.last_run_at = Some(now);
    let wait = error.retry_after_s().map(|s| i64::from(s) * SECOND);
    fail(poll, &mut ran, error, wait, now, conditions.jitter);
    ran
}

/// A poll that is not begun again before somebody asks for it.
pub fn stopped(poll: &mut Poll, now: Timestamp, why: &str) -> Ran {
    let mut ran = Ran::default();
    fail(poll, &mut ran, &Error::temporary(why), None, now, 0.0);
    ran.alarmed = true;
    poll.state = State::NeedsAttention;
    poll.due_at = None;
    ran
}

/// Without memory of the whole list, what was forgotten would be news again.
fn too_long() -> Error {
    Error::Upstream(format!(
        "the list shows more than {CEILING} items at once, more than a poll remembers; make a poll whose inputs list less"
    ))
}

/// The pages of one run.
struct Reading<'a> {
    source: &'a dyn Source,
    ran: Ran,
    wait: Option<i64>,
    trouble: Option<Error>,
    healthy: u32,
    reset: bool,
}

impl Reading<'_> {
    /// Asks for the next page and takes it in. `Err(None)`: once more, without what the service refused.
    async fn step(&mut self, poll: &mut Poll, now: Timestamp) -> Result<Walked, Option<End>> {
        let mut rules = self.source.rules();
        rules.backfill = usize::try_from(poll.backfill).unwrap_or(0).min(CEILING);
        let walk = poll.progress.walk(now).clone();
        let (since, validators) = (poll.progress.since(&rules), poll.progress.usable_validators());
        let at = At::of(poll, &walk, since, validators);
        match self.source.page(&at).await {
            Ok(mut page) => {
                if poll.progress.is_too_long(&rules, page.items.len()) {
                    if !rules.grouped {
                        poll.progress.walk = None;
                        return Err(Some(End::Gone(too_long())));
                    }
                    // The other parts go on.
                    page.items.clear();
                    page.blank = true;
                    page.trouble = Some(too_long());
                }
                self.note(&mut page);
                let room = self.room();
                let (items, walked) = poll.progress.absorb(&mut poll.seen, &rules, page, room, now);
                self.ran.items.extend(items);
                Ok(walked)
            }
            Err(Trouble::Failed { error, wait }) => Err(Some(End::Failed { error, wait })),
            Err(Trouble::Gone(error)) => Err(Some(End::Gone(error))),
            Err(Trouble::Reset { gap }) if !self.reset => {
                poll.progress.reset(&rules, poll.last_poll_ts);
                self.reset = true;
                self.ran.gap = gap;
                Err(None)
            }
            Err(Trouble::Reset { .. } | Trouble::PageLost) => {
                poll.progress.walk = None;
                let error =
                    Error::Upstream("the service no longer knows the page that is next; from the first again".into());
                Err(Some(End::Failed { error, wait: None }))
            }
        }
    }

    fn note(&mut self, page: &mut Page) {
        self.ran.pages += 1;
        self.wait = self.wait.max(page.wait);
        match page.trouble.take() {
            Some(error) => self.trouble = Some(error),
            None => self.healthy += 1,
        }
    }

    /// What is left of the room for one batch.
    fn room(&self) -> Room {
        let used: usize = self.ran.items.iter().map(|item| item.data.to_string().len()).sum();
        Room {
            count: if used < ROOM.bytes {
                ROOM.count.saturating_sub(self.ran.items.len())
            } else {
                0
            },
            bytes: ROOM.bytes.saturating_sub(used),
        }
    }
}

pub(super) fn well(
    poll: &mut Poll,
    walked: Walked,
    trouble: Option<Error>,
    started: Timestamp,
    now: Timestamp,
    wait: Option<i64>,
    jitter: f64,
) {
    poll.state = State::Active;
    poll.failures = 0;
    poll.failing_since = None;
    poll.last_error = trouble.map(|error| told(&error, now));
    match walked {
        Walked::Over(began) => {
            poll.last_poll_ts = Some(began);
            poll.due_at = Some(schedule::next(started, poll.interval, wait, jitter));
        }
        // The list is not seen to its end: the next tick goes on, unless the service wants a pause.
        Walked::More | Walked::Full | Walked::Again => poll.due_at = Some(now + wait.unwrap_or(0)),
    }
}

pub(super) fn fail(poll: &mut Poll, ran: &mut Ran, error: &Error, wait: Option<i64>, now: Timestamp, jitter: f64) {
    poll.failures += 1;
    poll.failing_since.get_or_insert(now);
    poll.last_error = Some(told(error, now));
    poll.due_at = Some(schedule::after_failure(now, poll.interval, poll.failures, wait, jitter));
    if poll.failures >= schedule::ENOUGH && poll.state != State::NeedsAttention {
        poll.state = State::NeedsAttention;
        ran.alarmed = true;
    }
}

/// An error for a person.
fn told(error: &Error, at: Timestamp) -> Value {
    json!({"code": error.code(), "detail": error.public_detail(), "at": at.rfc3339()})
}

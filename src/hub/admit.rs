//! How much may come in: the platform's rate limiter before anything is read, a quota for each source and a budget for
//! each day before anything is stored. None of them costs a statement per delivery.

use super::Hub;
use crate::error::{Error, Result};
use crate::ports::MAX_ROW_PAYLOAD;
use crate::settings;
use crate::store::budget::{self, Spent};
use crate::time::{DAY, HOUR, MINUTE, SECOND};

/// Rows that an event costs from its acceptance to one destination: see docs/delivery.md.
const ROWS_PER_EVENT: u64 = 8;

/// Rows that a run of a poll costs besides its events: its claim, and its end with an index.
const ROWS_PER_POLL: u64 = 3;

/// Rows that an isolate counts for itself before it writes them down.
const UNWRITTEN: u64 = 700;

/// Counters of the isolate.
const ROWS: &str = "rows";
const KV_WRITES: &str = "kv_writes";
const MINUTE_OF: &str = "source_minute";
const IN_MINUTE: &str = "source_events";
const DAY_OF: &str = "budget_day";
const DAY_ROWS: &str = "budget_rows";
const DAY_KV: &str = "budget_kv_writes";

impl Hub<'_> {
    /// Asks the platform's rate limiter, by service and source. A forged delivery counts too: it must not cost more
    /// than this question.
    pub(super) async fn throttle(&self, service: &str, connection_id: Option<&str>) -> Result<()> {
        let key = connection_id.unwrap_or(service);
        if self.ports.limiter.allows("RATE_LIMITER", key).await {
            return Ok(());
        }
        self.ports.tally.add("throttled", service, 1);
        Err(Error::RateLimit { retry_after_s: 10 })
    }

    /// Counts what a verified delivery brings, and refuses it where its source or the day has had enough.
    pub(super) async fn admit(&self, source: &str, events: usize, bytes: usize) -> Result<()> {
        let host = self.ports.host;
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        if let Some(quota) = settings::limit(host, settings::EVENTS_PER_MINUTE) {
            self.within_quota(source, events, quota)?;
        }
        let rows = settings::limit(host, settings::DAILY_ROWS);
        let kv_writes = settings::limit(host, settings::DAILY_KV_WRITES);
        if rows.is_some() || kv_writes.is_some() {
            let large = u64::from(bytes > MAX_ROW_PAYLOAD);
            self.within_budget(events, large, rows, kv_writes).await?;
        }
        Ok(())
    }

    fn within_quota(&self, source: &str, events: u64, quota: u64) -> Result<()> {
        let tally = self.ports.tally;
        let now = self.ports.host.now();
        let minute = u64::try_from(now.0.div_euclid(MINUTE)).unwrap_or(0);
        if tally.add(MINUTE_OF, source, 0) != minute {
            tally.set(MINUTE_OF, source, minute);
            tally.set(IN_MINUTE, source, 0);
        }
        if tally.add(IN_MINUTE, source, events) <= quota {
            return Ok(());
        }
        tally.add("over_quota", source, 1);
        let left = MINUTE - now.0.rem_euclid(MINUTE);
        Err(Error::RateLimit {
            retry_after_s: u32::try_from(left / SECOND + 1).unwrap_or(60),
        })
    }

    /// Counts what a run of a poll wrote.
    pub(super) fn count_poll(&self, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        let rows = events.saturating_mul(ROWS_PER_EVENT).saturating_add(ROWS_PER_POLL);
        self.ports.tally.add(ROWS, "", rows);
    }

    /// Whether the day's budget leaves rows for what the hub begins by itself.
    pub(super) async fn has_rows_left(&self) -> Result<bool> {
        match settings::limit(self.ports.host, settings::DAILY_ROWS) {
            Some(limit) => Ok(self.spend(0, 0).await?.rows < limit),
            None => Ok(true),
        }
    }

    /// The budget is counted by each isolate for itself, and written down and read back every hundred events. What
    /// an isolate had not written down when it ended is not counted: set the limit somewhat below the plan's.
    async fn spend(&self, rows: u64, kv_writes: u64) -> Result<Spent> {
        let tally = self.ports.tally;
        let now = self.ports.host.now();
        let day = u64::try_from(now.0.div_euclid(DAY)).unwrap_or(0);
        let known = tally.add(DAY_OF, "", 0) == day;
        if !known {
            // What is not written down yet was spent yesterday.
            tally.set(ROWS, "", 0);
            tally.set(KV_WRITES, "", 0);
        }
        let own_rows = tally.add(ROWS, "", rows);
        let own_kv = tally.add(KV_WRITES, "", kv_writes);
        if !known || own_rows >= UNWRITTEN {
            let spent = Spent {
                rows: own_rows,
                kv_writes: own_kv,
            };
            let total = budget::spend(&self.ports, day, &spent).await?;
            tally.set(DAY_OF, "", day);
            tally.set(ROWS, "", 0);
            tally.set(KV_WRITES, "", 0);
            tally.set(DAY_ROWS, "", total.rows);
            tally.set(DAY_KV, "", total.kv_writes);
        }
        Ok(Spent {
            rows: tally.add(DAY_ROWS, "", 0) + tally.add(ROWS, "", 0),
            kv_writes: tally.add(DAY_KV, "", 0) + tally.add(KV_WRITES, "", 0),
        })
    }

    async fn within_budget(&self, events: u64, large: u64, rows: Option<u64>, kv_writes: Option<u64>) -> Result<()> {
        let spent = self.spend(events.saturating_mul(ROWS_PER_EVENT), large).await?;
        let over_rows = rows.is_some_and(|limit| spent.rows > limit);
        let over_kv = large > 0 && kv_writes.is_some_and(|limit| spent.kv_writes > limit);
        if !over_rows && !over_kv {
            return Ok(());
        }
        let now = self.ports.host.now();
        self.ports
            .tally
            .add("over_budget", if over_rows { "rows" } else { "kv_writes" }, 1);
        // Until the next day, though no longer than services wait before they try again.
        let left = (DAY - now.0.rem_euclid(DAY)).min(HOUR);
        Err(Error::Temporary {
            detail: "today's budget for stored events is used up; please deliver this again later".into(),
            retry_after_s: u32::try_from(left / SECOND + 1).unwrap_or(3_600),
        })
    }
}

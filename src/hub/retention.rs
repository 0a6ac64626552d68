//! What is kept long enough goes: in bounded batches, from cron. Nothing in flight or held is purged.

use super::Hub;
use crate::error::Result;
use crate::id::{self, Kind};
use crate::poll::budget::Meter;
use crate::ports::Stmt;
use crate::secret::Secret;
use crate::settings;
use crate::store::{audit, conversation, event, idempotency, replay, run};
use crate::time::{DAY, HOUR, Timestamp};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Where the search for events to purge goes on: an isolate's hint, so that held events are not looked at each minute.
const CURSOR: &str = "purge|event";

/// Rows that one search looks at, and most that it finds; as in `event::expired`.
const LOOKED_AT: i64 = 1_000;
const BATCH: usize = 500;

/// Most batches of each kind in one tick: 25,000 events a minute.
const BATCHES: usize = 50;

/// Payloads beside their rows after which a tick purges no further events: the platform allows 1,000 calls.
const ENOUGH_PAYLOADS: usize = 300;

/// What one batch came to.
#[derive(Default)]
struct Purged {
    events: usize,
    payloads: usize,
    more: bool,
}

impl Hub<'_> {
    /// Purges what is old, batch by batch while there is more, with up to half of what is left of the tick; one batch
    /// of each kind in any case.
    pub(super) async fn purge(&self, meter: &Meter<'_>) -> Result<()> {
        let reserve = meter.left() / 2;
        let mut sum = Purged::default();
        for _ in 0..BATCHES {
            let purged = self.purge_events().await?;
            sum.events += purged.events;
            sum.payloads += purged.payloads;
            if !purged.more || sum.payloads >= ENOUGH_PAYLOADS || meter.left() <= reserve {
                break;
            }
        }
        if sum.events > 0 {
            self.ports.host.log(&json!({"job": "purge", "events": sum.events}));
        }
        let mut kinds = self.purges();
        for _ in 0..BATCHES {
            let mut gone = self.ports.sql.batch(kinds.concat()).await?.into_iter();
            // Of which less than a batch was found, there is no more.
            kinds.retain(|kind| {
                gone.by_ref()
                    .take(kind.len())
                    .last()
                    .is_some_and(|rows| rows.len() >= BATCH)
            });
            if kinds.is_empty() || meter.left() <= reserve {
                break;
            }
        }
        Ok(())
    }

    /// The statements that forget a batch of everything else that is old, by kind; the last of each gives what is gone.
    fn purges(&self) -> Vec<Vec<Stmt>> {
        let host = self.ports.host;
        let mut kinds = vec![vec![idempotency::purge(host.now())]];
        if let Some(days) = settings::retention_days(host, settings::EVENT_RETENTION_DAYS) {
            kinds.push(vec![replay::purge(&id::first_at(Kind::Replay, self.days_ago(days)))]);
        }
        if let Some(days) = settings::retention_days(host, settings::RUN_RETENTION_DAYS) {
            let before = self.days_ago(days);
            kinds.push(vec![run::purge(&id::first_at(Kind::Run, before))]);
            let first = id::first_at(Kind::Conversation, before);
            kinds.push(vec![conversation::purge(&first, before, host.now())]);
        }
        if let Some(days) = settings::retention_days(host, settings::AUDIT_RETENTION_DAYS) {
            kinds.push(audit::purge(&id::first_at(Kind::Audit, self.days_ago(days))).to_vec());
        }
        kinds
    }

    /// Purges a batch of events with their deliveries and payloads. A payload beside the row is deleted between two
    /// marks of the row, so that a crash leaves neither a payload without a row nor an event without its payload.
    async fn purge_events(&self) -> Result<Purged> {
        let host = self.ports.host;
        let Some(days) = settings::retention_days(host, settings::EVENT_RETENTION_DAYS) else {
            return Ok(Purged::default());
        };
        let now = host.now();
        let before = id::first_at(Kind::Event, self.days_ago(days));
        let after = self.ports.cache.get(CURSOR, now).map(|at| at.expose().to_owned());
        let after = after.unwrap_or_default();
        let found = self
            .ports
            .sql
            .batch(event::expired(&after, &before, now).to_vec())
            .await?;
        let ids = texts(found.first(), "id");
        let end = found.get(1).and_then(|rows| rows.first());
        let more = self.remember(end, &ids, now);
        if ids.is_empty() {
            return Ok(Purged {
                more,
                ..Purged::default()
            });
        }
        let retired = self.ports.sql.batch(event::retire(&ids).to_vec()).await?;
        let keys = texts(retired.first(), "payload_key");
        for deleted in join_all(keys.iter().map(|key| self.ports.blobs.delete(key))).await {
            deleted?;
        }
        let gone = self.ports.sql.batch(vec![event::purge(&ids)]).await?;
        Ok(Purged {
            events: gone.first().map_or(0, Vec::len),
            payloads: keys.len(),
            more,
        })
    }

    /// Keeps where the next search begins: behind the last event taken if there may be more, else behind what this one
    /// looked at; from the start again once it came to the end. Gives whether there may be more.
    fn remember(&self, end: Option<&Value>, taken: &[&str], now: Timestamp) -> bool {
        let scanned = end.and_then(|row| row.get("scanned")?.as_i64()).unwrap_or(0);
        let last = end.and_then(|row| row.get("last")?.as_str());
        let next = match taken.last() {
            Some(last) if taken.len() >= BATCH => Some(*last),
            _ => last.filter(|_| scanned >= LOOKED_AT),
        };
        match next {
            Some(at) => self.ports.cache.put(CURSOR, Secret::new(at), now + HOUR),
            None => self.ports.cache.remove(CURSOR),
        }
        next.is_some()
    }

    fn days_ago(&self, days: u32) -> Timestamp {
        self.ports.host.now() + -(i64::from(days) * DAY)
    }
}

fn texts<'r>(rows: Option<&'r Vec<Value>>, column: &str) -> Vec<&'r str> {
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter_map(|row| row.get(column)?.as_str()).collect()
}

//! What is kept long enough goes: in bounded batches, from cron. Nothing in flight or held is purged.

use super::Hub;
use crate::error::Result;
use crate::id::{self, Kind};
use crate::secret::Secret;
use crate::settings;
use crate::store::{audit, conversation, event, replay, run};
use crate::time::{DAY, HOUR, Timestamp};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Where the search for events to purge goes on: an isolate's hint, so that held events are not looked at each minute.
const CURSOR: &str = "purge|event";

/// Rows that one search looks at, and most that it finds; as in `event::expired`.
const LOOKED_AT: i64 = 500;
const BATCH: usize = 100;

impl Hub<'_> {
    /// Purges one batch of each kind.
    pub(super) async fn purge(&self) -> Result<()> {
        let events = self.purge_events().await?;
        let host = self.ports.host;
        let mut statements = Vec::new();
        if let Some(days) = settings::retention_days(host, settings::EVENT_RETENTION_DAYS) {
            statements.push(replay::purge(&id::first_at(Kind::Replay, self.days_ago(days))));
        }
        if let Some(days) = settings::retention_days(host, settings::RUN_RETENTION_DAYS) {
            let before = self.days_ago(days);
            statements.push(run::purge(&id::first_at(Kind::Run, before)));
            let first = id::first_at(Kind::Conversation, before);
            statements.push(conversation::purge(&first, before, host.now()));
        }
        if let Some(days) = settings::retention_days(host, settings::AUDIT_RETENTION_DAYS) {
            statements.extend(audit::purge(&id::first_at(Kind::Audit, self.days_ago(days))));
        }
        if !statements.is_empty() {
            self.ports.sql.batch(statements).await?;
        }
        if events > 0 {
            host.log(&json!({"job": "purge", "events": events}));
        }
        Ok(())
    }

    /// Purges up to a hundred events with their deliveries and payloads. A payload beside the row is deleted between
    /// two marks of the row, so that a crash leaves neither a payload without a row nor an event without its payload.
    async fn purge_events(&self) -> Result<usize> {
        let host = self.ports.host;
        let Some(days) = settings::retention_days(host, settings::EVENT_RETENTION_DAYS) else {
            return Ok(0);
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
        self.remember(end, &ids, now);
        if ids.is_empty() {
            return Ok(0);
        }
        let retired = self.ports.sql.batch(event::retire(&ids).to_vec()).await?;
        let keys = texts(retired.first(), "payload_key");
        for deleted in join_all(keys.iter().map(|key| self.ports.blobs.delete(key))).await {
            deleted?;
        }
        let gone = self.ports.sql.batch(vec![event::purge(&ids)]).await?;
        Ok(gone.first().map_or(0, Vec::len))
    }

    /// Keeps where the next search begins: behind the last event taken if there may be more, else behind what this one
    /// looked at; from the start again once it came to the end.
    fn remember(&self, end: Option<&Value>, taken: &[&str], now: Timestamp) {
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
    }

    fn days_ago(&self, days: u32) -> Timestamp {
        self.ports.host.now() + -(i64::from(days) * DAY)
    }
}

fn texts<'r>(rows: Option<&'r Vec<Value>>, column: &str) -> Vec<&'r str> {
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter_map(|row| row.get(column)?.as_str()).collect()
}

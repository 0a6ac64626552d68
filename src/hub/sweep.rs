//! What cron does each minute: finds what was left behind.

use super::{Hub, Woken};
use crate::store::{delivery, event, run};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Most rows of each kind that one sweep takes on: each may cost a few subrequests, and the free plan has 50.
const PER_KIND: i64 = 10;

impl Hub<'_> {
    /// Does what is due and was not woken: a lost queue message, a worker that died, a wait longer than a queue holds.
    pub async fn tick(&self) {
        let now = self.ports.host.now();
        let mut statements = vec![
            event::due(now, PER_KIND),
            delivery::due(now, PER_KIND),
            run::due(now, PER_KIND),
        ];
        statements.extend(self.purge_rejections());
        let found = match self.ports.sql.batch(statements).await {
            Ok(found) => found,
            Err(error) => {
                self.ports
                    .host
                    .log(&json!({"level": "error", "job": "sweep", "message": error.to_string()}));
                return;
            }
        };
        let ids: Vec<String> = found
            .iter()
            .flatten()
            .filter_map(|row| row.get("id").and_then(Value::as_str).map(str::to_owned))
            .collect();
        join_all(ids.iter().map(|id| self.take_up(id))).await;
        if !ids.is_empty() {
            self.ports.host.log(&json!({"job": "sweep", "found": ids.len()}));
        }
    }
    /// Does what is due, and sees to it that what is due again soon need not wait for the next sweep.
    async fn take_up(&self, id: &str) {
        if let Woken::Again { after_s } = self.wake(id).await {
            self.call_in(id, after_s).await;
        }
    }
}

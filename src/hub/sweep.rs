//! What cron does each minute: finds what was left behind.

use super::sign_in;
use super::{Hub, Woken};
use crate::poll::budget::Meter;
use crate::settings;
use crate::store::{connect_link, delivery, event, oauth_state, replay, run, token};
use crate::time::MINUTE;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};

/// Most rows of each kind that one sweep takes on. A hundred wakes are one call of the queue (`edge/wake.js`); the
/// platform allows 1,000 calls.
const PER_KIND: i64 = 1_000;

/// What a row may cost that a sweep works off by itself where the queue does not take it: requests to the outside and
/// statements, about.
const COSTS: usize = 10;

/// Fewest and most rows that it works off so, and how many at the same time.
const BY_ITSELF: (usize, usize) = (10, 100);
const AT_ONCE: usize = 10;

impl Hub<'_> {
    /// What cron does: the sweep, then the polls with what is left of the tick's budget.
    pub async fn tick(&self) {
        let meter = Meter::counting(self.ports, settings::subrequests(self.ports.host));
        let hub = Hub::new(meter.ports());
        hub.sweep(&meter).await;
        hub.poll_due(&meter).await;
    }

    /// Wakes what is due and was not woken: a lost queue message, a worker that died, a wait longer than a queue holds.
    /// Waking what is on its way already does no harm.
    async fn sweep(&self, meter: &Meter<'_>) {
        let now = self.ports.host.now();
        let mut statements = vec![
            event::due(now, PER_KIND),
            delivery::due(now, PER_KIND),
            run::due(now, PER_KIND),
            replay::left_behind(now + -MINUTE, PER_KIND),
            token::due(now, PER_KIND),
        ];
        statements.extend(self.purge_rejections());
        statements.push(oauth_state::purge(now));
        // Whoever is at the provider when a link ends may still come back.
        statements.extend(connect_link::purge(now + -sign_in::LASTS));
        let found = match self.ports.sql.batch(statements).await {
            Ok(found) => found,
            Err(error) => {
                let message = error.to_string();
                self.ports
                    .host
                    .log(&json!({"level": "error", "job": "sweep", "message": message}));
                return;
            }
        };
        let ids: Vec<&str> = found
            .iter()
            .flatten()
            .filter_map(|row| row.get("id").and_then(Value::as_str))
            .collect();
        let refused = join_all(ids.iter().map(|id| self.try_wake(id))).await;
        let most = (meter.left() / COSTS).clamp(BY_ITSELF.0, BY_ITSELF.1);
        let left: Vec<&str> = refused.into_iter().flatten().take(most).collect();
        stream::iter(&left)
            .for_each_concurrent(AT_ONCE, |id| self.take_up(id))
            .await;
        if let Err(error) = self.rotate_some().await {
            let message = error.to_string();
            self.ports
                .host
                .log(&json!({"level": "error", "job": "key_rotation", "message": message}));
        }
        if !ids.is_empty() {
            let line = json!({"job": "sweep", "found": ids.len(), "by_itself": left.len()});
            self.ports.host.log(&line);
        }
        self.keep_house(meter).await;
    }

    /// What is not urgent: a failure of one part keeps none of the others, and the next minute tries again.
    async fn keep_house(&self, meter: &Meter<'_>) {
        for (job, outcome) in [("seal", self.seal().await), ("purge", self.purge(meter).await)] {
            if let Err(error) = outcome {
                let message = error.to_string();
                self.ports
                    .host
                    .log(&json!({"level": "error", "job": job, "message": message}));
            }
        }
    }

    /// The id, if the queue does not take it.
    async fn try_wake<'i>(&self, id: &'i str) -> Option<&'i str> {
        self.ports.queue.wake(id, 0).await.err().map(|_| id)
    }

    /// Does what is due, and sees to it that what is due again soon need not wait for the next sweep.
    async fn take_up(&self, id: &str) {
        if let Woken::Again { after_s } = self.wake(id).await {
            self.call_in(id, after_s).await;
        }
    }
}

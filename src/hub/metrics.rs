//! The hub's state as Prometheus text (exposition format 0.0.4).

use super::Hub;
use crate::error::Result;
use crate::id::{self, Kind};
use crate::ports::Rows;
use crate::secret::Secret;
use crate::store::metrics::{self, BUCKETS};
use crate::time::{MINUTE, SECOND, Timestamp};
use serde_json::Value;
use std::fmt::Write;

/// What "recent" means.
const RECENT: i64 = 5 * MINUTE;

/// How long a text is given again, so that eager scrapers cost no more rows than patient ones.
const KEPT: i64 = 30 * SECOND;

const KEY: &str = "metrics";

impl Hub<'_> {
    /// The text.
    pub async fn metrics(&self) -> Result<String> {
        let now = self.ports.host.now();
        if let Some(text) = self.ports.cache.get(KEY, now) {
            return Ok(text.expose().to_owned());
        }
        let event = id::first_at(Kind::Event, now + -RECENT);
        let delivery = id::first_at(Kind::Delivery, now + -RECENT);
        let mut statements = metrics::waiting().to_vec();
        statements.push(metrics::polls(now));
        statements.extend([
            metrics::accepted(&event),
            metrics::deliveries(&delivery),
            metrics::latencies(&delivery),
            metrics::destinations(),
            metrics::budget(now),
        ]);
        let mut found = self.ports.sql.batch(statements).await?.into_iter();
        let mut next = || found.next().unwrap_or_default();
        let mut text = Text::default();
        let kinds = ["event", "delivery", "run", "poll"].map(|kind| (kind, next()));
        text.waiting(&kinds, now);
        let [.., (_, polls)] = &kinds;
        text.single(
            "patchbay_polls_overdue",
            "Polls that are late by more than two intervals, and by more than ten minutes; of the longest due 1000.",
            polls,
            "overdue",
        );
        text.recent(
            "patchbay_recent_events",
            "Events accepted in the last five minutes.",
            "service",
            "events",
            &next(),
        );
        let what = "Deliveries made in the last five minutes, by where they stand.";
        text.recent("patchbay_recent_deliveries", what, "state", "deliveries", &next());
        text.histogram(&next());
        text.singles(&next(), &next());
        text.isolate(self.ports.tally.all());
        self.ports.cache.put(KEY, Secret::new(&text.0), now + KEPT);
        Ok(text.0)
    }
}

/// The text as it grows. Writing to a text cannot fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: i64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn waiting(&mut self, kinds: &[(&str, Rows)], now: Timestamp) {
        let name = "patchbay_waiting";
        self.head(name, "gauge", "Rows that wait to be worked on, counted up to 1000.");
        for (kind, rows) in kinds {
            self.line(name, &[("kind", kind)], number(rows.first(), "waiting"));
        }
        let name = "patchbay_oldest_due_seconds";
        self.head(
            name,
            "gauge",
            "How long the oldest of them has been due; 0 where nothing is.",
        );
        for (kind, rows) in kinds {
            let since = rows.first().and_then(|row| row.get("since")?.as_i64());
            let late = since.map_or(0, |since| (now.0 - since).max(0) / SECOND);
            self.line(name, &[("kind", kind)], late);
        }
    }

    fn recent(&mut self, name: &str, help: &str, label: &str, column: &str, rows: &Rows) {
        self.head(name, "gauge", &format!("{help} Counted among the last 1000."));
        for row in rows {
            let text = row.get(label).and_then(Value::as_str).unwrap_or_default();
            self.line(name, &[(label, text)], number(Some(row), column));
        }
    }

    fn histogram(&mut self, rows: &Rows) {
        let name = "patchbay_recent_delivery_milliseconds";
        let help = "From acceptance to arrival, of the last 1000 deliveries of five minutes; it starts anew, so take no rate of it.";
        self.head(name, "histogram", help);
        let times: Vec<i64> = rows.iter().map(|row| number(Some(row), "ms").max(0)).collect();
        let within = |most: i64| i64::try_from(times.iter().filter(|ms| **ms <= most).count()).unwrap_or(0);
        for most in BUCKETS {
            self.line(&format!("{name}_bucket"), &[("le", &most.to_string())], within(most));
        }
        self.line(&format!("{name}_bucket"), &[("le", "+Inf")], within(i64::MAX));
        self.line(&format!("{name}_sum"), &[], times.iter().sum());
        self.line(&format!("{name}_count"), &[], within(i64::MAX));
    }

    fn singles(&mut self, destinations: &Rows, budget: &Rows) {
        let singles = [
            (
                "patchbay_destinations_failing",
                "Destinations that have failed since they last worked.",
                destinations,
                "failing",
            ),
            (
                "patchbay_destinations_disabled",
                "Destinations that the hub switched off.",
                destinations,
                "disabled",
            ),
            (
                "patchbay_budget_rows",
                "D1 rows counted towards today's budget.",
                budget,
                "rows",
            ),
            (
                "patchbay_budget_kv_writes",
                "KV values counted towards today's budget.",
                budget,
                "kv_writes",
            ),
        ];
        for (name, help, rows, column) in singles {
            self.single(name, help, rows, column);
        }
    }

    fn single(&mut self, name: &str, help: &str, rows: &Rows, column: &str) {
        self.head(name, "gauge", help);
        self.line(name, &[], number(rows.first(), column));
    }

    /// Counters of this isolate alone: another scrape may meet another isolate.
    fn isolate(&mut self, counters: Vec<(&'static str, String, u64)>) {
        const SHOWN: [(&str, &str); 6] = [
            ("rejected", "Deliveries refused, by cause; this isolate alone."),
            (
                "throttled",
                "Deliveries refused by the platform's rate limiter, by service; this isolate alone.",
            ),
            (
                "over_quota",
                "Deliveries refused because their source had its quota; this isolate alone.",
            ),
            (
                "over_budget",
                "Deliveries refused because the day's budget was spent; this isolate alone.",
            ),
            (
                "refreshed",
                "Access tokens that a provider gave anew, by service; this isolate alone.",
            ),
            (
                "refresh_failed",
                "Refreshes of access tokens that failed, by service; this isolate alone.",
            ),
        ];
        for (name, help) in SHOWN {
            let full = format!("patchbay_isolate_{name}_total");
            self.head(&full, "counter", help);
            for (_, label, value) in counters.iter().filter(|(n, _, _)| *n == name) {
                self.line(&full, &[("of", label)], i64::try_from(*value).unwrap_or(i64::MAX));
            }
        }
    }
}

fn number(row: Option<&Value>, column: &str) -> i64 {
    row.and_then(|row| row.get(column)?.as_i64()).unwrap_or(0)
}

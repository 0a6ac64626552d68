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
        let since = now + -RECENT;
        let mut statements = metrics::waiting().to_vec();
        statements.push(metrics::polls(now));
        statements.extend(metrics::undelivered());
        statements.extend([
            metrics::accepted(&id::first_at(Kind::Event, since)),
            metrics::ended(&id::first_at(Kind::Delivery, since + -metrics::LATE), since),
            metrics::destinations(),
            metrics::budget(now),
        ]);
        let mut found = self.ports.sql.batch(statements).await?.into_iter();
        let mut next = || found.next().unwrap_or_default();
        let mut text = Text::default();
        let kinds = ["event", "delivery", "run", "poll"].map(|kind| (kind, next()));
        text.waiting(&kinds, now);
        text.undelivered(&["event", "delivery"].map(|kind| (kind, next())), now);
        let [.., (_, polls)] = &kinds;
        text.by(
            "patchbay_polls_overdue",
            "Polls that are late by more than two intervals, and by more than ten minutes; of the longest due 1000.",
            &["service"],
            "overdue",
            polls,
        );
        text.by(
            "patchbay_recent_events",
            "Events accepted in the last five minutes. Counted among the last 1000.",
            &["service"],
            "events",
            &next(),
        );
        let ended = next();
        text.by(
            "patchbay_recent_deliveries",
            "Deliveries that ended in the last five minutes, by how. Counted among the last 1000 or 2000.",
            &["service", "state"],
            "deliveries",
            &ended,
        );
        text.histogram(&ended);
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
            let waiting = rows.iter().map(|row| number(Some(row), "waiting")).sum();
            self.line(name, &[("kind", kind)], waiting);
        }
        let name = "patchbay_oldest_due_seconds";
        let help = "How long the oldest of them has been due; 0 where nothing is.";
        self.ages(name, help, kinds, now);
    }

    fn undelivered(&mut self, kinds: &[(&str, Rows)], now: Timestamp) {
        let name = "patchbay_oldest_undelivered_seconds";
        let help = "How long ago the oldest event was accepted that waits for its first dispatch, and the oldest delivery made that has not arrived, due or not; 0 where there is none.";
        self.ages(name, help, kinds, now);
    }

    fn ages(&mut self, name: &str, help: &str, kinds: &[(&str, Rows)], now: Timestamp) {
        self.head(name, "gauge", help);
        for (kind, rows) in kinds {
            let since = rows.iter().filter_map(|row| row.get("since")?.as_i64()).min();
            let age = since.map_or(0, |since| (now.0 - since).max(0) / SECOND);
            self.line(name, &[("kind", kind)], age);
        }
    }

    /// One sample for each row, with these columns as labels.
    fn by(&mut self, name: &str, help: &str, labels: &[&str], column: &str, rows: &Rows) {
        self.head(name, "gauge", help);
        for row in rows {
            let labels: Vec<(&str, &str)> = labels.iter().map(|label| (*label, text_of(row, label))).collect();
            self.line(name, &labels, number(Some(row), column));
        }
    }

    fn histogram(&mut self, rows: &Rows) {
        let name = "patchbay_recent_delivery_milliseconds";
        let help = "From acceptance to arrival, of the deliveries that arrived in the last five minutes; it starts anew, so take no rate of it.";
        self.head(name, "histogram", help);
        for row in rows.iter().filter(|row| number(Some(row), "timed") > 0) {
            let service = ("service", text_of(row, "service"));
            let within: Vec<i64> = serde_json::from_str(text_of(row, "within")).unwrap_or_default();
            for (most, count) in BUCKETS.iter().zip(within) {
                self.line(&format!("{name}_bucket"), &[service, ("le", &most.to_string())], count);
            }
            let all = number(Some(row), "timed");
            self.line(&format!("{name}_bucket"), &[service, ("le", "+Inf")], all);
            self.line(&format!("{name}_sum"), &[service], number(Some(row), "ms"));
            self.line(&format!("{name}_count"), &[service], all);
        }
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
            (
                "rejected",
                "Deliveries refused, by cause and service; this isolate alone.",
            ),
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
                let value = i64::try_from(*value).unwrap_or(i64::MAX);
                match label.split_once('|') {
                    Some((of, service)) => self.line(&full, &[("of", of), ("service", service)], value),
                    None => self.line(&full, &[("of", label)], value),
                }
            }
        }
    }
}

fn number(row: Option<&Value>, column: &str) -> i64 {
    row.and_then(|row| row.get(column)?.as_i64()).unwrap_or(0)
}

fn text_of<'r>(row: &'r Value, column: &str) -> &'r str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

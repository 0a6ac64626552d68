//! The audit log's chain: each row is sealed with a hash over the seal before it, so that no row can be changed or
//! taken out without all later seals being wrong. Cron seals, so that no request waits for another.

use super::Hub;
use crate::error::Result;
use crate::id::{self, Kind};
use crate::ports::{Rows, read_row};
use crate::store::audit::{self, Row};
use crate::time::MINUTE;
use serde_json::Value;

/// How long a row is left unsealed: longer than a statement can be on its way, so that none comes in behind the seal.
const LAG: i64 = 2 * MINUTE;

/// Rows sealed at once, and rows that one statement of a verification reads.
const BATCH: i64 = 500;

/// Statements of one verification.
const STATEMENTS: usize = 20;

/// What a verification found.
#[derive(Debug)]
pub struct Verdict {
    /// Rows whose seals fit, in this part.
    pub verified: usize,
    /// The first row whose seal does not fit, or that was never sealed although later ones are.
    pub broken: Option<String>,
    /// The last row whose seal fits, with the seal: to be kept elsewhere, if somebody might cut the end off.
    pub head: Option<(String, String)>,
    /// The rows that are not sealed yet, oldest first.
    pub unsealed: Vec<String>,
    /// Behind which row to go on; none at the end.
    pub next: Option<String>,
}

impl Hub<'_> {
    /// Seals the oldest rows that are not sealed, if they are old enough.
    pub(super) async fn seal(&self) -> Result<()> {
        let until = id::first_at(Kind::Audit, self.ports.host.now() + -LAG);
        let mut results = self
            .ports
            .sql
            .batch(vec![audit::head(), audit::anchor()])
            .await?
            .into_iter();
        let head: Option<Row> = first(results.next())?;
        let anchor = text(results.next().as_ref());
        let after = head.as_ref().map_or("", |row| row.id.as_str());
        let rows: Vec<Row> = self.ports.sql.rows(audit::behind(after, &until, BATCH)).await?;
        let newest = head
            .as_ref()
            .and_then(|row| Some((row.id.as_str(), row.seal.as_deref()?)));
        let mut previous = newest.map(|(_, seal)| seal.to_owned()).or(anchor).unwrap_or_default();
        let mut seals = Vec::with_capacity(rows.len());
        for row in rows {
            previous = row.seal_behind(&previous);
            seals.push((row.id, previous.clone()));
        }
        if seals.is_empty() {
            return Ok(());
        }
        self.ports.sql.batch(vec![audit::seal(&seals, newest)]).await?;
        Ok(())
    }

    /// Proves the chain behind the row `after`, or from its beginning; as many rows as one request can read.
    pub async fn verify_audit(&self, after: Option<&str>) -> Result<Verdict> {
        let (mut begins, mut rows) = self.chain(after).await?;
        let mut at = after.unwrap_or_default().to_owned();
        if begins.is_none() && after.is_some() {
            // The row was purged since somebody noted it: what is left begins behind it.
            (begins, rows) = self.chain(None).await?;
            at.clear();
        }
        let mut previous = begins.unwrap_or_default();
        let mut verdict = Verdict {
            verified: 0,
            broken: None,
            head: None,
            unsealed: Vec::new(),
            next: None,
        };
        for part in 0..STATEMENTS {
            if part > 0 {
                rows = self.ports.sql.rows(audit::behind(&at, "~", BATCH)).await?;
            }
            let full = rows.len() == usize::try_from(BATCH).unwrap_or(usize::MAX);
            for row in std::mem::take(&mut rows) {
                at.clone_from(&row.id);
                if !verdict.take(&row, &mut previous) {
                    return Ok(verdict);
                }
            }
            if !full {
                return Ok(verdict);
            }
        }
        // From a row that is sealed: one that is not has no seal to go on behind.
        verdict.next = verdict.head.as_ref().map(|(id, _)| id.clone());
        Ok(verdict)
    }

    /// The seal that the chain goes on behind, of the row `after` or of the last one that was purged, and the rows behind
    /// it: both of one moment, for a purge in between would move the beginning.
    async fn chain(&self, after: Option<&str>) -> Result<(Option<String>, Vec<Row>)> {
        let begins = after.map_or_else(audit::anchor, audit::seal_of);
        let rows = audit::behind(after.unwrap_or_default(), "~", BATCH);
        let found = self.ports.sql.batch(vec![begins, rows]).await?;
        let rows = found.get(1).into_iter().flatten().cloned().map(read_row);
        Ok((text(found.first()), rows.collect::<Result<_>>()?))
    }
}

impl Verdict {
    /// Takes the next row; false ends the verification.
    fn take(&mut self, row: &Row, previous: &mut String) -> bool {
        let Some(seal) = &row.seal else {
            self.unsealed.push(row.id.clone());
            return true;
        };
        if let Some(missed) = self.unsealed.first() {
            // The chain never went over it: it was put in afterwards, or its seal was taken out.
            self.broken = Some(missed.clone());
            return false;
        }
        if *seal != row.seal_behind(previous) {
            self.broken = Some(row.id.clone());
            return false;
        }
        self.verified += 1;
        self.head = Some((row.id.clone(), seal.clone()));
        previous.clone_from(seal);
        true
    }
}

/// The `value` of the first row.
fn text(rows: Option<&Rows>) -> Option<String> {
    Some(rows?.first()?.get("value")?.as_str()?.to_owned())
}

fn first(rows: Option<Rows>) -> Result<Option<Row>> {
    let row: Option<Value> = rows.and_then(|rows| rows.into_iter().next());
    row.map(read_row).transpose()
}

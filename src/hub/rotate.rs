//! Moving everything that is sealed to the current key, in rounds, while all goes on.

use super::Hub;
use crate::credential::vault::KeyRing;
use crate::error::Result;
use crate::ports::Stmt;
use crate::store::audit;
use crate::store::rotation::{self, COLUMNS, Rotation};
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// Rows of one batch, and batches of one round for each column.
const ROWS: i64 = 50;
const BATCHES: usize = 6;

#[derive(Deserialize)]
struct Count {
    n: i64,
}

impl Hub<'_> {
    /// Asks cron to move everything to the first key of the ring, and says how things stand.
    pub async fn rotate_keys(&self, actor: &str) -> Result<Value> {
        let ring = KeyRing::from_settings(self.ports.host)?;
        let kid = ring.current()?;
        let entry = audit::Entry {
            actor,
            act: "encryption_key.rotation_started",
            subject: kid,
            owner: None,
            detail: &json!({}),
        };
        let statements = vec![
            rotation::begin(kid, self.ports.host.now()),
            audit::append(self.ports.host, entry),
        ];
        self.ports.sql.batch(statements).await?;
        self.keys().await
    }

    /// How many rows are sealed under each key, and which keys nothing needs any more.
    pub async fn keys(&self) -> Result<Value> {
        let ring = KeyRing::from_settings(self.ports.host)?;
        let current = ring.current()?;
        let mut data = Vec::new();
        for kid in ring.kids() {
            let statements: Vec<Stmt> = COLUMNS.iter().map(|c| c.count(kid)).collect();
            let counted = self.ports.sql.batch(statements).await?;
            let mut sealed = 0;
            for row in counted.into_iter().flatten() {
                sealed += crate::ports::read_row::<Count>(row)?.n;
            }
            data.push(json!({"kid": kid, "current": kid == current, "sealed": sealed, "removable": kid != current && sealed == 0}));
        }
        let rotation: Option<Rotation> = self.ports.sql.first(rotation::find(current)).await?;
        let time = |t: Timestamp| t.rfc3339();
        let rotation = rotation.map(|r| {
            json!({
                "kid": r.kid, "started_at": time(r.started_at), "done_at": r.done_at.map(time), "moved": r.moved,
                "failed": r.failed,
            })
        });
        Ok(json!({"data": data, "rotation": rotation}))
    }

    /// One round, if one is asked for.
    pub(super) async fn rotate_some(&self) -> Result<()> {
        let Some(open) = self.ports.sql.first::<Rotation>(rotation::open()).await? else {
            return Ok(());
        };
        let ring = KeyRing::from_settings(self.ports.host)?;
        // The ring was changed again: rows go to the key that is first now, under the rotation that was asked for.
        let mark = rotation::mark(ring.current()?);
        let (mut moved, mut failed, mut left) = (0i64, 0i64, false);
        for column in &COLUMNS {
            let mut after = String::new();
            for batch in 0..=BATCHES {
                let rows = column.next(&self.ports, &mark, &after, ROWS).await?;
                let Some(last) = rows.last() else { break };
                if batch == BATCHES {
                    left = true;
                    break;
                }
                after.clone_from(&last.id);
                let mut statements = Vec::new();
                for row in &rows {
                    match column.moved(&ring, row, self.ports.host) {
                        Ok(statement) => statements.push(statement),
                        Err(_) => failed += 1,
                    }
                }
                if !statements.is_empty() {
                    let done = self.ports.sql.batch(statements).await?;
                    moved += done.iter().filter(|rows| !rows.is_empty()).count() as i64;
                    // A row that was written in between is sealed anew: under this key, or found in the next round.
                    left |= done.iter().any(Vec::is_empty);
                }
                for row in &rows {
                    rotation::forget_warm(&self.ports, column.table, &row.id);
                }
            }
        }
        let done_at = (!left && failed == 0).then(|| self.ports.host.now());
        let note = rotation::note(&open.kid, moved, failed, done_at);
        self.ports.sql.batch(vec![note]).await?;
        let line = json!({"job": "key_rotation", "kid": open.kid, "moved": moved, "failed": failed, "done": done_at.is_some()});
        self.ports.host.log(&line);
        Ok(())
    }
}

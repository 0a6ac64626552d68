//! The table `budget`: what was spent of the day's allowance.

use crate::error::Result;
use crate::ports::{Ports, Stmt};
use serde::Deserialize;

/// What was spent.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Spent {
    /// Rows of D1 written.
    pub rows: u64,
    /// Values of KV written.
    pub kv_writes: u64,
}

/// Adds to what the day (days since 1970) has spent; the sum of all isolates so far.
pub async fn spend(ports: &Ports<'_>, day: u64, spent: &Spent) -> Result<Spent> {
    let sql = "-- budget::spend
INSERT INTO budget (day, rows, kv_writes) VALUES (?1, ?2, ?3)
ON CONFLICT (day) DO UPDATE SET rows = rows + ?2, kv_writes = kv_writes + ?3 RETURNING rows, kv_writes";
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let params = [
        number(day).into(),
        number(spent.rows).into(),
        number(spent.kv_writes).into(),
    ];
    Ok(ports.sql.first(Stmt::new(sql, params)).await?.unwrap_or_default())
}

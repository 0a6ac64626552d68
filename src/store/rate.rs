//! The table `rate`: how much of a rate is used up, shared by all isolates.
//!
//! The generic cell rate algorithm: one number per rate, one row written per call that may go on, none for one that may
//! not. A call is due when, at an even pace, all calls before it were; up to a window's worth may be early.

use crate::error::Result;
use crate::manifest::limit::Rate;
use crate::ports::{Ports, Stmt};
use crate::time::Timestamp;
use serde::Deserialize;

const TAKE: &str = "-- rate::take
INSERT INTO rate (id, tat) VALUES (?1, ?2 + ?3)
ON CONFLICT (id) DO UPDATE SET tat = MAX(tat, ?2) + ?3 WHERE MAX(tat, ?2) + ?3 <= ?2 + ?4
RETURNING tat";

const LOOK: &str = "-- rate::look\nSELECT tat FROM rate WHERE id = ?1";

#[derive(Deserialize)]
struct Row {
    tat: i64,
}

/// Takes one call's share. None: it may go on. Otherwise the milliseconds until there is room.
pub async fn take(ports: &Ports<'_>, id: &str, rate: Rate, now: Timestamp) -> Result<Option<i64>> {
    let now = now.0 * 1_000;
    let window = rate.window * 1_000;
    let share = (window / i64::from(rate.count)).max(1);
    let taken = Stmt::new(TAKE, [id.into(), now.into(), share.into(), window.into()]);
    let look = Stmt::new(LOOK, [id.into()]);
    let mut rows = ports.sql.batch(vec![taken, look]).await?.into_iter();
    if rows.next().is_some_and(|taken| !taken.is_empty()) {
        return Ok(None);
    }
    let row = rows.next().and_then(|mut rows| rows.pop());
    let tat = match row {
        Some(row) => crate::ports::read_row::<Row>(row)?.tat,
        None => now,
    };
    Ok(Some(((tat + share - window - now) / 1_000 + 1).max(1)))
}

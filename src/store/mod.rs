//! One file per table: the SQL beside the function that runs it. Statements are constants of the program.

pub mod account_link;
pub mod audit;
pub mod budget;
pub mod connect_link;
pub mod connection;
pub mod conversation;
pub mod definition;
pub mod delivery;
pub mod destination;
pub mod event;
pub mod idempotency;
pub mod key;
pub mod metrics;
pub mod oauth_state;
mod payload;
pub mod poll;
pub mod rate;
pub mod rejection;
pub mod replay;
pub mod rotation;
pub mod run;
pub mod search;
pub mod token;

use crate::error::Result;
use crate::ports::{Ports, Stmt};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

/// The version of the tables that this code was written for; `meta.schema_version` must be the same.
pub const SCHEMA_VERSION: &str = "14";

/// What the database says of itself, or none if it has no tables yet.
pub async fn schema_version(ports: &Ports<'_>) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Row {
        value: String,
    }
    let sql = "-- schema_version\nSELECT value FROM meta WHERE key = 'schema_version'";
    let row: Option<Row> = ports.sql.first(Stmt::new(sql, [])).await?;
    Ok(row.map(|r| r.value))
}

/// Reads a column that holds JSON text.
fn json_text<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> std::result::Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    serde_json::from_str(&text).map_err(D::Error::custom)
}

/// Reads a column that holds JSON text or NULL.
fn optional_json_text<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|t| serde_json::from_str(&t).map_err(D::Error::custom))
        .transpose()
}

/// Reads a truth value stored as 0 or 1.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    Ok(i64::deserialize(deserializer)? != 0)
}

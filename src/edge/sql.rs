//! The database on D1, binding `DB`.

use super::{host, js};
use crate::ports::{Param, Rows, Sql, SqlError, Stmt};
use async_trait::async_trait;
use js_sys::{Array, JSON, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::types::{D1Database, D1PreparedStatement};

/// The binding in an event's environment; looked up when it is needed.
pub struct D1<'a>(pub &'a JsValue);

impl D1<'_> {
    fn database(&self) -> Result<D1Database, String> {
        let database: D1Database = js::get(self.0, "DB").unchecked_into();
        match database.is_undefined() {
            true => Err("the binding `DB` is missing".to_owned()),
            false => Ok(database),
        }
    }

    async fn run(&self, statements: &[Stmt]) -> Result<Vec<Rows>, String> {
        let database = self.database()?;
        let rows = match statements {
            // The same round trip as a batch of one, without its wrapping.
            [only] => {
                let result = JsFuture::from(prepare(&database, only)?.all().map_err(thrown)?).await;
                Array::of1(&js::get(&result.map_err(thrown)?, "results"))
            }
            several => {
                let prepared = several
                    .iter()
                    .map(|s| prepare(&database, s).map(JsValue::from))
                    .collect::<Result<Array, _>>()?;
                let results = JsFuture::from(database.batch(prepared).map_err(thrown)?).await;
                let results: Array = results.map_err(thrown)?.unchecked_into();
                results.iter().map(|result| js::get(&result, "results")).collect()
            }
        };
        // One text over the border. It also writes whole numbers without a fraction, which JavaScript's are not.
        let text = JSON::stringify(&rows).map_err(thrown)?;
        serde_json::from_str(&String::from(text)).map_err(|e| format!("the reply is not rows: {e}"))
    }

    async fn share_one(&self, statement: &Stmt) -> Result<Rows, String> {
        let database = self.database()?;
        let bytes = u32::try_from(size(statement)).unwrap_or(u32::MAX);
        let prepared: JsValue = prepare(&database, statement)?.into();
        let arguments = Array::of3(&database, &prepared, &bytes.into());
        let rows = js::call_global("patchbayShare", &arguments).map_err(thrown)?;
        let rows = JsFuture::from(rows).await.map_err(thrown)?;
        let text = JSON::stringify(&rows).map_err(thrown)?;
        serde_json::from_str(&String::from(text)).map_err(|e| format!("the reply is not rows: {e}"))
    }
}

fn prepare(database: &D1Database, statement: &Stmt) -> Result<D1PreparedStatement, String> {
    let prepared = database.prepare(statement.sql).map_err(thrown)?;
    if statement.params.is_empty() {
        return Ok(prepared);
    }
    prepared
        .bind(statement.params.iter().map(to_js).collect())
        .map_err(thrown)
}

#[async_trait(?Send)]
impl Sql for D1<'_> {
    async fn batch(&self, statements: Vec<Stmt>) -> Result<Vec<Rows>, SqlError> {
        self.run(&statements)
            .await
            .map_err(|message| failed(&statements, message))
    }

    async fn share(&self, statement: Stmt) -> Result<Rows, SqlError> {
        self.share_one(&statement)
            .await
            .map_err(|message| failed(&[statement], message))
    }
}

fn failed(statements: &[Stmt], message: String) -> SqlError {
    let error = SqlError { message };
    // A refused duplicate is an answer that callers ask for, not a fault.
    if !error.is_unique_violation() && !error.is_undone() {
        log_failure(statements, &error);
    }
    error
}

/// Numbers as doubles, for D1 refuses BigInt; bytes as a view, for `worker`'s own way copies them one by one.
fn to_js(param: &Param) -> JsValue {
    match param {
        Param::Null => JsValue::NULL,
        #[expect(clippy::cast_precision_loss, reason = "the port takes whole numbers of 53 bits only")]
        Param::Int(number) => JsValue::from_f64(*number as f64),
        Param::Text(text) => JsValue::from_str(text),
        Param::Blob(bytes) => Uint8Array::from(bytes.as_slice()).into(),
    }
}

/// Bytes of the values that may be large.
fn size(statement: &Stmt) -> usize {
    let size = |param: &Param| match param {
        Param::Null | Param::Int(_) => 0,
        Param::Text(text) => text.len(),
        Param::Blob(bytes) => bytes.len(),
    };
    statement.params.iter().map(size).sum()
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn thrown(value: JsValue) -> String {
    js::message(&value)
}

/// Names the statements by their first line, the comment with their function; values are left out.
fn log_failure(statements: &[Stmt], error: &SqlError) {
    let names: Vec<&str> = statements
        .iter()
        .filter_map(|s| s.sql.lines().next())
        .map(|line| line.trim_start_matches("-- "))
        .collect();
    host::log(&serde_json::json!({
        "level": "error", "job": "sql", "statements": names, "message": error.message,
    }));
}

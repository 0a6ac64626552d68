//! `POST /api/v1/webhooks`: an agent's answer.

use super::input::json_body;
use super::principal::bearer;
use super::{Call, repeat};
use crate::error::Result;
use crate::http::Response;
use crate::hub::Answer;
use serde_json::{Value, json};

/// Takes an answer; 202 with the runs that carry it out.
pub async fn create(call: &Call<'_>) -> Result<Response> {
    let token = bearer(call.head)?;
    let answer: Answer = json_body(call).await?;
    let key = repeat::key(call.head)?;
    let answered = call.hub.answer(&token, &answer, key).await?;
    let runs: Vec<Value> = answered
        .runs
        .iter()
        .map(|run| json!({"id": run.id, "action": run.action, "status": run.status}))
        .collect();
    let mut response = Response::json(202, &json!({ "runs": runs }));
    if answered.replayed {
        response.headers.set("idempotency-replayed", "true");
    }
    Ok(response)
}

//! Calls of actions: `…/actions/{action}`, several at once, and the `…/methods/{method}/execute` of source 003.

use super::Call;
use super::connections::seen;
use super::input::{json_body, ok};
use super::repeat;
use crate::action::live::PATIENCE;
use crate::error::{Error, Result};
use crate::http::{Response, form_pairs};
use crate::hub::{Acted, Ask, Target};
use crate::problem;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Most actions of one request.
const MAX_BATCH: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    inputs: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    actions: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    action: String,
    #[serde(default)]
    inputs: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Execution {
    #[serde(default)]
    parameters: Value,
    /// Taken and not used: nothing that a caller says of a delivery proves it.
    #[serde(default)]
    #[expect(dead_code, reason = "part of the documented body")]
    metadata: Value,
}

/// One action of a connection.
pub async fn of_connection(call: &Call<'_>) -> Result<Response> {
    let dry = dry_run(call)?;
    let connection = seen(call).await?;
    let body: Body = json_body(call).await?;
    let key = ledger_key(call, 0)?;
    let target = Target::Connection(&connection);
    let ask = asked(call, target, call.param("action"), body.inputs, key.as_deref());
    run(call, ask, dry).await
}

/// One action of an integration that needs no connection.
pub async fn of_integration(call: &Call<'_>) -> Result<Response> {
    let dry = dry_run(call)?;
    let body: Body = json_body(call).await?;
    let target = Target::Integration(call.param("name"));
    let key = ledger_key(call, 0)?;
    let ask = asked(call, target, call.param("action"), body.inputs, key.as_deref());
    run(call, ask, dry).await
}

/// Several actions of a connection, one after the other; one that fails does not stop the others.
pub async fn batch(call: &Call<'_>) -> Result<Response> {
    let connection = seen(call).await?;
    let batch: Batch = json_body(call).await?;
    if batch.actions.is_empty() || batch.actions.len() > MAX_BATCH {
        let message = format!("holds 1 to {MAX_BATCH} actions");
        return Err(Error::invalid("/actions", message));
    }
    let deadline = call.hub.ports.host.now() + PATIENCE;
    let mut results = Vec::with_capacity(batch.actions.len());
    for (index, one) in batch.actions.into_iter().enumerate() {
        let key = ledger_key(call, index)?;
        let target = Target::Connection(&connection);
        let mut ask = asked(call, target, &one.action, one.inputs, key.as_deref());
        ask.deadline = Some(deadline);
        results.push(match call.hub.act(ask).await {
            Ok(acted) => match &acted.outcome {
                Ok(data) => json!({"run_id": acted.run.id, "status": acted.run.status, "data": data}),
                Err(error) => failed(call, error, Some(&acted)),
            },
            Err(error) => failed(call, &error, None),
        });
    }
    Ok(ok(&json!({"results": results})))
}

/// Source 003's execution of a method.
pub async fn execute(call: &Call<'_>) -> Result<Response> {
    let connection = seen(call).await?;
    let body: Execution = json_body(call).await?;
    let key = ledger_key(call, 0)?;
    let target = Target::Connection(&connection);
    let ask = asked(call, target, call.param("method"), body.parameters, key.as_deref());
    let acted = call.hub.act(ask).await?;
    Ok(match &acted.outcome {
        Ok(data) => marked(ok(&json!({"status": "SUCCESS", "data": data})), &acted),
        Err(error) => refusal(call, error, &acted),
    })
}

async fn run(call: &Call<'_>, ask: Ask<'_>, dry: bool) -> Result<Response> {
    if dry {
        return Ok(ok(&call.hub.rehearse(ask).await?));
    }
    let acted = call.hub.act(ask).await?;
    Ok(match &acted.outcome {
        Ok(data) => {
            let mut body = json!({"run_id": acted.run.id, "data": data});
            if let (true, Some(members)) = (acted.cached, body.as_object_mut()) {
                members.insert("cached".into(), json!(true));
            }
            marked(ok(&body), &acted)
        }
        Err(error) => refusal(call, error, &acted),
    })
}

/// What an `Idempotency-Key` is to the ledger: it is good for one path, and in a batch for each entry by itself.
fn ledger_key(call: &Call<'_>, entry: usize) -> Result<Option<String>> {
    let key = repeat::key(call.head)?;
    // The key comes last: it is the one part that could hold the separator.
    Ok(key.map(|key| hex::encode(Sha256::digest(format!("{} {entry} {key}", call.head.path)))))
}

fn asked<'a>(call: &'a Call<'_>, target: Target<'a>, action: &'a str, inputs: Value, key: Option<&'a str>) -> Ask<'a> {
    Ask {
        target,
        action,
        inputs,
        principal: call.actor(),
        owner: call.owner(),
        key,
        deadline: None,
    }
}

fn dry_run(call: &Call<'_>) -> Result<bool> {
    match form_pairs(&call.head.query).as_slice() {
        [] => Ok(false),
        [(name, value)] if name == "dry_run" && matches!(value.as_str(), "true" | "false") => Ok(value == "true"),
        _ => Err(Error::validation(
            "the one query parameter is `dry_run`, `true` or `false`",
        )),
    }
}

fn marked(mut response: Response, acted: &Acted) -> Response {
    if acted.replayed {
        response.headers.set("idempotency-replayed", "true");
    }
    response
}

/// The problem of a run that gave no result, with the run's id.
fn refusal(call: &Call<'_>, error: &Error, acted: &Acted) -> Response {
    let mut response = problem::respond(error, call.trace_id);
    if let Ok(Value::Object(mut members)) = serde_json::from_slice(&response.body) {
        members.insert("run_id".into(), json!(acted.run.id));
        response.body = Value::Object(members).to_string().into_bytes();
    }
    marked(response, acted)
}

fn failed(call: &Call<'_>, error: &Error, acted: Option<&Acted>) -> Value {
    let problem: Value = serde_json::from_slice(&problem::respond(error, call.trace_id).body).unwrap_or_default();
    match acted {
        Some(acted) => json!({"run_id": acted.run.id, "status": acted.run.status, "error": problem}),
        None => json!({"status": "failed", "error": problem}),
    }
}

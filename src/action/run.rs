//! Running an action: now, for an answer that is needed at once, or as a [`Run`] that survives crashes.

use super::call::{self, Outcome};
use super::retry::{self, Verdict};
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::http::Response;
use crate::manifest::Manifest;
use crate::manifest::action::{Action, RequestTemplate};
use crate::ports::Ports;
use crate::registry::{self, Entry};
use crate::store::run::{Attempt, Run, Status};
use crate::store::{connection, run as table};
use crate::template::Scope;
use crate::time::MINUTE;
use serde_json::{Value, json};

/// How long a claim on a run holds, in milliseconds: longer than all that one try does.
const LEASE: i64 = 3 * MINUTE;

/// The beginning of the mark that the hub leaves in what it writes, where a service has no other way to find it again.
pub const MARK: &str = "patchbay:run_";

/// Everything that one call needs.
struct Call<'a> {
    ports: &'a Ports<'a>,
    entry: &'static Entry,
    manifest: &'static Manifest,
    action: &'static Action,
    credential: Credential,
    run_id: &'a str,
    inputs: &'a Value,
}

/// Calls an action that changes nothing, once, for an answer that the caller needs to go on.
pub async fn ask(
    ports: &Ports<'_>,
    entry: &'static Entry,
    name: &str,
    inputs: &Value,
    credential: Credential,
) -> Result<Value> {
    let manifest = entry.manifest()?;
    let action = manifest.action(name)?;
    entry.check_inputs(name, inputs)?;
    let call = Call {
        ports,
        entry,
        manifest,
        action,
        credential,
        run_id: "",
        inputs,
    };
    let outcome = call.send(&action.request).await?;
    let verdict = retry::judge(
        &outcome,
        &action.response.accept,
        manifest.rate_limit.as_ref(),
        ports.host.now(),
    );
    match (verdict, outcome) {
        (Verdict::Done, Outcome::Reply(reply)) => call.result(name, &body_of(&reply), reply.status),
        (Verdict::Again { reason, .. }, _) => Err(Error::temporary(format!("`{name}` did not answer: {reason}"))),
        (_, Outcome::Reply(reply)) => Err(Error::Upstream(format!(
            "`{name}` was refused with status {}",
            reply.status
        ))),
        (_, Outcome::Lost(reason)) => Err(Error::Upstream(format!("`{name}` did not answer: {reason}"))),
    }
}

/// Tries a run that is due, and stores what came of it. The next try, if any, is in milliseconds from now.
pub async fn execute(ports: &Ports<'_>, id: &str) -> Result<Option<i64>> {
    let now = ports.host.now();
    let holder = crate::id::token(ports.host);
    let Some(mut run) = table::lease(ports, id, &holder, now + LEASE, now).await? else {
        return Ok(None);
    };
    let step = match edit_of(ports, &run).await {
        Ok(Some(edit)) => or_anew(&mut run, try_once(ports, &edit).await),
        Ok(None) => try_once(ports, &run).await,
        Err(error) => Step::from_error(error),
    };
    let wait = apply(ports, &mut run, step);
    let next = table::finish(ports, &run, &holder).await?;
    log(ports, &run);
    if let Some(id) = next {
        // A lost wake costs time alone: the sweep finds the run.
        let _ = ports.queue.wake(&id, 0).await;
    }
    Ok(wait)
}

async fn try_once(ports: &Ports<'_>, run: &Run) -> Step {
    match prepare(ports, run).await {
        Ok(call) => attempt(&call, run).await,
        Err(error) => Step::from_error(error),
    }
}

/// The run as a change of the message that stands at its place already, if there is one.
async fn edit_of(ports: &Ports<'_>, run: &Run) -> Result<Option<Run>> {
    if run.place.as_deref().is_none_or(|place| place.starts_with(table::ANEW)) {
        return Ok(None);
    }
    let Some(result) = table::message_before(ports, run).await? else {
        return Ok(None);
    };
    let manifest = registry::get(&run.integration)?.manifest()?;
    let ways = manifest.conversation.iter().flat_map(|c| &c.reply);
    let Some(edit) = ways.filter(|w| w.action == run.action).find_map(|w| w.edit.as_ref()) else {
        return Ok(None);
    };
    let scope = Scope::new([("inputs", &run.inputs), ("result", &result)]);
    let mut edited = run.clone();
    edited.action = edit.action.clone();
    edited.inputs = edit.inputs.value(&scope)?;
    Ok(Some(edited))
}

/// A change that the service refuses (somebody removed the message) becomes a new message: nothing that is said is lost.
fn or_anew(run: &mut Run, step: Step) -> Step {
    let End::Failed(error) = &step.end else {
        return step;
    };
    run.place = run.place.take().map(|place| format!("{}{place}", table::ANEW));
    Step {
        status: step.status,
        end: End::Again {
            wait: Some(0),
            unsettled: false,
            reason: format!("the earlier message cannot be changed: {}", error.public_detail()),
        },
    }
}

/// What one try of a run came to.
#[derive(Debug)]
struct Step {
    status: Option<u16>,
    end: End,
}

#[derive(Debug)]
enum End {
    Succeeded(Value),
    Failed(Error),
    /// The earlier try may have taken effect and there is no way to look.
    Ambiguous(String),
    Again {
        wait: Option<i64>,
        unsettled: bool,
        reason: String,
    },
}

impl Step {
    /// An error before or around the call: those that pass by themselves are tried again.
    fn from_error(error: Error) -> Self {
        let end = if error.retryable() {
            End::Again {
                wait: error.retry_after_s().map(|s| i64::from(s) * 1_000),
                unsettled: false,
                reason: error.to_string(),
            }
        } else {
            End::Failed(error)
        };
        Self { status: None, end }
    }
}

async fn prepare<'a>(ports: &'a Ports<'a>, run: &'a Run) -> Result<Call<'a>> {
    let entry = registry::get(&run.integration)?;
    let manifest = entry.manifest()?;
    Ok(Call {
        ports,
        entry,
        manifest,
        action: manifest.action(&run.action)?,
        credential: credential_of(ports, manifest, run.connection_id.as_deref(), run.account.clone()).await?,
        run_id: &run.id,
        inputs: &run.inputs,
    })
}

/// The credential of a connection, or of the app where there is none.
pub async fn credential_of(
    ports: &Ports<'_>,
    manifest: &Manifest,
    connection_id: Option<&str>,
    account: Option<String>,
) -> Result<Credential> {
    let Some(id) = connection_id else {
        return Credential::of_app(manifest, account, ports.host);
    };
    let connection = connection::find(ports, id)
        .await?
        .ok_or_else(|| Error::ReauthRequired(format!("the connection `{id}` was removed")))?;
    Credential::of_row(ports, manifest, connection, account)
}

async fn attempt(call: &Call<'_>, run: &Run) -> Step {
    if run.unsettled {
        match settle(call, run).await {
            Ok(None) => {}
            Ok(Some(step)) => return step,
            // The look-up is safe to repeat, and the run stays as unsettled as it was.
            Err(error) => {
                let mut step = Step::from_error(error);
                if let End::Again { unsettled, .. } = &mut step.end {
                    *unsettled = true;
                }
                return step;
            }
        }
    }
    match call.send(&call.action.request).await {
        Ok(outcome) => judge(call, &run.action, &outcome),
        Err(error) => Step::from_error(error),
    }
}

/// Finds out whether an earlier try took effect. None: it did not, or doing it again does no harm.
async fn settle(call: &Call<'_>, run: &Run) -> Result<Option<Step>> {
    if call.action.idempotent {
        return Ok(None);
    }
    let Some(reconcile) = &call.action.reconcile else {
        let end = End::Ambiguous("an earlier try may have taken effect, and the service cannot be asked".into());
        return Ok(Some(Step { status: None, end }));
    };
    // A minute earlier: the service's clock may be behind.
    let since = json!((run.created_at + -MINUTE).rfc3339());
    let request = call::build(
        &reconcile.request,
        &call.credential.base_url,
        &call.scope(&[("since", &since)]),
    )?;
    let outcome = call::send_authorised(call.ports, call.manifest, &call.credential, &request).await?;
    let reply = match outcome {
        Outcome::Reply(reply) if reply.is_success() => reply,
        Outcome::Reply(reply) => return Err(Error::temporary(format!("the look-up got status {}", reply.status))),
        Outcome::Lost(reason) => return Err(Error::temporary(format!("the look-up got no answer: {reason}"))),
    };
    let body = body_of(&reply);
    let found = reconcile
        .found
        .value(&call.scope(&[("body", &body), ("since", &since)]))?;
    if found.is_null() {
        return Ok(None);
    }
    let end = match call.result(&run.action, &found, reply.status) {
        Ok(result) => End::Succeeded(result),
        Err(error) => End::Failed(error),
    };
    Ok(Some(Step {
        status: Some(reply.status),
        end,
    }))
}

fn judge(call: &Call<'_>, name: &str, outcome: &Outcome) -> Step {
    let limit = call.manifest.rate_limit.as_ref();
    let verdict = retry::judge(outcome, &call.action.response.accept, limit, call.ports.host.now());
    let reply = match outcome {
        Outcome::Reply(reply) => Some(reply),
        Outcome::Lost(_) => None,
    };
    let end = match (verdict, reply) {
        (Verdict::Done, Some(reply)) => match call.result(name, &body_of(reply), reply.status) {
            Ok(result) => End::Succeeded(result),
            Err(error) => End::Failed(error),
        },
        (
            Verdict::Again {
                wait,
                unsettled,
                reason,
            },
            _,
        ) => {
            if unsettled && !call.action.idempotent && call.action.reconcile.is_none() {
                End::Ambiguous(format!("{reason}; whether it took effect is not known"))
            } else {
                End::Again {
                    wait,
                    unsettled,
                    reason,
                }
            }
        }
        (_, reply) => End::Failed(refusal(call.manifest, name, reply)),
    };
    Step {
        status: reply.map(|r| r.status),
        end,
    }
}

/// The error of a refusal, with the service's own words where it sends JSON with a `message`.
fn refusal(manifest: &Manifest, name: &str, reply: Option<&Response>) -> Error {
    let status = reply.map_or(0, |r| r.status);
    let said = reply
        .map(body_of)
        .and_then(|b| Some(b.get("message")?.as_str()?.chars().take(200).collect::<String>()));
    let said = said.map(|text| format!(": {text}")).unwrap_or_default();
    let detail = format!("{} refused `{name}` with status {status}{said}", manifest.name);
    match status {
        401 => Error::ReauthRequired(detail),
        _ => Error::Upstream(detail),
    }
}

/// Puts a step into the run; the wait until the next try, if there is one.
fn apply(ports: &Ports<'_>, run: &mut Run, step: Step) -> Option<i64> {
    let now = ports.host.now();
    let mut attempt = Attempt {
        at: run.updated_at,
        ms: (now.0 - run.updated_at.0).max(0),
        status: step.status,
        reason: None,
    };
    run.updated_at = now;
    run.due_at = None;
    run.unsettled = false;
    let mut next = None;
    match step.end {
        End::Succeeded(result) => {
            run.status = Status::Succeeded;
            run.result = Some(result);
        }
        End::Failed(error) => fail(run, &mut attempt, Status::Failed, &error),
        End::Ambiguous(reason) => fail(run, &mut attempt, Status::Ambiguous, &Error::Upstream(reason)),
        End::Again {
            wait,
            unsettled,
            reason,
        } => {
            next = retry::next_wait(run.attempts.len() + 1, wait, jitter(ports));
            match next {
                Some(wait) => {
                    attempt.reason = Some(reason);
                    run.status = Status::Pending;
                    run.unsettled = unsettled;
                    run.due_at = Some(now + wait);
                }
                None if unsettled => fail(run, &mut attempt, Status::Ambiguous, &Error::Upstream(reason)),
                None => fail(run, &mut attempt, Status::Failed, &Error::Upstream(reason)),
            }
        }
    }
    run.attempts.push(attempt);
    next
}

fn fail(run: &mut Run, attempt: &mut Attempt, status: Status, error: &Error) {
    attempt.reason = Some(error.public_detail());
    run.status = status;
    run.error = Some(json!({"code": error.code(), "detail": error.public_detail()}));
}

/// A random number in 0..1.
pub fn jitter(ports: &Ports<'_>) -> f64 {
    let mut bytes = [0u8; 2];
    ports.host.random(&mut bytes);
    f64::from(u16::from_be_bytes(bytes)) / 65_536.0
}

fn log(ports: &Ports<'_>, run: &Run) {
    ports.host.log(&json!({
        "job": "run",
        "run_id": run.id,
        "conversation_id": run.conversation_id,
        "service": run.integration,
        "connection_id": run.connection_id,
        "action": run.action,
        "run_status": run.status.as_str(),
        "tries": run.attempts.len(),
        "status": run.attempts.last().and_then(|a| a.status),
        "ms": run.attempts.last().map(|a| a.ms),
    }));
}

fn body_of(reply: &Response) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
}

impl Call<'_> {
    fn scope(&self, more: &[(&str, &Value)]) -> crate::template::Scope {
        let run_id = json!(self.run_id);
        let marker = json!(format!("patchbay:{}", self.run_id));
        let mut names = vec![("inputs", self.inputs), ("run_id", &run_id), ("marker", &marker)];
        names.extend_from_slice(more);
        self.credential.scope(&names)
    }

    async fn send(&self, template: &RequestTemplate) -> Result<Outcome> {
        let request = call::build(template, &self.credential.base_url, &self.scope(&[]))?;
        call::send_authorised(self.ports, self.manifest, &self.credential, &request).await
    }

    /// The result of a reply, checked against the action's schema.
    fn result(&self, name: &str, body: &Value, status: u16) -> Result<Value> {
        let result = match &self.action.response.data {
            Some(data) => data.value(&self.scope(&[("body", body), ("status", &json!(status))]))?,
            None => body.clone(),
        };
        self.entry.check_output(name, &result).map_err(|e| match e {
            Error::Validation { detail, .. } => Error::Upstream(detail),
            other => other,
        })?;
        Ok(result)
    }
}

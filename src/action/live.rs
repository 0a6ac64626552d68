//! A run whose caller waits for the answer: tried now, a few times, within the caller's patience.

use super::caller::Tried;
use super::perform::Call;
use super::retry::{self, Again, Cause};
use super::run::settle;
use crate::error::{Error, Result};
use crate::store::run::{Attempt, Run, Status};
use crate::time::SECOND;
use serde_json::{Value, json};

/// How long a caller waits at most, in milliseconds. Clients and platforms give up at about 30 s.
pub const PATIENCE: i64 = 25 * SECOND;

/// Tries until there is an answer, or none can be expected in time. What became of it stands in `run`.
pub async fn execute(call: &Call<'_>, run: &mut Run) -> Result<Value> {
    let outcome = tries(call, run).await;
    run.updated_at = call.caller.ports.host.now();
    run.due_at = None;
    match &outcome {
        Ok(result) => {
            run.status = Status::Succeeded;
            run.result = Some(result.clone());
        }
        Err(error) => {
            run.status = if run.unsettled {
                Status::Ambiguous
            } else {
                Status::Failed
            };
            run.error = Some(json!({"code": error.code(), "detail": error.public_detail()}));
        }
    }
    outcome
}

async fn tries(call: &Call<'_>, run: &mut Run) -> Result<Value> {
    let ports = call.caller.ports;
    loop {
        let at = ports.host.now();
        if run.unsettled
            && let Some(result) = settle(call, run).await.map_err(|error| not_found_out(call, &error))?
        {
            run.unsettled = false;
            push(
                run,
                at.0,
                ports.host.now().0,
                None,
                Some("the earlier try took effect".into()),
            );
            return Ok(result);
        }
        let performed = call.perform().await;
        let note = |run: &mut Run, reason: Option<String>| {
            push(run, at.0, ports.host.now().0, performed.status, reason);
        };
        let again = match performed.tried {
            Tried::Done(result) => {
                run.unsettled = false;
                note(run, None);
                return Ok(result);
            }
            Tried::Refused(error) => {
                run.unsettled = false;
                note(run, Some(error.public_detail()));
                return Err(error);
            }
            Tried::Again(again) => again,
        };
        note(run, Some(again.reason.clone()));
        let may_repeat = call.action.is_repeatable() || !again.unsettled;
        run.unsettled = !may_repeat;
        if !may_repeat && !call.can_settle()? {
            return Err(open_end(call, &again));
        }
        let left = call.caller.deadline.map_or(PATIENCE, |d| d.0 - ports.host.now().0);
        match retry::next_short_wait(run.attempts.len(), again.wait, super::jitter(ports), left) {
            Some(wait) => ports.timer.sleep(u32::try_from(wait).unwrap_or(u32::MAX)).await,
            None if run.unsettled => return Err(open_end(call, &again)),
            None => return Err(call.caller.error_of(&again)),
        }
    }
}

/// Not one of the errors after which a client tries again by itself: it could do it twice.
fn open_end(call: &Call<'_>, again: &Again) -> Error {
    Error::Upstream(format!(
        "{}: {}; whether `{}` took effect is not known",
        call.caller.manifest.name, again.reason, call.name
    ))
}

/// The look-up failed: what the earlier try did is as open as before.
fn not_found_out(call: &Call<'_>, error: &Error) -> Error {
    open_end(call, &Again::new(Cause::Temporary, true, error.public_detail()))
}

fn push(run: &mut Run, at: i64, now: i64, status: Option<u16>, reason: Option<String>) {
    run.attempts.push(Attempt {
        at: crate::time::Timestamp(at),
        ms: (now - at).max(0),
        status,
        reason,
    });
}

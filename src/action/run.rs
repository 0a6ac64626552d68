//! Running an action: now, for an answer that is needed at once, or as a [`Run`] that survives crashes.

use super::caller::{Caller, Exchange, Names, Tried};
use super::perform::{Call, Performed, from_error};
use super::retry::{self, Again, Cause};
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::manifest::response::ResponseTemplate;
use crate::ports::Ports;
use crate::registry::{Entry, Integration};
use crate::store::run::{Attempt, Run, Status};
use crate::store::{audit, connection, run as table};
use crate::template::Scope;
use crate::time::MINUTE;
use serde_json::{Value, json};

/// How long a claim on a run holds, in milliseconds: longer than all that one try does.
const LEASE: i64 = 3 * MINUTE;

/// The beginning of the mark that the hub leaves in what it writes, where a service has no other way to find it again.
pub const MARK: &str = "patchbay:run_";

/// Calls an action that changes nothing, once, for an answer that the caller needs to go on. That the credential was
/// used for it is noted for `owner`, with the event that asked for it.
pub async fn ask(
    ports: &Ports<'_>,
    entry: &'static Entry,
    (name, inputs): (&str, &Value),
    credential: Credential,
    (owner, event_id): (Option<&str>, &str),
) -> Result<Value> {
    let manifest = entry.manifest()?;
    let action = manifest.action(name)?;
    entry.check_inputs(name, inputs)?;
    let call = Call {
        caller: Caller {
            ports,
            manifest,
            credential: &credential,
            deadline: None,
        },
        integration: &Integration::BuiltIn(entry),
        name,
        action,
        run_id: "",
        inputs,
    };
    let performed = call.perform().await;
    let detail = json!({"integration": manifest.name, "action": name, "event_id": event_id});
    let used = audit::Entry {
        actor: audit::HUB,
        act: "credential.used",
        subject: &credential.source,
        owner,
        detail: &detail,
    };
    if performed.status.is_some() {
        ports.sql.batch(vec![audit::append(ports.host, used)]).await?;
    }
    match performed.tried {
        Tried::Done(result) => Ok(result),
        Tried::Again(again) => Err(Error::temporary(format!("`{name}` did not answer: {}", again.reason))),
        Tried::Refused(error) => Err(error),
    }
}

/// Tries a claimed run, and stores what came of it. The next try, if any, is in milliseconds from now.
pub async fn execute(
    ports: &Ports<'_>,
    integration: Result<Integration>,
    mut run: Run,
    holder: &str,
) -> Result<Option<i64>> {
    let step = match integration {
        Ok(integration) => match edit_of(ports, &integration, &run).await {
            Ok(Some(edit)) => or_anew(&mut run, try_once(ports, &integration, &edit).await),
            Ok(None) => try_once(ports, &integration, &run).await,
            Err(error) => Step::from_error(error),
        },
        Err(error) => Step::from_error(error),
    };
    let wait = apply(ports, &mut run, step);
    let next = table::finish(ports, &run, holder).await?;
    log(ports, &run);
    if let Some(id) = next {
        // A lost wake costs time alone: the sweep finds the run.
        let _ = ports.queue.wake(&id, 0).await;
    }
    Ok(wait)
}

async fn try_once(ports: &Ports<'_>, integration: &Integration, run: &Run) -> Step {
    match prepare(ports, integration, run).await {
        Ok(credential) => attempt(ports, integration, &credential, run).await,
        Err(error) => Step::from_error(error),
    }
}

/// The run as a change of the message that stands at its place already, if there is one.
async fn edit_of(ports: &Ports<'_>, integration: &Integration, run: &Run) -> Result<Option<Run>> {
    if run.place.as_deref().is_none_or(|place| place.starts_with(table::ANEW)) {
        return Ok(None);
    }
    let Some(result) = table::message_before(ports, run).await? else {
        return Ok(None);
    };
    let manifest = integration.manifest()?;
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
        end: End::Again(Again {
            wait: Some(0),
            ..Again::new(
                Cause::Temporary,
                false,
                format!("the earlier message cannot be changed: {}", error.public_detail()),
            )
        }),
    }
}

/// Claims a run that is due.
pub async fn lease(ports: &Ports<'_>, id: &str) -> Result<Option<(Run, String)>> {
    let now = ports.host.now();
    let holder = crate::id::token(ports.host);
    let run = table::lease(ports, id, &holder, now + LEASE, now).await?;
    Ok(run.map(|run| (run, holder)))
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
    Again(Again),
}

impl Step {
    /// An error before or around the call: those that pass by themselves are tried again.
    fn from_error(error: Error) -> Self {
        let end = match from_error(error) {
            Tried::Again(again) => End::Again(again),
            Tried::Refused(error) => End::Failed(error),
            Tried::Done(result) => End::Succeeded(result),
        };
        Self { status: None, end }
    }
}

async fn prepare(ports: &Ports<'_>, integration: &Integration, run: &Run) -> Result<Credential> {
    let manifest = integration.manifest()?;
    manifest.action(&run.action)?;
    credential_of(ports, manifest, run.connection_id.as_deref(), run.account.clone()).await
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

async fn attempt(ports: &Ports<'_>, integration: &Integration, credential: &Credential, run: &Run) -> Step {
    let (manifest, action) = match integration.manifest().and_then(|m| Ok((m, m.action(&run.action)?))) {
        Ok(found) => found,
        Err(error) => return Step::from_error(error),
    };
    let call = Call {
        caller: Caller {
            ports,
            manifest,
            credential,
            deadline: None,
        },
        integration,
        name: &run.action,
        action,
        run_id: &run.id,
        inputs: &run.inputs,
    };
    if run.unsettled {
        match call.can_settle() {
            Ok(true) => {}
            Ok(false) => {
                let why = "an earlier try may have taken effect, and the service cannot be asked";
                let end = End::Ambiguous(why.into());
                return Step { status: None, end };
            }
            Err(error) => return Step::from_error(error),
        }
        match settle(&call, run).await {
            Ok(None) => {}
            Ok(Some(result)) => {
                let end = End::Succeeded(result);
                return Step { status: None, end };
            }
            // The look-up is safe to repeat, and the run stays as unsettled as it was.
            Err(error) => {
                let mut step = Step::from_error(error);
                if let End::Again(again) = &mut step.end {
                    again.unsettled = true;
                }
                return step;
            }
        }
    }
    judge(&call, call.perform().await)
}

/// Finds out whether an earlier try took effect, and with what result. None: it did not, or doing it again does no
/// harm.
pub async fn settle(call: &Call<'_>, run: &Run) -> Result<Option<Value>> {
    let Some(reconcile) = call.action.reconcile.as_ref().filter(|_| !call.action.is_repeatable()) else {
        return Ok(None);
    };
    // A minute earlier: the service's clock may be behind.
    let since = json!((run.created_at + -MINUTE).rfc3339());
    let exchange = Exchange {
        name: "the look-up",
        request: &reconcile.request,
        response: &ResponseTemplate::default(),
        pagination: None,
        fallback_urls: &[],
    };
    let own = call.own();
    let mut names: Names<'_> = own.names(call.inputs);
    names.push(("since", &since));
    let answer = match call.caller.attempt(exchange, &names, None).await? {
        Tried::Done(answer) => answer,
        Tried::Again(again) => return Err(Error::temporary(format!("the look-up got no answer: {}", again.reason))),
        Tried::Refused(error) => return Err(Error::temporary(format!("the look-up failed: {error}"))),
    };
    let mut names = answer.parts.names().to_vec();
    names.push(("since", &since));
    let found = reconcile.found.value(&call.scope(&names))?;
    if found.is_null() {
        return Ok(None);
    }
    let mut answer = answer;
    answer.parts.body = found;
    call.result(&answer).and_then(|result| call.checked(result)).map(Some)
}

fn judge(call: &Call<'_>, performed: Performed) -> Step {
    let end = match performed.tried {
        Tried::Done(result) => End::Succeeded(result),
        Tried::Refused(error) => End::Failed(error),
        Tried::Again(again) if again.unsettled && !call.can_settle().unwrap_or(false) => {
            End::Ambiguous(format!("{}; whether it took effect is not known", again.reason))
        }
        Tried::Again(again) => End::Again(again),
    };
    Step {
        status: performed.status,
        end,
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
        End::Again(again) => {
            next = retry::next_wait(run.attempts.len() + 1, again.wait, super::jitter(ports));
            match next {
                Some(wait) => {
                    attempt.reason = Some(again.reason);
                    run.status = Status::Pending;
                    run.unsettled = again.unsettled;
                    run.due_at = Some(now + wait);
                }
                None if again.unsettled => fail(run, &mut attempt, Status::Ambiguous, &Error::Upstream(again.reason)),
                None => fail(run, &mut attempt, Status::Failed, &Error::Upstream(again.reason)),
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

/// One line about a run to the log.
pub fn log(ports: &Ports<'_>, run: &Run) {
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

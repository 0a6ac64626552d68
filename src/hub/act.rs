//! Calls of actions whose callers wait for the answer.

use super::Hub;
use crate::action::caller::Caller;
use crate::action::live::{self, PATIENCE};
use crate::action::perform::Call;
use crate::action::{build, defaults, run as runs};
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::http::Request;
use crate::id::{self, Kind};
use crate::manifest::Manifest;
use crate::manifest::action::Action;
use crate::registry::Integration;
use crate::secret::Secret;
use crate::store::connection::Connection;
use crate::store::run::{self as table, Run, Status};
use crate::time::{MINUTE, SECOND, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How long a claim on a run holds whose caller waits: longer than all tries together.
const LEASE: i64 = 2 * MINUTE;

/// Largest result that is kept for another equal call, in bytes.
const MAX_CACHED: usize = 256 * 1024;

/// What stands for a secret in a dry run.
const MASK: &str = "[secret]";

/// Whose action it is.
pub enum Target<'a> {
    /// A connection's.
    Connection(&'a Connection),
    /// An integration's that needs no connection, by its name.
    Integration(&'a str),
}

/// One call of an action.
pub struct Ask<'a> {
    /// Whose action.
    pub target: Target<'a>,
    /// Its name.
    pub action: &'a str,
    /// Its inputs; defaults are filled in.
    pub inputs: Value,
    /// Who asks.
    pub principal: &'a str,
    /// Whose run it is where no connection says so.
    pub owner: Option<&'a str>,
    /// The caller's key: the same key is the same run.
    pub key: Option<&'a str>,
    /// When the caller's patience ends; [`PATIENCE`] from now where absent.
    pub deadline: Option<Timestamp>,
}

/// What a call came to.
pub struct Acted {
    /// The run; none where an earlier result was given again.
    pub run: Run,
    /// The result, or why there is none.
    pub outcome: Result<Value>,
    /// Whether it is the answer to an earlier call with the same key.
    pub replayed: bool,
    /// Whether it is the result of an earlier equal call, kept as the manifest allows.
    pub cached: bool,
}

/// A call that is checked and can be made.
struct Ready<'a> {
    integration: Integration,
    credential: Credential,
    ask: Ask<'a>,
    fingerprint: String,
}

impl Ready<'_> {
    fn parts(&self) -> Result<(&Manifest, &Action)> {
        let manifest = self.integration.manifest()?;
        Ok((manifest, manifest.action(self.ask.action)?))
    }
}

impl Hub<'_> {
    /// Calls an action, and waits for what it comes to. An error is of the call itself: then nothing was begun.
    pub async fn act(&self, ask: Ask<'_>) -> Result<Acted> {
        let ready = self.ready_to_act(ask).await?;
        let (manifest, action) = ready.parts()?;
        if let Some(kept) = self.kept(&ready, action) {
            return Ok(kept);
        }
        let now = self.ports.host.now();
        let caller = Caller {
            ports: &self.ports,
            manifest,
            credential: &ready.credential,
            deadline: Some(ready.ask.deadline.unwrap_or(now + PATIENCE)),
        };
        if let Some(rate) = action.rate_limit {
            let id = format!("{}|{}", ready.credential.source, ready.ask.action);
            if let Some(again) = caller.within(&id, rate).await? {
                return Err(caller.error_of(&again));
            }
        }
        let mut run = self.begun(&ready, now);
        // What only reads and has no key needs no row before it: a crash leaves nothing open.
        let holder = id::token(self.ports.host);
        let recorded = ready.ask.key.is_some() || !action.is_repeatable();
        if recorded {
            let claim = Some((holder.as_str(), now + LEASE));
            if !table::begin(&self.ports, &run, ready.ask.key, claim).await? {
                match self.earlier(&ready, &holder, now).await? {
                    Earlier::Ended(acted) => return Ok(*acted),
                    Earlier::Again(again) => run = *again,
                }
            }
        }
        let call = Call {
            caller,
            integration: &ready.integration,
            name: ready.ask.action,
            action,
            run_id: &run.id.clone(),
            inputs: &ready.ask.inputs,
        };
        let outcome = live::execute(&call, &mut run).await;
        let stored = match recorded {
            true => table::finish(&self.ports, &run, &holder).await.map(drop),
            false => table::begin(&self.ports, &run, None, None).await.map(drop),
        };
        if let Err(error) = stored {
            // What the service did is done: the caller is told of that, and not to try again.
            let message = format!("what came of it is not stored: {error}");
            let line = json!({"level": "error", "job": "run", "run_id": run.id, "message": message});
            self.ports.host.log(&line);
        }
        runs::log(&self.ports, &run);
        self.keep(&ready, action, &run);
        Ok(Acted {
            run,
            outcome,
            replayed: false,
            cached: false,
        })
    }

    /// The requests that a call would send, with its secrets masked. Nothing is sent and nothing stored.
    pub async fn rehearse(&self, ask: Ask<'_>) -> Result<Value> {
        let mut ready = self.ready_to_act(ask).await?;
        for secret in ready.credential.secrets.values_mut() {
            *secret = Secret::new(MASK);
        }
        let (manifest, action) = ready.parts()?;
        let caller = Caller {
            ports: &self.ports,
            manifest,
            credential: &ready.credential,
            deadline: None,
        };
        let transformed;
        let inputs = match &action.request_transform {
            Some(source) => {
                transformed = self.ports.scripts.transform(source, &ready.ask.inputs).await?;
                &transformed
            }
            None => &ready.ask.inputs,
        };
        let call = Call {
            caller,
            integration: &ready.integration,
            name: ready.ask.action,
            action,
            run_id: "run_of_the_call",
            inputs,
        };
        let page = json!({"number": 1, "offset": 0});
        let nothing = json!({});
        let first = action.request.iter().map(|request| (None, request));
        let steps = action
            .steps
            .iter()
            .map(|step| (Some(step.name.as_str()), &step.request));
        let mut requests = Vec::new();
        for (step, template) in first.chain(steps) {
            let scope = call.scope(&[("page", &page), ("steps", &nothing)]);
            let built = build::build(template, &ready.credential.base_url, &scope);
            let shown = match built.and_then(|request| masked(&caller, request)) {
                Ok(request) => request,
                // A later step can need what an earlier one answers.
                Err(error) if step.is_some() => json!({"not_known_yet": error.public_detail()}),
                Err(error) => return Err(error),
            };
            let mut shown = shown;
            if let (Some(step), Some(members)) = (step, shown.as_object_mut()) {
                members.insert("step".into(), json!(step));
            }
            requests.push(shown);
        }
        Ok(json!({"dry_run": true, "inputs": ready.ask.inputs, "requests": requests}))
    }

    async fn ready_to_act<'a>(&self, mut ask: Ask<'a>) -> Result<Ready<'a>> {
        let (integration, credential) = match &ask.target {
            Target::Connection(connection) => {
                let integration = self.integration(&connection.integration).await?;
                let manifest = integration.manifest()?;
                manifest.action(ask.action)?;
                let credential = Credential::of_row(&self.ports, manifest, (*connection).clone(), None)?;
                (integration, credential)
            }
            Target::Integration(name) => {
                let integration = self.integration(name).await?;
                let manifest = integration.manifest()?;
                manifest.action(ask.action)?;
                if manifest.auth.is_some() {
                    return Err(Error::validation(format!(
                        "`{}` acts for an account: call the action of a connection to it",
                        manifest.name
                    )));
                }
                let credential = Credential::of_nobody(manifest, self.ports.host)?;
                (integration, credential)
            }
        };
        let action = integration.manifest()?.action(ask.action)?;
        if ask.inputs.is_null() {
            ask.inputs = Value::Object(Map::new());
        }
        defaults::apply(&action.input_schema, &mut ask.inputs);
        integration.check_inputs(ask.action, &ask.inputs)?;
        let what = format!("{}|{}|{}", credential.source, ask.action, ask.inputs);
        Ok(Ready {
            integration,
            credential,
            ask,
            fingerprint: hex::encode(Sha256::digest(what)),
        })
    }

    fn begun(&self, ready: &Ready<'_>, now: Timestamp) -> Run {
        let connection = match &ready.ask.target {
            Target::Connection(connection) => Some(*connection),
            Target::Integration(_) => None,
        };
        let service = ready.integration.manifest().map(|m| m.name.clone());
        let (action, inputs) = (ready.ask.action, ready.ask.inputs.clone());
        Run {
            integration: service.unwrap_or_default(),
            connection_id: connection.map(|c| c.id.clone()),
            owner: connection.map_or(ready.ask.owner.map(str::to_owned), |c| c.owner.clone()),
            principal: Some(ready.ask.principal.to_owned()),
            fingerprint: ready.fingerprint.clone(),
            status: Status::Running,
            ..Run::new(id::new(Kind::Run, self.ports.host), action, inputs, now)
        }
    }

    /// What the key of a call stands for already.
    async fn earlier(&self, ready: &Ready<'_>, holder: &str, now: Timestamp) -> Result<Earlier> {
        let key = ready.ask.key.unwrap_or_default();
        let found = table::find_by_key(&self.ports, ready.ask.principal, key).await?;
        let run = found.ok_or(Error::IdempotencyInProgress)?;
        if run.fingerprint != ready.fingerprint {
            return Err(Error::Conflict(
                "this Idempotency-Key was used with another call; use a new key for a new call".into(),
            ));
        }
        let told = |field: &str| {
            let error = run.error.as_ref().and_then(|e| e.get(field)).and_then(Value::as_str);
            error.unwrap_or_default().to_owned()
        };
        let outcome = match run.status {
            Status::Pending | Status::Running => return Err(Error::IdempotencyInProgress),
            Status::Succeeded => match run.result_not_kept() {
                None => Ok(run.result.clone().unwrap_or_default()),
                Some(bytes) => Err(Error::Conflict(format!(
                    "the call with this Idempotency-Key was done; its result of {bytes} bytes was too large to be kept, see run {}",
                    run.id
                ))),
            },
            Status::Ambiguous => Err(Error::Conflict(format!(
                "the call with this Idempotency-Key may have taken effect: {}; look at the service and at run {}",
                told("detail"),
                run.id
            ))),
            Status::Failed
                if matches!(
                    told("code").as_str(),
                    "RATE_LIMIT_EXCEEDED" | "TEMPORARY_ERROR" | "TIMEOUT_ERROR" | "REAUTH_REQUIRED"
                ) =>
            {
                let again = table::begin_again(&self.ports, &run.id, holder, now + LEASE, now).await?;
                return again
                    .map(|run| Earlier::Again(Box::new(run)))
                    .ok_or(Error::IdempotencyInProgress);
            }
            Status::Failed => Err(Error::told(&told("code"), told("detail"))),
        };
        Ok(Earlier::Ended(Box::new(Acted {
            run,
            outcome,
            replayed: true,
            cached: false,
        })))
    }

    /// The kept result of an equal call, if the manifest allows that.
    fn kept(&self, ready: &Ready<'_>, action: &Action) -> Option<Acted> {
        action.cache?;
        let now = self.ports.host.now();
        let text = self.ports.cache.get(&format!("result|{}", ready.fingerprint), now)?;
        let kept: Value = serde_json::from_str(text.expose()).ok()?;
        let mut run = self.begun(ready, now);
        run.id = kept.get("run_id")?.as_str()?.to_owned();
        run.status = Status::Succeeded;
        Some(Acted {
            run,
            outcome: Ok(kept.get("data")?.clone()),
            replayed: false,
            cached: true,
        })
    }

    fn keep(&self, ready: &Ready<'_>, action: &Action, run: &Run) {
        let (Some(rule), Some(result)) = (action.cache, &run.result) else {
            return;
        };
        let text = json!({"run_id": run.id, "data": result}).to_string();
        if text.len() <= MAX_CACHED {
            let until = self.ports.host.now() + i64::from(rule.ttl_s) * SECOND;
            let key = format!("result|{}", ready.fingerprint);
            self.ports.cache.put(&key, Secret::new(text), until);
        }
    }
}

/// What an earlier call with the same key came to.
enum Earlier {
    /// It has ended for good.
    Ended(Box<Acted>),
    /// It failed in a way that passes: this call is its next try.
    Again(Box<Run>),
}

/// A request as it would go out, with masks for secrets.
fn masked(caller: &Caller<'_>, mut request: Request) -> Result<Value> {
    caller.authorise_with(&Secret::new(MASK), &mut request)?;
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let text = String::from_utf8_lossy(&request.body).into_owned();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(json!({
        "method": request.method,
        "url": request.url,
        "headers": headers,
        "body": if request.body.is_empty() { Value::Null } else { body },
    }))
}

//! One try of an action, whatever it is made of: a request, several, a look-up, or a handler.

use super::caller::{Answer, Caller, Exchange, Names, Tried};
use super::handler;
use super::retry::{Again, Cause};
use crate::error::{Error, Result};
use crate::http::Method;
use crate::manifest::action::{Action, MAX_EACH, Step};
use crate::ports::ScriptError;
use crate::registry::Integration;
use crate::store::event;
use crate::template::Scope;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Everything that one call of an action needs.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The account.
    pub caller: Caller<'a>,
    /// The service.
    pub integration: &'a Integration,
    /// The action's name.
    pub name: &'a str,
    /// The action.
    pub action: &'a Action,
    /// The run, as what is written at the service is marked; empty where nothing is written.
    pub run_id: &'a str,
    /// The inputs, checked.
    pub inputs: &'a Value,
}

/// What a call of an action came to.
#[derive(Debug)]
pub struct Performed {
    /// The last reply's status, whatever was made of it; none where nothing was sent, or no answer came.
    pub status: Option<u16>,
    /// The result, or what stood in the way.
    pub tried: Tried<Value>,
}

/// Names that every template of an action sees, besides the connection's.
pub struct Own {
    run_id: Value,
    run_uuid: Value,
    marker: Value,
}

impl Own {
    /// With their names, beside the inputs.
    pub fn names<'n>(&'n self, inputs: &'n Value) -> Names<'n> {
        vec![
            ("inputs", inputs),
            ("run_id", &self.run_id),
            ("run_uuid", &self.run_uuid),
            ("marker", &self.marker),
        ]
    }
}

impl Call<'_> {
    /// Tries once.
    pub async fn perform(&self) -> Performed {
        let answered = &self.caller.credential.answered;
        answered.set(None);
        let tried = match self.transformed().await {
            Ok(tried) => tried,
            Err(error) => from_error(error),
        };
        let tried = match tried {
            Tried::Done(result) => match self.checked(result) {
                Ok(result) => Tried::Done(result),
                Err(error) => Tried::Refused(error),
            },
            Tried::Again(again) if again.cause == Cause::TooLarge && self.action.is_repeatable() => {
                Tried::Refused(self.caller.error_of(&again))
            }
            other => other,
        };
        let status = answered.get();
        Performed { status, tried }
    }

    /// The try between the action's JavaScript transforms, where it has them.
    async fn transformed(&self) -> Result<Tried<Value>> {
        let scripts = self.caller.ports.scripts;
        let own;
        let inputs = match &self.action.request_transform {
            None => self.inputs,
            Some(source) => {
                own = scripts.transform(source, self.inputs).await?;
                &own
            }
        };
        if self.action.response_transform.is_some() && !scripts.is_on() {
            // Before anything is sent: afterwards it would be done, and seem to have failed.
            return Err(ScriptError::Off.into());
        }
        let tried = Call { inputs, ..*self }.act().await?;
        let (result, source) = match (tried, &self.action.response_transform) {
            (Tried::Done(result), Some(source)) => (result, source),
            (tried, _) => return Ok(tried),
        };
        scripts
            .transform(source, &result)
            .await
            .map(Tried::Done)
            .map_err(|why| {
                let service = &self.caller.manifest.name;
                Error::Upstream(format!(
                    "{service} did it, but its answer did not become the result: {why}"
                ))
            })
    }

    async fn act(&self) -> Result<Tried<Value>> {
        if self.action.request.is_some() {
            return self.request().await;
        }
        if !self.action.steps.is_empty() {
            return self.steps().await;
        }
        if let Some(look_up) = &self.action.event {
            let id = look_up.delivery_id.text(&self.scope(&[]))?;
            return self.look_up(&id).await.map(Tried::Done);
        }
        let handler = self.integration.handler().and_then(|h| h.action(self.name));
        match handler {
            Some(handler) => Ok(handler::act(self.caller, handler, self.inputs).await),
            None => Err(Error::MethodNotFound(format!(
                "{}`: it is described, but nothing says what it sends; give it a `request",
                self.name
            ))),
        }
    }

    async fn request(&self) -> Result<Tried<Value>> {
        let Some(exchange) = self.exchange() else {
            return Err(Error::Internal("an action without a request".into()));
        };
        let own = self.own();
        match self.caller.attempt(exchange, &own.names(self.inputs), None).await? {
            Tried::Done(answer) => self.result(&answer).map(Tried::Done),
            Tried::Again(again) => Ok(Tried::Again(again)),
            Tried::Refused(error) => Ok(Tried::Refused(error)),
        }
    }

    /// The result of a reply, as the manifest makes it.
    pub fn result(&self, answer: &Answer) -> Result<Value> {
        let Some(exchange) = self.exchange() else {
            return Ok(answer.parts.body.clone());
        };
        answer.data(exchange, &|names| self.scope(names))
    }

    fn exchange(&self) -> Option<Exchange<'_>> {
        Some(Exchange {
            name: self.name,
            request: self.action.request.as_ref()?,
            response: &self.action.response,
            pagination: self.action.pagination.as_ref(),
            fallback_urls: &self.action.fallback_urls,
        })
    }

    /// Several requests. What was changed by one before another failed makes the whole unsettled: it may not be done
    /// again unless the action says that this does no harm.
    async fn steps(&self) -> Result<Tried<Value>> {
        let own = self.own();
        let mut results = json!({});
        let mut changed = false;
        for step in &self.action.steps {
            let tried = {
                let mut names = own.names(self.inputs);
                names.push(("steps", &results));
                self.step(step, &names, &mut changed).await
            };
            let result = match tried {
                Ok(Tried::Done(result)) => result,
                Ok(Tried::Again(mut again)) => {
                    again.unsettled |= changed;
                    again.reason = format!("step `{}`: {}", step.name, again.reason);
                    return Ok(Tried::Again(again));
                }
                Ok(Tried::Refused(error)) => return Ok(Tried::Refused(error)),
                Err(error) if changed && error.retryable() => {
                    return Ok(Tried::Again(Again::new(Cause::Temporary, true, error.to_string())));
                }
                Err(error) => return Err(error),
            };
            if let Some(members) = results.as_object_mut() {
                members.insert(step.name.clone(), result);
            }
        }
        let Some(data) = &self.action.response.data else {
            let last = self.action.steps.last().and_then(|step| results.get(&step.name));
            return Ok(Tried::Done(last.cloned().unwrap_or(Value::Null)));
        };
        data.value(&self.scope(&[("steps", &results)])).map(Tried::Done)
    }

    async fn step(&self, step: &Step, names: &Names<'_>, changed: &mut bool) -> Result<Tried<Value>> {
        let scope = self.caller.credential.scope(names);
        if let Some(when) = &step.when
            && !when.truth(&scope)?
        {
            return Ok(Tried::Done(Value::Null));
        }
        let Some(each) = &step.each else {
            return self.step_once(step, names, changed).await;
        };
        let items = match each.value(&scope)? {
            Value::Array(items) if items.len() <= MAX_EACH => items,
            Value::Null => Vec::new(),
            _ => {
                return Err(Error::validation(format!(
                    "step `{}` needs a list of at most {MAX_EACH}",
                    step.name
                )));
            }
        };
        let mut results = Vec::with_capacity(items.len());
        for item in &items {
            let mut names = names.clone();
            names.push(("item", item));
            match self.step_once(step, &names, changed).await? {
                Tried::Done(result) => results.push(result),
                other => return Ok(other),
            }
        }
        Ok(Tried::Done(Value::Array(results)))
    }

    async fn step_once(&self, step: &Step, names: &Names<'_>, changed: &mut bool) -> Result<Tried<Value>> {
        let exchange = Exchange {
            name: self.name,
            request: &step.request,
            response: &step.response,
            pagination: step.pagination.as_ref(),
            fallback_urls: &[],
        };
        let answer = match self.caller.attempt(exchange, names, None).await? {
            Tried::Done(answer) => answer,
            Tried::Again(again) => return Ok(Tried::Again(again)),
            Tried::Refused(error) => return Ok(Tried::Refused(error)),
        };
        *changed |= step.request.method != Method::Get;
        let scope = |more: &[(&str, &Value)]| {
            let all: Names<'_> = names.iter().chain(more).copied().collect();
            self.caller.credential.scope(&all)
        };
        answer.data(exchange, &scope).map(Tried::Done)
    }

    /// The verified event of this delivery id on the call's own connection.
    async fn look_up(&self, delivery_id: &str) -> Result<Value> {
        let source = &self.caller.credential.source;
        let ports = self.caller.ports;
        let Some(row) = event::find_by_delivery(ports, source, delivery_id).await? else {
            return Err(Error::validation(
                "no verified event of this connection has this id: it must have come in by the connection's webhook URL",
            ));
        };
        let payload = row.payload(ports).await?;
        let kind = row.event.r#type.split_once('.').map_or("", |(_, kind)| kind);
        let found = json!({
            "id": row.event.id,
            "delivery_id": row.event.delivery_id,
            "type": kind,
            "body": serde_json::from_slice::<Value>(&payload).unwrap_or(Value::Null),
        });
        let Some(data) = &self.action.response.data else {
            return Ok(found);
        };
        data.value(&self.scope(&[("event", &found)]))
    }

    /// The scope of the action's templates.
    pub fn scope(&self, more: &[(&str, &Value)]) -> Scope {
        let own = self.own();
        let mut names = own.names(self.inputs);
        names.extend_from_slice(more);
        self.caller.credential.scope(&names)
    }

    /// The names that every template of the action sees.
    pub fn own(&self) -> Own {
        Own {
            run_id: json!(self.run_id),
            run_uuid: json!(uuid_of(self.run_id)),
            marker: json!(format!("patchbay:{}", self.run_id)),
        }
    }

    /// Whether a try that may have taken effect can be followed by another: repeating does no harm, or its effect can be
    /// looked for.
    pub fn can_settle(&self) -> Result<bool> {
        if self.action.is_repeatable() {
            return Ok(true);
        }
        let Some(reconcile) = &self.action.reconcile else {
            return Ok(false);
        };
        reconcile
            .when
            .as_ref()
            .map_or(Ok(true), |when| when.truth(&self.scope(&[])))
    }

    /// A result that fits the action's schema.
    pub fn checked(&self, result: Value) -> Result<Value> {
        self.integration.check_output(self.name, &result)?;
        Ok(result)
    }
}

/// An error before or around a request: those that pass by themselves are tried again.
pub fn from_error(error: Error) -> Tried<Value> {
    if !error.retryable() {
        return Tried::Refused(error);
    }
    let cause = match &error {
        Error::RateLimit { .. } => Cause::RateLimited,
        _ => Cause::Temporary,
    };
    Tried::Again(Again {
        wait: error.retry_after_s().map(|s| i64::from(s) * 1_000),
        unsettled: false,
        cause,
        reason: error.to_string(),
    })
}

/// A UUID that is the same for the same run in the form of version 4 (RFC 9562), for services that take one as idempotency key.
fn uuid_of(run_id: &str) -> String {
    let digest = Sha256::digest(run_id.as_bytes());
    let mut hex = hex::encode(digest);
    hex.truncate(32);
    let mut text = String::with_capacity(36);
    for (at, c) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        // Version 4 and the variant, as services check them.
        text.push(match at {
            12 => '4',
            16 => '8',
            _ => c,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_uuid() {
        let uuid = uuid_of("run_00000000000000000000000001");

        assert_eq!(uuid, uuid_of("run_00000000000000000000000001"));
        assert_ne!(uuid, uuid_of("run_00000000000000000000000002"));
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!((uuid.chars().nth(14), uuid.chars().nth(19)), (Some('4'), Some('8')));
    }
}

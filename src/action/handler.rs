//! The hub's side of a `handler.rs`: its requests go out like those of a manifest.

use super::caller::{Caller, Tried};
use super::perform::from_error;
use super::retry::{Again, Cause};
use crate::error::{Error, Result};
use crate::http::{Method, Request, Response};
use crate::sdk::{ActionHandler, ExecutionContext, Wire};
use crate::time::Timestamp;
use async_trait::async_trait;
use serde_json::Value;
use std::cell::Cell;

/// A handler's way out. It remembers whether anything was asked that may have changed something.
pub struct Sender<'a> {
    caller: Caller<'a>,
    changed: Cell<bool>,
}

impl<'a> Sender<'a> {
    /// A way out with this account.
    pub fn new(caller: Caller<'a>) -> Self {
        Self {
            caller,
            changed: Cell::new(false),
        }
    }

    /// What the handler sees.
    pub fn context(&self) -> ExecutionContext<'_> {
        let credential = self.caller.credential;
        ExecutionContext::new(&credential.config, &credential.secrets, self)
    }
}

#[async_trait(?Send)]
impl Wire for Sender<'_> {
    async fn send(&self, request: Request) -> Result<Response> {
        if !matches!(request.method, Method::Get | Method::Head) {
            self.changed.set(true);
        }
        self.caller.raw(&request).await
    }

    async fn send_once(&self, request: Request) -> Result<Response> {
        if !matches!(request.method, Method::Get | Method::Head) {
            self.changed.set(true);
        }
        self.caller.raw_once(&request).await
    }

    fn decode(&self, label: &str, bytes: &[u8]) -> Option<String> {
        self.caller.ports.host.decode(label, bytes)
    }

    fn now(&self) -> Timestamp {
        self.caller.ports.host.now()
    }
}

/// Tries a handler once.
pub async fn act(caller: Caller<'_>, handler: &dyn ActionHandler, inputs: &Value) -> Tried<Value> {
    let sender = Sender::new(caller);
    match handler.execute(inputs, &sender.context()).await {
        Ok(result) => Tried::Done(result),
        Err(error @ Error::Timeout(_)) => {
            Tried::Again(Again::new(Cause::Timeout, sender.changed.get(), error.to_string()))
        }
        Err(error) => match from_error(error) {
            Tried::Again(again) => Tried::Again(Again {
                unsettled: sender.changed.get(),
                ..again
            }),
            other => other,
        },
    }
}

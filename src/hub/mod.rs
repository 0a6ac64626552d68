//! The hub's verbs: receive, dispatch, deliver, answer, run, sweep. The only thing that `edge` and `api` call.

mod act;
mod admit;
mod callback;
mod connect;
mod converse;
mod define;
mod deliver;
mod disconnect;
mod dispatch;
mod fields;
mod heal;
mod invite;
mod link;
mod metrics;
mod poll;
mod receive;
mod reject;
mod replay;
mod retention;
mod rotate;
mod seal;
mod sign_in;
mod stream;
mod sweep;
mod tokens;

pub use act::{Acted, Ask, Target};
pub use callback::{Answer, Answered, Asked};
pub use connect::{ConnectionChange, NewConnection};
pub use deliver::run_of;
pub use invite::NewLink;
pub use poll::{NewPoll, NewSubscription, PollChange};
pub use receive::webhook_path;
pub use reject::Captured;
pub use seal::Verdict;
pub use sign_in::Callback;

use crate::action::run;
use crate::error::Result;
use crate::id::{self, Kind};
use crate::ports::Ports;
use serde_json::json;

/// The hub, for the time of one request or job.
#[derive(Clone, Copy)]
pub struct Hub<'a> {
    /// The outside.
    pub ports: Ports<'a>,
}

/// What a woken job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Nothing more: it is done, or the database knows when it is due again.
    Done,
    /// To be woken again after so many seconds.
    Again {
        /// Seconds.
        after_s: u32,
    },
}

impl Woken {
    /// From milliseconds until the next try, if there is one.
    fn after(wait: Option<i64>) -> Self {
        // Queues hold a message for 12 hours at most; the sweep finds what is due later.
        const LONGEST_S: i64 = 12 * 3_600;
        match wait.map(|ms| ms / 1_000 + 1) {
            Some(seconds) if seconds <= LONGEST_S => Self::Again {
                after_s: u32::try_from(seconds).unwrap_or(1),
            },
            _ => Self::Done,
        }
    }
}

impl<'a> Hub<'a> {
    /// A hub that asks these ports.
    pub fn new(ports: Ports<'a>) -> Self {
        Self { ports }
    }

    /// Does what is due for an event, a delivery, a run or a connection's tokens. Calling it twice, or for something that is not due, does
    /// no harm: the database decides.
    pub async fn wake(&self, id: &str) -> Woken {
        let outcome = if id::is(Kind::Event, id) {
            self.dispatch(id).await
        } else if id::is(Kind::Delivery, id) {
            self.deliver(id).await
        } else if id::is(Kind::Connection, id) {
            self.keep_alive(id).await.map(|()| None)
        } else if id.starts_with('{') {
            self.rescue(id).await.map(|()| None)
        } else if id::is(Kind::Run, id) {
            self.run(id).await
        } else if id::is(Kind::Replay, id) {
            self.step_replay(id).await
        } else {
            Ok(None)
        };
        match outcome {
            Ok(wait) => Woken::after(wait),
            Err(error) => {
                self.log_failure(id, &error);
                // The claim runs out by itself; then the sweep, or this, finds it.
                Woken::Again { after_s: 30 }
            }
        }
    }

    /// Tries a run, if it is due.
    pub(super) async fn run(&self, id: &str) -> Result<Option<i64>> {
        let Some((run, holder)) = run::lease(&self.ports, id).await? else {
            return Ok(None);
        };
        let integration = self.integration(&run.integration).await;
        run::execute(&self.ports, integration, run, &holder).await
    }

    /// Wakes the dispatcher for `id`. A failure costs time, not the event: the sweep finds it.
    pub async fn call(&self, id: &str) {
        self.call_in(id, 0).await;
    }

    /// Wakes the dispatcher for `id` after so many seconds.
    async fn call_in(&self, id: &str, after_s: u32) {
        if let Err(message) = self.ports.queue.wake(id, after_s).await {
            self.ports
                .host
                .log(&json!({"level": "warn", "job": "wake", "id": id, "message": message}));
        }
    }

    fn log_failure(&self, id: &str, error: &crate::Error) {
        self.ports.host.log(&json!({
            "level": "error", "job": "wake", "id": id, "code": error.code(), "message": error.to_string(),
        }));
    }

    /// The version of the tables, or an error if the code and they do not fit each other.
    pub async fn ready(&self) -> Result<String> {
        let found = crate::store::schema_version(&self.ports).await?;
        match found {
            Some(version) if version == crate::store::SCHEMA_VERSION => Ok(version),
            other => Err(crate::Error::temporary(format!(
                "the database has schema version {}, this code wants {}: run `wrangler d1 migrations apply DB`",
                other.as_deref().unwrap_or("none"),
                crate::store::SCHEMA_VERSION
            ))),
        }
    }
}

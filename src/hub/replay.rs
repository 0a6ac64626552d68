//! Events once more: one by its id, or all that fit a filter. A replay goes the way of the first dispatch, with rows
//! and signatures of its own.

use super::Hub;
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::store::audit;
use crate::store::event::{self, Replay};
use crate::store::replay::{self, Job};
use crate::store::search::{self, Filter};
use crate::time::SECOND;
use serde_json::{Value, json};

/// Events that one step makes due: each is one message for the queue, and the free plan has 50 calls of the outside.
const STEP: i64 = 40;

/// Windows that a plan looks at.
const PLANNED: usize = 20;

/// What a replay would come to.
#[derive(Debug)]
pub struct Plan {
    /// Events that fit.
    pub events: usize,
    /// Events looked at.
    pub scanned: i64,
    /// Whether those are all there are; if not, the job finds more.
    pub complete: bool,
}

impl Hub<'_> {
    /// Makes an event due again: for one destination, or for all that want it. An event that could not be dispatched
    /// is dispatched.
    pub async fn replay(&self, event_id: &str, owner: Option<&str>, only: Option<String>, actor: &str) -> Result<()> {
        let now = self.ports.host.now();
        let replay = Replay {
            destination_id: only,
            ..Replay::default()
        };
        let done = audit::Entry {
            actor,
            act: "event.replayed",
            subject: event_id,
            owner,
            detail: &json!({"destination_id": replay.destination_id}),
        };
        let statements = vec![
            event::revive(&[event_id.to_owned()], &replay, None, now),
            audit::append_if_changed(self.ports.host, done),
        ];
        let revived = self.ports.sql.batch(statements).await?;
        if revived.first().is_none_or(Vec::is_empty) {
            return Err(Error::Conflict("the event is being dispatched at this moment".into()));
        }
        self.call(event_id).await;
        Ok(())
    }

    /// Counts what a replay would send, as far as one request can look.
    pub async fn plan_replay(&self, filter: &Filter, owner: Option<&str>) -> Result<Plan> {
        let (mut after, before) = filter.bounds();
        let mut plan = Plan {
            events: 0,
            scanned: 0,
            complete: false,
        };
        for _ in 0..PLANNED {
            let found = search::ahead(&self.ports, filter, owner, (&after, &before), search::WINDOW).await?;
            plan.events += found.ids.len();
            plan.scanned += found.scanned;
            match found.cursor {
                Some(cursor) => after = cursor,
                None => {
                    plan.complete = true;
                    break;
                }
            }
        }
        Ok(plan)
    }

    /// Begins a replay of all events accepted so far that fit.
    pub async fn start_replay(&self, filter: Filter, owner: Option<&str>, actor: &str) -> Result<Job> {
        let now = self.ports.host.now();
        let (cursor, before) = filter.bounds();
        let job = Job {
            id: id::new(Kind::Replay, self.ports.host),
            filter,
            owner: owner.map(str::to_owned),
            actor: actor.to_owned(),
            state: "running".into(),
            cursor,
            // What comes from now on is not yet to be repeated.
            last: before.min(id::first_at(Kind::Event, now)),
            scanned: 0,
            replayed: 0,
            created_at: now,
            updated_at: now,
        };
        let done = audit::Entry {
            actor,
            act: "replay.started",
            subject: &job.id,
            owner,
            detail: &json!({"filter": job.filter}),
        };
        let statements = vec![replay::insert(&job), audit::append(self.ports.host, done)];
        self.ports.sql.batch(statements).await?;
        self.call(&job.id).await;
        Ok(job)
    }

    /// Ends a running replay; whether there was one.
    pub async fn cancel_replay(&self, job: &Job, actor: &str) -> Result<bool> {
        let done = audit::Entry {
            actor,
            act: "replay.cancelled",
            subject: &job.id,
            owner: job.owner.as_deref(),
            detail: &json!({"replayed": job.replayed}),
        };
        let statements = vec![
            replay::cancel(&job.id, self.ports.host.now()),
            audit::append_if_changed(self.ports.host, done),
        ];
        let ended = self.ports.sql.batch(statements).await?;
        Ok(ended.first().is_some_and(|rows| !rows.is_empty()))
    }

    /// One step of a replay: events are made due and the cursor moves in one transaction, so that neither a crash nor
    /// a second worker sends a batch twice.
    pub(super) async fn step_replay(&self, job_id: &str) -> Result<Option<i64>> {
        let Some(job) = replay::find(&self.ports, job_id).await? else {
            return Ok(None);
        };
        if job.state != "running" {
            return Ok(None);
        }
        let owner = job.owner.as_deref();
        let range = (job.cursor.as_str(), job.last.as_str());
        let found = search::ahead(&self.ports, &job.filter, owner, range, STEP).await?;
        let now = self.ports.host.now();
        let replay = search::replay_of(&job.filter, &job.id);
        let count = i64::try_from(found.ids.len()).unwrap_or(0);
        let statements = vec![
            event::revive(&found.ids, &replay, Some((&job.id, &job.cursor)), now),
            replay::advance(&job.id, &job.cursor, found.cursor.as_deref(), found.scanned, count, now),
        ];
        let mut results = self.ports.sql.batch(statements).await?.into_iter();
        let revived = results.next().unwrap_or_default();
        for id in revived.iter().filter_map(|row| row.get("id").and_then(Value::as_str)) {
            self.call(id).await;
        }
        let moved = results.next().is_some_and(|rows| !rows.is_empty());
        self.ports.host.log(&json!({
            "job": "replay", "replay_id": job.id, "scanned": found.scanned, "replayed": revived.len(), "moved": moved,
        }));
        // Another worker that was first goes on by itself.
        Ok((moved && found.cursor.is_some()).then_some(SECOND))
    }
}

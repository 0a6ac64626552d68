//! One message to one destination: tried with the dispatch, or later under a claim of its own.

use super::Hub;
use super::converse::Plan;
use super::dispatch::{LEASE, Opened};
use crate::action;
use crate::delivery::attempt::{self, Health, settle};
use crate::delivery::message;
use crate::delivery::schedule::{self, Next};
use crate::delivery::view::View;
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::ports::{FetchError, Stmt};
use crate::registry;
use crate::store::audit;
use crate::store::connection;
use crate::store::delivery::{self, Attempt, Delivery, Message};
use crate::store::destination::{self, Destination, Target};
use crate::store::event::{self, Announcement, Full};
use crate::store::run::{self as runs, Run, Status};
use crate::time::{HOUR, SECOND, Timestamp};
use serde_json::{Value, json};

/// How long a destination may fail throughout before the others are told.
const FAILING: i64 = HOUR;

/// How long an ordered delivery waits to look again whether it is its turn.
const TURN: i64 = 5 * SECOND;

/// A delivery after a try.
pub(super) struct Tried {
    pub(super) delivery: Delivery,
    pub(super) health: Health,
}

impl Hub<'_> {
    /// Tries a delivery that is due again.
    pub(super) async fn deliver(&self, id: &str) -> Result<Option<i64>> {
        let now = self.ports.host.now();
        let holder = id::token(self.ports.host);
        let leased: Option<Delivery> = self
            .ports
            .sql
            .first(delivery::lease(id, &holder, now + LEASE, now))
            .await?;
        let Some(delivery) = leased else {
            return self.turn(id, now).await;
        };
        let found = (
            event::find(&self.ports, &delivery.event_id).await?,
            destination::find(&self.ports, &delivery.destination_id).await?,
        );
        let mut statements = Vec::new();
        let delivery = match found {
            (Some(full), Some(destination)) if destination.enabled => {
                let trace_id = full.event.trace_id.clone();
                let tried = self.try_later(full, &destination, delivery).await;
                statements.extend(self.health(&destination, &tried));
                let delivery = tried.delivery;
                if let Some(note) = delivery.note.as_deref().filter(|_| delivery.state == "skipped") {
                    statements.push(event::set_decision(&delivery.event_id, note));
                }
                self.log_try(&delivery, &trace_id);
                delivery
            }
            _ => {
                let mut delivery = delivery;
                let gone = Next::GiveUp("the destination was removed or switched off");
                settle(&mut delivery, gone, now);
                delivery
            }
        };
        let (tell, told) = self.unreached(&delivery).await?;
        statements.extend(tell);
        statements.push(delivery::finish(&delivery, &holder));
        if let Some(key) = &delivery.order_key {
            let now = self.ports.host.now();
            statements.push(delivery::release_next(&delivery.destination_id, key, now));
        }
        let wait = delivery.due_at.map(|at| at.0 - self.ports.host.now().0);
        let results = self.ports.sql.batch(statements).await?;
        if let Some(id) = told {
            self.call(&id).await;
        }
        if delivery.order_key.is_some()
            && let Some(next) = results.last().and_then(|rows| rows.first()?.get("id")?.as_str())
            && next != delivery.id
        {
            self.call(next).await;
        }
        Ok(wait)
    }

    /// When to look again at a delivery that could not be claimed: soon, if it only waits for its turn.
    async fn turn(&self, id: &str, now: Timestamp) -> Result<Option<i64>> {
        let found = delivery::find(&self.ports, id).await?;
        let waits =
            |d: &Delivery| d.order_key.is_some() && d.state == "pending" && d.due_at.is_some_and(|at| at <= now);
        Ok(found.filter(waits).map(|_| TURN))
    }

    /// One later try; what cannot even be prepared counts as one that failed.
    async fn try_later(&self, full: Full, destination: &Destination, delivery: Delivery) -> Tried {
        let prepared = async {
            let opened = self.open(full).await?;
            let plan = match delivery.message {
                Message::Event => Plan::none(None),
                Message::Started | Message::Followed => self.plan(&opened).await?,
            };
            Ok((opened, plan))
        };
        match prepared.await {
            Ok((opened, plan)) => self.try_once(&opened, &plan, destination, delivery).await,
            Err(error) => self.put_off(delivery, destination, &error),
        }
    }

    /// One try of one delivery. What goes wrong with one destination neither holds up nor repeats what goes to the
    /// others.
    pub(super) async fn try_once(
        &self,
        opened: &Opened,
        plan: &Plan,
        destination: &Destination,
        mut delivery: Delivery,
    ) -> Tried {
        match self.send_one(opened, plan, destination, &mut delivery).await {
            Ok(health) => Tried { delivery, health },
            Err(error) => {
                self.log_failure(&delivery.id, &error);
                self.put_off(delivery, destination, &error)
            }
        }
    }

    async fn send_one(
        &self,
        opened: &Opened,
        plan: &Plan,
        destination: &Destination,
        delivery: &mut Delivery,
    ) -> Result<Health> {
        if let Some(target) = &destination.settings.target {
            return self.deliver_to_action(opened, destination, target, delivery).await;
        }
        let body = match (delivery.message, &plan.thread, &plan.context) {
            (Message::Event, _, _) => {
                let mapped = match destination.settings.payload {
                    Some(_) => opened.view().data(&destination.settings)?,
                    None => None,
                };
                let (event, body, payload) = (&opened.event, &opened.body, &opened.payload);
                Some(message::event(event, body, payload, mapped.as_ref(), delivery.replay))
            }
            (_, Some(thread), Some(context)) => {
                let thread = (thread.as_str(), plan.once.as_deref());
                self.letter(opened, destination, thread, context, delivery).await?
            }
            _ => {
                self.skip(delivery, plan.decision.clone());
                None
            }
        };
        match body {
            Some(body) => attempt::send(&self.ports, delivery, destination, body).await,
            None => Ok(Health::Unknown),
        }
    }

    /// The destination is an action: its run is made once, under an id that belongs to the delivery, and the delivery
    /// becomes what the run becomes. A crash in between finds the run, which knows whether it may be tried again.
    async fn deliver_to_action(
        &self,
        opened: &Opened,
        destination: &Destination,
        target: &Target,
        delivery: &mut Delivery,
    ) -> Result<Health> {
        let run_id = run_of(&delivery.id);
        if runs::find(&self.ports, &run_id).await?.is_none() {
            let run = self.new_action(opened, destination, target, &run_id).await?;
            let used = audit::Entry {
                actor: &destination.id,
                act: "credential.used",
                subject: run.connection_id.as_deref().unwrap_or_default(),
                owner: run.owner.as_deref(),
                detail: &json!({"run_id": run.id, "action": run.action, "event_id": delivery.event_id}),
            };
            let insert = runs::insert(&run, &run.id, &delivery.id, 0, runs::Order::Beside);
            let made = self
                .ports
                .sql
                .batch(vec![insert, audit::append(self.ports.host, used)])
                .await;
            // Made by another holder in between: there is one, which is all that is wanted.
            if let Err(error) = made
                && !error.is_unique_violation()
            {
                return Err(error.into());
            }
        }
        self.run(&run_id).await?;
        let run = runs::find(&self.ports, &run_id).await?;
        let run = run.ok_or_else(|| Error::temporary("the run of this delivery is not there yet"))?;
        Ok(follow(delivery, &run, self.ports.host.now()))
    }

    async fn new_action(
        &self,
        opened: &Opened,
        destination: &Destination,
        target: &Target,
        run_id: &str,
    ) -> Result<Run> {
        let Target::Action {
            connection_id,
            action,
            inputs,
        } = target;
        let found = connection::find(&self.ports, connection_id).await?;
        // One of another owner is answered like one that is not there.
        let connection = found
            .filter(|c| destination.owner.is_none() || c.owner == destination.owner)
            .ok_or_else(|| Error::ReauthRequired(format!("the connection `{connection_id}` was removed")))?;
        let entry = registry::get(&connection.integration)?;
        entry.manifest()?.action(action)?;
        let inputs = opened.view().inputs(inputs)?;
        entry.check_inputs(action, &inputs)?;
        let now = self.ports.host.now();
        Ok(Run {
            integration: connection.integration,
            connection_id: Some(connection.id),
            owner: connection.owner,
            ..Run::new(run_id.to_owned(), action, inputs, now)
        })
    }

    /// Ends a delivery that is not to be sent.
    pub(super) fn skip(&self, delivery: &mut Delivery, why: Option<String>) {
        delivery.state = "skipped".to_owned();
        delivery.due_at = None;
        delivery.updated_at = self.ports.host.now();
        delivery.note = why;
    }

    /// A try that failed before anything was sent: later again, or given up with the cause.
    pub(super) fn put_off(&self, mut delivery: Delivery, destination: &Destination, error: &Error) -> Tried {
        let now = self.ports.host.now();
        delivery.attempts.push(Attempt {
            at: now,
            ms: 0,
            status: None,
            error: Some(error.public_detail()),
            reply: None,
        });
        let failed = Err(FetchError::Network(String::new()));
        let own = destination.settings.waits();
        let waits = own.as_deref().unwrap_or(&schedule::WAITS);
        let next = if error.retryable() {
            schedule::next(&failed, &delivery.attempts, now, action::jitter(&self.ports), waits)
        } else {
            Next::GiveUp("it could not be prepared; see the attempt's error")
        };
        settle(&mut delivery, next, now);
        Tried {
            delivery,
            health: Health::Unknown,
        }
    }

    /// What a try says of its destination, as statements; none while it works.
    pub(super) fn health(&self, destination: &Destination, tried: &Tried) -> Vec<Stmt> {
        match (tried.health, destination.failing_since) {
            (Health::Unknown, _) | (Health::Works, None) => Vec::new(),
            (Health::Works, Some(_)) => vec![destination::recovered(&destination.id)],
            (Health::Disable(why), _) => self.disable(destination, why),
            (Health::Fails, _) => self.fails(destination),
        }
    }

    fn fails(&self, destination: &Destination) -> Vec<Stmt> {
        let now = self.ports.host.now();
        let since = schedule::failing_since(destination, now);
        let lasts = now.0 - since.0;
        if lasts >= destination.settings.patience() {
            return self.disable(destination, "it failed throughout for days");
        }
        let mut statements: Vec<Stmt> = destination::failed(destination, since, now).into_iter().collect();
        if lasts >= FAILING {
            let id = &destination.id;
            let data = json!({"destination_id": id, "name": destination.name, "failing_since": since.rfc3339()});
            let once = format!("failing|{id}|{}", since.0);
            let told = announcement(destination, "delivery.failing", &once, &data);
            statements.push(event::announce(self.ports.host, &told));
        }
        statements
    }

    fn disable(&self, destination: &Destination, why: &str) -> Vec<Stmt> {
        let now = self.ports.host.now();
        let id = destination.id.as_str();
        let data = json!({"destination_id": id, "name": destination.name, "reason": why});
        let done = audit::Entry {
            actor: audit::HUB,
            act: "destination.disabled",
            subject: id,
            owner: destination.owner.as_deref(),
            detail: &data,
        };
        // One that was switched on again and fails anew is told of anew.
        let once = format!("disabled|{id}|{}", destination.updated_at.0);
        let told = announcement(destination, "destination.disabled", &once, &data);
        // Each only if the one before it did something: of two tries at once one switches off, and tells of it.
        vec![
            destination::disable(destination, why, now),
            audit::append_if_changed(self.ports.host, done),
            event::announce_if_changed(self.ports.host, &told),
        ]
    }

    /// A new delivery of an opened event. None: the destination's filter keeps it out.
    pub(super) fn new_delivery(
        &self,
        opened: &Opened,
        destination: &Destination,
        message: Message,
    ) -> Option<Delivery> {
        let now = self.ports.host.now();
        let settings = &destination.settings;
        // A filter was checked when it was stored; should it not be read, too much is better than a loss.
        if settings.filter.is_some() && !opened.view().passes(settings).unwrap_or(true) {
            return None;
        }
        let order_key = match settings.ordering {
            Some(_) => opened.view().order_key(settings).unwrap_or_default(),
            None => None,
        };
        Some(Delivery {
            id: id::new(Kind::Delivery, self.ports.host),
            event_id: opened.event.id.clone(),
            destination_id: destination.id.clone(),
            conversation_id: None,
            message,
            state: "pending".to_owned(),
            attempts: Vec::new(),
            note: None,
            due_at: Some(now),
            replay: opened.replay.as_ref().is_some_and(|replay| !replay.first),
            order_key,
            created_at: now,
            updated_at: now,
        })
    }

    fn log_try(&self, delivery: &Delivery, trace_id: &str) {
        let last = delivery.attempts.last();
        self.ports.host.log(&json!({
            "job": "deliver", "trace_id": trace_id, "event_id": delivery.event_id, "delivery_id": delivery.id,
            "destination_id": delivery.destination_id, "delivery_status": delivery.state,
            "tries": delivery.attempts.len(), "status": last.and_then(|a| a.status), "ms": last.map(|a| a.ms),
        }));
    }
}

/// What the others are told of a destination.
fn announcement<'a>(destination: &'a Destination, kind: &'a str, once: &'a str, data: &'a Value) -> Announcement<'a> {
    Announcement {
        kind,
        subject: &destination.id,
        owner: destination.owner.as_deref(),
        once,
        data,
    }
}

impl Opened {
    /// What a destination's own expressions see of it.
    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.event, &self.body, &self.headers)
    }
}

/// The id of the run that a delivery to an action is.
pub fn run_of(delivery_id: &str) -> String {
    let own = delivery_id.strip_prefix(Kind::Delivery.prefix()).unwrap_or(delivery_id);
    format!("{}{own}", Kind::Run.prefix())
}

/// Puts into a delivery what its run came to.
fn follow(delivery: &mut Delivery, run: &Run, now: Timestamp) -> Health {
    let tries = run.attempts.iter().map(|a| Attempt {
        at: a.at,
        ms: a.ms,
        status: a.status,
        error: a.reason.clone(),
        reply: None,
    });
    delivery.attempts = tries.collect();
    let why = run.error.as_ref().and_then(|e| e.get("detail")?.as_str());
    match run.status {
        Status::Succeeded => {
            settle(delivery, Next::Delivered, now);
            delivery.note = Some(run.id.clone());
            Health::Works
        }
        Status::Failed | Status::Ambiguous => {
            settle(delivery, Next::GiveUp("the action failed"), now);
            delivery.note = Some(format!("{}: {}", run.id, why.unwrap_or("the action failed")));
            Health::Fails
        }
        Status::Pending | Status::Running => {
            let wait = run.due_at.map_or(0, |at| at.0 - now.0);
            settle(delivery, Next::Again(wait.max(0) + SECOND), now);
            Health::Unknown
        }
    }
}

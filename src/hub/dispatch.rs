//! Events out: from the outbox to the destinations that want them, and to the agent if they ask for it.

use super::converse::Plan;
use super::{Hub, Woken};
use crate::action::run;
use crate::delivery::attempt::{self, settle};
use crate::delivery::message;
use crate::delivery::schedule::{self, Next};
use crate::error::{Error, Result};
use crate::event::agent;
use crate::http::Headers;
use crate::id::{self, Kind};
use crate::ports::{FetchError, read_row};
use crate::registry::{self, Entry};
use crate::store::delivery::{self, Delivery, Message};
use crate::store::destination::{self, Destination, Role};
use crate::store::event::{self, Event, Full};
use crate::time::{MINUTE, SECOND};
use crate::webhook::document;
use futures_util::future::join_all;
use serde_json::{Value, json};

/// How long a claim holds, in milliseconds: longer than all that one try does.
const LEASE: i64 = 2 * MINUTE;

/// Half the wait before a dispatch is begun again that failed before anything was sent; it doubles each time.
const PAUSE: i64 = 15 * SECOND;

/// Dispatches of one event before it counts as failed: about 14 hours.
const MAX_TRIES: i64 = 20;

/// An event with all that is read from it.
pub(super) struct Opened {
    pub(super) event: Event,
    pub(super) payload: Vec<u8>,
    pub(super) body: Value,
    /// What it can do besides receiving; none for integrations that were posted.
    pub(super) entry: Option<&'static Entry>,
}

impl Hub<'_> {
    /// Dispatches a pending event, if nobody else does.
    pub(super) async fn dispatch(&self, id: &str) -> Result<Option<i64>> {
        let now = self.ports.host.now();
        let holder = id::token(self.ports.host);
        let statements = vec![event::lease(id, &holder, now + LEASE, now), destination::enabled()];
        let mut results = self.ports.sql.batch(statements).await?.into_iter();
        let Some(row) = results.next().and_then(|rows| rows.into_iter().next()) else {
            return Ok(None);
        };
        let full: Full = read_row(row)?;
        let destinations: Vec<Destination> = results
            .next()
            .unwrap_or_default()
            .into_iter()
            .map(read_row)
            .collect::<Result<_>>()?;
        let tries = full.event.tries;
        match self.send_out(full, &destinations, &holder).await {
            Ok(wait) => Ok(wait),
            Err(error) => {
                self.log_failure(id, &error);
                let pause = PAUSE << tries.clamp(1, 8);
                let end = if tries < MAX_TRIES {
                    event::put_off(id, &holder, self.ports.host.now() + pause)
                } else {
                    event::fail(
                        id,
                        &holder,
                        &format!("it could not be dispatched: {}", error.public_detail()),
                    )
                };
                self.ports.sql.batch(vec![end]).await?;
                Ok((tries < MAX_TRIES).then_some(pause))
            }
        }
    }

    async fn send_out(&self, full: Full, destinations: &[Destination], holder: &str) -> Result<Option<i64>> {
        let opened = self.open(full).await?;
        let wanted = |d: &&Destination| d.wants(&opened.event.r#type, opened.event.owner.as_deref());
        let (agents, subscribers): (Vec<_>, Vec<_>) =
            destinations.iter().filter(wanted).partition(|d| d.role == Role::Agent);
        // An agent of the owner's own comes before one for everybody; then the oldest.
        let agent = agents.iter().find(|d| d.owner.is_some()).or(agents.first()).copied();
        let mut plan = match agent {
            Some(_) => self.plan(&opened).await?,
            None => Plan::none(None),
        };
        let mut due: Vec<(&Destination, Delivery)> = subscribers
            .into_iter()
            .map(|d| (d, self.new_delivery(&opened.event.id, d, Message::Event)))
            .collect();
        if let (Some(agent), Some(_)) = (agent, &plan.thread) {
            due.push((agent, self.new_delivery(&opened.event.id, agent, Message::Started)));
        }
        let tries = due
            .into_iter()
            .map(|(d, delivery)| self.try_once(&opened, &plan, d, delivery));
        let tried = join_all(tries).await;
        let mut statements = Vec::new();
        let mut waits = Vec::new();
        for (delivery, disabled) in &tried {
            if let Some(at) = delivery.due_at {
                waits.push((delivery.id.clone(), at.0 - self.ports.host.now().0));
            }
            if let Some(reason) = disabled {
                let disable = destination::disable(&delivery.destination_id, reason, delivery.updated_at);
                statements.push(disable);
            }
            if delivery.state == "skipped" {
                plan.decision.clone_from(&delivery.note);
                plan.thread = None;
            }
            statements.push(delivery::insert(delivery, Some(holder)));
        }
        let asked = plan.thread.is_some();
        let shown = plan.context.as_ref().map(|c| agent::public_context(c, asked));
        let decision = plan.decision.as_deref();
        statements.push(event::finish(&opened.event.id, holder, decision, shown.as_ref()));
        let count = waits.len();
        self.ports.sql.batch(statements).await?;
        for (id, wait) in waits {
            // What is too far off for the queue is left to the sweep.
            if let Woken::Again { after_s } = Woken::after(Some(wait.max(0))) {
                self.call_in(&id, after_s).await;
            }
        }
        self.log_dispatch(&opened.event, count);
        Ok(None)
    }

    /// Tries a delivery that is due again.
    pub(super) async fn deliver(&self, id: &str) -> Result<Option<i64>> {
        let now = self.ports.host.now();
        let holder = id::token(self.ports.host);
        let leased: Option<Delivery> = self
            .ports
            .sql
            .first(delivery::lease(id, &holder, now + LEASE, now))
            .await?;
        let Some(mut delivery) = leased else {
            return Ok(None);
        };
        let found = (
            event::find(&self.ports, &delivery.event_id).await?,
            destination::find(&self.ports, &delivery.destination_id).await?,
        );
        let mut statements = Vec::new();
        match found {
            (Some(full), Some(destination)) if destination.enabled => {
                let (tried, disabled) = self.try_later(full, &destination, delivery).await;
                delivery = tried;
                if let Some(reason) = disabled {
                    statements.push(destination::disable(&destination.id, reason, delivery.updated_at));
                }
                if let Some(note) = delivery.note.as_deref().filter(|_| delivery.state == "skipped") {
                    statements.push(event::set_decision(&delivery.event_id, note));
                }
            }
            _ => {
                settle(
                    &mut delivery,
                    Next::GiveUp("the destination was removed or switched off"),
                    now,
                );
            }
        }
        statements.push(delivery::finish(&delivery, &holder));
        let wait = delivery.due_at.map(|at| at.0 - self.ports.host.now().0);
        self.ports.sql.batch(statements).await?;
        Ok(wait)
    }

    /// One later try; what cannot even be prepared counts as one that failed.
    async fn try_later(
        &self,
        full: Full,
        destination: &Destination,
        delivery: Delivery,
    ) -> (Delivery, Option<&'static str>) {
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
            Err(error) => (self.put_off(delivery, &error), None),
        }
    }

    /// An event's payload as JSON (null where it is none), and its exact bytes.
    pub async fn document(&self, full: &Full) -> Result<(Value, Vec<u8>)> {
        let payload = full.payload(&self.ports).await?;
        // A definition that was removed leaves its events behind.
        let integration = self.integration(&full.event.service).await.ok();
        let webhook = integration.as_ref().and_then(|i| i.manifest().ok()?.webhook.as_ref());
        let field = webhook.and_then(|w| w.event.form_field.as_deref());
        let kind = full.event.content_type.as_deref().unwrap_or_default();
        let headers = Headers::from_pairs([("content-type", kind)]);
        Ok((
            document::parse(&headers, &payload, field).unwrap_or(Value::Null),
            payload,
        ))
    }

    async fn open(&self, full: Full) -> Result<Opened> {
        let (body, payload) = self.document(&full).await?;
        let event = full.event;
        let entry = registry::get(&event.service).ok();
        Ok(Opened {
            event,
            payload,
            body,
            entry,
        })
    }

    /// One try of one delivery: the row as it is afterwards, and why its destination is to be switched off, if it is.
    /// What goes wrong with one destination neither holds up nor repeats what goes to the others.
    async fn try_once(
        &self,
        opened: &Opened,
        plan: &Plan,
        destination: &Destination,
        mut delivery: Delivery,
    ) -> (Delivery, Option<&'static str>) {
        match self.send_one(opened, plan, destination, &mut delivery).await {
            Ok(disabled) => (delivery, disabled),
            Err(error) => {
                self.log_failure(&delivery.id, &error);
                (self.put_off(delivery, &error), None)
            }
        }
    }

    async fn send_one(
        &self,
        opened: &Opened,
        plan: &Plan,
        destination: &Destination,
        delivery: &mut Delivery,
    ) -> Result<Option<&'static str>> {
        let body = match (delivery.message, &plan.thread, &plan.context) {
            (Message::Event, _, _) => Some(message::event(&opened.event, &opened.body, &opened.payload)),
            (_, Some(thread), Some(context)) => self.letter(opened, destination, thread, context, delivery).await?,
            _ => {
                self.skip(delivery, plan.decision.clone());
                None
            }
        };
        match body {
            Some(body) => attempt::send(&self.ports, delivery, destination, body).await,
            None => Ok(None),
        }
    }

    /// Ends a delivery that is not to be sent.
    pub(super) fn skip(&self, delivery: &mut Delivery, why: Option<String>) {
        delivery.state = "skipped".to_owned();
        delivery.due_at = None;
        delivery.updated_at = self.ports.host.now();
        delivery.note = why;
    }

    /// A try that failed before anything was sent: later again, or given up with the cause.
    fn put_off(&self, mut delivery: Delivery, error: &Error) -> Delivery {
        let now = self.ports.host.now();
        delivery.attempts.push(delivery::Attempt {
            at: now,
            ms: 0,
            status: None,
            error: Some(error.public_detail()),
            reply: None,
        });
        let failed = Err(FetchError::Network(String::new()));
        let next = if error.retryable() {
            schedule::next(&failed, delivery.attempts.len(), now, run::jitter(&self.ports))
        } else {
            Next::GiveUp("it could not be prepared; see the attempt's error")
        };
        settle(&mut delivery, next, now);
        delivery
    }

    fn new_delivery(&self, event_id: &str, destination: &Destination, message: Message) -> Delivery {
        let now = self.ports.host.now();
        Delivery {
            id: id::new(Kind::Delivery, self.ports.host),
            event_id: event_id.to_owned(),
            destination_id: destination.id.clone(),
            conversation_id: None,
            message,
            state: "pending".to_owned(),
            attempts: Vec::new(),
            note: None,
            due_at: Some(now),
            created_at: now,
            updated_at: now,
        }
    }

    fn log_dispatch(&self, event: &Event, waiting: usize) {
        self.ports.host.log(&json!({
            "job": "dispatch",
            "trace_id": event.trace_id,
            "event_id": event.id,
            "service": event.service,
            "connection_id": event.connection_id,
            "waiting": waiting,
            "ms": self.ports.host.now().0 - event.received_at.0,
        }));
    }
}

//! Events out: from the outbox to the destinations that want them, and to the agent if they ask for it.

use super::converse::Plan;
use super::deliver::Tried;
use super::{Hub, Woken};
use crate::delivery::attempt::Health;
use crate::error::Result;
use crate::event::agent;
use crate::http::Headers;
use crate::id;
use crate::ports::read_row;
use crate::registry::{self, Entry};
use crate::store::delivery::{self, Delivery, Message};
use crate::store::destination::{self, Destination, Role};
use crate::store::event::{self, Event, Full, Replay};
use crate::time::{MINUTE, SECOND};
use crate::webhook::document;
use futures_util::future::join_all;
use serde_json::{Value, json};

/// How long a claim holds, in milliseconds: longer than all that one try does.
pub(super) const LEASE: i64 = 2 * MINUTE;

/// Half the wait before a dispatch is begun again that failed before anything was sent; it doubles each time.
const PAUSE: i64 = 15 * SECOND;

/// Dispatches of one event before it counts as failed: about 14 hours.
const MAX_TRIES: i64 = 20;

/// An event with all that is read from it.
pub(super) struct Opened {
    pub(super) event: Event,
    pub(super) payload: Vec<u8>,
    pub(super) body: Value,
    /// JSON text of the request's headers.
    pub(super) headers: String,
    /// What this dispatch repeats; none for the first.
    pub(super) replay: Option<Replay>,
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
        let only = opened.replay.as_ref().and_then(|r| r.destination_id.as_deref());
        let wanted = |d: &&Destination| d.wants(&opened.event) && only.is_none_or(|id| d.id == id);
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
            .filter_map(|d| Some((d, self.new_delivery(&opened, d, Message::Event)?)))
            .collect();
        if let (Some(agent), Some(_)) = (agent, &plan.thread) {
            due.extend(self.new_delivery(&opened, agent, Message::Started).map(|d| (agent, d)));
        }
        let tries = due
            .into_iter()
            .map(|(d, delivery)| self.first_try(&opened, &plan, d, delivery));
        let tried = join_all(tries).await;
        let mut statements = Vec::new();
        let mut waits = Vec::new();
        let mut told = Vec::new();
        for (destination, tried) in &tried {
            let delivery = &tried.delivery;
            if let Some(at) = delivery.due_at {
                waits.push((delivery.id.clone(), at.0 - self.ports.host.now().0));
            }
            statements.extend(self.health(destination, tried));
            if delivery.state == "skipped" {
                plan.decision.clone_from(&delivery.note);
                plan.thread = None;
            }
            statements.push(delivery::insert(delivery, Some(holder)));
            let (tell, run) = self.unreached(delivery).await?;
            statements.extend(tell);
            told.extend(run);
        }
        let asked = plan.thread.is_some();
        let shown = plan.context.as_ref().map(|c| agent::public_context(c, asked));
        let decision = plan.decision.as_deref();
        statements.push(event::finish(&opened.event.id, holder, decision, shown.as_ref()));
        let count = waits.len();
        self.ports.sql.batch(statements).await?;
        for id in told {
            self.call(&id).await;
        }
        for (id, wait) in waits {
            // What is too far off for the queue is left to the sweep.
            if let Woken::Again { after_s } = Woken::after(Some(wait.max(0))) {
                self.call_in(&id, after_s).await;
            }
        }
        self.log_dispatch(&opened.event, count);
        Ok(None)
    }

    /// The try that comes with the dispatch. What needs a claim of its own, because it keeps an order or acts at a
    /// service, is only written down.
    async fn first_try<'d>(
        &self,
        opened: &Opened,
        plan: &Plan,
        destination: &'d Destination,
        delivery: Delivery,
    ) -> (&'d Destination, Tried) {
        let waits = delivery.order_key.is_some() || destination.settings.target.is_some();
        let tried = if waits {
            Tried {
                delivery,
                health: Health::Unknown,
            }
        } else {
            self.try_once(opened, plan, destination, delivery).await
        };
        (destination, tried)
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

    pub(super) async fn open(&self, full: Full) -> Result<Opened> {
        let (body, payload) = self.document(&full).await?;
        let Full {
            event, headers, replay, ..
        } = full;
        let entry = registry::get(&event.service).ok();
        Ok(Opened {
            event,
            payload,
            body,
            headers,
            replay,
            entry,
        })
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

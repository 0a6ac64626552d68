//! Polls: made, changed, run by hand, and worked off by cron within what one tick may spend.

use super::Hub;
use super::heal::Late;
use crate::action::run::credential_of;
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::id::{self, Kind};
use crate::interval;
use crate::manifest::Manifest;
use crate::manifest::poll::PollingTrigger;
use crate::poll::budget::Meter;
use crate::poll::run::{Conditions, Ran};
use crate::poll::source::{self, Listing};
use crate::poll::{keeper, recover, run, schedule};
use crate::ports::{Stmt, read_row};
use crate::store::event::{self, Announcement};
use crate::store::poll::{self, Poll, State};
use crate::store::{audit, connection};
use crate::time::HOUR;
use crate::{settings, trace};
use futures_util::StreamExt;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What one run may ask for: pages, a token, the connection, and the statements that end it.
const SHARE: usize = 10;

/// What the end of a run may need: events in a few statements, the row, an announcement, the audit.
const END: usize = 5;

/// What a poll without news costs, about: how many are claimed at once for what is left of a tick.
const USUAL: usize = 3;

/// Most polls that are claimed at once.
const MOST_CLAIMED: usize = 50;

/// Polls that are asked at the same time. The platform waits for six answers at once, and a large feed takes memory.
const AT_ONCE: usize = 4;

/// Bytes of replies after which a tick begins no further poll: reading them is what takes its time.
const MOST_READ: usize = 24 * 1024 * 1024;

/// Overdue polls that one tick tells of.
const MOST_TOLD: i64 = 3;

/// What a poll is made from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPoll {
    /// The connection whose credential asks.
    #[serde(default)]
    pub connection_id: Option<String>,
    /// The integration, where no connection is needed.
    #[serde(default)]
    pub integration: Option<String>,
    /// The trigger of its manifest.
    pub trigger: String,
    /// What it asks for.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// How often, as `5m`; the manifest's interval where absent.
    #[serde(default)]
    pub interval: Option<String>,
    /// Items of the first run that become events; none where absent: what is there already is no news.
    #[serde(default)]
    pub backfill: u32,
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// Whose it is, where there is no connection.
    #[serde(default)]
    pub owner: Option<String>,
}

/// What a subscription is made from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSubscription {
    /// The connection that the service is to send to.
    pub connection_id: String,
    /// The subscription of its integration's manifest.
    pub subscription: String,
    /// What is subscribed to.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
}

/// What is changed of a poll; what is not there stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollChange {
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// How often.
    #[serde(default)]
    pub interval: Option<String>,
    /// Whether it rests.
    #[serde(default)]
    pub paused: Option<bool>,
}

impl Hub<'_> {
    /// Checks and stores a poll. Its first run is at the next tick. `may_use` says whether the caller sees an owner's
    /// connections.
    pub async fn create_poll(&self, new: NewPoll, may_use: &dyn Fn(Option<&str>) -> bool, actor: &str) -> Result<Poll> {
        let (name, owner) = self.poll_account(&new, may_use).await?;
        let integration = self.integration(&name).await?;
        let manifest = integration.manifest()?;
        let trigger = manifest.trigger(&new.trigger)?;
        if new.connection_id.is_none() {
            self.check_without_connection(manifest, trigger, owner.as_deref())?;
        }
        let handled = integration
            .handler()
            .and_then(|h| h.polling_trigger(&new.trigger))
            .is_some();
        if trigger.request.is_none() && !handled {
            return Err(Error::invalid(
                "/trigger",
                "is described alone: it needs a `request` in its manifest",
            ));
        }
        let inputs = Value::Object(new.inputs);
        integration.check_poll_inputs(&new.trigger, &inputs)?;
        let every = new.interval.as_deref().unwrap_or(&trigger.polling_interval);
        let now = self.ports.host.now();
        let poll = Poll {
            id: id::new(Kind::Poll, self.ports.host),
            kind: poll::Kind::Trigger,
            name: new.name.unwrap_or_else(|| format!("{name}.{}", new.trigger)),
            integration: manifest.name.clone(),
            part: new.trigger,
            connection_id: new.connection_id,
            owner,
            inputs,
            interval: interval::parse(every, "/interval")?,
            backfill: new.backfill.into(),
            due_at: Some(now),
            ..Poll::blank(now)
        };
        if poll.backfill > 0 && !trigger.can_backfill() {
            return Err(Error::invalid(
                "/backfill",
                "is not possible: this trigger begins from now on",
            ));
        }
        self.ports
            .sql
            .batch(vec![poll::insert(&poll), self.noted(&poll, "created", actor)])
            .await?;
        Ok(poll)
    }

    /// Whether a poll can do without a connection.
    fn check_without_connection(
        &self,
        manifest: &Manifest,
        trigger: &PollingTrigger,
        owner: Option<&str>,
    ) -> Result<()> {
        let as_app = trigger.recovers.as_ref().is_some_and(|rule| rule.app);
        if manifest.auth.is_some() && !as_app {
            let message = "is missing: this integration needs a connection";
            return Err(Error::invalid("/connection_id", message));
        }
        if trigger.recovers.is_some() && owner.is_some() {
            let message = "is not possible: the app's own deliveries are nobody's in particular; name a connection";
            return Err(Error::invalid("/owner", message));
        }
        // The app itself is asked, whose settings must then be there.
        if as_app {
            Credential::of_app(manifest, None, self.ports.host)?;
        }
        Ok(())
    }

    /// Checks and stores a subscription. It is made at the service at once, and if that fails with the next ticks.
    pub async fn create_subscription(
        &self,
        new: NewSubscription,
        may_use: &dyn Fn(Option<&str>) -> bool,
        actor: &str,
    ) -> Result<Poll> {
        let found = connection::find(&self.ports, &new.connection_id).await?;
        let found = found.filter(|c| may_use(c.owner.as_deref()));
        let found = found.ok_or_else(|| Error::invalid("/connection_id", "names no connection"))?;
        let integration = self.integration(&found.integration).await?;
        let manifest = integration.manifest()?;
        let subscription = manifest.subscription(&new.subscription)?;
        // What the service is then to send would be refused.
        let verifiable = manifest.webhook.is_none()
            || subscription.create.secret.is_some()
            || found.open(&self.ports)?.contains_key("webhook_secret");
        if !verifiable {
            return Err(Error::invalid(
                "/connection_id",
                "has no `webhook_secret`, with which deliveries are verified: set it first",
            ));
        }
        let inputs = Value::Object(new.inputs);
        integration.check_subscription_inputs(&new.subscription, &inputs)?;
        let now = self.ports.host.now();
        let row = Poll {
            id: id::new(Kind::Subscription, self.ports.host),
            kind: poll::Kind::Subscription,
            name: new
                .name
                .unwrap_or_else(|| format!("{}.{}", found.integration, new.subscription)),
            integration: found.integration,
            part: new.subscription,
            connection_id: Some(found.id),
            owner: found.owner,
            inputs,
            // What failures are counted by: they are tried again soon, for half the life is over.
            interval: HOUR / 4,
            due_at: Some(now),
            ..Poll::blank(now)
        };
        self.ports
            .sql
            .batch(vec![poll::insert(&row), self.noted(&row, "created", actor)])
            .await?;
        Ok(self.run_poll(&row.id).await?.unwrap_or(row))
    }

    /// Ends a subscription at the service, and forgets it.
    pub async fn delete_subscription(&self, row: &Poll, actor: &str) -> Result<()> {
        let ended = async {
            let integration = self.integration(&row.integration).await?;
            let manifest = integration.manifest()?;
            let credential = self.poll_credential(manifest, row).await?;
            let listing = Listing {
                ports: &self.ports,
                integration: &integration,
                manifest,
                credential: &credential,
                part: &row.part,
                inputs: &row.inputs,
            };
            keeper::end(&listing, row, &self.webhook_url_of(row)?).await
        };
        if let Err(error) = ended.await {
            // It then ends by itself.
            self.log_poll_failure(&row.id, &error);
        }
        self.delete_poll(row, actor).await
    }

    fn webhook_url_of(&self, row: &Poll) -> Result<String> {
        self.webhook_url(&row.integration, row.connection_id.as_deref().unwrap_or_default())
    }

    /// Stores the webhook secret that the service chose for a subscription.
    async fn keep_secret(&self, row: &Poll, secret: crate::secret::Secret) -> Result<()> {
        let id = row.connection_id.as_deref().unwrap_or_default();
        match connection::find(&self.ports, id).await? {
            Some(found) => connection::learn(&self.ports, &found, secret).await,
            None => Ok(()),
        }
    }

    /// The integration and the owner that a new poll is for.
    async fn poll_account(
        &self,
        new: &NewPoll,
        may_use: &dyn Fn(Option<&str>) -> bool,
    ) -> Result<(String, Option<String>)> {
        match (&new.connection_id, &new.integration) {
            (Some(id), None) => {
                let found = connection::find(&self.ports, id).await?;
                let found = found.filter(|c| may_use(c.owner.as_deref()));
                let found = found.ok_or_else(|| Error::invalid("/connection_id", "names no connection"))?;
                if new.owner.is_some() && new.owner != found.owner {
                    return Err(Error::invalid("/owner", "is the connection's owner; leave it out"));
                }
                Ok((found.integration, found.owner))
            }
            (None, Some(name)) => Ok((name.clone(), new.owner.clone())),
            _ => Err(Error::invalid("", "needs either `connection_id` or `integration`")),
        }
    }

    /// Changes a poll. A run that is on its way stores nothing, and is run again.
    pub async fn change_poll(&self, mut poll: Poll, change: PollChange, actor: &str) -> Result<Poll> {
        let now = self.ports.host.now();
        let read = poll.updated_at;
        let timed = change.paused.is_some() || change.interval.is_some();
        if let Some(every) = &change.interval {
            poll.interval = interval::parse(every, "/interval")?;
        }
        if let Some(name) = change.name {
            poll.name = name;
        }
        match change.paused {
            Some(true) => (poll.state, poll.due_at) = (State::Paused, None),
            Some(false) if poll.state == State::Paused => (poll.state, poll.due_at) = (State::Active, Some(now)),
            // The new interval counts from now; a failing poll keeps its pause.
            _ if change.interval.is_some() && poll.state == State::Active => poll.due_at = Some(now),
            _ => {}
        }
        poll.updated_at = now;
        let statements = vec![poll::change(&poll, read, timed), self.noted(&poll, "changed", actor)];
        let stored = self.ports.sql.batch(statements).await?.into_iter().next();
        let row = stored.and_then(|mut rows| rows.pop()).ok_or_else(|| {
            Error::Conflict("the poll was changed or deleted at the same moment; read it and try again".into())
        })?;
        read_row(row)
    }

    /// Forgets a poll. Its events stay.
    pub async fn delete_poll(&self, poll: &Poll, actor: &str) -> Result<()> {
        let statements = vec![poll::delete(&poll.id), self.noted(poll, "deleted", actor)];
        self.ports.sql.batch(statements).await?;
        Ok(())
    }

    /// Runs a poll now, due or not, and also one that rests or needs attention. None: it does not exist any more.
    pub async fn run_poll(&self, id: &str) -> Result<Option<Poll>> {
        let holder = id::token(self.ports.host);
        let claimed = poll::lease(&self.ports, id, &holder, self.ports.host.now()).await?;
        let Some(claimed) = claimed else {
            let there = poll::find(&self.ports, id).await?;
            return match there {
                Some(_) => Err(Error::Conflict(
                    "the poll is running at this moment; look at it again soon".into(),
                )),
                None => Ok(None),
            };
        };
        self.run_claimed(claimed, &holder).await.map(Some)
    }

    /// Works off the polls that are due, as far as `meter` allows.
    pub(super) async fn poll_due(&self, meter: &Meter<'_>) {
        let now = self.ports.host.now();
        let mut runs = 0;
        let mut spared = 0;
        if !self.may_poll().await {
            return;
        }
        if let Err(error) = self.tell_overdue().await {
            self.log_poll_failure("-", &error);
        }
        while meter.left() > SHARE && meter.read() < MOST_READ && self.may_poll().await {
            let holder = id::token(self.ports.host);
            let count = ((meter.left() - 2) / USUAL).clamp(1, MOST_CLAIMED);
            let claimed = match poll::lease_due(&self.ports, &holder, now, count).await {
                Ok(claimed) => claimed,
                Err(error) => return self.log_poll_failure("-", &error),
            };
            if claimed.is_empty() {
                break;
            }
            let all = claimed.len();
            let (begun, left) = self.run_all(claimed, &holder, meter).await;
            runs += begun;
            spared += left.len();
            if !left.is_empty() {
                let ids: Vec<&str> = left.iter().map(String::as_str).collect();
                if let Err(error) = self.ports.sql.batch(vec![poll::release(&holder, &ids)]).await {
                    self.log_poll_failure("-", &error.into());
                }
                break;
            }
            if all < count {
                break;
            }
        }
        if runs > 0 {
            let line = json!({"job": "polls", "runs": runs, "put_back": spared, "budget_left": meter.left()});
            self.ports.host.log(&line);
        }
    }

    /// Whether the day's budget lets polls run. Where it does not, they stay due, and nothing is asked or written.
    async fn may_poll(&self) -> bool {
        match self.has_rows_left().await {
            Ok(true) => true,
            Ok(false) => {
                self.ports
                    .host
                    .log(&json!({"job": "polls", "postponed": "today's budget of rows is used up"}));
                false
            }
            Err(error) => {
                self.log_poll_failure("-", &error);
                false
            }
        }
    }

    /// Runs what was claimed: first, side by side, the polls that ended well last time; then, one by one, those whose
    /// worker died, so that what ends the whole instance takes nothing else with it twice. What is left over for lack
    /// of budget is given back by id.
    async fn run_all(&self, claimed: Vec<Poll>, holder: &str, meter: &Meter<'_>) -> (usize, Vec<String>) {
        let (mut suspects, sound): (Vec<Poll>, Vec<Poll>) = claimed.into_iter().partition(|p| p.deaths > 1);
        suspects.sort_by_key(|p| p.deaths);
        let mut outcomes: Vec<Option<String>> = stream::iter(sound)
            .map(|poll| self.run_share(poll, holder, meter))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for poll in suspects {
            outcomes.push(self.run_share(poll, holder, meter).await);
        }
        let all = outcomes.len();
        let left: Vec<String> = outcomes.into_iter().flatten().collect();
        (all - left.len(), left)
    }

    /// Runs one with its share of the budget; gives its id where there is none left.
    async fn run_share(&self, poll: Poll, holder: &str, meter: &Meter<'_>) -> Option<String> {
        // One statement is kept for giving back what is not begun.
        if meter.left() <= SHARE || meter.read() >= MOST_READ {
            return Some(poll.id);
        }
        let share = meter.share(self.share_of(&poll, meter).await, END);
        let id = poll.id.clone();
        let hub = Hub::new(share.ports());
        if let Err(error) = hub.run_metered(poll, holder, &share).await {
            // The claim runs out by itself.
            self.log_poll_failure(&id, &error);
        }
        meter.put_back(&share);
        None
    }

    /// What a run may spend. Each delivery that never arrived is asked for by itself, and waits no longer than it must.
    async fn share_of(&self, poll: &Poll, meter: &Meter<'_>) -> usize {
        let integration = self.integration(&poll.integration).await;
        let manifest = integration.as_ref().ok().and_then(|i| i.manifest().ok());
        let trigger = manifest.and_then(|m| m.trigger(&poll.part).ok());
        match trigger.and_then(|t| t.recovers.as_ref()) {
            Some(_) => SHARE.max(meter.left() / 2),
            // Besides a token: whether it is there, a renewal, and what makes it anew.
            None if poll.kind == poll::Kind::Subscription => (SHARE + END).min(meter.left()),
            None => SHARE,
        }
    }

    async fn run_claimed(&self, poll: Poll, holder: &str) -> Result<Poll> {
        let share = Meter::strict(self.ports, settings::subrequests(self.ports.host), END);
        let hub = Hub::new(share.ports());
        hub.run_metered(poll, holder, &share).await
    }

    /// Runs a claimed poll, and stores what came of it with its events in one batch.
    async fn run_metered(&self, mut poll: Poll, holder: &str, share: &Meter<'_>) -> Result<Poll> {
        let started = self.ports.host.now();
        let before = poll.clone();
        let mut ran = if poll.deaths > schedule::DEATHS {
            run::stopped(&mut poll, started, "its runs ended the whole Worker, time after time")
        } else {
            self.look(&mut poll, share).await
        };
        if before.state == State::Paused {
            // Run by hand: whatever came of it is in its health, and it goes on resting until somebody wakes it.
            (poll.state, poll.due_at, ran.alarmed) = (State::Paused, None, false);
        }
        let mut statements = self.events_of(&poll, holder, &ran).await?;
        let stored_at = statements.len();
        statements.push(poll::finish(&poll, holder));
        statements.extend(self.announcements(&poll, &ran));
        let mut results = self.ports.sql.batch(statements).await?.into_iter();
        let new: Vec<Value> = results.by_ref().take(stored_at).flatten().collect();
        let stored = results.next().is_some_and(|rows| !rows.is_empty());
        self.log_run(&poll, &ran, new.len(), stored, started.0);
        if !stored {
            // Somebody changed or deleted it meanwhile; nothing of this run counts.
            return Ok(before);
        }
        self.count_poll(new.len());
        self.call_for(&new).await;
        poll.lease_until = None;
        Ok(poll)
    }

    /// Asks the service. What cannot even be asked is a failed run.
    async fn look(&self, poll: &mut Poll, share: &Meter<'_>) -> Ran {
        let jitter = crate::action::jitter(&self.ports);
        let conditions = Conditions {
            now: &|| self.ports.host.now(),
            may_ask: &|| share.left() > END,
            jitter,
        };
        let (integration, inputs) = match self.integration(&poll.integration).await {
            Ok(integration) => (integration, poll.inputs.clone()),
            Err(error) => return run::failed(poll, &error, &conditions),
        };
        let prepared = async {
            let manifest = integration.manifest()?;
            let credential = self.poll_credential(manifest, poll).await?;
            Ok::<_, Error>((manifest, credential))
        };
        let (manifest, credential) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return run::failed(poll, &error, &conditions),
        };
        let listing = Listing {
            ports: &self.ports,
            integration: &integration,
            manifest,
            credential: &credential,
            part: &poll.part.clone(),
            inputs: &inputs,
        };
        if poll.kind == poll::Kind::Subscription {
            return match self.webhook_url_of(poll) {
                Ok(url) => self.tend(&listing, poll, &url, &conditions).await,
                Err(error) => run::failed(poll, &error, &conditions),
            };
        }
        let source = match source::of(&listing) {
            Ok(source) => source,
            Err(error) => return run::failed(poll, &error, &conditions),
        };
        let Some(rule) = manifest.trigger(&poll.part).ok().and_then(|t| t.recovers.as_ref()) else {
            return run::run(source.as_ref(), poll, &conditions).await;
        };
        let inbox = Late {
            hub: self,
            listing: &listing,
            rule,
            poll: poll.clone(),
        };
        recover::run(source.as_ref(), &inbox, poll, &conditions).await
    }

    async fn tend(&self, listing: &Listing<'_>, poll: &mut Poll, url: &str, conditions: &Conditions<'_>) -> Ran {
        let before = poll.clone();
        let tended = keeper::tend(listing, poll, url, conditions).await;
        let Some(secret) = tended.secret else { return tended.ran };
        // Before the rest: a subscription whose secret is lost is worth nothing, and is made again.
        match self.keep_secret(poll, secret).await {
            Ok(()) => tended.ran,
            Err(error) => {
                *poll = before;
                run::failed(poll, &error, conditions)
            }
        }
    }

    async fn poll_credential(&self, manifest: &Manifest, poll: &Poll) -> Result<crate::credential::Credential> {
        let mut credential = credential_of(&self.ports, manifest, poll.connection_id.as_deref(), None).await?;
        let trigger = manifest.polling_triggers.get(&poll.part);
        credential.asserts = trigger.and_then(|t| t.recovers.as_ref()).is_some_and(|rule| rule.app);
        if credential.asserts {
            credential.grant = None;
        }
        Ok(credential)
    }

    /// The statements that store a run's items as events, as long as `holder` has the claim. An item that does not fit
    /// the manifest's schema becomes an event of the type with `.unfit` behind it: nothing is lost, and nobody who
    /// counts on the schema gets it.
    async fn events_of(&self, poll: &Poll, holder: &str, ran: &Ran) -> Result<Vec<Stmt>> {
        if ran.items.is_empty() {
            return Ok(Vec::new());
        }
        let integration = self.integration(&poll.integration).await?;
        let mut drafts = Vec::with_capacity(ran.items.len());
        for item in &ran.items {
            let fits = integration.check_poll_output(&poll.part, &item.data).is_ok();
            drafts.push(crate::event::EventDraft {
                delivery_id: item.id.clone(),
                kind: if fits {
                    poll.part.clone()
                } else {
                    format!("{}.unfit", poll.part)
                },
                subject: item.subject.clone(),
                account: None,
                occurred_at: item.occurred_at,
                item: Some(item.data.to_string()),
            });
        }
        let trace_id = trace::random(self.ports.host);
        event::of_poll(&self.ports, poll, holder, &trace_id, &drafts).await
    }

    /// What the run has to tell: the poll needs attention, or something may have been missed.
    fn announcements(&self, poll: &Poll, ran: &Ran) -> Vec<Stmt> {
        let since = poll.failing_since.map_or(0, |at| at.0);
        let (alarm, gap) = match poll.kind {
            poll::Kind::Trigger => ("poll.needs_attention", "poll.gap"),
            poll::Kind::Subscription => ("subscription.failing", "subscription.lost"),
        };
        let told = [
            (ran.alarmed, alarm, since),
            (ran.gap, gap, poll.last_run_at.map_or(0, |at| at.0)),
        ];
        let due = told.into_iter().filter(|(is, _, _)| *is);
        due.map(|(_, kind, at)| {
            let data = json!({
                "id": poll.id, "name": poll.name, "integration": poll.integration, "part": poll.part,
                "connection_id": poll.connection_id, "failures": poll.failures, "last_error": poll.last_error,
                "next_due_at": poll.due_at.map(|at| at.rfc3339()),
                "expires_at": keeper::Kept::of(poll).and_then(|kept| kept.expires_at).map(|at| at.rfc3339()),
            });
            let once = format!("{kind}:{}:{at}", poll.id);
            self.announced(&poll.id, poll.owner.as_deref(), kind, &once, &data)
        })
        .collect()
    }

    fn announced(&self, subject: &str, owner: Option<&str>, kind: &str, once: &str, data: &Value) -> Stmt {
        let announcement = Announcement {
            kind,
            subject,
            owner,
            once,
            data,
        };
        event::announce(self.ports.host, &announcement)
    }

    /// Tells of polls that should have run long ago: more are due than ticks can do, or cron stood still.
    async fn tell_overdue(&self) -> Result<()> {
        let told_by = format!("app:{}", event::OWN_SERVICE);
        let now = self.ports.host.now();
        let late: Vec<poll::Overdue> = self.ports.sql.rows(poll::overdue(now, &told_by, MOST_TOLD)).await?;
        if late.is_empty() {
            return Ok(());
        }
        let statements = late.iter().map(|late| {
            let data = json!({
                "id": late.id, "name": late.name, "due_at": late.due_at.rfc3339(),
                "late_s": (now.0 - late.due_at.0) / 1_000,
            });
            let once = format!("poll.overdue:{}:{}", late.id, late.due_at.0);
            self.announced(&late.id, late.owner.as_deref(), "poll.overdue", &once, &data)
        });
        self.ports.sql.batch(statements.collect()).await?;
        Ok(())
    }

    /// Wakes the dispatcher for the new events: `edge` hands them to the queue a hundred at a time.
    async fn call_for(&self, new: &[Value]) {
        for id in new.iter().filter_map(|row| row.get("id").and_then(Value::as_str)) {
            self.call(id).await;
        }
    }

    fn noted(&self, poll: &Poll, what: &str, actor: &str) -> Stmt {
        let entry = audit::Entry {
            actor,
            act: &format!("{}.{what}", poll.kind.noun()),
            subject: &poll.id,
            owner: poll.owner.as_deref(),
            detail: &json!({"integration": poll.integration, "part": poll.part, "connection_id": poll.connection_id}),
        };
        audit::append_if_changed(self.ports.host, entry)
    }

    fn log_run(&self, poll: &Poll, ran: &Ran, new: usize, stored: bool, started: i64) {
        self.ports.host.log(&json!({
            "job": "poll", "poll_id": poll.id, "service": poll.integration, "connection_id": poll.connection_id,
            "pages": ran.pages, "items": ran.items.len(), "recovered": ran.recovered,
            "skipped": poll.progress.skipped.len(), "new": new, "stored": stored, "failures": poll.failures,
            "code": poll.last_error.as_ref().and_then(|e| e.get("code")),
            "ms": self.ports.host.now().0 - started,
        }));
    }

    fn log_poll_failure(&self, id: &str, error: &Error) {
        self.ports.host.log(&json!({
            "level": "error", "job": "poll", "poll_id": id, "code": error.code(), "message": error.to_string(),
        }));
    }
}

//! A circuit breaker per connection and host, in the isolate's memory: a service that is down is left alone for a
//! while, instead of every call waiting for its own timeout.

use crate::ports::Ports;
use crate::secret::Secret;
use crate::time::{MINUTE, SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
const OPENS_AT: u32 = 5;
/// First pause, doubled with every failed trial.
const PAUSE: i64 = 30 * SECOND;
/// Longest pause.
const MAX_PAUSE: i64 = 5 * MINUTE;
/// How long failures are remembered.
const MEMORY: i64 = 10 * MINUTE;
/// How long a trial may take before the next may go.
const TRIAL: i64 = 20 * SECOND;

/// What is known of one host.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct State {
    failures: u32,
    /// Until when nothing is sent, once it is open.
    open_until: Option<i64>,
    pause: i64,
}

/// The breaker of one connection at one host.
pub struct Breaker<'a> {
    ports: &'a Ports<'a>,
    key: String,
}

impl<'a> Breaker<'a> {
    /// The breaker of this connection (or app) at this host.
    pub fn new(ports: &'a Ports<'a>, source: &str, host: &str) -> Self {
        let key = format!("breaker|{source}|{host}");
        Self { ports, key }
    }

    /// Whether a request may be sent. If not, milliseconds until one may. After the pause one call goes first; the
    /// others wait for what it finds.
    pub fn admit(&self) -> Result<(), i64> {
        let now = self.ports.host.now();
        let Some(mut state) = self.read(now) else { return Ok(()) };
        let Some(open_until) = state.open_until else {
            return Ok(());
        };
        if now.0 < open_until {
            return Err(open_until - now.0);
        }
        state.open_until = Some(now.0 + TRIAL);
        self.write(&state, now);
        Ok(())
    }

    /// Tells it what became of the request.
    pub fn saw(&self, alive: bool) {
        let now = self.ports.host.now();
        if alive {
            return self.ports.cache.remove(&self.key);
        }
        let mut state = self.read(now).unwrap_or_default();
        state.failures += 1;
        if state.failures >= OPENS_AT {
            state.pause = (state.pause * 2).clamp(PAUSE, MAX_PAUSE);
            state.open_until = Some(now.0 + state.pause);
        }
        self.write(&state, now);
    }

    fn read(&self, now: Timestamp) -> Option<State> {
        serde_json::from_str(self.ports.cache.get(&self.key, now)?.expose()).ok()
    }

    fn write(&self, state: &State, now: Timestamp) {
        if let Ok(text) = serde_json::to_string(state) {
            self.ports.cache.put(&self.key, Secret::new(text), now + MEMORY);
        }
    }
}

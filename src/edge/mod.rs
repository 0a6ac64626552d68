//! The border to Cloudflare's runtime: the three events, and one adapter per port. The only place that knows the
//! `worker` crate and JavaScript; it decides nothing.
//!
//! Nothing here may panic: with `panic = "abort"` that also fails the requests beside it. Hence the JavaScript objects
//! are called through bindings that catch, and not through those wrappers of `worker` that unwrap. Should it happen
//! all the same, `entry.js` answers.

mod body;
mod cache;
mod crypto;
mod fault;
mod fetch;
mod host;
mod http;
mod js;
mod kv;
mod meter;
mod pack;
mod queue;
mod scripts;
mod sql;
mod stream;

use crate::http::Response;
use crate::hub::{Hub, Woken};
use crate::ports::{Host, Ports};
use crate::{api, error::Error, problem, trace};
use futures_util::future::join_all;
use worker::{Context, Env, MessageBatch, MessageExt, QueueRetryOptionsBuilder, RawMessage, ScheduleContext};
use worker::{ScheduledEvent, event};

/// One adapter per port, for one event.
struct Adapters<'a> {
    sql: sql::D1<'a>,
    fetch: fetch::Outbound,
    blobs: kv::Kv<'a>,
    queue: queue::WakeQueue<'a>,
    crypto: crypto::WebCrypto,
    cache: cache::IsolateCache,
    keys: cache::PublishedKeys,
    host: host::Runtime<'a>,
    limiter: meter::RateLimiter<'a>,
    scripts: scripts::Loader<'a>,
}

impl<'a> Adapters<'a> {
    fn new(env: &'a Env) -> Self {
        fault::report_panics();
        Self {
            sql: sql::D1(env),
            fetch: fetch::Outbound,
            blobs: kv::Kv(env),
            queue: queue::WakeQueue(env),
            crypto: crypto::WebCrypto,
            cache: cache::IsolateCache,
            keys: cache::PublishedKeys,
            host: host::Runtime(env),
            limiter: meter::RateLimiter(env),
            scripts: scripts::Loader(env),
        }
    }

    fn ports(&self) -> Ports<'_> {
        Ports {
            sql: &self.sql,
            fetch: &self.fetch,
            blobs: &self.blobs,
            packer: &pack::Brotli,
            queue: &self.queue,
            crypto: &self.crypto,
            cache: &self.cache,
            keys: &self.keys,
            host: &self.host,
            timer: &self.host,
            limiter: &self.limiter,
            tally: &meter::IsolateTally,
            scripts: &self.scripts,
        }
    }
}

/// One request. `Err` is a reply that not even a problem could be made of, and cannot happen.
#[event(fetch)]
async fn on_request(request: web_sys::Request, env: Env, _: Context) -> Result<web_sys::Response, String> {
    let adapters = Adapters::new(&env);
    let with_body = request.method() != "HEAD";
    let response = match http::head(&request) {
        Ok(head) => {
            let body = body::Incoming::new(request, &head.headers);
            let response = api::handle(&adapters.ports(), &head, &body).await;
            body.discard_unread();
            response
        }
        Err(error) => refusal(&adapters.host, &error),
    };
    http::response(&response, with_body)
        .or_else(|why| http::response(&refusal(&adapters.host, &Error::Internal(why)), with_body))
}

/// The reply to a request that the engine has no words for.
fn refusal(host: &dyn Host, error: &Error) -> Response {
    let trace_id = trace::random(host);
    let mut response = problem::respond(error, &trace_id);
    response.headers.set("x-trace-id", &trace_id);
    host.log(&serde_json::json!({
        "level": if error.status() < 500 { "info" } else { "error" },
        "job": "request", "trace_id": trace_id, "status": error.status(), "code": error.code(), "message": error.to_string(),
    }));
    response
}

/// Cron: what is due and was not woken.
#[event(scheduled)]
async fn on_schedule(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    let adapters = Adapters::new(&env);
    Hub::new(adapters.ports()).tick().await;
}

/// Messages wake single jobs. `Err` would panic in the macro's code, so that each message is settled by itself.
#[event(queue)]
async fn on_messages(batch: MessageBatch<String>, env: Env, _: Context) -> worker::Result<()> {
    let adapters = Adapters::new(&env);
    let hub = Hub::new(adapters.ports());
    join_all(batch.raw_iter().map(|message| settle(&hub, message))).await;
    Ok(())
}

async fn settle(hub: &Hub<'_>, message: RawMessage) {
    // What is not text cannot be ours.
    let Some(id) = message.body().as_string() else {
        return message.ack();
    };
    match hub.wake(&id).await {
        Woken::Done => message.ack(),
        Woken::Again { after_s } => {
            let delay = QueueRetryOptionsBuilder::new().with_delay_seconds(after_s.min(queue::MAX_DELAY_S));
            message.retry_with_options(&delay.build());
        }
    }
}

//! The floor for a Worker in Rust: what `empty.js` is for one in JavaScript.

use worker::{Context, Env, Request, Response, Result, event};

#[event(fetch)]
async fn fetch(_: Request, _: Env, _: Context) -> Result<Response> {
    Response::ok("ok")
}

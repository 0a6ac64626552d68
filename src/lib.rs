//! Patchbay: an integration hub that runs as one Cloudflare Worker.
//!
//! The engine is plain Rust that asks [`ports`] for time, randomness, SQL and the network; `edge` (wasm only) is the
//! one place that knows the platform. Who may use whom, from the outside in: `edge`, `api`, `hub`, then `webhook`,
//! `event`, `credential`, `action` and `delivery`, then `registry`, `manifest`, `template` and `store`, then `ports`,
//! then `http`, `secret`, `time`, `id` and `error`. `docs/architecture.md` has the map and the reasons.

pub mod action;
pub mod api;
pub mod credential;
pub mod delivery;
pub mod error;
pub mod event;
pub mod http;
pub mod hub;
pub mod id;
pub mod interval;
pub mod manifest;
pub mod markup;
pub mod oauth;
pub mod poll;
pub mod ports;
pub mod problem;
pub mod registry;
pub mod schema;
pub mod sdk;
pub mod secret;
pub mod settings;
pub mod store;
pub mod template;
pub mod time;
pub mod trace;
pub mod webhook;

pub use error::{Error, Result};

#[cfg(target_arch = "wasm32")]
mod edge;

//! The manifest: what a service is, as data. One `integrations/<service>/manifest.json` per service.
//!
//! A superset of source 002's `config.json`. Unknown keys are errors, so that a misspelt one cannot be overlooked.

pub mod webhook;

//! Deliveries: signed messages to the user's programs, tried again until they arrive or are given up.

pub mod attempt;
pub mod filter;
pub mod message;
pub mod schedule;
pub mod sign;
pub mod view;

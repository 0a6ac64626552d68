//! Actions: one typed call of a service, with the right credential, repeated only when that is safe.

pub mod breaker;
pub mod build;
pub mod call;
pub mod caller;
pub mod defaults;
pub mod dns;
pub mod egress;
pub mod form;
pub mod handler;
pub mod live;
mod paging;
pub mod perform;
pub mod reply;
pub mod retry;
pub mod run;

use crate::ports::Ports;

/// A random number in 0..1.
pub fn jitter(ports: &Ports<'_>) -> f64 {
    let mut bytes = [0u8; 2];
    ports.host.random(&mut bytes);
    f64::from(u16::from_be_bytes(bytes)) / 65_536.0
}

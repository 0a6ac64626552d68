//! Actions: one typed call of a service, with the right credential, repeated only when that is safe.

pub mod call;
pub mod egress;
pub mod retry;
pub mod run;

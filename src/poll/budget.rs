//! What one tick may spend. The platform stops an invocation that asks too much of the outside, in the middle of
//! whatever it does; so the hub counts, and stops before that.

use crate::http::{Request, Response};
use crate::ports::{Fetch, FetchError, Limits, Ports, Rows, Sql, SqlError, Stmt};
use async_trait::async_trait;
use std::cell::Cell;

/// The ports of a job, counted: each request to the outside and each statement is one.
pub struct Meter<'a> {
    inner: Ports<'a>,
    left: Cell<usize>,
    read: Cell<usize>,
    /// Whether what is over the allowance is refused, or only counted.
    strict: bool,
    /// What requests to the outside leave for the statements that end the job.
    reserve: usize,
}

impl<'a> Meter<'a> {
    /// A meter that counts down from `allowance`, and refuses nothing.
    pub fn counting(inner: Ports<'a>, allowance: usize) -> Self {
        Self::new(inner, allowance, false, 0)
    }

    /// A meter that refuses what is over `allowance`, and requests already once only `reserve` is left.
    pub fn strict(inner: Ports<'a>, allowance: usize, reserve: usize) -> Self {
        Self::new(inner, allowance, true, reserve)
    }

    fn new(inner: Ports<'a>, allowance: usize, strict: bool, reserve: usize) -> Self {
        Self {
            inner,
            left: Cell::new(allowance),
            read: Cell::new(0),
            strict,
            reserve,
        }
    }

    /// The ports, counted.
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            sql: self,
            fetch: self,
            ..self.inner
        }
    }

    /// What is left of the allowance.
    pub fn left(&self) -> usize {
        self.left.get()
    }

    /// Bytes of replies so far: most of what a poll costs in time is reading them.
    pub fn read(&self) -> usize {
        self.read.get()
    }

    /// A part of the allowance, set aside for one job that cannot take more.
    pub fn share(&self, part: usize, reserve: usize) -> Meter<'a> {
        self.left.set(self.left.get().saturating_sub(part));
        Meter::strict(self.inner, part, reserve)
    }

    /// Puts back what a share did not need, and counts what it read.
    pub fn put_back(&self, share: &Meter<'_>) {
        self.left.set(self.left.get() + share.left());
        self.read.set(self.read.get() + share.read());
    }

    fn may_send(&self) -> Result<(), FetchError> {
        let spared = self.strict && self.left.get() <= self.reserve;
        match !spared && self.take(1) {
            true => Ok(()),
            false => Err(FetchError::Network(
                "not sent: this job's share of a tick is used up".to_owned(),
            )),
        }
    }

    fn take(&self, count: usize) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(count));
        left >= count || !self.strict
    }
}

#[async_trait(?Send)]
impl Sql for Meter<'_> {
    async fn batch(&self, statements: Vec<Stmt>) -> Result<Vec<Rows>, SqlError> {
        if !self.take(statements.len()) {
            let message = "not asked: this job's share of a tick is used up".to_owned();
            return Err(SqlError { message });
        }
        self.inner.sql.batch(statements).await
    }
}

#[async_trait(?Send)]
impl Fetch for Meter<'_> {
    async fn send(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        self.may_send()?;
        let reply = self.inner.fetch.send(request, limits).await;
        let bytes = reply.as_ref().map_or(0, |reply| reply.body.len());
        self.read.set(self.read.get() + bytes);
        reply
    }

    async fn send_for_status(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        self.may_send()?;
        self.inner.fetch.send_for_status(request, limits).await
    }
}

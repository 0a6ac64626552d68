//! What the engine asks of the outside. It does no I/O itself; these traits are all that it knows of the world.
//!
//! Limits of the platform stand beside the port that has them; the test doubles in `tests/support` enforce the same.

use crate::http::{Request, Response};
use crate::secret::Secret;
use crate::time::Timestamp;
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

/// Longest text or blob that the hub puts into one D1 row, in bytes. D1's own limit is 2,000,000 for the whole row.
pub const MAX_ROW_PAYLOAD: usize = 1_000_000;
/// Most values that one D1 statement binds.
pub const MAX_BOUND_PARAMETERS: usize = 100;
/// Largest value that KV takes, in bytes.
pub const MAX_BLOB: usize = 25 * 1024 * 1024;

/// One value bound to a statement. D1 has no 64-bit integers on its border: whole numbers must fit 53 bits.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// SQL `NULL`.
    Null,
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes. They cross D1's border as a list of numbers: use only for what is not text.
    Blob(Vec<u8>),
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Param {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Param {
    fn from(truth: bool) -> Self {
        Self::Int(i64::from(truth))
    }
}

impl From<Timestamp> for Param {
    fn from(time: Timestamp) -> Self {
        Self::Int(time.0)
    }
}

impl<T: Into<Param>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One SQL statement. Its text is part of the program: none can be built from input.
#[derive(Debug, Clone)]
pub struct Stmt {
    /// The text, beginning with a comment that names the function it belongs to.
    pub sql: &'static str,
    /// The values of `?1`, `?2`, …
    pub params: Vec<Param>,
}

impl Stmt {
    /// A statement with its values.
    pub fn new(sql: &'static str, params: impl IntoIterator<Item = Param>) -> Self {
        Self {
            sql,
            params: params.into_iter().collect(),
        }
    }
}

/// The rows of one statement, each an object by column name.
pub type Rows = Vec<Value>;

/// Why the database did not do it. The text is for the log.
#[derive(Debug, Clone, Error)]
#[error("database: {message}")]
pub struct SqlError {
    /// What the database said.
    pub message: String,
}

impl SqlError {
    /// Whether a unique index refused the row.
    pub fn is_unique_violation(&self) -> bool {
        self.message.contains("UNIQUE constraint failed")
    }

    /// Whether a statement that guards its batch undid it.
    pub fn is_undone(&self) -> bool {
        self.message.contains("malformed JSON")
    }
}

impl From<SqlError> for crate::Error {
    fn from(error: SqlError) -> Self {
        // Out of reach, overloaded or refused: whichever it is, the caller must come back rather than believe that
        // something was stored. The cause is logged by the adapter that saw it.
        let _ = error;
        Self::temporary("the database is out of reach; nothing was stored, please try again")
    }
}

/// The database.
#[async_trait(?Send)]
pub trait Sql {
    /// Runs the statements in order in one transaction: all or none take effect. Never called with none.
    async fn batch(&self, statements: Vec<Stmt>) -> Result<Vec<Rows>, SqlError>;

    /// Runs one statement that asks nothing of those beside it: it may go in one transaction with what other requests
    /// hand over at the same moment, and succeeds or fails by itself all the same. Where the reply to all of them is lost
    /// it is run once more: the rows are then those of the second time.
    async fn share(&self, statement: Stmt) -> Result<Rows, SqlError> {
        Ok(self.batch(vec![statement]).await?.pop().unwrap_or_default())
    }
}

impl dyn Sql + '_ {
    /// Runs one statement and reads its rows.
    pub async fn rows<T: DeserializeOwned>(&self, statement: Stmt) -> crate::Result<Vec<T>> {
        let rows = self.batch(vec![statement]).await?.pop().unwrap_or_default();
        rows.into_iter().map(read_row).collect()
    }

    /// Runs one statement and reads its first row, if any.
    pub async fn first<T: DeserializeOwned>(&self, statement: Stmt) -> crate::Result<Option<T>> {
        Ok(self.rows(statement).await?.into_iter().next())
    }
}

/// A row as a typed value; a mismatch is a fault of ours.
pub fn read_row<T: DeserializeOwned>(row: Value) -> crate::Result<T> {
    serde_json::from_value(row).map_err(|e| crate::Error::Internal(format!("a row does not fit its type: {e}")))
}

/// How far an outgoing request may go.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Milliseconds until the reply's body has ended.
    pub timeout_ms: u32,
    /// Most bytes of the reply that are read; more is an error.
    pub max_bytes: usize,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FetchError {
    /// The time limit passed. Whether the other side acted is not known.
    #[error("no answer within the time limit")]
    Timeout,
    /// No connection, or it broke. Whether the other side acted is not known.
    #[error("network error: {0}")]
    Network(String),
    /// The reply is larger than the limit.
    #[error("the reply is larger than {0} bytes")]
    TooLarge(usize),
}

/// Outgoing HTTP. Redirects are never followed: a 3xx is the reply.
#[async_trait(?Send)]
pub trait Fetch {
    /// Sends one request and reads its whole reply.
    async fn send(&self, request: Request, limits: Limits) -> Result<Response, FetchError>;

    /// Sends one request whose reply's status is all that counts: a body that is too large, too slow or breaks off is there
    /// as far as it came. Where a port does not know how, it is as [`Self::send`].
    async fn send_for_status(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        self.send(request, limits).await
    }
}

/// A store for what is too large for a row. Read-after-write holds for a key written once; there is no
/// compare-and-swap, and another region may see "not there" for a minute: never lock or de-duplicate with it.
#[async_trait(?Send)]
pub trait Blobs {
    /// Stores bytes under a key that is never written twice.
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), SqlError>;
    /// The bytes, or none.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, SqlError>;
    /// Forgets them.
    async fn delete(&self, key: &str) -> Result<(), SqlError>;
}

/// Compression by the platform: in wasm it takes several times as long.
pub trait Packer {
    /// The bytes compressed (Brotli, RFC 7932), as base64: D1 takes bytes as a list of numbers, text as it is. None where
    /// the platform does not do it.
    fn pack(&self, bytes: &[u8]) -> Option<String>;
    /// The bytes that were packed; none if the text does not hold such, or more than `most`.
    fn unpack(&self, text: &str, most: usize) -> Option<Vec<u8>>;
}

/// The queue that wakes the dispatcher. A message is only a hint: the truth is in the database, and a lost one is
/// found by the sweep.
#[async_trait(?Send)]
pub trait Queue {
    /// Asks that `id` be looked at after `delay_s` seconds (at most 12 hours).
    async fn wake(&self, id: &str, delay_s: u32) -> Result<(), String>;
}

/// Cryptography that is done by the platform because it is slow in wasm.
#[async_trait(?Send)]
pub trait Crypto {
    /// HMAC over the parts, one after another. None where the platform does not do it: the caller then does.
    async fn hmac(&self, hash: RsaHash, key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
        let _ = (hash, key, parts);
        None
    }
    /// RSASSA-PKCS1-v1_5 with SHA-256 over `data`, with a private key in PKCS#8 DER.
    async fn sign_rs256(&self, pkcs8_der: &[u8], data: &[u8]) -> Result<Vec<u8>, CryptoError>;
    /// Whether `signature` (RSASSA-PKCS1-v1_5) over `data` fits the public key in SPKI DER.
    async fn verify_rsa(
        &self,
        hash: RsaHash,
        spki_der: &[u8],
        signature: &[u8],
        data: &[u8],
    ) -> Result<bool, CryptoError>;
    /// Whether `signature` (ECDSA P-256 with SHA-256, raw `r‖s`, 64 bytes) over `data` fits the public key in SPKI DER.
    async fn verify_p256(&self, spki_der: &[u8], signature: &[u8], data: &[u8]) -> Result<bool, CryptoError>;
}

/// The digest of an RSA signature or an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the digest it is named after")]
pub enum RsaHash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// A key that cannot be used. Never holds the key.
#[derive(Debug, Clone, Error)]
#[error("the key cannot be used: {0}")]
pub struct CryptoError(pub String);

/// Why there is no published key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The service says that there is no such key.
    #[error("the service has no such key")]
    NotFound,
    /// It cannot be reached now, or answered nonsense.
    #[error("{0}")]
    Unavailable(String),
}

/// Keys that services publish: JWK sets and certificates.
#[async_trait(?Send)]
pub trait KeySource {
    /// The document at an https URL whose host the caller has checked. With `json` the request is a POST of it. With
    /// `fresh` a cached copy is not good enough, because it lacks a key that a token names; the source may still
    /// answer from its cache if it asked a moment ago, so that unknown key ids cannot drive fetches.
    async fn document(&self, url: &str, json: Option<&Value>, fresh: bool) -> Result<Vec<u8>, KeyError>;
}

/// The isolate's memory: a hint that may be empty at any time, never shared between isolates, never a lock.
pub trait Cache {
    /// What was kept under `key`, unless its time is over.
    fn get(&self, key: &str, now: Timestamp) -> Option<Secret>;
    /// Keeps `value` until `until`.
    fn put(&self, key: &str, value: Secret, until: Timestamp);
    /// Forgets it.
    fn remove(&self, key: &str);
}

/// The rest of the world: clock, randomness, settings, log.
pub trait Host {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// Fills `bytes` from a cryptographic source.
    fn random(&self, bytes: &mut [u8]);
    /// A variable of the Worker, by name.
    fn var(&self, name: &str) -> Option<String>;
    /// Bytes as text, by the name of their character encoding (<https://encoding.spec.whatwg.org/#names-and-labels>);
    /// none where the name is unknown. What does not fit becomes U+FFFD. By the platform: tables of encodings are large.
    fn decode(&self, label: &str, bytes: &[u8]) -> Option<String> {
        label
            .eq_ignore_ascii_case("utf-8")
            .then(|| String::from_utf8_lossy(bytes).into_owned())
    }
    /// Writes one JSON line. Callers never put a payload, a header value or a secret into it.
    fn log(&self, line: &Value);

    /// A secret of the Worker, by name; an empty one counts as missing.
    fn secret(&self, name: &str) -> Option<Secret> {
        self.var(name).map(Secret::new).filter(|s| !s.is_empty())
    }
}

/// Waiting, which a plain function cannot do.
#[async_trait(?Send)]
pub trait Timer {
    /// Comes back after so many milliseconds.
    async fn sleep(&self, millis: u32);
}

/// Why a script gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// There is nowhere to run it.
    #[error("JavaScript transforms are off: this deployment has no `LOADER` binding (see docs/actions.md)")]
    Off,
    /// It threw, or is no script with a function `transform`. The words are its own.
    #[error("the transform failed: {0}")]
    Failed(String),
}

impl From<ScriptError> for crate::Error {
    fn from(error: ScriptError) -> Self {
        Self::validation(error.to_string())
    }
}

/// A place to run JavaScript of definitions in, apart from everything: no network, no bindings, no state.
#[async_trait(?Send)]
pub trait Scripts {
    /// Whether there is one.
    fn is_on(&self) -> bool;
    /// What `function transform(input)` in `source` returns for this input.
    async fn transform(&self, source: &str, input: &Value) -> Result<Value, ScriptError>;
}

/// Every port, as one argument.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "each field is the port it is named after")]
pub struct Ports<'a> {
    pub sql: &'a dyn Sql,
    pub fetch: &'a dyn Fetch,
    pub blobs: &'a dyn Blobs,
    pub packer: &'a dyn Packer,
    pub queue: &'a dyn Queue,
    pub crypto: &'a dyn Crypto,
    pub cache: &'a dyn Cache,
    pub keys: &'a dyn KeySource,
    pub host: &'a dyn Host,
    pub limiter: &'a dyn Limiter,
    pub tally: &'a dyn Tally,
    pub timer: &'a dyn Timer,
    pub scripts: &'a dyn Scripts,
}

/// A request's body that has not been read yet.
#[async_trait(?Send)]
pub trait Body {
    /// Reads it whole, once. Stops, and fails with `PAYLOAD_TOO_LARGE`, as soon as it passes `limit` bytes.
    async fn read(&self, limit: usize) -> crate::Result<Vec<u8>>;
}

/// The platform's rate limiters, where they are bound: approximate, per location, without a wait for the network.
#[async_trait(?Send)]
pub trait Limiter {
    /// Whether one more of `key` may come now, by the limit bound under this name. Always, where nothing is bound.
    async fn allows(&self, limit: &'static str, key: &str) -> bool;
}

/// Counters of the isolate: each isolate has its own, and any of them can be gone at any time.
pub trait Tally {
    /// Adds to the counter of this name and label, and gives what it stands at.
    fn add(&self, name: &'static str, label: &str, by: u64) -> u64;
    /// Sets a counter.
    fn set(&self, name: &'static str, label: &str, to: u64);
    /// Every counter, sorted by name and label.
    fn all(&self) -> Vec<(&'static str, String, u64)>;
}

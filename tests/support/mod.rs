//! The outside, for native tests: real SQLite with D1's limits, a scripted network, a clock that tests move, counted
//! randomness, and stores with production's limits.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its own part")]

mod conformity;
pub mod crypto;
pub mod scene;
pub mod services;
pub mod talk;
pub mod workshop;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use brotli::enc::BrotliEncoderParams;
use brotli::{BrotliCompress, BrotliDecompress};
use patchbay::api;
use patchbay::http::{Head, Headers, Method, Request, Response};
use patchbay::hub::Hub;
use patchbay::ports::*;
use patchbay::secret::Secret;
use patchbay::time::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Runs a future that never waits for anything but the doubles of this file.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("the future waits for something that never comes");
}

/// SQLite as D1 offers it.
pub struct Database {
    connection: RefCell<Connection>,
    /// Batches still to fail, as an unreachable database does.
    pub failing: Rc<Cell<u32>>,
    /// Batches still to succeed before all fail, until [`Self::failing`] is set to 0.
    healthy: Cell<Option<u32>>,
    /// Shared statements still to be run twice, as where a transaction's reply was lost on the way.
    pub repeated: Cell<u32>,
    /// What others write in between, one after the other: each once, as soon as a statement of its name has been run.
    meanwhile: RefCell<VecDeque<(String, String)>>,
    /// Statements run, by the name in their leading comment.
    pub ran: RefCell<Vec<String>>,
    /// How SQLite means to run each statement that was run, by the name in its leading comment.
    pub plans: RefCell<BTreeMap<String, Vec<String>>>,
}

impl Database {
    fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        let mut files: Vec<_> = std::fs::read_dir("migrations")
            .unwrap()
            .map(|f| f.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "sql"))
            .collect();
        files.sort();
        for file in files {
            connection
                .execute_batch(&std::fs::read_to_string(file).unwrap())
                .unwrap();
        }
        Self {
            connection: RefCell::new(connection),
            failing: Rc::default(),
            healthy: Cell::default(),
            repeated: Cell::default(),
            meanwhile: RefCell::default(),
            ran: RefCell::default(),
            plans: RefCell::default(),
        }
    }

    /// After so many batches, all fail until `failing` is set to 0 again.
    pub fn fails_after(&self, batches: u32) {
        self.healthy.set(Some(batches));
    }

    /// Writes `sql` as soon as the next statement named `after` has been run: somebody else was faster.
    pub fn meanwhile(&self, after: &str, sql: &str) {
        let next = (after.to_owned(), sql.to_owned());
        self.meanwhile.borrow_mut().push_back(next);
    }

    /// Changes the database behind the hub's back.
    pub fn write(&self, sql: &str) {
        self.connection.borrow().execute(sql, []).unwrap();
    }

    /// Asks the database something, as a test's own look behind the scenes.
    pub fn count(&self, sql: &str) -> i64 {
        self.connection.borrow().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

#[async_trait(?Send)]
impl Sql for Database {
    async fn batch(&self, statements: Vec<Stmt>) -> Result<Vec<Rows>, SqlError> {
        assert!(!statements.is_empty(), "D1 refuses an empty batch");
        match self.healthy.get() {
            Some(0) => {
                self.healthy.set(None);
                self.failing.set(1_000);
            }
            Some(left) => self.healthy.set(Some(left - 1)),
            None => {}
        }
        if self.failing.get() > 0 {
            self.failing.set(self.failing.get() - 1);
            return Err(SqlError {
                message: "D1_ERROR: Network connection lost".into(),
            });
        }
        let mut connection = self.connection.borrow_mut();
        let transaction = connection.transaction().map_err(error)?;
        // Before any is run: to ask for a plan resets what `changes()` says.
        for statement in &statements {
            let mut plans = self.plans.borrow_mut();
            plans
                .entry(name_of(statement))
                .or_insert_with(|| plan(&transaction, statement));
        }
        let mut all = Vec::new();
        for statement in statements {
            assert!(statement.params.len() <= MAX_BOUND_PARAMETERS, "too many parameters");
            assert!(
                statement.sql.starts_with("-- "),
                "a statement names its function: {}",
                statement.sql
            );
            self.ran.borrow_mut().push(name_of(&statement));
            all.push(rows(&transaction, &statement)?);
        }
        transaction.commit().map_err(error)?;
        drop(connection);
        let last = self.ran.borrow().last().cloned();
        let mut waiting = self.meanwhile.borrow_mut();
        let is_due = waiting.front().is_some_and(|(after, _)| Some(after) == last.as_ref());
        let due = is_due.then(|| waiting.pop_front()).flatten();
        drop(waiting);
        if let Some((_, sql)) = due {
            self.write(&sql);
        }
        Ok(all)
    }

    async fn share(&self, statement: Stmt) -> Result<Rows, SqlError> {
        if self.repeated.get() > 0 {
            self.repeated.set(self.repeated.get() - 1);
            self.batch(vec![statement.clone()]).await?;
        }
        Ok(self.batch(vec![statement]).await?.pop().unwrap_or_default())
    }
}

/// The name in a statement's leading comment.
fn name_of(statement: &Stmt) -> String {
    let first = statement.sql.lines().next().unwrap_or_default();
    first.trim_start_matches("-- ").to_owned()
}

fn plan(connection: &Connection, statement: &Stmt) -> Vec<String> {
    let mut prepared = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sql))
        .unwrap();
    let mut steps = prepared.raw_query();
    let mut plan = Vec::new();
    while let Some(step) = steps.next().unwrap() {
        plan.push(step.get(3).unwrap());
    }
    plan
}

fn rows(connection: &Connection, statement: &Stmt) -> Result<Rows, SqlError> {
    let mut prepared = connection.prepare_cached(statement.sql).map_err(error)?;
    let names: Vec<String> = prepared.column_names().map(str::to_owned).collect();
    let params = statement.params.iter().map(|param| match param {
        Param::Null => rusqlite::types::Value::Null,
        Param::Int(n) => {
            assert!(n.unsigned_abs() < 1 << 53, "D1 has no 64-bit integers on its border");
            rusqlite::types::Value::Integer(*n)
        }
        Param::Text(text) => {
            assert!(text.len() <= 2_000_000, "larger than a D1 value");
            rusqlite::types::Value::Text(text.clone())
        }
        Param::Blob(bytes) => rusqlite::types::Value::Blob(bytes.clone()),
    });
    let mut found = prepared.query(params_from_iter(params)).map_err(error)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(error)? {
        let mut object = Map::new();
        for (at, name) in names.iter().enumerate() {
            object.insert(name.clone(), column(row.get_ref(at).unwrap()));
        }
        rows.push(Value::Object(object));
    }
    Ok(rows)
}

fn column(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => json!(n),
        ValueRef::Real(n) => json!(n),
        ValueRef::Text(text) => json!(String::from_utf8(text.to_vec()).unwrap()),
        ValueRef::Blob(bytes) => json!(bytes),
    }
}

fn error(error: rusqlite::Error) -> SqlError {
    SqlError {
        message: error.to_string(),
    }
}

/// What a scripted server answers to a request.
pub type Answer = Rc<dyn Fn(&Request) -> Result<Response, FetchError>>;

/// A network in which the test says who answers what.
#[derive(Default)]
pub struct Network {
    routes: RefCell<Vec<(Method, String, Answer)>>,
    once: RefCell<HashMap<String, VecDeque<Answer>>>,
    replaced: RefCell<Vec<(String, String)>>,
    /// Every request that was sent.
    pub sent: RefCell<Vec<Request>>,
}

impl Network {
    /// Answers every request whose URL begins so.
    pub fn on(&self, method: Method, url: &str, answer: impl Fn(&Request) -> Result<Response, FetchError> + 'static) {
        self.routes.borrow_mut().push((method, url.to_owned(), Rc::new(answer)));
    }

    /// Answers the next request whose URL begins so, before any that always answer.
    pub fn once(&self, url: &str, answer: impl Fn(&Request) -> Result<Response, FetchError> + 'static) {
        self.once
            .borrow_mut()
            .entry(url.to_owned())
            .or_default()
            .push_back(Rc::new(answer));
    }

    /// Puts `to` in place of `from` in every reply's body: for what the test knows only later.
    pub fn replace_in_replies(&self, from: &str, to: &str) {
        self.replaced.borrow_mut().push((from.to_owned(), to.to_owned()));
    }

    /// The requests to URLs that begin so.
    pub fn to(&self, url: &str) -> Vec<Request> {
        self.sent
            .borrow()
            .iter()
            .filter(|r| r.url.starts_with(url))
            .cloned()
            .collect()
    }
}

impl Network {
    fn answer(&self, request: Request) -> Result<Response, FetchError> {
        self.sent.borrow_mut().push(request.clone());
        let next = self
            .once
            .borrow_mut()
            .iter_mut()
            .find(|(url, answers)| request.url.starts_with(url.as_str()) && !answers.is_empty())
            .and_then(|(_, answers)| answers.pop_front());
        let always = || {
            let routes = self.routes.borrow();
            let found = routes
                .iter()
                .find(|(m, url, _)| *m == request.method && request.url.starts_with(url.as_str()));
            found.map(|(_, _, answer)| answer.clone())
        };
        let answer = next.or_else(always);
        let mut reply = match answer {
            Some(answer) => answer(&request)?,
            None => return Err(FetchError::Network(format!("nobody at {}", request.url))),
        };
        for (from, to) in self.replaced.borrow().iter() {
            reply.body = String::from_utf8(reply.body).unwrap().replace(from, to).into_bytes();
        }
        Ok(reply)
    }
}

#[async_trait(?Send)]
impl Fetch for Network {
    async fn send(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        let reply = self.answer(request)?;
        if reply.body.len() > limits.max_bytes {
            return Err(FetchError::TooLarge(limits.max_bytes));
        }
        Ok(reply)
    }

    async fn send_for_status(&self, request: Request, limits: Limits) -> Result<Response, FetchError> {
        let mut reply = self.answer(request)?;
        reply.body.truncate(limits.max_bytes);
        Ok(reply)
    }
}

/// KV.
#[derive(Default)]
pub struct Store(pub RefCell<BTreeMap<String, Vec<u8>>>);

#[async_trait(?Send)]
impl Blobs for Store {
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), SqlError> {
        assert!(key.len() <= 512 && bytes.len() <= MAX_BLOB, "KV's limits");
        self.0.borrow_mut().insert(key.to_owned(), bytes.to_vec());
        Ok(())
    }
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, SqlError> {
        Ok(self.0.borrow().get(key).cloned())
    }
    async fn delete(&self, key: &str) -> Result<(), SqlError> {
        self.0.borrow_mut().remove(key);
        Ok(())
    }
}

/// The platform's compressor.
pub struct Brotli;

impl Packer for Brotli {
    fn pack(&self, bytes: &[u8]) -> Option<String> {
        let fastest = BrotliEncoderParams {
            quality: 0,
            ..Default::default()
        };
        let mut packed = Vec::new();
        BrotliCompress(&mut &*bytes, &mut packed, &fastest).unwrap();
        Some(STANDARD.encode(packed))
    }
    fn unpack(&self, text: &str, most: usize) -> Option<Vec<u8>> {
        let packed = STANDARD.decode(text).ok()?;
        let mut bytes = Vec::new();
        BrotliDecompress(&mut packed.as_slice(), &mut bytes).ok()?;
        (bytes.len() <= most).then_some(bytes)
    }
}

/// Text that no compressor makes smaller by more than base64 makes it larger.
pub fn noise(bytes: usize) -> String {
    let mut state = 42u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..bytes).map(letter).collect()
}

/// The queue: what was asked to be woken, and after how many seconds.
#[derive(Default)]
pub struct Messages {
    pub waiting: RefCell<Vec<(String, u32)>>,
    pub failing: Cell<bool>,
}

#[async_trait(?Send)]
impl Queue for Messages {
    async fn wake(&self, id: &str, delay_s: u32) -> Result<(), String> {
        assert!(delay_s <= 12 * 3_600, "the queue's longest delay");
        if self.failing.get() {
            return Err("the queue is out of reach".into());
        }
        self.waiting.borrow_mut().push((id.to_owned(), delay_s));
        Ok(())
    }
}

/// Signs with a mark instead of RSA: what is signed is checked by the tests in workerd.
pub struct MarkCrypto;

#[async_trait(?Send)]
impl Crypto for MarkCrypto {
    async fn sign_rs256(&self, _: &[u8], data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(data.len().to_be_bytes().to_vec())
    }
    async fn verify_rsa(&self, _: RsaHash, _: &[u8], _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Ok(false)
    }
    async fn verify_p256(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Ok(false)
    }
}

/// The isolate's memory.
#[derive(Default)]
pub struct Memory(RefCell<HashMap<String, (Secret, Timestamp)>>);

impl Cache for Memory {
    fn get(&self, key: &str, now: Timestamp) -> Option<Secret> {
        let kept = self.0.borrow();
        kept.get(key)
            .filter(|(_, until)| *until > now)
            .map(|(value, _)| value.clone())
    }
    fn put(&self, key: &str, value: Secret, until: Timestamp) {
        self.0.borrow_mut().insert(key.to_owned(), (value, until));
    }
    fn remove(&self, key: &str) {
        self.0.borrow_mut().remove(key);
    }
}

/// Clock, randomness, settings and log.
pub struct Machine {
    pub now: Rc<Cell<i64>>,
    /// Whether all happens in one millisecond.
    pub stands_still: Cell<bool>,
    random: Cell<u64>,
    pub vars: RefCell<BTreeMap<String, String>>,
    pub lines: RefCell<Vec<Value>>,
}

impl Host for Machine {
    fn now(&self) -> Timestamp {
        // Each look takes a millisecond, so that ids made one after the other sort so.
        self.now.set(self.now.get() + i64::from(!self.stands_still.get()));
        Timestamp(self.now.get())
    }
    fn random(&self, bytes: &mut [u8]) {
        for byte in bytes.iter_mut() {
            self.random.set(
                self.random
                    .get()
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            );
            *byte = (self.random.get() >> 56) as u8;
        }
    }
    fn var(&self, name: &str) -> Option<String> {
        self.vars.borrow().get(name).cloned()
    }
    fn decode(&self, label: &str, bytes: &[u8]) -> Option<String> {
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes())?;
        Some(encoding.decode(bytes).0.into_owned())
    }
    fn log(&self, line: &Value) {
        self.lines.borrow_mut().push(line.clone());
    }
}

/// The isolate's counters.
#[derive(Default)]
pub struct Counters(RefCell<BTreeMap<(&'static str, String), u64>>);

impl Tally for Counters {
    fn add(&self, name: &'static str, label: &str, by: u64) -> u64 {
        let mut counters = self.0.borrow_mut();
        let counter = counters.entry((name, label.to_owned())).or_default();
        *counter += by;
        *counter
    }
    fn set(&self, name: &'static str, label: &str, to: u64) {
        self.0.borrow_mut().insert((name, label.to_owned()), to);
    }
    fn all(&self) -> Vec<(&'static str, String, u64)> {
        self.0.borrow().iter().map(|((n, l), v)| (*n, l.clone(), *v)).collect()
    }
}

/// A rate limiter that lets a number of each key through; none: any number.
#[derive(Default)]
pub struct Gate {
    pub left: RefCell<HashMap<String, u32>>,
    /// Every question: the limit, and who is counted.
    pub asked: RefCell<Vec<(&'static str, String)>>,
}

#[async_trait(?Send)]
impl Limiter for Gate {
    async fn allows(&self, limit: &'static str, key: &str) -> bool {
        self.asked.borrow_mut().push((limit, key.to_owned()));
        match self.left.borrow_mut().get_mut(key) {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}

#[async_trait(?Send)]
impl Timer for Machine {
    async fn sleep(&self, millis: u32) {
        self.now.set(self.now.get() + i64::from(millis));
        // Once around: whoever else is at work comes first.
        let mut waited = false;
        std::future::poll_fn(|_| match std::mem::replace(&mut waited, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

/// What a script does to its input, in Rust.
pub type Function = fn(&Value) -> Result<Value, ScriptError>;

/// Scripts by a word in them, in Rust: the JavaScript itself runs in the end-to-end tests.
#[derive(Default)]
pub struct Functions(pub RefCell<Vec<(String, Function)>>);

#[async_trait(?Send)]
impl Scripts for Functions {
    fn is_on(&self) -> bool {
        !self.0.borrow().is_empty()
    }
    async fn transform(&self, source: &str, input: &Value) -> Result<Value, ScriptError> {
        let functions = self.0.borrow();
        let found = functions.iter().find(|(word, _)| source.contains(word.as_str()));
        found.map_or(Err(ScriptError::Off), |(_, function)| function(input))
    }
}

/// A body that is all there.
pub struct Bytes(pub Vec<u8>, pub Cell<bool>);

#[async_trait(?Send)]
impl Body for Bytes {
    async fn read(&self, limit: usize) -> patchbay::Result<Vec<u8>> {
        self.1.set(true);
        if self.0.len() > limit {
            return Err(patchbay::Error::PayloadTooLarge { limit });
        }
        Ok(self.0.clone())
    }
}

/// A whole world for one test.
pub struct World {
    pub sql: Database,
    pub net: Network,
    pub blobs: Store,
    pub queue: Messages,
    pub packer: Box<dyn Packer>,
    pub crypto: Box<dyn Crypto>,
    pub memory: Memory,
    pub machine: Machine,
    pub tally: Counters,
    pub gate: Gate,
    pub scripts: Functions,
}

impl World {
    /// A world with the usual settings.
    pub fn new() -> Self {
        let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let vars = [
            ("PATCHBAY_ADMIN_TOKEN", "test-admin-token"),
            ("PATCHBAY_PUBLIC_URL", "https://hub.example.com"),
            ("PATCHBAY_ENCRYPTION_KEYS", &format!("k1:{key}")),
        ];
        Self {
            sql: Database::new(),
            net: Network::default(),
            blobs: Store::default(),
            queue: Messages::default(),
            packer: Box::new(Brotli),
            crypto: Box::new(MarkCrypto),
            memory: Memory::default(),
            machine: Machine {
                now: Rc::new(Cell::new(1_763_800_000_000)),
                stands_still: Cell::new(false),
                random: Cell::new(42),
                vars: RefCell::new(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
                lines: RefCell::default(),
            },
            tally: Counters::default(),
            gate: Gate::default(),
            scripts: Functions::default(),
        }
    }

    pub fn set(&self, name: &str, value: &str) {
        self.machine.vars.borrow_mut().insert(name.to_owned(), value.to_owned());
    }

    pub fn ports(&self) -> Ports<'_> {
        Ports {
            sql: &self.sql,
            fetch: &self.net,
            blobs: &self.blobs,
            packer: &*self.packer,
            queue: &self.queue,
            crypto: &*self.crypto,
            cache: &self.memory,
            keys: &patchbay::webhook::NoKeys,
            host: &self.machine,
            limiter: &self.gate,
            tally: &self.tally,
            timer: &self.machine,
            scripts: &self.scripts,
        }
    }

    pub fn hub(&self) -> Hub<'_> {
        Hub::new(self.ports())
    }

    /// Lets time pass, in milliseconds.
    pub fn wait(&self, millis: i64) {
        self.machine.now.set(self.machine.now.get() + millis);
    }

    /// Sends a request to the hub.
    pub fn request(&self, method: Method, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let head = Head {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Headers::from_pairs(headers.iter().copied()),
        };
        let reply = run(api::handle(
            &self.ports(),
            &head,
            &Bytes(body.to_vec(), Cell::new(false)),
        ));
        conformity::check(&head, &reply);
        reply
    }

    /// Sends a management request with a JSON body, and reads the JSON reply.
    pub fn api(&self, method: Method, target: &str, body: &Value) -> (u16, Value) {
        let headers = [
            ("authorization", "Bearer test-admin-token"),
            ("content-type", "application/json"),
        ];
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let reply = self.request(method, target, &headers, &bytes);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    /// A browser follows a connect link: the reply that sends it to the provider.
    pub fn depart(&self, url: &str) -> Response {
        let path = url.trim_start_matches("https://hub.example.com");
        self.request(Method::Get, path, &[], b"")
    }

    /// The same browser comes back from the provider, its user having consented.
    pub fn come_back(&self, away: &Response) -> Response {
        assert_eq!(away.status, 303, "{}", String::from_utf8_lossy(&away.body));
        let cookie = away.headers.get("set-cookie").unwrap_or_default();
        let cookie = cookie.split(';').next().unwrap_or_default();
        let location = away.headers.get("location").unwrap_or_default();
        let state = location.split("state=").nth(1).unwrap_or_default();
        let state = state.split('&').next().unwrap_or_default();
        let back = format!("/oauth/callback?code=good&state={state}");
        self.request(Method::Get, &back, &[("cookie", cookie)], b"")
    }

    /// Works off what the queue holds, as its consumer does; delayed messages come at once.
    pub fn work(&self) {
        for _ in 0..100 {
            let waiting: Vec<_> = self.queue.waiting.borrow_mut().drain(..).collect();
            if waiting.is_empty() {
                return;
            }
            for (id, delay) in waiting {
                self.wait(i64::from(delay) * 1_000);
                if let patchbay::hub::Woken::Again { after_s } = run(self.hub().wake(&id)) {
                    self.queue.waiting.borrow_mut().push((id, after_s));
                }
            }
        }
        panic!("the queue never empties");
    }
}

/// A JSON reply.
pub fn json_reply(status: u16, body: Value) -> Result<Response, FetchError> {
    Ok(Response::json(status, &body))
}

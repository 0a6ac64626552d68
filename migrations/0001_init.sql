-- The hub's tables. Times are epoch milliseconds; ids are text that sorts by time, so a primary key is also the order
-- of a list. Tables are WITHOUT ROWID where every row is written once or twice: it saves an index entry per write,
-- which D1 bills as a row.

-- One verified delivery. The row is its own outbox entry: `event_pending` holds what is not yet dispatched.
CREATE TABLE event (
  id            TEXT NOT NULL PRIMARY KEY,  -- evt_…
  source        TEXT NOT NULL,              -- connection id, or app:{service}; never NULL, for NULLs do not conflict
  delivery_id   TEXT NOT NULL,              -- the service's own id: the de-duplication key within a source
  service       TEXT NOT NULL,              -- integration name
  connection_id TEXT,                       -- con_…, NULL on the app-level route
  owner         TEXT,                       -- owner of the connection, as it was when the event came
  type          TEXT NOT NULL,              -- {service}.{event}.{action}
  subject       TEXT,                       -- what it is about, for people and search
  account       TEXT,                       -- installation, workspace or tenant at the service
  occurred_at   INTEGER,                    -- when it happened, as the service says
  received_at   INTEGER NOT NULL,           -- when the hub accepted it
  trace_id      TEXT NOT NULL,              -- W3C trace id of the request that brought it
  content_type  TEXT,                       -- of the payload
  headers       TEXT NOT NULL,              -- JSON object of the request's headers, secrets masked
  state         TEXT NOT NULL,              -- pending | dispatched | failed
  due_at        INTEGER NOT NULL,           -- when it is to be dispatched, while pending
  tries         INTEGER NOT NULL,           -- dispatches begun
  lease_by      TEXT,                       -- who dispatches it now
  lease_until   INTEGER,                    -- when that claim ends
  decision      TEXT,                       -- why it did or did not reach the agent, for a person
  context       TEXT,                       -- JSON that the mapping read from it, set at dispatch
  size          INTEGER NOT NULL,           -- bytes of the payload
  payload_key   TEXT,                       -- where the payload is, if not in this row
  payload       ANY                         -- the exact bytes: TEXT where they are UTF-8 without NUL, else BLOB
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX event_delivery ON event (source, delivery_id);
CREATE INDEX event_pending ON event (due_at) WHERE state = 'pending';

-- A program of the user's that receives events.
CREATE TABLE destination (
  id              TEXT NOT NULL PRIMARY KEY,  -- dst_…
  name            TEXT NOT NULL,              -- for people
  url             TEXT NOT NULL,              -- where messages are posted
  event_types     TEXT NOT NULL,              -- JSON list of globs on event.type
  role            TEXT NOT NULL,              -- subscriber | agent
  allowed_actions TEXT NOT NULL,              -- JSON list of actions that an agent may ask for
  owner           TEXT,                       -- gets only this owner's events; NULL: everyone's
  enabled         INTEGER NOT NULL,           -- 0: gets nothing
  disabled_reason TEXT,                       -- why the hub switched it off
  secret          TEXT NOT NULL,              -- signing secret, sealed
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One message to one destination. Written when its first attempt is over, or before it where a claim is needed.
CREATE TABLE delivery (
  id              TEXT NOT NULL PRIMARY KEY,  -- dlv_…
  event_id        TEXT NOT NULL,
  destination_id  TEXT NOT NULL,
  conversation_id TEXT,                       -- cnv_…, for messages to an agent
  message         TEXT NOT NULL,              -- event | conversation.started | conversation.message
  state           TEXT NOT NULL,              -- pending | delivered | failed | skipped
  attempts        TEXT NOT NULL,              -- JSON list of {at, ms, status, error, reply}
  note            TEXT,                       -- why it was skipped or given up, for a person
  due_at          INTEGER,                    -- next attempt, while pending
  lease_by        TEXT,
  lease_until     INTEGER,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_event ON delivery (event_id);
CREATE INDEX delivery_pending ON delivery (due_at) WHERE state = 'pending';

-- An account at a service. Secrets are sealed: see docs/architecture.md.
CREATE TABLE connection (
  id          TEXT NOT NULL PRIMARY KEY,  -- con_…
  integration TEXT NOT NULL,
  name        TEXT NOT NULL,
  owner       TEXT,                       -- the inside user or team that it belongs to
  status      TEXT NOT NULL,              -- CONNECTED
  config      TEXT NOT NULL,              -- JSON of the fields that are not secret
  secrets     TEXT NOT NULL,              -- sealed JSON of the fields that are
  version     INTEGER NOT NULL,           -- counts the writes of `secrets`; bound into the seal
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A thread at a service that an agent works on.
CREATE TABLE conversation (
  id               TEXT NOT NULL PRIMARY KEY,  -- cnv_…
  source           TEXT NOT NULL,              -- as in event
  thread           TEXT NOT NULL,              -- what names the thread within the source
  integration      TEXT NOT NULL,
  connection_id    TEXT,                       -- whose credential answers; NULL: the app's own
  account          TEXT,
  owner            TEXT,
  destination_id   TEXT NOT NULL,              -- the agent
  state            TEXT NOT NULL,              -- open | completed | failed
  turn             INTEGER NOT NULL,           -- counts how often it was opened; a callback token is good for one turn
  token_expires_at INTEGER NOT NULL,           -- 7 days after the last message either way
  first_event_id   TEXT NOT NULL,              -- what opened this turn
  last_event_id    TEXT NOT NULL,              -- the latest message from the service
  context          TEXT NOT NULL,              -- JSON of the latest message: where an answer goes
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX conversation_thread ON conversation (source, thread);

-- One call of an action. Its row is made before the call, so that no crash can hide that it was begun.
CREATE TABLE run (
  id              TEXT NOT NULL PRIMARY KEY,  -- run_…
  conversation_id TEXT,
  fingerprint     TEXT NOT NULL,              -- same request, same value: what makes a repeated callback harmless
  ordinal         INTEGER NOT NULL,           -- place within that callback
  integration     TEXT NOT NULL,
  connection_id   TEXT,
  account         TEXT,
  owner           TEXT,
  action          TEXT NOT NULL,
  inputs          TEXT NOT NULL,              -- JSON
  status          TEXT NOT NULL,              -- pending | running | succeeded | failed | ambiguous
  unsettled       INTEGER NOT NULL,           -- 1: an earlier try may have taken effect, its reply was lost
  attempts        TEXT NOT NULL,              -- JSON list of {at, ms, status, error, reason}
  result          TEXT,                       -- JSON
  error           TEXT,                       -- JSON {code, detail}
  due_at          INTEGER,                    -- next try, while pending or running
  lease_by        TEXT,
  lease_until     INTEGER,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX run_callback ON run (conversation_id, fingerprint, ordinal);
CREATE INDEX run_pending ON run (due_at) WHERE status IN ('pending', 'running');

-- What the code must find before it serves: see /readyz.
CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('schema_version', '1');

-- Delivery in full: what destinations may ask for, replays, holds.

-- kind of target, filter, payload mapping, ordering, retries: JSON, see docs/delivery.md
ALTER TABLE destination ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
-- when the first of the tries failed since when none has succeeded; NULL while it works
ALTER TABLE destination ADD COLUMN failing_since INTEGER;

-- The event with a rowid, and what is new before its payload. Without a rowid each comparison of a key reads the whole
-- row, payload included: one insert, or one line of a list, went through megabytes. A written entry more is the price.
CREATE TABLE event_new (
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
  state         TEXT NOT NULL,              -- pending | dispatched | failed | purged
  due_at        INTEGER NOT NULL,           -- when it is to be dispatched, while pending
  tries         INTEGER NOT NULL,           -- dispatches begun
  lease_by      TEXT,                       -- who dispatches it now
  lease_until   INTEGER,                    -- when that claim ends
  decision      TEXT,                       -- why it did or did not reach the agent, for a person
  size          INTEGER NOT NULL,           -- bytes of the payload
  hold          INTEGER NOT NULL DEFAULT 0, -- 1: never purged
  replay        TEXT,                       -- JSON {job, destination_id} of the replay that this dispatch is; NULL for the first
  payload_key   TEXT,                       -- where the payload is, if not in this row
  context       TEXT,                       -- JSON that the mapping read from it, set at dispatch
  headers       TEXT NOT NULL,              -- JSON object of the request's headers, secrets masked
  payload       ANY                         -- the exact bytes: TEXT where they are UTF-8 without NUL, else BLOB
) STRICT;
INSERT INTO event_new (id, source, delivery_id, service, connection_id, owner, type, subject, account, occurred_at,
    received_at, trace_id, content_type, state, due_at, tries, lease_by, lease_until, decision, size, payload_key, context,
    headers, payload)
  SELECT id, source, delivery_id, service, connection_id, owner, type, subject, account, occurred_at,
    received_at, trace_id, content_type, state, due_at, tries, lease_by, lease_until, decision, size, payload_key, context,
    headers, payload
  FROM event;
DROP TABLE event;
ALTER TABLE event_new RENAME TO event;
CREATE UNIQUE INDEX event_delivery ON event (source, delivery_id);
CREATE INDEX event_pending ON event (due_at) WHERE state = 'pending';

-- 1: the message is marked as a replay
ALTER TABLE delivery ADD COLUMN replay INTEGER NOT NULL DEFAULT 0;
-- what orders it among the destination's deliveries; NULL where no order was asked for
ALTER TABLE delivery ADD COLUMN order_key TEXT;
-- only rows that wait and are to keep an order have an entry: other destinations pay nothing for it
CREATE INDEX delivery_order ON delivery (destination_id, order_key, event_id)
  WHERE state = 'pending' AND order_key IS NOT NULL;

-- A replay of many events, worked off in batches.
CREATE TABLE replay (
  id          TEXT NOT NULL PRIMARY KEY,  -- rpl_…
  filter      TEXT NOT NULL,              -- JSON, as it was asked for
  owner       TEXT,                       -- replays only this owner's events
  actor       TEXT NOT NULL,              -- who asked for it
  state       TEXT NOT NULL,              -- running | done | cancelled
  cursor      TEXT NOT NULL,              -- events with larger ids are still to be looked at
  last        TEXT NOT NULL,              -- and of these only up to this id
  scanned     INTEGER NOT NULL,           -- events looked at
  replayed    INTEGER NOT NULL,           -- events made due again
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX replay_running ON replay (id) WHERE state = 'running';

-- What was spent of a day's allowance, added to by isolates every hundred events.
CREATE TABLE budget (
  day       INTEGER NOT NULL PRIMARY KEY,  -- days since 1970, UTC
  rows      INTEGER NOT NULL,
  kv_writes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

UPDATE meta SET value = '6' WHERE key = 'schema_version';

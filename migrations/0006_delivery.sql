-- Delivery in full: what destinations may ask for, replays, holds.

-- kind of target, filter, payload mapping, ordering, retries: JSON, see docs/delivery.md
ALTER TABLE destination ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
-- when the first of the tries failed since when none has succeeded; NULL while it works
ALTER TABLE destination ADD COLUMN failing_since INTEGER;

-- 1: never purged
ALTER TABLE event ADD COLUMN hold INTEGER NOT NULL DEFAULT 0;
-- JSON {job, destination_id} of the replay that this dispatch is; NULL for the first dispatch
ALTER TABLE event ADD COLUMN replay TEXT;

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

-- Keys of the management API, and what POSTs with an Idempotency-Key were answered.

-- A bearer token besides the admin token of the settings. The token itself is stored nowhere.
CREATE TABLE api_key (
  id             TEXT NOT NULL PRIMARY KEY,  -- key_…; the token names it, so that no other index is needed
  name           TEXT NOT NULL,              -- for people
  scopes         TEXT NOT NULL,              -- JSON list of what it is good for
  owner          TEXT,                       -- sees and makes this owner's rows alone; NULL: everyone's
  hash           TEXT NOT NULL,              -- SHA-256 of the token, hex
  previous_hash  TEXT,                       -- of the token before the last roll
  previous_until INTEGER,                    -- when that one ends
  expires_at     INTEGER,                    -- when all ends
  last_used_at   INTEGER,                    -- to the hour: a use is written down at most once an hour
  created_at     INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A POST with an Idempotency-Key: a row is written before it is carried out, so that of two at once one acts.
CREATE TABLE idempotency (
  id         TEXT NOT NULL PRIMARY KEY,  -- SHA-256 over caller, method, path and key, hex
  body_hash  TEXT NOT NULL,              -- SHA-256 of the body, hex: the same key is good for the same body alone
  held_by    TEXT NOT NULL,              -- the request that carries it out
  held_until INTEGER NOT NULL,           -- when another may, should that one have died
  reply      TEXT,                       -- what it was answered, sealed; NULL while it runs
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created_at);

UPDATE meta SET value = '7' WHERE key = 'schema_version';

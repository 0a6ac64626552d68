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

UPDATE meta SET value = '7' WHERE key = 'schema_version';

-- Integrations that are posted at run time, and samples of what was refused at the edge.

-- An integration described by its user. Built-in ones are part of the program and have no row.
CREATE TABLE definition (
  id         TEXT NOT NULL PRIMARY KEY,  -- int_def_…
  name       TEXT NOT NULL,              -- as in a manifest; never that of a built-in
  text       TEXT NOT NULL,              -- the manifest, JSON
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX definition_name ON definition (name);

-- A delivery that was refused. A few per service, cause and minute: the rest is only counted in the log, so that a
-- forger cannot spend the owner's quota.
CREATE TABLE rejection (
  id            TEXT NOT NULL PRIMARY KEY,  -- rej_…
  service       TEXT NOT NULL,
  connection_id TEXT,
  cause         TEXT NOT NULL,              -- stable name, see docs/errors.md
  detail        TEXT NOT NULL,              -- for a person; never the signature that was expected
  size          INTEGER,                    -- bytes of the body; NULL if it was not read
  body_hash     TEXT,                       -- SHA-256 of the body, hex
  trace_id      TEXT NOT NULL,
  received_at   INTEGER NOT NULL,
  request       TEXT,                       -- the whole request, sealed, while PATCHBAY_KEEP_REJECTED_HOURS keeps it
  event_id      TEXT                        -- what it became when it was released
) STRICT, WITHOUT ROWID;

UPDATE meta SET value = '2' WHERE key = 'schema_version';

-- Polls: services without webhooks, asked from time to time; and subscriptions at services, renewed in time.

-- One poll of one trigger, or one subscription that is kept alive. It costs one row to claim and, because `due_at` is
-- indexed, two to put back.
CREATE TABLE poll (
  id            TEXT NOT NULL PRIMARY KEY,  -- poll_… or sub_…
  kind          TEXT NOT NULL,              -- trigger | subscription
  name          TEXT NOT NULL,              -- for people
  integration   TEXT NOT NULL,
  part          TEXT NOT NULL,              -- the trigger or subscription of the manifest
  connection_id TEXT,                       -- whose credential asks; NULL where none is needed
  owner         TEXT,                       -- owner of the connection
  inputs        TEXT NOT NULL,              -- JSON
  interval_ms   INTEGER NOT NULL,           -- how often
  backfill      INTEGER NOT NULL,           -- items of the first run that become events
  state         TEXT NOT NULL,              -- active | paused | needs_attention
  due_at        INTEGER,                    -- next run; NULL: none until somebody asks for it
  lease_by      TEXT,                       -- who runs it now
  lease_until   INTEGER,                    -- when that claim ends
  deaths        INTEGER NOT NULL,           -- claims begun since the last that ended: more than one says that a worker died
  failures      INTEGER NOT NULL,           -- failed runs in a row
  failing_since INTEGER,                    -- when the first of them was
  last_poll_ts  INTEGER,                    -- begin of the last walk that saw everything
  last_run_at   INTEGER,                    -- end of the last run
  last_error    TEXT,                       -- JSON {code, detail, at} of the last run, if it had one
  items_seen    INTEGER NOT NULL,           -- items that became events
  progress      TEXT NOT NULL,              -- JSON: cursor, marks, the walk that is not over
  seen          TEXT NOT NULL,              -- JSON: ids that are known, by group, as base64 of 8 bytes each
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL            -- last change by a person
) STRICT, WITHOUT ROWID;
CREATE INDEX poll_due ON poll (due_at) WHERE due_at IS NOT NULL;

UPDATE meta SET value = '11' WHERE key = 'schema_version';

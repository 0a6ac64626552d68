-- Who did what: changes by a person or key, and each use of a credential.

-- Appended freely; cron seals rows into a chain of hashes, oldest first, so that no request waits for another.
CREATE TABLE audit (
  id      TEXT NOT NULL PRIMARY KEY,  -- aud_…, sorts by time
  at      INTEGER NOT NULL,
  actor   TEXT NOT NULL,              -- admin | key_… | hub | dst_… (an agent's callback)
  act     TEXT NOT NULL,              -- {thing}.{what}, e.g. connection.created, credential.used
  subject TEXT NOT NULL,              -- id of what it was done to
  owner   TEXT,                       -- owner of the subject, if it has one
  detail  TEXT NOT NULL,              -- JSON; never a token or a secret
  seal    TEXT                        -- SHA-256 over the previous seal and this row, hex; NULL: not sealed yet
) STRICT, WITHOUT ROWID;

UPDATE meta SET value = '3' WHERE key = 'schema_version';

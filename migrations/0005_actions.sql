-- Runs that a caller waits for: who asked, and the key that makes a repeated call harmless.

ALTER TABLE run ADD COLUMN principal TEXT;        -- admin | key_…; NULL: an agent's callback
ALTER TABLE run ADD COLUMN idempotency_key TEXT;  -- SHA-256 of the path and the caller's key, for a day
CREATE UNIQUE INDEX run_key ON run (principal, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Only callbacks have a conversation: the runs of callers need no entry in this index.
DROP INDEX run_callback;
CREATE UNIQUE INDEX run_callback ON run (conversation_id, fingerprint, ordinal) WHERE conversation_id IS NOT NULL;

-- How much of a rate is used up, in one row per rate that is in use (generic cell rate algorithm).
CREATE TABLE rate (
  id  TEXT NOT NULL PRIMARY KEY,  -- connection id, or that and an action's name
  tat INTEGER NOT NULL            -- when, at an even pace, all calls so far were due: microseconds since 1970
) STRICT, WITHOUT ROWID;

UPDATE meta SET value = '5' WHERE key = 'schema_version' AND CAST(value AS INTEGER) < 5;

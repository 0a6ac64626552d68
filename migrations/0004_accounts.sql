-- Accounts that a person consents to: tokens, the sign-ins under way, and which outside user is which inside one.

-- How the connection authorises: fields | oauth2 | client_credentials.
ALTER TABLE connection ADD COLUMN method TEXT NOT NULL DEFAULT 'fields';
-- Sealed JSON of access and refresh token; NULL until the account is connected.
ALTER TABLE connection ADD COLUMN tokens TEXT;
-- Counts the writes of `tokens`; bound into the seal, and what a refresh compares before it writes.
ALTER TABLE connection ADD COLUMN token_version INTEGER NOT NULL DEFAULT 0;
-- When the access token ends; NULL: nobody knows, it is used until it is refused.
ALTER TABLE connection ADD COLUMN token_expires_at INTEGER;
-- When the tokens were given: with `token_expires_at` it tells how long such a token lasts.
ALTER TABLE connection ADD COLUMN token_given_at INTEGER;
-- When the refresh token ends if it is not used; NULL: not known.
ALTER TABLE connection ADD COLUMN refresh_ends_at INTEGER;
-- When cron is to use the refresh token so that it does not end; NULL: no need.
ALTER TABLE connection ADD COLUMN keep_alive_at INTEGER;
-- Granted scopes, separated by blanks.
ALTER TABLE connection ADD COLUMN scopes TEXT;
-- Whose account it is at the service: its stable id, and a name for people.
ALTER TABLE connection ADD COLUMN user_id TEXT;
ALTER TABLE connection ADD COLUMN user_name TEXT;
-- When the person consented.
ALTER TABLE connection ADD COLUMN connected_at INTEGER;
-- Who refreshes now, and until when that claim holds.
ALTER TABLE connection ADD COLUMN token_lease_by TEXT;
ALTER TABLE connection ADD COLUMN token_lease_until INTEGER;
-- When a refresh was begun whose outcome is not stored yet.
ALTER TABLE connection ADD COLUMN attempt_at INTEGER;
-- When a refresh was begun whose outcome was never stored: its answer, and with it a rotated token, may be lost.
ALTER TABLE connection ADD COLUMN lost_at INTEGER;
-- Refreshes that failed since the last that did not, and when the next makes sense.
ALTER TABLE connection ADD COLUMN refresh_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE connection ADD COLUMN refresh_retry_at INTEGER;
-- JSON {code, detail, at} of the last failure; never a token.
ALTER TABLE connection ADD COLUMN last_error TEXT;
CREATE INDEX connection_keep_alive ON connection (keep_alive_at) WHERE keep_alive_at IS NOT NULL;

-- A sign-in under way. The row is deleted by whoever completes it: a state is good for one use.
CREATE TABLE oauth_state (
  hash          TEXT NOT NULL PRIMARY KEY,  -- SHA-256 of the state, hex
  connection_id TEXT NOT NULL,
  starter       TEXT NOT NULL,              -- who began it by the API; empty: a browser did
  browser       TEXT,                       -- SHA-256 of the browser's cookie, hex
  link          TEXT,                       -- the connect link that it follows
  redirect_uri  TEXT NOT NULL,              -- as in the authorize URL; empty for a device
  scopes        TEXT NOT NULL,              -- what was asked for, separated by blanks
  sealed        TEXT NOT NULL,              -- sealed JSON {verifier?, device_code?}
  poll_at       INTEGER,                    -- of a device: when it may be asked again
  interval_ms   INTEGER,                    -- of a device: milliseconds between two questions
  created_at    INTEGER NOT NULL,
  expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An invitation to connect an account in a browser; good for one account, and deleted with that.
CREATE TABLE connect_link (
  hash             TEXT NOT NULL PRIMARY KEY,  -- SHA-256 of the link's token, hex
  connection_id    TEXT NOT NULL,
  made_connection  INTEGER NOT NULL,           -- 1: the connection was made for this link, and goes if it ends unused
  owner            TEXT NOT NULL,
  external_user_id TEXT,                       -- the only outside user that it is for
  return_to        TEXT,                       -- where the browser goes in the end
  created_by       TEXT NOT NULL,
  expires_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which outside user is which inside one.
CREATE TABLE account_link (
  id               TEXT NOT NULL PRIMARY KEY,  -- lnk_…
  integration      TEXT NOT NULL,
  external_user_id TEXT NOT NULL,
  external_name    TEXT,
  owner            TEXT NOT NULL,              -- the inside user
  connection_id    TEXT,                       -- whose token acts for that user; NULL: none
  created_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX account_link_user ON account_link (integration, external_user_id);

-- The re-wrapping of sealed columns under the current key: one row while it runs and after it.
CREATE TABLE key_rotation (
  kid        TEXT NOT NULL PRIMARY KEY,  -- the key that everything is to be under
  started_at INTEGER NOT NULL,
  done_at    INTEGER,                    -- NULL: cron is at it
  moved      INTEGER NOT NULL,           -- rows re-wrapped so far
  failed     INTEGER NOT NULL            -- rows that did not open, in the last round
) STRICT, WITHOUT ROWID;

-- For whom a run acts, and with which account it did: a connection's id, or app:{integration}.
ALTER TABLE run ADD COLUMN external_user_id TEXT;
ALTER TABLE run ADD COLUMN acted_as TEXT;

UPDATE meta SET value = '4' WHERE key = 'schema_version' AND CAST(value AS INTEGER) < 4;

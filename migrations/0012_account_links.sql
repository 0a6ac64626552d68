-- An outside user is known by an id at one server: of self-managed servers each has a user 42.
ALTER TABLE account_link ADD COLUMN server TEXT NOT NULL DEFAULT '';  -- its origin; empty: the service's own
DROP INDEX account_link_user;
CREATE UNIQUE INDEX account_link_user ON account_link (integration, server, external_user_id);

UPDATE meta SET value = '12' WHERE key = 'schema_version' AND CAST(value AS INTEGER) < 12;

-- `context.user_id` while one user alone has spoken in the turn: then what the agent does may be done with that user's account.
ALTER TABLE conversation ADD COLUMN only_user_id TEXT;

UPDATE meta SET value = '10' WHERE key = 'schema_version';

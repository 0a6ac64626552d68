-- What a conversation says: in order, as one message that is changed where the service can, and by whom it was opened.

-- Place in the conversation's order; a run waits for those before it. NULL: it waits for none (an acknowledgement, or
-- a run outside of conversations).
ALTER TABLE run ADD COLUMN seq INTEGER;
-- Where a message stands: a later run of the same place changes the message rather than writes another. NULL: a new one.
ALTER TABLE run ADD COLUMN place TEXT;
-- `context.user` of the message that opened the turn.
ALTER TABLE conversation ADD COLUMN opened_by TEXT;

UPDATE meta SET value = '9' WHERE key = 'schema_version';

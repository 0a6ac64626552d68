-- When a destination failed last, and what ended lately of what was sent long ago.

-- When the last try failed, to the hour: what has failed throughout since `failing_since` was tried all the while.
ALTER TABLE destination ADD COLUMN failed_at INTEGER;
-- Deliveries that ended late or badly, for the metrics: those that arrive at once, nearly all, have no entry.
CREATE INDEX delivery_ended_late ON delivery (updated_at)
  WHERE state = 'failed' OR (state = 'delivered' AND updated_at - created_at > 60000);

UPDATE meta SET value = '13' WHERE key = 'schema_version';

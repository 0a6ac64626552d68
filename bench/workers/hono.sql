CREATE TABLE event (
  delivery_id TEXT NOT NULL PRIMARY KEY,
  type        TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  payload     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

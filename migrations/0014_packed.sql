-- Payloads packed in their rows.

-- how the payload is written: NULL as it is, `br` as base64 of it compressed with Brotli (RFC 7932)
ALTER TABLE event ADD COLUMN payload_encoding TEXT;

UPDATE meta SET value = '14' WHERE key = 'schema_version';

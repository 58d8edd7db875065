-- When a message to devices of another server was queued, Unix ms; 0: before this was noted.
ALTER TABLE federation_to_device ADD COLUMN queued_ts BIGINT NOT NULL DEFAULT 0;
CREATE INDEX federation_to_device_queued ON federation_to_device (queued_ts);

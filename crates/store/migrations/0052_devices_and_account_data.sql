-- The dehydrated device of a user (MSC3814): it is also in devices, has keys and receives messages, but no tokens.
CREATE TABLE dehydrated_devices (
    user_id TEXT NOT NULL PRIMARY KEY,
    device_id TEXT NOT NULL,
    -- JSON: what the user's clients make the device of.
    device_data TEXT NOT NULL
) /* WITHOUT ROWID */;

-- 1: the user has deleted it (MSC3391), and its content is {}. It is kept for clients that have an older one.
ALTER TABLE account_data ADD COLUMN deleted BIGINT NOT NULL DEFAULT 0;

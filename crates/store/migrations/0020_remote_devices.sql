-- Users of other servers whose devices are followed: those that share an encrypted room with a local user.
CREATE TABLE remote_device_lists (
    user_id TEXT NOT NULL PRIMARY KEY,
    -- stream_id of the newest update taken in; NULL when the list came without one.
    stream_id BIGINT,
    -- As the user's server tells them, JSON.
    master_key TEXT,
    self_signing_key TEXT,
    -- Goes up with every update, so that an answer that is older than one is known as such.
    revision BIGINT NOT NULL,
    -- When to ask for the list anew, Unix ms; NULL while it is good.
    ask_ts BIGINT,
    -- How often it has been asked for in vain.
    failures BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX remote_device_lists_ask ON remote_device_lists (ask_ts) WHERE ask_ts IS NOT NULL;

CREATE TABLE remote_devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    -- As the user's server tells them, JSON, with the device's name in `unsigned`.
    key_json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

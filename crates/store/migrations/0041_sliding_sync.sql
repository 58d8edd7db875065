-- What the connections of simplified sliding sync have been sent (MSC4186), at the positions that it may present next.
CREATE TABLE sliding_sync_connections (
    user_id TEXT NOT NULL,
    -- Empty for sessions without a device.
    device_id TEXT NOT NULL,
    -- Chosen by the client; may be empty.
    conn_id BYTEA NOT NULL,
    -- Random; part of the client's position.
    state_id BIGINT NOT NULL,
    used_ts BIGINT NOT NULL,
    -- Packed; see the sync crate. Last, so that the rest is read without it.
    state BYTEA NOT NULL,
    PRIMARY KEY (user_id, device_id, conn_id, state_id)
);
CREATE INDEX sliding_sync_connections_used ON sliding_sync_connections (used_ts);

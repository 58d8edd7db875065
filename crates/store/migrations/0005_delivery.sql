-- Account data, one row per (user, room, type). room_id is '' for global account data.
-- Tags are the room account data of type m.tag, the read marker is m.fully_read.
CREATE TABLE account_data (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id, type)
);

CREATE INDEX account_data_by_position ON account_data (user_id, position);

-- What a user changed about the default push rules: own rules in order, and switched-off or altered defaults.
CREATE TABLE push_rules (
    user_id TEXT NOT NULL PRIMARY KEY,
    changes TEXT NOT NULL,
    position BIGINT NOT NULL
);

-- The newest receipt of each kind. thread_id is '' for unthreaded receipts and 'main' for the main timeline.
-- event_position is where the event stands in the room's timeline; NULL while this server does not have the event.
CREATE TABLE receipts (
    room_nid BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    receipt_type TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event_position BIGINT,
    ts BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (room_nid, user_id, receipt_type, thread_id)
);

CREATE INDEX receipts_by_position ON receipts (room_nid, position);
CREATE INDEX receipts_by_user ON receipts (user_id, room_nid);

-- Unread counts as far as they have been evaluated, written only after a long scan.
CREATE TABLE unread_checkpoints (
    user_id TEXT NOT NULL,
    room_nid BIGINT NOT NULL,
    evaluated_to BIGINT NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (user_id, room_nid)
);

-- Messages waiting for a device; deleted once the device's next sync token acknowledges them.
CREATE TABLE to_device_messages (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, position)
);

CREATE TABLE to_device_transactions (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, event_type, txn_id)
);

CREATE INDEX to_device_transactions_by_ts ON to_device_transactions (ts);

CREATE TABLE filters (
    user_id TEXT NOT NULL,
    filter_id BIGINT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (user_id, filter_id)
);

CREATE TABLE pushers (
    user_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    pushkey TEXT NOT NULL,
    kind TEXT NOT NULL,
    app_display_name TEXT NOT NULL,
    device_display_name TEXT NOT NULL,
    profile_tag TEXT,
    lang TEXT NOT NULL,
    data TEXT NOT NULL,
    device_id TEXT,
    created_ts BIGINT NOT NULL,
    pushed_to BIGINT NOT NULL,
    PRIMARY KEY (user_id, app_id, pushkey)
);

CREATE INDEX pushers_by_key ON pushers (app_id, pushkey);

-- The last presence of local users, so that "last active" survives a restart.
CREATE TABLE presence (
    user_id TEXT NOT NULL PRIMARY KEY,
    presence TEXT NOT NULL,
    status_msg TEXT,
    last_active_ts BIGINT NOT NULL
);

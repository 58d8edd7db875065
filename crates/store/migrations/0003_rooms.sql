-- Rooms, events and state. Integer ids ("nids") inside; texts that other servers choose and that may hold U+0000
-- (event types, state keys, relation types, transaction ids) are stored as bytes. Times are Unix milliseconds.

-- Blocks of numbers for events, rooms and state snapshots; processes reserve blocks.
CREATE TABLE nid_blocks (
    name TEXT NOT NULL PRIMARY KEY,
    next_nid BIGINT NOT NULL
) /* WITHOUT ROWID */;

CREATE TABLE user_ids (
    user_nid BIGINT PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE
);

CREATE TABLE event_types (
    type_nid BIGINT PRIMARY KEY,
    event_type BYTEA NOT NULL UNIQUE
);

CREATE TABLE state_keys (
    state_key_nid BIGINT PRIMARY KEY,
    state_key BYTEA NOT NULL UNIQUE
);

CREATE TABLE rooms (
    room_nid BIGINT PRIMARY KEY,
    room_id TEXT NOT NULL UNIQUE,
    room_version TEXT NOT NULL,
    -- Counts every commit to the room: compare and swap.
    revision BIGINT NOT NULL,
    -- Packed event nids of the forward extremities.
    extremities BYTEA NOT NULL,
    depth BIGINT NOT NULL,
    -- State after the forward extremities.
    snapshot_nid BIGINT NOT NULL,
    -- Position of the newest timeline event.
    position BIGINT NOT NULL,
    -- Whether the room is in the room directory.
    published BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX rooms_published ON rooms (room_nid) WHERE published = 1;

CREATE TABLE events (
    event_nid BIGINT PRIMARY KEY,
    -- 32 bytes (the reference hash) from room version 3 on, before that the text.
    event_id BYTEA NOT NULL UNIQUE,
    room_nid BIGINT NOT NULL,
    -- Place in the timeline: positive live, negative backfilled, NULL when not in it (outliers, soft-failed, rejected).
    position BIGINT,
    depth BIGINT NOT NULL,
    type_nid BIGINT NOT NULL,
    state_key_nid BIGINT,
    sender_nid BIGINT NOT NULL,
    origin_server_ts BIGINT NOT NULL,
    -- State before the event; NULL for an outlier.
    snapshot_nid BIGINT,
    -- 0 accepted, 1 soft-failed, 2 rejected.
    verdict BIGINT NOT NULL DEFAULT 0,
    redacted_by BIGINT,
    -- The exact JSON; the first byte says how it is packed.
    json BYTEA NOT NULL
);
CREATE UNIQUE INDEX events_timeline ON events (room_nid, position);
CREATE INDEX events_by_time ON events (room_nid, origin_server_ts);

-- Redacted events whose original content is still stored.
CREATE TABLE uncensored_redactions (
    event_nid BIGINT PRIMARY KEY,
    redacted_ts BIGINT NOT NULL
);
CREATE INDEX uncensored_redactions_ts ON uncensored_redactions (redacted_ts);

-- A snapshot is its ancestor base_nid with a packed delta on top. The ancestor of a snapshot at depth d is the one at
-- d & (d - 1), so that a chain from any snapshot to the empty state is at most log2(d) long.
CREATE TABLE state_snapshots (
    snapshot_nid BIGINT PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    depth BIGINT NOT NULL,
    -- 0 is the empty state, which has no row.
    base_nid BIGINT NOT NULL,
    delta BYTEA NOT NULL
);

CREATE TABLE current_state (
    room_nid BIGINT NOT NULL,
    type_nid BIGINT NOT NULL,
    state_key_nid BIGINT NOT NULL,
    event_nid BIGINT NOT NULL,
    -- For m.room.member: 0 leave, 1 join, 2 invite, 3 knock, 4 ban.
    membership BIGINT,
    PRIMARY KEY (room_nid, type_nid, state_key_nid)
) /* WITHOUT ROWID */;

-- How the current state came about: the change made at a position.
CREATE TABLE current_state_deltas (
    room_nid BIGINT NOT NULL,
    type_nid BIGINT NOT NULL,
    state_key_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    event_nid BIGINT,
    prev_event_nid BIGINT,
    PRIMARY KEY (room_nid, type_nid, state_key_nid, position)
) /* WITHOUT ROWID */;
CREATE INDEX current_state_deltas_by_position ON current_state_deltas (room_nid, position);

CREATE TABLE memberships (
    user_nid BIGINT NOT NULL,
    room_nid BIGINT NOT NULL,
    membership BIGINT NOT NULL,
    event_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    forgotten BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (user_nid, room_nid)
) /* WITHOUT ROWID */;

CREATE TABLE event_relations (
    event_nid BIGINT PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    -- As events.event_id; the event need not be known yet.
    target BYTEA NOT NULL,
    rel_type BYTEA NOT NULL
);
CREATE INDEX event_relations_target ON event_relations (target, event_nid);
CREATE INDEX event_relations_room ON event_relations (room_nid, rel_type, event_nid);

-- txn_key: a hash over sender, device, room and transaction id.
CREATE TABLE transaction_ids (
    event_nid BIGINT PRIMARY KEY,
    txn_key BYTEA NOT NULL UNIQUE,
    device_id TEXT NOT NULL,
    txn_id BYTEA NOT NULL,
    created_ts BIGINT NOT NULL
);

CREATE TABLE room_aliases (
    alias TEXT NOT NULL PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    creator TEXT NOT NULL
) /* WITHOUT ROWID */;
CREATE INDEX room_aliases_room ON room_aliases (room_nid);

CREATE TABLE profile_fields (
    user_id TEXT NOT NULL,
    field TEXT NOT NULL,
    -- JSON.
    value TEXT NOT NULL,
    PRIMARY KEY (user_id, field)
) /* WITHOUT ROWID */;

CREATE TABLE reports (
    report_id BIGINT PRIMARY KEY,
    received_ts BIGINT NOT NULL,
    reporter TEXT NOT NULL,
    -- What is reported: an event with its room, a room, or a user.
    room_nid BIGINT,
    event_nid BIGINT,
    user_id TEXT,
    reason TEXT,
    score BIGINT
);

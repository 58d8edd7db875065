-- What goes to other servers, and how far they have come.

-- The events that other servers get from this one, one row an event whatever the number of servers. Who gets it follows
-- from who is in the room.
CREATE TABLE outgoing_events (
    position BIGINT NOT NULL PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    event_nid BIGINT NOT NULL,
    -- The server that handed it to this one to be passed on.
    handed_by TEXT,
    -- Servers that it concerns and that are not in the room after it, separated by spaces.
    also_to TEXT
);
CREATE INDEX outgoing_events_room ON outgoing_events (room_nid, position);

-- Every server without a row in federation_cursors has got everything up to here.
CREATE TABLE federation_position (
    id BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);
INSERT INTO federation_position (id, position) SELECT 1, position FROM clock;

-- Servers that are behind because they failed: each has got everything up to here.
CREATE TABLE federation_cursors (
    server_name TEXT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);

-- Messages to devices of other servers; deleted when the server has acknowledged them.
CREATE TABLE federation_to_device (
    server_name TEXT NOT NULL,
    position BIGINT NOT NULL,
    -- The content of the m.direct_to_device EDU.
    content TEXT NOT NULL,
    PRIMARY KEY (server_name, position)
);

-- Messages to devices that other servers sent, so that each is taken once.
CREATE TABLE received_to_device (
    origin TEXT NOT NULL,
    message_id BYTEA NOT NULL,
    received_ts BIGINT NOT NULL,
    PRIMARY KEY (origin, message_id)
);
CREATE INDEX received_to_device_ts ON received_to_device (received_ts);

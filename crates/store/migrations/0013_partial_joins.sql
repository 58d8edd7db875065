-- Rooms whose state was not told, or not stored, as a whole when this server came into them.
CREATE TABLE partial_joins (
    room_nid BIGINT NOT NULL PRIMARY KEY,
    -- The event by which this server came in, and the state before it, to which the rest is added.
    event_nid BIGINT NOT NULL,
    snapshot_nid BIGINT NOT NULL,
    -- The server by way of which, and the servers that it says are in the room, separated by spaces.
    joined_via TEXT NOT NULL,
    servers TEXT NOT NULL,
    -- From where on clients are told of the room: when all the state that was told was stored; NULL: they are not yet.
    told_position BIGINT,
    -- When the state became full; NULL: it is not yet.
    full_position BIGINT
);

-- Rooms that are deleted because nobody here is in them. Nobody can enter them meanwhile.
CREATE TABLE room_purges (
    room_nid BIGINT NOT NULL PRIMARY KEY,
    room_id TEXT NOT NULL UNIQUE,
    -- Since when nobody can enter it, Unix ms.
    closed_ts BIGINT NOT NULL
);

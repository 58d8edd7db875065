-- The avatars of rooms, by which media that is in use is found.
CREATE TABLE room_avatars (
    room_nid BIGINT NOT NULL PRIMARY KEY,
    -- The mxc:// URI of media of this server, as it was when the room's avatar was last read; NULL: something else.
    url TEXT,
    -- Whether the avatar has changed since.
    is_stale BIGINT NOT NULL
);
INSERT INTO room_avatars (room_nid, url, is_stale) SELECT room_nid, NULL, 1 FROM rooms;
CREATE INDEX room_avatars_url ON room_avatars (url) WHERE url IS NOT NULL;
CREATE INDEX room_avatars_stale ON room_avatars (room_nid) WHERE is_stale = 1;

-- Texts of any length: PostgreSQL's other indexes refuse long ones.
/* SQLITE: CREATE INDEX profile_fields_avatar ON profile_fields (value) WHERE field = 'avatar_url'; :SQLITE */
/* POSTGRESQL: CREATE INDEX profile_fields_avatar ON profile_fields USING hash (value)
    WHERE field = 'avatar_url'; :POSTGRESQL */

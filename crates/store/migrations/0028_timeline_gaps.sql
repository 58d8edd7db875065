-- Places in rooms' timelines where this server was away, and events are missing that other servers have.
CREATE TABLE timeline_gaps (
    -- Number of the event that made the gap known, which stands right after it.
    gap_nid BIGINT PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    -- The event's depth and position. A range of positions before it is kept free for what is missing.
    depth BIGINT NOT NULL,
    top BIGINT NOT NULL,
    -- The lowest position of the range that is taken; `top` when nothing has been fetched yet.
    lowest BIGINT NOT NULL,
    -- 0 once nothing is missing any more.
    is_open BIGINT NOT NULL
);
CREATE INDEX timeline_gaps_room ON timeline_gaps (room_nid, top);

-- Events that are in the timeline while some of their prev events are not.
CREATE TABLE backward_extremities (
    event_nid BIGINT PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    -- The gap that the prev events are missing from; 0: they are from before this server came into the room.
    gap_nid BIGINT NOT NULL
);
CREATE INDEX backward_extremities_gap ON backward_extremities (room_nid, gap_nid);

-- When to try an event again that could not be placed, Unix ms; 0: now. `failures` says how often it has been tried.
ALTER TABLE staged_pdus ADD COLUMN retry_ts BIGINT NOT NULL DEFAULT 0;
UPDATE staged_pdus SET failures = ABS(failures);
CREATE INDEX staged_pdus_retry ON staged_pdus (retry_ts) WHERE retry_ts > 0;

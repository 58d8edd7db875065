-- The events that are sticky (MSC4354), until a while after they have ceased to be.
CREATE TABLE sticky_events (
    event_nid BIGINT NOT NULL PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    -- Its place in the timeline; of an event that is not there, when it was received or turned out to be allowed.
    position BIGINT NOT NULL,
    -- Unix ms.
    expires_ts BIGINT NOT NULL,
    -- The length of its JSON.
    bytes BIGINT NOT NULL,
    -- Whether this server sent it.
    is_own BIGINT NOT NULL,
    -- Whether the current state did not allow it: nobody sees it.
    soft_failed BIGINT NOT NULL
);
CREATE INDEX sticky_events_in_order ON sticky_events (position);

-- The only server that gets a row: one that came into the room while the event was sticky. NULL: all in the room.
ALTER TABLE outgoing_events ADD COLUMN only_to TEXT;
-- How long a delayed event will be sticky; NULL: not at all.
ALTER TABLE delayed_events ADD COLUMN sticky_duration_ms BIGINT;

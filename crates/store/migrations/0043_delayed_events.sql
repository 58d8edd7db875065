-- Events that users have scheduled (MSC4140). Each is sent by the scheduled task of the same id.
CREATE TABLE delayed_events (
    delay_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    -- The request that scheduled it: its device, the name of its endpoint, and its transaction id; NULL when it had none.
    device_id TEXT,
    endpoint TEXT,
    txn_id TEXT,
    room_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    -- NULL for a message event.
    state_key TEXT,
    -- JSON.
    content TEXT NOT NULL,
    delay_ms BIGINT NOT NULL,
    -- Unix ms: when it was scheduled or last restarted.
    delayed_since_ts BIGINT NOT NULL,
    -- The last position before it was scheduled. A later change of the same state by another user cancels it.
    scheduled_position BIGINT NOT NULL,
    -- Unix ms; NULL while it is scheduled.
    finalised_ts BIGINT,
    -- The event that it became.
    event_id TEXT,
    -- JSON: the error for which it was not sent.
    error TEXT
);
CREATE INDEX delayed_events_user ON delayed_events (user_id, finalised_ts);
CREATE UNIQUE INDEX delayed_events_request ON delayed_events
    (user_id, room_id, device_id, endpoint, event_type, txn_id) WHERE txn_id IS NOT NULL;
CREATE INDEX delayed_events_state ON delayed_events (room_id) WHERE finalised_ts IS NULL AND state_key IS NOT NULL;
CREATE INDEX delayed_events_finalised ON delayed_events (finalised_ts) WHERE finalised_ts IS NOT NULL;

-- The threads that users have subscribed to, or unsubscribed from again (MSC4306).
CREATE TABLE thread_subscriptions (
    user_id TEXT NOT NULL,
    room_nid BIGINT NOT NULL,
    -- The id of the thread's root.
    root TEXT NOT NULL,
    -- Whether a client subscribed by itself, for an event in the thread.
    automatic BIGINT NOT NULL,
    -- NULL while subscribed; otherwise the last position before the user unsubscribed: events up to there do not
    -- subscribe the user again.
    unsubscribed_at BIGINT,
    -- When it changed last.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_nid, root)
);
CREATE INDEX thread_subscriptions_changes ON thread_subscriptions (user_id, position);
CREATE INDEX thread_subscriptions_log ON thread_subscriptions (position);

-- When the user subscribed, which a later change does not move: events from then on, up to unsubscribed_at, notify. Of
-- older rows it is not known; of those that have ended it is taken to be the end.
ALTER TABLE thread_subscriptions ADD COLUMN subscribed_at BIGINT NOT NULL DEFAULT 0;
UPDATE thread_subscriptions SET subscribed_at = position;

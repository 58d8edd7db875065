-- Delivery to push gateways.

-- A pusher that is off gets nothing (MSC3881).
ALTER TABLE pushers ADD COLUMN enabled BIGINT NOT NULL DEFAULT 1;
-- Set while the pusher is behind because its gateway failed: it has everything up to here.
ALTER TABLE pushers ADD COLUMN behind_at BIGINT;

-- Every pusher with no behind_at has everything up to here.
CREATE TABLE push_position (
    id BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);
INSERT INTO push_position (id, position) SELECT 1, position FROM clock;

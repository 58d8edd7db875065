-- The changes that no other table gives a position, for processes that keep in memory what they change.
-- Old ones are deleted.
CREATE TABLE other_changes (
    position BIGINT NOT NULL,
    -- See repo/other_changes.rs.
    kind BIGINT NOT NULL,
    -- What has changed; 0 and empty where it does not apply.
    room_nid BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    -- The SHA-256 of an access token, or a device id.
    detail BYTEA NOT NULL,
    PRIMARY KEY (position, kind, room_nid, user_id, detail)
) /* WITHOUT ROWID */;

-- What was changed after a position, in all rooms and of all users, is asked by other processes on the same database,
-- of which there are none on SQLite.
/* POSTGRESQL: CREATE INDEX events_by_position ON events USING brin (position); :POSTGRESQL */
/* POSTGRESQL: CREATE INDEX memberships_by_position ON memberships USING brin (position); :POSTGRESQL */
/* POSTGRESQL: CREATE INDEX receipts_in_order ON receipts USING brin (position); :POSTGRESQL */
/* POSTGRESQL: CREATE INDEX account_data_in_order ON account_data USING brin (position); :POSTGRESQL */
/* POSTGRESQL: CREATE INDEX to_device_messages_in_order ON to_device_messages USING brin (position); :POSTGRESQL */

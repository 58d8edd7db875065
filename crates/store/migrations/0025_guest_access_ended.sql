-- Rooms in which guest access has ended, and which guests of this server may still have to leave.
CREATE TABLE guest_access_ended (
    room_nid BIGINT NOT NULL PRIMARY KEY,
    -- When it ended, the last time.
    position BIGINT NOT NULL
);

-- It may have ended before guests were made to leave: every room with a guest is looked at once.
INSERT INTO guest_access_ended (room_nid, position)
    SELECT DISTINCT m.room_nid, 0
    FROM users g JOIN user_ids u ON u.user_id = g.user_id JOIN memberships m ON m.user_nid = u.user_nid
    WHERE g.is_guest = 1 AND m.membership = 1;

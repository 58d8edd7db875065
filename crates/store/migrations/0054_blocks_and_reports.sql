-- Rooms that administrators have blocked. This server need not know them.
CREATE TABLE blocked_rooms (
    room_id TEXT NOT NULL PRIMARY KEY,
    blocked_by TEXT NOT NULL
) /* WITHOUT ROWID */;

-- The reports of one user are counted.
CREATE INDEX reports_by_reporter ON reports (reporter);

-- Finding events by time needs no index of all of them: most are in the timeline in the order of their times.
--
-- 1: in the timeline, but out of the order of time. Of a room's live events without it origin_server_ts never decreases as the
-- position increases. Every backfilled event has it; NULL also when the event is not in the timeline.
ALTER TABLE events ADD COLUMN late BIGINT;
DROP INDEX events_by_time;
UPDATE events SET late = 1 WHERE position < 0;
-- One event from the far future must not make all that follow late.
UPDATE events SET late = 1 WHERE position > 0 AND origin_server_ts >
    (SELECT newest.origin_server_ts FROM events AS newest
     WHERE newest.room_nid = events.room_nid AND newest.position > 0 ORDER BY newest.position DESC LIMIT 1);
UPDATE events SET late = 1 WHERE event_nid IN
    (SELECT event_nid FROM
        (SELECT event_nid, origin_server_ts, MAX(origin_server_ts) OVER (PARTITION BY room_nid ORDER BY position) AS latest
         FROM events WHERE position > 0 AND late IS NULL) AS live
     WHERE origin_server_ts < latest);
CREATE INDEX events_late ON events (room_nid, origin_server_ts) WHERE late IS NOT NULL;

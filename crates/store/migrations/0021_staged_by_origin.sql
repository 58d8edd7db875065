-- Each server's staged events are counted, and those that have to be searched for are read by who sent them.
CREATE INDEX staged_pdus_origin ON staged_pdus (origin, room_nid, staged_nid);
-- How often the event failed in the database: above 0 it is set aside until the next start, below 0 it is tried again.
ALTER TABLE staged_pdus ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;

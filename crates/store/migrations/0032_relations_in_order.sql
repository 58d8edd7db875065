-- Relations are read in parts: the newest of a type, those of a sender, a page in the order of the timeline.

-- A redacted event relates to nothing.
DELETE FROM event_relations
WHERE event_nid IN (SELECT event_nid FROM events WHERE redacted_by IS NOT NULL);

-- As in events.
ALTER TABLE event_relations ADD COLUMN sender_nid BIGINT NOT NULL DEFAULT 0;
ALTER TABLE event_relations ADD COLUMN position BIGINT;
UPDATE event_relations
SET sender_nid = COALESCE((SELECT sender_nid FROM events WHERE events.event_nid = event_relations.event_nid), 0),
    position = (SELECT position FROM events WHERE events.event_nid = event_relations.event_nid);

DROP INDEX event_relations_target;
CREATE INDEX event_relations_target ON event_relations (target, position);
CREATE INDEX event_relations_type ON event_relations (target, rel_type, position);
CREATE INDEX event_relations_sender ON event_relations (target, sender_nid, rel_type, position);

-- Redactions of events that were not known when the redaction came: looked at when an event comes from another server.
CREATE TABLE early_redactions (
    -- As events.event_id.
    target BYTEA NOT NULL,
    redaction_nid BIGINT NOT NULL,
    PRIMARY KEY (target, redaction_nid)
) /* WITHOUT ROWID */;

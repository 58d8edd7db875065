-- Addresses that are being validated: each by a link that is sent to it.
CREATE TABLE threepid_validations (
    session_id TEXT NOT NULL PRIMARY KEY,
    -- email
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    -- A mail is sent for a higher number only.
    send_attempt BIGINT NOT NULL,
    -- What the link contains.
    token TEXT NOT NULL,
    -- Unix ms; afterwards the link does nothing.
    token_expires_ms BIGINT NOT NULL,
    -- Where the link leads in the end; NULL for a page of this server.
    next_link TEXT,
    -- Unix ms.
    created_ms BIGINT NOT NULL,
    -- Unix ms; NULL until the link has been opened.
    validated_ms BIGINT
);
CREATE INDEX threepid_validations_by_address ON threepid_validations (medium, address);
CREATE INDEX threepid_validations_by_age ON threepid_validations (created_ms);

-- Mail that the mail server has not accepted yet. A scheduled task for each row delivers it.
CREATE TABLE mail_queue (
    -- Part of the mail's Message-ID.
    mail_id TEXT NOT NULL PRIMARY KEY,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    -- Headers and body (RFC 5322).
    message BYTEA NOT NULL,
    -- Unix ms.
    created_ms BIGINT NOT NULL,
    -- Unix ms; afterwards it is not sent any more.
    expires_ms BIGINT NOT NULL
);

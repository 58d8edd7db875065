-- Other servers. While one fails, it is left alone until retry_last_ts + retry_interval_ms; both are 0 and failure_ts is
-- NULL when it answers.
CREATE TABLE destinations (
    server_name TEXT NOT NULL PRIMARY KEY,
    -- When it began to fail.
    failure_ts BIGINT,
    -- When it was last tried.
    retry_last_ts BIGINT NOT NULL DEFAULT 0,
    retry_interval_ms BIGINT NOT NULL DEFAULT 0
);

-- The keys that other servers sign with.
CREATE TABLE server_keys (
    server_name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    -- Unpadded base64.
    public_key TEXT NOT NULL,
    -- Until when it may sign: at most seven days after it was fetched, or when it was retired.
    valid_until_ts BIGINT NOT NULL,
    -- valid_until_ts of the response as it stands there: a later statement replaces an earlier one.
    stated_until_ts BIGINT NOT NULL,
    fetched_ts BIGINT NOT NULL,
    -- Who told: the server itself, or a trusted key server.
    from_server TEXT NOT NULL,
    -- The signed response that it was in.
    response TEXT NOT NULL,
    PRIMARY KEY (server_name, key_id)
);

-- Local accounts. Times are Unix milliseconds, flags are 0 or 1.
CREATE TABLE users (
    user_id TEXT NOT NULL PRIMARY KEY,
    password_hash TEXT,
    created_ts BIGINT NOT NULL,
    is_guest BIGINT NOT NULL DEFAULT 0,
    is_admin BIGINT NOT NULL DEFAULT 0,
    -- NULL (a person), 'bot' or 'support'.
    user_type TEXT,
    appservice_id TEXT,
    deactivated BIGINT NOT NULL DEFAULT 0,
    erased BIGINT NOT NULL DEFAULT 0,
    locked BIGINT NOT NULL DEFAULT 0,
    suspended BIGINT NOT NULL DEFAULT 0,
    shadow_banned BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX users_ignoring_case ON users (lower(user_id));

-- Deactivated users whose rooms are still being left; the work resumes after a restart.
CREATE TABLE users_to_part (
    user_id TEXT NOT NULL PRIMARY KEY
);

CREATE TABLE devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_ts BIGINT NOT NULL,
    last_seen_ts BIGINT,
    last_seen_ip TEXT,
    last_seen_user_agent TEXT,
    PRIMARY KEY (user_id, device_id)
);

-- Only the SHA-256 of a token is stored. token_id is the first 63 bits of that hash.
CREATE TABLE access_tokens (
    token_id BIGINT PRIMARY KEY,
    token_hash BYTEA NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    device_id TEXT,
    created_ts BIGINT NOT NULL,
    valid_until_ts BIGINT,
    -- The refresh token handed out together with this token.
    refresh_token_id BIGINT,
    -- 1 once a request was made with it, which ends what it was refreshed from.
    used BIGINT NOT NULL DEFAULT 0,
    -- For an admin acting as a user: who it is really.
    puppeted_by TEXT
);
CREATE INDEX access_tokens_device ON access_tokens (user_id, device_id);
CREATE INDEX access_tokens_refresh ON access_tokens (refresh_token_id);

CREATE TABLE refresh_tokens (
    token_id BIGINT PRIMARY KEY,
    token_hash BYTEA NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    valid_until_ts BIGINT,
    -- The moment the whole session ends, however often it is refreshed.
    session_until_ts BIGINT,
    -- The refresh token it was exchanged for; it stays usable until that one's access token is used.
    next_token_id BIGINT
);
CREATE INDEX refresh_tokens_device ON refresh_tokens (user_id, device_id);
CREATE INDEX refresh_tokens_next ON refresh_tokens (next_token_id);

-- Single-use m.login.token tokens.
CREATE TABLE login_tokens (
    token_hash BYTEA NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    valid_until_ts BIGINT NOT NULL
);

CREATE TABLE openid_tokens (
    token_hash BYTEA NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    valid_until_ts BIGINT NOT NULL
);

CREATE TABLE registration_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    uses_allowed BIGINT,
    pending BIGINT NOT NULL DEFAULT 0,
    completed BIGINT NOT NULL DEFAULT 0,
    expiry_ts BIGINT
);

-- User-interactive authentication sessions.
CREATE TABLE ui_auth_sessions (
    session_id TEXT NOT NULL PRIMARY KEY,
    created_ts BIGINT NOT NULL,
    -- Method and path of the request being authorised.
    operation TEXT NOT NULL,
    -- Whom it is for; NULL for registration.
    user_id TEXT,
    -- The request body without `auth` and passwords, canonical JSON.
    params TEXT NOT NULL,
    -- The registration token this session reserved a use of.
    registration_token TEXT,
    -- Set once the operation was carried out: the user that was registered.
    registered_user_id TEXT
);
CREATE INDEX ui_auth_sessions_created ON ui_auth_sessions (created_ts);

CREATE TABLE ui_auth_completed (
    session_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    PRIMARY KEY (session_id, stage)
);

CREATE TABLE user_threepids (
    user_id TEXT NOT NULL,
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    validated_ts BIGINT NOT NULL,
    added_ts BIGINT NOT NULL,
    PRIMARY KEY (medium, address)
);
CREATE INDEX user_threepids_user ON user_threepids (user_id);

-- End-to-end encryption: what devices publish. Key objects are stored as the canonical JSON the client uploaded.
CREATE TABLE device_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    key_json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

CREATE TABLE one_time_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    -- Grows with every key of the device: the oldest is given out first.
    serial BIGINT NOT NULL,
    key_json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm, key_id)
);
CREATE INDEX one_time_keys_oldest ON one_time_keys (user_id, device_id, algorithm, serial);

CREATE TABLE fallback_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    key_json TEXT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm)
);

-- purpose is 'master', 'self_signing' or 'user_signing'.
CREATE TABLE cross_signing_keys (
    user_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    key_json TEXT NOT NULL,
    PRIMARY KEY (user_id, purpose)
);

-- Until when a user may replace the cross-signing keys without user-interactive authentication.
CREATE TABLE cross_signing_reset (
    user_id TEXT NOT NULL PRIMARY KEY,
    allowed_until_ts BIGINT NOT NULL
);

-- Signatures uploaded after the key itself. target is a device id or the public part of a cross-signing key.
CREATE TABLE key_signatures (
    target_user_id TEXT NOT NULL,
    target TEXT NOT NULL,
    signer_user_id TEXT NOT NULL,
    signer_key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (target_user_id, target, signer_user_id, signer_key_id)
);

-- The newest change of each device (device_id '' is the cross-signing keys): a follower reads what is above its cursor.
CREATE TABLE device_list_changes (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);
CREATE INDEX device_list_changes_position ON device_list_changes (position);

-- A user's signatures on other users' keys, which only that user sees.
CREATE TABLE user_signature_changes (
    user_id TEXT NOT NULL,
    target_user_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, target_user_id)
);

CREATE TABLE key_backups (
    user_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data TEXT NOT NULL,
    -- Grows with every change of the keys.
    etag BIGINT NOT NULL DEFAULT 0,
    key_count BIGINT NOT NULL DEFAULT 0,
    deleted BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, version)
);

CREATE TABLE key_backup_sessions (
    user_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    first_message_index BIGINT NOT NULL,
    forwarded_count BIGINT NOT NULL,
    is_verified BIGINT NOT NULL,
    session_data TEXT NOT NULL,
    PRIMARY KEY (user_id, version, room_id, session_id)
);

-- When each field of a local user's profile was last set or removed, for clients that follow profiles.
CREATE TABLE profile_changes (
    user_id TEXT NOT NULL,
    field TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, field)
) /* WITHOUT ROWID */;
CREATE INDEX profile_changes_position ON profile_changes (position);

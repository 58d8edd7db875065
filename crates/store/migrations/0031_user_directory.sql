-- The user directory: the words by which users are found. Members of rooms are indexed after they have joined.

-- 1: the membership is yet to be indexed. Only those of other servers' users are.
ALTER TABLE memberships ADD COLUMN directory_stale BIGINT NOT NULL DEFAULT 1;
CREATE INDEX memberships_directory_stale ON memberships (room_nid, user_nid) WHERE directory_stale = 1;

-- Names and avatars of users: on this server, or in rooms. The same profile in many rooms is one row.
CREATE TABLE user_directory_profiles (
    -- From a hash of the other columns.
    profile_nid BIGINT NOT NULL PRIMARY KEY,
    user_nid BIGINT NOT NULL,
    is_local BIGINT NOT NULL,
    -- JSON strings.
    display_name TEXT,
    avatar_url TEXT
);

-- The words of the display name and of the user id, folded.
CREATE TABLE user_directory_words (
    profile_nid BIGINT NOT NULL,
    word BYTEA NOT NULL,
    PRIMARY KEY (profile_nid, word)
) /* WITHOUT ROWID */;
CREATE INDEX user_directory_words_by_word ON user_directory_words (word, profile_nid);

-- Where a user has a profile: room 0 stands for the profile of a user of this server.
CREATE TABLE user_directory_sources (
    room_nid BIGINT NOT NULL,
    user_nid BIGINT NOT NULL,
    profile_nid BIGINT NOT NULL,
    PRIMARY KEY (room_nid, user_nid)
) /* WITHOUT ROWID */;
CREATE INDEX user_directory_sources_by_profile ON user_directory_sources (profile_nid);

-- Rooms whose members can be found by everybody: this server is in them, and anybody may join or read them.
CREATE TABLE user_directory_open_rooms (
    room_nid BIGINT NOT NULL PRIMARY KEY
);

-- Users and rooms that are older than the user directory, until they are indexed.
CREATE TABLE user_directory_old_users (
    user_id TEXT NOT NULL PRIMARY KEY
);
INSERT INTO user_directory_old_users (user_id) SELECT user_id FROM users;
CREATE TABLE user_directory_old_rooms (
    room_nid BIGINT NOT NULL PRIMARY KEY
);
INSERT INTO user_directory_old_rooms (room_nid) SELECT room_nid FROM rooms;

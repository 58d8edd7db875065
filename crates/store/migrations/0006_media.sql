-- Media uploaded here. The content lies in the media store's folder, named by media_id.
-- length and content_type are NULL while an id has been handed out and nothing has been uploaded to it yet;
-- such an id is worthless after expires_ms.
CREATE TABLE local_media (
    media_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    content_type TEXT,
    upload_name TEXT,
    length BIGINT,
    sha256 BYTEA
);

CREATE INDEX local_media_by_user ON local_media (user_id, created_ms);

-- Media of other servers that was fetched. The content lies in the media store's folder, named by file_id.
CREATE TABLE remote_media (
    server_name TEXT NOT NULL,
    media_id TEXT NOT NULL,
    file_id TEXT NOT NULL,
    fetched_ms BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    upload_name TEXT,
    length BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    PRIMARY KEY (server_name, media_id)
);

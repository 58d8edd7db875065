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

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

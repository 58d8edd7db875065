-- When content was last requested, in Unix ms; NULL until content is uploaded. Not written at each request.
ALTER TABLE local_media ADD COLUMN last_access_ms BIGINT;
ALTER TABLE remote_media ADD COLUMN last_access_ms BIGINT;
UPDATE local_media SET last_access_ms = created_ms WHERE content_type IS NOT NULL;
UPDATE remote_media SET last_access_ms = fetched_ms;
CREATE INDEX local_media_by_access ON local_media (last_access_ms, media_id) WHERE last_access_ms IS NOT NULL;
CREATE INDEX remote_media_by_access ON remote_media (last_access_ms);

-- Identical files are stored once.
CREATE INDEX local_media_by_hash ON local_media (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX remote_media_by_hash ON remote_media (sha256);
CREATE INDEX remote_media_by_file ON remote_media (server_name, file_id);

-- The files that a storage still has to store, or to delete because their media is gone.
CREATE TABLE media_file_queue (
    -- Empty for the folder of the media store.
    storage TEXT NOT NULL,
    -- Empty for media that was uploaded here.
    server_name TEXT NOT NULL,
    -- media_id of local_media, or file_id of remote_media.
    file_id TEXT NOT NULL,
    is_deletion BIGINT NOT NULL,
    -- Unix ms.
    due_ms BIGINT NOT NULL,
    PRIMARY KEY (storage, server_name, file_id)
) /* WITHOUT ROWID */;
CREATE INDEX media_file_queue_due ON media_file_queue (storage, due_ms);

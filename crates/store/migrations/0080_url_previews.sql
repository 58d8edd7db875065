-- Previews of links: Open Graph tags as JSON, for as long as they are valid.
CREATE TABLE url_previews (
    -- SHA-256 of the URL.
    url_hash BYTEA NOT NULL,
    -- Unix ms.
    downloaded_ms BIGINT NOT NULL,
    -- Unix ms.
    expires_ms BIGINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (url_hash, downloaded_ms)
) /* WITHOUT ROWID */;
CREATE INDEX url_previews_by_expiry ON url_previews (expires_ms);

-- The URL of the page whose preview shows this image. NULL for uploads.
ALTER TABLE local_media ADD COLUMN preview_of TEXT;
CREATE INDEX local_media_of_previews ON local_media (created_ms) WHERE preview_of IS NOT NULL;

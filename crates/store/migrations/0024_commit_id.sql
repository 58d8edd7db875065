-- Which commit was the last, on PostgreSQL: by it the fate of one whose answer was lost is known.
ALTER TABLE clock ADD COLUMN commit_id BIGINT NOT NULL DEFAULT 0;

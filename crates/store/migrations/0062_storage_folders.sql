-- The storage providers that are folders, and have been used. Each has a file that is missing while another disk, or none,
-- is mounted there.
CREATE TABLE storage_folders (
    storage TEXT NOT NULL PRIMARY KEY
) /* WITHOUT ROWID */;

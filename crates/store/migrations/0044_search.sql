-- The index of the messages, names and topics that can be searched.

-- The events in the index.
CREATE TABLE search_documents (
    -- In the order of recency: the event's origin_server_ts, at most the time at which it was indexed, and a bit later
    -- where another event has that number.
    document_nid BIGINT NOT NULL PRIMARY KEY,
    event_nid BIGINT NOT NULL UNIQUE,
    room_nid BIGINT NOT NULL,
    -- The edit whose text is indexed in place of the event's own.
    edit_nid BIGINT
);
CREATE INDEX search_documents_edit ON search_documents (edit_nid) WHERE edit_nid IS NOT NULL;

-- The words of each: those of its text, and marks for its room and for what it is. `rowid` is the document_nid.
/* SQLITE: CREATE VIRTUAL TABLE search_words USING fts5
    (words, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'); :SQLITE */
/* POSTGRESQL: CREATE TABLE search_words (
    rowid BIGINT NOT NULL PRIMARY KEY,
    words TSVECTOR NOT NULL
); :POSTGRESQL */
/* POSTGRESQL: CREATE INDEX search_words_words ON search_words USING gin (words); :POSTGRESQL */

-- One row: how far the index is.
CREATE TABLE search_progress (
    -- Always 1.
    id BIGINT NOT NULL PRIMARY KEY,
    -- Whether the index is kept. While it is not it is empty.
    is_kept BIGINT NOT NULL,
    -- What has come since the index is kept is indexed up to this position.
    position BIGINT NOT NULL
);
INSERT INTO search_progress (id, is_kept, position) VALUES (1, 0, 0);

-- Events that were added to the past of a room, until they are indexed.
CREATE TABLE search_queue (
    event_nid BIGINT NOT NULL PRIMARY KEY
);

-- Rooms that users of this server have forgotten. When all have, its documents are removed, until a user comes back.
CREATE TABLE search_forgotten_rooms (
    room_nid BIGINT NOT NULL PRIMARY KEY,
    is_removed BIGINT NOT NULL
);

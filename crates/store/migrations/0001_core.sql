-- The one clock: the last position given out.
CREATE TABLE clock (
    id BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);
INSERT INTO clock (id, position) VALUES (1, 0);

-- Who this database belongs to.
CREATE TABLE server (
    id BIGINT NOT NULL PRIMARY KEY,
    server_name TEXT NOT NULL
);

-- What goes to application services, and how far they have come.

-- Every application service without a row in app_service_cursors has got everything up to here.
CREATE TABLE app_service_position (
    id BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);
INSERT INTO app_service_position (id, position) SELECT 1, position FROM clock;

-- Application services that are behind: each has got everything up to here.
CREATE TABLE app_service_cursors (
    service_id TEXT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);

-- The last transaction of each application service. It is stored before it is sent, so that it is repeated unchanged.
CREATE TABLE app_service_transactions (
    service_id TEXT NOT NULL PRIMARY KEY,
    txn_id TEXT NOT NULL,
    -- With it, the service has everything up to here.
    upto BIGINT NOT NULL,
    -- The body; NULL when the service has accepted the transaction.
    body TEXT
);

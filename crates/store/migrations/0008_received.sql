-- What other servers sent.

-- Transactions that have been answered, so that a repeated one gets the same answer.
CREATE TABLE received_transactions (
    origin TEXT NOT NULL,
    txn_id BYTEA NOT NULL,
    received_ts BIGINT NOT NULL,
    -- JSON.
    answer TEXT NOT NULL,
    PRIMARY KEY (origin, txn_id)
) /* WITHOUT ROWID */;
CREATE INDEX received_transactions_ts ON received_transactions (received_ts);

-- Events that have been acknowledged and not yet been placed in their rooms. Their signatures and hashes are checked.
CREATE TABLE staged_pdus (
    staged_nid BIGINT PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    origin TEXT NOT NULL,
    -- As events.event_id.
    event_id BYTEA NOT NULL UNIQUE,
    -- As events.json.
    json BYTEA NOT NULL
);
CREATE INDEX staged_pdus_room ON staged_pdus (room_nid, staged_nid);

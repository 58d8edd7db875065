-- In place of transaction_ids. Its key was a hash, so that each message wrote to a page of the index of its own, however
-- large the index had become. Clients count their transactions, or name them after the time: in their own order a device's
-- next one lies beside the one before.
CREATE TABLE event_transactions (
    event_nid BIGINT PRIMARY KEY,
    -- A hash over sender, device and room.
    scope BIGINT NOT NULL,
    txn_id BYTEA NOT NULL,
    device_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL
);
CREATE UNIQUE INDEX event_transactions_scope ON event_transactions (scope, txn_id);
-- What device and transaction made the events is still told; a scope cannot be computed here, so that a number stands for it.
INSERT INTO event_transactions (event_nid, scope, txn_id, device_id, created_ts)
    SELECT event_nid, event_nid, txn_id, device_id, created_ts FROM transaction_ids WHERE length(txn_id) < 256;
DROP TABLE transaction_ids;

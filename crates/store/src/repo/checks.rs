//! Rules that the rows of a consistent database follow, for `plexus db check`.

/// A rule with the query that returns the rows that break it, each as one text.
pub struct Check {
    /// The rule, in words for the operator.
    pub rule: &'static str,
    /// Returns one text column; may be limited by a LIMIT.
    pub sql: &'static str,
}

/// Every rule.
pub const CHECKS: &[Check] = &[
    Check {
        rule: "the clock is not behind the events",
        sql: "SELECT 'event ' || event_nid || ' is at ' || position FROM events
              WHERE position > (SELECT position FROM clock WHERE id = 1)",
    },
    Check {
        rule: "the clock is not behind account data",
        sql: "SELECT type || ' of ' || user_id || ' is at ' || position FROM account_data
              WHERE position > (SELECT position FROM clock WHERE id = 1)",
    },
    Check {
        rule: "the clock is not behind receipts",
        sql: "SELECT 'receipt of ' || user_id || ' is at ' || position FROM receipts
              WHERE position > (SELECT position FROM clock WHERE id = 1)",
    },
    Check {
        rule: "the clock is not behind to-device messages",
        sql: "SELECT 'message to ' || user_id || ' is at ' || position FROM to_device_messages
              WHERE position > (SELECT position FROM clock WHERE id = 1)",
    },
    Check {
        rule: "the clock is not behind device list changes",
        sql: "SELECT 'device list of ' || user_id || ' is at ' || position FROM device_list_changes
              WHERE position > (SELECT position FROM clock WHERE id = 1)",
    },
    Check {
        rule: "the clock is not behind other changes",
        sql: "SELECT 'change of kind ' || kind || ' is at ' || position FROM other_changes
              WHERE position > (SELECT position FROM clock WHERE id = 1)",
    },
    Check {
        rule: "a room's position is that of its newest event",
        sql: "SELECT 'event ' || event_nid || ' is after its room ' || rooms.room_id FROM events
              JOIN rooms ON rooms.room_nid = events.room_nid WHERE events.position > rooms.position",
    },
    Check {
        rule: "events that are not late are live and in the order of their times",
        sql: "SELECT 'event ' || event_nid || ' at ' || position FROM
                  (SELECT event_nid, position, origin_server_ts,
                       LAG(origin_server_ts) OVER (PARTITION BY room_nid ORDER BY position) AS earlier
                   FROM events WHERE position IS NOT NULL AND late IS NULL) AS timeline
              WHERE position < 0 OR origin_server_ts < earlier",
    },
    Check {
        rule: "an event belongs to a room",
        sql: "SELECT 'event ' || event_nid || ' is in room ' || room_nid FROM events
              WHERE NOT EXISTS (SELECT 1 FROM rooms WHERE rooms.room_nid = events.room_nid)",
    },
    Check {
        rule: "current state consists of events of its room",
        sql: "SELECT 'event ' || event_nid || ' is not in room ' || room_nid FROM current_state
              WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.event_nid = current_state.event_nid
                  AND events.room_nid = current_state.room_nid)",
    },
    Check {
        rule: "the state before an event is stored",
        sql: "SELECT 'event ' || event_nid || ' needs snapshot ' || snapshot_nid FROM events
              WHERE snapshot_nid <> 0 AND NOT EXISTS
                  (SELECT 1 FROM state_snapshots WHERE state_snapshots.snapshot_nid = events.snapshot_nid)",
    },
    Check {
        rule: "the state of a room is stored",
        sql: "SELECT room_id || ' needs snapshot ' || snapshot_nid FROM rooms
              WHERE snapshot_nid <> 0 AND NOT EXISTS
                  (SELECT 1 FROM state_snapshots WHERE state_snapshots.snapshot_nid = rooms.snapshot_nid)",
    },
    Check {
        rule: "the base of a state snapshot is stored",
        sql: "SELECT 'snapshot ' || snapshot_nid || ' needs ' || base_nid FROM state_snapshots AS snapshot
              WHERE base_nid <> 0 AND NOT EXISTS
                  (SELECT 1 FROM state_snapshots AS base WHERE base.snapshot_nid = snapshot.base_nid)",
    },
    Check {
        rule: "a device belongs to a user",
        sql: "SELECT 'device ' || device_id || ' of ' || user_id FROM devices
              WHERE NOT EXISTS (SELECT 1 FROM users WHERE users.user_id = devices.user_id)",
    },
    Check {
        rule: "an access token belongs to a device",
        sql: "SELECT 'token ' || token_id || ' of ' || user_id FROM access_tokens
              WHERE device_id IS NOT NULL AND NOT EXISTS
                  (SELECT 1 FROM devices WHERE devices.user_id = access_tokens.user_id
                      AND devices.device_id = access_tokens.device_id)",
    },
    Check {
        rule: "a one-time key belongs to a device",
        sql: "SELECT key_id || ' of ' || user_id || ' ' || device_id FROM one_time_keys
              WHERE NOT EXISTS (SELECT 1 FROM devices WHERE devices.user_id = one_time_keys.user_id
                  AND devices.device_id = one_time_keys.device_id)",
    },
];

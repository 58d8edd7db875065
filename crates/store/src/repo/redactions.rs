//! Redacted events whose original content is still stored, for the `redaction_retention_period`.

use super::events::unpacked;
use crate::db::ToSql;
use crate::pdu_json::{self, UnpackError};
use crate::{DbError, EventNid, RoomNid, Tx, first};

/// Records that events were redacted at `now_ms` (Unix ms).
pub fn add(tx: &mut Tx<'_>, events: &[EventNid], now_ms: u64) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO uncensored_redactions (event_nid, redacted_ts) VALUES ($1, $2) ON CONFLICT (event_nid) DO NOTHING",
        events.iter().map(|event| [event.to_param(), now_ms.to_param()]),
    )?;
    Ok(())
}

/// Records redactions of unknown events, by the stored id of the target.
pub fn add_early(tx: &mut Tx<'_>, redactions: &[(Vec<u8>, EventNid)]) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO early_redactions (target, redaction_nid) VALUES ($1, $2)
         ON CONFLICT (target, redaction_nid) DO NOTHING",
        redactions.iter().map(|(target, redaction)| [target.to_param(), redaction.to_param()]),
    )?;
    Ok(())
}

/// Returns the redactions in a room that arrived before their target, by the stored id of the target, oldest first.
pub fn early(tx: &mut Tx<'_>, room: RoomNid, target: &[u8]) -> Result<Vec<EventNid>, DbError> {
    tx.query(
        "SELECT r.redaction_nid FROM early_redactions r JOIN events e ON e.event_nid = r.redaction_nid
         WHERE r.target = $1 AND e.room_nid = $2 ORDER BY r.redaction_nid",
        &[&target, &room],
        first,
    )
}

/// An event whose content has to be removed.
#[derive(Debug, Clone)]
pub struct Due {
    pub event_nid: EventNid,
    /// See [`crate::event_key`].
    pub event_id: Vec<u8>,
    pub room_version: String,
    /// The whole JSON, if it can be read.
    pub json: Result<String, UnpackError>,
}

/// Returns events redacted before `before` (Unix ms), the first `limit` of them.
pub fn due(tx: &mut Tx<'_>, before: u64, limit: u32) -> Result<Vec<Due>, DbError> {
    tx.query(
        "SELECT e.event_nid, e.event_id, r.room_version, e.json
         FROM uncensored_redactions u
         JOIN events e ON e.event_nid = u.event_nid
         JOIN rooms r ON r.room_nid = e.room_nid
         WHERE u.redacted_ts < $1 ORDER BY u.redacted_ts LIMIT $2",
        &[&before, &limit],
        |row| {
            Ok(Due {
                event_nid: row.get(0)?,
                event_id: row.get(1)?,
                room_version: row.get(2)?,
                json: unpacked(row, 3)?,
            })
        },
    )
}

/// Replaces the stored event by its redacted form.
pub fn censor(tx: &mut Tx<'_>, event: EventNid, redacted_json: &str) -> Result<(), DbError> {
    tx.execute_later("UPDATE events SET json = $2 WHERE event_nid = $1", &[&event, &pdu_json::pack(redacted_json)?])?;
    tx.execute_later("DELETE FROM uncensored_redactions WHERE event_nid = $1", &[&event])?;
    Ok(())
}

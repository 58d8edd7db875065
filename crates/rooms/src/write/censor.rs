//! Deletes the content of redacted events after `redaction_retention_period`.

use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::event::redact;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::redactions::{self, Due};
use plexus_store::{Database, DbError};

use crate::model::stored_events;

/// The JSON that replaces an unreadable redacted event. It cannot be read as an event either.
const UNREADABLE: &str = "{}";
/// The number of events that are censored in one transaction.
const MAX_BATCH: u32 = 100;

/// Censors every event that was redacted longer than `retention` ago.
///
/// # Errors
/// When the database fails.
pub async fn censor_redacted(db: &Database, clock: &Clock, retention: Duration) -> Result<(), DbError> {
    let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let before = clock.now_ms().saturating_sub(retention);
    loop {
        let due = db.read(move |tx| redactions::due(tx, before, MAX_BATCH)).await?;
        if due.is_empty() {
            return Ok(());
        }
        let censored: Vec<(i64, Option<String>)> =
            due.iter().map(|due| (due.event_nid, plexus_store::readable(redacted(due)))).collect();
        db.write(move |tx| {
            for (event, json) in &censored {
                match json {
                    Some(json) => redactions::censor(tx, *event, json)?,
                    // Its redacted form is not known.
                    None => redactions::censor(tx, *event, UNREADABLE)?,
                }
            }
            Ok::<_, DbError>(())
        })
        .await?;
    }
}

fn redacted(due: &Due) -> Result<String, DbError> {
    let place = || format!("events, event_nid {}", due.event_nid);
    let version: RoomVersion = due.room_version.parse().map_err(|error| DbError::bad_data(place(), error))?;
    let pdu = stored_events::parse_event((due.event_nid, &due.event_id), &due.json, version)?;
    Ok(redact::redact(&pdu).json().to_owned())
}

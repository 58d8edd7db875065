//! Redacted events lose their content for good once `redaction_retention_period` is over.

use std::time::Duration;

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::redactions::{self, Due};
use plexus_store::{DbError, event_key};

use crate::registry::Rooms;

/// How many events are censored in one transaction.
const BATCH: u32 = 100;

impl Rooms {
    /// Censors every event that was redacted longer than `retention` ago.
    pub async fn censor_redacted(&self, retention: Duration) -> Result<(), DbError> {
        let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let before = self.clock.now_ms().saturating_sub(retention);
        loop {
            let due = self.db.read(move |tx| redactions::due(tx, before, BATCH)).await?;
            let censored = due.iter().map(redacted).collect::<Result<Vec<_>, _>>()?;
            if censored.is_empty() {
                return Ok(());
            }
            self.db
                .write(move |tx| {
                    for (event, json) in &censored {
                        redactions::censor(tx, *event, json)?;
                    }
                    Ok::<_, DbError>(())
                })
                .await?;
        }
    }
}

fn redacted(due: &Due) -> Result<(i64, String), DbError> {
    let place = || format!("events, event_nid {}", due.event_nid);
    let version: RoomVersion = due.room_version.parse().map_err(|error| DbError::bad_data(place(), error))?;
    let event_id = event_key::decode(&due.event_id, version).map_err(|error| DbError::bad_data(place(), error))?;
    let pdu = Pdu::from_stored(&due.json, event_id, version).map_err(|error| DbError::bad_data(place(), error))?;
    Ok((due.event_nid, redact::redact(&pdu).json().to_owned()))
}

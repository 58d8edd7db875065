//! The parts that endpoints which send events share.

use plexus_http::{ApiError, Requester};
use plexus_protocol::event::sticky::MAX_DURATION_MS;
use plexus_protocol::id::EventId;
use plexus_rooms::{Rooms, Transaction};
use plexus_store::repo::transactions::MAX_TXN_ID_BYTES;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The largest integer of canonical JSON.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The response of endpoints that send events.
#[derive(Debug, Serialize)]
pub(crate) struct EventSent {
    pub event_id: EventId,
}

/// The response of endpoints that send events now or later.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Sent {
    /// The event was sent.
    Now { event_id: EventId },
    /// The event was scheduled.
    Later { delay_id: String },
}

/// The parameter of the query that makes an event sticky (MSC4354).
#[derive(Debug, Deserialize)]
pub(crate) struct Sticky {
    #[serde(rename = "org.matrix.msc4354.sticky_duration_ms", default, deserialize_with = "number")]
    duration_ms: Option<i64>,
}

/// Deserializes a number. An empty one is an error, and not absent: the parameter would have no effect.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

impl Sticky {
    /// Returns the duration in ms, if the request has one and events can be sticky here.
    pub(crate) fn duration_ms(&self, rooms: &Rooms) -> Result<Option<u64>, ApiError> {
        let Some(duration_ms) = self.duration_ms.filter(|_| rooms.sticky_events().is_enabled()) else {
            return Ok(None);
        };
        let allowed = u64::try_from(duration_ms).ok().filter(|duration_ms| *duration_ms <= MAX_DURATION_MS);
        let text = || format!("The sticky duration must be a number of milliseconds from 0 to {MAX_DURATION_MS}");
        allowed.map(Some).ok_or_else(|| ApiError::invalid_param(text()))
    }
}

/// The timestamp that an application service gives to an event, in Unix ms (application service API, "Timestamp
/// massaging").
#[derive(Debug, Deserialize)]
pub(crate) struct Timestamp {
    #[serde(default, deserialize_with = "number")]
    ts: Option<i64>,
}

impl Timestamp {
    /// Returns the timestamp, if the requester may choose it.
    pub(crate) fn of(&self, requester: &Requester) -> Result<Option<u64>, ApiError> {
        let Some(ts) = self.ts.filter(|_| requester.acting_service.is_some()) else { return Ok(None) };
        let allowed = u64::try_from(ts).ok().filter(|ts| *ts <= MAX_SAFE_INTEGER);
        allowed.map(Some).ok_or_else(|| ApiError::invalid_param("ts must be a time in milliseconds since 1970"))
    }
}

/// Returns the transaction that a request's path names; `None` for administrators who act as a user. Application
/// services have one device for each user, in place of none.
pub(crate) fn transaction(requester: &Requester, txn_id: String) -> Result<Option<Transaction>, ApiError> {
    let device_id = match (&requester.device_id, &requester.acting_service) {
        (Some(device_id), _) => device_id.clone(),
        // No other device has this id: the ids of services contain no such character.
        (None, Some(service)) => format!("application service|{}", service.id),
        (None, None) => return Ok(None),
    };
    if txn_id.len() > MAX_TXN_ID_BYTES {
        return Err(ApiError::invalid_param(format!("The transaction id is longer than {MAX_TXN_ID_BYTES} bytes")));
    }
    Ok(Some(Transaction { device_id: device_id.into(), txn_id: txn_id.into() }))
}

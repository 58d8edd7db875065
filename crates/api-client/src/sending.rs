//! The parts that endpoints which send events share.

use plexus_http::{ApiError, Requester};
use plexus_protocol::id::EventId;
use plexus_rooms::Transaction;
use plexus_store::repo::transactions::MAX_TXN_ID_BYTES;
use serde::Serialize;

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

/// Returns the transaction that a request's path names; `None` for tokens without a device.
pub(crate) fn transaction(requester: &Requester, txn_id: String) -> Result<Option<Transaction>, ApiError> {
    let Some(device_id) = requester.device_id.as_deref() else { return Ok(None) };
    if txn_id.len() > MAX_TXN_ID_BYTES {
        return Err(ApiError::invalid_param(format!("The transaction id is longer than {MAX_TXN_ID_BYTES} bytes")));
    }
    Ok(Some(Transaction { device_id: device_id.into(), txn_id: txn_id.into() }))
}

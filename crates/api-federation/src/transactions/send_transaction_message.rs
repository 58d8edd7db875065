//! PUT /_matrix/federation/v1/send/{txnId}

use std::sync::Arc;

use axum::body::Bytes;
use plexus_delivery::EduReceiver;
use plexus_federation::inbox::{Inbox, InboxError};
use plexus_http::{ApiError, Json, Origin, Path, RawJson, State};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The most events and the most other messages of a transaction (server-server API, "Transactions").
const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;
/// The longest transaction id that every database can index, in bytes.
const MAX_TXN_ID: usize = 500;
/// When a server whose events wait may try again, in ms.
const RETRY_AFTER_MS: u64 = 10_000;

#[derive(Deserialize)]
pub(crate) struct Request {
    pdus: Vec<Box<RawValue>>,
    #[serde(default)]
    edus: Vec<Box<RawValue>>,
}

/// Returns the outcome of each event, once the transaction is durable.
pub(crate) async fn handle(
    Origin(origin): Origin,
    State(inbox): State<Arc<Inbox>>,
    State(edus): State<Arc<EduReceiver>>,
    Path(txn_id): Path<String>,
    Json(request): Json<Request>,
) -> Result<RawJson, ApiError> {
    if txn_id.len() > MAX_TXN_ID {
        return Err(ApiError::invalid_param(format!("A transaction id has at most {MAX_TXN_ID} bytes")));
    }
    if request.pdus.len() > MAX_PDUS || request.edus.len() > MAX_EDUS {
        return Err(ApiError::bad_json(format!(
            "A transaction has at most {MAX_PDUS} events and {MAX_EDUS} other messages"
        )));
    }
    let others = edus.receive(&origin, request.edus);
    let answer = inbox.receive(&origin, &txn_id, request.pdus, others).await.map_err(|error| match error {
        InboxError::Full => ApiError::limit_exceeded(RETRY_AFTER_MS),
        InboxError::Db(error) => error.into(),
    })?;
    Ok(RawJson(Bytes::from(answer)))
}

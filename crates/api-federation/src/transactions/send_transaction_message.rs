//! PUT /_matrix/federation/v1/send/{txnId}

use std::sync::Arc;

use axum::body::Bytes;
use plexus_delivery::EduReceiver;
use plexus_http::{ApiError, Json, Origin, Path, RawJson, State};
use plexus_rooms::inbox::Inbox;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The most events and the most other messages of a transaction (server-server API, "Transactions").
const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;

#[derive(Deserialize)]
pub struct Request {
    pdus: Vec<Box<RawValue>>,
    #[serde(default)]
    edus: Vec<Box<RawValue>>,
}

/// What became of each event, once the transaction is durable.
pub async fn handle(
    Origin(origin): Origin,
    State(inbox): State<Arc<Inbox>>,
    State(edus): State<Arc<EduReceiver>>,
    Path(txn_id): Path<String>,
    Json(request): Json<Request>,
) -> Result<RawJson, ApiError> {
    if request.pdus.len() > MAX_PDUS || request.edus.len() > MAX_EDUS {
        return Err(ApiError::bad_json(format!(
            "A transaction has at most {MAX_PDUS} events and {MAX_EDUS} other messages"
        )));
    }
    let others = edus.receive(&origin, request.edus);
    let answer = inbox.receive(&origin, &txn_id, request.pdus, others).await?;
    Ok(RawJson(Bytes::from(answer)))
}

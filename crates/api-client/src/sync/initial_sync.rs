//! GET /_matrix/client/v3/initialSync

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Query, RawJson, State};
use plexus_sync::{InitialSyncRequest, SyncEngine};
use serde::Deserialize;

/// The events of a room for a client that does not ask for a number.
const DEFAULT_LIMIT: u64 = 10;

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    limit: Option<u64>,
    #[serde(default)]
    archived: bool,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(engine): State<Arc<SyncEngine>>,
    Query(parameters): Query<Parameters>,
) -> Result<RawJson, ApiError> {
    let Parameters { limit, archived } = parameters;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let request = InitialSyncRequest { user: requester.user_id.clone(), limit, archived };
    Ok(RawJson(engine.initial_sync(request).await?.into()))
}

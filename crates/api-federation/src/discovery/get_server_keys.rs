//! GET /_matrix/key/v2/server

use std::sync::Arc;

use plexus_http::{ApiError, RawJson, State};

use crate::OwnKeys;

/// Returns the keys with which this server signs and signed before, signed by itself.
pub(crate) async fn handle(State(keys): State<Arc<OwnKeys>>) -> Result<RawJson, ApiError> {
    keys.response().map(RawJson).map_err(|error| ApiError::internal(&error))
}

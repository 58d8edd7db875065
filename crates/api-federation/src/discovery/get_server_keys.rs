//! GET /_matrix/key/v2/server

use std::sync::Arc;

use plexus_http::{ApiError, RawJson, State};

use crate::OwnKeys;

/// The keys this server signs with and signed with before, signed by itself.
pub(crate) async fn handle(State(keys): State<Arc<OwnKeys>>) -> Result<RawJson, ApiError> {
    keys.response().map(RawJson).map_err(|error| ApiError::internal(&error))
}

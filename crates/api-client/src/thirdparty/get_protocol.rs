//! GET /_matrix/client/v3/thirdparty/protocol/{protocol}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, Path, State};
use plexus_service::third_party_networks::ThirdPartyNetworks;
use serde_json::{Map, Value};

pub(crate) async fn handle(
    AuthGuest(_): AuthGuest,
    State(networks): State<Arc<ThirdPartyNetworks>>,
    Path(protocol): Path<String>,
) -> Result<JsonBody<Map<String, Value>>, ApiError> {
    let found = networks.protocols(Some(&protocol)).await.remove(&protocol);
    found.map(JsonBody).ok_or_else(|| ApiError::not_found("Unknown protocol"))
}

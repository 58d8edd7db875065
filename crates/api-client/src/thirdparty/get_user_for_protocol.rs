//! GET /_matrix/client/v3/thirdparty/user/{protocol}

use std::sync::Arc;

use plexus_http::{AuthGuest, JsonBody, Path, Query, State};
use plexus_service::third_party_networks::{Fields, ThirdPartyNetworks, Wanted};
use serde_json::Value;

use super::searched;

pub(crate) async fn handle(
    AuthGuest(_): AuthGuest,
    State(networks): State<Arc<ThirdPartyNetworks>>,
    Path(protocol): Path<String>,
    Query(fields): Query<Fields>,
) -> JsonBody<Vec<Value>> {
    JsonBody(networks.search(Wanted::Users, &protocol, &searched(fields)).await)
}

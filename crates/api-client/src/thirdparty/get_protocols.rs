//! GET /_matrix/client/v3/thirdparty/protocols

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_http::{AuthGuest, JsonBody, State};
use plexus_service::third_party_networks::ThirdPartyNetworks;
use serde_json::{Map, Value};

pub(crate) async fn handle(
    AuthGuest(_): AuthGuest,
    State(networks): State<Arc<ThirdPartyNetworks>>,
) -> JsonBody<BTreeMap<String, Map<String, Value>>> {
    JsonBody(networks.protocols(None).await)
}

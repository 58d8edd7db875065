//! GET /_matrix/client/v3/thirdparty/user

use std::sync::Arc;

use plexus_http::{AuthGuest, JsonBody, Query, State};
use plexus_service::third_party_networks::{ThirdPartyNetworks, Wanted};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    userid: Option<String>,
}

pub(crate) async fn handle(
    AuthGuest(_): AuthGuest,
    State(networks): State<Arc<ThirdPartyNetworks>>,
    Query(parameters): Query<Parameters>,
) -> JsonBody<Vec<Value>> {
    JsonBody(match parameters.userid {
        Some(userid) => networks.reverse(Wanted::Users, &userid).await,
        None => Vec::new(),
    })
}

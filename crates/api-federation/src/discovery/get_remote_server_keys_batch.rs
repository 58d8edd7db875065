//! POST /_matrix/key/v2/query

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::StreamExt as _;
use plexus_http::{ApiError, Json, JsonBody, Source, State};
use plexus_net::KeyRing;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};

use crate::OwnKeys;

/// The most servers in one request; anybody may make it, and each server may have to be asked in turn.
const MAX_SERVERS: usize = 100;
/// The most servers that are asked at the same time for one request.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
pub(crate) struct Request {
    server_keys: HashMap<ServerName, HashMap<String, Criteria>>,
}

#[derive(Deserialize)]
struct Criteria {
    /// Unix ms.
    #[serde(default)]
    minimum_valid_until_ts: u64,
}

#[derive(Serialize)]
pub(crate) struct Response {
    pub(super) server_keys: Vec<Object>,
}

/// Returns the keys of several servers, signed by them and by this server too. Keys that cannot be had are absent.
pub(crate) async fn handle(
    State(key_ring): State<Arc<KeyRing>>,
    State(own_keys): State<Arc<OwnKeys>>,
    State(own_name): State<ServerName>,
    Source(source): Source,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    if request.server_keys.len() > MAX_SERVERS {
        return Err(ApiError::invalid_param(format!("At most {MAX_SERVERS} servers' keys can be asked for at once")));
    }
    let (key_ring, own_keys, own_name) = (&key_ring, &own_keys, &own_name);
    let questions = request.server_keys.into_iter().map(|(server, keys)| async move {
        let wanted = keys.into_iter().map(|(key_id, criteria)| (key_id, criteria.minimum_valid_until_ts)).collect();
        of_server(key_ring, own_keys, own_name, &server, &wanted, source).await
    });
    let responses: Vec<_> = futures_util::stream::iter(questions).buffer_unordered(AT_ONCE).collect().await;
    let mut server_keys = Vec::new();
    for answer in responses {
        server_keys.extend(answer?);
    }
    Ok(JsonBody(Response { server_keys }))
}

/// Returns the responses that hold the keys of a server: `wanted` maps key ids to when they must be valid (Unix ms);
/// all if empty. They are requested for a client at `source`.
pub(super) async fn of_server(
    key_ring: &KeyRing,
    own_keys: &OwnKeys,
    own_name: &ServerName,
    server: &ServerName,
    wanted: &HashMap<String, u64>,
    source: Option<IpAddr>,
) -> Result<Vec<Object>, ApiError> {
    if server == own_name {
        return own_keys.object().map(|own| vec![own]).map_err(|error| ApiError::internal(&error));
    }
    Ok(key_ring.vouch_for(server, wanted, source).await?)
}

//! POST /_matrix/client/v3/publicRooms

use std::sync::Arc;

use axum::response::Response;
use plexus_base::config::Config;
use plexus_http::{ApiError, AuthGuest, JsonOrEmpty, Query, State};
use plexus_net::FederationClient;
use plexus_rooms::Rooms;
use plexus_rooms::directory::{DirectoryFilter, DirectoryNetworks, DirectoryQuery};
use plexus_store::repo::rooms::Network;
use serde::Deserialize;

use super::page;

#[derive(Debug, Deserialize)]
pub(crate) struct QueryParameters {
    server: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    limit: Option<u64>,
    since: Option<String>,
    #[serde(default)]
    filter: DirectoryFilter,
    #[serde(default)]
    include_all_networks: bool,
    third_party_instance_id: Option<String>,
}

pub(crate) async fn handle(
    AuthGuest(_): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(config): State<Arc<Config>>,
    State(others): State<Arc<FederationClient>>,
    Query(parameters): Query<QueryParameters>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<Response, ApiError> {
    let networks = networks(request.include_all_networks, request.third_party_instance_id.as_deref())?;
    let query = DirectoryQuery { limit: request.limit, since: request.since, filter: request.filter, networks };
    page(&rooms, &config, &others, parameters.server.as_deref(), query).await
}

/// Returns the networks that a request names. The id of a network's instance is that of `/thirdparty/protocols`.
fn networks(all: bool, instance: Option<&str>) -> Result<DirectoryNetworks, ApiError> {
    match instance {
        Some(_) if all => {
            Err(ApiError::invalid_param("include_all_networks and third_party_instance_id exclude each other"))
        }
        Some(instance) => {
            let (service, network) =
                instance.split_once('|').ok_or_else(|| ApiError::invalid_param("Invalid third_party_instance_id"))?;
            Ok(DirectoryNetworks::One(Network { service_id: service.to_owned(), network_id: network.to_owned() }))
        }
        None if all => Ok(DirectoryNetworks::All),
        None => Ok(DirectoryNetworks::None),
    }
}

//! Every route of the server-server API: those anybody may use, and those of other servers.

use axum::Router;
use axum::extract::FromRef as _;
use axum::middleware::from_fn_with_state;
use plexus_http::{Client, Federation, Routes, SignedRequests, signed};

use crate::discovery::{discover_homeserver, get_server_keys, get_server_version};
use crate::{Api, query};

/// What anybody may ask, without a signature.
pub fn open() -> Routes<Api> {
    let mut r = Routes::new();
    r.get(Client::FULL, "/.well-known/matrix/server", discover_homeserver::handle);
    r.get(Federation::V1, "/version", get_server_version::handle);
    // Servers of old asked for one key by its id; all are answered (key ids in the path are deprecated).
    for path in ["/server", "/server/", "/server/{key_id}"] {
        r.get(Federation::KEYS, path, get_server_keys::handle);
    }
    r
}

/// What only other servers may ask: every request is signed.
pub fn for_servers() -> Routes<Api> {
    let mut routes = Routes::new();
    queries(&mut routes);
    routes
}

fn queries(r: &mut Routes<Api>) {
    r.get(Federation::V1, "/query/{query_type}", query::get_custom_information::handle);
}

/// All of it, with its services.
pub fn router(api: Api) -> Router {
    let signed_requests = std::sync::Arc::<SignedRequests>::from_ref(&api);
    let for_servers = for_servers().build(api.clone()).route_layer(from_fn_with_state(signed_requests, signed));
    open().build(api).merge(for_servers)
}

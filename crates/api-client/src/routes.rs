//! Every route of the client-server API, grouped as the endpoints' folders are.

use plexus_http::{Client, Routes};

use crate::Api;
use crate::discovery::{discover_homeserver, get_capabilities, get_supported_versions};

/// The list of routes; `build` it with [`Api`].
pub fn routes() -> Routes<Api> {
    let mut routes = Routes::new();
    discovery(&mut routes);
    routes
}

fn discovery(r: &mut Routes<Api>) {
    r.get(Client::ROOT, "/versions", get_supported_versions::handle);
    r.get(Client::V3R0, "/capabilities", get_capabilities::handle);
    r.get(Client::FULL, "/.well-known/matrix/client", discover_homeserver::handle);
}

//! GET /_matrix/key/v2/query/{serverName}

use std::collections::HashMap;
use std::sync::Arc;

use plexus_http::{ApiError, JsonBody, Path, Source, State};
use plexus_net::KeyRing;
use plexus_protocol::id::ServerName;

use super::get_remote_server_keys_batch::{Response, of_server};
use crate::OwnKeys;

/// Returns the keys of a server, signed by it and by this server too.
pub(crate) async fn handle(
    State(key_ring): State<Arc<KeyRing>>,
    State(own_keys): State<Arc<OwnKeys>>,
    State(own_name): State<ServerName>,
    Path(server): Path<ServerName>,
    Source(source): Source,
) -> Result<JsonBody<Response>, ApiError> {
    let server_keys = of_server(&key_ring, &own_keys, &own_name, &server, &HashMap::new(), source).await?;
    Ok(JsonBody(Response { server_keys }))
}

//! GET /_matrix/federation/v1/version

use plexus_http::JsonBody;
use serde_json::{Value, json};

/// Returns the name and version of this implementation.
pub(crate) async fn handle() -> JsonBody<Value> {
    JsonBody(json!({ "server": { "name": "Plexus", "version": env!("CARGO_PKG_VERSION") } }))
}

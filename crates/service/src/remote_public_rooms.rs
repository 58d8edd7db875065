//! The room directories of other servers.

use plexus_net::{Call, FederationClient, FederationError};
use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;
use plexus_rooms::directory::DirectoryQuery;
use serde_json::{Map, Value, json};

use crate::percent_encoding::percent_encoded;

/// The most of another server's page that is read, in bytes.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Returns a page of the server's room directory.
///
/// # Errors
/// When the server does not return one.
pub async fn remote_public_rooms(
    client: &FederationClient,
    server: &ServerName,
    query: DirectoryQuery,
) -> Result<Object, FederationError> {
    let path = "/_matrix/federation/v1/publicRooms";
    let DirectoryQuery { limit, since, filter } = query;
    let call = if filter.generic_search_term.is_none() && filter.room_types.is_none() {
        let mut parameters = Vec::new();
        parameters.extend(limit.map(|limit| format!("limit={limit}")));
        parameters.extend(since.map(|since| format!("since={}", percent_encoded(&since))));
        Call::get(format!("{path}?{}", parameters.join("&")))
    } else {
        let mut body = Map::new();
        body.insert("filter".to_owned(), json!(filter));
        body.extend(limit.map(|limit| ("limit".to_owned(), limit.into())));
        body.extend(since.map(|since| ("since".to_owned(), since.into())));
        Call::post(path, Value::Object(body).to_string())
    };
    client.call_json(server, call.max_answer_bytes(MAX_RESPONSE_BYTES)).await
}

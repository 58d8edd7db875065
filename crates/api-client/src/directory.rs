//! The room directory.

pub mod get_public_rooms;
pub mod get_public_rooms_filtered;
pub mod get_room_visibility;
pub mod rules;
pub mod set_room_visibility;

use axum::response::{IntoResponse as _, Response};
use plexus_base::config::Config;
use plexus_http::federation::federation_error;
use plexus_http::{ApiError, JsonBody, RawJson};
use plexus_net::{Call, FederationClient};
use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;
use plexus_rooms::Rooms;
use plexus_rooms::directory::{DirectoryError, DirectoryPage, DirectoryQuery};
use serde_json::{Map, Value, json};

use crate::remote::percent_encoded;

/// The most of another server's page that is read, in bytes.
const MAX_REMOTE_PAGE: usize = 8 * 1024 * 1024;

/// A part of the directory of this server, or of another one.
async fn page(
    rooms: &Rooms,
    config: &Config,
    others: &FederationClient,
    server: Option<&str>,
    query: DirectoryQuery,
) -> Result<Response, ApiError> {
    if let Some(server) = server.filter(|server| *server != rooms.server_name().as_str()) {
        let server = ServerName::try_from(server).map_err(|_| ApiError::invalid_param("Invalid server name"))?;
        return remote(others, &server, query).await;
    }
    if !config.rooms.enable_room_list_search {
        return Ok(JsonBody(DirectoryPage::empty()).into_response());
    }
    let page = DirectoryPage::of(rooms, query).await.map_err(|error| match error {
        DirectoryError::Since => ApiError::invalid_param(error.to_string()),
        DirectoryError::Db(error) => error.into(),
    })?;
    Ok(JsonBody(page).into_response())
}

/// What another server tells of its directory.
async fn remote(others: &FederationClient, server: &ServerName, query: DirectoryQuery) -> Result<Response, ApiError> {
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
    let page: Result<Object, _> = others.call_json(server, call.max_answer_bytes(MAX_REMOTE_PAGE)).await;
    let page = page.map_err(|error| federation_error(&error))?;
    Ok(RawJson(page.to_json().into()).into_response())
}

//! GET /_matrix/federation/v1/query/profile

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody, Query, State};
use plexus_protocol::id::{ServerName, UserId};
use plexus_rooms::Profiles;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(crate) struct Request {
    user_id: UserId,
    field: Option<String>,
}

/// Returns the profile of a user of this server, or one field of it.
pub(crate) async fn handle(
    State(config): State<Arc<Config>>,
    State(server_name): State<ServerName>,
    State(profiles): State<Arc<Profiles>>,
    Query(request): Query<Request>,
) -> Result<JsonBody<BTreeMap<String, Box<RawValue>>>, ApiError> {
    if !config.federation.allow_profile_lookup_over_federation {
        return Err(ApiError::forbidden("Profile lookup over federation is disabled on this homeserver"));
    }
    if request.user_id.server_name() != server_name.as_str() {
        return Err(ApiError::unknown("User is not hosted on this homeserver"));
    }
    let fields = profiles.find(&request.user_id).await?;
    let fields = fields.ok_or_else(|| ApiError::not_found("Profile was not found"))?;
    let wanted = fields.iter().filter(|(name, _)| request.field.as_ref().is_none_or(|field| field == name));
    let values = wanted.map(|(name, json)| Ok((name.clone(), RawValue::from_string(json.clone())?)));
    values.collect::<Result<_, serde_json::Error>>().map(JsonBody).map_err(|error| ApiError::internal(&error))
}

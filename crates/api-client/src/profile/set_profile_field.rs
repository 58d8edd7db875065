//! PUT /_matrix/client/v3/profile/{userId}/{keyName}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::room_errors::profile_rule_error;
use plexus_http::{ApiError, AuthGuest, Empty, Json, Path, Query, State};
use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, Value};
use plexus_rooms::Profiles;
use plexus_service::ProfileRules;

use super::{Propagation, profile_error, require_unstable_path, require_writable};

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(config): State<Arc<Config>>,
    State(profiles): State<Arc<Profiles>>,
    State(rules): State<Arc<ProfileRules>>,
    Path((user, field)): Path<(UserId, String)>,
    Query(propagation): Query<Propagation>,
    Json(body): Json<Object>,
) -> Result<Empty, ApiError> {
    require_writable(&config, &requester, &user, &field)?;
    let value = body.get(&field).ok_or_else(|| ApiError::missing_param(format!("'{field}' is missing")))?;
    let value = checked(&field, value)?;
    if let Some(uri) = value.as_ref().and_then(Value::as_str).filter(|_| field == "avatar_url") {
        rules.check_avatar(uri).await.map_err(profile_rule_error)?;
    }
    let scope = propagation.scope(&config, &requester);
    profiles.set(&user, &field, value, scope).await.map_err(profile_error)?;
    Ok(Empty)
}

/// PUT /_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}
pub(crate) async fn unstable(
    auth: AuthGuest,
    State(config): State<Arc<Config>>,
    profiles: State<Arc<Profiles>>,
    rules: State<Arc<ProfileRules>>,
    path: Path<(UserId, String)>,
    propagation: Query<Propagation>,
    body: Json<Object>,
) -> Result<Empty, ApiError> {
    require_unstable_path(&config)?;
    handle(auth, State(config), profiles, rules, path, propagation, body).await
}

/// Checks a value. Name and avatar are text; an empty one, or null, removes the field.
fn checked(field: &str, value: &Value) -> Result<Option<Value>, ApiError> {
    if !matches!(field, "displayname" | "avatar_url") {
        return Ok(Some(value.clone()));
    }
    if value.is_null() {
        return Ok(None);
    }
    let text = value.as_str().ok_or_else(|| ApiError::invalid_param(format!("'{field}' must be a string")))?;
    if field == "avatar_url" && !text.is_empty() && !text.starts_with("mxc://") {
        return Err(ApiError::invalid_param("'avatar_url' must be a valid MXC URI"));
    }
    Ok((!text.is_empty()).then(|| value.clone()))
}

//! GET /_matrix/client/v3/profile/{userId}/{keyName}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, MaybeAuth, Path, RawJson, State};
use plexus_net::FederationClient;
use plexus_protocol::id::UserId;
use plexus_rooms::{Profiles, Rooms};
use plexus_service::{RateLimits, check_limit};

use super::{remote, require_field_name, require_readable, require_unstable_path, written};

pub(crate) async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(config): State<Arc<Config>>,
    State(rooms): State<Arc<Rooms>>,
    State(profiles): State<Arc<Profiles>>,
    State(others): State<Arc<FederationClient>>,
    State(limits): State<Arc<RateLimits>>,
    Path((user, field)): Path<(UserId, String)>,
) -> Result<RawJson, ApiError> {
    require_field_name(&field)?;
    if let Some(requester) = &requester {
        check_limit(&limits.profile, requester)?;
    }
    require_readable(&config, &rooms, requester.as_deref(), &user).await?;
    if user.server_name() != rooms.server_name().as_str() {
        return remote(&others, &user, Some(&field)).await;
    }
    let fields = profiles.find(&user).await?.ok_or_else(|| ApiError::not_found("Profile was not found"))?;
    let wanted = fields.iter().find(|(name, _)| *name == field);
    // For these two clients have always been given an empty object.
    if wanted.is_none() && field != "displayname" && field != "avatar_url" {
        return Err(ApiError::not_found("The profile has no such field"));
    }
    Ok(written(wanted))
}

/// GET /_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}
pub(crate) async fn unstable(
    auth: MaybeAuth,
    State(config): State<Arc<Config>>,
    rooms: State<Arc<Rooms>>,
    profiles: State<Arc<Profiles>>,
    others: State<Arc<FederationClient>>,
    limits: State<Arc<RateLimits>>,
    path: Path<(UserId, String)>,
) -> Result<RawJson, ApiError> {
    require_unstable_path(&config)?;
    handle(auth, State(config), rooms, profiles, others, limits, path).await
}

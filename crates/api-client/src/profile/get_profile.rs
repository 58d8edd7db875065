//! GET /_matrix/client/v3/profile/{userId}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, MaybeAuth, Path, RawJson, State};
use plexus_net::FederationClient;
use plexus_protocol::id::UserId;
use plexus_rooms::{Profiles, Rooms};
use plexus_service::{RateLimits, check_limit};

use super::{remote, require_readable, written};

pub(crate) async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(config): State<Arc<Config>>,
    State(rooms): State<Arc<Rooms>>,
    State(profiles): State<Arc<Profiles>>,
    State(others): State<Arc<FederationClient>>,
    State(limits): State<Arc<RateLimits>>,
    Path(user): Path<UserId>,
) -> Result<RawJson, ApiError> {
    if let Some(requester) = &requester {
        check_limit(&limits.profile, requester)?;
    }
    require_readable(&config, &rooms, requester.as_deref(), &user).await?;
    if user.server_name() != rooms.server_name().as_str() {
        return remote(&others, &user, None).await;
    }
    let fields = profiles.find(&user).await?.ok_or_else(|| ApiError::not_found("Profile was not found"))?;
    Ok(written(&*fields))
}

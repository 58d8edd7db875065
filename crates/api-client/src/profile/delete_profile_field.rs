//! DELETE /_matrix/client/v3/profile/{userId}/{keyName}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, AuthGuest, Empty, Path, Query, State};
use plexus_protocol::id::UserId;
use plexus_rooms::Profiles;

use super::{Propagation, profile_error, require_unstable_path, require_writable};

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(config): State<Arc<Config>>,
    State(profiles): State<Arc<Profiles>>,
    Path((user, field)): Path<(UserId, String)>,
    Query(propagation): Query<Propagation>,
) -> Result<Empty, ApiError> {
    require_writable(&config, &requester, &user, &field)?;
    let scope = propagation.scope(&config, &requester);
    profiles.set(&user, &field, None, scope).await.map_err(profile_error)?;
    Ok(Empty)
}

/// DELETE /_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}
pub(crate) async fn unstable(
    auth: AuthGuest,
    State(config): State<Arc<Config>>,
    profiles: State<Arc<Profiles>>,
    path: Path<(UserId, String)>,
    propagation: Query<Propagation>,
) -> Result<Empty, ApiError> {
    require_unstable_path(&config)?;
    handle(auth, State(config), profiles, path, propagation).await
}

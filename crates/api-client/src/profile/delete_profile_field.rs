//! DELETE /_matrix/client/v3/profile/{userId}/{keyName}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, AuthGuest, Empty, Path, State};
use plexus_protocol::id::UserId;
use plexus_rooms::Profiles;

use super::{profile_error, require_writable};

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(config): State<Arc<Config>>,
    State(profiles): State<Arc<Profiles>>,
    Path((user, field)): Path<(UserId, String)>,
) -> Result<Empty, ApiError> {
    require_writable(&config, &requester, &user, &field)?;
    profiles.set(&user, &field, None).await.map_err(profile_error)?;
    Ok(Empty)
}

//! GET /_matrix/client/v3/profile/{userId}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, MaybeAuth, Path, RawJson, State};
use plexus_protocol::id::UserId;
use plexus_protocol::json::write_string;
use plexus_rooms::{Profiles, Rooms};
use plexus_store::repo;

use super::require_readable;
use crate::rate_limits::RateLimits;

pub async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(config): State<Arc<Config>>,
    State(rooms): State<Arc<Rooms>>,
    State(profiles): State<Arc<Profiles>>,
    State(limits): State<Arc<RateLimits>>,
    Path(user): Path<UserId>,
) -> Result<RawJson, ApiError> {
    if let Some(requester) = &requester {
        limits.profile.check(&requester.user_id)?;
    }
    require_readable(&config, &rooms, requester.as_deref(), &user).await?;
    require_known(&rooms, &user).await?;
    let mut out = String::from("{");
    for (at, (field, value)) in profiles.all(&user).await?.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(&field, &mut out);
        out.push(':');
        out.push_str(&value);
    }
    out.push('}');
    Ok(RawJson(out.into()))
}

/// 404 unless there is such an account.
pub(super) async fn require_known(rooms: &Rooms, user: &UserId) -> Result<(), ApiError> {
    let key = user.clone();
    let known = rooms.database().read(move |tx| repo::users::get(tx, key.as_str())).await?;
    if known.is_some_and(|known| !known.deactivated) {
        return Ok(());
    }
    Err(ApiError::not_found("Profile was not found"))
}

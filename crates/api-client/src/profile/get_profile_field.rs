//! GET /_matrix/client/v3/profile/{userId}/{keyName}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, MaybeAuth, Path, RawJson, State};
use plexus_protocol::id::UserId;
use plexus_protocol::json::write_string;
use plexus_rooms::{Profiles, Rooms};

use super::get_profile::require_known;
use super::{require_field_name, require_readable};
use crate::rate_limits::RateLimits;

pub async fn handle(
    MaybeAuth(requester): MaybeAuth,
    State(config): State<Arc<Config>>,
    State(rooms): State<Arc<Rooms>>,
    State(profiles): State<Arc<Profiles>>,
    State(limits): State<Arc<RateLimits>>,
    Path((user, field)): Path<(UserId, String)>,
) -> Result<RawJson, ApiError> {
    require_field_name(&field)?;
    if let Some(requester) = &requester {
        limits.profile.check(&requester.user_id)?;
    }
    require_readable(&config, &rooms, requester.as_deref(), &user).await?;
    require_known(&rooms, &user).await?;
    let value = profiles.all(&user).await?.into_iter().find(|(name, _)| *name == field);
    let mut out = String::from("{");
    match value {
        Some((name, value)) => {
            write_string(&name, &mut out);
            out.push(':');
            out.push_str(&value);
        }
        // Clients have always been given an empty object for these two.
        None if field == "displayname" || field == "avatar_url" => {}
        None => return Err(ApiError::not_found("The profile has no such field")),
    }
    out.push('}');
    Ok(RawJson(out.into()))
}
